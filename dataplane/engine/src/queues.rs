//! Sharing out the queues of all ports over the workers.
//!
//! Every worker receives from what it holds, decides about what is its shard's and hands off the rest, so a port may
//! have any number of receive queues. It may have fewer transmit queues than there are workers, too: a worker without
//! one passes its packets to the holder of one over a ring.

use dpdk::{Mbuf, Port, RxQueue, TxQueue};
use rtrb::RingBuffer;
use sluice_conntrack::PortId;
use sluice_conntrack::forward::MacAddress;

use crate::handoff::{self, Peers};
use crate::host::HostSide;
use crate::port::{Outlet, Receives, WorkerPort};
use crate::tag::Vlan;

/// A port that runs, with all its queues.
#[derive(Debug)]
pub struct OpenPort {
    /// Its receive queues: at least one, but of a VLAN.
    pub rx: Vec<RxQueue>,
    /// Its transmit queues: at least one, but of a VLAN.
    pub tx: Vec<TxQueue>,
    /// Its link-layer address.
    pub mac: MacAddress,
    /// Whether its packets come with the hash of [`sluice_conntrack::steer`].
    pub hashes: bool,
    /// Whether hosts leave checksums to a device that is not there.
    pub partial_checksums: bool,
    /// The VLAN that it is, if it is one.
    pub vlan: Option<Vlan>,
}

impl OpenPort {
    /// A port that was started, with its queues, whose hosts complete their checksums.
    pub fn of_port(port: &Port, rx: Vec<RxQueue>, tx: Vec<TxQueue>) -> Self {
        let (mac, hashes) = (port.info().mac, port.hashes());
        Self { rx, tx, mac, hashes, partial_checksums: false, vlan: None }
    }

    /// The interface of a VLAN. It has the link-layer address of its parent.
    pub const fn of_vlan(vlan: Vlan, mac: MacAddress) -> Self {
        Self {
            rx: Vec::new(),
            tx: Vec::new(),
            mac,
            hashes: false,
            partial_checksums: false,
            vlan: Some(vlan),
        }
    }
}

/// What one worker holds: queues of each port, by [`sluice_conntrack::PortId`], and rings to and from the other workers.
pub struct Queues {
    pub(crate) ports: Vec<WorkerPort>,
    /// The host sides of the ports, as far as they have one.
    pub(crate) hosts: Vec<Option<HostSide>>,
    pub(crate) peers: Peers<Mbuf>,
}

impl Queues {
    /// All queues for the one worker there is.
    pub fn single(ports: Vec<OpenPort>) -> Self {
        let ports = ports.into_iter().enumerate().flat_map(|(number, port)| share_out_port(port, number, 1));
        Self { ports: ports.collect(), hosts: Vec::new(), peers: handoff::mesh(1).remove(0) }
    }

    /// The part of each of so many workers, by number.
    pub fn share_out(ports: Vec<OpenPort>, workers: u16) -> Vec<Self> {
        let workers = usize::from(workers);
        let empty = |peers| Self { ports: Vec::with_capacity(ports.len()), hosts: Vec::new(), peers };
        let mut parts: Vec<Self> = handoff::mesh(workers).into_iter().map(empty).collect();
        for (number, port) in ports.into_iter().enumerate() {
            for (part, port) in parts.iter_mut().zip(share_out_port(port, number, workers)) {
                part.ports.push(port);
            }
        }
        parts
    }

    /// Gives the worker its part of a port's host side.
    pub fn add_host(&mut self, PortId(port): PortId, side: HostSide) {
        let port = usize::from(port);
        self.hosts.resize_with(self.hosts.len().max(port + 1), || None);
        self.hosts[port] = Some(side);
    }
}

/// One port as each worker holds it.
fn share_out_port(port: OpenPort, number: usize, workers: usize) -> Vec<WorkerPort> {
    let OpenPort { rx, tx, mac, hashes, partial_checksums, vlan } = port;
    let receives = Receives { hashes, partial_checksums };
    let part = |_| WorkerPort::new(Vec::new(), Outlet::None, mac, vlan, receives);
    let mut parts: Vec<WorkerPort> = (0..workers).map(part).collect();
    let rx_queues = rx.len();
    for (queue, rx) in rx.into_iter().enumerate() {
        parts[holder(queue, rx_queues, number, workers)].rx.push(rx);
    }
    // More transmit queues than workers have no use.
    let tx_queues = tx.len().min(workers);
    for (queue, tx) in tx.into_iter().take(tx_queues).enumerate() {
        parts[holder(queue, tx_queues, number, workers)].outlet = Outlet::Queue(tx);
    }
    for worker in (0..workers).filter(|_| tx_queues > 0) {
        if matches!(parts[worker].outlet, Outlet::None) {
            let (producer, consumer) = RingBuffer::new(handoff::WAITING);
            parts[worker].outlet = Outlet::Ring(producer);
            parts[holder(worker % tx_queues, tx_queues, number, workers)].inlets.push(consumer);
        }
    }
    parts
}

/// The worker that holds a queue. The indirection table says that queue and shard have one number where there are enough
/// queues; the few queues of several ports go to different workers.
const fn holder(queue: usize, queues: usize, port: usize, workers: usize) -> usize {
    match queues < workers {
        true => (queue + port) % workers,
        false => queue % workers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_enough_queues_each_worker_has_its_own() {
        assert_eq!((0..4).map(|queue| holder(queue, 4, 1, 4)).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!((0..4).map(|queue| holder(queue, 4, 1, 2)).collect::<Vec<_>>(), [0, 1, 0, 1]);
    }

    #[test]
    fn single_queues_of_several_ports_are_spread() {
        assert_eq!((0..4).map(|port| holder(0, 1, port, 3)).collect::<Vec<_>>(), [0, 1, 2, 0]);
    }
}
