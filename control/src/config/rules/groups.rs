//! What must hold for the groups of a cluster's boxes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sluice_conntrack::groups::MAX_GROUPS;

use super::common::{element, number};
use super::no_interface;
use crate::config::path::{Path, Problem};
use crate::config::schema::{Config, Forwarding, Group, Ha, NatRule};
use crate::config::values::{AddressRange, List, is_name};

/// Longest name of a group.
const MAX_NAME: usize = 32;

/// Addresses from the first to the last, and where that stands.
type Range = (IpAddr, IpAddr, Path);

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let Some(ha) = config.ha.as_ref().filter(|ha| !ha.groups.is_empty()) else { return Vec::new() };
    let section = Path::root().join("ha").join("groups");
    let mut problems = Vec::new();
    if ha.groups.len() > MAX_GROUPS {
        let message = format!("{} groups; at most {MAX_GROUPS}", ha.groups.len());
        problems.push(Problem::at(section.clone(), message).on_key());
    }
    if config.forwarding() == Forwarding::Wire {
        let message = "a wire has no addresses that another box could answer for".to_owned();
        problems.push(Problem::at(section.clone(), message).on_key());
    }
    for (index, group) in ha.groups.iter().enumerate() {
        problems.extend(names(ha, index, &section.join(index)));
        problems.extend(interfaces(config, group, &section.join(index).join("addresses")));
    }
    let ranges: Vec<Vec<Range>> =
        ha.groups.iter().enumerate().map(|(index, group)| ranges(group, &section.join(index))).collect();
    problems.extend(apart(ha, &ranges));
    let hosts = |(index, group): (usize, &Group)| listed(&group.hosts, &section.join(index).join("hosts"));
    problems.extend(apart(ha, &ha.groups.iter().enumerate().map(hosts).collect::<Vec<_>>()));
    problems.extend(own(config, &ranges));
    problems.extend(nat(config, ha, &ranges));
    problems.extend(shares(ha, &section));
    problems
}

/// What is wrong with the names of a group and of its boxes.
fn names(ha: &Ha, index: usize, path: &Path) -> Vec<Problem> {
    let group = &ha.groups[index];
    let mut problems = Vec::new();
    if !is_name(&group.name, MAX_NAME) {
        let message = format!("`{}` cannot be a group's name", group.name);
        let expected =
            format!("at most {MAX_NAME} letters, digits, `-`, `_` and `.`, the first a letter or a digit");
        problems.push(Problem::at(path.join("name"), message).expected(expected));
    }
    if ha.groups[..index].iter().any(|other| other.name == group.name) {
        let message = format!("another group is named `{}` already", group.name);
        problems.push(Problem::at(path.join("name"), message));
    }
    let boxes = [("prefer", Some(&group.prefer)), ("standby", group.standby.as_ref())];
    let boxes = boxes.iter().filter_map(|(key, name)| Some((*key, (*name)?)));
    for (key, name) in boxes.clone() {
        if *name != ha.name && !ha.peers.contains_key(name) {
            let message = format!("`{name}` is neither this box (ha.box) nor one of `ha.peers`");
            problems.push(Problem::at(path.join(key), message));
        }
    }
    if group.standby.as_ref() == Some(&group.prefer) {
        let message = format!("`{}` is preferred already: another box stands by", group.prefer);
        problems.push(Problem::at(path.join("standby"), message));
    } else if boxes.clone().all(|(_, name)| *name != ha.name) {
        let message = format!("this box, `{}`, is neither its `prefer` nor its `standby`", ha.name);
        problems.push(Problem::at(path.clone(), message).help(Some("remove the group".to_owned())));
    }
    problems
}

fn interfaces(config: &Config, group: &Group, path: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    if group.addresses.is_empty() {
        let message = "a group without addresses has no traffic".to_owned();
        problems.push(Problem::at(path.clone(), message).on_key());
    }
    let unknown = group.addresses.keys().filter(|name| !config.interfaces.contains_key(*name));
    problems.extend(unknown.map(|name| no_interface(name, config, path.join(name.as_str())).on_key()));
    problems
}

/// All addresses of a group.
fn ranges(group: &Group, path: &Path) -> Vec<Range> {
    let of_interface = |(name, list): (&String, &List<crate::config::values::InterfaceAddress>)| {
        let path = path.join("addresses").join(name.as_str());
        let at = |(index, own): (usize, &crate::config::values::InterfaceAddress)| {
            (own.0.addr(), own.0.addr(), element(list, path.clone(), index))
        };
        list.iter().enumerate().map(at).collect::<Vec<_>>()
    };
    group.addresses.iter().flat_map(of_interface).chain(listed(&group.nat, &path.join("nat"))).collect()
}

fn listed(list: &[AddressRange], path: &Path) -> Vec<Range> {
    list.iter().enumerate().map(|(index, range)| (range.first, range.last, path.join(index))).collect()
}

fn overlap((first, last, _): &Range, (other, until, _): &Range) -> bool {
    first.is_ipv4() == other.is_ipv4() && number(*first) <= number(*until) && number(*other) <= number(*last)
}

/// An address is in one group, once.
fn apart(ha: &Ha, groups: &[Vec<Range>]) -> Vec<Problem> {
    let all: Vec<(&str, &Range)> = ha
        .groups
        .iter()
        .zip(groups)
        .flat_map(|(group, ranges)| ranges.iter().map(|range| (group.name.as_str(), range)))
        .collect();
    let clash = |(index, (_, range)): (usize, &(&str, &Range))| {
        let (other, _) = all[..index].iter().find(|(_, before)| overlap(before, range))?;
        let what = if range.0 == range.1 { range.0.to_string() } else { format!("{}-{}", range.0, range.1) };
        let message = format!("{what} is in group `{other}` already, and an address belongs to one group");
        Some(Problem::at(range.2.clone(), message))
    };
    all.iter().enumerate().filter_map(clash).collect()
}

/// What a box has by itself no other one takes over.
fn own(config: &Config, groups: &[Vec<Range>]) -> Vec<Problem> {
    let owns: BTreeMap<IpAddr, &str> = config
        .interfaces
        .iter()
        .flat_map(|(name, interface)| interface.addresses.iter().map(|own| (own.0.addr(), name.as_str())))
        .collect();
    let taken = |(first, last, path): &Range| {
        let is_in = |own: &&IpAddr| overlap(&(**own, **own, Path::root()), &(*first, *last, Path::root()));
        let own = owns.keys().find(is_in)?;
        let message = format!("interface `{}` has the address {own}, which is the box's alone", owns[own]);
        let help = format!("remove it from `interfaces.{}.addresses`: the group brings it", owns[own]);
        Some(Problem::at(path.clone(), message).help(Some(help)))
    };
    groups.iter().flatten().filter_map(taken).collect()
}

/// What connections are translated to is a group's, and one rule's addresses are all of one.
fn nat(config: &Config, ha: &Ha, groups: &[Vec<Range>]) -> Vec<Problem> {
    let section = Path::root().join("nat").join("source");
    let mut problems = Vec::new();
    for (index, rule) in config.nat.source.iter().enumerate() {
        if let Some(to) = &rule.to {
            problems.extend(pool(ha, groups, rule, &section.join(index).join("to"), to));
        }
        if rule.masquerade.is_some() {
            problems.extend(masquerade(config, ha, rule, &section.join(index).join("masquerade")));
        }
    }
    problems
}

fn pool(
    ha: &Ha,
    groups: &[Vec<Range>],
    rule: &NatRule,
    path: &Path,
    to: &List<crate::config::values::AddressRange>,
) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (at, range) in to.iter().enumerate() {
        let here = element(to, path.clone(), at);
        let holds = |(first, last, _): &Range| {
            first.is_ipv4() == range.is_ipv4()
                && number(*first) <= number(range.first)
                && number(range.last) <= number(*last)
        };
        match groups.iter().position(|ranges| ranges.iter().any(holds)) {
            Some(group) => found.push(group),
            None => {
                let message =
                    format!("{range} is in no group, so that no other box could go on with its connections");
                let help = "name it under `nat` of one of `ha.groups`".to_owned();
                problems.push(Problem::at(here, message).help(Some(help)));
            }
        }
    }
    if let Some(other) = found.iter().find(|group| **group != found[0]) {
        let (one, other) = (&ha.groups[found[0]].name, &ha.groups[*other].name);
        let rule = rule.name.as_ref().map_or("the rule".to_owned(), |name| format!("rule `{name}`"));
        let message = format!("{rule} has addresses of the groups `{one}` and `{other}`");
        problems
            .push(Problem::at(path.clone(), message).on_key().expected("a rule for each group".to_owned()));
    }
    problems
}

/// What is masqueraded has the address of a group, of one alone.
fn masquerade(config: &Config, ha: &Ha, rule: &NatRule, path: &Path) -> Option<Problem> {
    let ways: Vec<&String> = match &rule.out {
        Some(out) => out.iter().collect(),
        None => config.interfaces.keys().collect(),
    };
    let at = |way: &str| ha.groups.iter().filter(|group| group.addresses.contains_key(way)).count();
    let way = ways.iter().find(|way| at(way) > 1);
    if let Some(way) = way {
        let message = format!("several groups have addresses at `{way}`: which of them is meant?");
        return Some(Problem::at(path.clone(), message).on_key().expected("a rule with `to`".to_owned()));
    }
    let way = rule.out.as_ref()?.iter().find(|way| at(way) == 0)?;
    let message =
        format!("no group has an address at `{way}`, so that no other box could go on with its connections");
    let help = format!("give one of `ha.groups` an address at `{way}`");
    Some(Problem::at(path.clone(), message).on_key().help(Some(help)))
}

fn shares(ha: &Ha, section: &Path) -> Option<Problem> {
    let all: u32 = ha.groups.iter().filter_map(|group| group.share).map(|share| u32::from(share.0)).sum();
    let message = format!("the shares of all groups come to {all}% of the table");
    (all > 100).then(|| Problem::at(section.clone(), message).on_key().expected("at most 100%".to_owned()))
}
