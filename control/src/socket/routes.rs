//! Neighbours and routes, as the control socket tells of them.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A neighbour on the link of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// Name of the interface.
    pub dev: String,
    /// Its MAC address; left out while it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<String>,
    /// `incomplete`, `reachable`, `stale`, `probe` or `permanent`.
    pub state: String,
}

/// Where packets to some destinations go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What becomes of them.
    #[serde(rename = "type")]
    pub kind: RouteKind,
    /// The destinations: a prefix, or the address that was asked for.
    pub to: String,
    /// The next router; left out where the destinations are on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The interface that packets leave by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Who has made it: `kernel` the networks of the ports, `static` the file, another whoever has told the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proto: Option<String>,
    /// The address that the box itself speaks from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    /// The kernel's metric, where that is not 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// The next hops, where there are several of equal cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nexthops: Vec<NextHop>,
}

/// One of several next hops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// The next router; left out where the destinations are on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The interface that packets leave by.
    pub dev: String,
    /// Its share of the connections.
    pub weight: u32,
}

/// What becomes of packets on a route, in iproute2's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    /// They are forwarded.
    Unicast,
    /// They are for the box itself.
    Local,
    /// They are dropped: they are for a group, or for all neighbours of a link.
    Multicast,
    /// They are refused: there is no route, or one that says so.
    Unreachable,
    /// They are dropped: the route says so.
    Blackhole,
    /// They are refused: the route prohibits them.
    Prohibit,
}

/// As `ip route` shows it.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Route { kind, to, via, dev, proto, src, metric, nexthops } = self;
        f.write_str(match kind {
            RouteKind::Unicast => "",
            RouteKind::Local => "local ",
            RouteKind::Multicast => "multicast ",
            RouteKind::Unreachable => "unreachable ",
            RouteKind::Blackhole => "blackhole ",
            RouteKind::Prohibit => "prohibit ",
        })?;
        f.write_str(if to.ends_with("/0") { "default" } else { to })?;
        let words = [
            ("via", via.map(|via| via.to_string())),
            ("dev", dev.clone()),
            ("proto", proto.clone()),
            ("src", src.map(|src| src.to_string())),
            ("metric", metric.map(|metric| metric.to_string())),
        ];
        for (name, value) in words.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            write!(f, " {name} {value}")?;
        }
        for NextHop { via, dev, weight } in nexthops {
            let via = via.map(|via| format!(" via {via}")).unwrap_or_default();
            write!(f, "\n\tnexthop{via} dev {dev} weight {weight}")?;
        }
        Ok(())
    }
}
