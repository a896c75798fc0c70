//! Scalars of NAT: what an address and port become.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::network::{PortRange, network};
use super::scalar::{Scalar as _, scalars, write_scalar};

scalars! {
    AddressRange: "string", "an address, a range or a prefix, such as 10.0.0.5:8080, 203.0.113.10-203.0.113.20 or \"[2001:db8::5]:2000-3000\"";
}

/// Addresses from the first to the last, both of one family, with the ports of each if they are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// The first address.
    pub first: IpAddr,
    /// The last address, not below the first.
    pub last: IpAddr,
    /// The ports.
    pub ports: Option<PortRange>,
}

impl AddressRange {
    /// Whether the addresses are of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }
}

/// Addresses and ports of `10.0.0.5:80`, `[2001:db8::5]:80`, and of the same without ports.
fn split_ports(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (addresses, after) = rest.split_once(']')?;
        return match after {
            "" => Some((addresses, None)),
            _ => Some((addresses, Some(after.strip_prefix(':')?))),
        };
    }
    // More than one colon is an address of IPv6.
    match text.split_once(':') {
        Some((addresses, ports)) if !ports.contains(':') => Some((addresses, Some(ports))),
        _ => Some((text, None)),
    }
}

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<AddressRange, String> {
        let wrong = || format!("`{text}` is not an address or a range of addresses");
        let (addresses, ports) = split_ports(text).ok_or_else(wrong)?;
        let address = |part: &str| part.trim().parse::<IpAddr>().map_err(|_| wrong());
        let (first, last) = match (addresses.split_once('-'), addresses.contains('/')) {
            (Some((first, last)), _) => (address(first)?, address(last)?),
            (None, true) => {
                let net = network(addresses).ok_or_else(wrong)??;
                (net.network(), net.broadcast())
            }
            (None, false) => (address(addresses)?, address(addresses)?),
        };
        if first.is_ipv4() != last.is_ipv4() {
            return Err(format!("the range `{addresses}` mixes IPv4 and IPv6"));
        }
        if first > last {
            return Err(format!("the range `{addresses}` is empty: {first} is above {last}"));
        }
        let ports = ports.map(PortRange::from_str).transpose()?;
        if ports.is_some_and(|ports| ports.first == 0) {
            return Err(format!("`{text}` has port 0, which is none"));
        }
        Ok(AddressRange { first, last, ports })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        match (self.ports, self.is_ipv4()) {
            (None, _) => f.write_str(&addresses),
            (Some(ports), true) => write!(f, "{addresses}:{ports}"),
            (Some(ports), false) => write!(f, "[{addresses}]:{ports}"),
        }
    }
}

/// The value of a key that is there or not: `true`, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yes;

impl<'de> Deserialize<'de> for Yes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Yes, D::Error> {
        match bool::deserialize(from)? {
            true => Ok(Yes),
            false => Err(D::Error::invalid_value(Unexpected::Bool(false), &"true, or no such key")),
        }
    }
}

impl Serialize for Yes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bool(true)
    }
}

impl JsonSchema for Yes {
    fn schema_name() -> Cow<'static, str> {
        "Yes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": true })
    }
}

/// The ports of the box itself that connections are redirected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// `true`: the port that they are for.
    SamePort,
    /// One of these.
    Ports(PortRange),
}

impl<'de> Deserialize<'de> for Redirect {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Redirect, D::Error> {
        from.deserialize_any(RedirectVisitor)
    }
}

struct RedirectVisitor;

impl Visitor<'_> for RedirectVisitor {
    type Value = Redirect;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "true, or {}", PortRange::EXPECTED)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Redirect, E> {
        match value {
            true => Ok(Redirect::SamePort),
            false => Err(E::invalid_value(Unexpected::Bool(false), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Redirect, E> {
        let ports = text.parse().map_err(|why| E::custom(format_args!("{why}, expected {}", Show(&self))))?;
        Ok(Redirect::Ports(ports))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Redirect, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Redirect, E> {
        self.visit_str(&number.to_string())
    }
}

/// What a visitor expects, as text.
struct Show<'a>(&'a RedirectVisitor);

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

impl Serialize for Redirect {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Redirect::SamePort => to.serialize_bool(true),
            Redirect::Ports(ports) => write_scalar(ports, to),
        }
    }
}

impl JsonSchema for Redirect {
    fn schema_name() -> Cow<'static, str> {
        "Redirect".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let ports = generator.subschema_for::<PortRange>();
        json_schema!({ "anyOf": [{ "const": true }, ports] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_a_round_trip() {
        for text in [
            "10.0.0.5",
            "10.0.0.5:8080",
            "203.0.113.10-203.0.113.20",
            "203.0.113.30-203.0.113.31:2000-3000",
            "2001:db8::77",
            "[2001:db8::77]:80",
            "[2001:db8::77-2001:db8::79]:2000-3000",
        ] {
            assert_eq!(text.parse::<AddressRange>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_prefix_is_all_its_addresses() {
        for (prefix, range) in [
            ("203.0.113.32/31", "203.0.113.32-203.0.113.33"),
            ("203.0.113.0/24:80", "203.0.113.0-203.0.113.255:80"),
            ("[2001:db8::/126]:80", "[2001:db8::-2001:db8::3]:80"),
        ] {
            assert_eq!(prefix.parse::<AddressRange>().unwrap().to_string(), range);
        }
    }

    #[test]
    fn wrong_addresses_say_what_is_wrong() {
        for (text, why) in [
            (
                "203.0.113.7/24:80",
                "`203.0.113.7/24` has bits of a host behind its /24; its network is 203.0.113.0/24",
            ),
            ("web", "`web` is not an address or a range of addresses"),
            ("10.0.0.256", "`10.0.0.256` is not an address or a range of addresses"),
            ("[2001:db8::1", "`[2001:db8::1` is not an address or a range of addresses"),
            ("[2001:db8::1]80", "`[2001:db8::1]80` is not an address or a range of addresses"),
            ("10.0.0.9-10.0.0.2", "the range `10.0.0.9-10.0.0.2` is empty: 10.0.0.9 is above 10.0.0.2"),
            ("10.0.0.9-2001:db8::1", "the range `10.0.0.9-2001:db8::1` mixes IPv4 and IPv6"),
            ("10.0.0.5:http", "`http` is not a port"),
            ("10.0.0.5:0", "`10.0.0.5:0` has port 0, which is none"),
            ("10.0.0.5:90-80", "the port range `90-80` is empty: 90 is above 80"),
        ] {
            assert_eq!(text.parse::<AddressRange>().unwrap_err(), why);
        }
    }
}
