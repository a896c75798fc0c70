//! What a peer has told, on its way to the workers: each record goes to the one whose connection it is on this box.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sluice_conntrack::replica::{Installing, Origin, Record};
use sluice_conntrack::{ShardId, Steering};
use sluice_engine::replica::{Incoming, Order, Returned};
use thiserror::Error;

use super::member::Member;
use super::pace::Pace;
use super::shared::{Failure, Stop};

/// How long is waited for a worker that has too much to do: as long as it naps.
const PAUSE: Duration = Duration::from_micros(50);

/// The workers have ended, or are to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the workers have ended")]
pub struct Over;

/// The workers, as those see them who have records for them. One at a time gives them orders.
#[derive(Clone)]
pub struct Workers(Arc<Mutex<Orders>>);

struct Orders {
    steering: Steering,
    workers: Vec<Incoming>,
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
    pace: Pace,
    stop: Arc<Stop>,
}

impl Workers {
    /// These. `None` where so many cannot be.
    pub fn new(workers: Vec<Incoming>, stop: Arc<Stop>) -> Option<Self> {
        Some(Self(Arc::new(Mutex::new(Orders {
            steering: Steering::new(ShardId(0), u16::try_from(workers.len()).ok()?)?,
            refused: vec![0; workers.len()],
            workers,
            delegated: VecDeque::new(),
            busy: 0,
            is_done: true,
            sent: 0,
            failed: 0,
            pace: Pace::default(),
            stop,
        }))))
    }

    /// Gives them what is told of a group, when nobody else gives them anything; what comes of it is counted there.
    pub fn of<'a>(&'a self, member: &'a Member) -> Installer<'a> {
        Installer { orders: self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), member }
    }
}

/// One who has the workers install what is told of a group. It is to [finish](Self::finish) before another one begins.
pub struct Installer<'a> {
    orders: MutexGuard<'a, Orders>,
    member: &'a Member,
}

impl Installer<'_> {
    /// Waits until so many records more may be installed.
    ///
    /// # Errors
    /// The workers are to end.
    pub fn pace(&mut self, records: usize) -> Result<(), Over> {
        let wait = self.orders.pace.take(records as u32, Instant::now());
        if !wait.is_zero() && self.orders.stop.within(wait) { Err(Over) } else { Ok(()) }
    }

    /// Has a record installed, sooner or later.
    ///
    /// # Errors
    /// The workers have ended.
    pub fn install(&mut self, record: Record) -> Result<(), Over> {
        let [original, _] = record.tuples();
        let owner = self.orders.steering.owner(&original);
        let installing = Installing { record, origin: Origin::Peer(self.member.id), is_delegated: false };
        self.orders.sent += 1;
        self.send(usize::from(owner.0), Order::Install(installing))
    }

    /// The peer begins to tell of all connections.
    ///
    /// # Errors
    /// The workers have ended.
    pub fn begin_bulk(&mut self) -> Result<(), Over> {
        self.send_to_all(Order::BeginBulk(self.member.id))
    }

    /// It has come to the end: what it did not tell of goes.
    ///
    /// # Errors
    /// The workers have ended.
    pub fn end_bulk(&mut self) -> Result<(), Over> {
        // What one worker has given to another is of the bulk, too.
        self.finish()?;
        self.send_to_all(Order::EndBulk(self.member.id))
    }

    /// Waits until all is done that was sent. Gives how many connections workers have ended so far, of all groups, because another one had
    /// an entry of their reply tuple: that comes out late.
    ///
    /// # Errors
    /// The workers have ended.
    pub fn finish(&mut self) -> Result<u64, Over> {
        let refused: u64 = self.orders.refused.iter().sum();
        if self.orders.is_done {
            return Ok(refused);
        }
        loop {
            while let Some((home, installing)) = self.orders.delegated.pop_front() {
                self.send(usize::from(home.0), Order::Install(installing))?;
            }
            self.orders.busy = self.orders.workers.len();
            self.send_to_all(Order::Report)?;
            while self.orders.busy > 0 {
                self.wait()?;
            }
            if self.orders.delegated.is_empty() {
                break;
            }
        }
        self.member.heard.installed.fetch_add(self.orders.sent.saturating_sub(self.orders.failed), Relaxed);
        (self.orders.sent, self.orders.failed, self.orders.is_done) = (0, 0, true);
        let by_now: u64 = self.orders.refused.iter().sum();
        self.member.heard.count(Failure::Claim, by_now - refused);
        Ok(by_now)
    }

    fn send_to_all(&mut self, order: Order) -> Result<(), Over> {
        (0..self.orders.workers.len()).try_for_each(|worker| self.send(worker, order))
    }

    /// Gives a worker an order; waits for room.
    fn send(&mut self, worker: usize, order: Order) -> Result<(), Over> {
        self.orders.is_done = false;
        while !self.orders.workers.get_mut(worker).ok_or(Over)?.send(order) {
            self.wait()?;
        }
        Ok(())
    }

    /// Takes what has come back; waits a moment where nothing has.
    fn wait(&mut self) -> Result<(), Over> {
        if self.collect() {
            return Ok(());
        }
        if self.orders.workers.iter().any(Incoming::is_over) || self.orders.stop.is_over() {
            return Err(Over);
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }

    fn collect(&mut self) -> bool {
        let Orders { workers, refused, delegated, busy, failed, .. } = &mut *self.orders;
        let mut any = false;
        for (worker, refused) in workers.iter_mut().zip(refused) {
            while let Some(returned) = worker.receive() {
                any = true;
                match returned {
                    Returned::Delegated(home, installing) => delegated.push_back((home, installing)),
                    Returned::NotInstalled(why) => {
                        *failed += 1;
                        self.member.heard.count(Failure::NotInstalled(why), 1);
                    }
                    Returned::Done(so_far) => {
                        *busy = busy.saturating_sub(1);
                        *refused = so_far;
                    }
                }
            }
        }
        any
    }
}
