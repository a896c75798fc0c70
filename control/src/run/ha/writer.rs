//! The thread that writes what the workers tell into the box's own Redis, where peers read it.
//!
//! Where Redis is gone, workers keep what they have to tell, and nobody waits for it. When it is back all begins anew, by a new term: peers
//! then ask to be told of everything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use redis::RedisResult;
use sluice_conntrack::groups::Role;
use sluice_conntrack::replica::{self, EntryKind, Header, MAX_RECORDS, Record};
use sluice_engine::replica::{Ask, Outgoing, Told};
use tracing::{info, warn};

use super::engine::{Address, Engine, StreamId};
use super::fence::Fencing;
use super::keys::Keys;
use super::shared::{Spoken, Stop, now_ns};

/// How often is looked for what workers tell.
const TICK: Duration = Duration::from_millis(1);

/// How often peers hear that the writer lives, and what it is, at least.
const HEARTBEAT: Duration = Duration::from_millis(10);

/// How often is looked for peers that ask for a bulk.
const WISHES: Duration = Duration::from_millis(100);

/// How long workers have to say that they have told all, before the peer takes over without.
const LAST_WORDS: Duration = Duration::from_millis(100);

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

/// What all workers are asked for.
#[derive(Debug)]
struct Asked {
    ask: Ask,
    since: Instant,
    /// The workers that have not heard of it yet.
    unasked: Vec<usize>,
    /// The workers that have not come to the end.
    left: usize,
}

impl Asked {
    fn new(ask: Ask, workers: usize) -> Self {
        Self { ask, since: Instant::now(), unasked: (0..workers).collect(), left: workers }
    }

    /// Asks those that were not asked yet. True when all have come to the end.
    fn go_on(&mut self, workers: &mut [Outgoing]) -> bool {
        self.unasked.retain(|worker| !workers[*worker].ask(self.ask));
        self.left == 0
    }
}

/// One who writes.
pub struct Writer {
    address: Address,
    keys: Keys,
    memory: u64,
    workers: Vec<Outgoing>,
    fencing: Arc<Fencing>,
    spoken: Arc<Spoken>,
    stop: Arc<Stop>,
    /// What its peers have heard of the box: its term, and what it is.
    said: (u32, Option<Role>),
    sequence: u64,
    kept: Kept,
    /// The tables of a bulk that is being written.
    bulk: Option<Asked>,
    /// What is yet to be told before the peer takes over.
    rest: Option<Asked>,
    /// The number of what workers were asked for last.
    asked: u32,
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
        fencing: Arc<Fencing>,
        spoken: Arc<Spoken>,
        stop: Arc<Stop>,
    ) -> Self {
        Self {
            address,
            keys,
            memory,
            workers,
            fencing,
            spoken,
            stop,
            said: (0, None),
            sequence: 0,
            kept: Kept::default(),
            bulk: None,
            rest: None,
            asked: 0,
            is_wanted: false,
            wish: StreamId::default(),
            written: Instant::now(),
            looked: Instant::now(),
            records: Vec::with_capacity(MAX_RECORDS),
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
        self.begin_stream(&mut engine)?;
        loop {
            // What comes behind this may stay where it is.
            let is_over = self.stop.is_over();
            let due = Instant::now() + TICK;
            self.say_role(&mut engine)?;
            self.write_what_is_told(&mut engine)?;
            self.go_on_with_bulk(&mut engine)?;
            self.hand_over(&mut engine)?;
            if is_over {
                return Ok(());
            }
            let now = Instant::now();
            if now.duration_since(self.written) >= HEARTBEAT {
                self.append(&mut engine, EntryKind::Heartbeat)?;
            }
            if now.duration_since(self.looked) >= WISHES {
                self.looked = now;
                self.look_for_wishes(&mut engine)?;
            }
            self.stop.within(due.saturating_duration_since(Instant::now()));
        }
    }

    /// Begins a new stream. Its term is above all before: those that this daemon has written by, that of the stream that is there, and those
    /// of which nothing is left but that the clock was not as far then.
    fn begin_stream(&mut self, engine: &mut Engine) -> RedisResult<()> {
        let now_s = u32::try_from(now_ns() / 1_000_000_000).unwrap_or(u32::MAX);
        let last = engine.last(&self.keys.told).ok().flatten().and_then(|(_, bytes)| bytes);
        let there =
            last.as_deref().and_then(|bytes| replica::decode(bytes).ok()).map(|(header, ..)| header.term);
        let above = there.map_or(0, |term| term.saturating_add(1));
        let mut fence = self.fencing.lock();
        fence.begin_stream(now_s.max(above));
        self.said = fence.said();
        drop(fence);
        self.sequence = 0;
        self.kept = Kept::default();
        (self.bulk, self.rest) = (None, None);
        engine.remove(&self.keys.told)?;
        self.wish = engine.last(&self.keys.asked)?.map(|(id, _)| id).unwrap_or_default();
        self.append(engine, EntryKind::Heartbeat)?;
        self.spoken.is_up.store(true, Relaxed);
        info!("ha: the box's own Redis answers: term {}", self.said.0);
        Ok(())
    }

    /// Says what the box has become, where it is something else than was said. Who hands over says so when it has told all.
    fn say_role(&mut self, engine: &mut Engine) -> RedisResult<()> {
        let said = self.fencing.lock().said();
        if said == self.said {
            return Ok(());
        }
        self.said = said;
        self.append(engine, EntryKind::Role)
    }

    /// Where the box is to hand over, says so when the workers have told all, or have had their time.
    fn hand_over(&mut self, engine: &mut Engine) -> RedisResult<()> {
        if !self.fencing.lock().is_handing_over() {
            self.rest = None;
            return Ok(());
        }
        let rest = self.rest.get_or_insert_with(|| {
            self.asked = self.asked.wrapping_add(1);
            Asked::new(Ask::Rest(self.asked), self.workers.len())
        });
        if !rest.go_on(&mut self.workers) && rest.since.elapsed() < LAST_WORDS {
            return Ok(());
        }
        self.said.1 = Some(Role::Standby);
        self.append(engine, EntryKind::Handover)?;
        self.fencing.lock().handed_over();
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
        let share = MAX_RECORDS / self.workers.len().max(1);
        for worker in &mut self.workers {
            for _ in 0..share {
                match worker.receive() {
                    Some(Told::Record(record)) => self.records.push(record),
                    Some(Told::EndOfTable(number)) => come_to_end(&mut self.bulk, Ask::Table(number)),
                    Some(Told::EndOfRest(number)) => come_to_end(&mut self.rest, Ask::Rest(number)),
                    None => break,
                }
            }
        }
    }

    /// Begins, goes on with or ends the telling of all connections. While one is under way, no other begins. One that the box becomes
    /// standby in the midst of comes to no end: what is missing in it may be there.
    fn go_on_with_bulk(&mut self, engine: &mut Engine) -> RedisResult<()> {
        if !self.fencing.lock().tells_all() {
            (self.bulk, self.is_wanted) = (None, false);
            return Ok(());
        }
        if self.bulk.is_none() && self.is_wanted {
            self.is_wanted = false;
            self.append(engine, EntryKind::BulkBegin)?;
            self.asked = self.asked.wrapping_add(1);
            self.bulk = Some(Asked::new(Ask::Table(self.asked), self.workers.len()));
        }
        let Some(bulk) = &mut self.bulk else { return Ok(()) };
        if bulk.go_on(&mut self.workers) {
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
        let (term, role) = self.said;
        let header = Header { term, sequence: self.sequence, sent_ns: now_ns(), kind, role };
        self.bytes.clear();
        replica::encode(&header, &self.records, &mut self.bytes);
        let kept = self.kept.with(self.bytes.len(), self.memory);
        let count = self.records.len() as u64;
        self.records.clear();
        engine.append(&self.keys.told, kept, &self.bytes)?;
        self.sequence += 1;
        self.written = Instant::now();
        self.spoken.term.store(term, Relaxed);
        self.spoken.sequence.store(self.sequence, Relaxed);
        self.spoken.records.fetch_add(count, Relaxed);
        Ok(())
    }
}

/// A worker has come to the end of something; what nobody waits for any more does not count.
fn come_to_end(asked: &mut Option<Asked>, ask: Ask) {
    if let Some(asked) = asked.as_mut().filter(|asked| asked.ask == ask) {
        asked.left -= 1;
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
