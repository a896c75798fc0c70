//! The thread that writes what the workers tell into the box's own Redis, where peers read it: a stream for each group.
//!
//! Where Redis is gone, workers keep what they have to tell, and nobody waits for it. When it is back all begins anew, by a new term: peers
//! then ask to be told of everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use redis::RedisResult;
use sluice_conntrack::groups::GroupSet;
use sluice_conntrack::ids::GroupId;
use sluice_conntrack::replica::{EntryKind, MAX_RECORDS};
use sluice_engine::replica::{Ask, Outgoing, Told};
use tracing::warn;

use super::engine::{Address, Engine};
use super::shared::Stop;
use super::stream::Stream;

/// How often is looked for what workers tell.
const TICK: Duration = Duration::from_millis(1);

/// How often is looked for peers that ask for a bulk.
const WISHES: Duration = Duration::from_millis(100);

/// How long workers have to say that they have told all, before the peer takes over without.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How long a Redis that is gone is left alone.
const RETRY: Duration = Duration::from_secs(1);

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
    workers: Vec<Outgoing>,
    /// By the numbers of their groups.
    streams: Vec<Stream>,
    /// Whether Redis takes what is written.
    is_up: Arc<AtomicBool>,
    stop: Arc<Stop>,
    /// The group of which a bulk is being written, and its tables.
    bulk: Option<(GroupId, Asked)>,
    /// The groups that are to be handed over, and what is yet to be told before.
    rest: Option<(GroupSet, Asked)>,
    /// The number of what workers were asked for last.
    asked: u32,
    looked: Instant,
}

impl Writer {
    /// Of what these workers tell, into a stream for each group, in the order of their numbers.
    pub fn new(
        address: Address,
        workers: Vec<Outgoing>,
        streams: Vec<Stream>,
        is_up: Arc<AtomicBool>,
        stop: Arc<Stop>,
    ) -> Self {
        let looked = Instant::now();
        Self { address, workers, streams, is_up, stop, bulk: None, rest: None, asked: 0, looked }
    }

    /// Writes until it is over and all is written.
    pub fn run(mut self) {
        // Said once for each time that it is gone.
        let mut is_said = false;
        loop {
            let Err(why) = self.write() else { return };
            if self.is_up.swap(false, Relaxed) || !is_said {
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
        (self.bulk, self.rest) = (None, None);
        self.streams.iter_mut().try_for_each(|stream| stream.begin(&mut engine))?;
        self.is_up.store(true, Relaxed);
        loop {
            // What comes behind this may stay where it is.
            let is_over = self.stop.is_over();
            let due = Instant::now() + TICK;
            self.streams.iter_mut().try_for_each(|stream| stream.say_role(&mut engine))?;
            self.write_what_is_told(&mut engine)?;
            self.go_on_with_bulk(&mut engine)?;
            self.hand_over(&mut engine)?;
            if is_over {
                return Ok(());
            }
            let now = Instant::now();
            self.streams.iter_mut().try_for_each(|stream| stream.beat(&mut engine, now))?;
            if now.duration_since(self.looked) >= WISHES {
                self.looked = now;
                self.streams.iter_mut().try_for_each(|stream| stream.look_for_wishes(&mut engine))?;
            }
            self.stop.within(due.saturating_duration_since(Instant::now()));
        }
    }

    /// Where the box is to hand groups over, says so when the workers have told all, or have had their time.
    fn hand_over(&mut self, engine: &mut Engine) -> RedisResult<()> {
        let is_leaving = |stream: &&Stream| stream.member.fencing.lock().is_handing_over();
        let leaving = self.streams.iter().filter(is_leaving).map(|stream| GroupSet::of(stream.member.id));
        let leaving = leaving.fold(GroupSet::default(), GroupSet::with);
        if leaving.is_empty() {
            self.rest = None;
            return Ok(());
        }
        if self.rest.as_ref().is_none_or(|(groups, _)| *groups != leaving) {
            self.asked = self.asked.wrapping_add(1);
            self.rest = Some((leaving, Asked::new(Ask::Rest(self.asked), self.workers.len())));
        }
        let Some((_, rest)) = &mut self.rest else { return Ok(()) };
        if !rest.go_on(&mut self.workers) && rest.since.elapsed() < LAST_WORDS {
            return Ok(());
        }
        let mut leaving = self.streams.iter_mut().filter(|stream| leaving.contains(stream.member.id));
        leaving.try_for_each(|stream| stream.hand_over(engine))
    }

    fn write_what_is_told(&mut self, engine: &mut Engine) -> RedisResult<()> {
        loop {
            self.collect();
            let bulk = self.bulk.as_ref().map(|(group, _)| *group);
            let mut any = false;
            for stream in self.streams.iter_mut().filter(|stream| !stream.records.is_empty()) {
                any = true;
                let is_bulk = bulk == Some(stream.member.id);
                stream.append(engine, if is_bulk { EntryKind::Bulk } else { EntryKind::Inline })?;
            }
            // A million records a second are as many as a reader installs: one that came after would find the begin of the bulk gone.
            if !any || bulk.is_some() {
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
                    Some(Told::Record(GroupId(group), record)) => {
                        let stream = self.streams.get_mut(usize::from(group));
                        stream.into_iter().for_each(|stream| stream.records.push(record));
                    }
                    Some(Told::EndOfTable(number)) => come_to_end(&mut self.bulk, number),
                    Some(Told::EndOfRest(number)) => come_to_end(&mut self.rest, number),
                    None => break,
                }
            }
        }
    }

    /// Begins, goes on with or ends the telling of all connections of a group. While one is under way, no other begins. One that the box
    /// becomes standby in the midst of comes to no end: what is missing in it may be there.
    fn go_on_with_bulk(&mut self, engine: &mut Engine) -> RedisResult<()> {
        let tells_all = |stream: &Stream| stream.member.fencing.lock().tells_all();
        for stream in self.streams.iter_mut().filter(|stream| !tells_all(stream)) {
            stream.is_wanted = false;
            self.bulk.take_if(|(group, _)| *group == stream.member.id);
        }
        if self.bulk.is_none()
            && let Some(stream) = self.streams.iter_mut().find(|stream| stream.is_wanted)
        {
            stream.is_wanted = false;
            stream.append(engine, EntryKind::BulkBegin)?;
            self.asked = self.asked.wrapping_add(1);
            let group = stream.member.id;
            self.bulk = Some((group, Asked::new(Ask::Table(group, self.asked), self.workers.len())));
        }
        let Some((group, bulk)) = &mut self.bulk else { return Ok(()) };
        if bulk.go_on(&mut self.workers) {
            let stream = &mut self.streams[usize::from(group.0)];
            self.bulk = None;
            stream.append(engine, EntryKind::BulkEnd)?;
            stream.member.spoken.bulks.fetch_add(1, Relaxed);
        }
        Ok(())
    }
}

/// A worker has come to the end of what it was asked for by a number; what nobody waits for any more does not count.
fn come_to_end<T>(asked: &mut Option<(T, Asked)>, number: u32) {
    let is_of = |ask| matches!(ask, Ask::Table(_, of) | Ask::Rest(of) if of == number);
    if let Some((_, asked)) = asked.as_mut().filter(|(_, asked)| is_of(asked.ask)) {
        asked.left -= 1;
    }
}
