//! The stages of a packet's way, in their order.

use serde::Serialize;
use serde_json::Value;
use sluice_conntrack::facts::Facts;
use sluice_conntrack::forward::Forwarding;
use sluice_conntrack::headers::{Fragment, Headers, Packet, PacketKind};
use sluice_conntrack::nat::NatRule;
use sluice_conntrack::policy::{Match, RuleAction};
use sluice_conntrack::tuple::{Family, address, protocol};
use sluice_conntrack::wire::tcp::Segment;
use sluice_conntrack::{PortId, State, wire};

use super::why::why_not;
use super::{Passed, Stage};
use crate::config::Protocol;
use crate::packet::early_facts;
use crate::rehearsal::{Came, Ends, Named, Outcome, Subject};
use crate::run::route_to;
use crate::socket::protocol::Response;

/// The frame as [`wire`] reads it.
type Frame = (PortId, Vec<u8>);

/// All stages that a packet came to.
pub(super) fn all(subject: &Subject, came: &Came, outcome: &Outcome) -> Vec<Stage> {
    let frame: Frame = (came.ingress, came.frame.clone());
    let mut stages = vec![port(subject, came)];
    let headers = match wire::parse(&frame) {
        Ok(headers) => headers,
        Err(reason) => {
            stages.push(stage("headers", format!("damaged: {}", reason.meaning())));
            return stages;
        }
    };
    stages.push(stage("headers", headers_text(&frame, &headers)));
    stages.push(stage("fragments", fragments(came, &headers)));
    let Some(state) = outcome.state else { return stages };
    if headers.family().is_some() {
        let way = Way {
            subject,
            came,
            outcome,
            early: early_facts(&subject.configuration, came.ingress, &frame.1, &headers),
        };
        stages.push(way.zone());
        stages.push(way.untracked());
        stages.push(way.tracking(state));
        stages.extend(way.dnat());
        stages.push(way.route());
        stages.extend(way.policy());
        stages.extend(way.snat());
        stages.extend(way.entry());
    }
    stages.extend(egress(outcome));
    stages.extend(outcome.sent.iter().map(|sent| stage("sent", sent.clone())));
    stages.extend(outcome.answer.iter().map(|answer| stage("answer", answer.clone())));
    stages
}

const fn stage(stage: &'static str, result: String) -> Stage {
    Stage { stage, result, rule: None, passed: Vec::new() }
}

fn port(Subject { config, names, .. }: &Subject, came: &Came) -> Stage {
    let name = names.interface(came.ingress);
    let device = config.interfaces.get(name).map(|interface| interface.device.to_string());
    let device = device.unwrap_or_else(|| "the box's own network stack".to_owned());
    stage("port", format!("{name}, {device}"))
}

fn headers_text(frame: &Frame, headers: &Headers) -> String {
    let Some(family) = headers.family() else { return "not IP: not tracked".to_owned() };
    let family = if family == Family::V4 { "IPv4" } else { "IPv6" };
    let name = Protocol(headers.protocol);
    let mut text = format!("{family}, {} bytes, ttl {}, {name}", headers.l3_len, headers.ttl);
    let packet = Packet { headers, head: &frame.1 };
    if headers.protocol == protocol::TCP
        && let Some(segment) = Segment::parse(&packet)
    {
        text.push_str(&format!(" seq {} ack {}", segment.seq, segment.ack));
    }
    match headers.kind {
        PacketKind::Invalid(reason) => format!("{text}; {}: {}", reason.label(), reason.meaning()),
        PacketKind::Tracked | PacketKind::Error if headers.fragment == Fragment::Whole => {
            let is_right = wire::verify_checksum(frame, headers);
            format!("{text}; checksum {}", if is_right { "right" } else { "wrong" })
        }
        _ => text,
    }
}

fn fragments(came: &Came, headers: &Headers) -> String {
    match (came.fragments, headers.fragment) {
        (1, Fragment::Whole) => "none: the packet is whole".to_owned(),
        (1, Fragment::First) => "the first fragment of its datagram".to_owned(),
        (1, Fragment::Later) => "a later fragment of its datagram".to_owned(),
        (pieces, _) => format!("{pieces}, put together and taken as one packet"),
    }
}

/// A packet, and all that is known of its way.
struct Way<'a> {
    subject: &'a Subject,
    came: &'a Came,
    outcome: &'a Outcome,
    early: Facts,
}

impl Way<'_> {
    fn zone(&self) -> Stage {
        let Subject { config, configuration, names } = self.subject;
        let rules = configuration.policy.zones.iter().map(|(matches, _)| matches);
        let facts = Facts { zone: 0, ..self.early };
        let (rule, passed) = self.walk(rules, &names.zones, &config.zones, &facts);
        let result = match rule {
            Some(_) => self.early.zone.to_string(),
            None => format!("{}, of the interface", self.early.zone),
        };
        Stage { rule, passed, ..stage("zone", result) }
    }

    fn untracked(&self) -> Stage {
        let Subject { config, configuration, names } = self.subject;
        let rules = configuration.policy.untracked.iter();
        let (rule, passed) = self.walk(rules, &names.untracked, &config.untracked, &self.early);
        let result = match (&rule, names.untracked.len()) {
            (Some(_), _) => "it is exempt from tracking".to_owned(),
            (None, 0) => "no rules".to_owned(),
            (None, _) => "no rule applies: it is tracked".to_owned(),
        };
        Stage { rule, passed, ..stage("untracked", result) }
    }

    fn tracking(&self, state: State) -> Stage {
        let Self { came, outcome, .. } = self;
        let name = state.name();
        let result = match (state, outcome.invalid, came.verdict.direction) {
            (_, Some(reason), _) => format!("{name} ({}): {}", reason.label(), reason.meaning()),
            (State::Untracked, ..) => name.to_owned(),
            (State::New, ..) if came.is_first => format!("{name}: no connection has its tuple"),
            (State::Related, ..) if came.is_first => format!("{name}: it was expected"),
            (State::Related, None, Some(way)) => {
                format!("{name}: an error about a connection, in its {} direction", way.name())
            }
            (_, None, Some(way)) => format!("{name}, {} direction", way.name()),
            _ => name.to_owned(),
        };
        stage("tracking", result)
    }

    /// What becomes of the destination, if anything could.
    fn dnat(&self) -> Option<Stage> {
        let Subject { config, configuration, names } = self.subject;
        let to = |ends: Option<Ends>| ends.map(|ends| crate::rehearsal::end(ends.destination));
        let change = self.change(to(self.outcome.came), to(self.seen().or(self.outcome.left)));
        if !self.came.is_first {
            return Some(stage("dnat", format!("as its connection: {}", change?)));
        }
        let mut facts = self.early;
        facts.state = Some(State::New);
        facts.connection = self.came.facts.and_then(|facts| facts.connection).map(|mut connection| {
            connection.status = Default::default();
            connection
        });
        let rules = configuration.nat.destination();
        Some(self.nat("dnat", rules, &names.destination, &config.nat.destination, &facts, change))
    }

    fn route(&self) -> Stage {
        let Subject { config, configuration, names } = self.subject;
        if let Forwarding::Wire { peers } = &configuration.forwarding {
            let peer = peers.get(usize::from(self.came.ingress.0)).copied().unwrap_or_default();
            return stage("route", format!("a wire: to the other port, {}", names.interface(peer)));
        }
        let facts = self.came.facts.unwrap_or(self.early);
        let to = address(facts.family, facts.destination);
        let route = match route_to(config, &configuration.forwarding, to) {
            Response::Route(route) => route.to_string(),
            _ => "none".to_owned(),
        };
        stage("route", route)
    }

    /// Which rule has decided, if the policy was asked.
    fn policy(&self) -> Option<Stage> {
        let Subject { config, configuration, names } = self.subject;
        let facts = self.came.facts?;
        let rule = self.outcome.rule.clone();
        let decided = self.came.verdict.rule.map_or(usize::MAX, |rule| usize::from(rule.0));
        let rules = configuration.policy.rules.iter().zip(&names.rules).zip(&config.policy.rules);
        let mut passed = Vec::new();
        let mut facts = facts;
        for ((rule, name), written) in rules.take(decided) {
            let because = why_not(&rule.matches, &value(written), &facts, names);
            let because = because.unwrap_or_else(|| match rule.action {
                // Of what goes on nobody has noted whether it was within the limit.
                RuleAction::Mark(_) | RuleAction::Log if is_bounded(&rule.matches) => {
                    "is for some of such packets, and the walk goes on".to_owned()
                }
                _ if let Some(limit) = &rule.matches.limit => {
                    let is_not = if limit.over { " not" } else { "" };
                    format!("its limit is{is_not} reached")
                }
                _ if rule.matches.connections.is_some() => {
                    "its `connections` are for another number of open ones".to_owned()
                }
                RuleAction::Mark(mark) => {
                    if let Some(connection) = &mut facts.connection {
                        connection.mark = mark;
                    }
                    format!("sets the mark {mark}, and the walk goes on")
                }
                RuleAction::Log => "logs the packet, and the walk goes on".to_owned(),
                // What decides and applies has decided: these do not stand in front of that.
                RuleAction::Synproxy(_) => "is for TCP that is NEW".to_owned(),
                RuleAction::Accept | RuleAction::Drop | RuleAction::Reject => "does not decide".to_owned(),
            });
            passed.push(Passed { rule: name.clone(), because });
        }
        let action =
            match self.came.verdict.rule.and_then(|rule| config.policy.rules.get(usize::from(rule.0))) {
                Some(rule) => rule.action.map(|action| action.word().to_owned()),
                None => value(&config.policy.default).as_str().map(str::to_owned),
            };
        let action = action.unwrap_or_default();
        Some(Stage { rule, passed, ..stage("policy", action) })
    }

    /// What becomes of the source, if anything could.
    fn snat(&self) -> Option<Stage> {
        let Subject { config, configuration, names } = self.subject;
        self.outcome.out.as_ref()?;
        let from = |ends: Option<Ends>| ends.map(|ends| crate::rehearsal::end(ends.source));
        let change = self.change(from(self.outcome.came), from(self.outcome.left));
        if !self.came.is_first {
            return Some(stage("snat", format!("as its connection: {}", change?)));
        }
        let rules = configuration.nat.source();
        Some(self.nat("snat", rules, &names.source, &config.nat.source, &self.came.facts?, change))
    }

    fn entry(&self) -> Option<Stage> {
        Some(stage("entry", self.outcome.entry.clone()?))
    }

    /// Source and destination as the policy saw them: the destination is translated by then.
    fn seen(&self) -> Option<Ends> {
        let facts = self.came.facts?;
        let came = self.outcome.came?;
        let port = came.destination.1.map(|_| facts.destination_port);
        Some(Ends { destination: (address(facts.family, facts.destination), port), ..came })
    }

    fn change(&self, before: Option<String>, after: Option<String>) -> Option<String> {
        let (before, after) = (before?, after?);
        (before != after).then(|| format!("{before} becomes {after}"))
    }

    /// The choice among rules of NAT: the first that applies and has an address to give, or keeps what there is.
    fn nat<'a, T: Serialize>(
        &self,
        name: &'static str,
        rules: impl Iterator<Item = &'a NatRule>,
        names: &[Named],
        written: &[T],
        facts: &Facts,
        change: Option<String>,
    ) -> Stage {
        let mut passed = Vec::new();
        let mut taken = None;
        for ((rule, name), written) in rules.zip(names).zip(written) {
            let because = match why_not(&rule.matches, &value(written), facts, &self.subject.names) {
                None if !rule.target.translates() => {
                    taken = Some((name, "it stays as it is".to_owned()));
                    break;
                }
                None if change.is_some() => {
                    taken = change.clone().map(|change| (name, change));
                    break;
                }
                None => "has no other address to give".to_owned(),
                Some(because) => because,
            };
            passed.push(Passed { rule: name.clone(), because });
        }
        match taken {
            Some((rule, result)) => Stage { rule: Some(rule.clone()), passed, ..stage(name, result) },
            None => {
                let nothing = if names.is_empty() { "no rules" } else { "no rule translates it" };
                Stage { passed, ..stage(name, change.unwrap_or_else(|| nothing.to_owned())) }
            }
        }
    }

    /// The first rule that applies, and those in front of it.
    fn walk<'a, T: Serialize>(
        &self,
        rules: impl Iterator<Item = &'a Match>,
        names: &[Named],
        written: &[T],
        facts: &Facts,
    ) -> (Option<Named>, Vec<Passed>) {
        let mut passed = Vec::new();
        for ((matches, rule), written) in rules.zip(names).zip(written) {
            match why_not(matches, &value(written), facts, &self.subject.names) {
                Some(because) => passed.push(Passed { rule: rule.clone(), because }),
                None => return (Some(rule.clone()), passed),
            }
        }
        (None, passed)
    }
}

/// Whether a rule is for some of the packets that it matches.
const fn is_bounded(matches: &Match) -> bool {
    matches.limit.is_some() || matches.connections.is_some()
}

fn egress(outcome: &Outcome) -> Option<Stage> {
    let out = outcome.out.as_ref()?;
    let via = outcome.via.map(|via| format!(", next hop {via}")).unwrap_or_default();
    Some(stage("egress", format!("{out}{via}")))
}

/// A rule as it is written, key by key.
pub(super) fn value(written: &impl Serialize) -> Value {
    serde_json::to_value(written).unwrap_or_default()
}
