//! What becomes of connections that helpers read, as counters tell it.

use crate::verdict::reasons;

reasons! {
    /// What came of a helper: the label of `sluice_helper_events_total`.
    HelperEvent {
        /// It announced a connection, which is expected.
        Expected = "expected",
        /// The text that announces a connection was changed to what its address is called outside.
        Rewritten = "rewritten",
        /// What is expected has come.
        Met = "met",
        /// What is expected has not come in time.
        Expired = "expired",
        /// What is announced is not expected: too many are, or another connection has the same. The packet is dropped.
        Refused = "refused",
        /// An announced address is none of the connection's own: nothing is expected.
        ForeignAddress = "foreign-address",
        /// An announced port is below 1024: nothing is expected.
        PrivilegedPort = "privileged-port",
        /// An announced port is not the one that its sender sends from: nothing is expected.
        ForeignPort = "foreign-port",
        /// No port outside is free that could be announced: the text stays, and nothing is expected.
        NoPort = "no-port",
        /// With its address translated the packet would be too long for its way, or a message comes in more packets than can be held
        /// back: it keeps its text, and nothing is expected.
        TooLong = "too-long",
        /// A line or a datagram announces something and is malformed: the helper is off for the connection.
        Malformed = "malformed",
        /// The connection does not speak the helper's protocol: the helper is off for the connection.
        OtherProtocol = "other-protocol",
        /// The connection is encrypted from here on: the helper is off for it.
        Encrypted = "encrypted",
        /// The connection carries media by itself from here on: the helper is off for it.
        Interleaved = "interleaved",
        /// Text that might have to be rewritten came cut off or too early, again and again: the helper is off for the connection.
        Incomplete = "incomplete",
        /// More in one segment or in one message than a helper reads: it is off for the connection.
        TooMany = "too-many",
        /// Too many connections are read already: this one is not.
        NoRoom = "no-room",
        /// An operator has switched the helper off: it is off for the connection.
        SwitchedOff = "switched-off",
    }
}

impl HelperEvent {
    /// Whether the helper reads nothing more of the connection.
    pub const fn turns_off(self) -> bool {
        match self {
            Self::Malformed
            | Self::OtherProtocol
            | Self::Encrypted
            | Self::Interleaved
            | Self::Incomplete
            | Self::TooMany
            | Self::NoRoom
            | Self::SwitchedOff => true,
            Self::Expected
            | Self::Rewritten
            | Self::Met
            | Self::Expired
            | Self::Refused
            | Self::ForeignAddress
            | Self::PrivilegedPort
            | Self::ForeignPort
            | Self::NoPort
            | Self::TooLong => false,
        }
    }
}
