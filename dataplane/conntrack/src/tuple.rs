//! The tuple: what names one direction of a connection.
//!
//! IPv4 and IPv6 share one shape. An address is a number, an IPv4 address the number below 2^32; the
//! family stands in the selector, so that the two never meet.

pub use crate::family::Family;
use crate::icmp_type;
use crate::ids::Zone;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One of the two ways a packet of a connection can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Direction {
    /// The way of the packet that made the entry.
    Original = 0,
    /// The other way.
    Reply = 1,
}

impl Direction {
    /// The other direction.
    pub const fn invert(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }

    /// Its name, as connection tracking has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Reply => "reply",
        }
    }
}

/// IP protocol numbers that have a tracker or a meaning here (IANA "Protocol Numbers").
pub mod protocol {
    #![allow(missing_docs)]
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const DCCP: u8 = 33;
    pub const GRE: u8 = 47;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const SCTP: u8 = 132;
    pub const UDPLITE: u8 = 136;

    /// Whether it is ICMP, of either family.
    pub const fn is_icmp(number: u8) -> bool {
        matches!(number, ICMP | ICMPV6)
    }

    /// Whether a tuple of this protocol has the ports of its packets.
    pub const fn has_ports(number: u8) -> bool {
        matches!(number, TCP | UDP | UDPLITE | SCTP)
    }
}

/// Everything of a tuple but its addresses, packed for one comparison:
/// source port, destination port, zone, protocol, family, from the highest bits down.
///
/// ICMP has its identifier where others have the source port, and type and code (`type << 8 | code`) in
/// place of the destination port. A protocol without ports has zeros.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(transparent)]
pub struct Selector(u64);

impl Selector {
    /// Packs the parts.
    pub const fn new(family: Family, protocol: u8, zone: Zone, sport: u16, dport: u16) -> Self {
        Self(
            (sport as u64) << 48
                | (dport as u64) << 32
                | (zone as u64) << 16
                | (protocol as u64) << 8
                | family as u64,
        )
    }

    /// Source port or ICMP identifier, host order.
    pub const fn sport(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// Destination port or ICMP `type << 8 | code`, host order.
    pub const fn dport(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// The zone.
    pub const fn zone(self) -> Zone {
        (self.0 >> 16) as u16
    }

    /// IP protocol number.
    pub const fn protocol(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The address family.
    pub const fn family(self) -> Family {
        if self.0 as u8 == Family::V6 as u8 { Family::V6 } else { Family::V4 }
    }

    /// The same with another zone.
    pub const fn with_zone(self, zone: Zone) -> Self {
        Self(self.0 & !(0xffff << 16) | (zone as u64) << 16)
    }

    /// Source and destination port, one behind the other.
    pub const fn ports(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The same with other ports: source and destination port, one behind the other.
    pub const fn with_ports(self, ports: u32) -> Self {
        Self(self.0 & 0xffff_ffff | (ports as u64) << 32)
    }

    /// The same with another source port.
    #[must_use]
    pub const fn with_sport(self, sport: u16) -> Self {
        Self(self.0 & !(0xffff << 48) | (sport as u64) << 48)
    }

    /// The same with another destination port.
    #[must_use]
    pub const fn with_dport(self, dport: u16) -> Self {
        Self(self.0 & !(0xffff << 32) | (dport as u64) << 32)
    }

    /// The same of another family.
    #[must_use]
    pub(crate) const fn with_family(self, family: Family) -> Self {
        Self(self.0 & !0xff | family as u64)
    }

    /// The same of another protocol.
    #[must_use]
    pub const fn with_protocol(self, protocol: u8) -> Self {
        Self(self.0 & !(0xff << 8) | (protocol as u64) << 8)
    }

    /// The packed number, for hashing.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The selector of the opposite direction: ports change places, an ICMP query type becomes the type
    /// of its answer.
    #[inline(always)]
    pub fn invert(self) -> Self {
        let ports = (self.0 >> 32) as u32;
        let inverted = match self.protocol() {
            protocol::ICMP | protocol::ICMPV6 => {
                let [id @ .., kind, code] = ports.to_be_bytes();
                let answer = icmp_type::invert_type(self.family(), kind);
                u32::from_be_bytes([id[0], id[1], answer, code])
            }
            _ => ports.rotate_left(16),
        };
        Self(self.0 & 0xffff_ffff | u64::from(inverted) << 32)
    }
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, zerocopy::FromZeros)]
pub struct Tuple {
    /// Source address as a number.
    pub src: u128,
    /// Destination address as a number.
    pub dst: u128,
    /// Ports, zone, protocol and family.
    pub selector: Selector,
}

impl Tuple {
    /// A tuple in zone 0 from its parts; `sport` and `dport` in host order.
    pub fn new(src: IpAddr, dst: IpAddr, protocol: u8, sport: u16, dport: u16) -> Self {
        let selector = Selector::new(Family::of(src), protocol, 0, sport, dport);
        Self { src: number(src), dst: number(dst), selector }
    }

    /// The tuple of the opposite direction.
    #[inline]
    pub fn invert(self) -> Self {
        Self { src: self.dst, dst: self.src, selector: self.selector.invert() }
    }

    /// The address family.
    pub const fn family(self) -> Family {
        self.selector.family()
    }

    /// IP protocol number.
    pub const fn protocol(self) -> u8 {
        self.selector.protocol()
    }

    /// Source address.
    pub fn source(self) -> IpAddr {
        address(self.family(), self.src)
    }

    /// Destination address.
    pub fn destination(self) -> IpAddr {
        address(self.family(), self.dst)
    }

    /// The port of a reply tuple that stands for the source of its connection: that of its destination; of ICMP the
    /// identifier.
    pub const fn reply_port(&self) -> u16 {
        if protocol::is_icmp(self.protocol()) { self.selector.sport() } else { self.selector.dport() }
    }

    /// Whether a connection with this original tuple can have `reply` as reply tuple: one protocol, family and zone; ports where
    /// there are any, and a message of ICMP that answers.
    pub(crate) fn may_be_answered_by(&self, reply: &Self) -> bool {
        let (ours, theirs) = (self.selector, reply.selector);
        let number = self.protocol();
        let is_of_family = match number {
            protocol::ICMP => self.family() == Family::V4,
            protocol::ICMPV6 => self.family() == Family::V6,
            _ => true,
        };
        let has_keys = protocol::has_ports(number) || protocol::is_icmp(number) || number == protocol::GRE;
        let answers = !protocol::is_icmp(number) || ours.invert().dport() == theirs.dport();
        ours.with_ports(0) == theirs.with_ports(0)
            && is_of_family
            && (has_keys || ours.ports() == 0 && theirs.ports() == 0)
            && answers
            && self != reply
    }

    /// Whether the source, and whether the destination, of a connection with this original tuple is translated if `reply` is its reply tuple.
    #[inline]
    pub(crate) fn translations(&self, reply: &Self) -> [bool; 2] {
        let to = reply.invert();
        let source = (to.src, to.selector.sport()) != (self.src, self.selector.sport());
        [source, (to.dst, to.selector.dport()) != (self.dst, self.selector.dport())]
    }

    /// The reply tuple with another such port.
    #[must_use]
    pub(crate) const fn with_reply_port(self, port: u16) -> Self {
        let selector = if protocol::is_icmp(self.protocol()) {
            self.selector.with_sport(port)
        } else {
            self.selector.with_dport(port)
        };
        Self { selector, ..self }
    }
}

/// The number of an address.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address of a number.
pub fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(number as u32)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(protocol: u8, sport: u16, dport: u16) -> Tuple {
        Tuple::new([10, 0, 0, 1].into(), [198, 51, 100, 2].into(), protocol, sport, dport)
    }

    #[test]
    fn inverting_twice_is_the_same_tuple() {
        for t in [tuple(protocol::TCP, 1, 2), tuple(protocol::ICMP, 77, 8 << 8), tuple(protocol::ESP, 0, 0)] {
            assert_eq!(t.invert().invert(), t);
        }
    }

    #[test]
    fn an_echo_request_inverts_to_its_reply() {
        let reply = tuple(protocol::ICMP, 77, 8 << 8).invert();
        assert_eq!((reply.selector.sport(), reply.selector.dport()), (77, 0));
        assert_eq!(reply.source(), IpAddr::from([198, 51, 100, 2]));
    }

    #[test]
    fn zone_and_family_keep_tuples_apart() {
        let t = tuple(protocol::UDP, 1, 2);
        let other = Tuple { selector: t.selector.with_zone(9), ..t };
        assert_ne!(t, other);
        assert_eq!(other.selector.zone(), 9);
        assert_eq!(other.selector.family(), Family::V4);
        assert_eq!(other.invert().selector.zone(), 9);
    }
}
