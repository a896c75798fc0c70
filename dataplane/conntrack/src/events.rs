//! What becomes of connections, as it happens: conntrack(8)'s `-E`.
//!
//! Whoever listens gives the shard the sending end of a bounded ring, which [`crate::lifecycle`] fills where connections begin,
//! change and end, without a lock or an allocation. What the ring has no room for is lost, and counted. Where nobody listens,
//! those places look at one pointer, and packets that change nothing look at nothing.

use crate::ids::EntryId;
use crate::listing::EntrySnapshot;
use crate::shard::Shard;
use crate::time::Instant;
use rtrb::{Consumer, Producer, RingBuffer};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What has happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is in the table.
    New,
    /// Its state, mark or timeout, or whether it is answered or assured, has changed by more than a packet's coming.
    Update,
    /// It is over.
    Destroy,
}

/// An event, and the connection right after it; of one that is over, right before.
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

impl EventReceiver {
    /// The next event.
    pub fn next(&mut self) -> Option<Event> {
        self.ring.pop().ok()
    }

    /// How many events were lost since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl Shard {
    /// Tells events to another listener from now on, or to nobody. Gives the one before.
    pub const fn listen(&mut self, listener: Option<Box<EventSender>>) -> Option<Box<EventSender>> {
        mem::replace(&mut self.listener, listener)
    }

    /// Tells whoever listens what happens to an entry.
    #[inline(always)]
    pub(crate) fn tell(&mut self, kind: EventKind, index: u32) {
        if self.listener.is_some() {
            self.tell_listener(kind, index);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_listener(&mut self, kind: EventKind, index: u32) {
        let (id, entry) = (self.table.entries.id(index), self.snapshot(index));
        let event = Event { at: self.now, kind, id, entry };
        if let Some(EventSender { ring, lost }) = self.listener.as_deref_mut()
            && ring.push(event).is_err()
        {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
