//! The workers of a replay: each on a thread of its own but the first, all of them in step.
//!
//! A worker does something only when it is told to, and whoever tells it waits. So a packet has come through every worker
//! that it has to go through before the next one comes, and a replay with many workers repeats as one with a single worker
//! does.

use std::sync::mpsc::{self, Receiver, SyncSender};

use dpdk::lcore::{self, Lcore};
use dpdk::{Burst, Eal, Mbuf, Mempool};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, Instant, PortId, Shard, ShardId, Verdict};
use sluice_engine::{OpenPort, Queues, Worker};

use super::Failure;

/// What a worker is told to do.
type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// A worker on a thread of its own.
struct Member {
    jobs: SyncSender<Job>,
    lcore: Lcore<Worker>,
}

/// All workers.
pub struct Crew {
    first: Worker,
    others: Vec<Member>,
    /// Packets sent by each port, as of the last packet that came in.
    sent: Vec<u64>,
}

impl Crew {
    /// A worker for each shard, which share these ports. The threads share the processors there are.
    pub fn new(eal: &Eal, shards: Vec<Shard>, ports: Vec<OpenPort>, pool: Mempool) -> Result<Self, Failure> {
        let cores = lcore::allowed_cores()?;
        let sent = vec![0; ports.len()];
        let parts = Queues::share_out(ports, shards.len() as u16);
        let mut workers =
            shards.into_iter().zip(parts).map(|(shard, queues)| Worker::new(shard, queues, pool));
        let first = workers.next().ok_or_else(|| Failure::new("a replay has one worker at least"))?;
        let launch = |(worker, core): (Worker, &usize)| {
            let (jobs, received) = mpsc::sync_channel(1);
            let lcore = lcore::launch(eal, *core, "worker", move || work(worker, &received))?;
            Ok(Member { jobs, lcore })
        };
        let others = workers.zip(cores.iter().cycle()).map(launch).collect::<Result<_, Failure>>()?;
        Ok(Self { first, others, sent })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        1 + self.others.len()
    }

    /// Has a worker do something, and waits for it.
    fn tell<T: Send + 'static>(
        &mut self,
        worker: usize,
        job: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let Some(other) = worker.checked_sub(1) else { return Ok(job(&mut self.first)) };
        let gone = || Failure::new("a worker has ended");
        let member = self.others.get(other).ok_or_else(gone)?;
        let (answer, answered) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |worker| {
            // Whoever asks waits for it.
            let _ = answer.send(job(worker));
        });
        member.jobs.send(job).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())
    }

    /// Ends what is over at `now`, however much that is: the capture's clock waits.
    pub fn expire(&mut self, now: Instant) -> Result<(), Failure> {
        for worker in 0..self.len() {
            self.tell(worker, move |worker| while !worker.shard_mut().expire(now, u32::MAX) {})?;
        }
        Ok(())
    }

    /// What waits at a port, up to a burst: from the worker that holds its queue.
    pub fn receive(&mut self, port: PortId) -> Result<Burst, Failure> {
        for worker in 0..self.len() {
            let receive = move |worker: &mut Worker| {
                let mut burst = Burst::new();
                worker.receive(port, &mut burst);
                burst
            };
            let burst = self.tell(worker, receive)?;
            if !burst.is_empty() {
                return Ok(burst);
            }
        }
        Ok(Burst::new())
    }

    /// A packet that came in cut off.
    pub fn refuse_truncated(&mut self) -> (ShardId, Verdict) {
        self.first.shard_mut().count_drops(DropReason::Truncated, 1);
        (ShardId(0), Verdict::dropped(DropReason::Truncated))
    }

    /// Takes a packet that came in by `port` on a worker's queue through all workers that it has to go through. Gives
    /// the verdict of the last, and its shard.
    pub fn process(
        &mut self,
        now: Instant,
        port: PortId,
        worker: usize,
        mbuf: Mbuf,
    ) -> Result<(ShardId, Verdict), Failure> {
        let process = move |worker: &mut Worker| {
            let mut burst = Burst::new();
            // An empty burst has room for it.
            let _ = burst.push(mbuf);
            worker.process(now, port, &mut burst).first().copied()
        };
        let verdict = self.tell(worker, process)?.unwrap_or(Verdict::dropped(DropReason::Local));
        let mut last = (ShardId(worker as u16), verdict);
        let mut moving = self.len() > 1;
        while moving {
            moving = false;
            for worker in 0..self.len() {
                let take_over =
                    move |worker: &mut Worker| (worker.take_over(now), worker.verdicts().first().copied());
                let (taken, decided) = self.tell(worker, take_over)?;
                moving |= taken > 0;
                if let Some(verdict) = decided.filter(is_final) {
                    last = (ShardId(worker as u16), verdict);
                }
            }
        }
        Ok(last)
    }

    /// Packets that have left by each port so far.
    pub fn sent(&mut self) -> Result<&[u64], Failure> {
        self.sent.fill(0);
        for worker in 0..self.len() {
            let count = |worker: &mut Worker| worker.port_counters().map(|port| port.tx_packets).collect();
            let counts: Vec<u64> = self.tell(worker, count)?;
            self.sent.iter_mut().zip(counts).for_each(|(all, more)| *all += more);
        }
        Ok(&self.sent)
    }

    /// Lets go of all queues and keeps the shards.
    pub fn into_shards(self) -> Result<Vec<Shard>, Failure> {
        let mut shards = vec![self.first.into_shard()];
        for Member { jobs, lcore } in self.others {
            drop(jobs);
            let worker = lcore.join().map_err(|_| Failure::new("a worker panicked"))?;
            shards.push(worker.into_shard());
        }
        Ok(shards)
    }
}

/// Does what a worker is told until nobody is left to tell it anything.
fn work(mut worker: Worker, jobs: &Receiver<Job>) -> Worker {
    while let Ok(job) = jobs.recv() {
        job(&mut worker);
    }
    worker
}

/// Whether a packet goes no further by this verdict.
const fn is_final(verdict: &Verdict) -> bool {
    !matches!(verdict.action, Action::Handoff(..) | Action::Hold(_) | Action::Wait)
}
