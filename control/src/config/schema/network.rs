//! The box's place in the network: interfaces, neighbours, how packets pass.

use std::net::IpAddr;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{Device, Host, InterfaceAddress, MacAddress, MssLimit};

/// One port of the box: a device, or a VLAN on the link of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a mapping (device, addresses, host, mtu, mss, rp-filter, zone)"
)]
pub struct Interface {
    /// `pci:` and a NIC's address, `vdev:` and a DPDK virtual device with its arguments, or `vlan:` and another interface with `.`
    /// and a number, as `vlan:wan.100`: a VLAN (IEEE 802.1Q) on that one's link, which is an interface of a router by itself.
    #[garde(skip)]
    pub device: Device,

    /// The box's own addresses here, each with the length of its network's prefix.
    #[serde(default)]
    #[garde(length(max = 64))]
    pub addresses: Vec<InterfaceAddress>,

    /// The box's own network stack behind this interface: a TAP in the kernel with the interface's name, MAC address,
    /// addresses and routes. It gets what is for the box and may go there (`out: local`), and what it sends is tracked, judged
    /// (`in: local`) and translated as any packet is. `true`, or `{namespace: NAME}` for a TAP in that network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(example = true)]
    pub host: Option<Host>,

    /// Largest layer-3 packet in bytes. net_af_packet and net_tap take at most 1500, and give it to the kernel's interface.
    #[serde(default = "default_mtu")]
    #[garde(range(min = 1280, max = 9216))]
    #[schemars(range(min = 1280, max = 9216))]
    pub mtu: u16,

    /// The largest maximum segment size that TCP SYNs may offer which come in or leave here: `pmtu`, what the smaller MTU
    /// of the interfaces that they pass has room for, or bytes. An offer is lowered, never raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(example = &"pmtu")]
    pub mss: Option<MssLimit>,

    /// Reverse path filter (RFC 3704): `strict` drops what comes in from a source that no route leads to by this interface, `loose`
    /// from one that no route leads to at all. Left out: neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(example = &"strict")]
    pub rp_filter: Option<RpFilter>,

    /// Conntrack zone of the packets that come in here; zones keep overlapping address spaces apart.
    #[serde(default)]
    #[garde(skip)]
    pub zone: u16,
}

impl Interface {
    /// An interface on this device, with everything else as it is by default.
    pub fn new(device: Device) -> Interface {
        Interface {
            device,
            addresses: Vec::new(),
            host: None,
            mtu: default_mtu(),
            mss: None,
            rp_filter: None,
            zone: 0,
        }
    }
}

fn default_mtu() -> u16 {
    1500
}

/// What the sources of packets are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RpFilter {
    /// A route by the interface that they come in by.
    Strict,
    /// A route.
    Loose,
}

/// A host whose MAC address is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a neighbour (address, mac, dev)")]
pub struct Neighbour {
    /// Its IP address.
    #[schemars(example = "203.0.113.254")]
    pub address: IpAddr,

    /// Its MAC address.
    #[schemars(example = "02:00:00:00:00:fe")]
    pub mac: MacAddress,

    /// The interface it is behind.
    #[schemars(example = &"outside")]
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
