//! From rules about all packets of an interface to its keys: the largest segment that SYNs may offer (`mss`), and whether a route must
//! lead back to a source (`rp-filter`). A key is wider than a rule of some directions or families: what it is about besides is said.

use std::rc::Rc;

use super::flatten::Step;
use super::host::Ports;
use super::model::{Action, Field};
use super::report::{Effect, Origin, Report};
use super::scope::Scope;
use super::set::NumberSet;
use crate::config::{Interface, Protocol, RpFilter, TcpFlags};

/// What a rule covers: the ports of each way, and the families.
struct Cover {
    origin: Rc<Origin>,
    incoming: NumberSet,
    outgoing: NumberSet,
    families: NumberSet,
    /// The ports whose key says it.
    ports: NumberSet,
}

/// IPv4 and IPv6, as [`Field::Family`] has them.
const FAMILIES: [(u128, &str); 2] = [(0, "IPv4"), (1, "IPv6")];

/// Gives interfaces the `mss` that rules of chains, each a list, ask for of packets that leave.
pub(super) fn clamp_mss(lists: &[Vec<Step>], ports: &mut Ports, report: &mut Report) {
    let mut covers = Vec::new();
    for list in lists {
        for (number, step) in list.iter().enumerate() {
            let Action::ClampMss(limit) = step.action else { continue };
            let Some(cover) = clamped(step, &list[..number], ports, report) else { continue };
            let has_other = |interface: &Interface| interface.mss.is_some_and(|mss| mss != limit);
            if of(ports, &cover.ports).any(|interface| has_other(interface)) {
                let why = "an interface has one limit, and this is another";
                report.left(&step.origin, Effect::Other, why);
                continue;
            }
            of(ports, &cover.ports).for_each(|interface| interface.mss = Some(limit));
            covers.push(cover);
        }
    }
    for cover in &covers {
        let is_covered = |incoming, outgoing, family| {
            covers.iter().any(|cover| {
                cover.incoming.contains(incoming)
                    && cover.outgoing.contains(outgoing)
                    && cover.families.contains(family)
            })
        };
        let all = || ports.all().numbers(ports.local()).collect::<Vec<_>>();
        let mut names = Vec::new();
        for (family, name) in FAMILIES {
            let own = |port: &u128| cover.ports.contains(*port);
            let others = |port: u128| all().into_iter().filter(move |other| *other != port);
            if all().into_iter().filter(own).any(|port| {
                others(port).any(|other| !is_covered(port, other, family) || !is_covered(other, port, family))
            }) {
                names.push(name);
            }
        }
        if !names.is_empty() {
            let why = format!(
                "an interface clamps what comes in and what leaves: SYNs of {}, too, that no rule is about",
                names.join(" and ")
            );
            report.note(&cover.origin, why);
        }
    }
}

/// What a rule clamps, if an interface can.
fn clamped(step: &Step, before: &[Step], ports: &Ports, report: &mut Report) -> Option<Cover> {
    let (incoming, outgoing) =
        (interfaces(&step.scope, Field::In, ports), interfaces(&step.scope, Field::Out, ports));
    let all = ports.all();
    let own = match (incoming == all, outgoing == all) {
        (_, true) => incoming.clone(),
        (true, false) => outgoing.clone(),
        (false, false) => {
            let why = "an interface clamps all SYNs that pass it, not those between two alone";
            report.left(&step.origin, Effect::Other, why);
            return None;
        }
    };
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    // Set among others, or, as nft says it, not among those that are not.
    let is_syn = |flags: &TcpFlags| match flags.negated {
        false => flags.set == SYN && flags.mask & SYN != 0,
        true => flags.set == 0 && flags.mask == SYN,
    };
    let is_tcp = |protocols: &NumberSet| protocols.contains(u128::from(Protocol::TCP.0));
    let mut rest = step
        .scope
        .clone()
        .without(Field::In)
        .without(Field::Out)
        .without(Field::Family)
        .without(Field::Protocol);
    let flags = std::mem::take(&mut rest.flags);
    if rest != Scope::default()
        || !flags.iter().all(is_syn)
        || !step.scope.set(Field::Protocol).is_none_or(is_tcp)
    {
        let why = "an interface clamps all SYNs that pass it, not some of them";
        report.left(&step.origin, Effect::Other, why);
        return None;
    }
    if flags.iter().any(|flags| flags.mask & ACK != 0) {
        report.note(&step.origin, "what a SYN/ACK offers is clamped, too");
    }
    let accepts =
        |earlier: &Step| matches!(earlier.action, Action::Accept) && earlier.scope.and(&step.scope).is_some();
    if before.iter().any(accepts) {
        report.note(&step.origin, "SYNs that a rule before it accepts are clamped, too");
    }
    let families = families(&step.scope);
    Some(Cover { origin: Rc::clone(&step.origin), incoming, outgoing, families, ports: own })
}

/// Gives interfaces the `rp-filter` that rules of chains, each a list, are of packets that come in.
pub(super) fn filter_reverse_paths(lists: &[Vec<Step>], ports: &mut Ports, report: &mut Report) {
    let mut covers: Vec<Cover> = Vec::new();
    for list in lists {
        for (number, step) in list.iter().enumerate() {
            let Some(filter) = step.bounds.no_reverse_path else { continue };
            let rest = step.scope.clone().without(Field::In).without(Field::Family);
            if rest != Scope::default() || step.bounds.limit.is_some() || step.bounds.connections.is_some() {
                let why = "a reverse path filter is of all that comes in by an interface";
                report.left(&step.origin, Effect::More, why);
                continue;
            }
            let is_exempt = |earlier: &Step| {
                matches!(earlier.action, Action::Accept) && earlier.scope.and(&step.scope).is_some()
            };
            if list[..number].iter().any(is_exempt) {
                report.left(&step.origin, Effect::Fewer, "what a rule before it accepts is looked at, too");
            }
            let own = interfaces(&step.scope, Field::In, ports);
            for interface in of(ports, &own) {
                // What comes in has to pass both.
                let is_strict = [interface.rp_filter, Some(filter)].contains(&Some(RpFilter::Strict));
                interface.rp_filter = Some(if is_strict { RpFilter::Strict } else { RpFilter::Loose });
            }
            covers.push(Cover {
                origin: Rc::clone(&step.origin),
                incoming: own.clone(),
                outgoing: NumberSet::default(),
                families: families(&step.scope),
                ports: own,
            });
        }
    }
    for cover in &covers {
        for (family, name) in FAMILIES {
            let is_covered = |port: u128| {
                covers.iter().any(|cover| cover.incoming.contains(port) && cover.families.contains(family))
            };
            if cover.ports.numbers(ports.local()).any(|port| !is_covered(port)) {
                let why = format!("the reverse path of {name} packets is looked at, too");
                report.left(&cover.origin, Effect::Fewer, why);
            }
        }
    }
}

/// The ports of a scope.
fn interfaces(scope: &Scope, field: Field, ports: &Ports) -> NumberSet {
    scope.set(field).map_or_else(|| ports.all(), |set| set.intersection(&ports.all()))
}

/// The families of a scope.
fn families(scope: &Scope) -> NumberSet {
    scope.set(Field::Family).cloned().unwrap_or_else(|| NumberSet::range(0, 1))
}

/// The interfaces of these ports.
fn of<'a>(ports: &'a mut Ports, set: &'a NumberSet) -> impl Iterator<Item = &'a mut Interface> {
    let numbered = (0..).zip(ports.iter_mut());
    numbered.filter(|(number, _)| set.contains(*number)).map(|(_, (_, interface))| interface)
}
