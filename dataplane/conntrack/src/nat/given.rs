//! What the rules may give a connection: without a search for a free port, and without anything being chosen.

use super::compiled::CompiledRule;
use super::rules::NatRule;
use crate::configuration::Configuration;
use crate::facts::Facts;
use crate::forward::{Egress, Forwarding};
use crate::ids::PortId;
use crate::tuple::{Family, Tuple, number};
use std::net::IpAddr;

impl Configuration {
    /// Whether the rules may give a connection, whose first packet shows these facts, the destination that a reply tuple says. `None` where
    /// they leave its destination alone.
    pub(crate) fn may_lead(&self, first: &Facts, original: &Tuple, reply: &Tuple) -> Option<bool> {
        let (compiled, own) = self.destination_rule(first, original)?;
        Some(compiled.leads(original, own, reply.src, reply.selector.sport()))
    }

    /// Whether the rules may give a connection the source that a reply tuple says, or leave it the one that it has. The facts are those of
    /// its first packet: as it comes, and as the policy has seen it on its way out.
    pub(crate) fn may_offer(
        &self,
        (first, seen): (&Facts, &Facts),
        egress: &Egress,
        original: &Tuple,
        reply: &Tuple,
    ) -> bool {
        let stays = reply.dst == original.src;
        if egress.port.is_local() {
            return stays;
        }
        let own = self.masquerade_address(egress);
        match self.nat.source.iter().find(|compiled| compiled.applies(seen, true)) {
            Some(CompiledRule { rule, .. }) if self.keeps_source(rule, seen, original) => stays,
            Some(compiled) => compiled.offers(original, own, reply.dst, reply.selector.dport()),
            None if egress.port == first.ingress && self.hairpins(first, original) => {
                own.map_or(stays, |own| number(own) == reply.dst)
            }
            None => stays,
        }
    }

    /// The rule that translates a connection's destination, and the box's address that it may mean.
    fn destination_rule(&self, first: &Facts, original: &Tuple) -> Option<(&CompiledRule, Option<IpAddr>)> {
        let own = self.own_address(first.ingress, original.source());
        let compiled = self.nat.destination.iter().find(|compiled| compiled.applies(first, own.is_some()))?;
        compiled.rule.target.translates().then_some((compiled, own))
    }

    fn hairpins(&self, first: &Facts, original: &Tuple) -> bool {
        self.destination_rule(first, original).is_some_and(|(compiled, _)| compiled.rule.hairpin)
    }

    /// Whether a rule leaves a connection's source alone that it is for.
    pub(super) fn keeps_source(&self, rule: &NatRule, seen: &Facts, original: &Tuple) -> bool {
        // Who has no address yet asks for one as nobody else (Linux's nf_nat_masquerade).
        let keeps = || original.src == 0 || self.is_of_box_alone(seen, original);
        !rule.target.translates() || rule.target.own_ports().is_some() && keeps()
    }

    /// Whether the box itself speaks from an address that no other one takes over: masqueraded, it would have that of a group.
    fn is_of_box_alone(&self, facts: &Facts, original: &Tuple) -> bool {
        facts.ingress.is_local()
            && !self.groups.all().is_empty()
            && self.groups.of_number(original.family(), original.src).is_none()
    }

    /// The box's own address that a connection is masqueraded as.
    pub(super) fn masquerade_address(&self, egress: &Egress) -> Option<IpAddr> {
        self.own_address(egress.port, egress.next_hop?)
    }

    /// The box's own address at a port, as a host behind it sees it.
    pub(super) fn own_address(&self, port: PortId, host: IpAddr) -> Option<IpAddr> {
        match &self.forwarding {
            Forwarding::Wire { .. } => None,
            Forwarding::Routed(router) => {
                let own = router.source_towards(port, host);
                own.filter(|own| Family::of(*own) == Family::of(host))
            }
        }
    }
}
