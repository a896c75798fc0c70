//! The forwarding table (FIB): longest prefix match for both families.
//!
//! A trie for each family: by the first 16 bits of an address, or the first 24 where there are many routes of IPv4, and below that
//! by eight at a time, as deep as the longest prefix there goes. So most look-ups in a full table of the Internet read one cache
//! line of IPv4 (Gupta and others, "Routing Lookups in Hardware at Memory Access Speeds", 1998). A node keeps each run of slots that lead to the same but once, found by counting bits (Degermark and
//! others, "Small Forwarding Tables for Fast Routing Lookups", 1997). Tables are made whole and never changed.

use crate::prefix::Prefix;
use crate::tuple::Family;
use arrayvec::ArrayVec;

/// What stands behind prefixes: a number for each, below [`Fib::NUMBERS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fib {
    v4: Trie,
    v6: Trie,
}

/// The routes of one family, by addresses whose first bit is the highest of 128.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trie {
    /// By the first bits; empty where there are no routes.
    root: Vec<Entry>,
    /// How many bits these are.
    root_bits: u32,
    nodes: Vec<Node>,
    /// Those of the nodes.
    entries: Vec<Entry>,
}

/// What a slot leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry(u32);

/// What stands behind a slot.
enum Below {
    Number(u32),
    Nothing,
    Node(usize),
}

/// 256 slots, by eight bits of an address. One cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
struct Node {
    /// A bit for each slot that leads elsewhere than the one before it; that of the first slot is set.
    begins: [u64; 4],
    /// How many bits are set in the words before each.
    before: [u8; 4],
    /// The entry of the first slot; those of the others that begin a run are behind it.
    first: u32,
}

/// A look-up on its way: the node that it has come to, and the bits of the address behind it.
struct Walk<'a> {
    trie: &'a Trie,
    node: &'a Node,
    rest: u128,
}

/// Look-ups whose memory is fetched together: those of a burst.
const TOGETHER: usize = 32;

/// Slots of a node.
const SLOTS: u32 = 1 << 8;

/// The bits of an address that a slot of the root is found by; the same of IPv4 with so many prefixes that their nodes would take
/// longer to read than a large root, which has 64 MiB.
const ROOT_BITS: u32 = 16;
const LARGE_ROOT_BITS: u32 = 24;
const MANY_PREFIXES: usize = 1 << 14;
/// The same of a table that has [a small root](Fib::small) as long as it has few prefixes.
const SMALL_ROOT_BITS: u32 = 8;
const FEW_PREFIXES: usize = 1 << 10;

/// Addresses from a first one up to where the next range begins, which all have the same longest prefix. The address is that of a
/// trie.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: u128,
    entry: Entry,
}

impl Entry {
    const NODE: u32 = 1 << 31;
    const NOTHING: Self = Self(Self::NODE - 1);

    #[inline(always)]
    const fn below(self) -> Below {
        match self {
            Self::NOTHING => Below::Nothing,
            Self(number) if number < Self::NODE => Below::Number(number),
            Self(node) => Below::Node((node - Self::NODE) as usize),
        }
    }
}

impl Fib {
    /// Numbers that can stand behind prefixes.
    pub const NUMBERS: u32 = Entry::NOTHING.0;

    /// The FIB of these prefixes. Of two equal ones the later counts. What has no number that there can be leads nowhere.
    pub fn new(prefixes: impl IntoIterator<Item = (Prefix, u32)>) -> Self {
        let [v4, v6] = by_family(prefixes);
        let v4_bits = if v4.len() < MANY_PREFIXES { ROOT_BITS } else { LARGE_ROOT_BITS };
        Self { v4: Trie::new(v4, v4_bits), v6: Trie::new(v6, ROOT_BITS) }
    }

    /// The same for where there are many tables: its roots are as small as prefixes are few, and a look-up goes a node deeper.
    pub fn small(prefixes: impl IntoIterator<Item = (Prefix, u32)>) -> Self {
        let [v4, v6] = by_family(prefixes).map(|of_family| {
            let bits = if of_family.len() < FEW_PREFIXES { SMALL_ROOT_BITS } else { ROOT_BITS };
            Trie::new(of_family, bits)
        });
        Self { v4, v6 }
    }

    /// What stands behind the longest prefix that an address, given as its number, lies in.
    #[inline(always)]
    pub fn get(&self, family: Family, address: u128) -> Option<u32> {
        match family {
            Family::V4 => self.v4.get(address << 96),
            Family::V6 => self.v6.get(address),
        }
    }

    /// Fetches what the look-ups of a burst's addresses read: of IPv4 the root, of IPv6 all, going down together, a node at a time,
    /// so that they wait for memory together.
    pub fn prefetch(&self, addresses: impl Iterator<Item = (Family, u128)>) {
        let mut walks = ArrayVec::<Walk<'_>, TOGETHER>::new();
        for (family, address) in addresses.take(TOGETHER) {
            match family {
                Family::V4 => self.v4.prefetch_root(address << 96),
                Family::V6 => walks.extend(self.v6.walk(address)),
            }
        }
        while !walks.is_empty() {
            walks.iter().for_each(Walk::prefetch_entry);
            walks.retain(Walk::advance);
        }
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        let of = |trie: &Trie| {
            (trie.root.len() + trie.entries.len()) * size_of::<Entry>() + trie.nodes.len() * size_of::<Node>()
        };
        of(&self.v4) + of(&self.v6)
    }
}

impl Trie {
    /// That of prefixes by their first and last addresses, the root by so many bits.
    fn new(prefixes: Vec<(u128, u128, Entry)>, root_bits: u32) -> Self {
        let mut trie = Self { root: Vec::new(), root_bits, nodes: Vec::new(), entries: Vec::new() };
        if !prefixes.is_empty() {
            let ranges = ranges(prefixes);
            let mut root = Vec::with_capacity(1 << root_bits);
            sluice_memory::advise_huge(&mut root);
            trie.fill(&ranges, 0, u128::BITS - root_bits, 1 << root_bits, |slots, entry| {
                root.extend(std::iter::repeat_n(entry, slots as usize));
            });
            trie.root = root;
        }
        trie
    }

    /// Says what slots lead to, run by run, of which the first begins at `base` and each has `bits` bits of addresses below it;
    /// the first of the ranges holds `base`. Makes the nodes below them.
    fn fill(
        &mut self,
        mut ranges: &[Range],
        base: u128,
        bits: u32,
        slots: u32,
        mut run: impl FnMut(u32, Entry),
    ) {
        let mut slot = 0;
        while slot < slots {
            let start = base + (u128::from(slot) << bits);
            while let [_, rest @ ..] = ranges
                && rest.first().is_some_and(|next| next.start <= start)
            {
                ranges = rest;
            }
            // All slots before the one in which the next range begins are of this one.
            let next = ranges.get(1).map_or(slots, |next| {
                u32::try_from((next.start - base) >> bits).unwrap_or(u32::MAX).min(slots)
            });
            if next > slot {
                run(next - slot, ranges.first().map_or(Entry::NOTHING, |range| range.entry));
                slot = next;
            } else {
                run(1, self.node(ranges, start, bits - 8));
                slot += 1;
            }
        }
    }

    /// Makes a node, and those below it.
    fn node(&mut self, ranges: &[Range], base: u128, bits: u32) -> Entry {
        let mut runs: Vec<(u32, Entry)> = Vec::new();
        let mut slot = 0;
        self.fill(ranges, base, bits, SLOTS, |slots, entry| {
            if runs.last().is_none_or(|(_, before)| *before != entry) {
                runs.push((slot, entry));
            }
            slot += slots;
        });
        let mut node = Node { begins: [0; 4], before: [0; 4], first: self.entries.len() as u32 };
        for (slot, _) in &runs {
            node.begins[*slot as usize / 64] |= 1 << (slot % 64);
        }
        for word in 1..4 {
            node.before[word] = node.before[word - 1] + node.begins[word - 1].count_ones() as u8;
        }
        self.entries.extend(runs.iter().map(|(_, entry)| *entry));
        self.nodes.push(node);
        Entry(Entry::NODE + (self.nodes.len() - 1) as u32)
    }

    /// The entry that an address has in the root.
    #[inline(always)]
    fn root_entry(&self, address: u128) -> Option<&Entry> {
        self.root.get((address >> (u128::BITS - self.root_bits)) as usize)
    }

    #[inline(always)]
    fn prefetch_root(&self, address: u128) {
        if let Some(entry) = self.root_entry(address) {
            sluice_memory::prefetch(entry);
        }
    }

    /// The look-up of an address, if it goes below the root. Fetches its first node.
    fn walk(&self, address: u128) -> Option<Walk<'_>> {
        let node = self.node_below(*self.root_entry(address)?)?;
        Some(Walk { trie: self, node, rest: address << self.root_bits })
    }

    /// The node that an entry leads to, which is fetched; `None` if it leads to none.
    fn node_below(&self, entry: Entry) -> Option<&Node> {
        let Below::Node(node) = entry.below() else { return None };
        let node = self.nodes.get(node)?;
        sluice_memory::prefetch(node);
        Some(node)
    }

    #[inline(always)]
    fn get(&self, address: u128) -> Option<u32> {
        let mut entry = *self.root_entry(address)?;
        let mut rest = address << self.root_bits;
        loop {
            match entry.below() {
                Below::Number(number) => return Some(number),
                Below::Nothing => return None,
                Below::Node(node) => {
                    let index = self.nodes.get(node)?.index((rest >> 120) as u8);
                    entry = *self.entries.get(index)?;
                    rest <<= 8;
                }
            }
        }
    }
}

impl Walk<'_> {
    /// Where the look-up goes on.
    fn entry(&self) -> Option<&Entry> {
        self.trie.entries.get(self.node.index((self.rest >> 120) as u8))
    }

    fn prefetch_entry(&self) {
        if let Some(entry) = self.entry() {
            sluice_memory::prefetch(entry);
        }
    }

    /// Goes on to the node below, which is fetched. False at the end.
    fn advance(&mut self) -> bool {
        let Some(node) = self.entry().and_then(|entry| self.trie.node_below(*entry)) else { return false };
        (self.node, self.rest) = (node, self.rest << 8);
        true
    }
}

impl Node {
    /// The index of a slot's entry.
    #[inline(always)]
    const fn index(&self, slot: u8) -> usize {
        let word = (slot >> 6) as usize;
        let up_to_it = self.begins[word] & u64::MAX >> (63 - (slot & 63));
        self.first as usize + self.before[word] as usize + up_to_it.count_ones() as usize - 1
    }
}

/// The prefixes of IPv4 and of IPv6, by their first and last addresses in a trie.
fn by_family(prefixes: impl IntoIterator<Item = (Prefix, u32)>) -> [Vec<(u128, u128, Entry)>; 2] {
    let [mut v4, mut v6] = [Vec::new(), Vec::new()];
    for (prefix, number) in prefixes {
        let entry = if number < Fib::NUMBERS { Entry(number) } else { Entry::NOTHING };
        match prefix.family() {
            Family::V4 => v4.push((prefix.first() << 96, prefix.last() << 96 | u128::MAX >> 32, entry)),
            Family::V6 => v6.push((prefix.first(), prefix.last(), entry)),
        }
    }
    [v4, v6]
}

/// The ranges that prefixes cut a family's addresses into: two prefixes are disjoint, or one holds the other.
fn ranges(mut prefixes: Vec<(u128, u128, Entry)>) -> Vec<Range> {
    let mut ranges = vec![Range { start: 0, entry: Entry::NOTHING }];
    // A prefix comes behind those that hold it.
    prefixes.sort_by_key(|(first, last, _)| (*first, std::cmp::Reverse(*last)));
    let mut open: Vec<(u128, Entry)> = Vec::new();
    for (first, last, entry) in prefixes {
        close(&mut ranges, &mut open, Some(first));
        begin(&mut ranges, first, entry);
        open.push((last, entry));
    }
    close(&mut ranges, &mut open, None);
    ranges
}

/// Ends the open prefixes that end before an address, or all of them.
fn close(ranges: &mut Vec<Range>, open: &mut Vec<(u128, Entry)>, before: Option<u128>) {
    while let Some((last, _)) = open.pop_if(|(last, _)| before.is_none_or(|address| *last < address)) {
        if let Some(next) = last.checked_add(1) {
            begin(ranges, next, open.last().map_or(Entry::NOTHING, |(_, entry)| *entry));
        }
    }
}

/// Has a range begin at an address, in place of one that begins there, too.
fn begin(ranges: &mut Vec<Range>, start: u128, entry: Entry) {
    ranges.pop_if(|last| last.start == start);
    ranges.push(Range { start, entry });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::number;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use std::net::{IpAddr, Ipv4Addr};

    fn fib(routes: &[(&str, u8, u32)]) -> Fib {
        let prefix = |(address, length, target): &(&str, u8, u32)| {
            (Prefix::new(address.parse().unwrap(), *length), *target)
        };
        Fib::new(routes.iter().map(prefix))
    }

    fn get(table: &Fib, address: &str) -> Option<u32> {
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

        /// Few bits vary, so that prefixes nest and meet: the highest, or some far down.
        #[test]
        fn a_look_up_agrees_with_a_walk(
            routes in prop::collection::vec((0u8..16, 0u8..=4), 0..40), v6: bool, down in prop::sample::select(&[0_u8, 6, 12, 14, 20, 26, 27]), base: u128
        ) {
            let (family, width) = if v6 { (Family::V6, 128) } else { (Family::V4, 32) };
            let down = down.min(width - 5);
            let below = u32::from(width - down - 4);
            let base = base & u128::MAX >> (128 - width) & !(0xf << below);
            let number = |bits: u8| base | u128::from(bits) << below;
            let address = |bits: u8| crate::tuple::address(family, number(bits));
            let prefix = |bits: u8, length: u8| Prefix::new(address(bits), length.checked_sub(1).map_or(0, |length| length + 1 + down));
            let routes: Vec<_> = (0u32..).zip(&routes).map(|(n, (bits, length))| (prefix(*bits, *length), n, *length)).collect();
            let table = Fib::new(routes.iter().map(|(prefix, n, _)| (*prefix, *n)));
            for bits in 0..16 {
                for wanted in [number(bits), number(bits) ^ 1, number(bits) ^ 1 << (width - 1)] {
                    let best = routes.iter().filter(|(prefix, ..)| prefix.contains(family, wanted)).max_by_key(|(_, n, length)| (*length, *n));
                    prop_assert_eq!(table.get(family, wanted), best.map(|(_, n, _)| *n));
                }
            }
        }
    }

    #[test]
    fn many_routes_have_a_larger_root_and_are_found_as_few() {
        let count = MANY_PREFIXES as u32;
        // Networks and hosts in turn, two of each beneath each 24 bits.
        let prefix = |n: u32| {
            let length = if n.is_multiple_of(2) { 25 } else { 32 };
            (Prefix::new(Ipv4Addr::from(10 << 24 | n << 7).into(), length), n)
        };
        let (few, many) = (Fib::new((0..count - 1).map(prefix)), Fib::new((0..count).map(prefix)));
        assert_eq!((few.v4.root.len(), many.v4.root.len()), (1 << 16, 1 << 24));
        assert!(many.memory_bytes() < 68 << 20);
        for n in 0..count - 1 {
            for within in [0, 1, 127] {
                let address = u128::from(10 << 24 | n << 7 | within);
                let found = many.get(Family::V4, address);
                assert_eq!(found, few.get(Family::V4, address), "{n} {within}");
                assert_eq!(found, (within == 0 || n.is_multiple_of(2)).then_some(n));
            }
        }
        assert_eq!(many.get(Family::V4, 9 << 24), None);
        // Fetching ahead ends, however deep the look-ups go.
        many.prefetch((0..40).map(|n| (Family::V4, n << 20)));
        let deep = fib(&[("2001:db8::1", 128, 1), ("2001:db8::", 32, 2)]);
        let address = |text: &str| (Family::V6, number(text.parse().unwrap()));
        deep.prefetch([address("2001:db8::1"), address("2001:db8::2"), address("fd00::1")].into_iter());
        Fib::new([]).prefetch([address("::1"), (Family::V4, 1)].into_iter());
    }

    #[test]
    fn a_small_table_is_small_and_a_long_prefix_costs_little() {
        assert!(fib(&[]).memory_bytes() == 0);
        assert!(fib(&[("0.0.0.0", 0, 1), ("10.0.0.0", 8, 2)]).memory_bytes() <= 256 << 10);
        let hosts = (0..10_000_u32).map(|n| {
            // Spread over the whole of a /8, by the golden ratio.
            let address = 10 << 24 | n.wrapping_mul(0x9e37_79b9) >> 8;
            (Prefix::new(Ipv4Addr::from(address).into(), 32), n)
        });
        assert!(Fib::new(hosts).memory_bytes() < 4 << 20, "some hundred bytes each");
    }
}
