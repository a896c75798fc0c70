//! The thread that follows what a peer tells of a group, and has it installed.
//!
//! Where something is missing, be it that the peer has begun anew or that this box was away for too long, it asks the peer for a bulk: to tell
//! of all its connections once. What the bulk does not tell of is gone. While this box is active, only what the peer is counts of all that
//! it tells; a bulk follows when this box is on standby again. Where it reads that the peer was active by a higher term than its own, it steps
//! back before it reads what the peer has told by that.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use redis::RedisError;
use sluice_conntrack::groups::Role;
use sluice_conntrack::replica::{self, EntryKind, Followed, Follower, Header, Records};
use thiserror::Error;
use tracing::{info, warn};

use super::bulk::Bulk;
use super::engine::{Address, Engine, StreamId};
use super::installer::{Installer, Over, Workers};
use super::keys::Keys;
use super::member::Member;
use super::shared::{Failure, Stop};

/// Entries that are read at a time, at most.
const COUNT: usize = 256;

/// How long is waited for one.
const WAIT: Duration = Duration::from_millis(500);

/// How long a Redis that is gone is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// A stream in which nothing has come for so long, though its writer says ten times a second that it lives, may have begun anew.
const SILENCE: Duration = Duration::from_secs(1);

/// A term that nobody writes by for so long, while somebody writes by a lower one, was nobody's.
const STALE: Duration = Duration::from_secs(3);

/// How often is looked whether this box has stepped back that is to.
const STEP_BACK: Duration = Duration::from_millis(1);

/// Wishes that a peer's Redis keeps, at most.
const WISHES: usize = 16;

/// What a wish says.
const WANT: &[u8] = b"want";

/// Why a reader does not go on.
#[derive(Debug, Error)]
enum Interrupted {
    /// Redis is gone.
    #[error("{0}")]
    Engine(#[from] RedisError),
    /// So are the workers.
    #[error("{0}")]
    Over(#[from] Over),
}

/// How the control thread hears that a peer is something else than before.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Where the streams of a peer's group are.
pub struct Peer {
    /// The peer's name.
    pub name: String,
    /// Its Redis.
    pub address: Address,
    /// The streams there.
    pub keys: Keys,
}

/// One who follows what a peer tells of a group.
pub struct Reader {
    peer: Peer,
    member: Arc<Member>,
    workers: Workers,
    wake: Wake,
    stop: Arc<Stop>,
    /// The last entry that was read.
    last: Option<StreamId>,
    /// Whether as many came then as are read at a time.
    has_more: bool,
    follower: Follower,
    /// Whether anything was followed yet: what was before the first entry is no gap.
    has_begun: bool,
    /// Whether what the peer tells of counted when it was looked at last.
    follows: bool,
    /// By which term the peer was active last.
    active: Option<u32>,
    /// Whether the control thread is yet to hear what the peer has become.
    has_news: bool,
    /// When an entry came, and when one that was followed did.
    came: Instant,
    followed: Instant,
    bulk: Bulk,
    /// How many connections the workers had ended because they could not be kept, when that was looked at last.
    refused: u64,
}

impl Reader {
    /// Of this peer and group.
    pub fn new(peer: Peer, member: Arc<Member>, workers: Workers, wake: Wake, stop: Arc<Stop>) -> Self {
        let (came, followed) = (Instant::now(), Instant::now());
        Self {
            peer,
            member,
            workers,
            wake,
            stop,
            last: None,
            has_more: false,
            follower: Follower::default(),
            has_begun: false,
            follows: true,
            active: None,
            has_news: false,
            came,
            followed,
            bulk: Bulk::default(),
            refused: 0,
        }
    }

    /// Follows until it is over.
    pub fn run(mut self) {
        // Said once for each time that it is gone.
        let mut is_said = false;
        while !self.stop.is_over() {
            let was_up = match self.follow() {
                Ok(()) | Err(Interrupted::Over(_)) => return,
                Err(Interrupted::Engine(why)) => {
                    self.has_more = false;
                    self.member.fencing.lock().end_reading(Instant::now());
                    let was_up = self.member.heard.is_up.swap(false, Relaxed);
                    if was_up || !is_said {
                        let (name, group) = (&self.peer.name, &self.member.name);
                        warn!("ha: {group}: the Redis of {name}: {why}; it is tried again each second");
                        is_said = true;
                    }
                    was_up
                }
            };
            if was_up {
                self.bulk.ask_again();
            }
            if self.stop.within(RETRY) {
                return;
            }
        }
    }

    /// Follows as long as the peer's Redis answers, or until it is over.
    fn follow(&mut self) -> Result<(), Interrupted> {
        let mut engine = Engine::connect(&self.peer.address)?;
        let last = match self.last {
            Some(last) => last,
            None => engine.last(&self.peer.keys.told)?.map(|(id, _)| id).unwrap_or_default(),
        };
        self.last = Some(last);
        if !self.member.heard.is_up.swap(true, Relaxed) {
            info!("ha: {}: the Redis of {} answers", self.member.name, self.peer.name);
        }
        while !self.stop.is_over() {
            if self.is_to_be_told()
                && let Some(ask) = self.bulk.ask(Instant::now())
            {
                if ask.is_late {
                    let (name, group) = (&self.peer.name, &self.member.name);
                    warn!(
                        "ha: {group}: {name} did not tell of all connections in time; it is asked once more"
                    );
                }
                engine.append(&self.peer.keys.asked, WISHES, WANT)?;
            }
            self.read(&mut engine)?;
            let has_nothing = self.member.fencing.lock().peer() == Some(Role::Standby);
            self.member
                .heard
                .is_synced
                .store(self.has_begun && (self.bulk.is_complete() || has_nothing), Relaxed);
        }
        Ok(())
    }

    /// Whether the peer has connections to tell of, and this box is one to hear of them. What was told while it was active is missing.
    fn is_to_be_told(&mut self) -> bool {
        let fence = self.member.fencing.lock();
        let followed = std::mem::replace(&mut self.follows, fence.follows());
        if self.follows && !followed {
            self.bulk.missed();
        }
        self.follows && fence.peer() != Some(Role::Standby)
    }

    /// Takes in what has come, or comes soon.
    fn read(&mut self, engine: &mut Engine) -> Result<(), Interrupted> {
        let last = self.last.unwrap_or_default();
        let wait = (!self.has_more).then_some(WAIT);
        let entries = engine.read(&self.peer.keys.told, last, COUNT, wait)?;
        let now = Instant::now();
        self.has_more = entries.len() == COUNT;
        if entries.is_empty() {
            self.member.fencing.lock().end_reading(now);
            if now.duration_since(self.came) >= SILENCE {
                self.begin_anew(engine, last)?;
            }
            return Ok(());
        }
        self.came = now;
        self.member.fencing.lock().begin_reading();
        let mut sent_ns = None;
        let (member, workers) = (Arc::clone(&self.member), self.workers.clone());
        let mut installer = workers.of(&member);
        for (id, bytes) in entries {
            self.last = Some(id);
            match bytes.as_deref().map(replica::decode) {
                Some(Ok((header, records, []))) => {
                    self.take(&header, records, now, &mut installer)?;
                    sent_ns = Some(header.sent_ns);
                }
                _ => self.member.heard.count(Failure::Entry, 1),
            }
        }
        let refused = installer.finish()?;
        if std::mem::replace(&mut self.refused, refused) < refused {
            self.bulk.doubted(now);
        }
        drop(installer);
        if !self.has_more {
            self.member.fencing.lock().end_reading(Instant::now());
        }
        if let Some(sent_ns) = sent_ns {
            self.member.heard.note_sent(sent_ns);
        }
        if std::mem::take(&mut self.has_news) {
            (self.wake)();
        }
        Ok(())
    }

    /// Where a stream's last entry is older than the last that was read, it is another stream.
    fn begin_anew(&mut self, engine: &mut Engine, last: StreamId) -> Result<(), RedisError> {
        let now_last = engine.last(&self.peer.keys.told)?.map(|(id, _)| id).unwrap_or_default();
        if now_last < last {
            self.last = Some(StreamId::default());
            self.follower = Follower::default();
        }
        Ok(())
    }

    /// Reads no further before this box has stepped back, of which the control thread hears at once: from here on the peer knows more, and
    /// what it tells, be it of long ago behind a cut link, and even if it hands over at the end of that, is what this box goes on with.
    fn wait_to_step_back(&self) {
        (self.wake)();
        while self.member.fencing.lock().is_stepping_back() && !self.stop.within(STEP_BACK) {}
    }

    /// Does what a stream entry says.
    fn take(
        &mut self,
        header: &Header,
        records: Records<'_>,
        now: Instant,
        installer: &mut Installer<'_>,
    ) -> Result<(), Over> {
        let mut followed = self.follower.follow(header);
        if followed == Followed::Old && now.duration_since(self.followed) >= STALE {
            self.follower = Follower::default();
            followed = self.follower.follow(header);
        }
        match followed {
            Followed::Old => return Ok(()),
            Followed::Gap => {
                self.member.heard.gaps.fetch_add(u64::from(self.has_begun), Relaxed);
                self.bulk.missed();
            }
            Followed::Next => {}
        }
        (self.has_begun, self.followed) = (true, now);
        self.member.heard.term.store(header.term, Relaxed);
        self.member.heard.sequence.store(header.sequence, Relaxed);
        if header.kind == EntryKind::Handover {
            // Who takes over has all that was told.
            installer.finish()?;
        }
        let mut fence = self.member.fencing.lock();
        self.has_news |= fence.hear(header, now);
        let is_deposed = fence.is_deposed();
        drop(fence);
        if is_deposed {
            self.wait_to_step_back();
        }
        let counts = self.member.fencing.lock().follows();
        if header.role == Some(Role::Active) && self.active.replace(header.term) != Some(header.term) {
            self.bulk.missed();
        }
        if !counts {
            return Ok(());
        }
        if header.kind == EntryKind::BulkBegin {
            installer.begin_bulk()?;
            self.bulk.begun(now);
        }
        installer.pace(records.len())?;
        for record in records {
            match record {
                Ok(record) => installer.install(record)?,
                Err(_) => self.member.heard.count(Failure::Record, 1),
            }
        }
        if header.kind == EntryKind::BulkEnd && self.bulk.ended(now) {
            installer.end_bulk()?;
            self.member.heard.bulks.fetch_add(1, Relaxed);
            info!("ha: {}: all connections of {} are known", self.member.name, self.peer.name);
        }
        Ok(())
    }
}
