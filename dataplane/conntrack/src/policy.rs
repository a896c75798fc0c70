//! Policy: ordered rules, the first that decides wins, a default at the end.
//!
//! Rules are plain data that the control plane lowers its YAML to. [`CompiledPolicy`](crate::CompiledPolicy) walks them for packets that have
//! no cached judgement; an established packet of a judged connection skips the walk.

use crate::connection_counts::ConnectionLimit;
use crate::entry::Status;
use crate::facts::{Connection, Facts};
use crate::ids::{HelperId, PortId, RuleId, Zone};
use crate::limits::Limit;
use crate::synproxy::Synproxy;
use crate::tuple::{Direction, Family, protocol};
use crate::verdict::State;
use bitflags::bitflags;
use std::ops::RangeInclusive;

pub use crate::address_set::{AddressSet, InSets};
pub use crate::prefix::Prefix;

/// A set of states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSet(u8);

impl StateSet {
    /// The same set with `state` in it.
    #[must_use]
    pub const fn with(self, state: State) -> Self {
        Self(self.0 | 1 << state as u8)
    }

    /// Whether `state` is in it.
    pub const fn contains(self, state: State) -> bool {
        self.0 & 1 << state as u8 != 0
    }
}

impl FromIterator<State> for StateSet {
    fn from_iter<I: IntoIterator<Item = State>>(states: I) -> Self {
        states.into_iter().fold(Self::default(), Self::with)
    }
}

/// TCP flags to look for: of the flags in `mask`, exactly those in `value` are set, or, inverted, they are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags {
    /// Flags looked at, as in byte 13 of the TCP header.
    pub mask: u8,
    /// Flags of those that must be set.
    pub value: u8,
    /// Whether the whole match is inverted.
    pub invert: bool,
}

/// A type of ICMP or ICMPv6, whose numbers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpType {
    /// IP protocol number of the one or the other.
    pub protocol: u8,
    /// The type.
    pub kind: u8,
    /// The code; `None` is any.
    pub code: Option<u8>,
}

/// What a rule looks at. An empty list and `None` match everything; all parts must match. What is about a connection (mark,
/// direction, status, helper) does not match a packet that has none: an INVALID or untracked one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// States, any of them.
    pub states: Option<StateSet>,
    /// Ingress ports, any of them.
    pub ingress: Vec<PortId>,
    /// Egress ports, any of them.
    pub egress: Vec<PortId>,
    /// Address family.
    pub family: Option<Family>,
    /// Source prefixes, any of them.
    pub source: Vec<Prefix>,
    /// Destination prefixes, any of them.
    pub destination: Vec<Prefix>,
    /// Sets that the addresses are in.
    pub sets: Option<Box<InSets>>,
    /// IP protocol numbers, any of them.
    pub protocols: Vec<u8>,
    /// Source ports, any of the ranges.
    pub source_ports: Vec<RangeInclusive<u16>>,
    /// Destination ports, any of the ranges.
    pub destination_ports: Vec<RangeInclusive<u16>>,
    /// ICMP and ICMPv6 types, any of them.
    pub icmp_types: Vec<IcmpType>,
    /// TCP flags.
    pub tcp_flags: Option<TcpFlags>,
    /// Connection mark: value and mask. A packet without a connection has none.
    pub mark: Option<(u32, u32)>,
    /// Connection zone.
    pub zone: Option<Zone>,
    /// Direction within the connection.
    pub direction: Option<Direction>,
    /// Status bits of the entry, any of them.
    pub status: Option<Status>,
    /// Helpers that expected the connection, any of them, as in iptables' match `helper`.
    pub helpers: Vec<HelperId>,
    /// How many packets that all else matches; none before tracking.
    pub limit: Option<Limit>,
    /// How many connections that all else matches are open; of the state NEW alone, so that no other packet is asked about.
    pub connections: Option<ConnectionLimit>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// The packet passes.
    Accept,
    /// The packet is dropped.
    Drop,
    /// The packet is dropped and its sender told.
    Reject,
    /// The connection gets this mark, if there is one; the walk goes on.
    Mark(u32),
    /// Of a TCP segment that is NEW: a SYN is answered with a SYN cookie, and the connection begins when that comes back.
    Synproxy(Synproxy),
    /// The packet is logged, within the rate limit; the walk goes on.
    Log,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in listings and metrics, if it has one.
    pub name: Option<String>,
    /// When it applies.
    pub matches: Match,
    /// What it does.
    pub action: RuleAction,
}

/// What ends a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The packet passes.
    Accept,
    /// The packet is dropped.
    #[default]
    Drop,
    /// The packet is dropped and its sender told.
    Reject,
    /// It passes if its sender has brought a SYN cookie, and is asked for one if not.
    Synproxy,
}

/// The rules of the box.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Packets that are not tracked. Looked at before tracking: only what the packet itself says can match.
    pub untracked: Vec<Match>,
    /// Zones by rule, first match; packets without one have the zone of their ingress port.
    pub zones: Vec<(Match, Zone)>,
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// What happens where no rule decides.
    pub default: Outcome,
}

/// Who decided about a packet: a rule by its number, or the policy's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Decision(Option<RuleId>);

impl Decision {
    /// That of a rule.
    pub(crate) const fn by(rule: RuleId) -> Self {
        Self(Some(rule))
    }
}

/// What a walk through the rules came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Who decided.
    pub decision: Decision,
    /// The first rule passed that wants the packet logged.
    pub log: Option<RuleId>,
    /// Whether every further established packet of the connection's direction would be judged alike.
    pub repeats: bool,
}

fn any<T>(list: &[T], test: impl FnMut(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(test)
}

bitflags! {
    /// Parts of a [`Match`], besides states and limits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Parts: u16 {
        const INGRESS = 1;
        const EGRESS = 1 << 1;
        const PROTOCOLS = 1 << 2;
        const SOURCE = 1 << 3;
        const DESTINATION = 1 << 4;
        const SOURCE_PORTS = 1 << 5;
        const DESTINATION_PORTS = 1 << 6;
        const CONNECTION = 1 << 7;
        const FAMILY = 1 << 8;
        const SETS = 1 << 9;
        const ICMP_TYPES = 1 << 10;
        const TCP_FLAGS = 1 << 11;
        const ZONE = 1 << 12;
    }
}

impl Parts {
    /// Those that few rules have.
    const RARE: Self = Self::CONNECTION
        .union(Self::FAMILY)
        .union(Self::SETS)
        .union(Self::ICMP_TYPES)
        .union(Self::TCP_FLAGS)
        .union(Self::ZONE);
}

impl Match {
    /// Whether all of it applies but for its limits.
    pub fn applies(&self, facts: &Facts) -> bool {
        self.applies_by(self.parts(), facts)
    }

    /// The same of one that has these parts.
    #[inline]
    pub(crate) fn applies_by(&self, parts: Parts, facts: &Facts) -> bool {
        self.states.is_none_or(|set| facts.state.is_some_and(|state| set.contains(state)))
            && self.parts_apply(parts, facts)
    }

    /// The parts that it has.
    pub(crate) fn parts(&self) -> Parts {
        let asks_connection = self.direction.is_some()
            || self.mark.is_some()
            || self.status.is_some()
            || !self.helpers.is_empty();
        let parts = [
            (Parts::INGRESS, !self.ingress.is_empty()),
            (Parts::EGRESS, !self.egress.is_empty()),
            (Parts::PROTOCOLS, !self.protocols.is_empty()),
            (Parts::SOURCE, !self.source.is_empty()),
            (Parts::DESTINATION, !self.destination.is_empty()),
            (Parts::SOURCE_PORTS, !self.source_ports.is_empty()),
            (Parts::DESTINATION_PORTS, !self.destination_ports.is_empty()),
            (Parts::CONNECTION, asks_connection),
            (Parts::FAMILY, self.family.is_some()),
            (Parts::SETS, self.sets.is_some()),
            (Parts::ICMP_TYPES, !self.icmp_types.is_empty()),
            (Parts::TCP_FLAGS, self.tcp_flags.is_some()),
            (Parts::ZONE, self.zone.is_some()),
        ];
        parts.into_iter().filter(|(_, has)| *has).map(|(part, _)| part).collect()
    }

    /// Whether these parts, which are all that it has, apply.
    #[inline]
    pub(crate) fn parts_apply(&self, parts: Parts, facts: &Facts) -> bool {
        let lacks = |part| !parts.contains(part);
        let has_ports = || protocol::has_ports(facts.protocol);
        (lacks(Parts::INGRESS) || self.ingress.iter().any(|port| port.covers(facts.ingress)))
            && (lacks(Parts::EGRESS)
                || facts.egress.is_some_and(|egress| self.egress.iter().any(|port| port.covers(egress))))
            && (lacks(Parts::PROTOCOLS) || self.protocols.contains(&facts.protocol))
            && (lacks(Parts::SOURCE)
                || self.source.iter().any(|prefix| prefix.contains(facts.family, facts.source)))
            && (lacks(Parts::DESTINATION)
                || self.destination.iter().any(|prefix| prefix.contains(facts.family, facts.destination)))
            && (lacks(Parts::SOURCE_PORTS)
                || has_ports() && self.source_ports.iter().any(|range| range.contains(&facts.source_port)))
            && (lacks(Parts::DESTINATION_PORTS)
                || has_ports()
                    && self.destination_ports.iter().any(|range| range.contains(&facts.destination_port)))
            && (!parts.intersects(Parts::RARE) || self.rare_apply(facts))
    }

    #[inline(never)]
    fn rare_apply(&self, facts: &Facts) -> bool {
        self.applies_to_connection(facts.connection.as_ref())
            && self.family.is_none_or(|family| family == facts.family)
            && self.sets.as_ref().is_none_or(|sets| sets.hold(facts.family, facts.source, facts.destination))
            && any(&self.icmp_types, |wanted| {
                let [icmp_type, icmp_code] = facts.destination_port.to_be_bytes();
                wanted.protocol == facts.protocol
                    && wanted.kind == icmp_type
                    && wanted.code.is_none_or(|code| code == icmp_code)
            })
            && self.tcp_flags.is_none_or(|flags| {
                facts.protocol == protocol::TCP
                    && (facts.tcp_flags & flags.mask == flags.value) != flags.invert
            })
            && self.zone.is_none_or(|zone| facts.zone == zone)
    }

    /// What it says about a connection does not apply to a packet that has none.
    fn applies_to_connection(&self, connection: Option<&Connection>) -> bool {
        match connection {
            None => {
                self.direction.is_none()
                    && self.mark.is_none()
                    && self.status.is_none()
                    && self.helpers.is_empty()
            }
            Some(connection) => {
                self.direction.is_none_or(|direction| connection.direction == direction)
                    && self.mark.is_none_or(|(value, mask)| connection.mark & mask == value)
                    && self.status.is_none_or(|status| connection.status.intersects(status))
                    && any(&self.helpers, |helper| Some(*helper) == connection.helper)
            }
        }
    }

    /// Whether it applies to all packets of one direction of a connection alike, or to none.
    pub(crate) const fn repeats(&self) -> bool {
        self.tcp_flags.is_none() && self.status.is_none() && self.icmp_types.is_empty()
    }
}

impl Policy {
    /// What a decision comes to, and the rule behind it.
    #[inline(always)]
    pub fn outcome(&self, decision: Decision) -> (Outcome, Option<RuleId>) {
        let Decision(rule) = decision;
        let action =
            rule.and_then(|RuleId(number)| self.rules.get(usize::from(number))).map(|rule| rule.action);
        let outcome = match action {
            Some(RuleAction::Accept) => Outcome::Accept,
            Some(RuleAction::Drop) => Outcome::Drop,
            Some(RuleAction::Reject) => Outcome::Reject,
            Some(RuleAction::Synproxy(_)) => Outcome::Synproxy,
            Some(RuleAction::Mark(_) | RuleAction::Log) | None => self.default,
        };
        (outcome, rule)
    }

    /// Whether packets are looked at before tracking: for a rule's zone, or to be left untracked.
    pub const fn looks_ahead(&self) -> bool {
        !self.untracked.is_empty() || !self.zones.is_empty()
    }

    /// Whether a packet is exempt from tracking.
    pub fn is_untracked(&self, facts: &Facts) -> bool {
        self.untracked.iter().any(|m| m.applies(facts))
    }

    /// The zone that a rule gives to a packet.
    pub fn zone(&self, facts: &Facts) -> Option<Zone> {
        self.zones.iter().find(|(m, _)| m.applies(facts)).map(|(_, zone)| *zone)
    }
}
