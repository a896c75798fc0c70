//! Datagrams that have come in part, and where their fragments are.

use super::NONE;
use super::directory::{Directory, Item};
use super::piece::{Key, Piece, exceeds};
use super::shortcuts::Row;
use super::slots::{Neighbours, Slots};
use crate::time::Tick;
use crate::verdict::DropReason;
use crate::wheel::{Timer, Timers};

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

#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    pub(super) key: Key,
    hash: u32,
    pub(super) stage: Stage,
    deadline: Tick,
    timer: Timer,
    /// Whose it is, and which of that source came before and after.
    pub(super) source: u32,
    pub(super) older: u32,
    pub(super) newer: u32,
    /// The first and the last of its fragments, in the order of their positions in it.
    pub(super) first: u32,
    pub(super) last: u32,
    /// The one that came last.
    pub(super) latest: u32,
    /// How many shortcuts there are to them.
    shortcuts: u8,
    pub(super) fragments: u16,
    /// Buffers that those take.
    pub(super) buffers: u32,
    /// Bytes that are there, and how many there are to be.
    bytes: u32,
    end: Option<u32>,
    /// The largest fragment with its IP header, in bytes.
    pub(super) largest_bytes: u32,
    /// The same of those that must not be cut.
    pub(super) largest_fixed_bytes: u32,
    /// A bit for each value of the bits for ECN that a fragment has.
    ecn: u8,
}

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
            latest: NONE,
            shortcuts: 0,
            fragments: 0,
            buffers: 0,
            bytes: 0,
            end: None,
            largest_bytes: 0,
            largest_fixed_bytes: 0,
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
        shortcuts: &mut Row,
        piece: &Piece,
    ) -> Result<Neighbours, DropReason> {
        let is_beyond = |end| piece.end > end || piece.is_last && piece.end < end;
        if piece.is_impossible()
            || self.end.is_some_and(is_beyond)
            || piece.is_last && self.last != NONE && slots.at(self.last).end > piece.end
        {
            return Err(DropReason::FragmentLength);
        }
        let neighbours @ [before, after] = self.neighbours(slots, shortcuts, piece.start);
        if before != NONE && slots.at(before).end > piece.start {
            let is_known = piece.end <= slots.at(before).end;
            return Err(if is_known { DropReason::FragmentDuplicate } else { DropReason::FragmentOverlap });
        }
        if after != NONE && slots.at(after).start < piece.end {
            return Err(DropReason::FragmentOverlap);
        }
        Ok(neighbours)
    }

    /// The fragments before and behind which one that starts there belongs. Most come in their order or in the inverse one.
    #[inline(always)]
    fn neighbours<P>(&mut self, slots: &Slots<P>, shortcuts: &mut Row, start: u32) -> Neighbours {
        if self.last == NONE || slots.at(self.last).start <= start {
            [self.last, NONE]
        } else if start < slots.at(self.first).start {
            [NONE, self.first]
        } else {
            shortcuts.neighbours(&mut self.shortcuts, slots, [self.first, self.latest], start)
        }
    }

    /// Takes a fragment in between its neighbours.
    #[inline(always)]
    pub(super) fn take_in(&mut self, piece: &Piece, slot: u32, [before, after]: Neighbours) {
        if before == NONE {
            self.first = slot;
        }
        if after == NONE {
            self.last = slot;
        }
        self.latest = slot;
        self.fragments += 1;
        self.bytes += piece.end - piece.start;
        self.largest_bytes = self.largest_bytes.max(piece.packet_bytes);
        if piece.is_fixed {
            self.largest_fixed_bytes = self.largest_fixed_bytes.max(piece.packet_bytes);
        }
        self.ecn |= 1 << piece.ecn;
        if piece.is_last {
            self.end = Some(piece.end);
        }
    }

    /// Whether all of it is there.
    pub(super) fn is_whole(&self) -> bool {
        self.end == Some(self.bytes)
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
