//! What is yet to be told of a shard's connections: which have changed, and which have ended.
//!
//! Each entry is noted once, however often it changes, so that there is always room for its number: who does not listen for a while hears
//! later how things are, and keeps nobody waiting.

use super::record::Record;
use crate::entry::Status;
use crate::tuple::Tuple;
use sluice_memory::Arena;
use std::collections::VecDeque;
use std::io;

/// Ends that wait to be told, at most. Of those beyond nothing is told: what others have of such a connection ages.
const MAX_ENDS: usize = 4096;

/// Records of what helpers have done beside one connection, at most.
pub(super) const MAX_BESIDE: usize = 512;

/// Records of one connection, at most.
pub const MAX_RECORDS_OF_ONE: usize = 1 + MAX_BESIDE;

/// Which connections are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicate {
    /// Those that are assured: of what is answered once, clients ask again.
    Assured,
    /// All that are in the table.
    All,
}

/// Bit of a note: the entry's number is among the dirty ones.
const DIRTY: u8 = 1;
/// Bit of a note: others know the connection.
const REPLICATED: u8 = 1 << 1;

/// What is yet to be told.
#[derive(Debug)]
pub struct Teller {
    replicate: Replicate,
    /// Of each entry, by its number.
    notes: Arena<u8>,
    /// The numbers of those that are dirty: a ring.
    dirty: Arena<u32>,
    first: u32,
    len: u32,
    /// How many have been dirty so far, and how many of those were told of.
    noted: u64,
    taken: u64,
    /// What is to be told next, beside the connection that was told of last.
    beside: VecDeque<Record>,
    ends: VecDeque<[Tuple; 2]>,
    ends_lost: u64,
}

impl Teller {
    /// For a shard with room for so many entries, which has told nothing yet.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub fn new(replicate: Replicate, entries: u32) -> io::Result<Self> {
        Ok(Self {
            replicate,
            notes: Arena::sparse(entries as usize)?,
            dirty: Arena::sparse(entries as usize)?,
            first: 0,
            len: 0,
            noted: 0,
            taken: 0,
            beside: VecDeque::with_capacity(MAX_BESIDE),
            ends: VecDeque::with_capacity(MAX_ENDS),
            ends_lost: 0,
        })
    }

    /// How many entries are to be told of.
    pub const fn dirty(&self) -> u32 {
        self.len
    }

    /// How many entries have been to be told of so far.
    pub const fn noted(&self) -> u64 {
        self.noted
    }

    /// Whether the first so many of those were told of, with all beside them.
    pub fn has_told(&self, noted: u64) -> bool {
        self.taken >= noted && self.beside.is_empty()
    }

    /// Ends that could not be told.
    pub const fn ends_lost(&self) -> u64 {
        self.ends_lost
    }

    /// Whether others are to know a connection of this status.
    pub(super) fn tells(&self, status: Status) -> bool {
        self.replicate == Replicate::All || status.contains(Status::ASSURED)
    }

    /// An entry of this status is another than before, or new.
    pub(super) fn touch(&mut self, index: u32, status: Status) {
        let capacity = self.dirty.len() as u32;
        let is_told = self.tells(status);
        let note = &mut self.notes[index as usize];
        if *note & DIRTY != 0 || !is_told && *note & REPLICATED == 0 {
            return;
        }
        *note |= DIRTY;
        let last = (u64::from(self.first) + u64::from(self.len)) % u64::from(capacity);
        self.dirty[last as usize] = index;
        (self.len, self.noted) = (self.len + 1, self.noted + 1);
    }

    /// Whether others know the connection of an entry.
    pub(super) fn is_replicated(&self, index: u32) -> bool {
        self.notes[index as usize] & REPLICATED != 0
    }

    /// An entry is told of now.
    pub(super) fn note_told(&mut self, index: u32) {
        self.notes[index as usize] |= REPLICATED;
    }

    /// An entry has ended. Where others know it, they are to be told so.
    pub(super) fn end(&mut self, index: u32, tuples: impl FnOnce() -> [Tuple; 2]) {
        let note = &mut self.notes[index as usize];
        if *note & REPLICATED == 0 {
            return;
        }
        *note &= !REPLICATED;
        if self.ends.len() < MAX_ENDS {
            self.ends.push_back(tuples());
        } else {
            self.ends_lost += 1;
        }
    }

    /// Something is to be told beside the entry that is told of now. Of more than there is room for nothing is told.
    pub(super) fn add_beside(&mut self, record: Record) {
        if self.beside.len() < MAX_BESIDE {
            self.beside.push_back(record);
        }
    }

    /// What is to be told beside the entry that was told of last.
    pub(super) fn next_beside(&mut self) -> Option<Record> {
        self.beside.pop_front()
    }

    /// The next end to be told.
    pub(super) fn next_end(&mut self) -> Option<[Tuple; 2]> {
        self.ends.pop_front()
    }

    /// The next entry to be told of, unless it has ended.
    pub(super) fn next_dirty(&mut self) -> Option<u32> {
        self.len = self.len.checked_sub(1)?;
        self.taken += 1;
        let index = self.dirty[self.first as usize];
        self.first = if self.first as usize + 1 < self.dirty.len() { self.first + 1 } else { 0 };
        self.notes[index as usize] &= !DIRTY;
        Some(index)
    }
}
