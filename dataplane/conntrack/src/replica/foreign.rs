//! What a shard remembers of connections that were installed from records: whose they are, and how far their windows are known.
//!
//! A connection that a peer has is *foreign* here: the peer ages it and says when it ends, and it makes no room for connections of this
//! box, nor they for it. Each bulk gives what it tells of another colour, so that what it did not tell of can go.

use sluice_memory::Arena;
use std::io;
use zerocopy::FromZeros;

/// Segments of each end that must have fitted before a connection of which windows were not told is held to them.
const FITTING_SEGMENTS: u8 = 16;

/// Of an entry.
#[derive(Clone, Copy, Debug, Default, FromZeros)]
struct Note {
    /// 1 of a foreign connection.
    is_foreign: u8,
    /// The bulk that it was last told of in, or since.
    colour: u8,
    /// Segments of the original and the reply direction that have fitted.
    fitting: [u8; 2],
}

/// The notes of a shard. They take memory where a connection is installed.
#[derive(Debug)]
pub(crate) struct Foreign {
    notes: Arena<Note>,
    /// How many are foreign.
    len: u32,
    /// How many may be.
    quota: u32,
    /// That of the latest bulk.
    colour: u8,
    /// Whether the next packet makes a foreign connection one of this box.
    pub(crate) is_active: bool,
    /// Where to go on looking for those that the latest bulk did not tell of.
    pub(crate) sweep: Option<u32>,
}

impl Foreign {
    /// Of a shard with room for so many entries.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn new(entries: u32) -> io::Result<Self> {
        let notes = Arena::sparse(entries as usize)?;
        Ok(Self { notes, len: 0, quota: 0, colour: 0, is_active: false, sweep: None })
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// How many there may be, which connections of this box leave room for.
    pub(crate) const fn quota(&self) -> u32 {
        self.quota
    }

    /// Changes that.
    pub(crate) const fn set_quota(&mut self, quota: u32) {
        self.quota = quota;
    }

    /// Whether an entry that was [installed](crate::entry::Status::INSTALLED) is foreign.
    pub(crate) fn has(&self, index: u32) -> bool {
        self.notes[index as usize].is_foreign != 0
    }

    /// Notes an entry that was installed now.
    pub(crate) fn note(&mut self, index: u32, is_foreign: bool) {
        let (is_foreign, colour) = (u8::from(is_foreign), self.colour);
        self.len += u32::from(is_foreign);
        self.notes[index as usize] = Note { is_foreign, colour, fitting: [0; 2] };
    }

    /// A foreign entry was told of again.
    pub(crate) fn paint(&mut self, index: u32) {
        self.notes[index as usize].colour = self.colour;
    }

    /// An entry that was installed has ended, or is this box's from now on.
    pub(crate) fn forget(&mut self, index: u32) {
        let note = &mut self.notes[index as usize];
        self.len -= u32::from(note.is_foreign);
        note.is_foreign = 0;
    }

    /// A segment that goes in a direction has fitted. True when enough of both have.
    pub(crate) fn has_fitted(&mut self, index: u32, direction: usize) -> bool {
        let Note { fitting, .. } = &mut self.notes[index as usize];
        fitting[direction] = fitting[direction].saturating_add(1);
        fitting.iter().all(|count| *count >= FITTING_SEGMENTS)
    }

    /// A bulk begins.
    pub(crate) const fn begin_bulk(&mut self) {
        self.colour = self.colour.wrapping_add(1);
        self.sweep = None;
    }

    /// Whether a foreign entry was told of neither in the latest bulk nor since.
    pub(crate) fn is_faded(&self, index: u32) -> bool {
        self.has(index) && self.notes[index as usize].colour != self.colour
    }
}
