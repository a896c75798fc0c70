//! The thread that writes what the workers tell into the box's own Redis, where peers read it.
//!
//! Where Redis is gone, workers keep what they have to tell, and nobody waits for it. When it is back all begins anew, by a new term: peers
//! then ask to be told of everything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use redis::RedisResult;
use sluice_conntrack::replica::{self, EntryKind, Header, Record};
use sluice_engine::replica::{Outgoing, Told};
use tracing::{info, warn};

use super::engine::{Address, Engine, StreamId};
use super::keys::Keys;
use super::shared::{Spoken, Stop, now_ns};

/// How often is looked for what workers tell.
const TICK: Duration = Duration::from_millis(1);

/// Records of a stream entry, at most: each costs Redis a third of what it would among 64.
const RECORDS: usize = 1024;

/// How often peers hear that the writer lives, and are looked for who ask for a bulk.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// How long a Redis that is gone is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// What Redis keeps beside the bytes of an entry, at most.
const OVERHEAD_BYTES: u64 = 64;

/// Entries of a stream at most, be they as small as they may.
const MAX_ENTRIES: usize = 1 << 16;

/// The entries that a stream is to keep, by their size.
#[derive(Debug, Default)]
struct Kept {
    bytes: VecDeque<u64>,
    sum: u64,
}

impl Kept {
    /// One more is appended; gives how many fit into so much memory then, with it.
    fn with(&mut self, bytes: usize, memory: u64) -> usize {
        let bytes = bytes as u64 + OVERHEAD_BYTES;
        self.bytes.push_back(bytes);
        self.sum += bytes;
        while self.bytes.len() > 1 && (self.sum > memory || self.bytes.len() > MAX_ENTRIES) {
            self.sum -= self.bytes.pop_front().unwrap_or_default();
        }
        self.bytes.len()
    }
}

/// A bulk that is being written.
#[derive(Debug)]
struct Bulk {
    /// The workers that were not asked for their tables yet.
    unasked: Vec<usize>,
    /// The workers that have not come to the end.
    left: usize,
}

/// One who writes.
pub struct Writer {
    address: Address,
    keys: Keys,
    memory: u64,
    workers: Vec<Outgoing>,
    spoken: Arc<Spoken>,
    stop: Arc<Stop>,
    term: u32,
    sequence: u64,
    kept: Kept,
    bulk: Option<Bulk>,
    /// The number of the last bulk.
    bulks: u32,
    /// Whether a peer has asked for one that has not begun.
    is_wanted: bool,
    /// The last wish that was read.
    wish: StreamId,
    written: Instant,
    looked: Instant,
    records: Vec<Record>,
    bytes: Vec<u8>,
}

impl Writer {
    /// Of what these workers tell. The stream takes so much memory at most.
    pub fn new(
        address: Address,
        keys: Keys,
        memory: u64,
        workers: Vec<Outgoing>,
        spoken: Arc<Spoken>,
        stop: Arc<Stop>,
    ) -> Self {
        Self {
            address,
            keys,
            memory,
            workers,
            spoken,
            stop,
            term: 0,
            sequence: 0,
            kept: Kept::default(),
            bulk: None,
            bulks: 0,
            is_wanted: false,
            wish: StreamId::default(),
            written: Instant::now(),
            looked: Instant::now(),
            records: Vec::with_capacity(RECORDS),
            bytes: Vec::new(),
        }
    }

    /// Writes until it is over and all is written.
    pub fn run(mut self) {
        // Said once for each time that it is gone.
        let mut is_said = false;
        loop {
            let Err(why) = self.write() else { return };
            if self.spoken.is_up.swap(false, Relaxed) || !is_said {
                warn!("ha: the box's own Redis: {why}; peers hear nothing; it is tried again each second");
                is_said = true;
            }
            if self.stop.within(RETRY) {
                return;
            }
        }
    }

    /// Writes as long as Redis takes it, or until it is over.
    fn write(&mut self) -> RedisResult<()> {
        let mut engine = Engine::connect(&self.address)?;
        self.begin_term(&mut engine)?;
        loop {
            // What comes behind this may stay where it is.
            let is_over = self.stop.is_over();
            let due = Instant::now() + TICK;
            self.write_what_is_told(&mut engine)?;
            self.go_on_with_bulk(&mut engine)?;
            if is_over {
                return Ok(());
            }
            let now = Instant::now();
            if now.duration_since(self.written) >= HEARTBEAT {
                self.append(&mut engine, EntryKind::Heartbeat)?;
            }
            if now.duration_since(self.looked) >= HEARTBEAT {
                self.looked = now;
                self.look_for_wishes(&mut engine)?;
            }
            self.stop.within(due.saturating_duration_since(Instant::now()));
        }
    }

    /// Begins a new stream. Its term is above all before: those that this daemon has written by, that of the stream that is there, and those
    /// of which nothing is left but that the clock was not as far then.
    fn begin_term(&mut self, engine: &mut Engine) -> RedisResult<()> {
        let now_s = u32::try_from(now_ns() / 1_000_000_000).unwrap_or(u32::MAX);
        let last = engine.last(&self.keys.told).ok().flatten().and_then(|(_, bytes)| bytes);
        let there =
            last.as_deref().and_then(|bytes| replica::decode(bytes).ok()).map(|(header, ..)| header.term);
        self.term = now_s.max(self.term.max(there.unwrap_or_default()).saturating_add(1));
        self.sequence = 0;
        self.kept = Kept::default();
        self.bulk = None;
        engine.remove(&self.keys.told)?;
        self.wish = engine.last(&self.keys.asked)?.map(|(id, _)| id).unwrap_or_default();
        self.append(engine, EntryKind::Heartbeat)?;
        self.spoken.term.store(self.term, Relaxed);
        self.spoken.is_up.store(true, Relaxed);
        info!("ha: the box's own Redis answers: term {}", self.term);
        Ok(())
    }

    fn write_what_is_told(&mut self, engine: &mut Engine) -> RedisResult<()> {
        loop {
            self.collect();
            if self.records.is_empty() {
                return Ok(());
            }
            let kind = if self.bulk.is_some() { EntryKind::Bulk } else { EntryKind::Inline };
            self.append(engine, kind)?;
            // A million records a second are as many as a reader installs: one that came after would find the begin of the bulk gone.
            if self.bulk.is_some() {
                return Ok(());
            }
        }
    }

    /// Takes what workers tell, as much as an entry has room for, of each the same share at most. Of each connection it stays in its order.
    fn collect(&mut self) {
        let share = RECORDS / self.workers.len().max(1);
        for worker in &mut self.workers {
            for _ in 0..share {
                match worker.receive() {
                    Some(Told::Record(record)) => self.records.push(record),
                    Some(Told::EndOfTable(number)) => {
                        if let Some(bulk) = self.bulk.as_mut().filter(|_| number == self.bulks) {
                            bulk.left -= 1;
                        }
                    }
                    None => break,
                }
            }
        }
    }

    /// Begins, goes on with or ends the telling of all connections. While one is under way, no other begins.
    fn go_on_with_bulk(&mut self, engine: &mut Engine) -> RedisResult<()> {
        if self.bulk.is_none() && self.is_wanted {
            self.is_wanted = false;
            self.append(engine, EntryKind::BulkBegin)?;
            self.bulks = self.bulks.wrapping_add(1);
            let workers = self.workers.len();
            self.bulk = Some(Bulk { unasked: (0..workers).collect(), left: workers });
        }
        let Some(bulk) = &mut self.bulk else { return Ok(()) };
        let (workers, number) = (&mut self.workers, self.bulks);
        bulk.unasked.retain(|worker| !workers[*worker].ask_for_table(number));
        if bulk.left == 0 {
            self.bulk = None;
            self.append(engine, EntryKind::BulkEnd)?;
            self.spoken.bulks.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn look_for_wishes(&mut self, engine: &mut Engine) -> RedisResult<()> {
        for (id, _) in engine.read(&self.keys.asked, self.wish, 64, None)? {
            self.wish = id;
            self.is_wanted = true;
        }
        Ok(())
    }

    /// Appends an entry with the records that were collected.
    fn append(&mut self, engine: &mut Engine, kind: EntryKind) -> RedisResult<()> {
        let header = Header { term: self.term, sequence: self.sequence, sent_ns: now_ns(), kind };
        self.bytes.clear();
        replica::encode(&header, &self.records, &mut self.bytes);
        let kept = self.kept.with(self.bytes.len(), self.memory);
        let count = self.records.len() as u64;
        self.records.clear();
        engine.append(&self.keys.told, kept, &self.bytes)?;
        self.sequence += 1;
        self.written = Instant::now();
        self.spoken.sequence.store(self.sequence, Relaxed);
        self.spoken.records.fetch_add(count, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_keeps_what_fits() {
        let mut kept = Kept::default();
        let one = 1000 - OVERHEAD_BYTES as usize;
        let counts: Vec<_> = (0..6).map(|_| kept.with(one, 4000)).collect();
        assert_eq!(counts, [1, 2, 3, 4, 4, 4]);
        assert_eq!(kept.with(3 * one, 4000), 2, "a large one takes the room of several");
        assert_eq!(kept.with(8000, 4000), 1, "the last one stays, whatever its size");
        let mut kept = Kept::default();
        let last = (0..MAX_ENTRIES + 10).map(|_| kept.with(0, u64::MAX)).last();
        assert_eq!(last, Some(MAX_ENTRIES));
    }
}
