//! From the ways of packets to the sections of the configuration: `policy`, `nat`, `untracked`, `zones` and `helpers`.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::address_sets::AddressSets;
use super::flatten::Step;
use super::host::Ports;
use super::model::{Action, Field, NatTarget, Rejection, Translation};
use super::paths::Way;
use super::report::{Effect, Origin, Report};
use super::rules;
use super::scope::{Bounds, Scope};
use super::set::NumberSet;
use crate::config::{self, Addresses, HelperRule, List, NatRule, PortRange, Prefix, Rule, TcpFlags, Yes};

/// A rule, and what it comes of.
pub(super) type Item<T> = (T, Option<Rc<Origin>>);

/// Turns lists of steps into rules.
pub(super) struct Sections<'a> {
    /// The ports.
    pub ports: &'a Ports,
    /// What is left over.
    pub report: &'a mut Report,
    /// Sets of addresses.
    pub sets: &'a mut AddressSets,
    /// Packets of which SYNs are answered with SYN cookies.
    pub proxied: Vec<Scope>,
    /// Names that rules have already.
    pub names: BTreeSet<String>,
}

impl Sections<'_> {
    /// The rules of the policy for some ways of packets, all of which are in the scope `within`. They end with what becomes of the
    /// packets that no other rule decides about, but for drops, if the policy's own default drops those.
    pub(super) fn policy(&mut self, ways: Vec<Way>, within: &Scope, is_last: bool) -> Vec<Item<Rule>> {
        let mut items = Vec::new();
        for Way { scope, steps } in ways {
            if steps.is_empty() {
                items.extend(self.rule(&scope, within, config::Action::Accept, None));
            }
            for step in steps {
                let action = match &step.action {
                    Action::Accept => config::Action::Accept,
                    Action::Drop if is_last && step.bounds.is_all() && step.scope == scope => continue,
                    Action::Drop => config::Action::Drop,
                    Action::Reject(rejection) => {
                        if *rejection == Rejection::Other {
                            self.report.note(&step.origin, "the answer is a TCP reset, or ICMP prohibited");
                        }
                        config::Action::Reject
                    }
                    Action::Mark(mark) => config::Action::Mark(*mark),
                    Action::Log(_) => config::Action::Log,
                    Action::Synproxy(offer) => {
                        let scope = of_new(step.scope.clone());
                        self.proxied.push(scope.clone());
                        let action = config::Action::Synproxy(*offer);
                        items.extend(self.rule(&scope, within, action, Some(&step)));
                        continue;
                    }
                    _ => continue,
                };
                items.extend(self.rule(&step.scope, within, action, Some(&step)));
            }
        }
        items
    }

    fn rule(
        &mut self,
        scope: &Scope,
        within: &Scope,
        action: config::Action,
        step: Option<&Step>,
    ) -> Option<Item<Rule>> {
        let origin = step.map(|step| Rc::clone(&step.origin));
        match rules::rule(scope, within, self.ports, self.sets) {
            Ok(rule) => {
                let name = step.and_then(|step| self.name(step));
                let Bounds { limit, connections, .. } = step.map_or_else(Bounds::default, |step| step.bounds);
                Some((Rule { name, limit, connections, action: Some(action), ..rule }, origin))
            }
            Err(why) => {
                let effect = effect(action);
                origin.into_iter().for_each(|origin| self.report.left(&origin, effect, why.clone()));
                None
            }
        }
    }

    /// The name of a rule: what its lines in the log begin with, else its comment.
    fn name(&mut self, step: &Step) -> Option<String> {
        let prefix = match &step.action {
            Action::Log(prefix) => prefix.as_deref(),
            _ => None,
        };
        let name = prefix.or(step.comment.as_deref()).and_then(rules::name)?;
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !self.names.contains(name))?;
        self.names.insert(free.clone());
        Some(free)
    }

    /// The rules that translate, for some ways of first packets.
    pub(super) fn nat(&mut self, ways: Vec<Way>, within: &Scope, is_source: bool) -> Vec<Item<NatRule>> {
        let mut items: Vec<Item<NatRule>> = Vec::new();
        for Way { steps, .. } in ways {
            let mut own = Vec::new();
            for step in steps {
                let rule = self.first_packets(&step, within);
                let rule = rule.and_then(|rule| match &step.action {
                    Action::Translate(translation) => translated(&rule, translation, is_source),
                    _ => Ok(NatRule { keep: Some(Yes), ..matches(&rule) }),
                });
                match rule {
                    Ok(rule) => {
                        let name = self.name(&step);
                        own.push((NatRule { name, ..rule }, Some(step.origin)));
                    }
                    Err(why) => self.report.left(&step.origin, Effect::Other, why),
                }
            }
            while own.last().is_some_and(|(rule, _)| rule.keep.is_some()) {
                own.pop();
            }
            items.extend(own);
        }
        items
    }

    /// A rule about first packets.
    fn first_packets(&mut self, step: &Step, within: &Scope) -> Result<Rule, String> {
        let mut scope = step.scope.clone();
        match scope.set(Field::State) {
            Some(states) if !states.contains(0) => return Err("only first packets are translated".to_owned()),
            Some(_) => {
                self.report
                    .note(&step.origin, "rules that translate see first packets alone, whatever their state");
                scope = scope.without(Field::State);
            }
            None => {}
        }
        let rule = rules::rule(&scope, within, self.ports, self.sets)?;
        let unknown = [
            ("tcp-flags", rule.tcp_flags.is_some()),
            ("helper", rule.helper.is_some()),
            ("direction", rule.direction.is_some()),
        ];
        match unknown.into_iter().find(|(_, present)| *present) {
            Some((key, _)) => Err(format!("rules that translate do not look at `{key}`")),
            None => Ok(rule),
        }
    }

    /// The sections `untracked`, `zones` and `helpers`.
    pub(super) fn tracking(&mut self, lists: Vec<Vec<Step>>) -> Tracking {
        let mut tracking = Tracking::default();
        for list in lists {
            // Whatever leaves the chain before is not meant.
            let mut gone: Vec<Scope> = Vec::new();
            for step in list {
                if matches!(step.action, Action::Accept) {
                    gone.push(step.scope);
                    continue;
                }
                if !matches!(step.action, Action::Untracked | Action::Zone(_) | Action::Helper(_)) {
                    continue;
                }
                if matches!(step.action, Action::Untracked) && self.is_proxied(&step.scope) {
                    self.report.note(&step.origin, "SYNs are NEW as they are answered with SYN cookies");
                    continue;
                }
                if gone.iter().any(|scope| scope.and(&step.scope).is_some()) {
                    let why = "some of its packets leave the chain before, which cannot be said";
                    self.report.left(&step.origin, Effect::Other, why);
                    continue;
                }
                if let Err(why) = self.early(&step, &mut tracking) {
                    self.report.left(&step.origin, Effect::Other, why);
                }
            }
        }
        tracking
    }

    /// Whether it is about SYNs that are answered with SYN cookies.
    fn is_proxied(&self, scope: &Scope) -> bool {
        const SYN: u8 = 0x02;
        let is_syn = |flags: &TcpFlags| flags.mask & SYN != 0 && (flags.set & SYN != 0) != flags.negated;
        scope.flags.iter().any(is_syn) && self.proxied.iter().any(|proxied| proxied.and(scope).is_some())
    }

    fn early(&mut self, step: &Step, tracking: &mut Tracking) -> Result<(), String> {
        let origin = Some(Rc::clone(&step.origin));
        match &step.action {
            Action::Untracked => {
                let rule = rules::rule(&step.scope, &Scope::default(), self.ports, self.sets)?;
                tracking.untracked.push((rule, origin));
            }
            Action::Zone(zone) => {
                let rule = rules::rule(&step.scope, &Scope::default(), self.ports, self.sets)?;
                tracking.zones.push((Rule { zone: Some(*zone), ..rule }, origin));
            }
            Action::Helper(name) => {
                let rule = self.first_packets(step, &Scope::default())?;
                let all = || List::one(PortRange { first: 1, last: u16::MAX });
                tracking.helpers.push((
                    HelperRule {
                        name: Some(rules::helper(name)?),
                        ports: Some(rule.destination_port.clone().unwrap_or_else(all)),
                        in_: rule.in_,
                        family: rule.family,
                        source: rule.source,
                        destination: rule.destination,
                        protocol: rule.protocol,
                        source_port: rule.source_port,
                        ..HelperRule::default()
                    },
                    origin,
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The sections about packets before, or as, they are tracked.
#[derive(Default)]
pub(super) struct Tracking {
    /// Packets that are not.
    pub untracked: Vec<Item<Rule>>,
    /// Zones.
    pub zones: Vec<Item<Rule>>,
    /// Helpers.
    pub helpers: Vec<Item<HelperRule>>,
}

/// The packets for which SYNPROXY stands, as they are here: there a SYN is not tracked, and the ACK with the cookie INVALID.
fn of_new(scope: Scope) -> Scope {
    let new = NumberSet::one(0);
    match scope.set(Field::State) {
        Some(states) if !states.contains(0) => scope.without(Field::State).with(Field::State, new),
        _ => scope,
    }
}

/// What comes of leaving out a rule of the policy.
pub(super) fn effect(action: config::Action) -> Effect {
    match action {
        config::Action::Accept => Effect::Fewer,
        config::Action::Drop | config::Action::Reject => Effect::More,
        config::Action::Synproxy(_) => Effect::Either,
        config::Action::Mark(_) | config::Action::Log => Effect::Other,
    }
}

/// Says of which rules, that came of one, each has a limit of its own now.
pub(super) fn report_shared_limits(policy: &[Item<Rule>], report: &mut Report) {
    let bounded = |rule: &Rule| rule.limit.is_some() || rule.connections.is_some();
    let mut seen: Vec<(&Rc<Origin>, Option<config::Action>)> = Vec::new();
    for (rule, origin) in policy {
        let Some(origin) = origin.as_ref().filter(|_| bounded(rule)) else { continue };
        if seen.contains(&(origin, rule.action)) {
            let is_log = rule.action == Some(config::Action::Log);
            let effect = if is_log { Effect::Note } else { Effect::Either };
            report.left(origin, effect, "it has become several rules, each with a limit of its own");
        }
        seen.push((origin, rule.action));
    }
}

/// What a rule looks at, as one that translates.
fn matches(rule: &Rule) -> NatRule {
    let rule = rule.clone();
    NatRule {
        in_: rule.in_,
        out: rule.out,
        family: rule.family,
        source: rule.source,
        destination: rule.destination,
        protocol: rule.protocol,
        source_port: rule.source_port,
        destination_port: rule.destination_port,
        icmp_type: rule.icmp_type,
        mark: rule.mark,
        zone: rule.zone,
        status: rule.status,
        ..NatRule::default()
    }
}

fn translated(rule: &Rule, translation: &Translation, is_source: bool) -> Result<NatRule, String> {
    let Translation { target, ports, random, persistent } = translation;
    let several = |range: PortRange| range.first < range.last;
    let mut translated = NatRule { ports: *ports, ..matches(rule) };
    match target {
        NatTarget::Source(range) => translated.to = Some(List::one(*range)),
        NatTarget::Masquerade => translated.masquerade = Some(Yes),
        NatTarget::Destination(range) => translated.to = Some(List::one(*range)),
        NatTarget::Redirect(to) => translated.redirect = Some(*to),
        NatTarget::Network(network) => {
            translated.prefix =
                Some(one_to_one(if is_source { &rule.source } else { &rule.destination }, *network)?);
        }
    }
    let draws = match target {
        NatTarget::Source(_) | NatTarget::Masquerade => true,
        NatTarget::Destination(range) => range.ports.is_some_and(several),
        NatTarget::Redirect(config::Redirect::Ports(range)) => several(*range),
        NatTarget::Redirect(config::Redirect::SamePort) | NatTarget::Network(_) => false,
    };
    translated.random = *random && draws;
    translated.persistent = *persistent && matches!(target, NatTarget::Source(_) | NatTarget::Masquerade);
    Ok(translated)
}

/// The network of a 1:1 translation, which is as long as the one that is matched.
fn one_to_one(matched: &Option<List<Addresses>>, network: Prefix) -> Result<Prefix, String> {
    match matched.as_ref().map(|list| list.iter().as_slice()) {
        Some([Addresses::Prefix(one)]) if one.0.prefix_len() == network.0.prefix_len() => Ok(network),
        _ => Err(format!("what becomes {network} has to be matched as one network of its length")),
    }
}
