//! What becomes of connections that helpers read, as counters tell it.

use crate::verdict::reasons;

reasons! {
    /// What a helper came upon: the label of `sluice_helper_events_total`.
    HelperEvent {
        /// It announced a connection, which is expected.
        Expected = "expected",
        /// An announced address is none of the connection's own: nothing is expected.
        ForeignAddress = "foreign-address",
        /// An announced port is below 1024: nothing is expected.
        PrivilegedPort = "privileged-port",
        /// With its address translated the packet would be too long for its way: it keeps its text, and nothing is expected.
        TooLong = "too-long",
        /// A line or a datagram announces something and is malformed: the helper is off for the connection.
        Malformed = "malformed",
        /// The connection does not speak the helper's protocol: the helper is off for the connection.
        OtherProtocol = "other-protocol",
        /// The connection is encrypted from here on: the helper is off for it.
        Encrypted = "encrypted",
        /// Text that might have to be rewritten came cut off or too early, again and again: the helper is off for the connection.
        Incomplete = "incomplete",
        /// More in one segment than a helper reads: it is off for the connection.
        TooMany = "too-many",
        /// Too many connections are read already: this one is not.
        NoRoom = "no-room",
    }
}
