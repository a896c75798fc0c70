//! What becomes of connections, as it happens: conntrack(8)'s `-E`.
//!
//! Whoever listens gives the shard the sending end of a bounded ring, which [`crate::lifecycle`] fills where connections begin,
//! change and end, without a lock or an allocation. What the ring has no room for is lost, and counted. Where nobody listens,
//! those places look at one pointer, and packets that change nothing look at nothing.

pub use crate::listing::EventKind;

use crate::ids::EntryId;
use crate::listing::EntrySnapshot;
use crate::time::Instant;
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An event, and the connection right after it; of one that has ended, right before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// What.
    pub kind: EventKind,
    /// The entry's name.
    pub id: EntryId,
    /// The entry.
    pub entry: EntrySnapshot,
}

/// The end of the ring that a shard has.
#[derive(Debug)]
pub struct EventSender {
    ring: Producer<Event>,
    lost: Arc<AtomicU64>,
}

/// The listener's end.
#[derive(Debug)]
pub struct EventReceiver {
    ring: Consumer<Event>,
    lost: Arc<AtomicU64>,
}

/// A ring with room for so many events.
pub fn events(room: usize) -> (EventSender, EventReceiver) {
    let (sender, receiver) = RingBuffer::new(room);
    let lost = Arc::new(AtomicU64::new(0));
    (EventSender { ring: sender, lost: Arc::clone(&lost) }, EventReceiver { ring: receiver, lost })
}

impl EventSender {
    /// Tells an event, or counts it as lost.
    pub fn send(&mut self, event: Event) {
        if self.ring.push(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl EventReceiver {
    /// The next event, if there is one already.
    pub fn receive(&mut self) -> Option<Event> {
        self.ring.pop().ok()
    }

    /// How many events were lost since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}
