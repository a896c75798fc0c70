//! From a scope to the keys of a rule.

use super::address_sets::AddressSets;
use super::host::Ports;
use super::model::{Field, MAX_PORT, MAX_PROTOCOL, MAX_STATE};
use super::scope::Scope;
use super::set::NumberSet;
use crate::config::{Direction, Family, Helper, IcmpType, List, PortRange, Protocol, Rule, State, is_name};
use sluice_conntrack::helpers::HelperId;

/// The rule that matches the packets of a scope, where all packets are of another one already.
///
/// # Errors
/// What of it a rule cannot say.
pub(super) fn rule(
    scope: &Scope,
    within: &Scope,
    ports: &Ports,
    sets: &mut AddressSets,
) -> Result<Rule, String> {
    let set = |field: Field| scope.set(field).filter(|set| within.set(field) != Some(set));
    let is_v4 = scope.set(Field::Family).map(|families| families.contains(0));
    let names = |field| list(set(field).map(|set| ports.names(set)).unwrap_or_default());
    let mut addresses = |field, called| {
        Ok::<_, String>(list(match (set(field), is_v4) {
            (None, _) => Vec::new(),
            (Some(set), Some(is_v4)) => sets.addresses(set, is_v4, called),
            (Some(_), None) => return Err("addresses without their family".to_owned()),
        }))
    };
    let source = addresses(Field::Source, "sources")?;
    let destination = addresses(Field::Destination, "destinations")?;
    let is_said = source.is_some() || destination.is_some();
    let family = is_v4.filter(|_| !is_said).map(|is_v4| if is_v4 { Family::Ipv4 } else { Family::Ipv6 });
    let status = match scope.status.as_slice() {
        [] => None,
        [status] => Some(List::from(status.clone())),
        _ => return Err("status is looked at once".to_owned()),
    };
    let tcp_flags = match scope.flags.as_slice() {
        [] => None,
        [flags] => Some(*flags),
        _ => return Err("TCP flags are looked at once".to_owned()),
    };
    let helper = scope.helper.as_ref().map(|name| helper(name).map(List::one)).transpose()?;
    Ok(Rule {
        in_: names(Field::In),
        out: names(Field::Out),
        family,
        source,
        destination,
        protocol: list(small(set(Field::Protocol), MAX_PROTOCOL, |number| {
            u8::try_from(number).map(Protocol).ok()
        })),
        source_port: list(port_ranges(set(Field::SourcePort))),
        destination_port: list(port_ranges(set(Field::DestinationPort))),
        icmp_type: list(icmp_types(scope)?),
        mark: scope.mark,
        zone: None,
        status,
        state: list(small(set(Field::State), MAX_STATE, state)),
        tcp_flags,
        helper,
        direction: match set(Field::Direction) {
            None => None,
            Some(set) if *set == NumberSet::one(0) => Some(Direction::Original),
            Some(set) if *set == NumberSet::one(1) => Some(Direction::Reply),
            Some(_) => return Err("either direction, but of a connection".to_owned()),
        },
        limit: None,
        connections: None,
        name: None,
        action: None,
    })
}

/// The helper of this name, of which Linux has some for several ports (`ftp-2121`).
pub(super) fn helper(name: &str) -> Result<Helper, String> {
    let known = HelperId::named(name).map(Helper);
    known.ok_or_else(|| format!("there is no helper `{name}`"))
}

/// A list of what a rule may have, if there is anything in it.
fn list<T>(values: Vec<T>) -> Option<List<T>> {
    (!values.is_empty()).then(|| List::from(values))
}

/// The values of a set of small numbers; none if it is of all.
fn small<T>(set: Option<&NumberSet>, max: u128, value: impl Fn(u128) -> Option<T>) -> Vec<T> {
    let some = set.filter(|set| !set.complement(max).is_empty());
    some.into_iter().flat_map(|set| set.numbers(max)).filter_map(value).collect()
}

fn state(index: u128) -> Option<State> {
    const STATES: [State; 5] =
        [State::New, State::Established, State::Related, State::Invalid, State::Untracked];
    STATES.get(usize::try_from(index).ok()?).copied()
}

fn port_ranges(set: Option<&NumberSet>) -> Vec<PortRange> {
    let port = |number: u128| u16::try_from(number.min(MAX_PORT)).unwrap_or(u16::MAX);
    let range = |(first, last): &(u128, u128)| PortRange { first: port(*first), last: port(*last) };
    set.into_iter().flat_map(NumberSet::ranges).map(range).collect()
}

/// The types of ICMP, or of ICMPv6, by their names where they have one.
fn icmp_types(scope: &Scope) -> Result<Vec<IcmpType>, String> {
    let Some(set) = scope.set(Field::Icmp) else { return Ok(Vec::new()) };
    let is_v6 = match scope.set(Field::Protocol) {
        Some(protocols) if *protocols == NumberSet::one(u128::from(Protocol::ICMP.0)) => false,
        Some(protocols) if *protocols == NumberSet::one(u128::from(Protocol::ICMPV6.0)) => true,
        _ => return Err("ICMP's types without its protocol".to_owned()),
    };
    let byte = |number: u128| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
    let mut types = Vec::new();
    for (first, last) in set.ranges() {
        let mut next = *first;
        while next <= *last {
            let (kind, is_whole) = (byte(next >> 8), next & 0xff == 0 && next + 0xff <= *last);
            let code = (!is_whole).then(|| byte(next));
            types.push(named(kind, code, is_v6));
            next += if is_whole { 0x100 } else { 1 };
        }
    }
    Ok(types)
}

fn named(kind: u8, code: Option<u8>, is_v6: bool) -> IcmpType {
    let named = IcmpType::names().map(IcmpType::Named);
    let is_it = |name: &IcmpType| (if is_v6 { name.icmpv6() } else { name.icmp() }) == Some((kind, code));
    named.into_iter().find(is_it).unwrap_or(IcmpType::Number { kind, code })
}

/// With room for a number, where several rules would have the same.
const MAX_NAME: usize = 56;

/// A name of a rule, of a comment: what cannot be in one becomes `-`.
pub(super) fn name(comment: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_.".contains(c) { c } else { '-' };
    let mut name = String::new();
    for character in comment.chars().map(plain) {
        if character != '-' || !name.ends_with('-') {
            name.push(character);
        }
    }
    let name: String =
        name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).chars().take(MAX_NAME).collect();
    let name = name.trim_end_matches('-').to_owned();
    is_name(&name, MAX_NAME).then_some(name)
}
