//! Messages on their way out, to each other shard by a queue of its own.
//!
//! Claims under way are few, and each has one answer; so both always find room in the queue. A release that finds none is
//! late: it waits in a list that takes memory only while it is needed, and no claim is made there before it has gone, so
//! that claims and releases of one tuple keep their order.

use super::announcements::Announcements;
use super::message::Message;
use super::shares::Shares;
use crate::ids::{EntryId, ShardId};
use crate::steer::Steering;
use crate::tuple::Tuple;
use sluice_memory::Arena;
use std::collections::VecDeque;
use std::io;

/// Claims of one shard that are under way, at most: as many first packets are held.
pub const MAX_CLAIMS: usize = 512;

/// Those of them that one shard is to answer, at most: [`Shares`] leave half to the others.
pub(super) const CLAIMS_TO_ONE: usize = MAX_CLAIMS / 2;

/// Room in a queue: for as many answers as there can be claims, for as many claims, and for as many releases as both.
const ROOM: usize = 4 * CLAIMS_TO_ONE;

/// All queues.
#[derive(Debug)]
pub(super) struct Outbox {
    /// By [`ShardId`].
    queues: Vec<Queue>,
    /// Messages in all queues.
    len: usize,
    /// Claims without an answer, by who is to answer.
    claims: Shares,
    pub(super) announcements: Announcements,
}

/// Messages to one shard.
#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Message>,
    /// Tuples whose release found no room: the first `late` of them.
    releases: Arena<Tuple>,
    late: usize,
}

impl Outbox {
    /// Queues to shards that have so many signposts each.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(super) fn new(steering: &Steering, signposts: u32) -> io::Result<Self> {
        // A tuple has its signpost twice where it was claimed and delegated.
        let queue = |to| match ShardId(to) == steering.own() {
            true => Queue::new(0, 0),
            false => Queue::new(ROOM, 2 * signposts as usize),
        };
        let queues = (0..steering.shards()).map(queue).collect::<io::Result<_>>()?;
        let claims = Shares::new(MAX_CLAIMS, steering.shards());
        Ok(Self { queues, len: 0, claims, announcements: Announcements::new(steering) })
    }

    /// Whether there is no message at all.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0 && self.announcements.is_empty()
    }

    /// Whether there are messages to a shard.
    pub(super) fn has(&self, to: ShardId) -> bool {
        self.announcements.has(to)
            || self.queues.get(usize::from(to.0)).is_some_and(|queue| !queue.waiting.is_empty())
    }

    /// The next message to a shard: announcements first.
    pub(super) fn next(&mut self, to: ShardId) -> Option<Message> {
        if let Some((id, expectation)) = self.announcements.next(to) {
            return Some(Message::Announce(id, expectation));
        }
        let queue = self.queues.get_mut(usize::from(to.0))?;
        let message = queue.waiting.pop_front()?;
        self.len = self.len - 1 + queue.take_late();
        Some(message)
    }

    /// Says something for which there is room.
    pub(super) fn send(&mut self, to: ShardId, message: Message) {
        if let Some(queue) = self.queues.get_mut(usize::from(to.0)) {
            queue.waiting.push_back(message);
            self.len += 1;
        }
    }

    /// Whether a shard can be asked for a tuple now.
    pub(super) fn may_claim(&self, to: ShardId) -> bool {
        self.claims.has_room(to) && self.queues.get(usize::from(to.0)).is_some_and(|queue| queue.late == 0)
    }

    /// Asks a shard for a tuple, for an entry.
    pub(super) fn claim(&mut self, to: ShardId, tuple: Tuple, entry: EntryId) {
        if self.claims.take(to) {
            self.send(to, Message::Claim { tuple, claim: entry });
        }
    }

    /// A claim has its answer.
    pub(super) fn take_answer(&mut self, from: ShardId) {
        self.claims.give_back(from);
    }

    /// Tells a shard that a connection has ended.
    pub(super) fn release(&mut self, to: ShardId, tuple: Tuple) {
        if let Some(queue) = self.queues.get_mut(usize::from(to.0)) {
            self.len += usize::from(queue.release(tuple));
        }
    }
}

impl Queue {
    fn new(room: usize, releases: usize) -> io::Result<Self> {
        Ok(Self { waiting: VecDeque::with_capacity(room), releases: Arena::sparse(releases)?, late: 0 })
    }

    /// Whether there is room for a release besides all claims and answers there can be.
    fn has_room(&self) -> bool {
        self.waiting.len() + 2 * CLAIMS_TO_ONE < ROOM
    }

    /// Puts a release into the queue. False where it is late.
    fn release(&mut self, tuple: Tuple) -> bool {
        if self.has_room() {
            self.waiting.push_back(Message::Release(tuple));
            return true;
        }
        if let Some(slot) = self.releases.get_mut(self.late) {
            *slot = tuple;
            self.late += 1;
        }
        false
    }

    /// Puts late releases into the queue as far as there is room now; gives how many.
    fn take_late(&mut self) -> usize {
        let before = self.late;
        while self.late > 0 && self.has_room() {
            self.late -= 1;
            self.waiting.push_back(Message::Release(self.releases[self.late]));
        }
        before - self.late
    }
}
