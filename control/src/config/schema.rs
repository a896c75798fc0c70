//! The sections of the file that describe the box: system, interfaces, routes, metrics, control.
//!
//! Each doc comment below is the key's description in the reference file and in the JSON schema.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use garde::Validate;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::schema_conntrack::Conntrack;
use super::schema_nat::Nat;
use super::schema_policy::{Policy, Rule};
use super::values::Size;
use super::values_net::{Device, InterfaceAddress, MacAddress, Prefix};

/// Most rules in one section: a rule set is walked once per connection, and a longer one is a mistake.
pub(super) const MAX_RULES: usize = 10_000;

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

    /// Where packets go, the longest matching prefix first. Networks of the interfaces' own addresses need no route.
    #[serde(default)]
    #[garde(length(max = MAX_RULES))]
    #[schemars(example = serde_json::json!([{"to": "0.0.0.0/0", "via": "203.0.113.254", "dev": "outside"}]))]
    pub routes: Vec<Route>,

    /// Stations whose MAC address is given here and never asked for by ARP or neighbour discovery.
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

    /// Address translation.
    #[serde(default)]
    #[garde(dive)]
    pub nat: Nat,

    /// What may pass.
    #[serde(default)]
    #[garde(dive)]
    pub policy: Policy,

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
            routes: Vec::new(),
            neighbours: Vec::new(),
            forwarding: None,
            conntrack: Conntrack::default(),
            untracked: Vec::new(),
            zones: Vec::new(),
            nat: Nat::default(),
            policy: Policy::default(),
            metrics: Metrics::default(),
            control: Control::default(),
        }
    }

    /// How packets pass: as written, or by the interfaces where nothing is written.
    pub fn forwarding(&self) -> Forwarding {
        let bare = self.interfaces.values().all(|interface| interface.addresses.is_empty());
        self.forwarding.unwrap_or(match bare && self.interfaces.len() == 2 {
            true => Forwarding::Wire,
            false => Forwarding::Routed,
        })
    }
}

/// Refuses a file of another version before its keys are looked at: they may mean something else there.
fn known_version<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        1 => Ok(1),
        other => Err(D::Error::custom(format!("version {other} is not known; this program reads version 1"))),
    }
}

/// Most workers: each has a place in the table by which NICs spread packets.
pub(super) const MAX_WORKERS: usize = sluice_conntrack::steer::MAX_SHARDS as usize;

/// Processor cores and memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a mapping (cores, idle, memory)"
)]
pub struct System {
    /// Which cores do what.
    #[garde(dive)]
    pub cores: Cores,

    /// What workers do while nothing comes: `poll` goes on polling, `friendly` naps for 50 microseconds at a time. Left
    /// out: `poll` on a core that is isolated (`isolcpus`), `friendly` on any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(example = Idle::Poll)]
    pub idle: Option<Idle>,

    /// Memory for packets and connections.
    #[garde(dive)]
    pub memory: Memory,
}

/// What a worker does while nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Idle {
    /// Naps.
    Friendly,
    /// Polls.
    Poll,
}

/// Which cores do what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping (control, workers)")]
pub struct Cores {
    /// The core for everything but packets: control socket, metrics, log.
    #[garde(range(max = 1023))]
    pub control: u16,

    /// The cores that poll and do nothing else, a worker and its share of the connections on each.
    #[garde(length(min = 1, max = MAX_WORKERS), inner(range(max = 1023)))]
    pub workers: Vec<u16>,
}

impl Default for Cores {
    fn default() -> Cores {
        Cores { control: 0, workers: vec![1] }
    }
}

/// Memory for packets and connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping (hugepages)")]
pub struct Memory {
    /// How much to take, from huge pages; from ordinary pages, with a warning, where there are none.
    #[garde(custom(enough_memory))]
    pub hugepages: Size,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { hugepages: Size(1 << 30) }
    }
}

/// DPDK and the packet buffers of two ports do not fit into less.
const LEAST_MEMORY: Size = Size(512 << 20);

fn enough_memory(size: &Size, _: &()) -> garde::Result {
    match *size >= LEAST_MEMORY {
        true => Ok(()),
        false => Err(garde::Error::new(format!("{size} is too little memory; the least is {LEAST_MEMORY}"))),
    }
}

/// One port of the box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a mapping (device, addresses, mtu, zone)"
)]
pub struct Interface {
    /// `pci:` and a NIC's address, or `vdev:` and a DPDK virtual device with its arguments.
    #[garde(skip)]
    pub device: Device,

    /// The box's own addresses here, each with the length of its network's prefix.
    #[serde(default)]
    #[garde(length(max = 64))]
    pub addresses: Vec<InterfaceAddress>,

    /// Largest layer-3 packet in bytes.
    #[serde(default = "default_mtu")]
    #[garde(range(min = 1280, max = 9216))]
    #[schemars(range(min = 1280, max = 9216))]
    pub mtu: u16,

    /// Conntrack zone of the packets that come in here; zones keep overlapping address spaces apart.
    #[serde(default)]
    #[garde(skip)]
    pub zone: u16,
}

impl Interface {
    /// An interface on this device, with everything else as it is by default.
    pub fn new(device: Device) -> Interface {
        Interface { device, addresses: Vec::new(), mtu: default_mtu(), zone: 0 }
    }
}

fn default_mtu() -> u16 {
    1500
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a route (to, via, dev)")]
pub struct Route {
    /// Destinations this is the way to.
    pub to: Prefix,

    /// The next router; left out where the destinations are on the link itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,

    /// The interface packets leave by.
    pub dev: String,
}

/// A station whose MAC address is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a neighbour (address, mac, dev)")]
pub struct Neighbour {
    /// Its IP address.
    pub address: IpAddr,

    /// Its MAC address.
    pub mac: MacAddress,

    /// The interface it is behind.
    pub dev: String,
}

/// How packets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarding {
    /// From one port to the other, frames untouched.
    Wire,
    /// By destination address.
    Routed,
}

/// Prometheus metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping (listen)")]
pub struct Metrics {
    /// Address and port the metrics are served on, under `/metrics`.
    pub listen: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}

/// The control socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping (socket)")]
pub struct Control {
    /// Path of the Unix socket.
    pub socket: PathBuf,
}

impl Default for Control {
    fn default() -> Control {
        Control { socket: PathBuf::from("/run/sluice/control.sock") }
    }
}
