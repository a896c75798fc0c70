//! What the types alone cannot say: names that must exist, values that must not meet, keys that need others.

use std::collections::{BTreeMap, BTreeSet};

use garde::Validate;

use super::explain::nearest;
use super::path::{Path, Problem, Step};
use super::rules_nat;
use super::rules_routes;
use super::schema::{Config, Forwarding};
use super::schema_policy::{Rule, State};
use super::values::List;
use super::values_match::IcmpType;
use super::values_net::{Device, Protocol};

/// As many ports as a shard knows.
const MAX_INTERFACES: usize = sluice_conntrack::forward::MAX_PORTS;

/// What `out:` calls the box itself.
pub(super) const LOCAL: &str = "local";

/// What the policy's default goes by where rules are listed by name.
pub const DEFAULT_RULE: &str = "default";

/// Everything that is wrong with a configuration whose types are right.
pub fn check(config: &Config) -> Vec<Problem> {
    let mut problems = field_rules(config);
    problems.extend(cores(config));
    problems.extend(interfaces(config));
    problems.extend(forwarding(config));
    problems.extend(rules_routes::check(config));
    for (name, list) in [("untracked", &config.untracked), ("zones", &config.zones)] {
        let section = Path::root().join(name);
        for (index, rule) in list.iter().enumerate() {
            problems.extend(early_rule(name, rule, &section.join(index)));
            problems.extend(matches(rule, config, &section.join(index)));
        }
    }
    let section = Path::root().join("policy").join("rules");
    for (index, rule) in config.policy.rules.iter().enumerate() {
        problems.extend(policy_rule(rule, &section.join(index)));
        problems.extend(matches(rule, config, &section.join(index)));
    }
    problems.extend(rule_names(config));
    problems.extend(rules_nat::check(config));
    problems
}

/// Whether this can be a name: of an interface, of a rule, in a metric's label, in a file's name.
pub(super) fn is_name(text: &str, longest: usize) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.len() <= longest && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain)
}

/// The bounds that stand at the fields themselves.
fn field_rules(config: &Config) -> Vec<Problem> {
    let Err(report) = config.validate() else { return Vec::new() };
    let problem = |(path, error): (garde::Path, garde::Error)| {
        // Of a list and of a number, garde says only how it compares to the bound.
        let message = match error.message() {
            text if text.starts_with("length is") => text.replacen("length", "the number of elements", 1),
            text if text.starts_with("lower") || text.starts_with("greater") => {
                format!("the value is {text}")
            }
            text => text.to_owned(),
        };
        Problem::at(path_of(&path), message)
    };
    report.into_inner().into_iter().map(problem).collect()
}

/// Garde's path with the file's keys for Rust's field names; the names of interfaces are the user's own.
fn path_of(path: &garde::Path) -> Path {
    let mut steps = Vec::new();
    for (kind, text) in path.__iter().rev() {
        let is_field = steps.last() != Some(&Step::from("interfaces"));
        steps.push(match (kind, text.parse()) {
            (garde::error::Kind::Index, Ok(index)) => Step::Index(index),
            _ if is_field => Step::Key(text.replace('_', "-")),
            _ => Step::Key(text.to_string()),
        });
    }
    steps.into_iter().collect()
}

fn cores(config: &Config) -> Vec<Problem> {
    let section = Path::root().join("system").join("cores").join("workers");
    let workers = &config.system.cores.workers;
    let twice = workers.iter().enumerate().filter(|(place, core)| workers[..*place].contains(core));
    twice
        .map(|(place, core)| Problem::at(section.join(place), format!("core {core} has a worker already")))
        .collect()
}

fn interfaces(config: &Config) -> Vec<Problem> {
    let section = Path::root().join("interfaces");
    let mut problems = Vec::new();
    match config.interfaces.len() {
        0 => problems.push(Problem::at(section.clone(), "there is no interface".to_owned()).on_key()),
        n if n > MAX_INTERFACES => {
            problems.push(
                Problem::at(section.clone(), format!("{n} interfaces; at most {MAX_INTERFACES}")).on_key(),
            );
        }
        _ => {}
    }
    let mut devices: BTreeMap<String, &str> = BTreeMap::new();
    let mut networks: Vec<(ipnet::IpNet, &str, u16)> = Vec::new();
    for (name, interface) in &config.interfaces {
        let place = section.join(name.as_str());
        if !is_name(name, 15) {
            let message = format!("`{name}` cannot be an interface's name");
            let expected = "1 to 15 letters, digits, `-`, `_` and `.`, a letter or digit first".to_owned();
            problems.push(Problem::at(place.clone(), message).expected(expected).on_key());
        }
        if name == LOCAL {
            let message = format!("`{LOCAL}` means the box itself and cannot be an interface's name");
            problems.push(Problem::at(place.clone(), message).on_key());
        }
        if let Some(other) = devices.insert(device_name(&interface.device), name) {
            let message = format!("interface `{other}` has this device already");
            problems.push(Problem::at(place.join("device"), message));
        }
        for (index, address) in interface.addresses.iter().enumerate() {
            let here = place.join("addresses").join(index);
            let meets = |net: &&(ipnet::IpNet, &str, u16)| {
                net.2 == interface.zone && (net.0.contains(&address.0) || address.0.contains(&net.0))
            };
            match networks.iter().find(meets) {
                Some((net, other, _)) if net.addr() == address.0.addr() => {
                    problems.push(Problem::at(
                        here,
                        format!("interface `{other}` has the address {} already", net.addr()),
                    ));
                }
                Some((net, other, _)) if other != name => {
                    let message = format!("{address} overlaps with {net} of interface `{other}`");
                    let help = "give each interface its own network, or keep them apart by zone";
                    problems.push(Problem::at(here, message).help(Some(help.to_owned())));
                }
                _ => {}
            }
            networks.push((address.0, name, interface.zone));
        }
    }
    problems
}

/// What makes two devices the same: the PCI address, or the virtual device's name.
fn device_name(device: &Device) -> String {
    match device {
        Device::Pci(address) => address.to_lowercase(),
        Device::Vdev(spec) => spec.split(',').next().unwrap_or(spec).to_owned(),
    }
}

fn forwarding(config: &Config) -> Vec<Problem> {
    if config.forwarding != Some(Forwarding::Wire) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    if config.interfaces.len() != 2 {
        let message = format!("`wire` joins two interfaces, but there are {}", config.interfaces.len());
        problems.push(Problem::at(Path::root().join("forwarding"), message));
    }
    let useless = [("routes", config.routes.is_empty()), ("neighbours", config.neighbours.is_empty())];
    for (section, _) in useless.into_iter().filter(|(_, empty)| !empty) {
        let help = format!("remove the {section}, or write `forwarding: routed`");
        let message = format!("`forwarding: wire` has no use for {section}");
        problems.push(Problem::at(Path::root().join(section), message).on_key().help(Some(help)));
    }
    problems
}

pub(super) fn no_interface(name: &str, config: &Config, place: Path) -> Problem {
    let names: Vec<&str> = config.interfaces.keys().map(String::as_str).collect();
    let help = match nearest(name, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the interfaces are: {}", names.join(", ")),
    };
    Problem::at(place, format!("there is no interface `{name}`")).help(Some(help))
}

/// Before tracking there is no state, no connection and no way out yet.
fn early_rule(section: &str, rule: &Rule, place: &Path) -> Vec<Problem> {
    let later = [
        ("state", rule.state.is_some()),
        ("out", rule.out.is_some()),
        ("mark", rule.mark.is_some()),
        ("status", rule.status.is_some()),
        ("direction", rule.direction.is_some()),
        ("action", rule.action.is_some()),
    ];
    let problem = |(key, _): &(&str, bool)| {
        let why = match *key {
            "action" => format!("a rule of `{section}` has no action"),
            _ => format!("a rule of `{section}` cannot match `{key}`: it is looked at before tracking"),
        };
        Problem::at(place.join(*key), why).on_key()
    };
    let mut problems: Vec<Problem> = later.iter().filter(|(_, present)| *present).map(problem).collect();
    if section == "zones" && rule.zone.is_none() {
        let message = format!("`{place}` lacks the key `zone`");
        problems.push(Problem::at(place.clone(), message).expected("the zone to give".to_owned()));
    }
    problems
}

fn policy_rule(rule: &Rule, place: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    if rule.action.is_none() {
        let message = format!("`{place}` lacks the key `action`");
        let expected = "`action: accept`, drop, reject, log or { mark: NUMBER }".to_owned();
        problems.push(Problem::at(place.clone(), message).expected(expected));
    }
    let stateless = rule
        .state
        .as_ref()
        .is_some_and(|states| states.iter().all(|state| matches!(state, State::Untracked | State::Invalid)));
    if stateless && (rule.mark.is_some() || rule.direction.is_some()) {
        let key = if rule.mark.is_some() { "mark" } else { "direction" };
        let message = format!("packets of this state belong to no connection, so none has a `{key}`");
        problems.push(Problem::at(place.join(key), message).on_key());
    }
    problems
}

/// What holds for the matches of any rule.
pub(super) fn matches(rule: &Rule, config: &Config, place: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, names) in [("in", &rule.in_), ("out", &rule.out)] {
        for (index, name) in names.iter().flat_map(List::iter).enumerate() {
            let is_local = key == "out" && name == LOCAL;
            if !is_local && !config.interfaces.contains_key(name) {
                let list = place.join(key);
                let place =
                    if names.as_ref().is_some_and(|l| l.iter().len() > 1) { list.join(index) } else { list };
                problems.push(no_interface(name, config, place));
            }
        }
    }
    let protocols = |fits: fn(Protocol) -> bool| {
        rule.protocol.as_ref().is_some_and(|protocols| protocols.iter().all(|protocol| fits(*protocol)))
    };
    let needs: [Need; 4] = [
        ("source-port", rule.source_port.is_some(), Protocol::has_ports, PORTED),
        ("destination-port", rule.destination_port.is_some(), Protocol::has_ports, PORTED),
        ("icmp-type", rule.icmp_type.is_some(), Protocol::is_icmp, "`protocol: icmp` or `protocol: icmpv6`"),
        ("tcp-flags", rule.tcp_flags.is_some(), |protocol| protocol == Protocol::TCP, "`protocol: tcp`"),
    ];
    for (key, present, fits, expected) in needs {
        let implied = key != "source-port" && key != "destination-port" && rule.protocol.is_none();
        if present && !implied && !protocols(fits) {
            let message = match rule.protocol {
                Some(_) => format!("`{key}` does not go with this protocol"),
                None => format!("`{key}` needs a protocol"),
            };
            problems.push(Problem::at(place.join(key), message).expected(expected.to_owned()).on_key());
        }
    }
    problems.extend(families(rule, place));
    problems.extend(icmp_names(rule, place));
    problems
}

/// A name that only the other family has would match nothing.
fn icmp_names(rule: &Rule, place: &Path) -> Vec<Problem> {
    let Some(protocols) = &rule.protocol else { return Vec::new() };
    let has = |protocol| protocols.iter().any(|listed| *listed == protocol);
    let fits = |kind: &IcmpType| {
        has(Protocol::ICMP) && kind.icmp().is_some() || has(Protocol::ICMPV6) && kind.icmpv6().is_some()
    };
    let is_icmp = protocols.iter().all(|protocol| protocol.is_icmp());
    let foreign = rule.icmp_type.iter().flat_map(List::iter).filter(|kind| is_icmp && !fits(kind));
    foreign
        .map(|kind| Problem::at(place.join("icmp-type"), format!("{kind} is no type of this protocol")))
        .collect()
}

/// A match, whether the rule has it, the protocols it goes with, and those in words.
type Need = (&'static str, bool, fn(Protocol) -> bool, &'static str);

pub(super) const PORTED: &str = "`protocol:` with tcp, udp, sctp or udplite";

/// Addresses of different families never meet in one packet.
fn families(rule: &Rule, place: &Path) -> Option<Problem> {
    let (source, destination) = (rule.source.as_ref()?, rule.destination.as_ref()?);
    let meet = source.iter().any(|from| destination.iter().any(|to| from.is_ipv4() == to.is_ipv4()));
    let message = "no packet has a source and a destination of different families".to_owned();
    (!meet).then(|| Problem::at(place.join("destination"), message))
}

fn rule_names(config: &Config) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for (index, rule) in config.policy.rules.iter().enumerate() {
        let Some(name) = &rule.name else { continue };
        let place = || Path::root().join("policy").join("rules").join(index).join("name");
        if name == DEFAULT_RULE {
            let message = format!("`{name}` is what decides where no rule does and cannot be a rule's name");
            problems.push(Problem::at(place(), message));
        } else if !seen.insert(name) {
            problems.push(Problem::at(place(), format!("another rule is named `{name}` already")));
        }
    }
    problems
}
