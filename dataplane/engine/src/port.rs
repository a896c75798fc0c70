//! One port as a worker holds it: a queue to receive from, a queue to send to, and what passed them.

use dpdk::{Burst, Mbuf, RxQueue, TxQueue};
use sluice_conntrack::forward::MacAddress;

/// A worker's queues of one port.
#[derive(Debug)]
pub struct QueuePair {
    /// Where packets come from.
    pub rx: RxQueue,
    /// Where packets go.
    pub tx: TxQueue,
    /// The port's link-layer address.
    pub mac: MacAddress,
}

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
}

/// One port as the worker holds it.
pub(crate) struct WorkerPort {
    pub(crate) queues: QueuePair,
    /// What leaves here when the burst at hand has been decided.
    egress: Burst,
    pub(crate) counters: PortCounters,
    /// Packets that the device had no room for, and that nobody was told of yet.
    unsent: u64,
}

impl WorkerPort {
    pub(crate) fn new(queues: QueuePair) -> Self {
        Self { queues, egress: Burst::new(), counters: PortCounters::default(), unsent: 0 }
    }

    /// Puts a packet behind those that leave with the burst at hand.
    pub(crate) fn send(&mut self, mbuf: Mbuf) {
        if self.egress.room() == 0 {
            self.flush();
        }
        self.counters.tx_bytes += mbuf.packet_len() as u64;
        // There is room now.
        let pushed = self.egress.push(mbuf);
        debug_assert!(pushed.is_ok());
    }

    /// Hands the waiting packets to the device and frees those it has no room for.
    pub(crate) fn flush(&mut self) {
        if self.egress.is_empty() {
            return;
        }
        self.counters.tx_packets += self.queues.tx.transmit(&mut self.egress) as u64;
        let unsent = self.egress.len() as u64;
        if unsent > 0 {
            self.unsent += unsent;
            self.counters.tx_full += unsent;
            self.counters.tx_bytes -= self.egress.iter().map(|mbuf| mbuf.packet_len() as u64).sum::<u64>();
            self.egress.clear();
        }
    }

    /// Packets that the device had no room for since the last time somebody asked.
    pub(crate) fn take_unsent(&mut self) -> u64 {
        std::mem::take(&mut self.unsent)
    }
}
