//! Binding: what the first packet of a connection chooses for the whole of it.
//!
//! The destination is bound before the packet is routed, the source when the policy has let the packet pass,
//! as in Linux. Nothing is recorded here: what was chosen is in the unconfirmed connection, and counts when that is confirmed.

use super::compiled::{Candidate, CompiledRule};
use super::mapping::{Mappings, inside, outside};
use super::ports::{asks_a_node, choices, draw_from};
use super::rules::{Mapping, NatRule, PortChoice};
use super::search::{Reach, Search, hash_of};
use super::used_ports::around;
use crate::configuration::Configuration;
use crate::entry::Status;
use crate::expectations::ChildNat;
use crate::facts::Facts;
use crate::forward::Egress;
use crate::ids::ShardId;
use crate::tuple::{Tuple, number, protocol};
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

/// The binding of one connection, and what it looks at.
#[derive(Debug)]
pub(crate) struct Binding<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) mappings: &'a Mappings,
    pub(super) search: Search<'a>,
}

impl<'a> Binding<'a> {
    /// Translates the destination of a connection where its master, a rule or a mapping says so; then the facts are those of a packet to there.
    pub(crate) fn bind_destination(&self, unconfirmed: &mut Unconfirmed, facts: &mut Facts) -> Bound {
        if let Some(answer) = unconfirmed.answer_to_call() {
            let home = self.search.steering().home_of_call(&unconfirmed.original, &answer);
            if home != self.search.steering().own() && !unconfirmed.delegated {
                return Bound::Elsewhere(home);
            }
            unconfirmed.reply = answer;
        } else if let Some(nat) = unconfirmed.child_nat() {
            unconfirmed.reply.src = nat.destination;
            unconfirmed.reply.selector = unconfirmed.reply.selector.with_sport(nat.port);
        } else if !self.bind_destination_by_rule(unconfirmed, facts)
            && let Bound::Elsewhere(shard) = self.bind_destination_by_filtering(unconfirmed)
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
    fn bind_destination_by_rule(&self, unconfirmed: &mut Unconfirmed, facts: &Facts) -> bool {
        let original = &unconfirmed.original;
        let family = original.family();
        let own = self.configuration.own_address(facts.ingress, original.source());
        let mut rules = self.configuration.nat.destination.iter().enumerate();
        let Some((rule, compiled)) = rules.find(|(_, compiled)| compiled.applies(facts, own.is_some()))
        else {
            return false;
        };
        let candidate =
            compiled.candidate(family, original.dst, own, compiled.choice(self.search.key, original));
        let Some(candidate) = candidate else { return true };
        let port = original.selector.dport();
        let is_random = compiled.rule.random;
        let random = hash_of(self.search.key, original);
        unconfirmed.bound_by.set_destination(rule);
        unconfirmed.hairpin = compiled.rule.hairpin;
        unconfirmed.reply.src = candidate.address;
        // An ICMP message has no port that its destination goes by.
        let is_icmp = protocol::is_icmp(original.protocol());
        if *candidate.ports == PortChoice::Preserve || is_icmp {
            return true;
        }
        if let Some(range) = choices(original, port, candidate.ports) {
            let keeps = range.contains(&port) && !is_random;
            let port = if keeps { port } else { draw_from(&range, random) };
            unconfirmed.reply.selector = unconfirmed.reply.selector.with_sport(port);
        }
        true
    }

    /// Endpoint-independent filtering: gives a connection the client as destination whose mapped address and port it was sent
    /// to, if anybody may speak to that.
    #[inline(never)]
    fn bind_destination_by_filtering(&self, unconfirmed: &mut Unconfirmed) -> Bound {
        let original = &unconfirmed.original;
        let is_open = self.configuration.nat.is_open(original.family(), original.dst);
        if !is_open || !protocol::has_ports(original.protocol()) {
            return Bound::Found;
        }
        let outside = outside(original);
        let home = self.search.steering().owner_of_endpoint(&outside);
        if home != self.search.steering().own() && !unconfirmed.delegated {
            return Bound::Elsewhere(home);
        }
        if let Some(client) = self.mappings.client(&outside).filter(|client| client.is_open()) {
            let reply = &mut unconfirmed.reply;
            reply.src = client.address();
            reply.selector = reply.selector.with_sport(client.port);
            unconfirmed.eif = true;
        }
        Bound::Found
    }

    /// Completes the reply tuple of a connection, with its source translated where a rule says so and its port changed
    /// where another connection owns the tuple. The facts are those that the policy saw.
    #[inline]
    pub(crate) fn bind_source(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        facts: &Facts,
        egress: &Egress,
    ) -> Bound {
        if let Some(ChildNat { source, .. }) = unconfirmed.child_nat()
            && source != ChildNat::BY_RULES
        {
            let steers = source != unconfirmed.original.src;
            let follow = Candidate { address: source, ports: &PortChoice::Preserve, steers };
            return Bound::of(self.commit_anywhere(unconfirmed, &follow));
        }
        if !egress.port.is_local()
            && let Some(bound) = self.bind_by_rules(unconfirmed, facts, egress)
        {
            return bound;
        }
        let stay =
            Candidate { address: unconfirmed.original.src, ports: &PortChoice::Preserve, steers: false };
        Bound::of(self.commit_anywhere(unconfirmed, &stay))
    }

    /// Binds the source by the first rule that applies; `None` where none does, or says to keep it.
    #[inline]
    fn bind_by_rules(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        facts: &Facts,
        egress: &Egress,
    ) -> Option<Bound> {
        let rules = &self.configuration.nat.source;
        // A box without an address to masquerade as refuses: what a rule wants hidden must not be seen.
        if let Some(rule) = rules.iter().position(|compiled| compiled.applies(facts, true)) {
            return self.bind_by(rule, rules.get(rule)?, unconfirmed, facts, egress);
        }
        let is_hairpin = unconfirmed.hairpin && egress.port == facts.ingress;
        let own = if is_hairpin { self.configuration.masquerade_address(egress) } else { None };
        let candidate = Candidate { address: number(own?), ports: &PortChoice::Preserve, steers: true };
        unconfirmed.masqueraded = true;
        Some(Bound::of(self.commit_anywhere(unconfirmed, &candidate)))
    }

    /// Binds the source by the rule that has the number `rule`; `None` where that says to keep it.
    fn bind_by(
        &mut self,
        rule: usize,
        compiled: &'a CompiledRule,
        unconfirmed: &mut Unconfirmed,
        facts: &Facts,
        egress: &Egress,
    ) -> Option<Bound> {
        let NatRule { target, random, mapping, filtering, .. } = &compiled.rule;
        if self.configuration.keeps_source(&compiled.rule, facts, &unconfirmed.original) {
            return None;
        }
        // A connection uses one mapping: what comes in by its server's, has none of its client's.
        let may_map = !unconfirmed.eif && !asks_a_node(&unconfirmed.original);
        let is_independent = *mapping == Mapping::EndpointIndependent && may_map;
        if is_independent {
            let home = self.search.steering().owner_of_endpoint(&inside(&unconfirmed.original));
            if home != self.search.steering().own() {
                let delegated = unconfirmed.delegated;
                return Some(if delegated { Bound::Exhausted } else { Bound::Elsewhere(home) });
            }
        }
        unconfirmed.bound_by.set_source(rule);
        unconfirmed.masqueraded = target.own_ports().is_some();
        let own = if unconfirmed.masqueraded { self.configuration.masquerade_address(egress) } else { None };
        if unconfirmed.masqueraded && own.is_none() {
            return Some(Bound::Exhausted);
        }
        let is_mapped = is_independent && self.may_map(compiled, &unconfirmed.original, own);
        // PortChoice of a mapping are this shard's alone.
        let reaches = if is_mapped { &[Reach::Home] } else { Reach::of(self.search.steering()) };
        let choice = compiled.choice(self.search.key, &unconfirmed.original);
        let tries = compiled.tries(facts.family);
        let mut left = tries * reaches.len() as u64;
        for reach in reaches {
            for step in 0..tries {
                let candidate =
                    compiled.candidate(facts.family, unconfirmed.original.src, own, choice + step)?;
                self.search.budget.share_among(left);
                left -= 1;
                let found = if is_mapped {
                    self.commit_mapped(unconfirmed, &candidate, *random)
                } else {
                    self.search.commit_source(unconfirmed, &candidate, *random, *reach)
                };
                if found {
                    unconfirmed.mapped = is_mapped.then_some(*filtering);
                    return Some(Bound::Found);
                }
            }
        }
        Some(Bound::Exhausted)
    }

    /// Finds a reply tuple with the address of the one candidate.
    fn commit_anywhere(&mut self, unconfirmed: &mut Unconfirmed, candidate: &Candidate<'_>) -> bool {
        let reaches = Reach::of(self.search.steering());
        reaches.iter().any(|reach| self.search.commit_source(unconfirmed, candidate, false, *reach))
    }

    /// Whether a rule still makes the mapping of a connection's client, or would make one.
    fn may_map(&self, compiled: &CompiledRule, original: &Tuple, own: Option<IpAddr>) -> bool {
        let mapped = self.mappings.get(&inside(original));
        mapped.is_none_or(|mapped| compiled.offers(original, own, mapped.address(), mapped.port))
    }

    /// Finds a reply tuple for a connection by its client's mapping: with what that has already, or with a port of the
    /// candidate's address that is nobody's yet.
    #[inline(never)]
    fn commit_mapped(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        candidate: &Candidate<'_>,
        is_random: bool,
    ) -> bool {
        let original = &unconfirmed.original;
        let client = inside(original);
        let (port, candidate) = if let Some(mapped) = self.mappings.get(&client) {
            (mapped.port, Candidate { address: mapped.address(), steers: true, ..*candidate })
        } else {
            let own = original.selector.sport();
            let Some(range) = choices(original, own, candidate.ports) else {
                // Without ports there is nothing to be shared.
                return self.search.commit_source(unconfirmed, candidate, is_random, Reach::Home);
            };
            let keeps = range.contains(&own) && !is_random;
            let kept = keeps.then_some(own..=own);
            let drawn = around(&range, draw_from(&range, hash_of(self.search.key, &client)));
            let mut parts = kept.into_iter().chain(drawn);
            let find = |part| self.search.find_mappable(self.mappings, unconfirmed, candidate.address, part);
            let Some(port) = parts.find_map(find) else { return false };
            (port, *candidate)
        };
        let ports = &PortChoice::Among(port..=port);
        self.search.commit_source(unconfirmed, &Candidate { ports, ..candidate }, is_random, Reach::Home)
    }
}
