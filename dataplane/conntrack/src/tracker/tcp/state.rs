//! The states of a tracked TCP connection.

/// A TCP connection's state as a middlebox sees it, in Linux's words and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TcpState {
    /// Nothing seen.
    None,
    /// A SYN has been seen.
    SynSent,
    /// A SYN/ACK has answered it.
    SynRecv,
    /// The handshake is complete.
    Established,
    /// One side has sent a FIN.
    FinWait,
    /// That FIN has been acknowledged.
    CloseWait,
    /// The other side has sent its FIN too.
    LastAck,
    /// Both FINs are acknowledged.
    TimeWait,
    /// Reset.
    Close,
    /// A SYN has been seen in both directions (listed as `SYN_SENT2`).
    SynSent2,
}

impl TcpState {
    /// How many states there are.
    pub const COUNT: usize = 10;

    /// All states, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::None,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
        Self::SynSent2,
    ];

    /// The state of an entry's number; numbers that are none are [`TcpState::None`].
    #[inline]
    pub const fn from_number(number: u8) -> Self {
        if (number as usize) < Self::COUNT { Self::ALL[number as usize] } else { Self::None }
    }

    /// Whether its ends are done with it, or nearly.
    pub const fn is_closing(self) -> bool {
        matches!(self, Self::FinWait | Self::CloseWait | Self::LastAck | Self::TimeWait | Self::Close)
    }

    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SynSent2 => "SYN_SENT2",
        }
    }
}
