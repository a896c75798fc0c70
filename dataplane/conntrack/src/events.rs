//! What becomes of connections, as it happens: conntrack(8)'s `-E`.
//!
//! Whoever listens gives the shard the sending end of a bounded ring, which [`crate::lifecycle`] fills where connections begin,
//! change and end, without a lock or an allocation. What the ring has no room for is lost, and counted. Where nobody listens,
//! those places look at one pointer, and packets that change nothing look at nothing. A listener says which events it wants
//! ([`Interest`]): of the others nothing is copied.

pub use crate::listing::EventKind;

use crate::ids::EntryId;
use crate::listing::{EntrySnapshot, ExpectationSnapshot};
use crate::time::Instant;
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has expired.
    Expired,
    /// Evicted for a new one.
    Evicted,
    /// Deleted: the box has lost its address, or the operator says so.
    Deleted,
    /// A packet says so: a reset, the answer to a query, an error, a connection opened in its place.
    Closed,
    /// Its first packet does not leave: another shard has refused its reply tuple, or its helper what the packet says.
    Refused,
}

/// An event, and the connection right after it; of one that has ended, right before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// What.
    pub kind: EventKind,
    /// Why, if the connection has ended.
    pub end: Option<End>,
    /// The entry's name.
    pub id: EntryId,
    /// The entry.
    pub entry: EntrySnapshot,
}

/// Which events a listener wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Those between begin and end, too.
    pub updates: bool,
    /// Those of connections without translated addresses, too.
    pub untranslated: bool,
}

impl Interest {
    /// All.
    pub const ALL: Self = Self { updates: true, untranslated: true };
}

/// What has become of an expectation, which begins and ends: conntrack(8)'s `-E expect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectationEvent {
    /// When.
    pub at: Instant,
    /// What.
    pub kind: EventKind,
    /// The expectation, as it is then.
    pub expectation: ExpectationSnapshot,
}

/// The end of the ring that a shard tells that by.
pub type ExpectationSender = Sender<ExpectationEvent>;

/// The end of the ring that a shard tells events by.
pub type EventSender = Sender<Event>;

/// The listener's end.
pub type EventReceiver = Receiver<Event>;

/// The end of a bounded ring that whoever tells something has.
#[derive(Debug)]
pub struct Sender<T> {
    ring: Producer<T>,
    shared: Arc<Shared>,
}

/// The listener's end.
#[derive(Debug)]
pub struct Receiver<T> {
    ring: Consumer<T>,
    shared: Arc<Shared>,
}

/// What both ends of a ring know.
#[derive(Debug)]
struct Shared {
    lost: AtomicU64,
    /// Of events, which the listener wants.
    updates: AtomicBool,
    untranslated: AtomicBool,
}

/// A ring with room for so many, whose listener wants all.
pub fn ring<T>(room: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = RingBuffer::new(room);
    let [updates, untranslated] = [true; 2].map(AtomicBool::new);
    let shared = Arc::new(Shared { lost: AtomicU64::new(0), updates, untranslated });
    (Sender { ring: sender, shared: Arc::clone(&shared) }, Receiver { ring: receiver, shared })
}

impl<T> Sender<T> {
    /// Tells something, or counts it as lost.
    pub fn send(&mut self, it: T) {
        if self.ring.push(it).is_err() {
            self.lose(1);
        }
    }

    /// Counts what was lost before it came here.
    pub fn lose(&self, count: u64) {
        self.shared.lost.fetch_add(count, Ordering::Relaxed);
    }
}

impl<T> Receiver<T> {
    /// The next one, if there is one already.
    pub fn receive(&mut self) -> Option<T> {
        self.ring.pop().ok()
    }

    /// How many were lost since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.shared.lost.swap(0, Ordering::Relaxed)
    }
}

impl Sender<Event> {
    /// Whether the listener wants to hear of this.
    pub fn is_wanted(&self, kind: EventKind, is_translated: bool) -> bool {
        (kind != EventKind::Update || self.shared.updates.load(Ordering::Relaxed))
            && (is_translated || self.shared.untranslated.load(Ordering::Relaxed))
    }
}

impl Receiver<Event> {
    /// Wants these from now on.
    pub fn want(&self, interest: Interest) {
        self.shared.updates.store(interest.updates, Ordering::Relaxed);
        self.shared.untranslated.store(interest.untranslated, Ordering::Relaxed);
    }
}
