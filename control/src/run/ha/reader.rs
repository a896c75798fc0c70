//! The thread that follows what a peer tells, and has it installed.
//!
//! Where something is missing, be it that the peer has begun anew or that this box was away for too long, it asks the peer for a bulk: to tell
//! of all its connections once. What the bulk does not tell of is gone. While this box is active, only what the peer is counts of all that
//! it tells; a bulk follows when this box is on standby again.

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
use super::fence::Fencing;
use super::installer::{Installer, Over};
use super::keys::Keys;
use super::pace::Pace;
use super::shared::{Failure, Heard, Stop};

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
pub type Wake = Box<dyn Fn() + Send>;

/// Where a peer's streams are.
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its Redis.
    pub address: Address,
    /// Its streams there.
    pub keys: Keys,
}

/// One who follows a peer.
pub struct Reader {
    peer: Peer,
    installer: Installer,
    fencing: Arc<Fencing>,
    wake: Wake,
    heard: Arc<Heard>,
    stop: Arc<Stop>,
    /// The last entry that was read.
    last: Option<StreamId>,
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
    pace: Pace,
}

impl Reader {
    /// Of this peer.
    pub fn new(
        peer: Peer,
        installer: Installer,
        fencing: Arc<Fencing>,
        wake: Wake,
        heard: Arc<Heard>,
        stop: Arc<Stop>,
    ) -> Self {
        let (came, followed) = (Instant::now(), Instant::now());
        Self {
            peer,
            installer,
            fencing,
            wake,
            heard,
            stop,
            last: None,
            follower: Follower::default(),
            has_begun: false,
            follows: true,
            active: None,
            has_news: false,
            came,
            followed,
            bulk: Bulk::default(),
            pace: Pace::default(),
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
                    let was_up = self.heard.is_up.swap(false, Relaxed);
                    if was_up || !is_said {
                        warn!("ha: the Redis of {}: {why}; it is tried again each second", self.peer.name);
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
        if !self.heard.is_up.swap(true, Relaxed) {
            info!("ha: the Redis of {} answers", self.peer.name);
        }
        while !self.stop.is_over() {
            if self.is_to_be_told()
                && let Some(ask) = self.bulk.ask(Instant::now())
            {
                if ask.is_late {
                    warn!(
                        "ha: {} did not tell of all its connections in time; it is asked once more",
                        self.peer.name
                    );
                }
                engine.append(&self.peer.keys.asked, WISHES, WANT)?;
            }
            self.read(&mut engine)?;
            let has_nothing = self.fencing.lock().peer() == Some(Role::Standby);
            self.heard.is_synced.store(self.has_begun && (self.bulk.is_complete() || has_nothing), Relaxed);
        }
        Ok(())
    }

    /// Whether the peer has connections to tell of, and this box is one to hear of them. What was told while it was active is missing.
    fn is_to_be_told(&mut self) -> bool {
        let fence = self.fencing.lock();
        let followed = std::mem::replace(&mut self.follows, fence.follows());
        if self.follows && !followed {
            self.bulk.missed();
        }
        self.follows && fence.peer() != Some(Role::Standby)
    }

    /// Takes in what has come, or comes soon.
    fn read(&mut self, engine: &mut Engine) -> Result<(), Interrupted> {
        let last = self.last.unwrap_or_default();
        let entries = engine.read(&self.peer.keys.told, last, COUNT, Some(WAIT))?;
        let now = Instant::now();
        if entries.is_empty() {
            if now.duration_since(self.came) >= SILENCE {
                self.begin_anew(engine, last)?;
            }
            return Ok(());
        }
        self.came = now;
        let mut sent_ns = None;
        for (id, bytes) in entries {
            self.last = Some(id);
            match bytes.as_deref().map(replica::decode) {
                Some(Ok((header, records, []))) => {
                    self.take(&header, records, now)?;
                    sent_ns = Some(header.sent_ns);
                }
                _ => self.heard.count(Failure::Entry, 1),
            }
        }
        if self.installer.finish()? {
            self.bulk.doubted(now);
        }
        if let Some(sent_ns) = sent_ns {
            self.heard.note_sent(sent_ns);
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

    /// Does what a stream entry says.
    fn take(&mut self, header: &Header, records: Records<'_>, now: Instant) -> Result<(), Over> {
        let mut followed = self.follower.follow(header);
        if followed == Followed::Old && now.duration_since(self.followed) >= STALE {
            self.follower = Follower::default();
            followed = self.follower.follow(header);
        }
        match followed {
            Followed::Old => return Ok(()),
            Followed::Gap => {
                self.heard.gaps.fetch_add(u64::from(self.has_begun), Relaxed);
                self.bulk.missed();
            }
            Followed::Next => {}
        }
        (self.has_begun, self.followed) = (true, now);
        self.heard.term.store(header.term, Relaxed);
        self.heard.sequence.store(header.sequence, Relaxed);
        if header.kind == EntryKind::Handover {
            // Who takes over has all that was told.
            self.installer.finish()?;
        }
        let mut fence = self.fencing.lock();
        self.has_news |= fence.hear(header, now);
        let counts = fence.follows();
        drop(fence);
        if header.role == Some(Role::Active) && self.active.replace(header.term) != Some(header.term) {
            self.bulk.missed();
        }
        if !counts {
            return Ok(());
        }
        if header.kind == EntryKind::BulkBegin {
            self.installer.begin_bulk()?;
            self.bulk.begun(now);
        }
        let wait = self.pace.take(records.len() as u32, Instant::now());
        if !wait.is_zero() && self.stop.within(wait) {
            return Err(Over);
        }
        for record in records {
            match record {
                Ok(record) => self.installer.install(record)?,
                Err(_) => self.heard.count(Failure::Record, 1),
            }
        }
        if header.kind == EntryKind::BulkEnd && self.bulk.ended(now) {
            self.installer.end_bulk()?;
            self.heard.bulks.fetch_add(1, Relaxed);
            info!("ha: all connections of {} are known", self.peer.name);
        }
        Ok(())
    }
}
