//! Where fields stand in the headers that are read and written, counted from the start of each: a range of bytes, or the one byte.

#![allow(missing_docs, reason = "a field has the name that its RFC gives it")]

use std::ops::Range;

/// The bytes of a field.
pub type Field = Range<usize>;

/// Ethernet II (RFC 894).
pub mod ethernet {
    use super::Field;
    pub const DESTINATION: Field = 0..6;
    pub const SOURCE: Field = 6..12;
    pub const ETHERTYPE: Field = 12..14;
}

/// IPv4 (RFC 791 section 3.1).
pub mod ipv4 {
    use super::Field;
    pub const VERSION_AND_LENGTH: usize = 0;
    pub const TYPE_OF_SERVICE: usize = 1;
    pub const TOTAL_LENGTH: Field = 2..4;
    pub const IDENTIFICATION: Field = 4..6;
    pub const FLAGS_AND_OFFSET: Field = 6..8;
    pub const TTL: usize = 8;
    pub const PROTOCOL: usize = 9;
    pub const CHECKSUM: Field = 10..12;
    pub const SOURCE: Field = 12..16;
    pub const DESTINATION: Field = 16..20;
    /// Source and destination.
    pub const ADDRESSES: Field = SOURCE.start..DESTINATION.end;
}

/// IPv6 (RFC 8200 section 3).
pub mod ipv6 {
    use super::Field;
    pub const VERSION: usize = 0;
    /// Version, traffic class and flow label.
    pub const FIRST_WORD: Field = 0..4;
    pub const PAYLOAD_LENGTH: Field = 4..6;
    pub const NEXT_HEADER: usize = 6;
    pub const HOP_LIMIT: usize = 7;
    pub const SOURCE: Field = 8..24;
    pub const DESTINATION: Field = 24..40;
    /// Source and destination.
    pub const ADDRESSES: Field = SOURCE.start..DESTINATION.end;
}

/// IPv6's extension headers, the fragment header among them (RFC 8200 sections 4.2 to 4.6).
pub mod extension {
    use super::Field;
    pub const NEXT_HEADER: usize = 0;
    pub const LENGTH: usize = 1;
    pub const FRAGMENT_OFFSET: Field = 2..4;
    pub const FRAGMENT_IDENTIFICATION: Field = 4..8;
}

/// What TCP, UDP, UDP-Lite and SCTP begin with.
pub mod ports {
    use super::Field;
    pub const SOURCE: Field = 0..2;
    pub const DESTINATION: Field = 2..4;
    /// Source and destination.
    pub const BOTH: Field = SOURCE.start..DESTINATION.end;
}

/// TCP behind its ports (RFC 9293 section 3.1).
pub mod tcp {
    use super::Field;
    pub const SEQUENCE: Field = 4..8;
    pub const ACKNOWLEDGMENT: Field = 8..12;
    pub const DATA_OFFSET: usize = 12;
    pub const FLAGS: usize = 13;
    pub const WINDOW: Field = 14..16;
    pub const CHECKSUM: Field = 16..18;
}

/// UDP behind its ports (RFC 768); UDP-Lite has its coverage in the place of the length (RFC 3828 section 3.1).
pub mod udp {
    use super::Field;
    pub const LENGTH: Field = 4..6;
    pub const CHECKSUM: Field = 6..8;
}

/// SCTP's common header behind its ports (RFC 9260 section 3.1).
pub mod sctp {
    use super::Field;
    pub const VERIFICATION_TAG: Field = 4..8;
    pub const CHECKSUM: Field = 8..12;
}

/// An SCTP chunk (RFC 9260 section 3.2).
pub mod chunk {
    use super::Field;
    pub const LENGTH: Field = 2..4;
    /// The initiate tag of INIT and INIT ACK, from the start of their value (sections 3.3.2 and 3.3.3).
    pub const INITIATE_TAG: Field = 0..4;
}

/// DCCP (RFC 4340 section 5.1).
pub mod dccp {
    use super::Field;
    pub const CHECKSUM: Field = 6..8;
}

/// ICMP (RFC 792) and ICMPv6 (RFC 4443 section 2.1).
pub mod icmp {
    use super::Field;
    pub const TYPE: usize = 0;
    pub const CODE: usize = 1;
    pub const TYPE_AND_CODE: Field = 0..2;
    pub const CHECKSUM: Field = 2..4;
    pub const IDENTIFIER: Field = 4..6;
    /// What each type has behind the checksum.
    pub const REST: Field = 4..8;
}

/// GRE (RFC 2784 section 2), and what version 1 has in the place of the key (RFC 2637 section 4.1).
pub mod gre {
    use super::Field;
    pub const FLAGS_AND_VERSION: Field = 0..2;
    pub const PROTOCOL: Field = 2..4;
    pub const CALL_ID: Field = 6..8;
}

/// ARP for IPv4 over Ethernet (RFC 826).
pub mod arp {
    use super::Field;
    /// Kinds and lengths of the addresses.
    pub const ADDRESS_KINDS: Field = 0..6;
    pub const OPERATION: Field = 6..8;
    pub const SENDER_MAC: Field = 8..14;
    pub const SENDER: Field = 14..18;
    pub const TARGET: Field = 24..28;
}

/// Neighbour solicitations and advertisements behind ICMPv6's checksum (RFC 4861 sections 4.3 and 4.4).
pub mod ndp {
    use super::Field;
    pub const FLAGS: usize = 4;
    pub const TARGET: Field = 8..24;
}

/// DHCP behind UDP's header (RFC 2131 section 2).
pub mod dhcp {
    use super::Field;
    pub const OPERATION: usize = 0;
    pub const CLIENT_MAC: Field = 28..34;
}

/// Multicast listener queries behind ICMPv6's checksum (RFC 3810 section 5.1).
pub mod mld {
    use super::Field;
    pub const MAX_RESPONSE_CODE: Field = 4..6;
    pub const GROUP: Field = 8..24;
}
