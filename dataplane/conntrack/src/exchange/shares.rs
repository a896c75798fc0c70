//! Room that several destinations share, of which each may take as much as is still left to all. So one that gives nothing
//! back takes half of it, two take two thirds, and there is always some for the others (Choudhury and Hahne, "Dynamic Queue
//! Length Thresholds for Shared-Memory Packet Switches", 1998).

use crate::ids::ShardId;

/// The room, and who has taken how much of it.
#[derive(Debug)]
pub(crate) struct Shares {
    room: usize,
    taken: usize,
    /// By [`ShardId`].
    by: Box<[usize]>,
}

impl Shares {
    /// Room for so many things towards any of so many shards.
    pub(crate) fn new(room: usize, shards: u16) -> Self {
        Self { room, taken: 0, by: vec![0; usize::from(shards)].into() }
    }

    /// Whether there is room for one thing more towards a shard.
    pub(crate) fn has_room(&self, to: ShardId) -> bool {
        self.by.get(usize::from(to.0)).is_some_and(|taken| *taken < self.room - self.taken)
    }

    /// Takes room towards a shard. False where there is none.
    #[must_use]
    pub(crate) fn take(&mut self, to: ShardId) -> bool {
        let has_room = self.has_room(to);
        if has_room {
            self.by[usize::from(to.0)] += 1;
            self.taken += 1;
        }
        has_room
    }

    /// Gives room back that was taken towards a shard.
    pub(crate) fn give_back(&mut self, to: ShardId) {
        if let Some(taken) = self.by.get_mut(usize::from(to.0)).filter(|taken| **taken > 0) {
            *taken -= 1;
            self.taken -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_nothing_back_leaves_room_to_others() {
        let mut shares = Shares::new(120, 5);
        let mut fill = |to| (0..1000).filter(|_| shares.take(ShardId(to))).count();
        assert_eq!([fill(0), fill(1), fill(2), fill(3)], [60, 30, 15, 8]);
        assert_eq!(fill(5), 0, "there is no such shard");
        for _ in 0..60 {
            shares.give_back(ShardId(0));
        }
        shares.give_back(ShardId(0));
        assert_eq!((shares.taken, shares.has_room(ShardId(0))), (53, true));
    }
}
