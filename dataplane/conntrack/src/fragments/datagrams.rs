//! Datagrams that have come in part, and where their fragments are.

use super::NONE;
use super::directory::{Directory, Item};
use super::piece::{Key, Piece, exceeds};
use super::shortcuts::{NO_ROW, Place, Shortcuts};
use super::slots::{Slot, Slots};
use crate::time::Tick;
use crate::verdict::DropReason;
use crate::wheel::{Timer, Timers};
use std::num::NonZeroU32;

/// How far a datagram has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody uses its slot.
    Free,
    /// Fragments are missing.
    Unfinished,
    /// None of it passes, and for this reason none that still come.
    Dead(DropReason),
    /// All of it is there.
    Whole,
}

/// A datagram: two cache lines, and no part of a third.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Datagram {
    pub(super) key: Key,
    hash: u32,
    pub(super) stage: Stage,
    deadline: Tick,
    timer: Timer,
    /// Whose it is, and which of that source came before and after. [`NONE`] of one that is not listed.
    pub(super) source: u32,
    pub(super) older: u32,
    pub(super) newer: u32,
    /// The first and the last of its fragments, in the order of their positions in it.
    pub(super) first: u32,
    pub(super) last: u32,
    /// Its shortcuts to them.
    pub(super) row: u16,
    pub(super) fragments: u16,
    /// Buffers that those take.
    pub(super) buffers: u32,
    /// Bytes that are there, and how many there are to be.
    bytes: u32,
    end: Option<NonZeroU32>,
    /// The largest fragment with its IP header, in bytes.
    pub(super) largest_bytes: u32,
    /// Whether one as large as that must not be cut.
    pub(super) is_largest_fixed: bool,
    /// A bit for each value of the bits for ECN that a fragment has.
    ecn: u8,
}

const _: () = assert!(size_of::<Datagram>() == 128);

impl Datagram {
    /// One of which nothing has come.
    pub(super) fn new(key: Key, hash: u32, deadline: Tick) -> Self {
        Self {
            key,
            hash,
            stage: Stage::Unfinished,
            deadline,
            timer: Timer::default(),
            source: NONE,
            older: NONE,
            newer: NONE,
            first: NONE,
            last: NONE,
            row: NO_ROW,
            fragments: 0,
            buffers: 0,
            bytes: 0,
            end: None,
            largest_bytes: 0,
            is_largest_fixed: false,
            ecn: 0,
        }
    }

    /// Between which of those that are there a fragment belongs, if it can be part of the datagram together with them.
    ///
    /// # Errors
    /// [`DropReason::FragmentDuplicate`] for one that may be ignored (RFC 8200 section 4.5, RFC 5722); all other reasons are the
    /// datagram's end.
    #[inline(always)]
    pub(super) fn locate<P>(
        &mut self,
        slots: &Slots<P>,
        shortcuts: &mut Shortcuts,
        piece: &Piece,
    ) -> Result<Place, DropReason> {
        let is_beyond = |end: NonZeroU32| piece.end > end.get() || piece.is_last && piece.end < end.get();
        if piece.is_impossible()
            || self.end.is_some_and(is_beyond)
            || piece.is_last && self.last != NONE && slots.at(self.last).end > piece.end
        {
            return Err(DropReason::FragmentLength);
        }
        let place @ Place { before, after, .. } = self.place(slots, shortcuts, piece.start);
        if before != NONE && slots.at(before).end > piece.start {
            let is_known = piece.end <= slots.at(before).end;
            return Err(if is_known { DropReason::FragmentDuplicate } else { DropReason::FragmentOverlap });
        }
        if after != NONE && slots.at(after).start < piece.end {
            return Err(DropReason::FragmentOverlap);
        }
        Ok(place)
    }

    /// Where a fragment that starts there belongs. Most come in their order or in the inverse one.
    #[inline(always)]
    fn place<P>(&mut self, slots: &Slots<P>, shortcuts: &mut Shortcuts, start: u32) -> Place {
        if self.last == NONE || slots.at(self.last).start <= start {
            Place::at_end(self.last, NONE)
        } else if start < slots.at(self.first).start {
            Place::at_end(NONE, self.first)
        } else {
            shortcuts.place(&mut self.row, slots, self.first, start)
        }
    }

    /// Takes a fragment in between its neighbours.
    #[inline(always)]
    pub(super) fn take_in(&mut self, piece: &Piece, slot: u32, Place { before, after, .. }: Place) {
        if before == NONE {
            self.first = slot;
        }
        if after == NONE {
            self.last = slot;
        }
        self.fragments += 1;
        self.bytes += piece.end - piece.start;
        if piece.packet_bytes > self.largest_bytes {
            (self.largest_bytes, self.is_largest_fixed) = (piece.packet_bytes, piece.is_fixed);
        } else if piece.packet_bytes == self.largest_bytes {
            self.is_largest_fixed |= piece.is_fixed;
        }
        self.ecn |= 1 << piece.ecn;
        if piece.is_last {
            self.end = NonZeroU32::new(piece.end);
        }
    }

    /// Whether it can be found, and gives way where there is no room.
    pub(super) const fn is_listed(&self) -> bool {
        self.source != NONE
    }

    /// Whether it may stay unlisted with a fragment: that is its first one, or makes it whole with that.
    pub(super) fn is_brief<P>(&self, slots: &Slots<P>, piece: &Piece) -> bool {
        match self.fragments {
            0 => !piece.is_impossible(),
            1 => {
                let Slot { start: begins, end: ends, .. } = *slots.at(self.first);
                let is_rest = piece.is_last && begins == 0 && piece.start == ends && piece.end > ends
                    || self.end.is_some() && piece.start == 0 && piece.end == begins && !piece.is_last;
                is_rest && !piece.is_impossible()
            }
            _ => false,
        }
    }

    /// Whether all of it is there.
    pub(super) fn is_whole(&self) -> bool {
        self.end.is_some_and(|end| end.get() == self.bytes)
    }

    /// What is wrong with it as a whole, behind the headers of its first fragment, which are so long.
    pub(super) fn fault(&self, header_bytes: u16) -> Option<DropReason> {
        const WITHOUT_ECN: u8 = 1;
        if exceeds(header_bytes, self.bytes) {
            Some(DropReason::FragmentLength)
        } else if self.ecn & WITHOUT_ECN != 0 && self.ecn != WITHOUT_ECN {
            Some(DropReason::FragmentEcn)
        } else {
            None
        }
    }

    /// Whether one of its fragments has seen congestion.
    pub(super) const fn has_seen_congestion(&self) -> bool {
        self.ecn & 1 << 3 != 0
    }

    /// Bytes that are not in its first fragment.
    pub(super) fn rest_bytes<P>(&self, slots: &Slots<P>) -> u32 {
        self.bytes - slots.at(self.first).end
    }

    /// Whether its time is over.
    pub(super) const fn is_due(&self, now: Tick) -> bool {
        self.deadline.is_due(now)
    }
}

impl Item for Datagram {
    type Key = Key;

    fn key(&self) -> &Key {
        &self.key
    }

    fn hash(&self) -> u32 {
        self.hash
    }
}

impl Timers for Directory<Datagram> {
    fn deadline(&self, index: u32) -> Tick {
        self.at(index).deadline
    }

    fn deadline_mut(&mut self, index: u32) -> &mut Tick {
        &mut self.at_mut(index).deadline
    }

    fn timer(&self, index: u32) -> &Timer {
        &self.at(index).timer
    }

    fn timer_mut(&mut self, index: u32) -> &mut Timer {
        &mut self.at_mut(index).timer
    }
}
