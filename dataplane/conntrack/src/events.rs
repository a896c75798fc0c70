//! What becomes of connections, as it happens: conntrack(8)'s `-E`.
//!
//! Whoever listens gives the shard the sending end of a bounded ring, which [`crate::lifecycle`] fills where connections begin,
//! change and end, without a lock or an allocation. What the ring has no room for is lost, and counted. Where nobody listens,
//! those places look at one pointer, and packets that change nothing look at nothing. A listener says which events it wants
//! ([`Interest`]): of the others nothing is copied.

pub use crate::listing::EventKind;

use crate::ids::EntryId;
use crate::listing::EntrySnapshot;
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

/// What both ends of a ring know.
#[derive(Debug)]
struct Shared {
    lost: AtomicU64,
    updates: AtomicBool,
    untranslated: AtomicBool,
}

/// The end of the ring that a shard has.
#[derive(Debug)]
pub struct EventSender {
    ring: Producer<Event>,
    shared: Arc<Shared>,
}

/// The listener's end.
#[derive(Debug)]
pub struct EventReceiver {
    ring: Consumer<Event>,
    shared: Arc<Shared>,
}

/// A ring with room for so many events, of all that happen.
pub fn events(room: usize) -> (EventSender, EventReceiver) {
    let (sender, receiver) = RingBuffer::new(room);
    let [updates, untranslated] = [true; 2].map(AtomicBool::new);
    let shared = Arc::new(Shared { lost: AtomicU64::new(0), updates, untranslated });
    (EventSender { ring: sender, shared: Arc::clone(&shared) }, EventReceiver { ring: receiver, shared })
}

impl EventSender {
    /// Whether the listener wants to hear of this.
    pub fn is_wanted(&self, kind: EventKind, is_translated: bool) -> bool {
        (kind != EventKind::Update || self.shared.updates.load(Ordering::Relaxed))
            && (is_translated || self.shared.untranslated.load(Ordering::Relaxed))
    }

    /// Tells an event, or counts it as lost.
    pub fn send(&mut self, event: Event) {
        if self.ring.push(event).is_err() {
            self.lose(1);
        }
    }

    /// Counts events that were lost before they came here.
    pub fn lose(&self, count: u64) {
        self.shared.lost.fetch_add(count, Ordering::Relaxed);
    }
}

impl EventReceiver {
    /// Wants these from now on.
    pub fn want(&self, interest: Interest) {
        self.shared.updates.store(interest.updates, Ordering::Relaxed);
        self.shared.untranslated.store(interest.untranslated, Ordering::Relaxed);
    }

    /// The next event, if there is one already.
    pub fn receive(&mut self) -> Option<Event> {
        self.ring.pop().ok()
    }

    /// How many events were lost since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.shared.lost.swap(0, Ordering::Relaxed)
    }
}
