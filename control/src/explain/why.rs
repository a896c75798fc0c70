//! Why a rule does not apply to a packet: the first of its parts that does not. Each part is asked as a rule that has no other.

use serde_json::Value;
use sluice_conntrack::entry::Status;
use sluice_conntrack::facts::Facts;
use sluice_conntrack::policy::{InSets, Match};
use sluice_conntrack::tuple::{Family, address, protocol};

use crate::config::{FLAGS, IcmpType, Protocol, inline_yaml};
use crate::rehearsal::Names;

/// A rule with one part of another.
type Part = fn(&Match) -> Match;

/// The sets that one side of a rule is looked for in.
fn sets_of(matches: &Match, pick: fn(InSets) -> InSets) -> Option<Box<InSets>> {
    matches.sets.as_ref().map(|sets| Box::new(pick(InSets::clone(sets))))
}

/// The parts, by their keys.
const PARTS: [(&str, Part); 16] = [
    ("state", |m| Match { states: m.states, ..Match::default() }),
    ("in", |m| Match { ingress: m.ingress.clone(), ..Match::default() }),
    ("out", |m| Match { egress: m.egress.clone(), ..Match::default() }),
    ("family", |m| Match { family: m.family, ..Match::default() }),
    ("protocol", |m| Match { protocols: m.protocols.clone(), ..Match::default() }),
    ("source", |m| Match {
        source: m.source.clone(),
        sets: sets_of(m, |sets| InSets { source: sets.source, ..InSets::default() }),
        ..Match::default()
    }),
    ("destination", |m| Match {
        destination: m.destination.clone(),
        sets: sets_of(m, |sets| InSets { destination: sets.destination, ..InSets::default() }),
        ..Match::default()
    }),
    ("source-port", |m| Match { source_ports: m.source_ports.clone(), ..Match::default() }),
    ("destination-port", |m| Match { destination_ports: m.destination_ports.clone(), ..Match::default() }),
    ("icmp-type", |m| Match { icmp_types: m.icmp_types.clone(), ..Match::default() }),
    ("tcp-flags", |m| Match { tcp_flags: m.tcp_flags, ..Match::default() }),
    ("zone", |m| Match { zone: m.zone, ..Match::default() }),
    ("mark", |m| Match { mark: m.mark, ..Match::default() }),
    ("direction", |m| Match { direction: m.direction, ..Match::default() }),
    ("status", |m| Match { status: m.status, ..Match::default() }),
    ("helper", |m| Match { helpers: m.helpers.clone(), ..Match::default() }),
];

const STATUS: [(&str, Status); 5] = [
    ("seen-reply", Status::SEEN_REPLY),
    ("assured", Status::ASSURED),
    ("confirmed", Status::CONFIRMED),
    ("snat", Status::SRC_NAT),
    ("dnat", Status::DST_NAT),
];

/// What a rule, which is `written` so, misses in a packet: `destination-port is 22, not 80`. `None` where all of it applies.
pub(super) fn why_not(matches: &Match, written: &Value, facts: &Facts, names: &Names) -> Option<String> {
    let (key, _) = PARTS.iter().find(|(_, part)| !part(matches).applies(facts))?;
    let wanted = written.get(key).map(inline_yaml);
    Some(match (has(key, facts, names), wanted) {
        (Some(has), Some(wanted)) => format!("{key} is {has}, not {wanted}"),
        (Some(has), None) => format!("{key} is {has}"),
        (None, _) => format!("it has no {key}"),
    })
}

/// What a packet has for a key.
fn has(key: &str, facts: &Facts, names: &Names) -> Option<String> {
    let port = |port: u16| protocol::has_ports(facts.protocol).then(|| port.to_string());
    match key {
        "state" => facts.state.map(|state| state.name().to_lowercase()),
        "in" => Some(names.interface(facts.ingress).to_owned()),
        "out" => facts.egress.map(|egress| names.interface(egress).to_owned()),
        "family" => Some(if facts.family == Family::V4 { "ipv4" } else { "ipv6" }.to_owned()),
        "protocol" => Some(Protocol(facts.protocol).to_string()),
        "source" => Some(address(facts.family, facts.source).to_string()),
        "destination" => Some(address(facts.family, facts.destination).to_string()),
        "source-port" => port(facts.source_port),
        "destination-port" => port(facts.destination_port),
        "icmp-type" => protocol::is_icmp(facts.protocol).then(|| {
            let [kind, code] = facts.destination_port.to_be_bytes();
            let name = IcmpType::name_of(facts.protocol == protocol::ICMPV6, kind, code);
            name.map_or_else(|| format!("{kind}/{code}"), str::to_owned)
        }),
        "tcp-flags" => (facts.protocol == protocol::TCP).then(|| flags(facts.tcp_flags)),
        "zone" => Some(facts.zone.to_string()),
        "mark" => facts.mark().map(|mark| mark.to_string()),
        "direction" => facts.connection.map(|connection| connection.direction.name().to_owned()),
        "helper" => facts.connection?.helper.map(|helper| helper.name().to_owned()),
        _ => facts.connection.map(|connection| {
            let set = STATUS.iter().filter(|(_, bit)| connection.status.contains(*bit));
            let set: Vec<&str> = set.map(|(name, _)| *name).collect();
            if set.is_empty() { "none of them".to_owned() } else { format!("[{}]", set.join(", ")) }
        }),
    }
}

fn flags(bits: u8) -> String {
    let set = FLAGS.iter().filter(|(_, bit)| bits & bit != 0);
    let set: Vec<&str> = set.map(|(name, _)| *name).collect();
    if set.is_empty() { "none".to_owned() } else { set.join(",") }
}
