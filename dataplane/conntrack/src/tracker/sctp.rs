//! The SCTP tracker (RFC 9260).

use super::{Context, Update};
use crate::entry::Entry;
use crate::headers::Packet;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;

/// An SCTP association's state as a middlebox sees it, in Linux's words and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SctpState {
    /// Nothing seen.
    None,
    /// Aborted or shut down.
    Closed,
    /// An INIT has been seen.
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

    /// The names in listings, by number.
    pub const NAMES: [&'static str; Self::COUNT] = [
        "NONE",
        "CLOSED",
        "COOKIE_WAIT",
        "COOKIE_ECHOED",
        "ESTABLISHED",
        "SHUTDOWN_SENT",
        "SHUTDOWN_RECD",
        "SHUTDOWN_ACK_SENT",
        "HEARTBEAT_SENT",
    ];
}

/// Judges the first packet of an association.
pub fn open(context: Context<'_>, _packet: Packet<'_>, entry: &mut Entry) -> Result<u32, InvalidReason> {
    entry.state = SctpState::CookieWait as u8;
    Ok(context.settings.timeouts.sctp_ms[usize::from(entry.state)])
}

/// Judges a further packet.
pub fn update(context: Context<'_>, _packet: Packet<'_>, entry: &mut Entry, _direction: Direction) -> Update {
    Update::Refresh { timeout_ms: context.settings.timeouts.sctp_ms[usize::from(entry.state)] }
}
