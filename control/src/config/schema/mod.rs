//! The sections of the file, as serde reads and schemars describes them.
//!
//! Each doc comment below is the key's description in the reference file and in the JSON schema.

mod action;
mod conntrack;
mod export;
mod groups;
mod ha;
mod helpers;
mod limit;
mod matches;
mod nat;
mod network;
mod policy;
mod routes;
mod sets;
mod system;

use std::collections::BTreeMap;

use garde::Validate;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use sluice_conntrack::PortId;

use crate::config::values::{InterfaceAddress, List};

pub use action::{Action, Synproxy};
pub use conntrack::{
    Conntrack, Fragments, GreTimeouts, Preset, SctpTimeouts, Tcp, TcpTimeouts, Timeouts, UdpTimeouts,
};
pub use export::{Export, Flows, Ipfix, Journal, Syslog, Told};
pub use groups::{Group, Takeover};
pub use ha::{Announce, Engine, Ha, Peer, Replicate, Verify};
pub use helpers::{HelperRule, Helpers};
pub use limit::{Connections, Limit, LimitBy};
pub use nat::{Filtering, Mapping, Nat, NatRule};
pub use network::{Forwarding, Interface, Neighbour, RpFilter};
pub(crate) use policy::LOCAL;
pub(crate) use policy::MAX_RULES;
pub use policy::{DEFAULT_RULE, DefaultAction, Direction, Family, Policy, Rule, State, Status};
pub use routes::{Follow, Route, Routes};
pub use sets::AddressSet;
pub use system::{Control, Cores, Idle, Memory, Metrics, System};

/// The configuration of Sluice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a mapping of sections")]
pub struct Config {
    /// Version of the file's format. This is the only one there is.
    #[serde(deserialize_with = "known_version")]
    #[garde(skip)]
    #[schemars(example = 1, range(min = 1, max = 1))]
    pub version: u32,

    /// Processor cores and memory.
    #[serde(default)]
    #[garde(dive)]
    pub system: System,

    /// The ports of the box, each under a name of your choice. Rules, metrics and captures use the name.
    #[garde(dive)]
    pub interfaces: BTreeMap<String, Interface>,

    /// Where packets go, the longest matching prefix first. Networks of the interfaces' own addresses need no route. Instead of
    /// a list, a mapping will do, `routes: { follow: host, static: [...] }`: the routes, static neighbours and addresses that
    /// the kernel has on the host sides are then followed as they change, so that routing daemons there decide. Of equal
    /// prefixes that of an interface's address counts, then a static route, then the kernel's of the lowest metric.
    #[serde(default)]
    #[garde(skip)]
    #[schemars(example = serde_json::json!([{"to": "default", "via": "203.0.113.254", "dev": "outside"}]))]
    pub routes: Routes,

    /// Hosts whose MAC address is given here and never asked for by ARP or neighbour discovery.
    #[serde(default)]
    #[garde(length(max = 1024))]
    #[schemars(example = serde_json::json!([{"address": "203.0.113.254", "mac": "02:00:00:00:00:fe", "dev": "outside"}]))]
    pub neighbours: Vec<Neighbour>,

    /// How packets pass: `wire` hands frames from one port to the other as they are; `routed` looks up next
    /// hops and decrements TTL. Left out: `wire` if there are two ports without addresses, else `routed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(example = Forwarding::Wire)]
    pub forwarding: Option<Forwarding>,

    /// Sets of addresses, each under a name of your choice: rules match "@NAME" wherever addresses may stand, at the same cost
    /// however many it has. `prefixes` lists some, a `file` has more, one a line, with comments behind `#` or `;`; its path
    /// begins where this file is. `sluice set` changes them until the next reload, which reads all anew. Up to 2 million
    /// prefixes each. Of a set that a rule of `nat.destination` matches, the box answers for no address on a link.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(skip)]
    #[schemars(example = serde_json::json!({"blocked": {"prefixes": ["192.0.2.0/24", "2001:db8:bad::/48"], "file": "blocked.txt"}}))]
    pub sets: BTreeMap<String, AddressSet>,

    /// Connection tracking.
    #[serde(default)]
    #[garde(dive)]
    pub conntrack: Conntrack,

    /// Packets that are not tracked: any that one of these rules matches. Such rules match what the packet
    /// itself shows (`in`, addresses, protocol, ports, `icmp-type`, `tcp-flags`) and have no action.
    #[serde(default)]
    #[garde(length(max = MAX_RULES), dive)]
    #[schemars(example = serde_json::json!([{"protocol": "tcp", "destination-port": 80, "destination": "198.51.100.7"}]))]
    pub untracked: Vec<Rule>,

    /// Conntrack zones by rule, before those of the interfaces: the first rule that matches gives the packet its
    /// `zone`. Such rules match what the packet itself shows and have no action.
    #[serde(default)]
    #[garde(length(max = MAX_RULES), dive)]
    #[schemars(example = serde_json::json!([{"in": "inside", "source": "10.1.0.0/16", "zone": 1}]))]
    pub zones: Vec<Rule>,

    /// Helpers, which read protocols that announce further connections, and have those pass as RELATED: none unless it
    /// is listed. Which reads a connection, its first packet decides as it comes in. Instead of a list, a mapping by name
    /// will do: `helpers: { ftp: { ports: [21] } }`.
    #[serde(default)]
    #[garde(skip)]
    #[schemars(example = serde_json::json!([{"name": "ftp", "ports": [21, 2121], "source": "10.0.0.0/8"}]))]
    pub helpers: Helpers,

    /// Address translation.
    #[serde(default)]
    #[garde(dive)]
    pub nat: Nat,

    /// What may pass.
    #[serde(default)]
    #[garde(dive)]
    pub policy: Policy,

    /// High availability: another box is told of connections as they go on, and stands by. Left out: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub ha: Option<Ha>,

    /// Who is told of connections that begin and end. Left out: nobody is.
    #[serde(default, skip_serializing_if = "Export::is_empty")]
    #[garde(skip)]
    pub export: Export,

    /// Prometheus metrics.
    #[serde(default)]
    #[garde(skip)]
    pub metrics: Metrics,

    /// The control socket, which `sluice conntrack` and its like speak to.
    #[serde(default)]
    #[garde(skip)]
    pub control: Control,
}

impl Config {
    /// The defaults, for a box with these interfaces.
    pub fn new(interfaces: BTreeMap<String, Interface>) -> Config {
        Config {
            version: 1,
            system: System::default(),
            interfaces,
            routes: Routes::default(),
            neighbours: Vec::new(),
            forwarding: None,
            sets: BTreeMap::new(),
            conntrack: Conntrack::default(),
            untracked: Vec::new(),
            zones: Vec::new(),
            helpers: Helpers::default(),
            nat: Nat::default(),
            policy: Policy::default(),
            ha: None,
            export: Export::default(),
            metrics: Metrics::default(),
            control: Control::default(),
        }
    }

    /// How packets pass: as written, or by the interfaces where nothing is written.
    pub fn forwarding(&self) -> Forwarding {
        let is_bare =
            |interface: &Interface| interface.addresses.is_empty() && interface.device.vlan().is_none();
        let bare = self.interfaces.values().all(is_bare) && self.ha.iter().all(|ha| ha.groups.is_empty());
        self.forwarding.unwrap_or(match bare && self.interfaces.len() == 2 {
            true => Forwarding::Wire,
            false => Forwarding::Routed,
        })
    }

    /// All addresses that the box can have at an interface: those of groups first, for the first in a network is what is masqueraded there.
    pub fn addresses_at<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a InterfaceAddress> {
        let groups = self.ha.iter().flat_map(|ha| &ha.groups);
        let of_groups = groups.filter_map(move |group| group.addresses.get(name)).flat_map(List::iter);
        of_groups.chain(self.interfaces.get(name).into_iter().flat_map(|interface| &interface.addresses))
    }

    /// Whether an interface may get addresses while the box runs, that the kernel has on its host side.
    pub fn may_get_addresses(&self, name: &str) -> bool {
        let has_host = self.interfaces.get(name).is_some_and(|interface| interface.host.is_some());
        has_host && self.routes.follow.is_some()
    }

    /// Whether the box's own network stack is behind an interface.
    pub fn has_host(&self) -> bool {
        self.interfaces.values().any(|interface| interface.host.is_some())
    }

    /// The number of an interface: its index among their names in alphabetical order. `local` is the box itself.
    pub fn port(&self, name: &str) -> Option<PortId> {
        if name == LOCAL {
            return Some(PortId::LOCAL);
        }
        let index = self.interfaces.keys().position(|key| key == name)?;
        u8::try_from(index).ok().map(PortId)
    }
}

/// Refuses a file of another version before its keys are looked at: they may mean something else there.
fn known_version<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        1 => Ok(1),
        other => Err(D::Error::custom(format!("version {other} is not known; this program reads version 1"))),
    }
}
