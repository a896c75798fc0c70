//! The ports of the running box by their names: devices, and VLANs on their links.

use dpdk::{Link, Port, PortStats};
use sluice_conntrack::forward::MacAddress;
use sluice_engine::Vlan;

use super::host::HostPort;

/// A port by its name.
pub struct NamedPort {
    /// Name of the interface.
    pub name: String,
    /// What it is.
    pub kind: PortKind,
    /// Its host side, if it has one.
    pub host: Option<HostPort>,
}

/// What packets of a port come and go by.
pub enum PortKind {
    /// A device, with so many queues.
    Device {
        /// The device.
        port: Port,
        /// Receive queues.
        rx_queues: u16,
        /// Transmit queues.
        tx_queues: u16,
    },
    /// The queues of another port, with tags.
    Vlan {
        /// Which VLAN of which port.
        vlan: Vlan,
        /// The link-layer address of that.
        mac: MacAddress,
        /// Largest layer-3 packet in bytes.
        mtu: u16,
    },
}

impl NamedPort {
    /// Its link-layer address.
    pub fn mac(&self) -> MacAddress {
        match &self.kind {
            PortKind::Device { port, .. } => port.info().mac,
            PortKind::Vlan { mac, .. } => *mac,
        }
    }

    /// Its largest layer-3 packet in bytes.
    pub fn mtu(&self) -> u16 {
        match &self.kind {
            PortKind::Device { port, .. } => port.mtu(),
            PortKind::Vlan { mtu, .. } => *mtu,
        }
    }

    /// What the device has counted; nothing where it does not say, or where there is none.
    pub fn stats(&self) -> PortStats {
        match &self.kind {
            PortKind::Device { port, .. } => port.stats().unwrap_or_default(),
            PortKind::Vlan { .. } => PortStats::default(),
        }
    }

    /// Its link, as the device knows it, of all `ports`; `None` where it does not say.
    pub fn link(&self, ports: &[NamedPort]) -> Option<Link> {
        match &self.kind {
            PortKind::Device { port, .. } => port.link().ok(),
            PortKind::Vlan { vlan, .. } => match &ports.get(usize::from(vlan.parent.0))?.kind {
                PortKind::Device { port, .. } => port.link().ok(),
                PortKind::Vlan { .. } => None,
            },
        }
    }
}
