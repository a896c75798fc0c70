//! Pools of source rules do not overlap: what is free in one must not be taken by another. And no host that the
//! configuration names has an address of theirs: answers would go to it.

use std::net::IpAddr;

use super::common::element;
use crate::config::error::MAX_FINDINGS;
use crate::config::path::{Path, Problem};
use crate::config::schema::{Config, NatRule};
use crate::config::values::{AddressRange, List, PortRange};

/// One range of addresses of a rule, with the ports that the rule gives them.
struct Part<'a> {
    index: usize,
    rule: &'a NatRule,
    path: Path,
    range: AddressRange,
}

impl Part<'_> {
    /// Whether both have an address and a port in common that they could give to the same kind of connection.
    fn meets(&self, other: &Part<'_>) -> bool {
        let same_addresses = self.range.first <= other.range.last && other.range.first <= self.range.last;
        let same_ports = match (self.range.ports, other.range.ports) {
            (Some(some), Some(others)) => some.first <= others.last && others.first <= some.last,
            _ => true,
        };
        let same_zone = match (self.rule.zone, other.rule.zone) {
            (Some(one), Some(another)) => one == another,
            _ => true,
        };
        let same_protocol = match (&self.rule.protocol, &other.rule.protocol) {
            (Some(some), Some(others)) => {
                some.iter().any(|protocol| others.iter().any(|other| other == protocol))
            }
            _ => true,
        };
        same_addresses && same_ports && same_zone && same_protocol
    }

    /// Whether these are one pool that two rules use: not in part, and not 1:1.
    fn is_shared(&self, other: &Part<'_>) -> bool {
        let are_pools = self.rule.to.is_some() && other.rule.to.is_some();
        are_pools && self.range == other.range && self.index != other.index
    }
}

fn parts<'a>(section: &Path, index: usize, rule: &'a NatRule) -> impl Iterator<Item = Part<'a>> {
    let (at_prefix, at_to) = (section.join(index).join("prefix"), section.join(index).join("to"));
    let network = rule.prefix.map(|prefix| {
        let (first, last) = (prefix.0.network(), prefix.0.broadcast());
        (at_prefix, AddressRange { first, last, ports: None })
    });
    let pool = rule.to.iter().flat_map(move |list: &List<AddressRange>| {
        let at_to = at_to.clone();
        list.iter().enumerate().map(move |(number, range)| {
            let ports: Option<PortRange> = range.ports.or(rule.ports);
            (element(list, at_to.clone(), number), AddressRange { ports, ..*range })
        })
    });
    network.into_iter().chain(pool).map(move |(path, range)| Part { index, rule, path, range })
}

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let section = Path::root().join("nat").join("source");
    let rules = config.nat.source.iter().enumerate();
    let mut parts: Vec<Part<'_>> = rules.flat_map(|(index, rule)| parts(&section, index, rule)).collect();
    parts.sort_by_key(|part| part.range.first);
    let mut problems = hosts(config, &parts);
    for (number, one) in parts.iter().enumerate() {
        let reached = parts[number + 1..].iter().take_while(|other| other.range.first <= one.range.last);
        for other in reached.filter(|other| one.meets(other) && !one.is_shared(other)) {
            problems.push(overlap(one, other));
            if problems.len() >= MAX_FINDINGS {
                return problems;
            }
        }
    }
    problems
}

/// A host that the configuration names: its address, the interface it is at, and who names it.
type Host<'a> = (IpAddr, &'a str, String);

/// Pools with the address of another host of the link they are given away on. A 1:1 network may well have one: its
/// other addresses are of use.
fn hosts(config: &Config, parts: &[Part<'_>]) -> Vec<Problem> {
    let gateways = config.routes.list.iter().enumerate();
    let gateways = gateways.filter_map(|(index, of)| {
        Some((of.via?, of.dev.as_str(), config.routes.path().join(index).join("via").to_string()))
    });
    let neighbours = config.neighbours.iter().enumerate();
    let neighbours =
        neighbours.map(|(index, of)| (of.address, of.dev.as_str(), format!("neighbours[{index}]")));
    let mut hosts: Vec<Host<'_>> = gateways.chain(neighbours).collect();
    hosts.sort_by_key(|(address, ..)| *address);

    let mut problems = Vec::new();
    for part in parts.iter().filter(|part| part.rule.to.is_some()) {
        let from = hosts.partition_point(|(address, ..)| *address < part.range.first);
        let within = hosts[from..].iter().take_while(|(address, ..)| *address <= part.range.last);
        let is_there =
            |dev: &str| part.rule.out.as_ref().is_none_or(|out| out.iter().any(|name| name == dev));
        if let Some((address, dev, named)) = within.into_iter().find(|(_, dev, _)| is_there(dev)) {
            let message =
                format!("{address} is `{named}`, a neighbour at `{dev}`: answers to it would not come here");
            problems.push(Problem::at(part.path.clone(), message).help(Some("leave it out".to_owned())));
        }
    }
    problems.truncate(MAX_FINDINGS);
    problems
}

/// Said of the later rule.
fn overlap(one: &Part<'_>, other: &Part<'_>) -> Problem {
    let (earlier, later) = if one.index <= other.index { (one, other) } else { (other, one) };
    let whose = match (&earlier.rule.name, earlier.index == later.index) {
        (_, true) => "the same pool".to_owned(),
        (Some(name), false) => format!("the pool of rule `{name}`"),
        (None, false) => format!("the pool of `nat.source[{}]`", earlier.index),
    };
    let message = format!("{} overlaps with {} in {whose}", later.range, earlier.range);
    let help = "give each rule addresses or ports of its own, or the same range to both".to_owned();
    Problem::at(later.path.clone(), message).help((earlier.index != later.index).then_some(help))
}
