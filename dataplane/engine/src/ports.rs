//! All ports of a box as a worker holds them, VLANs among them: what comes in by which, and how frames leave.

use dpdk::{Burst, Mbuf, Mempool};
use sluice_conntrack::PortId;
use sluice_conntrack::forward::MacAddress;
use sluice_conntrack::wire::{ethernet, field};

use crate::port::WorkerPort;
use crate::tag::{self, Vlan};

/// The ports, by [`PortId`].
pub(crate) struct Ports(Vec<WorkerPort>);

impl Ports {
    /// These ports, of which VLANs know their parents.
    pub(crate) fn new(mut ports: Vec<WorkerPort>) -> Self {
        for number in 0..ports.len() {
            if let Some(Vlan { parent, id }) = ports[number].vlan
                && let Some(parent) = ports.get_mut(usize::from(parent.0))
            {
                parent.vlans.push((id, PortId(number as u8)));
            }
        }
        Self(ports)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &WorkerPort> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut WorkerPort> {
        self.0.iter_mut()
    }

    #[inline(always)]
    pub(crate) fn get(&self, port: PortId) -> Option<&WorkerPort> {
        self.0.get(usize::from(port.0))
    }

    /// Receives what waits in a queue of a port into `burst`, behind what is in it; gives the number of packets. None come from
    /// a port that there is not.
    pub(crate) fn receive(&mut self, port: PortId, burst: &mut Burst) -> usize {
        self.0.get_mut(usize::from(port.0)).map_or(0, |port| port.receive(burst))
    }

    /// The port that a frame came in by which a device received as `port`: that of its VLAN, whose tag is taken off. A tag that
    /// says a priority and no VLAN is none; a frame of a VLAN that is none of the box's keeps its tag.
    #[inline(always)]
    pub(crate) fn untag(&mut self, port: PortId, mbuf: &mut Mbuf) -> PortId {
        match tag::vlan_id(mbuf.head()) {
            None => port,
            Some(id) => self.untag_vlan(port, id, mbuf),
        }
    }

    #[cold]
    #[inline(never)]
    fn untag_vlan(&mut self, port: PortId, id: u16, mbuf: &mut Mbuf) -> PortId {
        if id == 0 {
            tag::take_off(mbuf);
            return port;
        }
        let vlans = self.get(port).map_or(&[][..], |parent| &parent.vlans);
        let Some((_, vlan)) = vlans.iter().find(|(known, _)| *known == id).copied() else { return port };
        tag::take_off(mbuf);
        if let Some(interface) = self.0.get_mut(usize::from(vlan.0)) {
            interface.counters.rx_packets += 1;
            interface.counters.rx_bytes += mbuf.packet_len() as u64;
        }
        vlan
    }

    /// Sends a frame by a port, with the tag of its VLAN if it is one.
    #[inline(always)]
    pub(crate) fn send(&mut self, port: PortId, mbuf: Mbuf) {
        let Some(by) = self.0.get_mut(usize::from(port.0)) else { return };
        match by.vlan {
            None => by.send(mbuf),
            Some(vlan) => self.send_tagged(port, vlan, mbuf),
        }
    }

    #[inline(never)]
    fn send_tagged(&mut self, port: PortId, Vlan { parent, id }: Vlan, mut mbuf: Mbuf) {
        let bytes = mbuf.packet_len() as u64;
        let is_tagged = tag::put_on(&mut mbuf, id);
        let Some(interface) = self.0.get_mut(usize::from(port.0)) else { return };
        if !is_tagged {
            return interface.count_unsent(1);
        }
        interface.counters.tx_packets += 1;
        interface.counters.tx_bytes += bytes;
        if let Some(parent) = self.0.get_mut(usize::from(parent.0)) {
            parent.send(mbuf);
        }
    }

    /// Sends a packet by a port to a neighbour there.
    #[inline(always)]
    pub(crate) fn send_to(&mut self, port: PortId, mut mbuf: Mbuf, mac: MacAddress) {
        let Some(own) = self.get(port).map(|port| port.mac) else { return };
        if let Some(header) = mbuf.head_mut().first_chunk_mut::<{ ethernet::HEADER_BYTES }>() {
            header[field::ethernet::DESTINATION].copy_from_slice(&mac);
            header[field::ethernet::SOURCE].copy_from_slice(&own);
        }
        self.send(port, mbuf);
    }

    /// Sends a frame of the box's own making. False without a free mbuf.
    pub(crate) fn send_bytes(&mut self, port: PortId, bytes: &[u8], pool: Mempool) -> bool {
        let mbuf = pool.copy_from(bytes);
        mbuf.map(|mbuf| self.send(port, mbuf)).is_some()
    }

    /// Sends a message of ARP, neighbour discovery or MLD. Without a free mbuf it is lost, as any frame can be.
    pub(crate) fn send_message(&mut self, port: PortId, bytes: &[u8], pool: Mempool) {
        let is_sent = self.send_bytes(port, bytes, pool);
        self.count_link_messages(port, is_sent.into());
    }

    /// Counts such messages.
    pub(crate) fn count_link_messages(&mut self, port: PortId, messages: u64) {
        if let Some(port) = self.0.get_mut(usize::from(port.0)) {
            port.counters.link_messages += messages;
        }
    }
}
