//! What must hold for the section `helpers`.

use super::matches;
use crate::config::path::{Path, Problem};
use crate::config::schema::{Config, HelperRule, Helpers, Rule};
use crate::config::values::{Helper, List, Protocol};
use sluice_conntrack::helpers::Descriptor;

/// A key, whether a rule has it, and why it cannot.
type Refused = (&'static str, fn(&HelperRule) -> bool, &'static str);

#[rustfmt::skip]
const REFUSED: [Refused; 5] = [
    ("out", |rule| rule.out.is_some(), "a helper is chosen before the way of the packet is looked up"),
    ("mark", |rule| rule.mark.is_some(), "a helper is chosen before the policy, which gives marks"),
    ("status", |rule| rule.status.is_some(), "a helper is chosen before anything is known of the connection"),
    ("destination-port", |rule| rule.destination_port.is_some(), "the servers' ports of a helper are its `ports`"),
    ("icmp-type", |rule| rule.icmp_type.is_some(), "no helper reads ICMP"),
];

/// The keys of other rules that a helper cannot have.
pub(super) fn refused_keys() -> Vec<&'static str> {
    REFUSED.iter().map(|(key, ..)| *key).collect()
}

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let section = Path::root().join("helpers");
    let mut problems = Vec::new();
    for (step, helper, rule) in config.helpers.iter() {
        let path = section.join(step);
        let refused = REFUSED.iter().filter(|(_, present, _)| present(rule));
        problems
            .extend(refused.map(|(key, _, why)| Problem::at(path.join(*key), (*why).to_owned()).on_key()));
        if rule.ports.iter().flat_map(List::iter).any(|ports| ports.first == 0) {
            problems.push(Problem::at(path.join("ports"), "port 0 is none".to_owned()));
        }
        let Some(helper) = helper else {
            let message = format!("`{path}` lacks the key `name`");
            let names = format!("one of {}", Helper::names().join(", "));
            problems.push(Problem::at(path, message).expected(names));
            continue;
        };
        if matches!(config.helpers, Helpers::ByName(_)) && rule.name.is_some() {
            let message = format!("the key above names the helper already: {}", helper.name());
            problems.push(Problem::at(path.join("name"), message).on_key());
        }
        if rule.ports.is_none() && Descriptor::of(helper).ports.is_empty() {
            let message = format!(
                "the helper `{}` has no port of its own: its connections are expected",
                helper.name()
            );
            problems.push(Problem::at(path.clone(), message).expected("the key `ports`".to_owned()));
        }
        let protocols: Vec<_> =
            Descriptor::of(helper).protocols.iter().map(|number| Protocol(*number)).collect();
        let others = rule.protocol.iter().flat_map(List::iter).any(|other| !protocols.contains(other));
        if others {
            let names = protocols.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
            let message = format!("the helper `{}` reads {names} only", helper.name());
            problems.push(Problem::at(path.join("protocol"), message).expected(names));
        }
        let protocol = rule.protocol.clone().unwrap_or_else(|| List::from(protocols));
        let rule = Rule { protocol: Some(protocol), icmp_type: None, ..rule.matches() };
        problems.extend(matches::check(&rule, config, &path));
    }
    problems
}
