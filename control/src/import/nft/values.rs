//! Values of nft: addresses, ports and names, alone, in ranges, prefixes and sets; and the sets, maps and helpers that tables name.

use std::net::IpAddr;

use serde_json::Value;

use crate::config::{IcmpType, Protocol};
use crate::import::set::NumberSet;

/// What tables name: sets, maps, helpers.
pub(super) struct Objects<'a> {
    list: &'a [Value],
    family: &'a str,
    table: &'a str,
}

impl<'a> Objects<'a> {
    /// All of a rule set.
    pub(super) fn new(list: &'a [Value]) -> Objects<'a> {
        Objects { list, family: "", table: "" }
    }

    /// Those of a table.
    pub(super) fn of(&self, family: &'a str, table: &'a str) -> Objects<'a> {
        Objects { list: self.list, family, table }
    }

    /// The object of this kind and name.
    pub(super) fn get(&self, kind: &str, name: &str) -> Option<&'a Value> {
        let of_kind = self.list.iter().filter_map(|object| object.get(kind));
        let is_it = |object: &&Value| {
            let is = |key: &str, value: &str| object.get(key).and_then(Value::as_str) == Some(value);
            is("name", name) && is("family", self.family) && is("table", self.table)
        };
        of_kind.into_iter().find(is_it)
    }

    /// The elements of a set or a map: as they stand, or of one that is named.
    ///
    /// # Errors
    /// There is none of the name, or packets change it.
    pub(super) fn elements(&self, value: &'a Value) -> Result<Option<&'a [Value]>, String> {
        if let Some(set) = value.get("set").and_then(Value::as_array) {
            return Ok(Some(set));
        }
        let Some(name) = value.as_str().and_then(|text| text.strip_prefix('@')) else { return Ok(None) };
        let set = self.get("set", name).or_else(|| self.get("map", name));
        let set = set.ok_or_else(|| format!("there is no set `{name}`"))?;
        match is_filled_by_packets(set) {
            true => Err(format!("the set `{name}` changes as packets come")),
            false => Ok(Some(set.get("elem").and_then(Value::as_array).map_or(&[][..], Vec::as_slice))),
        }
    }
}

/// Tells of a set of addresses that does not change as packets come: its name, whether it is of IPv4, and what is in it.
pub(super) fn named(set: &Value, tell: impl FnOnce(&str, bool, NumberSet)) {
    let is_v4 = match set.get("type").and_then(Value::as_str) {
        Some("ipv4_addr") => true,
        Some("ipv6_addr") => false,
        _ => return,
    };
    let (Some(name), false) = (set.get("name").and_then(Value::as_str), is_filled_by_packets(set)) else {
        return;
    };
    let elements = set.get("elem").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let numbers = elements.iter().map(|element| numbers(element, Kind::Address { is_v4 }));
    if let Ok(sets) = numbers.collect::<Result<Vec<NumberSet>, String>>() {
        tell(name, is_v4, NumberSet::of_ranges(sets.iter().flat_map(|set| set.ranges().to_vec()).collect()));
    }
}

/// Whether packets add to a set, or its elements go by themselves.
fn is_filled_by_packets(set: &Value) -> bool {
    let flags = set.get("flags").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let changes = |flag: &Value| matches!(flag.as_str(), Some("dynamic" | "timeout"));
    flags.iter().any(changes) || set.get("timeout").is_some()
}

/// An element without what is said about it beside its value.
pub(super) fn plain(value: &Value) -> &Value {
    value.get("elem").and_then(|elem| elem.get("val")).unwrap_or(value)
}

/// What the numbers of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Addresses of IPv4, or of IPv6.
    Address {
        /// Whether of IPv4.
        is_v4: bool,
    },
    /// Ports.
    Port,
    /// IP protocols.
    Protocol,
    /// States by their index.
    State,
    /// Directions.
    Direction,
    /// Families.
    Family,
    /// Types of ICMP, or of ICMPv6, in the upper of two bytes.
    IcmpType {
        /// Whether of ICMP.
        is_v4: bool,
    },
}

/// The numbers of a value that is no set: one, a range, a prefix, or a list.
///
/// # Errors
/// It is of another kind.
pub(super) fn numbers(value: &Value, kind: Kind) -> Result<NumberSet, String> {
    let value = plain(value);
    if let Some([first, last]) = value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        let (first, last) = (number(first, kind)?, number(last, kind)?);
        return Ok(NumberSet::range(first.0, last.1));
    }
    if let Some(prefix) = value.get("prefix") {
        let (address, length) = (prefix.get("addr"), prefix.get("len").and_then(Value::as_u64));
        let (Some(address), Some(length), Kind::Address { is_v4 }) = (address, length, kind) else {
            return Err(format!("{value} cannot be read"));
        };
        let first = number(address, kind)?.0;
        let bits = if is_v4 { 32_u64 } else { 128 };
        let host = bits.checked_sub(length).ok_or_else(|| format!("{value} cannot be read"))?;
        let rest = if host == 128 { u128::MAX } else { (1 << host) - 1 };
        return Ok(NumberSet::range(first & !rest, first | rest));
    }
    if let Some(list) = value.as_array() {
        let numbers = list.iter().map(|value| number(value, kind)).collect::<Result<Vec<_>, String>>()?;
        return Ok(NumberSet::of_ranges(numbers));
    }
    let (first, last) = number(value, kind)?;
    Ok(NumberSet::range(first, last))
}

/// One value, as the first and last of its numbers.
fn number(value: &Value, kind: Kind) -> Result<(u128, u128), String> {
    let wrong = || format!("{value} cannot be read");
    if let Some(number) = value.as_u64().map(u128::from) {
        return match kind {
            Kind::IcmpType { .. } if number <= 0xff => Ok((number << 8, number << 8 | 0xff)),
            Kind::Port if number <= 0xffff => Ok((number, number)),
            Kind::Protocol if number <= 0xff => Ok((number, number)),
            _ => Err(wrong()),
        };
    }
    let word = value.as_str().ok_or_else(wrong)?;
    let among = |words: &[&str]| words.iter().position(|known| *known == word).map(|index| index as u128);
    let one = match kind {
        Kind::Address { is_v4 } => match word.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) if is_v4 => Some(u128::from(address.to_bits())),
            Ok(IpAddr::V6(address)) if !is_v4 => Some(address.to_bits()),
            _ => None,
        },
        Kind::Port => word.parse::<u16>().ok().map(u128::from),
        Kind::Protocol => protocol(word).map(u128::from),
        Kind::State => among(&["new", "established", "related", "invalid", "untracked"]),
        Kind::Direction => among(&["original", "reply"]),
        Kind::Family => among(&["ipv4", "ipv6"]).or_else(|| among(&["ip", "ip6"])),
        Kind::IcmpType { is_v4 } => return icmp_type(word, is_v4).ok_or_else(wrong),
    };
    one.map(|number| (number, number)).ok_or_else(wrong)
}

/// Protocols that nft has names of, beside those that the configuration knows.
pub(super) fn protocol(word: &str) -> Option<u8> {
    match word {
        "igmp" => Some(2),
        "comp" => Some(108),
        _ => word.parse().ok().map(|Protocol(number)| number),
    }
}

/// Types that nft calls otherwise than the configuration does, or that that does not name.
const TYPES: [(&str, Option<u8>, Option<u8>); 14] = [
    ("nd-router-solicit", None, Some(133)),
    ("nd-router-advert", None, Some(134)),
    ("nd-neighbor-solicit", None, Some(135)),
    ("nd-neighbor-advert", None, Some(136)),
    ("nd-redirect", None, Some(137)),
    ("router-renumbering", None, Some(138)),
    ("mld-listener-query", None, Some(130)),
    ("mld-listener-report", None, Some(131)),
    ("mld-listener-done", None, Some(132)),
    ("mld-listener-reduction", None, Some(132)),
    ("mld2-listener-report", None, Some(143)),
    ("ind-neighbor-solicit", None, Some(141)),
    ("ind-neighbor-advert", None, Some(142)),
    ("timestamp-request", Some(13), None),
];

fn icmp_type(word: &str, is_v4: bool) -> Option<(u128, u128)> {
    let whole = |kind: u8| (u128::from(kind) << 8, u128::from(kind) << 8 | 0xff);
    if let Some((_, v4, v6)) = TYPES.iter().find(|(name, ..)| *name == word) {
        return if is_v4 { *v4 } else { *v6 }.map(whole);
    }
    let known: IcmpType = word.parse().ok()?;
    match if is_v4 { known.icmp() } else { known.icmpv6() } {
        Some((kind, None)) => Some(whole(kind)),
        _ => None,
    }
}
