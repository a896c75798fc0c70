//! The table: entries, the index that finds them, the wheel that ends them, and what is counted about them, kept in step.

use crate::counters::ProtocolLabel;
use crate::entries::NONE;
use crate::entry::{Entry, Status};
use crate::index::Hash;
use crate::nat::Pools;
use crate::shard::Shard;
use crate::time::Tick;
use crate::tuple::{Direction, Tuple};
use crate::unconfirmed::Unconfirmed;

/// What a tuple is looked up by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Key {
    /// The hash of the tuple and of its inverse.
    pub(crate) hash: Hash,
    /// The entry that the tuple most probably belongs to: a hint, and any number is good.
    pub(crate) candidate: u32,
}

/// Why an entry ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its time is over.
    Expired,
    /// Evicted for a new one.
    Evicted,
    /// Deleted by the operator.
    Deleted,
    /// Its protocol says so: reset, reopened, answered.
    Closed,
    /// Another shard has refused its reply tuple, before its first packet left.
    Refused,
}

impl Shard {
    /// What to look a tuple up by, without a candidate.
    #[inline]
    pub(crate) fn key(&self, tuple: &Tuple) -> Key {
        Key { hash: self.index.hash(tuple, tuple.selector.invert()), candidate: NONE }
    }

    /// Finds the live entry of a tuple, and the direction in which the tuple belongs to it. An entry whose time is
    /// over ends here if the wheel has not come to it yet.
    #[inline(always)]
    pub(crate) fn find(&mut self, key: &Key, tuple: &Tuple) -> Option<(u32, Direction)> {
        let found = match self.entries.direction(key.candidate, tuple) {
            Some(direction) => Some((key.candidate, direction)),
            None => self.search(key, tuple),
        };
        match found {
            Some((index, _)) if self.entries.at(index).deadline.is_due(Tick::at(self.now)) => {
                self.counters.missed += 1;
                self.remove(index, End::Expired);
                None
            }
            Some(_) => {
                self.counters.found += 1;
                found
            }
            None => {
                self.counters.missed += 1;
                None
            }
        }
    }

    /// Finds the entry of a tuple without a candidate, be its time over or not.
    #[inline(never)]
    pub(crate) fn search(&self, key: &Key, tuple: &Tuple) -> Option<(u32, Direction)> {
        self.index.find(key.hash, |index| self.entries.direction(index, tuple))
    }

    /// Ends an entry that makes room for a connection of this hash. False where there is none.
    pub(crate) fn evict(&mut self, hash: Hash) -> bool {
        let Some(victim) = self.evictable(hash) else { return false };
        let is_expired = self.entries.at(victim).deadline.is_due(Tick::at(self.now));
        self.remove(victim, if is_expired { End::Expired } else { End::Evicted });
        true
    }

    /// The entry to evict for a connection of this hash, unassured or one whose time is over: if it can be, one whose first
    /// packet is not held.
    fn evictable(&self, hash: Hash) -> Option<u32> {
        let now = Tick::at(self.now);
        let is = |bit, index: &u32| self.entries.at(*index).status.contains(bit);
        let is_expired = |index: &u32| self.entries.at(*index).deadline.is_due(now);
        let mut candidates = self
            .index
            .neighbours(hash)
            .filter(|index| !is(Status::ASSURED, index) || is_expired(index))
            .peekable();
        let first = candidates.peek().copied();
        candidates.find(|index| !is(Status::UNSETTLED, index)).or(first)
    }

    /// Puts a connection into the table, under the hash of its original tuple and, if it is translated, of its reply tuple;
    /// `None` when there is no room for it.
    pub(crate) fn insert(&mut self, hash: Hash, unconfirmed: &Unconfirmed) -> Option<u32> {
        let Unconfirmed { entry, original, reply, .. } = unconfirmed;
        let entry = Entry { status: unconfirmed.status(), ..*entry };
        let reply_hash = unconfirmed.reply_hash.filter(|_| entry.is_translated());
        let index = self.entries.insert(original, reply, entry, self.now.as_secs() as u32)?;
        let has_place = self.index.insert(hash, index);
        if !has_place || reply_hash.is_some_and(|reply_hash| !self.index.insert(reply_hash, index)) {
            if has_place {
                self.index.remove(hash, index);
            }
            self.entries.remove(index);
            return None;
        }
        if reply_hash.is_some() {
            self.translated += 1;
            self.count_ports(index, Pools::take);
        }
        self.wheel.arm(&mut self.entries, index);
        self.counters.inserts += 1;
        *self.gauge(original.protocol(), entry.state) += 1;
        Some(index)
    }

    /// The gauge of live entries of a protocol in a state.
    pub(crate) fn gauge(&mut self, protocol: u8, state: u8) -> &mut u64 {
        &mut self.counters.entries[ProtocolLabel::of(protocol) as usize][usize::from(state)]
    }

    /// Ends an entry.
    pub(crate) fn remove(&mut self, index: u32, end: End) {
        self.wheel.disarm(&mut self.entries, index);
        self.remove_disarmed(index, end);
    }

    /// Ends an entry that the wheel has let go of.
    pub(crate) fn remove_disarmed(&mut self, index: u32, end: End) {
        let tuple = self.entries.tuple(index, Direction::Original);
        let Entry { state, status, .. } = *self.entries.at(index);
        *self.gauge(tuple.protocol(), state) -= 1;
        match end {
            End::Expired => {
                let states = &mut self.counters.expired[ProtocolLabel::of(tuple.protocol()) as usize];
                states[usize::from(state)] += 1;
            }
            End::Evicted => self.counters.early_drops += 1,
            End::Deleted => self.counters.deletes += 1,
            End::Closed | End::Refused => self.counters.closed += 1,
        }
        let hash = self.key(&tuple).hash;
        if status.intersects(Status::USES_MAPPING) {
            self.leave_mapping_of(index);
        }
        if self.entries.at(index).is_translated() {
            let reply = self.entries.tuple(index, Direction::Reply);
            self.index.remove(self.key(&reply).hash, index);
            self.translated -= 1;
            self.count_ports(index, Pools::give_back);
            if end != End::Refused {
                self.forget_exhausted(&reply);
            }
        }
        self.index.remove(hash, index);
        self.free_place(index);
    }
}
