//! One port as a worker holds it: queues to receive from, a way to send, and what passed them.

use dpdk::{Burst, Mbuf, RxQueue, TxQueue};
use rtrb::{Consumer, Producer};
use sluice_conntrack::PortId;
use sluice_conntrack::forward::MacAddress;
use sluice_conntrack::wire::complete_checksum;

use crate::frame::Received;
use crate::tag::Vlan;

/// What passed one port, as this worker saw it. Bytes are those of Ethernet frames, without checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets transmitted.
    pub tx_packets: u64,
    /// Bytes transmitted.
    pub tx_bytes: u64,
    /// Packets dropped because the transmit queue was full.
    pub tx_full: u64,
    /// Messages of the box's own to the link, of ARP, neighbour discovery and MLD; queries of MLD that its host gets, too, besides.
    pub link_messages: u64,
}

impl PortCounters {
    /// Adds what another worker has seen pass.
    pub const fn add(&mut self, other: Self) {
        self.rx_packets += other.rx_packets;
        self.rx_bytes += other.rx_bytes;
        self.tx_packets += other.tx_packets;
        self.tx_bytes += other.tx_bytes;
        self.tx_full += other.tx_full;
        self.link_messages += other.link_messages;
    }
}

/// Where a worker's packets leave a port.
#[derive(Debug)]
pub(crate) enum Outlet {
    /// Nowhere: the port does not send.
    None,
    /// By a queue of its own.
    Queue(TxQueue),
    /// By the queue of another worker.
    Ring(Producer<Mbuf>),
}

/// How packets come from a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receives {
    /// With the hash that steers.
    pub(crate) hashes: bool,
    /// With checksums that were left to a device which is not there.
    pub(crate) partial_checksums: bool,
}

/// One port as the worker holds it.
pub(crate) struct WorkerPort {
    pub(crate) rx: Vec<RxQueue>,
    /// The queue whose turn it is.
    turn: usize,
    pub(crate) outlet: Outlet,
    /// What workers without a queue have for this one's.
    pub(crate) inlets: Vec<Consumer<Mbuf>>,
    pub(crate) mac: MacAddress,
    /// The VLAN that it is, if it is one: then it has no queues, and its frames come and go by those of its parent.
    pub(crate) vlan: Option<Vlan>,
    /// The VLANs on its link that are interfaces, by identifier.
    pub(crate) vlans: Vec<(u16, PortId)>,
    pub(crate) receives: Receives,
    /// What leaves here when the burst at hand has been decided, and its bytes.
    egress: Burst,
    egress_bytes: u64,
    pub(crate) counters: PortCounters,
    /// Packets that there was no room for, and that nobody was told of yet.
    unsent: u64,
}

impl WorkerPort {
    pub(crate) fn new(
        rx: Vec<RxQueue>,
        outlet: Outlet,
        mac: MacAddress,
        vlan: Option<Vlan>,
        receives: Receives,
    ) -> Self {
        Self {
            rx,
            turn: 0,
            outlet,
            inlets: Vec::new(),
            mac,
            vlan,
            vlans: Vec::new(),
            receives,
            egress: Burst::new(),
            egress_bytes: 0,
            counters: PortCounters::default(),
            unsent: 0,
        }
    }

    /// Receives what waits in one of the queues, which take turns, behind what is in `burst`; gives the number of packets.
    pub(crate) fn receive(&mut self, burst: &mut Burst) -> usize {
        self.turn = if self.turn + 1 < self.rx.len() { self.turn + 1 } else { 0 };
        let (waiting, before) = (burst.len(), burst.iter().map(Mbuf::packet_len).sum::<usize>());
        let packets = self.rx.get_mut(self.turn).map_or(0, |queue| queue.receive(burst));
        if packets > 0 {
            self.counters.rx_packets += packets as u64;
            self.counters.rx_bytes += (burst.iter().map(Mbuf::packet_len).sum::<usize>() - before) as u64;
            if self.receives.partial_checksums {
                for mbuf in burst.iter_mut().skip(waiting) {
                    complete_checksum(&mut Received::of(PortId(0), mbuf));
                }
            }
        }
        packets
    }

    /// Puts a packet behind those that leave with the burst at hand.
    pub(crate) fn send(&mut self, mbuf: Mbuf) {
        if self.egress.room() == 0 {
            self.flush();
        }
        self.egress_bytes += mbuf.packet_len() as u64;
        // There is room now.
        let pushed = self.egress.push(mbuf);
        debug_assert!(pushed.is_ok());
    }

    /// Sends what workers without a queue have for this one's, up to a burst of each; gives the number of packets.
    pub(crate) fn collect(&mut self) -> usize {
        let mut packets = 0;
        for inlet in 0..self.inlets.len() {
            for _ in 0..Burst::CAPACITY {
                let Ok(mbuf) = self.inlets[inlet].pop() else { break };
                self.send(mbuf);
                packets += 1;
            }
        }
        packets
    }

    /// Hands the waiting packets on and frees those that there is no room for.
    pub(crate) fn flush(&mut self) {
        if self.egress.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.egress_bytes);
        let unsent = match &mut self.outlet {
            Outlet::Queue(queue) => {
                self.counters.tx_packets += queue.transmit(&mut self.egress) as u64;
                let unsent = self.egress.len() as u64;
                let unsent_bytes = self.egress.iter().map(|mbuf| mbuf.packet_len() as u64).sum::<u64>();
                self.counters.tx_bytes += bytes - unsent_bytes;
                self.egress.clear();
                unsent
            }
            Outlet::Ring(ring) => self.egress.drain().map(|mbuf| u64::from(ring.push(mbuf).is_err())).sum(),
            Outlet::None => self.egress.drain().map(|_| 1).sum(),
        };
        self.count_unsent(unsent);
    }

    /// Counts packets that there was no room for.
    pub(crate) const fn count_unsent(&mut self, packets: u64) {
        self.unsent += packets;
        self.counters.tx_full += packets;
    }

    /// Packets that there was no room for since the last time somebody asked.
    pub(crate) fn take_unsent(&mut self) -> u64 {
        std::mem::take(&mut self.unsent)
    }
}
