//! What the filters of [`super::Filter`] take: networks, families, status bits, states, and what stands behind a translation.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use clap::ValueEnum;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sluice_conntrack::counters::{ProtocolLabel, STATES};
use sluice_conntrack::entry::Status;
use sluice_conntrack::tuple;

/// What serde needs of a value that is sent as its text.
macro_rules! sent_as_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}

sent_as_text!(Network, NatPeer);

/// An address, or a network as `ADDRESS/LENGTH`. As for conntrack(8), bits of a host behind the length do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(pub IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        let network = address.or_else(|_| text.parse::<IpNet>().map(|network| network.trunc()));
        network.map(Network).map_err(|_| {
            format!("`{text}`: expected an address or a network: 10.0.0.5, 10.0.0.0/8, 2001:db8::/32")
        })
    }
}

impl Network {
    /// Whether an address is in it; where there is a mask, the bits of that count instead of its length.
    pub(super) fn has(self, address: IpAddr, mask: Option<IpAddr>) -> bool {
        match (mask, self.0.addr(), address) {
            (None, ..) => self.0.contains(&address),
            (Some(IpAddr::V4(mask)), IpAddr::V4(own), IpAddr::V4(other)) => own & mask == other & mask,
            (Some(IpAddr::V6(mask)), IpAddr::V6(own), IpAddr::V6(other)) => own & mask == other & mask,
            _ => false,
        }
    }

    /// The one address that it is, for the option `--name`.
    ///
    /// # Errors
    /// It is more than one.
    pub fn host(self, name: &str) -> Result<IpAddr, String> {
        let Network(network) = self;
        match network.prefix_len() == network.max_prefix_len() {
            true => Ok(network.addr()),
            false => Err(format!("`--{name}` wants one address here, not the network {network}")),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Address families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4
    Ipv4,
    /// IPv6
    Ipv6,
}

/// What conntrack(8) can ask of an entry's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EntryStatus {
    /// Packets went both ways, lastingly
    Assured,
    /// The reply direction has been seen
    SeenReply,
    /// It has not
    Unreplied,
    /// Its first packet was expected by another connection
    Expected,
    /// Neither answered nor assured
    Unset,
}

/// What an address and a port were translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NatPeer {
    /// Whatever it is.
    Any,
    /// This address.
    Address(IpAddr),
    /// This address and port.
    Port(SocketAddr),
}

impl FromStr for NatPeer {
    type Err = String;

    fn from_str(text: &str) -> Result<NatPeer, String> {
        if text == "any" {
            return Ok(NatPeer::Any);
        }
        let address = text.parse().map(NatPeer::Address);
        address.or_else(|_| text.parse().map(NatPeer::Port)).map_err(|_| {
            format!("`{text}`: expected an address, and perhaps a port: 203.0.113.1, 203.0.113.1:80, [2001:db8::1]:80")
        })
    }
}

impl fmt::Display for NatPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NatPeer::Any => f.write_str("any"),
            NatPeer::Address(address) => address.fmt(f),
            NatPeer::Port(port) => port.fmt(f),
        }
    }
}

impl NatPeer {
    /// Whether an address and a port are such.
    pub(super) fn is(self, address: IpAddr, port: u16) -> bool {
        match self {
            NatPeer::Any => true,
            NatPeer::Address(wanted) => wanted == address,
            NatPeer::Port(wanted) => wanted == SocketAddr::new(address, port),
        }
    }
}

/// A call id of GRE, as conntrack(8) takes keys: decimal, or hexadecimal behind `0x`.
pub(super) fn gre_key(text: &str) -> Result<u16, String> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|_| format!("`{text}`: expected a call id, such as 7 or 0x10"))
}

/// A state as listings write it; conntrack(8) has an old name for one.
pub(super) fn state_name(text: &str) -> Result<String, String> {
    let wanted = if text.eq_ignore_ascii_case("LISTEN") { "SYN_SENT2" } else { text };
    let states =
        || ProtocolLabel::ALL.iter().flat_map(|label| (0..STATES).map_while(|number| label.state(number)));
    match states().find(|name| name.eq_ignore_ascii_case(wanted)) {
        Some(name) => Ok(name.to_owned()),
        None => {
            let mut names: Vec<_> = states().collect();
            names.sort_unstable();
            names.dedup();
            Err(format!("expected one of {}", names.join(", ")))
        }
    }
}

impl Family {
    /// Whether it is that of a tuple.
    pub(super) fn is(self, family: tuple::Family) -> bool {
        match self {
            Family::Ipv4 => family == tuple::Family::V4,
            Family::Ipv6 => family == tuple::Family::V6,
        }
    }
}

impl EntryStatus {
    /// Whether an entry has it.
    pub(super) fn holds(self, status: Status) -> bool {
        match self {
            EntryStatus::Assured => status.contains(Status::ASSURED),
            EntryStatus::SeenReply => status.contains(Status::SEEN_REPLY),
            EntryStatus::Unreplied => !status.contains(Status::SEEN_REPLY),
            EntryStatus::Expected => status.contains(Status::EXPECTED),
            EntryStatus::Unset => !status.intersects(Status::SEEN_REPLY.union(Status::ASSURED)),
        }
    }
}
