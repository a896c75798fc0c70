//! Who makes room for a connection when the table is full: early drop, as Linux calls it.
//!
//! A hand goes round the slots of the table, as the clock of virtual memory does. Who is unassured, or has expired, ends when the
//! hand comes to it, and the connection that it makes room for takes its slot, behind the hand. So each of a flood has a whole round for its
//! answer, however the hashes lie, and what the hand reads lies side by side. Where it finds nobody within some slots, or room
//! elsewhere is of no use, the neighbours of the new connection in the index are looked at.

use crate::entries::Entries;
use crate::entry::Status;
use crate::events::End;
use crate::index::Hash;
use crate::shard::Shard;
use crate::time::Tick;
use crate::tuple::Direction;

/// Slots that the hand passes for one connection, at most.
const MOST_PASSED: u32 = 64;

/// Slots ahead of the hand that are fetched.
const AHEAD: u32 = 32;

/// Of those that may go, one whose first packet is not held, if there is one.
#[inline]
fn choose(entries: &Entries, mut candidates: impl Iterator<Item = u32>) -> Option<u32> {
    let first = candidates.next()?;
    let is_pending = |index: u32| entries.at(index).status.contains(Status::PENDING);
    if !is_pending(first) {
        return Some(first);
    }
    candidates.find(|index| !is_pending(*index)).or(Some(first))
}

impl Shard {
    /// Ends an entry that gives way to a connection of this hash, one of a peer's to another of those alone. False where there is none.
    pub(crate) fn evict(&mut self, hash: Hash, is_foreign: bool) -> bool {
        let victim = self.pass_hand(is_foreign).or_else(|| self.evictable(hash, is_foreign));
        self.end_evicted(victim)
    }

    /// The same of one that has a slot in the index which the new one can have.
    pub(crate) fn evict_neighbour(&mut self, hash: Hash, is_foreign: bool) -> bool {
        self.end_evicted(self.evictable(hash, is_foreign))
    }

    /// The neighbour that would end.
    pub(crate) fn evictable(&self, hash: Hash, is_foreign: bool) -> Option<u32> {
        let neighbours = self.table.index.neighbours(hash);
        choose(&self.table.entries, neighbours.filter(|index| self.may_give_way(*index, is_foreign)))
    }

    /// Moves the hand on to the next that may go.
    fn pass_hand(&mut self, is_foreign: bool) -> Option<u32> {
        let (entries, mut hand) = (&self.table.entries, self.table.hand);
        let passed = (0..MOST_PASSED).map_while(|_| {
            let index = entries.next_index(hand).or_else(|| entries.next_index(0))?;
            hand = index + 1;
            Some(index)
        });
        let victim = choose(entries, passed.filter(|index| self.may_give_way(*index, is_foreign)));
        self.table.hand = hand;
        victim
    }

    /// Whether an entry is there that is unassured or whose time is over, and is of a peer's, or not.
    #[inline]
    fn may_give_way(&self, index: u32, is_foreign: bool) -> bool {
        let entry = self.table.entries.at(index);
        let spared = entry.status.contains(Status::ASSURED) && !entry.deadline.is_due(Tick::at(self.now));
        entry.is_used() && !spared && self.is_foreign(index) == is_foreign
    }

    fn end_evicted(&mut self, victim: Option<u32>) -> bool {
        let Some(victim) = victim else { return false };
        if !self.end_if_due(victim) {
            self.end(victim, End::Evicted);
        }
        true
    }

    /// Fetches ahead for the connection of this number, among those of a burst, for which another gives way: two slots that the hand
    /// will come to some bursts later, and the places in the index of two that it is about to come to.
    #[inline]
    pub(crate) fn prefetch_evictable(&self, number: u32) {
        let table = &self.table;
        for passed in [2 * number, 2 * number + 1] {
            let Some(index) = table.entries.next_index(table.hand + passed) else { return };
            table.entries.prefetch_ending(index + AHEAD);
            if !table.entries.at(index).status.contains(Status::ASSURED) {
                table.index.prefetch(table.key(&table.entries.tuple(index, Direction::Original)).hash);
            }
        }
    }
}
