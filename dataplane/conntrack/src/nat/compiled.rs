//! Compiled rules: the rules as connections are bound by them, with what is fixed about a rule worked out beforehand.

use super::ports::choices;
use super::rules::{self, Filtering, Nat, NatRule, PortChoice, Range};
use crate::facts::Facts;
use crate::policy::{Parts, Prefix};
use crate::tuple::{Family, Tuple, number, protocol};
use ahash::RandomState;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Addresses of a pool that are tried for one connection when the ports of those before are used up.
const MAX_ADDRESSES: u64 = 16;

/// What the source or destination of a connection may become by a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) address: u128,
    pub(super) ports: &'a PortChoice,
    /// Whether a port that is free may be changed all the same, so that answers are steered to this shard. It may where clients
    /// share the address. Where the source stays, or is translated one to one, the port is kept, and the shard that answers are
    /// steered to gets a signpost.
    pub(super) steers: bool,
}

/// The compiled rules of a configuration, in the order of the rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompiledRules {
    pub(super) source: Vec<CompiledRule>,
    pub(super) destination: Vec<CompiledRule>,
    /// The addresses outside whose mapped ports are open to everybody: from the first to the last.
    open: Vec<(Family, RangeInclusive<u128>)>,
}

impl CompiledRules {
    /// Those of these rules; `own` says which addresses of the box one can mean.
    pub(crate) fn new(nat: Nat, own: impl Fn(&NatRule) -> Vec<IpAddr>) -> Self {
        let all = |rules: Vec<NatRule>| rules.into_iter().map(CompiledRule::new).collect();
        let is_open = |rule: &&NatRule| rule.filtering == Filtering::EndpointIndependent;
        let open = nat.source.iter().filter(is_open).flat_map(|rule| outside(rule, &own)).collect();
        Self { source: all(nat.source), destination: all(nat.destination), open }
    }

    /// Whether no connection is ever translated.
    pub const fn is_empty(&self) -> bool {
        self.source.is_empty() && self.destination.is_empty()
    }

    /// The rules that translate sources.
    pub fn source(&self) -> impl ExactSizeIterator<Item = &NatRule> {
        self.source.iter().map(|compiled| &compiled.rule)
    }

    /// The rules that translate destinations.
    pub fn destination(&self) -> impl ExactSizeIterator<Item = &NatRule> {
        self.destination.iter().map(|compiled| &compiled.rule)
    }

    /// Whether the source of any new connection may be another than it says.
    #[inline]
    pub(crate) const fn may_change_source(&self) -> bool {
        !self.source.is_empty()
    }

    /// The addresses that sources can be translated to with a port of their own choice; `own` are those of the box, which
    /// masquerading gives away. Addresses of 1:1 networks are none of them. More than [`rules::MAX_ADDRESSES`] are cut off.
    pub(crate) fn source_addresses(&self, own: &[IpAddr]) -> Vec<IpAddr> {
        let gives_own = |rule: &NatRule| rule.hairpin || rule.target.own_ports().is_some();
        let own = if self.source().chain(self.destination()).any(gives_own) { own } else { &[] };
        let pooled = self.source().flat_map(|rule| rule.target.ranges()).flat_map(Range::addresses);
        own.iter().copied().chain(pooled).take(rules::MAX_ADDRESSES).collect()
    }

    /// Whether the destination of any new connection may be another than it says.
    pub(crate) const fn may_change_destination(&self) -> bool {
        !self.destination.is_empty() || !self.open.is_empty()
    }

    /// The address that the sender of an error has outside by a rule of its own.
    #[cold]
    pub(crate) fn public_sender(&self, facts: &Facts) -> Option<u128> {
        let compiled = self.source.iter().find(|compiled| compiled.applies(facts, true))?;
        let candidate = compiled.rule.errors.then(|| compiled.candidate(facts.family, facts.source, None, 0));
        candidate.flatten().map(|candidate| candidate.address)
    }

    /// The ports that an address outside has by the first rule which translates to it.
    pub(super) fn ports_of(&self, family: Family, address: u128) -> Option<&PortChoice> {
        let parts = self.source.iter().flat_map(|compiled| &compiled.pool(family).parts);
        let of_pool = parts.filter(|part| part.contains(address)).map(|part| &part.ports);
        let own = self.source.iter().filter_map(|compiled| compiled.rule.target.own_ports());
        of_pool.chain(own).next()
    }

    /// Whether an address has ports that are open to everybody as long as they are mapped.
    pub(super) fn is_open(&self, family: Family, address: u128) -> bool {
        self.open.iter().any(|(of, addresses)| *of == family && addresses.contains(&address))
    }
}

/// The addresses that a source rule translates to.
fn outside(rule: &NatRule, own: impl Fn(&NatRule) -> Vec<IpAddr>) -> Vec<(Family, RangeInclusive<u128>)> {
    let between = |range: &Range| (Family::of(range.first), number(range.first)..=number(range.last));
    rule.target.shared(&own(rule)).iter().map(between).collect()
}

/// A rule, and the addresses of its pool by family.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CompiledRule {
    pub(super) rule: NatRule,
    /// What its match looks at.
    parts: Parts,
    v4: AddressPool,
    v6: AddressPool,
}

impl CompiledRule {
    fn new(rule: NatRule) -> Self {
        let ranges = rule.target.ranges();
        let (v4, v6) = (AddressPool::new(ranges, Family::V4), AddressPool::new(ranges, Family::V6));
        Self { parts: rule.matches.parts(), rule, v4, v6 }
    }

    const fn pool(&self, family: Family) -> &AddressPool {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// Whether a connection is bound by it; `own` says whether the box has an address that it may mean.
    pub(super) fn applies(&self, facts: &Facts, own: bool) -> bool {
        self.rule.matches.applies_by(self.parts, facts) && self.serves(facts.family, own)
    }

    /// Whether its target has anything for a family.
    fn serves(&self, family: Family, own: bool) -> bool {
        let target = &self.rule.target;
        self.pool(family).size > 0
            || (own && target.own_ports().is_some())
            || target.network().is_some_and(|network| network.family() == family)
            || !target.translates()
    }

    /// What an address that is `old` may become by it, if it serves the family; `own` is the box's address that it may mean,
    /// and `choice` says which of several. `None` where the connection is to be left alone.
    #[inline]
    pub(super) fn candidate(
        &self,
        family: Family,
        old: u128,
        own: Option<IpAddr>,
        choice: u64,
    ) -> Option<Candidate<'_>> {
        let target = &self.rule.target;
        if let Some(candidate) = self.pool(family).candidate(choice) {
            return Some(candidate);
        }
        if let Some(ports) = target.own_ports() {
            return Some(Candidate { address: number(own?), ports, steers: true });
        }
        let address = same_host(target.network()?, old);
        Some(Candidate { address, ports: &PortChoice::Preserve, steers: false })
    }

    /// Whether a client's port can become this port of this address by it, as far as it has ports; `own` is the box's
    /// address that it may mean.
    pub(super) fn offers(&self, original: &Tuple, own: Option<IpAddr>, address: u128, port: u16) -> bool {
        let sport = original.selector.sport();
        let has = |ports| choices(original, sport, ports).is_none_or(|range| range.contains(&port));
        let target = &self.rule.target;
        let parts = &self.pool(original.family()).parts;
        target.own_ports().is_some_and(|ports| own.map(number) == Some(address) && has(ports))
            || target.network().is_some_and(|network| same_host(network, original.src) == address)
            || parts.iter().any(|part| part.contains(address) && has(&part.ports))
    }

    /// Whether the destination of a connection can become this port of this address by it, as far as it has ports; `own` is the box's
    /// address that it may mean.
    pub(super) fn leads(&self, original: &Tuple, own: Option<IpAddr>, address: u128, port: u16) -> bool {
        let dport = original.selector.dport();
        // An ICMP message has no port that its destination goes by.
        let has = |ports: &PortChoice| match ports {
            _ if protocol::is_icmp(original.protocol()) => true,
            PortChoice::Preserve => port == dport,
            ports => choices(original, dport, ports).is_none_or(|range| range.contains(&port)),
        };
        let target = &self.rule.target;
        let network = target.network().filter(|_| has(&PortChoice::Preserve));
        let parts = &self.pool(original.family()).parts;
        target.own_ports().is_some_and(|ports| own.map(number) == Some(address) && has(ports))
            || network.is_some_and(|network| same_host(network, original.dst) == address)
            || parts.iter().any(|part| part.contains(address) && has(&part.ports))
    }

    /// Which of several addresses a connection gets, drawn by a secret key: the same again for the same addresses.
    #[inline]
    pub(super) fn choice(&self, key: &RandomState, original: &Tuple) -> u64 {
        if self.pool(original.family()).size <= 1 {
            return 0;
        }
        let server = if self.rule.persistent { 0 } else { original.dst };
        // Half of the numbers there are, so that adding tries does not overflow.
        key.hash_one((original.src, server)) >> 1
    }

    /// How many addresses of a family there are to try.
    pub(super) fn tries(&self, family: Family) -> u64 {
        if self.rule.persistent { 1 } else { self.pool(family).size.clamp(1, MAX_ADDRESSES) }
    }
}

/// The addresses of one family that a rule chooses from.
#[derive(Clone, Debug, PartialEq)]
struct AddressPool {
    /// How many they are. Choices are numbers of 63 bits: more addresses are used as far as those reach.
    size: u64,
    parts: Vec<Part>,
}

/// Addresses in a row.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    first: u128,
    size: u64,
    ports: PortChoice,
}

impl Part {
    fn new(range: &Range) -> Self {
        let first = number(range.first);
        let size = u64::try_from(number(range.last) - first).unwrap_or(u64::MAX).saturating_add(1);
        Self { first, size, ports: range.ports.clone() }
    }

    fn contains(&self, address: u128) -> bool {
        address.checked_sub(self.first).is_some_and(|index| index < u128::from(self.size))
    }
}

impl AddressPool {
    fn new(ranges: &[Range], family: Family) -> Self {
        let is_own = |range: &&Range| Family::of(range.first) == family;
        let parts: Vec<_> = ranges.iter().filter(is_own).map(Part::new).collect();
        Self { size: parts.iter().fold(0, |all, part| all.saturating_add(part.size)), parts }
    }

    /// The address of this number, counted again and again through all parts.
    #[inline]
    fn candidate(&self, choice: u64) -> Option<Candidate<'_>> {
        let mut index = choice.checked_rem(self.size)?;
        for part in &self.parts {
            if index < part.size {
                let address = part.first + u128::from(index);
                return Some(Candidate { address, ports: &part.ports, steers: true });
            }
            index -= part.size;
        }
        None
    }
}

/// The address in a network that has the host bits of `old`.
const fn same_host(network: &Prefix, old: u128) -> u128 {
    network.first() | old & (network.last() - network.first())
}
