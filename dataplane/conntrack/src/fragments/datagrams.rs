//! Datagrams that have come in part, and where their fragments are.

use super::NONE;
use super::directory::{Directory, Item};
use super::piece::{Key, Piece, exceeds};
use super::slots::Slots;
use super::units::{MANY, Maps, NO_MAP};
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
    /// The first and the last of the chain of its fragments.
    pub(super) first: u32,
    pub(super) last: u32,
    /// The map of its units.
    pub(super) map: u32,
    pub(super) fragments: u16,
    /// Whether the chain is in the order of their positions.
    pub(super) is_in_order: bool,
    /// A bit for each value of the bits for ECN that a fragment has.
    ecn: u8,
    /// Buffers that those take.
    pub(super) buffers: u32,
    /// Bytes that are there, where the last of them ends, and how many there are to be.
    bytes: u32,
    reach: u32,
    end: Option<NonZeroU32>,
    /// The largest fragment with its IP header, in bytes.
    pub(super) largest_bytes: u32,
    /// Whether one as large as that must not be cut.
    pub(super) is_largest_fixed: bool,
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
            map: NO_MAP,
            fragments: 0,
            is_in_order: true,
            ecn: 0,
            buffers: 0,
            bytes: 0,
            reach: 0,
            end: None,
            largest_bytes: 0,
            is_largest_fixed: false,
        }
    }

    /// Whether a fragment can be part of the datagram together with those that are there. It then is, or ends it.
    ///
    /// # Errors
    /// [`DropReason::FragmentDuplicate`] for one that may be ignored (RFC 8200 section 4.5, RFC 5722); all other reasons are the
    /// datagram's end.
    #[inline(always)]
    pub(super) fn admit<P>(
        &mut self,
        slots: &Slots<P>,
        maps: &mut Maps,
        piece: &Piece,
    ) -> Result<(), DropReason> {
        let is_beyond = |end: NonZeroU32| piece.end > end.get() || piece.is_last && piece.end < end.get();
        if piece.is_impossible() || self.end.is_some_and(is_beyond) || piece.is_last && self.reach > piece.end
        {
            return Err(DropReason::FragmentLength);
        }
        if self.map == NO_MAP {
            if self.is_behind_all(piece) || self.is_before_all(slots, piece) {
                return Ok(());
            }
            if self.fragments < MANY {
                return slots.admit(self.first, piece.start, piece.end);
            }
            self.map = maps.of_chain(slots, self.first);
        }
        maps.admit(self.map, piece.start, piece.end)
    }

    /// Most fragments come in their order...
    const fn is_behind_all(&self, piece: &Piece) -> bool {
        piece.start >= self.reach
    }

    /// ... or in the inverse one.
    fn is_before_all<P>(&self, slots: &Slots<P>, piece: &Piece) -> bool {
        self.is_in_order && slots.get(self.first).is_some_and(|first| piece.end <= first.start)
    }

    /// Takes a fragment in, which has been given a slot.
    #[inline(always)]
    pub(super) fn take_in<P>(&mut self, piece: &Piece, slot: u32, slots: &mut Slots<P>) {
        let is_behind_all = self.is_behind_all(piece);
        if !is_behind_all && self.is_before_all(slots, piece) {
            slots.at_mut(slot).next = self.first;
            self.first = slot;
        } else {
            match self.last {
                NONE => self.first = slot,
                last => slots.at_mut(last).next = slot,
            }
            self.last = slot;
            self.is_in_order &= is_behind_all;
        }
        self.reach = self.reach.max(piece.end);
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

    /// Puts its fragments in order.
    pub(super) fn sort<P>(&mut self, slots: &mut Slots<P>, maps: &mut Maps) {
        if self.is_in_order {
            return;
        }
        if self.map == NO_MAP {
            self.map = maps.of_chain(slots, self.first);
        }
        [self.first, self.last] = maps.sort(self.map, slots, self.first);
        self.is_in_order = true;
        maps.free(std::mem::replace(&mut self.map, NO_MAP));
    }

    /// Whether it can be found, and gives way where there is no room.
    pub(super) const fn is_listed(&self) -> bool {
        self.source != NONE
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
