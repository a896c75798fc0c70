//! The worker: receive, track, transmit, and again.

use std::thread;
use std::time::Duration;

use arrayvec::ArrayVec;
use dpdk::{Burst, Mbuf, Mempool, RxQueue, TxQueue, lcore};
use sluice_conntrack::forward::MacAddress;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, Instant, PortId, Shard, Verdict};

use crate::clock::Clock;
use crate::command::Inbox;
use crate::frame::Received;

/// Steps of expiry in one round: about as much work as a burst is, so that a million entries that expire in one second
/// delay no packet by more than that.
const EXPIRY_BUDGET: u32 = 64;

/// Empty rounds before a friendly worker sleeps: some ten microseconds.
const ROUNDS_AWAKE: u32 = 256;

/// How long it sleeps then: less than a queue of 1024 packets takes to fill at 10 million packets a second.
const NAP: Duration = Duration::from_micros(50);

/// The longest answer in bytes: an echo reply of the largest MTU, behind any tags.
const LONGEST_ANSWER: usize = 9216 + 64;

/// What a worker does while no packets come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// Goes on polling, with the processor's pause instruction between rounds.
    Poll,
    /// Sleeps for 50 microseconds at a time once nothing has come for a while.
    #[default]
    Friendly,
}

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

/// What a worker's time went into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Nanoseconds in rounds that had packets.
    pub busy_ns: u64,
    /// Nanoseconds in rounds that had none.
    pub idle_ns: u64,
}

/// One port as the worker holds it.
struct WorkerPort {
    queues: QueuePair,
    /// What leaves here when the burst at hand has been decided.
    egress: Burst,
    counters: PortCounters,
    /// Packets that the device had no room for since the shard was told.
    unsent: u64,
}

/// One shard, and one queue pair of each port.
pub struct Worker {
    shard: Shard,
    /// By [`PortId`].
    ports: Vec<WorkerPort>,
    verdicts: [Verdict; Burst::CAPACITY],
    /// Where the packets come from that the box makes itself.
    pool: Mempool,
    /// Where they are written.
    scratch: Box<[u8]>,
    load: Load,
}

impl Worker {
    /// A worker over these queues, by [`PortId`]. What the box says itself comes from `pool`.
    pub fn new(shard: Shard, queues: Vec<QueuePair>, pool: Mempool) -> Self {
        let port = |queues| WorkerPort {
            queues,
            egress: Burst::new(),
            counters: PortCounters::default(),
            unsent: 0,
        };
        Self {
            shard,
            ports: queues.into_iter().map(port).collect(),
            verdicts: [Verdict::dropped(DropReason::NoRoute); Burst::CAPACITY],
            pool,
            scratch: vec![0; LONGEST_ANSWER].into(),
            load: Load::default(),
        }
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
        for port in 0..self.ports.len() {
            let port = PortId(port as u8);
            packets += self.receive(port, &mut burst);
            self.process(now, port, &mut burst);
        }
        self.shard.expire(now, EXPIRY_BUDGET);
        packets
    }

    /// Receives what waits at a port into `burst`, behind what is in it; gives the number of packets. None come from a
    /// port that there is not.
    pub fn receive(&mut self, port: PortId, burst: &mut Burst) -> usize {
        self.ports.get_mut(usize::from(port.0)).map_or(0, |port| port.queues.rx.receive(burst))
    }

    /// Takes packets that came in by `port` through the shard at `now` and sends or frees each. Leaves the burst empty
    /// and gives the verdicts, in order.
    pub fn process(&mut self, now: Instant, port: PortId, burst: &mut Burst) -> &[Verdict] {
        let count = burst.len();
        if count == 0 {
            return &[];
        }
        if let Some(port) = self.ports.get_mut(usize::from(port.0)) {
            port.counters.rx_packets += count as u64;
            port.counters.rx_bytes += burst.iter().map(|mbuf| mbuf.packet_len() as u64).sum::<u64>();
        }
        let mut frames: ArrayVec<_, { Burst::CAPACITY }> =
            burst.iter_mut().map(|mbuf| Received { port, mbuf }).collect();
        self.shard.process(now, &mut frames, &mut self.verdicts);
        drop(frames);
        // A packet that does not leave is freed as it goes out of scope.
        for (mut mbuf, verdict) in burst.drain().zip(&self.verdicts) {
            match verdict.action {
                Action::Forward(egress) => match self.ports.get_mut(usize::from(egress.0)) {
                    Some(port) => port.send(mbuf),
                    None => self.shard.count_drops(DropReason::NoRoute, 1),
                },
                Action::Drop(_) => {}
                Action::Deliver | Action::Reject(..) => {
                    let asked = Received { port, mbuf: &mut mbuf };
                    let answer = self.shard.answer(&asked, verdict, &mut self.scratch);
                    let answer = answer.and_then(|length| self.pool.copy_from(self.scratch.get(..length)?));
                    if let (Some(answer), Some(port)) = (answer, self.ports.get_mut(usize::from(port.0))) {
                        port.send(answer);
                    }
                }
            }
        }
        for port in &mut self.ports {
            port.flush();
            let unsent = std::mem::take(&mut port.unsent);
            if unsent > 0 {
                self.shard.count_drops(DropReason::TxFull, unsent);
            }
        }
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
        self.ports.iter().map(|port| port.counters)
    }

    /// What the worker's time went into.
    pub const fn load(&self) -> Load {
        self.load
    }
}

impl WorkerPort {
    /// Puts a packet behind those that leave with the burst at hand.
    fn send(&mut self, mbuf: Mbuf) {
        if self.egress.room() == 0 {
            self.flush();
        }
        self.counters.tx_bytes += mbuf.packet_len() as u64;
        // There is room now.
        let pushed = self.egress.push(mbuf);
        debug_assert!(pushed.is_ok());
    }

    /// Hands the waiting packets to the device and frees those it has no room for.
    fn flush(&mut self) {
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
}
