//! The stream in which a box tells of the connections of a group: what is written in it, by which term, and how much of it is kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use redis::RedisResult;
use sluice_conntrack::groups::Role;
use sluice_conntrack::replica::{self, EntryKind, Header, Record};
use tracing::info;

use super::engine::{Engine, StreamId};
use super::keys::Keys;
use super::member::Member;
use super::shared::now_ns;

/// How often peers hear that the writer lives, and what it is, at least.
const HEARTBEAT: Duration = Duration::from_millis(10);

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

/// The stream of a group.
#[derive(Debug)]
pub struct Stream {
    /// The group.
    pub member: Arc<Member>,
    keys: Keys,
    memory: u64,
    /// What the other box has heard: the term, and what this one is.
    said: (u32, Option<Role>),
    sequence: u64,
    kept: Kept,
    /// Whether the other box has asked for a bulk that has not begun.
    pub is_wanted: bool,
    /// The last wish that was read.
    wish: StreamId,
    written: Instant,
    /// What is to be told next.
    pub records: Vec<Record>,
    bytes: Vec<u8>,
}

impl Stream {
    /// Of a group, by these names. It takes so much memory at most.
    pub fn new(member: Arc<Member>, keys: Keys, memory: u64) -> Self {
        Self {
            member,
            keys,
            memory,
            said: (0, None),
            sequence: 0,
            kept: Kept::default(),
            is_wanted: false,
            wish: StreamId::default(),
            written: Instant::now(),
            records: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Begins anew. Its term is above all before: those that this daemon has written by, that of the stream that is there, and those of
    /// which nothing is left but that the clock was not as far then.
    ///
    /// # Errors
    /// Redis is gone, or refuses.
    pub fn begin(&mut self, engine: &mut Engine) -> RedisResult<()> {
        let now_s = u32::try_from(now_ns() / 1_000_000_000).unwrap_or(u32::MAX);
        let last = engine.last(&self.keys.told).ok().flatten().and_then(|(_, bytes)| bytes);
        let there =
            last.as_deref().and_then(|bytes| replica::decode(bytes).ok()).map(|(header, ..)| header.term);
        let above = there.map_or(0, |term| term.saturating_add(1));
        let mut fence = self.member.fencing.lock();
        fence.begin_stream(now_s.max(above));
        self.said = fence.said();
        drop(fence);
        self.sequence = 0;
        self.kept = Kept::default();
        engine.remove(&self.keys.told)?;
        self.wish = engine.last(&self.keys.asked)?.map(|(id, _)| id).unwrap_or_default();
        self.append(engine, EntryKind::Heartbeat)?;
        info!("ha: {}: the box's own Redis answers: term {}", self.member.name, self.said.0);
        Ok(())
    }

    /// Says what the box has become, where it is something else than was said. Who hands over says so when it has told all.
    ///
    /// # Errors
    /// Redis is gone, or refuses.
    pub fn say_role(&mut self, engine: &mut Engine) -> RedisResult<()> {
        let said = self.member.fencing.lock().said();
        if said == self.said {
            return Ok(());
        }
        self.said = said;
        self.append(engine, EntryKind::Role)
    }

    /// Says that all is told and the other box may be active.
    ///
    /// # Errors
    /// Redis is gone, or refuses.
    pub fn hand_over(&mut self, engine: &mut Engine) -> RedisResult<()> {
        self.said.1 = Some(Role::Standby);
        self.append(engine, EntryKind::Handover)?;
        self.member.fencing.lock().handed_over();
        Ok(())
    }

    /// Says that the box lives, where nothing has said so for a while.
    ///
    /// # Errors
    /// Redis is gone, or refuses.
    pub fn beat(&mut self, engine: &mut Engine, now: Instant) -> RedisResult<()> {
        if now.duration_since(self.written) < HEARTBEAT {
            return Ok(());
        }
        self.append(engine, EntryKind::Heartbeat)
    }

    /// Looks whether the other box has asked for a bulk.
    ///
    /// # Errors
    /// Redis is gone, or refuses.
    pub fn look_for_wishes(&mut self, engine: &mut Engine) -> RedisResult<()> {
        for (id, _) in engine.read(&self.keys.asked, self.wish, 64, None)? {
            self.wish = id;
            self.is_wanted = true;
        }
        Ok(())
    }

    /// Appends an entry with the records that are to be told.
    ///
    /// # Errors
    /// Redis is gone, or refuses.
    pub fn append(&mut self, engine: &mut Engine, kind: EntryKind) -> RedisResult<()> {
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
        let spoken = &self.member.spoken;
        spoken.term.store(term, Relaxed);
        spoken.sequence.store(self.sequence, Relaxed);
        spoken.records.fetch_add(count, Relaxed);
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
