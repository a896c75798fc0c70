//! What must hold for the rules of `untracked`, `zones` and `policy`.

use std::collections::BTreeSet;

use super::{limits, matches};
use crate::config::path::{Path, Problem};
use crate::config::schema::{Action, Config, DEFAULT_RULE, Rule, State, Synproxy};
use crate::config::values::{List, Protocol};

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, list) in [("untracked", &config.untracked), ("zones", &config.zones)] {
        let section = Path::root().join(name);
        for (index, rule) in list.iter().enumerate() {
            problems.extend(early_rule(name, rule, &section.join(index)));
            problems.extend(matches::check(rule, config, &section.join(index)));
        }
    }
    let section = Path::root().join("policy").join("rules");
    for (index, rule) in config.policy.rules.iter().enumerate() {
        problems.extend(policy_rule(rule, &section.join(index)));
        problems.extend(limits::check(rule, &section.join(index)));
        problems.extend(matches::check(rule, config, &section.join(index)));
    }
    problems.extend(rule_names(config));
    problems
}

/// A key, and whether a rule has it.
type Key = (&'static str, fn(&Rule) -> bool);

/// Before tracking there is no state, no connection and no way out yet.
#[rustfmt::skip]
const AFTER_TRACKING: [Key; 9] = [
    ("state", |rule| rule.state.is_some()),
    ("out", |rule| rule.out.is_some()),
    ("mark", |rule| rule.mark.is_some()),
    ("status", |rule| rule.status.is_some()),
    ("helper", |rule| rule.helper.is_some()),
    ("direction", |rule| rule.direction.is_some()),
    ("limit", |rule| rule.limit.is_some()),
    ("connections", |rule| rule.connections.is_some()),
    ("action", |rule| rule.action.is_some()),
];

/// The keys of a rule that those of `untracked` and `zones` cannot have.
pub(super) fn refused_keys() -> Vec<&'static str> {
    AFTER_TRACKING.iter().map(|(key, _)| *key).collect()
}

fn early_rule(section: &str, rule: &Rule, path: &Path) -> Vec<Problem> {
    let problem = |(key, _): &Key| {
        let why = match *key {
            "action" | "limit" | "connections" => format!("a rule of `{section}` has no {key}"),
            _ => format!("a rule of `{section}` cannot match `{key}`: it is looked at before tracking"),
        };
        Problem::at(path.join(*key), why).on_key()
    };
    let mut problems: Vec<Problem> =
        AFTER_TRACKING.iter().filter(|(_, present)| present(rule)).map(problem).collect();
    if section == "zones" && rule.zone.is_none() {
        let message = format!("`{path}` lacks the key `zone`");
        problems.push(Problem::at(path.clone(), message).expected("the zone to give".to_owned()));
    }
    problems
}

fn policy_rule(rule: &Rule, path: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    if rule.action.is_none() {
        let message = format!("`{path}` lacks the key `action`");
        let expected = "`action: accept`, drop, reject, log, synproxy or { mark: NUMBER }".to_owned();
        problems.push(Problem::at(path.clone(), message).expected(expected));
    }
    if let Some(Action::Synproxy(offer)) = &rule.action {
        problems.extend(synproxy(offer, rule, &path.join("action")));
    }
    let stateless = rule
        .state
        .as_ref()
        .is_some_and(|states| states.iter().all(|state| matches!(state, State::Untracked | State::Invalid)));
    let of_connections = [
        ("mark", rule.mark.is_some()),
        ("helper", rule.helper.is_some()),
        ("direction", rule.direction.is_some()),
    ];
    if let Some((key, _)) = of_connections.into_iter().find(|(_, present)| stateless && *present) {
        let message = format!("packets of this state belong to no connection, so none has a `{key}`");
        problems.push(Problem::at(path.join(key), message).on_key());
    }
    problems
}

/// What can be offered, and to whom.
fn synproxy(offer: &Synproxy, rule: &Rule, path: &Path) -> Vec<Problem> {
    let offered = path.join("synproxy");
    let mut problems = Vec::new();
    if offer.mss < 88 {
        problems.push(Problem::at(offered.join("mss"), format!("{} is no maximum segment size", offer.mss)));
    }
    if offer.wscale.is_some_and(|wscale| wscale > 14) {
        let message = "the largest window scale is 14 (RFC 7323)".to_owned();
        problems.push(Problem::at(offered.join("wscale"), message));
    }
    let is_tcp = |protocols: &List<Protocol>| protocols.iter().all(|protocol| *protocol == Protocol::TCP);
    if !rule.protocol.as_ref().is_some_and(is_tcp) {
        let message = "SYNs are of TCP alone".to_owned();
        problems.push(Problem::at(path.clone(), message).expected("`protocol: tcp`".to_owned()));
    }
    let is_new = |states: &List<State>| states.iter().any(|state| *state == State::New);
    if !rule.state.as_ref().is_none_or(is_new) {
        let message = "a SYN that begins a connection is NEW".to_owned();
        problems.push(Problem::at(path.clone(), message).expected("`state: new`".to_owned()));
    }
    problems
}

fn rule_names(config: &Config) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for (index, rule) in config.policy.rules.iter().enumerate() {
        let Some(name) = &rule.name else { continue };
        let path = || Path::root().join("policy").join("rules").join(index).join("name");
        if name == DEFAULT_RULE {
            let message = format!("`{name}` is what decides where no rule does and cannot be a rule's name");
            problems.push(Problem::at(path(), message));
        } else if !seen.insert(name) {
            problems.push(Problem::at(path(), format!("another rule is named `{name}` already")));
        }
    }
    problems
}
