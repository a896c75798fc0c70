//! Which ports of the translated addresses are in use: what makes finding a free one quick, and what `nat pools` shows.
//!
//! A port may serve several connections, towards different servers. So what decides whether a connection can have a port is
//! its reply tuple, and the index knows those; a pool counts how often each port is used, and finds one that nobody uses
//! in a few steps. What it says is a hint: of addresses that a new configuration brings, the table is swept for connections
//! that use them already ([`super::sweep`]), and until that is done some are missing. Addresses that lie near those of a pool
//! are counted with them.

use super::blocks::PortBlock;
use super::ports::{SPACES, space};
use super::used_ports::{UsedPorts, next_free};
use crate::tuple::{Family, Tuple, number};
use sluice_memory::Arena;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Neighbouring addresses that have their ports in one arena: a mapping for each address would be too many for the kernel.
const GROUP: u128 = 64;

/// What is known of a group.
#[derive(Debug)]
struct Group {
    /// Its family and first address.
    key: (Family, u128),
    /// [`SPACES`] for each address. They take memory where they are written, so that many addresses of which few are used
    /// cost little. Where the host refuses even the address space, nothing is counted.
    ports: Option<Arena<UsedPorts>>,
    /// Whether only entries are counted that the sweep has passed.
    partial: bool,
}

impl Group {
    fn new(key: (Family, u128)) -> Self {
        Self { key, ports: Arena::sparse(GROUP as usize * SPACES).ok(), partial: false }
    }
}

/// The translated addresses of a box and the use of their ports, by one shard.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    /// The groups that have addresses of the pools. Sorted.
    groups: Vec<Group>,
}

/// The group of an address.
const fn key(family: Family, address: u128) -> (Family, u128) {
    (family, address - address % GROUP)
}

/// Where its group has the ports of an address.
const fn index_in_group(address: u128, space: usize) -> usize {
    (address % GROUP) as usize * SPACES + space
}

impl Pools {
    /// Pools of these addresses, no port used.
    pub(crate) fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let key = |address| key(Family::of(address), number(address));
        let mut keys: Vec<_> = addresses.into_iter().map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        Self { groups: keys.into_iter().map(Group::new).collect() }
    }

    /// Takes over what `other` knows about groups that both have. Of all others nothing is counted yet.
    pub(crate) fn take_over(&mut self, other: &mut Self) {
        for group in &mut self.groups {
            match other.find(group.key).map(|index| &mut other.groups[index]) {
                Some(old) if !old.partial => std::mem::swap(&mut group.ports, &mut old.ports),
                _ => group.partial = true,
            }
        }
    }

    /// Whether entries are to be counted that were there before.
    pub(crate) fn is_partial(&self) -> bool {
        self.groups.iter().any(|group| group.partial)
    }

    /// All entries are counted.
    pub(crate) fn complete(&mut self) {
        self.groups.iter_mut().for_each(|group| group.partial = false);
    }

    /// The index of a group.
    fn find(&self, key: (Family, u128)) -> Option<usize> {
        self.groups.binary_search_by_key(&key, |group| group.key).ok()
    }

    fn group(&self, family: Family, address: u128) -> Option<&Group> {
        self.groups.get(self.find(key(family, address))?)
    }

    fn get(&self, family: Family, address: u128, space: usize) -> Option<&UsedPorts> {
        self.group(family, address)?.ports.as_ref()?.get(index_in_group(address, space))
    }

    /// The used ports of a reply tuple's address and protocol. `None` where they are not counted: in no pool, or in one that is
    /// new in the configuration while the sweep has not yet come to the entry, which it will count then.
    fn get_mut(&mut self, reply: &Tuple, swept: bool) -> Option<&mut UsedPorts> {
        let index = self.find(key(reply.family(), reply.dst))?;
        let group = self.groups.get_mut(index).filter(|group| swept || !group.partial)?;
        group.ports.as_mut()?.get_mut(index_in_group(reply.dst, space(reply.protocol())))
    }

    /// Bytes of memory of the ports in use.
    pub(crate) fn memory_bytes(&self) -> usize {
        let ports = self.groups.iter().filter_map(|group| group.ports.as_ref());
        ports.flat_map(|spaces| spaces.iter()).map(UsedPorts::memory_bytes).sum()
    }

    /// Fetches what is known about a port ahead of its use.
    pub(crate) fn prefetch(&self, family: Family, address: u128, protocol: u8, port: u16) {
        if let Some(ports) = self.get(family, address, space(protocol)) {
            sluice_memory::prefetch(&ports.uses[usize::from(port)]);
        }
    }

    /// Counts a connection on the port that packets of this tuple come to; `swept` says whether the sweep has passed its
    /// entry. Nothing happens for an address far from any pool.
    pub(crate) fn take(&mut self, reply: &Tuple, swept: bool) {
        if let Some(ports) = self.get_mut(reply, swept) {
            ports.take(reply.reply_port());
        }
    }

    /// Counts a connection on a port no more.
    pub(crate) fn give_back(&mut self, reply: &Tuple, swept: bool) {
        if let Some(ports) = self.get_mut(reply, swept) {
            ports.give_back(reply.reply_port());
        }
    }

    /// Counts a connection whose entry the sweep passes now, where that has not been done.
    pub(crate) fn take_late(&mut self, reply: &Tuple) {
        if self.group(reply.family(), reply.dst).is_some_and(|group| group.partial) {
            self.take(reply, true);
        }
    }

    /// The first of some ports in a row that nobody uses, of those that packets of this tuple could come to, `among` those
    /// wanted ([`next_free`]). Any will do of an address far from any pool.
    pub(super) fn next_free(
        &self,
        reply: &Tuple,
        ports: RangeInclusive<u16>,
        among: impl Fn(usize) -> u64,
    ) -> Option<u16> {
        next_free(self.get(reply.family(), reply.dst, space(reply.protocol())), ports, among)
    }

    /// Compares the ports in use with the tuples that packets come to, for all addresses that they come to.
    ///
    /// # Errors
    /// What is counted otherwise.
    pub(crate) fn check(&self, replies: impl Iterator<Item = Tuple>) -> Result<(), String> {
        let mut expected = BTreeMap::<_, BTreeMap<u16, u16>>::new();
        for tuple in replies {
            if self.group(tuple.family(), tuple.dst).is_some_and(|group| !group.partial) {
                let ports = expected.entry((tuple.family(), tuple.dst, space(tuple.protocol()))).or_default();
                *ports.entry(tuple.reply_port()).or_default() += 1;
            }
        }
        for ((family, address, space), expected) in expected {
            let Some(ports) = self.get(family, address, space) else { continue };
            let counted = |(port, uses): (&u16, &u16)| ports.uses[usize::from(*port)] == *uses;
            if ports.used(&(0..=u16::MAX)) as usize != expected.len() || !expected.iter().all(counted) {
                return Err(format!("ports of {address:x} are not {expected:?}"));
            }
        }
        Ok(())
    }

    /// How many ports of a block are in use, in each space.
    pub(crate) fn used(&self, block: &PortBlock) -> [u32; SPACES] {
        std::array::from_fn(|space| {
            let ports = self.get(Family::of(block.address), number(block.address), space);
            ports.map_or(0, |ports| ports.used(&block.ports[space]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::used_ports::around;
    use super::*;
    use crate::tuple::protocol;
    use std::net::Ipv4Addr;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

    fn pools() -> Pools {
        Pools::new([ADDRESS.into()])
    }

    /// The ports that nobody uses, from `start` upwards and around.
    fn free(pools: &Pools, range: RangeInclusive<u16>, start: u16) -> Vec<u16> {
        free_of(pools, &reply(ADDRESS, 0), range, start)
    }

    fn free_of(pools: &Pools, reply: &Tuple, range: RangeInclusive<u16>, start: u16) -> Vec<u16> {
        let walk = |part: RangeInclusive<u16>| {
            let (first, last) = part.into_inner();
            let next = move |from| pools.next_free(reply, from..=last, |_| u64::MAX);
            std::iter::successors(next(first), move |port| next(port.checked_add(1)?))
        };
        around(&range, start).into_iter().filter(|part| !part.is_empty()).flat_map(walk).collect()
    }

    fn reply(address: Ipv4Addr, port: u16) -> Tuple {
        Tuple::new([198, 51, 100, 2].into(), address.into(), protocol::TCP, 80, port)
    }

    fn take(pools: &mut Pools, port: u16) {
        pools.take(&reply(ADDRESS, port), true);
    }

    fn give_back(pools: &mut Pools, port: u16) {
        pools.give_back(&reply(ADDRESS, port), true);
    }

    #[test]
    fn a_walk_goes_around_and_passes_over_what_is_used() {
        let mut pools = pools();
        assert_eq!(free(&pools, 10..=14, 12), [12, 13, 14, 10, 11]);
        take(&mut pools, 13);
        take(&mut pools, 13);
        take(&mut pools, 10);
        assert_eq!(free(&pools, 10..=14, 12), [12, 14, 11]);
        give_back(&mut pools, 13);
        assert_eq!(free(&pools, 10..=14, 12), [12, 14, 11], "another connection still uses it");
        give_back(&mut pools, 13);
        assert_eq!(free(&pools, 10..=14, 12), [12, 13, 14, 11]);
        assert_eq!(pools.used(&PortBlock::whole(ADDRESS.into())), [1, 0, 0]);
    }

    #[test]
    fn each_block_counts_its_own_ports() {
        let mut pools = pools();
        let taken = [0, 63, 64, 1023, 1024, 4095, 4096, 40_000, u16::MAX];
        taken.iter().for_each(|port| take(&mut pools, *port));
        for (first, last) in
            [(0, u16::MAX), (1, 63), (64, 1024), (1024, u16::MAX), (4096, 8191), (40_000, 40_000)]
        {
            let ports = [first..=last, first..=last, first..=last];
            let expected = taken.iter().filter(|port| (first..=last).contains(*port)).count() as u32;
            let used = pools.used(&PortBlock { address: ADDRESS.into(), ports });
            assert_eq!(used, [expected, 0, 0], "{first}-{last}");
        }
        assert_eq!(
            pools.used(&PortBlock::whole([192, 0, 2, 1].into())),
            [0; SPACES],
            "an address of no pool"
        );
    }

    #[test]
    fn the_last_free_port_is_found_wherever_it_is() {
        let mut pools = pools();
        (0..=u16::MAX).for_each(|port| take(&mut pools, port));
        assert_eq!(free(&pools, 0..=u16::MAX, 40_000), []);
        for port in [0, 1, 63, 64, 4095, 4096, 39_999, 40_000, u16::MAX] {
            give_back(&mut pools, port);
            assert_eq!(free(&pools, 0..=u16::MAX, 40_000), [port]);
            take(&mut pools, port);
        }
    }

    #[test]
    fn use_survives_a_new_configuration() {
        let mut old = pools();
        take(&mut old, 5);
        let other = Ipv4Addr::new(203, 0, 113, 2);
        let mut new = Pools::new([other.into(), ADDRESS.into()]);
        new.take_over(&mut old);
        assert_eq!(free(&new, 4..=6, 4), [4, 6]);
        assert!(!new.is_partial());
    }

    #[test]
    fn what_a_sweep_has_not_passed_counts_when_it_does() {
        let mut pools = pools();
        pools.take_over(&mut Pools::default());
        assert!(pools.is_partial());
        // Three entries were there before; one ends ahead of the sweep, and one comes there.
        pools.give_back(&reply(ADDRESS, 4), false);
        pools.take(&reply(ADDRESS, 7), false);
        assert_eq!(free(&pools, 4..=8, 4), [4, 5, 6, 7, 8]);
        for port in 5..8 {
            pools.take_late(&reply(ADDRESS, port));
        }
        take(&mut pools, 8);
        give_back(&mut pools, 5);
        assert_eq!(free(&pools, 4..=8, 4), [4, 5]);
        pools.complete();
        pools.take_late(&reply(ADDRESS, 4));
        assert_eq!(free(&pools, 4..=8, 4), [4, 5], "there is no sweep");
        pools.take(&reply(ADDRESS, 5), false);
        assert_eq!(free(&pools, 4..=8, 4), [4]);
    }

    #[test]
    fn protocols_and_strange_addresses_do_not_meet() {
        let mut pools = pools();
        take(&mut pools, 5);
        let udp = Tuple::new([198, 51, 100, 2].into(), ADDRESS.into(), protocol::UDP, 80, 0);
        assert_eq!(free_of(&pools, &udp, 5..=6, 5), [5, 6]);
        pools.take(&reply(Ipv4Addr::from(99), 5), true);
        assert_eq!(free_of(&pools, &reply(Ipv4Addr::from(99), 0), 5..=6, 6), [6, 5]);
    }
}
