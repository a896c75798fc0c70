//! What a peer has told, on its way to the workers: each record goes to the one whose connection it is on this box.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sluice_conntrack::ids::GroupId;
use sluice_conntrack::replica::{Installing, Origin, Record};
use sluice_conntrack::{ShardId, Steering};
use sluice_engine::replica::{Incoming, Order, Returned};
use thiserror::Error;

use super::shared::{Failure, Heard, Stop};

/// How long is waited for a worker that has too much to do: as long as it naps.
const PAUSE: Duration = Duration::from_micros(50);

/// The workers have ended, or are to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the workers have ended")]
pub struct Over;

/// The workers, as one who has records for them sees them.
pub struct Installer {
    steering: Steering,
    workers: Vec<Incoming>,
    group: GroupId,
    /// What one worker has given to another.
    delegated: VecDeque<(ShardId, Installing)>,
    /// Workers that have not yet said that they are done.
    busy: usize,
    /// Whether all have, since they were told something.
    is_done: bool,
    /// Records sent, and those of them that were not installed, since all were done.
    sent: u64,
    failed: u64,
    /// Connections that each worker has ended because another had an entry of their reply tuple.
    refused: Vec<u64>,
    heard: Arc<Heard>,
    stop: Arc<Stop>,
}

impl Installer {
    /// For the connections of a group. `None` where so many workers cannot be.
    pub fn new(workers: Vec<Incoming>, group: GroupId, heard: Arc<Heard>, stop: Arc<Stop>) -> Option<Self> {
        Some(Self {
            steering: Steering::new(ShardId(0), u16::try_from(workers.len()).ok()?)?,
            refused: vec![0; workers.len()],
            workers,
            group,
            delegated: VecDeque::new(),
            busy: 0,
            is_done: true,
            sent: 0,
            failed: 0,
            heard,
            stop,
        })
    }

    /// Has a record installed, sooner or later.
    ///
    /// # Errors
    /// The workers have ended.
    pub fn install(&mut self, record: Record) -> Result<(), Over> {
        let [original, _] = record.tuples();
        let owner = self.steering.owner(&original);
        let installing = Installing { record, origin: Origin::Peer(self.group), is_delegated: false };
        self.sent += 1;
        self.send(usize::from(owner.0), Order::Install(installing))
    }

    /// The peer begins to tell of all connections.
    ///
    /// # Errors
    /// The workers have ended.
    pub fn begin_bulk(&mut self) -> Result<(), Over> {
        self.send_to_all(Order::BeginBulk(self.group))
    }

    /// It has come to the end: what it did not tell of goes.
    ///
    /// # Errors
    /// The workers have ended.
    pub fn end_bulk(&mut self) -> Result<(), Over> {
        // What one worker has given to another is of the bulk, too.
        self.finish()?;
        self.send_to_all(Order::EndBulk(self.group))
    }

    /// Waits until all is done that was sent. Says whether a worker has ended connections since because another had an entry of
    /// their reply tuple.
    ///
    /// # Errors
    /// The workers have ended.
    pub fn finish(&mut self) -> Result<bool, Over> {
        if self.is_done {
            return Ok(false);
        }
        let refused: u64 = self.refused.iter().sum();
        loop {
            while let Some((home, installing)) = self.delegated.pop_front() {
                self.send(usize::from(home.0), Order::Install(installing))?;
            }
            self.busy = self.workers.len();
            self.send_to_all(Order::Report)?;
            while self.busy > 0 {
                self.wait()?;
            }
            if self.delegated.is_empty() {
                break;
            }
        }
        self.heard.installed.fetch_add(self.sent.saturating_sub(self.failed), Relaxed);
        (self.sent, self.failed, self.is_done) = (0, 0, true);
        let more = self.refused.iter().sum::<u64>() - refused;
        self.heard.count(Failure::Claim, more);
        Ok(more > 0)
    }

    fn send_to_all(&mut self, order: Order) -> Result<(), Over> {
        (0..self.workers.len()).try_for_each(|worker| self.send(worker, order))
    }

    /// Gives a worker an order; waits for room.
    fn send(&mut self, worker: usize, order: Order) -> Result<(), Over> {
        self.is_done = false;
        while !self.workers.get_mut(worker).ok_or(Over)?.send(order) {
            self.wait()?;
        }
        Ok(())
    }

    /// Takes what has come back; waits a moment where nothing has.
    fn wait(&mut self) -> Result<(), Over> {
        if self.collect() {
            return Ok(());
        }
        if self.workers.iter().any(Incoming::is_over) || self.stop.is_over() {
            return Err(Over);
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }

    fn collect(&mut self) -> bool {
        let mut any = false;
        for (worker, refused) in self.workers.iter_mut().zip(&mut self.refused) {
            while let Some(returned) = worker.receive() {
                any = true;
                match returned {
                    Returned::Delegated(home, installing) => self.delegated.push_back((home, installing)),
                    Returned::NotInstalled(why) => {
                        self.failed += 1;
                        self.heard.count(Failure::NotInstalled(why), 1);
                    }
                    Returned::Done(so_far) => {
                        self.busy = self.busy.saturating_sub(1);
                        *refused = so_far;
                    }
                }
            }
        }
        any
    }
}
