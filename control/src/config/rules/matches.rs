//! What must hold for the matches of any rule.

use super::common::{element, no_interface};
use super::sets;
use crate::config::path::{Path, Problem};
use crate::config::schema::{Config, Family, LOCAL, Rule};
use crate::config::values::{Addresses, IcmpType, List, Protocol};

/// What holds for the matches of any rule.
pub(super) fn check(rule: &Rule, config: &Config, path: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, names) in [("in", &rule.in_), ("out", &rule.out)] {
        let Some(list) = names else { continue };
        for (index, name) in list.iter().enumerate() {
            if name == LOCAL && key == "in" && !config.has_host() {
                let message = format!("nothing comes in by `{LOCAL}`: no interface has a host side");
                let help =
                    "write `host: true` at an interface, so that the box's own packets leave through it";
                let problem = Problem::at(element(list, path.join(key), index), message);
                problems.push(problem.help(Some(help.to_owned())));
            } else if name != LOCAL && !config.interfaces.contains_key(name) {
                problems.push(no_interface(name, config, element(list, path.join(key), index)));
            }
        }
    }
    for (key, list) in [("source", &rule.source), ("destination", &rule.destination)] {
        problems.extend(sets::unknown(list, config, &path.join(key)));
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
            problems.push(Problem::at(path.join(key), message).expected(expected.to_owned()).on_key());
        }
    }
    problems.extend(families(rule, path));
    problems.extend(icmp_names(rule, path));
    problems
}

/// A name that only the other family has would match nothing.
fn icmp_names(rule: &Rule, path: &Path) -> Vec<Problem> {
    let Some(protocols) = &rule.protocol else { return Vec::new() };
    let has = |protocol| protocols.iter().any(|listed| *listed == protocol);
    let fits = |kind: &IcmpType| {
        has(Protocol::ICMP) && kind.icmp().is_some() || has(Protocol::ICMPV6) && kind.icmpv6().is_some()
    };
    let is_icmp = protocols.iter().all(|protocol| protocol.is_icmp());
    let foreign = rule.icmp_type.iter().flat_map(List::iter).filter(|kind| is_icmp && !fits(kind));
    foreign
        .map(|kind| Problem::at(path.join("icmp-type"), format!("{kind} is no type of this protocol")))
        .collect()
}

/// A match, whether the rule has it, the protocols it goes with, and those in words.
type Need = (&'static str, bool, fn(Protocol) -> bool, &'static str);

pub(super) const PORTED: &str = "`protocol:` with tcp, udp, sctp or udplite";

/// Whether packets of IPv4 and of IPv6 can match.
type Families = (bool, bool);

/// A packet is of one family: keys that are of different ones match none.
fn families(rule: &Rule, path: &Path) -> Option<Problem> {
    let of_addresses = |list: &List<Addresses>| -> Families {
        let may_have = |is_ipv4| list.iter().any(|addresses| addresses.may_have(is_ipv4));
        (may_have(true), may_have(false))
    };
    let of_protocols = |list: &List<Protocol>| -> Families {
        let all_but = |other| list.iter().any(|protocol| *protocol != other);
        (all_but(Protocol::ICMPV6), all_but(Protocol::ICMP))
    };
    let keys: [(&str, Option<Families>); 4] = [
        ("family", rule.family.map(|family| (family == Family::Ipv4, family == Family::Ipv6))),
        ("source", rule.source.as_ref().map(of_addresses)),
        ("destination", rule.destination.as_ref().map(of_addresses)),
        ("protocol", rule.protocol.as_ref().map(of_protocols)),
    ];
    let given: Vec<(&str, Families)> = keys.into_iter().filter_map(|(key, of)| Some((key, of?))).collect();
    let apart = |one: Families, other: Families| !(one.0 && other.0 || one.1 && other.1);
    given.iter().enumerate().find_map(|(number, (key, of))| {
        let (other, _) = given[..number].iter().find(|(_, earlier)| apart(*of, *earlier))?;
        let message = format!("no packet matches: `{key}` is of another family than `{other}`");
        Some(Problem::at(path.join(*key), message))
    })
}
