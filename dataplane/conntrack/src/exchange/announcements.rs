//! Announcements on their way out: what this shard expects, for all others to know before the packet leaves that promises it.
//!
//! Each is kept once and said to all. None is made for which some lane might have no room, so that each can be said at once.

use crate::expectations::{Expectation, ExpectationId};
use crate::ids::ShardId;
use crate::steer::Steering;

/// Announcements that are made at a time, at most: more than a burst of packets brings.
const MAX_ANNOUNCEMENTS: usize = 64;

#[derive(Debug)]
pub(super) struct Announcements {
    waiting: Vec<(ExpectationId, Expectation)>,
    /// How many of them each shard was told, by [`ShardId`].
    told: Vec<usize>,
    /// How many more each lane is sure to have room for.
    room: usize,
    own: ShardId,
}

impl Announcements {
    /// Those of a shard, which does not know of any room yet unless it is the only one.
    pub(super) fn new(steering: &Steering) -> Self {
        let room = if steering.is_single() { usize::MAX } else { 0 };
        let waiting = Vec::with_capacity(if steering.is_single() { 0 } else { MAX_ANNOUNCEMENTS });
        Self { waiting, told: vec![0; usize::from(steering.shards())], room, own: steering.own() }
    }

    /// Whether some shard is to be told something.
    pub(super) const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether that shard is to be told something.
    pub(super) fn has(&self, to: ShardId) -> bool {
        self.untold(to) > 0
    }

    fn untold(&self, to: ShardId) -> usize {
        self.waiting.len() - self.told.get(usize::from(to.0)).map_or(0, |told| *told)
    }

    /// Whether all shards can be told something more.
    pub(super) const fn has_room(&self) -> bool {
        self.room > 0
    }

    /// Whether it is time to look how much room there is.
    pub(super) const fn wants_room(&self) -> bool {
        self.room < MAX_ANNOUNCEMENTS / 2
    }

    /// The fullest lane has room for so many messages.
    pub(super) fn set_room(&mut self, room: usize) {
        self.room = room.min(MAX_ANNOUNCEMENTS).saturating_sub(self.waiting.len());
    }

    /// The lane to a shard has room for so many messages.
    pub(super) fn note_room(&mut self, to: ShardId, room: usize) {
        self.room = self.room.min(room.saturating_sub(self.untold(to)));
    }

    /// Says something to all others, for which there is room.
    pub(super) fn push(&mut self, id: ExpectationId, expectation: &Expectation) {
        if self.told.len() > 1 {
            self.waiting.push((id, *expectation));
            self.room = self.room.saturating_sub(1);
        }
    }

    /// The next one that a shard is to be told.
    pub(super) fn next(&mut self, to: ShardId) -> Option<(ExpectationId, Expectation)> {
        let told = self.told.get_mut(usize::from(to.0))?;
        let next = *self.waiting.get(*told)?;
        *told += 1;
        let count = self.waiting.len();
        let own = usize::from(self.own.0);
        if self.told.iter().enumerate().all(|(shard, told)| shard == own || *told == count) {
            self.waiting.clear();
            self.told.fill(0);
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcements() -> Announcements {
        Announcements::new(&Steering::new(ShardId(1), 3).unwrap())
    }

    const fn id(slot: u32) -> ExpectationId {
        ExpectationId { slot, generation: 1 }
    }

    #[test]
    fn each_other_shard_is_told_in_order() {
        let mut it = announcements();
        it.set_room(10);
        for slot in 0..3 {
            it.push(id(slot), &Expectation::default());
        }
        for to in [ShardId(2), ShardId(0)] {
            assert!(!it.is_empty() && it.has(to));
            let told: Vec<u32> = std::iter::from_fn(|| it.next(to)).map(|(id, _)| id.slot).collect();
            assert_eq!(told, [0, 1, 2]);
        }
        assert!(it.is_empty());
    }

    #[test]
    fn none_is_made_for_which_a_lane_might_have_no_room() {
        let mut it = announcements();
        assert!(!it.has_room() && it.wants_room());
        it.set_room(3);
        it.push(id(0), &Expectation::default());
        it.note_room(ShardId(0), 2);
        assert!(it.has_room());
        it.push(id(1), &Expectation::default());
        assert!(!it.has_room(), "the lane takes both and no more");
        it.set_room(1000);
        assert_eq!(it.room, MAX_ANNOUNCEMENTS - 2);
    }

    #[test]
    fn who_is_alone_tells_nobody() {
        let mut it = Announcements::new(&Steering::single());
        assert!(it.has_room() && !it.wants_room());
        it.push(id(0), &Expectation::default());
        assert!(it.is_empty() && it.has_room());
    }
}
