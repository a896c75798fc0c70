//! What rules of nft look at: a left side, which is a field of the packet or something about its connection, and values.

use serde_json::Value;

use super::alternatives::both;
use super::values::{Kind, Objects, numbers, plain};
use crate::config::{Mark, Protocol, RpFilter, Status, TcpFlags};
use crate::import::model::{AddressKind, Field, MAX_PORT, MAX_PROTOCOL, MAX_STATE, MAX_V4, Match};
use crate::import::set::NumberSet;

/// A left side.
#[derive(Clone, Debug)]
enum Key {
    /// Numbers of a kind, and what is true of a packet that has them.
    Numbers(Field, Kind, Vec<Match>),
    /// Codes of ICMP, and what is true of a packet that has them.
    IcmpCode(Vec<Match>),
    /// An interface.
    Interface(Field),
    /// TCP flags under a mask, or all of them.
    TcpFlags(Option<u8>),
    /// The connection's mark under a mask.
    Mark(u32),
    /// Status of the connection.
    Status,
    /// Its helper.
    Helper,
    /// The kind of an address.
    AddressKind(Field),
    /// The interface by which a route leads back to the source.
    ReversePath(RpFilter),
}

/// A match: any of what is returned, each of which is all of its matches. What cannot be read is an unknown match.
pub(super) fn read(value: &Value, objects: &Objects<'_>) -> Vec<Vec<Match>> {
    let (Some(left), Some(right)) = (value.get("left"), value.get("right")) else {
        return unknown("a match without sides".to_owned());
    };
    let op = value.get("op").and_then(Value::as_str).unwrap_or("==");
    compare(left, op, right, objects).unwrap_or_else(unknown)
}

/// The side whose whole address is meant, whether it is of IPv4, and what is true of a packet that has one.
pub(super) fn address(left: &Value) -> Option<(Field, bool, Vec<Match>)> {
    match key(left).ok()? {
        Key::Numbers(field, Kind::Address { is_v4 }, implied) => Some((field, is_v4, implied)),
        _ => None,
    }
}

fn unknown(why: String) -> Vec<Vec<Match>> {
    vec![vec![Match::Unknown(why)]]
}

/// A left side that has one of the elements of a map.
pub(super) fn equals(left: &Value, right: &Value, objects: &Objects<'_>) -> Result<Vec<Vec<Match>>, String> {
    compare(left, "==", right, objects)
}

fn compare(left: &Value, op: &str, right: &Value, objects: &Objects<'_>) -> Result<Vec<Vec<Match>>, String> {
    let elements = objects.elements(right)?;
    if let Some(parts) = left.get("concat").and_then(Value::as_array) {
        let one = [right.clone()];
        return concatenation(parts, op, elements.unwrap_or(&one), objects);
    }
    let key = key(left)?;
    let (implied, positive) = match &key {
        Key::Numbers(field, kind, implied) => {
            let sets = match elements {
                Some(elements) => {
                    elements.iter().map(|value| numbers(value, *kind)).collect::<Result<Vec<_>, _>>()?
                }
                None => vec![numbers(right, *kind)?],
            };
            let ranges = sets.iter().flat_map(|set| set.ranges().to_vec()).collect();
            let set = ordered(op, NumberSet::of_ranges(ranges), max(*field, *kind))?;
            return Ok(vec![[&implied[..], &[Match::Set(*field, set)]].concat()]);
        }
        Key::IcmpCode(implied) => {
            let code = right.as_u64().filter(|code| *code <= 0xff).ok_or("the code of ICMP is no number")?;
            let codes = (0..=0xff).map(|kind| kind << 8 | u128::from(code)).collect();
            (implied.clone(), Match::Set(Field::Icmp, ordered(op, codes, MAX_PORT)?))
        }
        Key::Interface(field) => {
            let one = std::slice::from_ref(right);
            let name = |value: &Value| plain(value).as_str().map(|name| name.replace('*', "+"));
            let names = elements.unwrap_or(one).iter().map(name).collect::<Option<Vec<_>>>();
            let names = names.ok_or_else(|| format!("{right} is no interface"))?;
            (vec![], Match::Interface { field: *field, names, negated: is_negated(op)? })
        }
        Key::TcpFlags(mask) => return tcp_flags(*mask, op, right, elements),
        Key::Mark(mask) => {
            match (right.as_u64().and_then(|value| u32::try_from(value).ok()), is_negated(op)?) {
                (Some(value), false) => (vec![], Match::Mark(Mark { value, mask: *mask })),
                _ => return Err("a mark is compared to one value".to_owned()),
            }
        }
        Key::Status => (vec![], Match::Status(status(op, right)?)),
        Key::Helper => match (right.as_str(), is_negated(op)?) {
            (Some(helper), false) => (vec![], Match::Helper(helper.to_owned())),
            _ => return Err("a helper is compared to one name".to_owned()),
        },
        Key::AddressKind(field) => {
            let kinds =
                elements.unwrap_or(std::slice::from_ref(right)).iter().map(|kind| match kind.as_str() {
                    Some("local") => Some(AddressKind::Local),
                    Some("broadcast") => Some(AddressKind::Broadcast),
                    Some("multicast") => Some(AddressKind::Multicast),
                    _ => None,
                });
            let kinds = kinds
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| format!("addresses of the kind {right} cannot be told"))?;
            (vec![], Match::Address { field: *field, kinds, negated: is_negated(op)? })
        }
        // `missing` is written as false, and the number of no interface is 0.
        Key::ReversePath(filter) => match (right.as_bool(), right.as_u64(), is_negated(op)?) {
            (Some(false), _, false) | (_, Some(0), false) => (vec![], Match::NoReversePath(*filter)),
            _ => return Err("what a route leads back to cannot be said, only what none does".to_owned()),
        },
    };
    Ok(vec![[&implied[..], &[positive]].concat()])
}

/// Several left sides that have the values of one element, each its own.
fn concatenation(
    parts: &[Value],
    op: &str,
    elements: &[Value],
    objects: &Objects<'_>,
) -> Result<Vec<Vec<Match>>, String> {
    if is_negated(op)? {
        return Err("several things together that are negated".to_owned());
    }
    let mut ways = Vec::new();
    for element in elements {
        let values = plain(element).get("concat").and_then(Value::as_array);
        let values =
            values.filter(|values| values.len() == parts.len()).ok_or("an element has not as many values")?;
        let mut all = vec![Vec::new()];
        for (part, value) in parts.iter().zip(values) {
            if part.get("concat").is_some() {
                return Err(format!("{part} cannot be read"));
            }
            all = both(&all, &compare(part, "==", value, objects)?);
        }
        ways.extend(all);
    }
    Ok(ways)
}

fn key(left: &Value) -> Result<Key, String> {
    let not_known = || format!("what it looks at is not known: {left}");
    let word =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some([inner, mask]) = left.get("&").and_then(Value::as_array).map(Vec::as_slice) {
        return match key(inner)? {
            Key::TcpFlags(None) => Ok(Key::TcpFlags(Some(flags(mask)?))),
            Key::Mark(u32::MAX) => {
                let mask = mask.as_u64().and_then(|mask| u32::try_from(mask).ok());
                mask.map(Key::Mark).ok_or_else(not_known)
            }
            _ => Err(not_known()),
        };
    }
    if let Some(payload) = left.get("payload") {
        return payload_key(&word(payload, "protocol"), &word(payload, "field")).ok_or_else(not_known);
    }
    let numbers = |field, kind| Some(Key::Numbers(field, kind, Vec::new()));
    let found = if let Some(meta) = left.get("meta") {
        match word(meta, "key").as_str() {
            "iifname" | "iif" => Some(Key::Interface(Field::In)),
            "oifname" | "oif" => Some(Key::Interface(Field::Out)),
            "l4proto" => numbers(Field::Protocol, Kind::Protocol),
            "nfproto" | "protocol" => numbers(Field::Family, Kind::Family),
            _ => None,
        }
    } else if let Some(ct) = left.get("ct").filter(|ct| ct.get("dir").is_none()) {
        match word(ct, "key").as_str() {
            "state" => numbers(Field::State, Kind::State),
            "direction" => numbers(Field::Direction, Kind::Direction),
            "mark" => Some(Key::Mark(u32::MAX)),
            "status" => Some(Key::Status),
            "helper" => Some(Key::Helper),
            _ => None,
        }
    } else {
        left.get("fib").and_then(fib_key)
    };
    found.ok_or_else(not_known)
}

/// What the routes say of addresses. The mark of a packet is nothing that routes look at here.
fn fib_key(fib: &Value) -> Option<Key> {
    let flags = fib.get("flags").and_then(Value::as_array)?;
    let flags: Vec<&str> = flags.iter().filter_map(Value::as_str).filter(|flag| *flag != "mark").collect();
    match (fib.get("result").and_then(Value::as_str)?, flags.as_slice()) {
        ("type", ["daddr"]) => Some(Key::AddressKind(Field::Destination)),
        ("type", ["saddr"]) => Some(Key::AddressKind(Field::Source)),
        ("oif" | "oifname", ["saddr", "iif"]) => Some(Key::ReversePath(RpFilter::Strict)),
        ("oif" | "oifname", ["saddr"]) => Some(Key::ReversePath(RpFilter::Loose)),
        _ => None,
    }
}

/// A field of a header. Who looks at it means packets that have the header.
fn payload_key(protocol: &str, field: &str) -> Option<Key> {
    let family = |number| vec![Match::Set(Field::Family, NumberSet::one(number))];
    let is_protocol = |number: u8| vec![Match::Set(Field::Protocol, NumberSet::one(u128::from(number)))];
    let ports = match field {
        "sport" => Some(Field::SourcePort),
        "dport" => Some(Field::DestinationPort),
        _ => None,
    };
    let addresses = match field {
        "saddr" => Some(Field::Source),
        "daddr" => Some(Field::Destination),
        _ => None,
    };
    Some(match (protocol, field) {
        ("ip", _) if addresses.is_some() => {
            Key::Numbers(addresses?, Kind::Address { is_v4: true }, family(0))
        }
        ("ip6", _) if addresses.is_some() => {
            Key::Numbers(addresses?, Kind::Address { is_v4: false }, family(1))
        }
        ("ip", "protocol") => Key::Numbers(Field::Protocol, Kind::Protocol, family(0)),
        ("ip6", "nexthdr") => {
            let wider = Match::Wider("the protocol behind extension headers is looked at, too".to_owned());
            Key::Numbers(Field::Protocol, Kind::Protocol, [family(1), vec![wider]].concat())
        }
        ("tcp", "flags") => Key::TcpFlags(None),
        ("th", _) => Key::Numbers(ports?, Kind::Port, Vec::new()),
        ("icmp", "type") => Key::Numbers(Field::Icmp, Kind::IcmpType { is_v4: true }, is_protocol(1)),
        ("icmpv6", "type") => Key::Numbers(Field::Icmp, Kind::IcmpType { is_v4: false }, is_protocol(58)),
        ("icmp", "code") => Key::IcmpCode(is_protocol(1)),
        ("icmpv6", "code") => Key::IcmpCode(is_protocol(58)),
        (name, _) => {
            let number = super::values::protocol(name).filter(|number| Protocol(*number).has_ports())?;
            Key::Numbers(ports?, Kind::Port, is_protocol(number))
        }
    })
}

/// The largest number of a field.
fn max(field: Field, kind: Kind) -> u128 {
    match (field, kind) {
        (_, Kind::Address { is_v4: true }) => MAX_V4,
        (Field::Protocol, _) => MAX_PROTOCOL,
        (Field::SourcePort | Field::DestinationPort | Field::Icmp, _) => MAX_PORT,
        (Field::State, _) => MAX_STATE,
        (Field::Family | Field::Direction, _) => 1,
        _ => u128::MAX,
    }
}

fn is_negated(op: &str) -> Result<bool, String> {
    match op {
        "==" | "in" => Ok(false),
        "!=" => Ok(true),
        _ => Err(format!("it is compared by `{op}`")),
    }
}

/// The numbers that stand in a relation to some.
fn ordered(op: &str, set: NumberSet, max: u128) -> Result<NumberSet, String> {
    let ends = set.ranges().first().map(|(first, _)| *first).zip(set.ranges().last().map(|(_, last)| *last));
    Ok(match (op, ends) {
        (">", Some((_, last))) => NumberSet::range(last.saturating_add(1), max),
        (">=", Some((first, _))) => NumberSet::range(first, max),
        ("<", Some((first, _))) => NumberSet::range(first, max).complement(max),
        ("<=", Some((_, last))) => NumberSet::range(0, last),
        _ if is_negated(op)? => set.complement(max),
        _ => set,
    })
}

const FLAGS: [(&str, u8); 8] = [
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("ecn", 0x40),
    ("cwr", 0x80),
];

/// Flags: one by its name, several as a list, or a number.
fn flags(value: &Value) -> Result<u8, String> {
    let wrong = || format!("{value} is no set of TCP flags");
    let one = |value: &Value| match value.as_str() {
        Some(name) => FLAGS.iter().find(|(flag, _)| *flag == name).map(|(_, bit)| *bit).ok_or_else(wrong),
        None => value.as_u64().and_then(|bits| u8::try_from(bits).ok()).ok_or_else(wrong),
    };
    match value.as_array() {
        Some(list) => list.iter().map(one).try_fold(0, |bits, bit| Ok(bits | bit?)),
        None => one(plain(value)),
    }
}

fn tcp_flags(
    mask: Option<u8>,
    op: &str,
    right: &Value,
    elements: Option<&[Value]>,
) -> Result<Vec<Vec<Match>>, String> {
    let one = |mask, set, negated| vec![Match::TcpFlags(TcpFlags { mask, set, negated })];
    match (mask, op, elements) {
        // Any of them is set.
        (None, "in", None) => Ok(vec![one(flags(right)?, 0, true)]),
        (_, "==" | "in", Some(elements)) => {
            let element = |value: &Value| Ok(one(mask.unwrap_or(u8::MAX), flags(value)?, false));
            elements.iter().map(element).collect()
        }
        (_, "==" | "!=", None) => {
            let (mask, set) = (mask.unwrap_or(u8::MAX), flags(right)?);
            match set & !mask {
                0 => Ok(vec![one(mask, set, op == "!=")]),
                _ => Err("flags that are not looked at cannot be set".to_owned()),
            }
        }
        _ => Err(format!("TCP flags are compared by `{op}`")),
    }
}

fn status(op: &str, right: &Value) -> Result<Vec<Status>, String> {
    let one = |value: &Value| match value.as_str() {
        Some("seen-reply") => Some(Status::SeenReply),
        Some("assured") => Some(Status::Assured),
        Some("confirmed") => Some(Status::Confirmed),
        Some("snat") => Some(Status::Snat),
        Some("dnat") => Some(Status::Dnat),
        _ => None,
    };
    let list = right.as_array().map_or(std::slice::from_ref(right), Vec::as_slice);
    let status = list.iter().map(one).collect::<Option<Vec<_>>>();
    let status = status.filter(|_| op == "in");
    status.ok_or_else(|| format!("of status {right} cannot be told by `{op}`"))
}
