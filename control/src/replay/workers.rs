//! The workers of a replay: all of them on the calling thread, in turn.
//!
//! A packet goes through every worker that it has to go through before the next one comes. So a replay with many workers
//! repeats as one with a single worker does, and waits for no other thread.

use dpdk::{Burst, Mbuf, Mempool};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, Instant, PortId, Shard, ShardId, Verdict};
use sluice_engine::{OpenPort, Queues, Worker};

/// The workers, by [`ShardId`].
pub struct Workers {
    workers: Vec<Worker>,
    /// Packets sent by each port, as of the last packet that came in.
    sent: Vec<u64>,
}

impl Workers {
    /// A worker for each shard, which share these ports.
    pub fn new(shards: Vec<Shard>, ports: Vec<OpenPort>, pool: Mempool) -> Self {
        let sent = vec![0; ports.len()];
        let queues = Queues::share_out(ports, shards.len() as u16);
        let workers = shards.into_iter().zip(queues).map(|(shard, queues)| Worker::new(shard, queues, pool));
        Self { workers: workers.collect(), sent }
    }

    /// Ends what has expired at `now`, however much that is: the capture's clock waits.
    pub fn expire(&mut self, now: Instant) {
        for worker in &mut self.workers {
            while !worker.expire(now, u32::MAX) {}
        }
    }

    /// What waits at a port, up to a burst: from the worker that holds its queue.
    pub fn receive(&mut self, port: PortId) -> Burst {
        let mut burst = Burst::new();
        for worker in &mut self.workers {
            if worker.receive(port, &mut burst) > 0 {
                break;
            }
        }
        burst
    }

    /// Counts a packet that came in cut off, as dropped by the first worker.
    pub fn refuse_truncated(&mut self) -> (ShardId, Verdict) {
        if let Some(first) = self.workers.first_mut() {
            first.shard_mut().count_drops(DropReason::Truncated, 1);
        }
        (ShardId(0), Verdict::dropped(DropReason::Truncated))
    }

    /// Takes a packet that came in by `port` on a queue of the worker `first` through all workers that it has to go
    /// through. Gives the verdict of the last, and its shard.
    pub fn process(&mut self, now: Instant, port: PortId, first: ShardId, mbuf: Mbuf) -> (ShardId, Verdict) {
        let mut last = (first, Verdict::dropped(DropReason::Local));
        if let Some(worker) = self.workers.get_mut(usize::from(first.0)) {
            let mut burst = Burst::new();
            // An empty burst has room for it.
            let _ = burst.push(mbuf);
            last.1 = worker.process(now, port, &mut burst).first().copied().unwrap_or(last.1);
        }
        let mut moving = self.workers.len() > 1;
        while moving {
            moving = false;
            for (shard, worker) in (0..).map(ShardId).zip(&mut self.workers) {
                moving |= worker.take_over(now) > 0;
                // The fragments of a datagram come together, and the last of them has the verdict on it.
                if let Some(verdict) = worker.verdicts().last().filter(|verdict| is_final(verdict)) {
                    last = (shard, *verdict);
                }
            }
        }
        last
    }

    /// Packets that have left by each port so far.
    pub fn sent(&mut self) -> &[u64] {
        self.sent.fill(0);
        for worker in &self.workers {
            for (all, port) in self.sent.iter_mut().zip(worker.port_counters()) {
                *all += port.tx_packets;
            }
        }
        &self.sent
    }

    /// The shards, between two packets.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.workers.iter().map(Worker::shard)
    }

    /// Packets that have not come to their end.
    pub fn held(&self) -> usize {
        self.workers.iter().map(Worker::held).sum()
    }

    /// Lets go of all queues and keeps the shards.
    pub fn into_shards(self) -> Vec<Shard> {
        self.workers.into_iter().map(Worker::into_shard).collect()
    }
}

/// Whether a packet goes no further by this verdict.
const fn is_final(verdict: &Verdict) -> bool {
    !matches!(verdict.action, Action::Handoff(..) | Action::Hold(_) | Action::Wait)
}
