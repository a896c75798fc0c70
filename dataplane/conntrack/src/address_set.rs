//! Sets of addresses that rules look for by name, as nft's sets and ipset: however many prefixes a set has, asking whether an address is
//! in one of them costs a few steps down a trie ([`Fib`]). A set is made whole and never changed: another takes its place.

use crate::family::Family;
use crate::forward::fib::Fib;
use crate::prefix::Prefix;
use std::sync::Arc;

/// A set of addresses of both families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSet(Fib);

impl AddressSet {
    /// That of these prefixes, which may overlap.
    pub fn new(prefixes: impl IntoIterator<Item = Prefix>) -> Self {
        Self(Fib::small(prefixes.into_iter().map(|prefix| (prefix, 0))))
    }

    /// Whether an address, given as its number, is in it.
    #[inline]
    pub fn contains(&self, family: Family, address: u128) -> bool {
        self.0.get(family, address).is_some()
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }
}

/// The sets that a rule looks for a packet's addresses in: any of each side's, or wherever an address may be where that has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InSets {
    /// Those of the source.
    pub source: Vec<Arc<AddressSet>>,
    /// Those of the destination.
    pub destination: Vec<Arc<AddressSet>>,
}

impl InSets {
    /// Whether both addresses, given as their numbers, are where they are looked for.
    #[inline(never)]
    pub(crate) fn hold(&self, family: Family, source: u128, destination: u128) -> bool {
        let any = |sets: &[Arc<AddressSet>], address| {
            sets.is_empty() || sets.iter().any(|set| set.contains(family, address))
        };
        any(&self.source, source) && any(&self.destination, destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::number;
    use std::net::IpAddr;

    fn set(prefixes: &[(&str, u8)]) -> AddressSet {
        AddressSet::new(
            prefixes.iter().map(|(address, length)| Prefix::new(address.parse().unwrap(), *length)),
        )
    }

    fn has(set: &AddressSet, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        set.contains(Family::of(address), number(address))
    }

    #[test]
    fn an_address_is_in_a_set_if_any_prefix_holds_it() {
        let set = set(&[("192.0.2.0", 24), ("192.0.2.7", 32), ("198.51.100.9", 32), ("2001:db8::", 32)]);
        for within in ["192.0.2.0", "192.0.2.7", "192.0.2.255", "198.51.100.9", "2001:db8:ffff::1"] {
            assert!(has(&set, within), "{within}");
        }
        for beyond in ["192.0.1.255", "192.0.3.0", "198.51.100.8", "2001:db9::", "::1", "0.0.0.0"] {
            assert!(!has(&set, beyond), "{beyond}");
        }
        assert!(has(&self::set(&[("0.0.0.0", 0)]), "255.255.255.255"));
        assert!(!has(&self::set(&[]), "192.0.2.1") && !has(&self::set(&[]), "::1"));
    }

    #[test]
    fn few_prefixes_take_little_memory_and_many_no_more_than_their_nodes() {
        assert!(set(&[("192.0.2.1", 32), ("2001:db8::1", 128)]).memory_bytes() < 4096);
        let hosts = 100_000_u32;
        // Each in a /24 of its own, as in a list of hosts all over the Internet.
        let many = AddressSet::new((0..hosts).map(|n| Prefix::new((n << 8 | 7).to_be_bytes().into(), 32)));
        assert!((0..hosts).all(|n| many.contains(Family::V4, u128::from(n << 8 | 7))));
        assert!((0..hosts).all(|n| !many.contains(Family::V4, u128::from(n << 8 | 6))));
        assert!(many.memory_bytes() < hosts as usize * 90, "{}", many.memory_bytes());
    }

    #[test]
    fn a_side_without_sets_may_be_anywhere() {
        let hosts = Arc::new(set(&[("192.0.2.0", 24)]));
        let number = |address: &str| number(address.parse().unwrap());
        let (inside, outside) = (number("192.0.2.1"), number("198.51.100.1"));
        let of_source = InSets { source: vec![Arc::clone(&hosts)], ..InSets::default() };
        let of_both = InSets { source: vec![Arc::clone(&hosts)], destination: vec![hosts] };
        assert!(of_source.hold(Family::V4, inside, outside) && !of_source.hold(Family::V4, outside, inside));
        assert!(of_both.hold(Family::V4, inside, inside) && !of_both.hold(Family::V4, inside, outside));
    }
}
