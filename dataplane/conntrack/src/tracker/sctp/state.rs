//! The states of a tracked SCTP association and what each chunk makes of them.

use crate::tuple::Direction;
use crate::wire::sctp::chunk_type;

/// An SCTP association's state as a middlebox sees it, in Linux's words and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SctpState {
    /// Nothing seen.
    None,
    /// Aborted or shut down, or an INIT has been seen that is not yet answered.
    Closed,
    /// An INIT ACK has been seen.
    CookieWait,
    /// A COOKIE ECHO has been seen.
    CookieEchoed,
    /// A COOKIE ACK has been seen.
    Established,
    /// A SHUTDOWN was sent by the original side.
    ShutdownSent,
    /// A SHUTDOWN was sent by the reply side.
    ShutdownRecd,
    /// A SHUTDOWN ACK has been seen.
    ShutdownAckSent,
    /// A HEARTBEAT opened the entry (multi-homing).
    HeartbeatSent,
}

impl SctpState {
    /// How many states there are.
    pub const COUNT: usize = 9;

    /// All states, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::None,
        Self::Closed,
        Self::CookieWait,
        Self::CookieEchoed,
        Self::Established,
        Self::ShutdownSent,
        Self::ShutdownRecd,
        Self::ShutdownAckSent,
        Self::HeartbeatSent,
    ];

    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Closed => "CLOSED",
            Self::CookieWait => "COOKIE_WAIT",
            Self::CookieEchoed => "COOKIE_ECHOED",
            Self::Established => "ESTABLISHED",
            Self::ShutdownSent => "SHUTDOWN_SENT",
            Self::ShutdownRecd => "SHUTDOWN_RECD",
            Self::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            Self::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }

    /// Whether both ends know the association, and have not ended it.
    pub const fn stands(self) -> bool {
        matches!(self, Self::Established | Self::ShutdownSent | Self::ShutdownRecd | Self::ShutdownAckSent)
    }

    /// The state after a chunk of `kind` in `direction`; `None` where it does not fit.
    pub const fn after(self, direction: Direction, kind: ChunkKind) -> Option<Self> {
        TRANSITIONS[direction as usize][kind as usize][self as usize]
    }
}

/// The chunks that can change the state. All others, DATA among them, leave it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    Init,
    InitAck,
    Abort,
    Shutdown,
    ShutdownAck,
    Error,
    CookieEcho,
    CookieAck,
    ShutdownComplete,
    Heartbeat,
    HeartbeatAck,
}

impl ChunkKind {
    const COUNT: usize = 11;

    /// The kind of a chunk type.
    pub const fn of(chunk_type: u8) -> Option<Self> {
        Some(match chunk_type {
            chunk_type::INIT => Self::Init,
            chunk_type::INIT_ACK => Self::InitAck,
            chunk_type::ABORT => Self::Abort,
            chunk_type::SHUTDOWN => Self::Shutdown,
            chunk_type::SHUTDOWN_ACK => Self::ShutdownAck,
            chunk_type::ERROR => Self::Error,
            chunk_type::COOKIE_ECHO => Self::CookieEcho,
            chunk_type::COOKIE_ACK => Self::CookieAck,
            chunk_type::SHUTDOWN_COMPLETE => Self::ShutdownComplete,
            chunk_type::HEARTBEAT => Self::Heartbeat,
            chunk_type::HEARTBEAT_ACK => Self::HeartbeatAck,
            _ => return None,
        })
    }
}

type Next = Option<SctpState>;
const CL: Next = Some(SctpState::Closed);
const CW: Next = Some(SctpState::CookieWait);
const CE: Next = Some(SctpState::CookieEchoed);
const ES: Next = Some(SctpState::Established);
const SS: Next = Some(SctpState::ShutdownSent);
const SR: Next = Some(SctpState::ShutdownRecd);
const SA: Next = Some(SctpState::ShutdownAckSent);
const HS: Next = Some(SctpState::HeartbeatSent);
const XX: Next = None;

/// By direction, [`ChunkKind`] and state before.
///
/// Most chunks that come at the wrong time are harmless and change nothing: a middlebox that has lost
/// track must not cut an association that its ends are happy with. The reply side never opens one.
#[rustfmt::skip]
static TRANSITIONS: [[[Next; SctpState::COUNT]; ChunkKind::COUNT]; 2] = [
    [   // Original
        // none closed wait echoed estab sent recd acked heartbeat
        [CL, CL, CW, CE, ES, SS, SR, SA, CW], // INIT: a restart begins when it is complete
        [CL, CL, CW, CE, ES, SS, SR, SA, CL], // INIT ACK: only of a collision
        [CL, CL, CL, CL, CL, CL, CL, CL, CL], // ABORT
        [CL, CL, CW, CE, SS, SS, SR, SA, CL], // SHUTDOWN
        [SA, CL, CW, CE, ES, SA, SA, SA, SA], // SHUTDOWN ACK
        [CL, CL, CW, CE, ES, SS, SR, SA, CL], // ERROR: the client has no cookie that could be stale
        [CL, CL, CE, CE, ES, SS, SR, SA, CL], // COOKIE ECHO
        [CL, CL, CW, ES, ES, SS, SR, SA, CL], // COOKIE ACK: only of a collision
        [CL, CL, CW, CE, ES, SS, SR, CL, CL], // SHUTDOWN COMPLETE
        [HS, CL, CW, CE, ES, SS, SR, SA, HS], // HEARTBEAT: a further path of a known association
        [CL, CL, CW, CE, ES, SS, SR, SA, HS], // HEARTBEAT ACK
    ],
    [   // Reply
        // none closed wait echoed estab sent recd acked heartbeat
        [XX, CL, CW, CE, ES, SS, SR, SA, HS], // INIT: a collision
        [XX, CW, CW, CE, ES, SS, SR, SA, XX], // INIT ACK
        [XX, CL, CL, CL, CL, CL, CL, CL, CL], // ABORT: the server may know nothing of that association
        [XX, CL, CW, CE, SR, SS, SR, SA, XX], // SHUTDOWN
        [XX, CL, CW, CE, ES, SA, SA, SA, XX], // SHUTDOWN ACK
        [XX, CL, CW, CL, ES, SS, SR, SA, XX], // ERROR: the cookie was stale
        [XX, CL, CE, CE, ES, SS, SR, SA, XX], // COOKIE ECHO: only of a collision
        [XX, CL, CW, ES, ES, SS, SR, SA, XX], // COOKIE ACK
        [XX, CL, CW, CE, ES, SS, SR, CL, XX], // SHUTDOWN COMPLETE
        [XX, CL, CW, CE, ES, SS, SR, SA, HS], // HEARTBEAT
        [XX, CL, CW, CE, ES, SS, SR, SA, ES], // HEARTBEAT ACK: the path works
    ],
];
