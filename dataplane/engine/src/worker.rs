//! The worker: receive, track, transmit, and again.

use std::thread;
use std::time::Duration;

use arrayvec::ArrayVec;
use dpdk::{Burst, Mempool, lcore};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Configuration, DropReason, Instant, PortId, Shard, Verdict};

use crate::clock::Clock;
use crate::command::Inbox;
use crate::frame::Received;
use crate::link::Links;
use crate::port::{PortCounters, QueuePair};

/// Steps of expiry in one round: 20 us at most with ten million entries, as much as a burst is. A million entries that
/// expire at once are gone 0.7 s later on a worker that has 20 us of packets in each round (`bench`'s `expiry`).
pub const EXPIRY_BUDGET: u32 = 64;

/// Empty rounds before a friendly worker sleeps: some ten microseconds.
const ROUNDS_AWAKE: u32 = 256;

/// How long it sleeps then: less than a queue of 1024 packets takes to fill at 10 million packets a second.
const NAP: Duration = Duration::from_micros(50);

/// What a worker does while no packets come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// Goes on polling, with the processor's pause instruction between rounds.
    Poll,
    /// Sleeps for 50 microseconds at a time once nothing has come for a while.
    #[default]
    Friendly,
}

/// What a worker's time went into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Nanoseconds in rounds that had packets.
    pub busy_ns: u64,
    /// Nanoseconds in rounds that had none.
    pub idle_ns: u64,
}

/// One shard, and one queue pair of each port.
pub struct Worker {
    shard: Shard,
    links: Links,
    verdicts: [Verdict; Burst::CAPACITY],
    load: Load,
}

impl Worker {
    /// A worker over these queues, by [`PortId`]. What the box says itself comes from `pool`.
    pub fn new(shard: Shard, queues: Vec<QueuePair>, pool: Mempool) -> Self {
        Self {
            shard,
            links: Links::new(queues, pool),
            verdicts: [Verdict::dropped(DropReason::NoRoute); Burst::CAPACITY],
            load: Load::default(),
        }
    }

    /// Makes a routed box a station on its links: it takes only what is sent to its ports' MAC addresses, answers ARP and
    /// neighbour discovery, and asks for its next hops. Without this, as in the replay of a capture, every frame is
    /// for the box, and leaves with the MAC addresses it came with.
    pub fn join_links(&mut self) {
        self.links.join(self.shard.configuration_mut());
    }

    /// Puts a configuration in force; gives the old one back.
    pub fn configure(&mut self, mut configuration: Box<Configuration>) -> Box<Configuration> {
        self.links.configure(&mut configuration);
        self.shard.configure(configuration)
    }

    /// Works until [`crate::Command::Stop`] comes or the controller is gone.
    pub fn run(&mut self, clock: &Clock, idle: Idle, inbox: &mut Inbox) {
        let mut empty_rounds = 0;
        let mut before = clock.now();
        while inbox.serve(self) {
            let now = clock.now();
            let packets = self.poll(now);
            let after = clock.now();
            let round_ns = after.since(before).as_nanos() as u64;
            before = after;
            if packets > 0 {
                self.load.busy_ns += round_ns;
                empty_rounds = 0;
                continue;
            }
            self.load.idle_ns += round_ns;
            empty_rounds += 1;
            if idle == Idle::Friendly && empty_rounds > ROUNDS_AWAKE {
                thread::sleep(NAP);
            } else {
                lcore::pause();
            }
        }
    }

    /// One round at `now`: a burst from each port, from reception to transmission, and a share of expiry. Gives the
    /// number of packets.
    pub fn poll(&mut self, now: Instant) -> usize {
        let mut burst = Burst::new();
        let mut packets = 0;
        for port in 0..self.links.ports.len() {
            let port = PortId(port as u8);
            packets += self.receive(port, &mut burst);
            self.process(now, port, &mut burst);
        }
        self.links.look_through(now, &mut self.shard);
        self.shard.expire(now, EXPIRY_BUDGET);
        packets
    }

    /// Receives what waits at a port into `burst`, behind what is in it; gives the number of packets. None come from a
    /// port that there is not.
    pub fn receive(&mut self, port: PortId, burst: &mut Burst) -> usize {
        self.links.ports.get_mut(usize::from(port.0)).map_or(0, |port| port.queues.rx.receive(burst))
    }

    /// Takes packets that came in by `port` through the shard at `now` and sends or frees each. Leaves the burst empty
    /// and gives the verdicts, in order.
    pub fn process(&mut self, now: Instant, port: PortId, burst: &mut Burst) -> &[Verdict] {
        let count = burst.len();
        if count == 0 {
            return &[];
        }
        if let Some(port) = self.links.ports.get_mut(usize::from(port.0)) {
            port.counters.rx_packets += count as u64;
            port.counters.rx_bytes += burst.iter().map(|mbuf| mbuf.packet_len() as u64).sum::<u64>();
        }
        let mut frames: ArrayVec<_, { Burst::CAPACITY }> =
            burst.iter_mut().map(|mbuf| Received { port, mbuf }).collect();
        self.shard.process(now, &mut frames, &mut self.verdicts);
        drop(frames);
        // A packet that does not leave is freed as it goes out of scope.
        for (mbuf, verdict) in burst.drain().zip(&self.verdicts) {
            match verdict.action {
                Action::Forward(egress) => self.links.forward(now, &mut self.shard, egress, mbuf, verdict),
                Action::Deliver | Action::Reject(..) => {
                    self.links.answer(now, &mut self.shard, port, mbuf, verdict);
                }
                Action::Drop(_) | Action::Handoff(..) | Action::Hold(_) | Action::Wait => {}
            }
        }
        self.links.flush(&mut self.shard);
        &self.verdicts[..count]
    }

    /// The shard.
    pub const fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The shard, between two bursts.
    pub const fn shard_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// Lets go of the queues and keeps the shard.
    pub fn into_shard(self) -> Shard {
        self.shard
    }

    /// What passed each port, by [`PortId`].
    pub fn port_counters(&self) -> impl ExactSizeIterator<Item = PortCounters> {
        self.links.ports.iter().map(|port| port.counters)
    }

    /// What the worker's time went into.
    pub const fn load(&self) -> Load {
        self.load
    }
}
