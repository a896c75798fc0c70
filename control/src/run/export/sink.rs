//! One who is told: a thread with a bounded queue.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::export::record::{LogLine, Micros, Record, now_us};
use crate::socket::protocol::SinkStatus;

/// Batches that wait for a sink, at most: those of 40 s where little happens.
const WAITING: usize = 1 << 12;

/// Records that wait for a sink, at most: some 50 MB of memory.
const WAITING_RECORDS: u64 = 1 << 18;

/// Records in a batch, at most.
pub const PER_BATCH: usize = 1024;

/// How connections that go on are called, for those who are told of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// All that are translated, once in a while.
    ByRollCall,
    /// Those that have gone on for the active timeout.
    ByActiveTimeout,
}

/// What a sink hears of, besides connections that begin and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hears {
    /// Of which connections that go on, if of any.
    pub called: Option<Called>,
    /// Whether of what `log` rules say.
    pub lines: bool,
}

/// What there is to tell.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Of connections.
    pub records: Arc<[Record]>,
    /// Of packets that met `log` rules.
    pub lines: Arc<[LogLine]>,
}

impl News {
    fn count(&self) -> u64 {
        (self.records.len() + self.lines.len()) as u64
    }
}

/// Some of it, in the order in which they happened.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// What is in it.
    pub news: News,
    /// Events that were lost on the way, in front of them.
    pub lost: u64,
    /// Since when: the last batch in front of the loss.
    pub lost_from_us: Micros,
    /// When it was made.
    pub at_us: Micros,
}

/// What a sink has come to.
#[derive(Debug, Default)]
pub struct Counters {
    /// What it was given.
    pub written: AtomicU64,
    /// Events that it was not told of.
    pub lost: AtomicU64,
    /// How much waits for it.
    waiting: AtomicU64,
}

/// The end of a sink's queue that the sink has.
pub struct Batches {
    received: Receiver<Batch>,
    counters: Arc<Counters>,
}

impl Batches {
    /// The next one, if it comes in that time.
    ///
    /// # Errors
    /// None has come, or none comes any more.
    pub fn next_within(&self, time: Duration) -> Result<Batch, RecvTimeoutError> {
        let batch = self.received.recv_timeout(time)?;
        self.counters.waiting.fetch_sub(batch.news.count(), Ordering::Relaxed);
        Ok(batch)
    }

    /// All that come, until none comes any more.
    pub fn iter(&self) -> impl Iterator<Item = Batch> {
        self.received.iter().inspect(|batch| {
            self.counters.waiting.fetch_sub(batch.news.count(), Ordering::Relaxed);
        })
    }
}

/// A sink, for the control thread.
pub struct Sink {
    name: &'static str,
    to: String,
    hears: Hears,
    counters: Arc<Counters>,
    batches: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

/// The end of a sink's queue that the pump has.
#[derive(Debug)]
pub struct SinkSender {
    /// What it hears of.
    pub hears: Hears,
    batches: SyncSender<Batch>,
    counters: Arc<Counters>,
    /// What it has to hear was lost, since when.
    untold: Option<(u64, Micros)>,
    told_us: Micros,
}

impl Sink {
    /// Begins: `run` takes batches until there are no more.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        name: &'static str,
        to: String,
        hears: Hears,
        run: impl FnOnce(&Batches, &Counters) + Send + 'static,
    ) -> io::Result<Sink> {
        let (batches, received) = mpsc::sync_channel(WAITING);
        let counters = Arc::<Counters>::default();
        let counted = Arc::clone(&counters);
        let thread = thread::Builder::new()
            .name(format!("export-{name}"))
            .spawn(move || run(&Batches { received, counters: Arc::clone(&counted) }, &counted))?;
        Ok(Sink { name, to, hears, counters, batches: Some(batches), thread: Some(thread) })
    }

    /// The sending end of its queue.
    pub fn sender(&self) -> Option<SinkSender> {
        let (batches, counters) = (self.batches.clone()?, Arc::clone(&self.counters));
        Some(SinkSender { hears: self.hears, batches, counters, untold: None, told_us: now_us() })
    }

    /// What it has come to.
    pub fn status(&self) -> SinkStatus {
        SinkStatus {
            sink: self.name.to_owned(),
            to: self.to.clone(),
            written: self.counters.written.load(Ordering::Relaxed),
            lost: self.counters.lost.load(Ordering::Relaxed),
        }
    }

    /// Waits until it has told what waits.
    pub fn join(mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl SinkSender {
    /// Gives it a batch, or counts what is in it as lost.
    pub fn send(&mut self, news: &News, lost: u64, at_us: Micros) {
        if lost > 0 {
            self.lose(lost);
        }
        let (lost, lost_from_us) = self.untold.unwrap_or_default();
        let count = news.count();
        // The pump alone adds to them.
        if self.counters.waiting.load(Ordering::Relaxed) + count > WAITING_RECORDS {
            return self.lose(count);
        }
        self.counters.waiting.fetch_add(count, Ordering::Relaxed);
        match self.batches.try_send(Batch { news: news.clone(), lost, lost_from_us, at_us }) {
            Ok(()) => {
                self.untold = None;
                self.told_us = at_us;
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counters.waiting.fetch_sub(count, Ordering::Relaxed);
                self.lose(count);
            }
        }
    }

    fn lose(&mut self, count: u64) {
        self.counters.lost.fetch_add(count, Ordering::Relaxed);
        self.untold.get_or_insert((0, self.told_us)).0 += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_slow_sink_is_not_told_of_it_hears_the_number_of() {
        let (go, wait) = mpsc::channel::<()>();
        let (told, heard) = mpsc::channel();
        let run = move |batches: &Batches, _: &Counters| {
            let _ = wait.recv();
            batches
                .iter()
                .for_each(|batch| told.send((batch.lost, batch.lost_from_us, batch.at_us)).unwrap());
        };
        let sink = Sink::start("slow", String::new(), Hears::default(), run).unwrap();
        let mut sender = sink.sender().unwrap();
        let none = News::default();
        let room = WAITING as Micros;
        (1..=room).for_each(|at_us| sender.send(&none, 0, at_us));
        // They do not fit, and neither does what was lost on the way.
        (1..=3).for_each(|more| sender.send(&none, 10, room + more));
        assert_eq!(sink.status().lost, 30);
        go.send(()).unwrap();
        (1..=room).for_each(|at_us| assert_eq!(heard.recv().unwrap(), (0, 0, at_us)));
        sender.send(&none, 0, room + 9);
        drop(sender);
        sink.join();
        assert_eq!(heard.recv().unwrap(), (30, room, room + 9));
    }
}
