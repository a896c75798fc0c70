//! Binding: what the first packet of a connection chooses for the whole of it.
//!
//! The destination is bound before the way of the packet is looked up, the source when the policy has let the packet pass,
//! as in Linux.

use super::apply::Destination;
use super::foresee::LastBound;
use super::rules::{Mapping, Ports, Range, Rule, Target};
use super::search::{Wish, choices, draw_from};
use crate::entry::{Entry, Status};
use crate::forward::{Egress, Forwarding};
use crate::frame::PortId;
use crate::headers::Packet;
use crate::policy::{Facts, Prefix};
use crate::shard::Shard;
use crate::steer::ShardId;
use crate::tuple::{Direction, Family, Tuple, number, protocol};
use crate::verdict::State;
use std::net::IpAddr;
use zerocopy::FromZeros;

/// Addresses of a pool that are tried for one connection when the ports of those before are used up.
const MOST_ADDRESSES: u64 = 16;

/// What became of a connection's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The reply tuple is complete.
    Found,
    /// There is none to be had.
    Exhausted,
    /// Another shard is to bind it.
    Elsewhere(ShardId),
}

impl Bound {
    const fn of(found: bool) -> Self {
        if found { Self::Found } else { Self::Exhausted }
    }
}

/// What the first packet of a connection has brought about so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer {
    /// Its entry.
    pub(crate) entry: Entry,
    /// Its reply tuple.
    pub(crate) reply: Tuple,
    /// Whether its source is masqueraded if it leaves by the port it came by.
    pub(crate) hairpin: bool,
    /// Whether its source has become an address of the box.
    pub(crate) masqueraded: bool,
    /// Whether its source was bound by a mapping of its client's port.
    pub(crate) mapped: bool,
}

impl Newcomer {
    /// A connection of which nothing is known yet.
    pub(crate) fn new() -> Self {
        Self {
            entry: Entry::new_zeroed(),
            reply: Tuple::default(),
            hairpin: false,
            masqueraded: false,
            mapped: false,
        }
    }

    /// The bits that say what is translated, for an original tuple.
    pub(crate) fn status(&self, original: &Tuple) -> Status {
        let to = self.reply.invert();
        let mut status = Status::default();
        if (to.src, to.selector.sport()) != (original.src, original.selector.sport()) {
            status.set(Status::SRC_NAT);
        }
        if (to.dst, to.selector.dport()) != (original.dst, original.selector.dport()) {
            status.set(Status::DST_NAT);
        }
        if status.has(Status::SRC_NAT) && self.masqueraded {
            status.set(Status::MASQUERADED);
        }
        if self.mapped {
            status.set(Status::MAPPED);
        }
        status
    }
}

impl Rule {
    /// Whether its target has anything for a family; `own` says whether the box has an address that it may mean.
    fn serves(&self, family: Family, own: bool) -> bool {
        match &self.target {
            Target::Keep => true,
            Target::Own(_) => own,
            Target::Prefix(prefix) => prefix.family() == family,
            Target::Pool(ranges) => ranges.iter().any(|range| is_of(family, range.first)),
        }
    }

    /// What this rule, which serves the family, wants an address that is `old` to be; `own` is the box's address that it
    /// may mean, and `choice` says which of several. `None` where the connection is to be left alone.
    pub(super) fn wish(&self, family: Family, old: u128, own: Option<IpAddr>, choice: u64) -> Option<Wish> {
        match &self.target {
            Target::Keep => None,
            Target::Own(ports) => Some(Wish { address: number(own?), ports: ports.clone(), steers: true }),
            Target::Prefix(prefix) => {
                Some(Wish { address: same_host(prefix, old), ports: Ports::Own, steers: false })
            }
            Target::Pool(ranges) => {
                // Choices are numbers of 63 bits: a pool of more addresses is used as far as they reach.
                let count = u64::try_from(count(ranges, family)).unwrap_or(u64::MAX);
                let mut place = u128::from(choice.checked_rem(count)?);
                for range in ranges.iter().filter(|range| is_of(family, range.first)) {
                    let last = number(range.last) - number(range.first);
                    if place <= last {
                        let address = number(range.first) + place;
                        return Some(Wish { address, ports: range.ports.clone(), steers: true });
                    }
                    place -= last + 1;
                }
                None
            }
        }
    }

    /// How many addresses of a family there are to try.
    fn tries(&self, family: Family) -> u64 {
        match &self.target {
            Target::Pool(ranges) if !self.persistent => {
                count(ranges, family).min(MOST_ADDRESSES.into()) as u64
            }
            _ => 1,
        }
    }
}

const fn is_of(family: Family, address: IpAddr) -> bool {
    matches!((family, address), (Family::V4, IpAddr::V4(_)) | (Family::V6, IpAddr::V6(_)))
}

/// How many addresses of a family there are in all.
fn count(ranges: &[Range], family: Family) -> u128 {
    let ranges = ranges.iter().filter(|range| is_of(family, range.first));
    ranges.fold(0, |all: u128, range| {
        all.saturating_add(number(range.last) - number(range.first)).saturating_add(1)
    })
}

/// The address in a network that has the host bits of `old`.
const fn same_host(network: &Prefix, old: u128) -> u128 {
    network.first() | old & (network.last() - network.first())
}

impl Shard {
    /// Gives the newcomer a reply tuple, with its destination translated where a rule says so; gives that destination, if
    /// it is another than the packet's.
    #[inline]
    pub(crate) fn bind_destination(&mut self, packet: Packet<'_>, ingress: PortId) -> Option<Destination> {
        let original = packet.headers.tuple;
        self.newcomer.reply = original.invert();
        if self.configuration.nat.destination.is_empty() {
            return None;
        }
        self.bind_destination_by_rule(packet, ingress);
        self.newcomer.destination(&original)
    }

    #[inline(never)]
    fn bind_destination_by_rule(&mut self, packet: Packet<'_>, ingress: PortId) {
        let original = packet.headers.tuple;
        let facts = Facts {
            state: Some(State::New),
            direction: Some(Direction::Original),
            ..Facts::of_packet(packet, ingress)
        };
        let family = original.family();
        let random = self.draw();
        let own = self.own_address(ingress, original.src, family);
        let mut rules = self.configuration.nat.destination.iter();
        let applies = |rule: &&Rule| rule.matches.applies(&facts) && rule.serves(family, own.is_some());
        let Some(rule) = rules.find(applies) else { return };
        let Some(wish) = rule.wish(family, original.dst, own, self.choice(rule, &original)) else { return };
        let port = original.selector.dport();
        let is_random = rule.random;
        let newcomer = &mut self.newcomer;
        newcomer.hairpin = rule.hairpin;
        newcomer.reply.src = wish.address;
        // An ICMP message has no port that its destination goes by.
        let is_icmp = matches!(original.protocol(), protocol::ICMP | protocol::ICMPV6);
        if wish.ports == Ports::Own || is_icmp {
            return;
        }
        if let Some(range) = choices(original.protocol(), port, &wish.ports) {
            let keeps = range.contains(&port) && !is_random;
            let port = if keeps { port } else { draw_from(&range, random) };
            let ports = u32::from(port) << 16 | u32::from(original.selector.sport());
            newcomer.reply.selector = newcomer.reply.selector.with_ports(ports);
        }
    }

    /// Completes the newcomer's reply tuple, with its source translated where a rule says so and its port changed
    /// where another connection owns the tuple.
    pub(crate) fn bind_source(&mut self, packet: Packet<'_>, ingress: PortId, egress: Egress) -> Bound {
        let original = packet.headers.tuple;
        if let Some(bound) = self.bind_by_rule(packet, ingress, egress) {
            return bound;
        }
        let is_bound = self.newcomer.reply != original.invert();
        // As long as nothing is translated, a tuple that no entry has is free in both directions.
        if !is_bound && self.translated == 0 && self.signposts() == 0 {
            return Bound::Found;
        }
        let stay = Wish { address: original.src, ports: Ports::Own, steers: false };
        Bound::of(self.settle_source(&original, &stay, false))
    }

    /// Binds the source by the first rule that applies; `None` where none does, or says to keep it.
    fn bind_by_rule(&mut self, packet: Packet<'_>, ingress: PortId, egress: Egress) -> Option<Bound> {
        let is_hairpin = self.newcomer.hairpin && egress.port == ingress;
        if (self.configuration.nat.source.is_empty() && !is_hairpin) || egress.port == PortId::LOCAL {
            return None;
        }
        let original = packet.headers.tuple;
        let to = self.newcomer.reply.invert();
        let facts = Facts {
            state: Some(State::New),
            direction: Some(Direction::Original),
            egress: Some(egress.port),
            destination: to.dst,
            destination_port: to.selector.dport(),
            mark: self.newcomer.entry.mark,
            status: self.newcomer.status(&original),
            ..Facts::of_packet(packet, ingress)
        };
        let family = facts.family;
        let (place, own) = self.source_rule(&facts, egress);
        let Some(place) = place else {
            let address = number(own.filter(|_| is_hairpin)?);
            self.newcomer.masqueraded = true;
            let wish = Wish { address, ports: Ports::Own, steers: true };
            return Some(Bound::of(self.settle_source(&original, &wish, false)));
        };
        self.last_bound = LastBound { place, own };
        let mapping = self.configuration.nat.source.get(place)?.mapping;
        let is_mapped = mapping == Mapping::EndpointIndependent;
        let home = self.home(&original);
        if is_mapped && home != self.steering.own() {
            return Some(Bound::Elsewhere(home));
        }
        let mut tries = 0;
        let found = loop {
            let rule = self.configuration.nat.source.get(place)?;
            if matches!(rule.target, Target::Own(_)) && own.is_none() {
                break false;
            }
            let wish = rule.wish(family, original.src, own, self.choice(rule, &original) + tries)?;
            tries += 1;
            let is_last = tries >= rule.tries(family);
            self.newcomer.masqueraded = matches!(rule.target, Target::Own(_));
            let is_random = rule.random;
            let wish = if is_mapped { self.map(&original, wish, is_random) } else { Some(wish) };
            let found = wish.is_some_and(|wish| self.settle_source(&original, &wish, is_random));
            if found || is_last {
                break found;
            }
        };
        if let Some(counter) = self.configuration.nat_counters.get_mut(place) {
            *(if found { &mut counter.bound } else { &mut counter.exhausted }) += 1;
        }
        self.newcomer.mapped = found && is_mapped && self.use_mapping(&original);
        Some(Bound::of(found))
    }

    /// The place of the first source rule that applies to a connection, and the box's own address that it may mean.
    pub(super) fn source_rule(&self, facts: &Facts, egress: Egress) -> (Option<usize>, Option<IpAddr>) {
        let own = self.own_address(egress.port, self.next_hop(egress, facts.destination), facts.family);
        // A box without an address to masquerade as refuses: what a rule wants hidden must not be seen.
        let applies = |rule: &Rule| rule.matches.applies(facts) && rule.serves(facts.family, true);
        (self.configuration.nat.source.iter().position(applies), own)
    }

    /// Which of several addresses a connection gets: the same again for the same addresses.
    pub(super) fn choice(&self, rule: &Rule, original: &Tuple) -> u64 {
        let server = if rule.persistent { 0 } else { original.dst };
        // Half of the numbers there are, so that adding tries does not overflow.
        self.index.keyed(&(original.src, server)) >> 1
    }

    /// The box's own address at a port, as a station behind it sees it.
    fn own_address(&self, port: PortId, station: u128, family: Family) -> Option<IpAddr> {
        match &self.configuration.forwarding {
            Forwarding::Wire { .. } => None,
            Forwarding::Routed(router) => {
                let own = router.source_towards(port, crate::tuple::address(family, station));
                own.filter(|own| is_of(family, *own))
            }
        }
    }

    /// The address of the station that a packet to `destination` goes to next.
    fn next_hop(&self, egress: Egress, destination: u128) -> u128 {
        match (&self.configuration.forwarding, egress.gateway) {
            (Forwarding::Routed(router), Some(gateway)) => {
                router.gateway(gateway).map_or(destination, number)
            }
            _ => destination,
        }
    }
}
