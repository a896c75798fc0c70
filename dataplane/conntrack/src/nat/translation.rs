//! What a translated entry keeps beside itself: its reply tuple, and by how much checksums change.

use crate::tuple::{Direction, Family, Selector, Tuple, protocol};
use crate::wire::checksum;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The translation of one entry, a quarter of a cache line.
///
/// What a packet of the original direction becomes is the inverse of the reply tuple, and what a reply becomes is the
/// inverse of the original one; so the reply tuple is all there is to know.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Translation {
    /// Reply source and destination address of an IPv4 entry; zeros in an IPv6 entry.
    addresses: [u32; 2],
    /// Source and destination port of the reply tuple: the upper half of its selector.
    ports: u32,
    /// What the original direction adds to the checksums.
    deltas: Deltas,
}

/// One's complement sums of what a translation adds to a packet: new words less old ones (RFC 1624).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Deltas {
    /// To the IPv4 header.
    pub l3: u16,
    /// To what the L4 checksum covers, pseudo header included.
    pub l4: u16,
}

impl Deltas {
    /// Those of a packet of tuple `from` that becomes one of tuple `to`.
    pub fn between(from: &Tuple, to: &Tuple) -> Self {
        let l3 = checksum::change(from.src, to.src) + checksum::change(from.dst, to.dst);
        let (old, new) = (from.selector, to.selector);
        let sport = checksum::change(old.sport().into(), new.sport().into());
        let l4 = match from.protocol() {
            // Type and code stand where others have the destination port, and stay; ICMP has no pseudo header.
            protocol::ICMP => sport,
            protocol::ICMPV6 => l3 + sport,
            _ => l3 + sport + checksum::change(old.dport().into(), new.dport().into()),
        };
        Self { l3: checksum::fold(l3), l4: checksum::fold(l4) }
    }

    /// Those of the other direction.
    pub const fn invert(self) -> Self {
        Self { l3: !self.l3, l4: !self.l4 }
    }
}

impl Translation {
    /// That of an entry with these two tuples.
    pub fn new(original: &Tuple, reply: &Tuple) -> Self {
        let addresses = match reply.family() {
            Family::V4 => [reply.src as u32, reply.dst as u32],
            Family::V6 => [0; 2],
        };
        let deltas = Deltas::between(original, &reply.invert());
        Self { addresses, ports: reply.selector.ports(), deltas }
    }

    /// Reply source and destination address of an IPv4 entry.
    #[inline]
    pub fn addresses(&self) -> [u128; 2] {
        self.addresses.map(u128::from)
    }

    /// The selector of the reply tuple of an entry with this original one.
    #[inline]
    pub const fn selector(&self, original: Selector) -> Selector {
        original.with_ports(self.ports)
    }

    /// What a packet of `direction` adds to its checksums.
    #[inline]
    pub const fn deltas(&self, direction: Direction) -> Deltas {
        match direction {
            Direction::Original => self.deltas,
            Direction::Reply => self.deltas.invert(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_gives_back_the_reply_tuple() {
        let original = Tuple::new([10, 0, 0, 2].into(), [198, 51, 100, 2].into(), 17, 4000, 53);
        let reply = Tuple::new([198, 51, 100, 2].into(), [203, 0, 113, 1].into(), 17, 53, 5000);
        let kept = Translation::new(&original, &reply);
        assert_eq!(kept.addresses(), [reply.src, reply.dst]);
        assert_eq!(kept.selector(original.selector), reply.selector);
        assert_eq!(size_of::<Translation>(), 16);
    }

    #[test]
    fn there_and_back_a_checksum_is_what_it_was() {
        let original = Tuple::new([10, 0, 0, 2].into(), [198, 51, 100, 2].into(), 6, 4000, 53);
        let reply = Tuple::new([198, 51, 100, 9].into(), [203, 0, 113, 1].into(), 6, 80, 5000);
        let kept = Translation::new(&original, &reply);
        for sum in [0x0001, 0x1234, 0xfffe] {
            let there = checksum::add(sum, kept.deltas(Direction::Original).l4);
            assert_ne!(there, sum);
            assert_eq!(checksum::add(there, kept.deltas(Direction::Reply).l4), sum);
        }
    }
}
