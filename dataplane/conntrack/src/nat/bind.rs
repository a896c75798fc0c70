//! Binding: what the first packet of a connection chooses for the whole of it.
//!
//! The destination is bound before the way of the packet is looked up, the source when the policy has let the packet pass,
//! as in Linux.

use super::binder::{Binder, Wish};
use super::prefetch::LastBound;
use super::rules::{Mapping, Ports, Rule, Target};
use super::search::{asks_a_node, choices, draw_from};
use crate::entry::{Entry, Status};
use crate::facts::Facts;
use crate::forward::{Egress, Forwarding};
use crate::ids::{PortId, RuleId, ShardId};
use crate::index::Hash;
use crate::shard::Shard;
use crate::tuple::{Family, Tuple, number, protocol};
use std::net::IpAddr;
use zerocopy::FromZeros;

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
    /// The hash of that, if it was searched for: else it is the inverse of the original one.
    pub(crate) reply_hash: Option<Hash>,
    /// The entry whose place it takes, and whose tuples are free for it.
    pub(crate) replaces: Option<u32>,
    /// Whether its source is masqueraded if it leaves by the port it came by.
    pub(crate) hairpin: bool,
    /// Whether its source has become an address of the box.
    pub(crate) masqueraded: bool,
    /// Whether its source was bound by a mapping of its client's port.
    pub(crate) mapped: bool,
    /// Whether its destination was bound by one of its server's.
    pub(crate) entered: bool,
    /// Whether another shard has delegated it to this one: then it stays.
    pub(crate) delegated: bool,
    /// The rule that wants its first packet logged, where that is not done yet.
    pub(crate) log: Option<RuleId>,
}

impl Newcomer {
    /// A connection of which nothing is known yet.
    pub(crate) fn new() -> Self {
        Self {
            entry: Entry::new_zeroed(),
            reply: Tuple::default(),
            reply_hash: None,
            replaces: None,
            hairpin: false,
            masqueraded: false,
            mapped: false,
            entered: false,
            delegated: false,
            log: None,
        }
    }

    /// Gives it a reply tuple that is nobody's, with its hash.
    pub(super) const fn settle(&mut self, reply: &Tuple, hash: Hash) {
        self.reply = *reply;
        self.reply_hash = Some(hash);
    }

    /// Marks its entry as translated, if it is: where its reply tuple is another than the inverse of the original one. Gives
    /// the hash of that.
    pub(crate) fn translated(&mut self, original: &Tuple) -> Option<Hash> {
        let hash = self.reply_hash?;
        let to = self.reply.invert();
        let status = &mut self.entry.status;
        if (to.src, to.selector.sport()) != (original.src, original.selector.sport()) {
            status.set(Status::SRC_NAT);
            if self.masqueraded {
                status.set(Status::MASQUERADED);
            }
        }
        if (to.dst, to.selector.dport()) != (original.dst, original.selector.dport()) {
            status.set(Status::DST_NAT);
        }
        if self.mapped {
            status.set(Status::MAPPED);
        }
        if self.entered {
            status.set(Status::ENTERED);
        }
        self.entry.is_translated().then_some(hash)
    }
}

impl Shard {
    /// Gives the newcomer a reply tuple, with its destination translated where a rule or a mapping says so; then the facts are
    /// those of a packet to there.
    #[inline]
    pub(crate) fn bind_destination(&mut self, original: &Tuple, facts: &mut Facts) -> Bound {
        self.newcomer.reply = original.invert();
        if !self.configuration.binders.may_change_destination() {
            return Bound::Found;
        }
        if !self.bind_destination_by_rule(original, facts)
            && let Bound::Elsewhere(shard) = self.enter(original)
        {
            return Bound::Elsewhere(shard);
        }
        if let Some(to) = self.newcomer.destination(original) {
            facts.set_destination(to.address, to.port);
            if let Some(connection) = &mut facts.connection {
                connection.status.set(Status::DST_NAT);
            }
        }
        Bound::Found
    }

    /// False where no rule applies.
    #[inline(never)]
    fn bind_destination_by_rule(&mut self, original: &Tuple, facts: &Facts) -> bool {
        let family = original.family();
        let random = self.draw();
        let own = self.own_address(facts.ingress, original.src, family);
        let mut binders = self.configuration.binders.destination.iter();
        let Some(binder) = binders.find(|binder| binder.applies(facts, own.is_some())) else {
            return false;
        };
        let wish = binder.wish(family, original.dst, own, self.choice(binder, original));
        let Some(wish) = wish else { return true };
        let port = original.selector.dport();
        let is_random = binder.rule.random;
        let newcomer = &mut self.newcomer;
        newcomer.hairpin = binder.rule.hairpin;
        newcomer.reply.src = wish.address;
        // An ICMP message has no port that its destination goes by.
        let is_icmp = matches!(original.protocol(), protocol::ICMP | protocol::ICMPV6);
        if wish.ports == Ports::Own || is_icmp {
            return true;
        }
        if let Some(range) = choices(original, port, &wish.ports) {
            let keeps = range.contains(&port) && !is_random;
            let port = if keeps { port } else { draw_from(&range, random) };
            newcomer.reply.selector = newcomer.reply.selector.with_sport(port);
        }
        true
    }

    /// Completes the newcomer's reply tuple, with its source translated where a rule says so and its port changed
    /// where another connection owns the tuple. The facts are those that the policy saw.
    pub(crate) fn bind_source(&mut self, original: &Tuple, facts: &Facts, egress: Egress) -> Bound {
        let bound = self.find_source(original, facts, egress);
        if self.newcomer.entered && bound == Bound::Found {
            return Bound::of(self.use_entered());
        }
        bound
    }

    #[inline]
    fn find_source(&mut self, original: &Tuple, facts: &Facts, egress: Egress) -> Bound {
        if let Some(bound) = self.bind_by_rule(original, facts, egress) {
            return bound;
        }
        // As long as nothing is translated, a tuple that no entry has is free in both directions.
        let is_bound = facts.has_status(Status::DST_NAT);
        if !is_bound && self.translated == 0 && self.signposts() == 0 {
            return Bound::Found;
        }
        let stay = Wish { address: original.src, ports: Ports::Own, steers: false };
        Bound::of(self.settle_source(original, &stay, false))
    }

    /// Binds the source by the first rule that applies; `None` where none does, or says to keep it.
    fn bind_by_rule(&mut self, original: &Tuple, facts: &Facts, egress: Egress) -> Option<Bound> {
        let is_hairpin = self.newcomer.hairpin && egress.port == facts.ingress;
        let binders = &self.configuration.binders.source;
        if (binders.is_empty() && !is_hairpin) || egress.port == PortId::LOCAL {
            return None;
        }
        // A box without an address to masquerade as refuses: what a rule wants hidden must not be seen.
        if let Some(place) = binders.iter().position(|binder| binder.applies(facts, true)) {
            return self.bind_by(place, original, facts, egress);
        }
        let own = if is_hairpin { self.masquerade_address(facts, egress) } else { None };
        let wish = Wish { address: number(own?), ports: Ports::Own, steers: true };
        self.newcomer.masqueraded = true;
        Some(Bound::of(self.settle_source(original, &wish, false)))
    }

    /// Binds the source by the rule at `place`; `None` where that says to keep it.
    fn bind_by(&mut self, place: usize, original: &Tuple, facts: &Facts, egress: Egress) -> Option<Bound> {
        let binder = self.configuration.binders.source.get(place)?;
        let Rule { random, mapping, filtering, .. } = binder.rule;
        // A connection uses one mapping: what comes in by its server's, has none of its client's.
        let may_map = !self.newcomer.entered && !asks_a_node(original);
        let is_independent = mapping == Mapping::EndpointIndependent && may_map;
        if is_independent {
            let home = self.home(original);
            if home != self.steering.own() {
                let delegated = self.newcomer.delegated;
                return Some(if delegated { Bound::Exhausted } else { Bound::Elsewhere(home) });
            }
        }
        let is_masqueraded = matches!(binder.rule.target, Target::Own(_));
        let own = if is_masqueraded { self.masquerade_address(facts, egress) } else { None };
        let is_mapped = is_independent && self.may_map(binder, original, own);
        let choice = self.choice(binder, original);
        let tries = if is_masqueraded && own.is_none() { 0 } else { binder.tries(facts.family) };
        self.last_bound = LastBound { place, own };
        self.newcomer.masqueraded = is_masqueraded;
        let mut found = false;
        for step in 0..tries {
            let binder = self.configuration.binders.source.get(place)?;
            let wish = binder.wish(facts.family, original.src, own, choice + step)?;
            let wish = if is_mapped { self.map(original, wish, random) } else { Some(wish) };
            found = wish.is_some_and(|wish| self.settle_source(original, &wish, random));
            if found {
                break;
            }
        }
        if let Some(counter) = self.configuration.nat_counters.get_mut(place) {
            match found {
                true => counter.bound += u64::from(!self.again),
                false => counter.exhausted += 1,
            }
        }
        self.newcomer.mapped = found && is_mapped && self.use_mapping(original, filtering);
        Some(Bound::of(found))
    }

    /// Which of several addresses a connection gets: the same again for the same addresses.
    pub(super) fn choice(&self, binder: &Binder, original: &Tuple) -> u64 {
        if !binder.has_choice(original.family()) {
            return 0;
        }
        let server = if binder.rule.persistent { 0 } else { original.dst };
        // Half of the numbers there are, so that adding tries does not overflow.
        self.index.keyed(&(original.src, server)) >> 1
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
