//! What must hold for the rules of the section `nat`.

use std::collections::BTreeSet;

use super::common::{element, number};
use super::matches::{self, PORTED};
use crate::config::path::{Path, Problem};
use crate::config::schema::{Config, Family, Filtering, LOCAL, Mapping, NatRule};
use crate::config::values::{Addresses, List, PortRange, Protocol, Redirect};

/// What a rule translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

impl Side {
    /// The list its rules stand in.
    fn name(self) -> &'static str {
        match self {
            Side::Source => "source",
            Side::Destination => "destination",
        }
    }
}

const SOURCE: &[Side] = &[Side::Source];
const DESTINATION: &[Side] = &[Side::Destination];
const BOTH: &[Side] = &[Side::Source, Side::Destination];

/// A key, whether a rule has it, and the lists whose rules may.
type TargetKey = (&'static str, fn(&NatRule) -> bool, &'static [Side]);

#[rustfmt::skip]
const TARGETS: [TargetKey; 5] = [
    ("masquerade", |rule| rule.masquerade.is_some(), SOURCE),
    ("to", |rule| rule.to.is_some(), BOTH),
    ("redirect", |rule| rule.redirect.is_some(), DESTINATION),
    ("prefix", |rule| rule.prefix.is_some(), BOTH),
    ("keep", |rule| rule.keep.is_some(), BOTH),
];

/// The same, and the targets that the key goes with.
type Modifier = (&'static str, fn(&NatRule) -> bool, &'static [Side], &'static [&'static str]);

#[rustfmt::skip]
const MODIFIERS: [Modifier; 8] = [
    ("ports", |rule| rule.ports.is_some(), BOTH, &["masquerade", "to"]),
    ("shift-to", |rule| rule.shift_to.is_some(), DESTINATION, &["to", "redirect"]),
    ("random", |rule| rule.random, BOTH, &["masquerade", "to", "redirect"]),
    ("persistent", |rule| rule.persistent, SOURCE, &["masquerade", "to"]),
    ("mapping", |rule| rule.mapping.is_some(), SOURCE, &["masquerade", "to"]),
    ("filtering", |rule| rule.filtering.is_some(), SOURCE, &["masquerade", "to"]),
    ("errors", |rule| rule.errors, SOURCE, &["prefix"]),
    ("hairpin", |rule| rule.hairpin, DESTINATION, &["to", "prefix"]),
];

/// A match, whether a rule has it, and when destination rules are looked at: before it is known.
type Later = (&'static str, fn(&NatRule) -> bool, &'static str);

#[rustfmt::skip]
const LATER: [Later; 3] = [
    ("out", |rule| rule.out.is_some(), "before the packet is routed"),
    ("mark", |rule| rule.mark.is_some(), "before the policy, which gives marks"),
    ("status", |rule| rule.status.is_some(), "before anything is known of the connection"),
];

/// The keys that rules of one list, `source` or `destination`, cannot have.
pub(super) fn refused_keys(list: &str) -> Vec<&'static str> {
    let is_elsewhere = |sides: &[Side]| sides.iter().all(|side| side.name() != list);
    let targets = TARGETS.iter().filter(|(.., sides)| is_elsewhere(sides)).map(|(key, ..)| *key);
    let modifiers = MODIFIERS.iter().filter(|(_, _, sides, _)| is_elsewhere(sides)).map(|(key, ..)| *key);
    let later = LATER.iter().filter(|_| list == Side::Destination.name()).map(|(key, ..)| *key);
    targets.chain(modifiers).chain(later).collect()
}

/// A pool is hashed over; this many of them in one rule is a mistake.
const MAX_RANGES: usize = 1024;

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    for (side, rules) in [(Side::Source, &config.nat.source), (Side::Destination, &config.nat.destination)] {
        let section = Path::root().join("nat").join(side.name());
        for (index, rule) in rules.iter().enumerate() {
            let path = section.join(index);
            problems.extend(matches::check(&rule.matches(), config, &path));
            problems.extend(unknown_matches(side, rule, &path));
            match target(side, rule, &path) {
                Ok(target) => {
                    problems.extend(modifiers(side, target, rule, &path));
                    problems.extend(filtering(side, rule, &path));
                    problems.extend(ports(side, rule, &path));
                    problems.extend(addresses(rule, &path));
                    problems.extend(prefix(side, rule, &path));
                    problems.extend(families(side, target, rule, config, &path));
                }
                Err(problem) => problems.push(problem),
            }
            if let Some(name) = rule.name.as_ref().filter(|name| !names.insert(*name)) {
                let message = format!("another rule is named `{name}` already");
                problems.push(Problem::at(path.join("name"), message));
            }
        }
    }
    problems
}

/// What is not known yet when the rule is looked at.
fn unknown_matches(side: Side, rule: &NatRule, path: &Path) -> Vec<Problem> {
    let is_local = |out: &List<String>| out.iter().any(|name| name == LOCAL);
    if side == Side::Source {
        let message = "the source of packets to the box itself is not translated".to_owned();
        let problem = || Problem::at(path.join("out"), message).help(Some(format!("remove `{LOCAL}`")));
        return rule.out.as_ref().is_some_and(is_local).then(problem).into_iter().collect();
    }
    let problem = |(key, _, when): &Later| {
        let message = format!("a rule of `nat.destination` cannot match `{key}`: it is looked at {when}");
        Problem::at(path.join(*key), message).on_key()
    };
    LATER.iter().filter(|(_, present, _)| present(rule)).map(problem).collect()
}

/// `a`, `b` or `c`.
fn alternatives(keys: impl Iterator<Item = &'static str>) -> String {
    let keys: Vec<String> = keys.map(|key| format!("`{key}`")).collect();
    match keys.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        keys => keys.concat(),
    }
}

/// The one target of a rule.
fn target(side: Side, rule: &NatRule, path: &Path) -> Result<&'static str, Problem> {
    let list = side.name();
    let here =
        || alternatives(TARGETS.iter().filter(|target| target.2.contains(&side)).map(|target| target.0));
    let mut given = TARGETS.iter().filter(|(_, present, _)| present(rule));
    match (given.next(), given.next()) {
        (None, _) => {
            let message = format!("`{path}` does not say what to translate to");
            Err(Problem::at(path.clone(), message).expected(format!("one of {}", here())))
        }
        (Some((one, ..)), Some((other, ..))) => {
            let message = format!("`{one}` and `{other}` exclude each other");
            Err(Problem::at(path.join(*other), message).expected("one target".to_owned()).on_key())
        }
        (Some((key, _, sides)), None) if !sides.contains(&side) => {
            let message = format!("a rule of `nat.{list}` cannot have the target `{key}`");
            Err(Problem::at(path.join(*key), message).expected(here()).on_key())
        }
        (Some((key, ..)), None) => Ok(key),
    }
}

/// Keys that say more about a target that is not theirs.
fn modifiers(side: Side, target: &'static str, rule: &NatRule, path: &Path) -> Vec<Problem> {
    let present = MODIFIERS.iter().filter(|(_, present, ..)| present(rule));
    let problem = |(key, _, sides, targets): &Modifier| {
        if !sides.contains(&side) {
            let message = format!("a rule of `nat.{}` cannot have `{key}`", side.name());
            return Some(Problem::at(path.join(*key), message).on_key());
        }
        if !targets.contains(&target) {
            let message = format!("`{key}` does not go with `{target}`");
            let allowed = targets.iter().copied().filter(|name| {
                TARGETS.iter().any(|(target, _, sides)| target == name && sides.contains(&side))
            });
            return Some(Problem::at(path.join(*key), message).expected(alternatives(allowed)).on_key());
        }
        None
    };
    present.filter_map(problem).collect()
}

/// Only a port that is one client's can be open to everybody.
fn filtering(side: Side, rule: &NatRule, path: &Path) -> Option<Problem> {
    let is_open = side == Side::Source && rule.filtering == Some(Filtering::EndpointIndependent);
    let is_mapped = rule.mapping == Some(Mapping::EndpointIndependent);
    let message = "a port that serves several clients cannot be open to everybody".to_owned();
    let problem = || Problem::at(path.join("filtering"), message).on_key();
    let expected = || "`mapping: endpoint-independent` beside it".to_owned();
    (is_open && !is_mapped).then(|| problem().expected(expected()))
}

/// The ports of `redirect`.
fn redirect_ports(rule: &NatRule) -> Option<PortRange> {
    match rule.redirect {
        Some(Redirect::Ports(ports)) => Some(ports),
        Some(Redirect::SamePort) | None => None,
    }
}

fn ports(side: Side, rule: &NatRule, path: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    let on = |key: &str, message: String| Problem::at(path.join(key), message).on_key();
    let to = || rule.to.iter().flat_map(List::iter).filter_map(|range| range.ports);
    let given = [("ports", rule.ports), ("redirect", redirect_ports(rule)), ("to", to().next())];
    for (key, first) in given
        .map(|(key, ports)| (key, ports.map(|ports| ports.first)))
        .into_iter()
        .chain([("shift-to", rule.shift_to)])
    {
        if first == Some(0) {
            problems.push(Problem::at(path.join(key), "port 0 is none".to_owned()));
        }
    }
    if rule.ports.is_some() && to().next().is_some() {
        problems.push(on("ports", "addresses of `to` have ports of their own".to_owned()));
    }
    if rule.shift_to.is_some() && side == Side::Destination {
        problems.extend(shift(rule, &given, path));
    }
    let several = given.iter().any(|(_, ports)| ports.is_some_and(|ports| ports.first < ports.last))
        || to().any(|ports| ports.first < ports.last);
    if side == Side::Destination && rule.random && !several {
        problems.push(on("random", "there is no range of ports to draw from".to_owned()));
    }
    let changing = given.iter().filter(|(_, ports)| ports.is_some()).map(|(key, _)| *key);
    if let Some(key) = changing.chain(rule.shift_to.map(|_| "shift-to")).next() {
        problems.extend(protocols(side, key, rule, path));
    }
    problems
}

/// Ports are shifted from one range, to ports that there are.
fn shift(rule: &NatRule, given: &[(&str, Option<PortRange>)], path: &Path) -> Option<Problem> {
    let to = rule.shift_to?;
    let path = path.join("shift-to");
    if let Some((key, _)) = given.iter().find(|(_, ports)| ports.is_some()) {
        return Some(Problem::at(path, format!("`{key}` gives the ports already")).on_key());
    }
    let ranges: Vec<&PortRange> = rule.destination_port.iter().flat_map(List::iter).collect();
    let [range] = ranges.as_slice() else {
        let problem = Problem::at(path, "`shift-to` needs one range of ports to shift".to_owned()).on_key();
        return Some(problem.expected("`destination-port:` with one range".to_owned()));
    };
    let last = u32::from(to) + u32::from(range.last - range.first);
    let beyond = last > u32::from(u16::MAX);
    beyond
        .then(|| Problem::at(path, format!("port {} would become {last}, and 65535 is the last", range.last)))
}

/// Ports are changed only where there are any.
fn protocols(side: Side, key: &str, rule: &NatRule, path: &Path) -> Option<Problem> {
    let fits = |protocol: &Protocol| {
        protocol.has_ports() || side == Side::Source && protocol.is_icmp() // by their identifiers
    };
    let expected = match side {
        Side::Source => "`protocol:` with tcp, udp, sctp, udplite, icmp or icmpv6",
        Side::Destination => PORTED,
    };
    let message = match (&rule.protocol, side) {
        (Some(protocols), _) if protocols.iter().all(fits) => return None,
        (Some(_), _) => "this protocol has no ports to translate",
        (None, Side::Source) => return None, // it is for the protocols that have some
        (None, Side::Destination) => "a rule that changes the destination port needs a protocol",
    };
    Some(Problem::at(path.join(key), message.to_owned()).expected(expected.to_owned()).on_key())
}

fn addresses(rule: &NatRule, path: &Path) -> Vec<Problem> {
    let Some(to) = &rule.to else { return Vec::new() };
    let mut problems = Vec::new();
    let count = to.iter().len();
    if count > MAX_RANGES {
        let message = format!("{count} ranges of addresses; at most {MAX_RANGES}");
        problems.push(Problem::at(path.join("to"), message).on_key());
    }
    let is_wrong = |address: &std::net::IpAddr| {
        let broadcast = matches!(address, std::net::IpAddr::V4(v4) if v4.is_broadcast());
        broadcast || address.is_multicast() || address.is_unspecified() || address.is_loopback()
    };
    for (index, range) in to.iter().enumerate() {
        let here = element(to, path.join("to"), index);
        if let Some(address) = [range.first, range.last].into_iter().find(is_wrong) {
            problems.push(Problem::at(here, format!("{address} is not the address of one host")));
        } else if number(range.last) - number(range.first) >= 1 << 64 {
            let message = "a range has at most 2^64 addresses".to_owned();
            problems.push(Problem::at(here, message));
        }
    }
    problems
}

/// Both sides of a 1:1 translation have the same number of addresses.
fn prefix(side: Side, rule: &NatRule, path: &Path) -> Option<Problem> {
    let prefix = rule.prefix?;
    let path = path.join("prefix");
    let (key, list) = match side {
        Side::Source => ("source", &rule.source),
        Side::Destination => ("destination", &rule.destination),
    };
    let matched: Vec<_> = list.iter().flat_map(List::iter).collect();
    let [Addresses::Prefix(one)] = matched.as_slice() else {
        let problem = Problem::at(path, format!("`prefix` needs one network as the rule's `{key}`")).on_key();
        return Some(problem.expected(format!("`{key}:` with one prefix of {} bits", prefix.0.prefix_len())));
    };
    if one.is_ipv4() != prefix.is_ipv4() {
        return Some(Problem::at(path, format!("{prefix} is not of the same family as `{key}`, {one}")));
    }
    let wrong = one.0.prefix_len() != prefix.0.prefix_len();
    let expected = format!("a prefix of {} bits", one.0.prefix_len());
    let problem =
        || Problem::at(path, format!("{prefix} is not as long as `{key}`, {one}")).expected(expected);
    wrong.then(problem)
}

/// The target has an address of a family that the rule's connections are of.
fn families(side: Side, target: &str, rule: &NatRule, config: &Config, path: &Path) -> Vec<Problem> {
    let matched = |v4: bool| {
        let wanted = rule.family.is_none_or(|family| (family == Family::Ipv4) == v4);
        let among = |list: &Option<List<Addresses>>| {
            list.as_ref().is_none_or(|list| list.iter().any(|addresses| addresses.may_have(v4)))
        };
        wanted && among(&rule.source) && among(&rule.destination)
    };
    let what = match (matched(true), matched(false)) {
        (true, true) => "address",
        (true, false) => "IPv4 address",
        (false, true) => "IPv6 address",
        (false, false) => return Vec::new(), // said elsewhere: it matches nothing
    };
    let here = path.join(target);
    if let Some(to) = &rule.to {
        let fits = to.iter().any(|range| matched(range.is_ipv4()));
        let problem = || Problem::at(here, format!("the rule matches a family that `to` has no {what} of"));
        return (!fits).then(|| problem().expected(format!("an {what}"))).into_iter().collect();
    }
    if target != "masquerade" && target != "redirect" {
        return Vec::new();
    }
    let has = |name: &String| {
        config.may_get_addresses(name) || config.addresses_at(name).any(|own| matched(own.0.addr().is_ipv4()))
    };
    let (named, way) = match side {
        Side::Source => (&rule.out, "out"),
        Side::Destination => (&rule.in_, "in"),
    };
    let Some(named) = named else {
        let problem = || Problem::at(here, format!("no interface has an {what} for `{target}`")).on_key();
        return (!config.interfaces.keys().any(has)).then(problem).into_iter().collect();
    };
    let lacking = named.iter().filter(|name| config.interfaces.contains_key(*name) && !has(name));
    let problem = |name: &String| {
        let message = format!("interface `{name}`, the rule's `{way}`, has no {what} for `{target}`");
        let help = format!(
            "give it one under `interfaces.{name}.addresses`, or a host side whose addresses are followed (`routes: {{ follow: host }}`)"
        );
        Problem::at(here.clone(), message).help(Some(help)).on_key()
    };
    lacking.map(problem).collect()
}
