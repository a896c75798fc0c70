//! The forwarding table (FIB): longest prefix match for both families.
//!
//! Two prefixes are disjoint or one holds the other. So they cut a family's addresses into ranges, in each of
//! which one prefix is the longest, and a look-up is a binary search for the range: a dozen steps for some
//! thousands of routes, in memory that is written once.

use crate::policy::Prefix;
use crate::tuple::Family;

/// What stands behind prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fib<T> {
    v4: Ranges<T>,
    v6: Ranges<T>,
}

/// The ranges of one family: each begins at its start and ends before the next one's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ranges<T> {
    starts: Vec<u128>,
    targets: Vec<Option<T>>,
}

impl<T: Copy> Fib<T> {
    /// The FIB of these prefixes. Of two equal ones the later counts.
    pub fn new(prefixes: &[(Prefix, T)]) -> Self {
        let of = |family| prefixes.iter().filter(move |(prefix, _)| prefix.family() == family).copied();
        Self { v4: Ranges::new(of(Family::V4).collect()), v6: Ranges::new(of(Family::V6).collect()) }
    }

    /// What stands behind the longest prefix that an address, given as its number, lies in.
    #[inline]
    pub fn get(&self, family: Family, address: u128) -> Option<T> {
        match family {
            Family::V4 => self.v4.get(address),
            Family::V6 => self.v6.get(address),
        }
    }
}

impl<T: Copy> Ranges<T> {
    fn new(mut prefixes: Vec<(Prefix, T)>) -> Self {
        let mut ranges = Self { starts: Vec::new(), targets: Vec::new() };
        ranges.begin(0, None);
        // A prefix comes behind those that hold it.
        prefixes.sort_by_key(|(prefix, _)| (prefix.first(), std::cmp::Reverse(prefix.last())));
        let mut open: Vec<(u128, T)> = Vec::new();
        for (prefix, target) in prefixes {
            ranges.close(&mut open, Some(prefix.first()));
            ranges.begin(prefix.first(), Some(target));
            open.push((prefix.last(), target));
        }
        ranges.close(&mut open, None);
        ranges
    }

    /// Ends the open prefixes that end before an address, or all of them.
    fn close(&mut self, open: &mut Vec<(u128, T)>, before: Option<u128>) {
        while let Some((last, _)) = open.pop_if(|(last, _)| before.is_none_or(|address| *last < address)) {
            if let Some(next) = last.checked_add(1) {
                self.begin(next, open.last().map(|(_, target)| *target));
            }
        }
    }

    fn begin(&mut self, start: u128, target: Option<T>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.targets.pop();
        }
        self.starts.push(start);
        self.targets.push(target);
    }

    #[inline]
    fn get(&self, address: u128) -> Option<T> {
        let behind = self.starts.partition_point(|start| *start <= address);
        self.targets.get(behind.wrapping_sub(1)).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::number;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    fn fib(routes: &[(&str, u8, u32)]) -> Fib<u32> {
        let prefix = |(address, length, target): &(&str, u8, u32)| {
            (Prefix::new(address.parse().unwrap(), *length), *target)
        };
        Fib::new(&routes.iter().map(prefix).collect::<Vec<_>>())
    }

    fn get(table: &Fib<u32>, address: &str) -> Option<u32> {
        let address: IpAddr = address.parse().unwrap();
        table.get(Family::of(address), number(address))
    }

    #[test]
    fn the_longest_prefix_wins() {
        let table = fib(&[
            ("0.0.0.0", 0, 1),
            ("10.0.0.0", 8, 2),
            ("10.1.0.0", 16, 3),
            ("10.1.2.3", 32, 4),
            ("10.255.0.0", 16, 5),
        ]);
        for (address, target) in [
            ("9.255.255.255", 1),
            ("10.0.0.0", 2),
            ("10.1.0.0", 3),
            ("10.1.2.3", 4),
            ("10.1.2.4", 3),
            ("10.2.0.0", 2),
            ("10.255.255.255", 5),
            ("11.0.0.0", 1),
            ("255.255.255.255", 1),
        ] {
            assert_eq!(get(&table, address), Some(target), "{address}");
        }
        assert_eq!(get(&table, "::a01:203"), None);
    }

    #[test]
    fn both_families_have_an_end() {
        let table = fib(&[("255.255.255.255", 32, 1), ("ffff::", 16, 2), ("::", 0, 3)]);
        assert_eq!(get(&table, "255.255.255.254"), None);
        assert_eq!(get(&table, "255.255.255.255"), Some(1));
        assert_eq!(get(&table, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Some(2));
        assert_eq!(get(&table, "fffe::"), Some(3));
    }

    #[test]
    fn the_later_of_two_equal_prefixes_counts() {
        assert_eq!(get(&fib(&[("10.0.0.0", 8, 1), ("10.9.9.9", 8, 2)]), "10.1.1.1"), Some(2));
    }

    #[test]
    fn an_empty_table_has_no_route() {
        assert_eq!(get(&fib(&[]), "10.1.1.1"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        /// Few bits vary, so that prefixes nest and meet.
        #[test]
        fn a_look_up_agrees_with_a_walk(routes in prop::collection::vec((0u8..16, 0u8..=4), 0..40), v6: bool) {
            let address = |bits: u8| match v6 {
                false => IpAddr::from(Ipv4Addr::from(u32::from(bits) << 28)),
                true => IpAddr::from(Ipv6Addr::from(u128::from(bits) << 124)),
            };
            let routes: Vec<_> = (0u32..).zip(&routes).map(|(n, (bits, length))| (Prefix::new(address(*bits), *length), n, *length)).collect();
            let table = Fib::new(&routes.iter().map(|(prefix, n, _)| (*prefix, *n)).collect::<Vec<_>>());
            let family = if v6 { Family::V6 } else { Family::V4 };
            for bits in 0..16 {
                let wanted = number(address(bits)) + 5;
                let best = routes.iter().filter(|(prefix, ..)| prefix.contains(family, wanted)).max_by_key(|(_, n, length)| (*length, *n));
                prop_assert_eq!(table.get(family, wanted), best.map(|(_, n, _)| *n));
            }
        }
    }
}
