//! What is said about ports over the control socket.

use serde::{Deserialize, Serialize};

use crate::config::Host;

/// What a port is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortDescription {
    /// Name of the interface.
    pub name: String,
    /// Whether its link is up.
    pub up: bool,
    /// The link's speed in Mbit/s; left out where the device does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mbps: Option<u32>,
    /// MAC address.
    pub mac: String,
    /// Largest layer-3 packet in bytes.
    pub mtu: u16,
    /// Receive queues; a VLAN has none of its own.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// DPDK's name of the device, or of a VLAN the port whose link carries it.
    pub device: String,
    /// Its driver, or `vlan` and the number.
    pub driver: String,
    /// Where the box's own network stack is behind it; left out where it has no host side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
}

/// What a port's device has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatistics {
    /// Name of the interface.
    pub name: String,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets the device dropped because its queue was full.
    pub rx_missed: u64,
    /// Packets that arrived broken.
    pub rx_errors: u64,
    /// Packets dropped because the pool was empty.
    pub rx_nombuf: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets dropped because the device's transmit queue was full.
    pub tx_full: u64,
    /// Packets, among those sent, that the device took and could not send.
    pub tx_errors: u64,
}
