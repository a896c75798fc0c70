//! Binding: what the first packet of a connection chooses for the whole of it.
//!
//! The destination is bound before the way of the packet is looked up, the source when the policy has let the packet pass,
//! as in Linux.

use super::binder::{Binder, Wish};
use super::budget::Budget;
use super::prefetch::LastBound;
use super::rules::{Mapping, Ports, Rule};
use super::search::{Reach, asks_a_node, choices, draw_from};
use crate::entry::Status;
use crate::facts::Facts;
use crate::forward::{Egress, Forwarding};
use crate::ids::{PortId, ShardId};
use crate::shard::Shard;
use crate::tuple::{Family, Tuple, number, protocol};
use crate::unconfirmed::Unconfirmed;
use std::net::IpAddr;

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

impl Shard {
    /// Translates the destination of a connection where a rule or a mapping says so; then the facts are those of a packet to there.
    #[inline]
    pub(crate) fn bind_destination(&mut self, unconfirmed: &mut Unconfirmed, facts: &mut Facts) -> Bound {
        if !self.configuration.binders.may_change_destination() {
            return Bound::Found;
        }
        if !self.bind_destination_by_rule(unconfirmed, facts)
            && let Bound::Elsewhere(shard) = self.enter(unconfirmed)
        {
            return Bound::Elsewhere(shard);
        }
        if let Some(to) = unconfirmed.destination() {
            facts.set_destination(to.address, to.port);
            if let Some(connection) = &mut facts.connection {
                connection.status.insert(Status::DST_NAT);
            }
        }
        Bound::Found
    }

    /// False where no rule applies.
    #[inline(never)]
    fn bind_destination_by_rule(&mut self, unconfirmed: &mut Unconfirmed, facts: &Facts) -> bool {
        let original = &unconfirmed.original;
        let family = original.family();
        let own = self.own_address(facts.ingress, original.src, family);
        let mut binders = self.configuration.binders.destination.iter();
        let Some(binder) = binders.find(|binder| binder.applies(facts, own.is_some())) else {
            return false;
        };
        let wish = binder.wish(family, original.dst, own, self.choice(binder, original));
        let Some(wish) = wish else { return true };
        let port = original.selector.dport();
        let is_random = binder.rule.random;
        let random = self.nat_hash(original);
        unconfirmed.hairpin = binder.rule.hairpin;
        unconfirmed.reply.src = wish.address;
        // An ICMP message has no port that its destination goes by.
        let is_icmp = matches!(original.protocol(), protocol::ICMP | protocol::ICMPV6);
        if wish.ports == Ports::Preserve || is_icmp {
            return true;
        }
        if let Some(range) = choices(original, port, &wish.ports) {
            let keeps = range.contains(&port) && !is_random;
            let port = if keeps { port } else { draw_from(&range, random) };
            unconfirmed.reply.selector = unconfirmed.reply.selector.with_sport(port);
        }
        true
    }

    /// Completes the reply tuple of a connection, with its source translated where a rule says so and its port changed
    /// where another connection owns the tuple. The facts are those that the policy saw.
    pub(crate) fn bind_source(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        facts: &Facts,
        egress: Egress,
    ) -> Bound {
        let mut budget = Budget::new(unconfirmed.attempt.refusals);
        let bound = self.find_source(unconfirmed, facts, egress, &mut budget);
        if unconfirmed.entered && bound == Bound::Found {
            return Bound::of(self.use_entered(unconfirmed));
        }
        bound
    }

    #[inline]
    fn find_source(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        facts: &Facts,
        egress: Egress,
        budget: &mut Budget,
    ) -> Bound {
        if let Some(bound) = self.bind_by_rule(unconfirmed, facts, egress, budget) {
            return bound;
        }
        // As long as nothing is translated, a tuple that no entry has is free in both directions.
        let is_bound = facts.has_status(Status::DST_NAT);
        if !is_bound && self.table.translated() == 0 && self.signposts() == 0 {
            return Bound::Found;
        }
        let stay = Wish { address: unconfirmed.original.src, ports: Ports::Preserve, steers: false };
        Bound::of(self.settle_anywhere(unconfirmed, &stay, budget))
    }

    /// Binds the source by the first rule that applies; `None` where none does, or says to keep it.
    fn bind_by_rule(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        facts: &Facts,
        egress: Egress,
        budget: &mut Budget,
    ) -> Option<Bound> {
        let is_hairpin = unconfirmed.hairpin && egress.port == facts.ingress;
        let binders = &self.configuration.binders.source;
        if (binders.is_empty() && !is_hairpin) || egress.port == PortId::LOCAL {
            return None;
        }
        // A box without an address to masquerade as refuses: what a rule wants hidden must not be seen.
        if let Some(place) = binders.iter().position(|binder| binder.applies(facts, true)) {
            return self.bind_by(place, unconfirmed, facts, egress, budget);
        }
        let own = if is_hairpin { self.masquerade_address(facts, egress) } else { None };
        let wish = Wish { address: number(own?), ports: Ports::Preserve, steers: true };
        unconfirmed.masqueraded = true;
        Some(Bound::of(self.settle_anywhere(unconfirmed, &wish, budget)))
    }

    /// Binds the source by the rule at `place`; `None` where that says to keep it.
    fn bind_by(
        &mut self,
        place: usize,
        unconfirmed: &mut Unconfirmed,
        facts: &Facts,
        egress: Egress,
        budget: &mut Budget,
    ) -> Option<Bound> {
        let original = &unconfirmed.original.clone();
        let binder = self.configuration.binders.source.get(place)?;
        let Rule { random, mapping, filtering, .. } = binder.rule;
        // A connection uses one mapping: what comes in by its server's, has none of its client's.
        let may_map = !unconfirmed.entered && !asks_a_node(original);
        let is_independent = mapping == Mapping::EndpointIndependent && may_map;
        if is_independent {
            let home = self.home(original);
            if home != self.steering().own() {
                let delegated = unconfirmed.delegated;
                return Some(if delegated { Bound::Exhausted } else { Bound::Elsewhere(home) });
            }
        }
        let is_masqueraded = binder.rule.target.own_ports().is_some();
        let own = if is_masqueraded { self.masquerade_address(facts, egress) } else { None };
        let is_mapped = is_independent && self.may_map(binder, original, own);
        let choice = self.choice(binder, original);
        let tries = if is_masqueraded && own.is_none() { 0 } else { binder.tries(facts.family) };
        self.last_bound = LastBound { place, own };
        unconfirmed.masqueraded = is_masqueraded;
        // Ports of a mapping are this shard's alone.
        let reaches = if is_mapped { &[Reach::Home] } else { Reach::of(self.steering()) };
        let attempts = reaches.iter().flat_map(|reach| (0..tries).map(move |step| (*reach, step)));
        let mut left = tries * reaches.len() as u64;
        let mut found = false;
        for (reach, step) in attempts {
            let binder = self.configuration.binders.source.get(place)?;
            let wish = binder.wish(facts.family, original.src, own, choice + step)?;
            budget.share_among(left);
            left -= 1;
            let wish = if is_mapped { self.map(unconfirmed, wish, random, budget) } else { Some(wish) };
            found = wish.is_some_and(|wish| self.settle_source(unconfirmed, &wish, random, reach, budget));
            if found {
                break;
            }
        }
        if let Some(counter) = self.configuration.nat_counters.get_mut(place) {
            match found {
                true => counter.bound += u64::from(!unconfirmed.attempt.again),
                false => counter.exhausted += 1,
            }
        }
        unconfirmed.mapped = found && is_mapped && self.use_mapping(unconfirmed, filtering);
        Some(Bound::of(found))
    }

    /// Finds a reply tuple with the one address that is wished.
    fn settle_anywhere(&mut self, unconfirmed: &mut Unconfirmed, wish: &Wish, budget: &mut Budget) -> bool {
        let reaches = Reach::of(self.steering());
        reaches.iter().any(|reach| self.settle_source(unconfirmed, wish, false, *reach, budget))
    }

    /// Which of several addresses a connection gets: the same again for the same addresses.
    pub(super) fn choice(&self, binder: &Binder, original: &Tuple) -> u64 {
        if !binder.has_choice(original.family()) {
            return 0;
        }
        let server = if binder.rule.persistent { 0 } else { original.dst };
        // Half of the numbers there are, so that adding tries does not overflow.
        self.nat_key.hash_one((original.src, server)) >> 1
    }

    /// The box's own address that a connection is masqueraded as.
    fn masquerade_address(&self, facts: &Facts, egress: Egress) -> Option<IpAddr> {
        self.own_address(egress.port, self.next_hop(egress, facts.destination), facts.family)
    }

    /// The box's own address at a port, as a station behind it sees it.
    fn own_address(&self, port: PortId, station: u128, family: Family) -> Option<IpAddr> {
        match &self.configuration.forwarding {
            Forwarding::Wire { .. } => None,
            Forwarding::Routed(router) => {
                let own = router.source_towards(port, crate::tuple::address(family, station));
                own.filter(|own| Family::of(*own) == family)
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
