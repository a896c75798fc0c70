//! Addresses as rules and routes name them.

use std::fmt;
use std::str::FromStr;

use super::is_name;
use super::network::Prefix;
use super::scalar::scalars;

scalars! {
    Destinations: "string", "a prefix, such as 198.51.100.0/24 or 2001:db8::/32, or default";
    Addresses: "string", "an address or a prefix, such as 198.51.100.7, 10.0.0.0/8 or 2001:db8::/32, or a set, such as \"@blocked\"";
}

/// What a rule looks for an address in. A set is written as nft writes it, and no address begins so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// A prefix.
    Prefix(Prefix),
    /// The set of this name.
    Set(String),
}

impl Addresses {
    /// The prefix, if it is one.
    pub fn prefix(&self) -> Option<&Prefix> {
        match self {
            Addresses::Prefix(prefix) => Some(prefix),
            Addresses::Set(_) => None,
        }
    }

    /// Whether there may be addresses of IPv4 among them, or of IPv6: of both in a set, which may change.
    pub fn may_have(&self, is_ipv4: bool) -> bool {
        self.prefix().is_none_or(|prefix| prefix.is_ipv4() == is_ipv4)
    }
}

/// Destinations of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destinations {
    /// All of a family that the rest of the route says.
    Default,
    /// A prefix.
    Prefix(Prefix),
}

impl FromStr for Destinations {
    type Err = String;

    fn from_str(text: &str) -> Result<Destinations, String> {
        match text {
            "default" => Ok(Destinations::Default),
            prefix => prefix.parse().map(Destinations::Prefix),
        }
    }
}

impl fmt::Display for Destinations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destinations::Default => f.write_str("default"),
            Destinations::Prefix(prefix) => prefix.fmt(f),
        }
    }
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Addresses, String> {
        match text.strip_prefix('@') {
            Some(name) if is_name(name, 63) => Ok(Addresses::Set(name.to_owned())),
            Some(name) => Err(format!("`{name}` cannot be the name of a set")),
            None => text.parse().map(Addresses::Prefix),
        }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addresses::Prefix(prefix) => prefix.fmt(f),
            Addresses::Set(name) => write!(f, "@{name}"),
        }
    }
}
