//! Which expectations are still to be met: a word for each slot, which all shards of a box see.
//!
//! Nothing but expectations touches them. A word says all there is to know, so that no order with other memory matters: what
//! is expected travels by message.

use super::child::Child;
use super::expectation::{Expectation, ExpectationId};
use crate::ids::{EntryId, HelperId, ShardId};
use sluice_memory::Arena;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Expectations that a box can have at a time, at most.
pub(crate) const MAX_EXPECTATIONS: u32 = 1 << 16;

/// Slots of all shards together: more than can be taken, so that the others of a shard whose turn it is have room, too.
const SLOTS: u32 = 1 << 20;

/// In a word beside the generation: the expectation is held by the shard that decides about its child.
const HELD: u32 = 1;

/// In such a word: the call that was expected has come, and is not over.
const MET: u32 = 2;

/// The largest generation for which a word has room.
pub(super) const MAX_GENERATION: u32 = u32::MAX >> 2;

/// The word of an expectation that is to be met.
const fn word(generation: u32) -> u32 {
    generation << 2
}

/// What an expectation was that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It had ended before.
    Before,
    /// It was to be met yet.
    Open,
    /// A call that has come.
    Call,
}

/// The words of a box.
#[derive(Debug)]
pub struct Claims {
    /// Generation, and [`HELD`] or [`MET`]; 0 where nothing is expected.
    words: Arena<AtomicU32>,
    /// The mark that the child in each slot inherits: its master's, which may change.
    marks: Arena<AtomicU32>,
    /// Slots of each shard.
    slots: u32,
    /// Expectations that are to be met or held.
    all: AtomicU32,
    /// Those of each helper.
    by_helper: [AtomicU32; HelperId::ALL.len()],
    /// Of each entry of each shard, its generation and how many connections name it as their master.
    children: Arena<AtomicU64>,
    /// Entries of each shard.
    entries: u32,
}

impl Claims {
    /// Those of a box of so many shards with room for so many entries each, at most.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub fn new(shards: u16, entries: u32) -> io::Result<Self> {
        let slots = (SLOTS / u32::from(shards.max(1))).min(MAX_EXPECTATIONS);
        Ok(Self {
            words: Arena::sparse(slots as usize * usize::from(shards))?,
            marks: Arena::sparse(slots as usize * usize::from(shards))?,
            slots,
            all: AtomicU32::new(0),
            by_helper: Default::default(),
            children: Arena::sparse(entries as usize * usize::from(shards))?,
            entries,
        })
    }

    /// Slots of each shard.
    pub(super) const fn slots(&self) -> u32 {
        self.slots
    }

    /// Slots of all shards.
    pub(super) fn all_slots(&self) -> u32 {
        self.words.len() as u32
    }

    /// How many are expected in the whole box.
    pub(crate) fn len(&self) -> u32 {
        self.all.load(Relaxed)
    }

    /// How many of them are this helper's.
    pub(crate) fn len_of(&self, helper: HelperId) -> u32 {
        self.by_helper[helper as usize].load(Relaxed)
    }

    fn of_helper(&self, expectation: &Expectation) -> Option<&AtomicU32> {
        self.by_helper.get(expectation.helper()? as usize)
    }

    /// Makes an expectation one that is to be met, if fewer than so many are in all and of its helper. Its slot is the shard's
    /// own, and free.
    pub(super) fn begin(
        &self,
        slot: u32,
        generation: u32,
        expectation: &Expectation,
        max: u32,
        of_helper: u32,
    ) -> bool {
        let Some(state) = self.words.get(slot as usize) else { return false };
        let take = |count: &AtomicU32, max| {
            count.fetch_update(Relaxed, Relaxed, |count| (count < max).then_some(count + 1)).is_ok()
        };
        if !take(&self.all, max) {
            return false;
        }
        if self.of_helper(expectation).is_some_and(|count| !take(count, of_helper)) {
            self.all.fetch_sub(1, Relaxed);
            return false;
        }
        self.set_mark(slot, expectation.mark);
        state.store(word(generation), Relaxed);
        true
    }

    /// Has the child in a slot inherit this mark.
    pub(super) fn set_mark(&self, slot: u32, mark: u32) {
        if let Some(word) = self.marks.get(slot as usize) {
            word.store(mark, Relaxed);
        }
    }

    /// The mark that the child in a slot inherits.
    pub(super) fn mark(&self, slot: u32) -> u32 {
        self.marks.get(slot as usize).map_or(0, |word| word.load(Relaxed))
    }

    /// Whether it is to be met.
    pub(super) fn is_open(&self, slot: u32, generation: u32) -> bool {
        self.words.get(slot as usize).is_some_and(|state| state.load(Relaxed) == word(generation))
    }

    /// Whether nothing is expected any more in a slot, and nobody holds what was.
    pub(super) fn is_over(&self, slot: u32) -> bool {
        self.words.get(slot as usize).is_none_or(|state| state.load(Relaxed) == 0)
    }

    fn exchange(&self, slot: u32, from: u32, to: u32) -> bool {
        let state = self.words.get(slot as usize);
        state.is_some_and(|state| state.compare_exchange(from, to, Relaxed, Relaxed).is_ok())
    }

    /// Claims it, for whoever decides about a packet that meets it. False where it is to be met no more.
    pub(super) fn claim(&self, slot: u32, generation: u32) -> bool {
        self.exchange(slot, word(generation), word(generation) | HELD)
    }

    /// Gives it back, for another shard that is to decide. Says whether that can meet it: where it has ended meanwhile, it stays
    /// ended.
    pub(super) fn give_back(&self, child: &Child) -> bool {
        let ExpectationId { slot, generation } = child.id;
        self.exchange(slot, word(generation) | HELD, word(generation)) || self.is_open(slot, generation)
    }

    /// Uses up what was claimed. False where it may be met again, or has ended.
    pub(super) fn use_up(&self, child: &Child) -> bool {
        let ExpectationId { slot, generation } = child.id;
        let is_used_up = self.exchange(slot, word(generation) | HELD, 0);
        if is_used_up {
            self.count_end(&child.expectation);
        }
        is_used_up
    }

    /// Ends it, whoever holds it.
    pub(super) fn end(&self, slot: u32, generation: u32, expectation: &Expectation) -> Ended {
        let is_its = |state: u32| (state >> 2 == generation).then_some(0);
        let state = self.words.get(slot as usize);
        match state.and_then(|state| state.fetch_update(Relaxed, Relaxed, is_its).ok()) {
            None => Ended::Before,
            Some(state) if state & MET != 0 => Ended::Call,
            Some(_) => {
                self.count_end(expectation);
                Ended::Open
            }
        }
    }

    /// The call that is expected has come. False where that is known, or it has ended.
    pub(super) fn meet(&self, slot: u32, generation: u32, expectation: &Expectation) -> bool {
        let has_come = self.exchange(slot, word(generation), word(generation) | MET);
        if has_come {
            self.count_end(expectation);
        }
        has_come
    }

    /// Whether it is a call that has come and is not over.
    pub(super) fn is_met(&self, slot: u32, generation: u32) -> bool {
        self.words.get(slot as usize).is_some_and(|state| state.load(Relaxed) == word(generation) | MET)
    }

    /// Counts a connection for its master.
    pub(crate) fn begin_child(&self, child: &Child) {
        let master = child.expectation.master_id;
        let first = u64::from(master.generation) << 32 | 1;
        let begin = |word: u64| match ((word >> 32) as u32).wrapping_sub(master.generation) as i32 {
            0 => Some(word + 1),
            // The slot is another entry's by now.
            1.. => None,
            _ => Some(first),
        };
        if let Some(word) = self.children.get(self.master(child.id, master)) {
            let _ = word.fetch_update(Relaxed, Relaxed, begin);
        }
    }

    /// Counts it no more.
    pub(crate) fn end_child(&self, child: &Child) {
        let master = child.expectation.master_id;
        let end = |word: u64| ((word >> 32) as u32 == master.generation).then(|| word.saturating_sub(1));
        if let Some(word) = self.children.get(self.master(child.id, master)) {
            let _ = word.fetch_update(Relaxed, Relaxed, end);
        }
    }

    /// How many connections name an entry of a shard as their master.
    pub(crate) fn children(&self, shard: ShardId, master: EntryId) -> u32 {
        let word =
            self.children.get(u32::from(shard.0) as usize * self.entries as usize + master.index as usize);
        let word = word.map_or(0, |word| word.load(Relaxed));
        if (word >> 32) as u32 == master.generation { word as u32 } else { 0 }
    }

    /// The number of a master, whose shard's an expectation was.
    const fn master(&self, id: ExpectationId, master: EntryId) -> usize {
        let shard = id.slot / self.slots;
        shard as usize * self.entries as usize + master.index as usize
    }

    fn count_end(&self, expectation: &Expectation) {
        self.all.fetch_sub(1, Relaxed);
        if let Some(count) = self.of_helper(expectation) {
            count.fetch_sub(1, Relaxed);
        }
    }
}
