//! Virtual reassembly of fragmented datagrams (RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722, RFC 6946).
//!
//! Fragments are held until their datagram is whole. That is then read as one frame ([`Whole`]), tracked and judged once, and
//! its fragments leave as they came, in their order: no byte is copied, and no new cuts are made but where the MTU of the way
//! out asks for them ([`cut`]). It is all or nothing: where fragments overlap, contradict one another or do not come in time, none of them passes, and none that comes later.
//!
//! What can be held is bounded: in buffers, by datagram and by source; IPv6 sources are told apart by the halves of their
//! addresses that one of them cannot choose. Who holds most gives way first. All room is there from the start.

mod check;
mod cut;
mod datagrams;
mod directory;
mod leader;
mod piece;
mod slots;
mod sources;
mod stage;
#[cfg(test)]
mod tests;
mod whole;

pub(crate) use cut::{MAX_FRAME_BYTES, cut};
pub(crate) use leader::Leader;
pub(crate) use piece::Piece;
pub(crate) use whole::Whole;

use crate::family::Family;
use crate::frame::{Frame, Reassembled};
use crate::settings::{FRAGMENT_BUFFER_BYTES, FragmentLimits};
use crate::time::{Instant, Tick};
use crate::verdict::DropReason;
use crate::wheel::Wheel;
use ahash::RandomState;
use datagrams::{Datagram, Stage};
use directory::Directory;
use piece::Key;
use slots::{Slots, buffers};
use sources::{SourceKey, Sources};
use std::time::Duration;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// A pause that the wheel is not turned through step by step. No timeout is longer.
const LONG_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// The part of the memory that one source may fill.
const SHARE_OF_SOURCE: u32 = 4;

/// The number of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DatagramId(u32);

/// All fragments that one shard holds.
#[derive(Debug)]
pub(crate) struct Fragments<P> {
    slots: Slots<P>,
    datagrams: Directory<Datagram>,
    sources: Sources,
    hasher: RandomState,
    wheel: Wheel,
    now: Instant,
    /// All that was due by then has ended.
    expired_by: Instant,
    /// Room for so many buffers, and how many are taken.
    room: u32,
    buffers: u32,
}

impl<P: Frame> Fragments<P> {
    /// Room for so many bytes of packets, found by a secret key.
    pub(crate) fn new(memory_bytes: u32, hasher: RandomState, now: Instant) -> Self {
        let room = memory_bytes / FRAGMENT_BUFFER_BYTES;
        let mut vacant = Datagram::new(Key::none(), Tick::at(now));
        vacant.stage = Stage::Free;
        Self {
            slots: Slots::new(room),
            datagrams: Directory::new(room, vacant),
            sources: Sources::new(room, room),
            hasher,
            wheel: Wheel::new(Tick::at(now)),
            now,
            expired_by: now,
            room,
            buffers: 0,
        }
    }

    /// Packets that are held.
    pub(crate) const fn len(&self) -> u32 {
        self.slots.len()
    }

    /// Takes a fragment in at `now`. Gives the datagram that is whole with it. What cannot pass is given to `drop`, with the
    /// reason.
    ///
    /// # Errors
    /// Why the fragment itself was given there.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        limits: &FragmentLimits,
        mut piece: Piece,
        mut packet: P,
        drop: &mut impl FnMut(P, DropReason),
    ) -> Result<Option<DatagramId>, DropReason> {
        self.advance(now, drop);
        if piece.is_odd() {
            piece.trim(&mut packet);
        }
        let buffers = buffers(&packet);
        let hash = self.hasher.hash_one(piece.key);
        let found = self.find(&piece.key, hash, drop);
        let placed = match found.or_else(|| self.begin(limits, &piece.key, hash, drop)) {
            Some(number) => self.place(number, limits, &piece, buffers, drop).map(|before| (number, before)),
            None => Err(DropReason::FragmentLimit),
        };
        let (number, before) = match placed {
            Ok(placed) => placed,
            Err(reason) => {
                drop(packet, reason);
                return Err(reason);
            }
        };
        let datagram = self.datagrams.at_mut(number);
        let after = if before == NONE { datagram.first } else { self.slots.at(before).next };
        let slot = self.slots.insert(&piece, packet, before, after);
        if before == NONE {
            datagram.first = slot;
        }
        if after == NONE {
            datagram.last = slot;
        }
        datagram.latest = slot;
        datagram.grow(&piece, buffers);
        self.buffers += buffers;
        let Datagram { source, first, .. } = *datagram;
        self.sources.weigh(source, self.sources.at(source).buffers + buffers);
        let datagram = self.datagrams.at(number);
        if !datagram.is_whole() {
            return Ok(None);
        }
        if let Some(reason) = datagram.fault(self.slots.at(first).header_bytes) {
            self.kill(number, reason, drop);
            return Err(reason);
        }
        self.wheel.disarm(&mut self.datagrams, number);
        self.unlink(number);
        self.datagrams.at_mut(number).stage = Stage::Whole;
        Ok(Some(DatagramId(number)))
    }

    /// A whole datagram, read as one frame.
    pub(crate) fn whole(&mut self, DatagramId(number): DatagramId) -> Whole<'_, P> {
        let datagram = self.datagrams.at(number);
        let reassembled = Reassembled {
            rest_bytes: datagram.rest_bytes(&self.slots),
            largest_bytes: datagram.largest_bytes,
            may_be_fragmented: datagram.largest_fixed_bytes < datagram.largest_bytes,
            has_seen_congestion: datagram.has_seen_congestion(),
        };
        Whole { first: datagram.first, slots: &mut self.slots, reassembled }
    }

    /// How many fragments a whole datagram has.
    pub(crate) fn count(&self, DatagramId(number): DatagramId) -> usize {
        usize::from(self.datagrams.at(number).fragments)
    }

    /// Takes the next fragment of a whole datagram out, in order. Behind the last the datagram is forgotten.
    pub(crate) fn take(&mut self, DatagramId(number): DatagramId) -> Option<P> {
        let datagram = self.datagrams.at_mut(number);
        if datagram.stage != Stage::Whole {
            return None;
        }
        let (packet, next) = self.slots.take(datagram.first);
        self.buffers -= packet.as_ref().map_or(0, buffers);
        datagram.first = next;
        if next == NONE {
            self.free(number);
        }
        packet
    }

    /// Ends the datagrams whose time is over, at most `budget` steps of it. False when there is more to do.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        mut budget: u32,
        drop: &mut impl FnMut(P, DropReason),
    ) -> bool {
        self.advance(now, drop);
        let tick = Tick::at(self.now);
        while let Some(number) = self.wheel.next_due(&mut self.datagrams, tick, &mut budget) {
            self.wheel.arm(&mut self.datagrams, number);
            if self.datagrams.at(number).is_due(tick) {
                self.end(number, DropReason::FragmentTimeout, drop);
            }
        }
        let is_done = self.wheel.is_done(tick);
        if is_done {
            self.expired_by = self.now;
        }
        is_done
    }

    /// Moves the clock. Behind a long pause everything is over, and the wheel begins anew.
    fn advance(&mut self, now: Instant, drop: &mut impl FnMut(P, DropReason)) {
        self.now = self.now.max(now);
        if self.now.since(self.expired_by) > LONG_PAUSE {
            while let Some(source) = self.sources.heaviest() {
                self.end(self.sources.at(source).oldest, DropReason::FragmentTimeout, drop);
            }
            self.wheel = Wheel::new(Tick::at(self.now));
            self.expired_by = self.now;
        }
    }

    /// The datagram of a key that has this hash, if its time is not over.
    fn find(&mut self, key: &Key, hash: u64, drop: &mut impl FnMut(P, DropReason)) -> Option<u32> {
        let number = self.datagrams.find(*key, hash)?;
        if self.datagrams.at(number).is_due(Tick::at(self.now)) {
            self.end(number, DropReason::FragmentTimeout, drop);
            return None;
        }
        Some(number)
    }

    /// Begins a datagram, if need be in the place of another. `None` where none can give way.
    fn begin(
        &mut self,
        limits: &FragmentLimits,
        key: &Key,
        hash: u64,
        drop: &mut impl FnMut(P, DropReason),
    ) -> Option<u32> {
        let source_key = SourceKey::of(key.family, key.source);
        let source_hash = self.hasher.hash_one(source_key);
        while let Some(source) = self.sources.find(source_key, source_hash)
            && self.sources.at(source).datagrams >= limits.datagrams.max(1)
        {
            self.end(self.sources.at(source).oldest, DropReason::FragmentLimit, drop);
        }
        if self.datagrams.is_full() {
            let heaviest = self.sources.heaviest()?;
            self.end(self.sources.at(heaviest).oldest, DropReason::FragmentLimit, drop);
        }
        let found = self.sources.find(source_key, source_hash);
        let source = found.or_else(|| self.sources.add(source_key, source_hash))?;
        let timeout_ms = match key.family {
            Family::V4 => limits.timeout_ms,
            Family::V6 => limits.timeout_v6_ms,
        };
        let datagram = Datagram::new(*key, Tick::at(self.now).after_ms(timeout_ms));
        let number = self.datagrams.insert(hash, datagram)?;
        let datagram = self.datagrams.at_mut(number);
        datagram.source = source;
        let of = self.sources.at_mut(source);
        of.datagrams += 1;
        datagram.older = std::mem::replace(&mut of.newest, number);
        match datagram.older {
            NONE => of.oldest = number,
            older => self.datagrams.at_mut(older).newer = number,
        }
        self.wheel.arm(&mut self.datagrams, number);
        Some(number)
    }

    /// Where in its datagram a fragment belongs, for which there is room then. Where it ends the datagram, that is dead.
    fn place(
        &mut self,
        number: u32,
        limits: &FragmentLimits,
        piece: &Piece,
        buffers: u32,
        drop: &mut impl FnMut(P, DropReason),
    ) -> Result<u32, DropReason> {
        let datagram = self.datagrams.at(number);
        if let Stage::Dead(reason) = datagram.stage {
            return Err(reason);
        }
        let may_grow = datagram.fragments < limits.fragments;
        let reason = match datagram.place(&self.slots, piece) {
            Ok(before) if may_grow && self.make_room(number, limits, buffers, drop) => return Ok(before),
            Ok(_) => DropReason::FragmentLimit,
            Err(DropReason::FragmentDuplicate) => return Err(DropReason::FragmentDuplicate),
            Err(reason) => reason,
        };
        self.kill(number, reason, drop);
        Err(reason)
    }

    /// Makes room for buffers of a datagram. False where it is the next itself to give way.
    fn make_room(
        &mut self,
        number: u32,
        limits: &FragmentLimits,
        buffers: u32,
        drop: &mut impl FnMut(P, DropReason),
    ) -> bool {
        let most = (limits.memory_bytes / FRAGMENT_BUFFER_BYTES).min(self.room);
        loop {
            let own = self.datagrams.at(number).source;
            let gives_way = if self.sources.at(own).buffers + buffers > most / SHARE_OF_SOURCE {
                Some(own)
            } else if self.buffers + buffers > most || self.slots.is_full() {
                self.sources.heaviest()
            } else {
                return true;
            };
            let oldest = gives_way.map(|source| self.sources.at(source).oldest);
            match oldest.filter(|oldest| *oldest != number) {
                Some(oldest) => self.end(oldest, DropReason::FragmentLimit, drop),
                None => return false,
            }
        }
    }

    /// Lets go of what there is of a datagram. What comes of it until its time is over is dropped for the same reason.
    fn kill(&mut self, number: u32, reason: DropReason, drop: &mut impl FnMut(P, DropReason)) {
        let datagram = self.datagrams.at_mut(number);
        datagram.stage = Stage::Dead(reason);
        (datagram.last, datagram.fragments) = (NONE, 0);
        let buffers = std::mem::take(&mut datagram.buffers);
        let mut next = std::mem::replace(&mut datagram.first, NONE);
        self.buffers -= buffers;
        self.sources.weigh(datagram.source, self.sources.at(datagram.source).buffers - buffers);
        while next != NONE {
            let (packet, following) = self.slots.take(next);
            packet.into_iter().for_each(|packet| drop(packet, reason));
            next = following;
        }
    }

    /// Ends a datagram that is not whole.
    fn end(&mut self, number: u32, reason: DropReason, drop: &mut impl FnMut(P, DropReason)) {
        self.kill(number, reason, drop);
        self.wheel.disarm(&mut self.datagrams, number);
        self.unlink(number);
        self.free(number);
    }

    /// Lets a datagram be found no more, and takes it from its source.
    fn unlink(&mut self, number: u32) {
        self.datagrams.unlink(number);
        let Datagram { source, older, newer, buffers, .. } = *self.datagrams.at(number);
        let of = self.sources.at_mut(source);
        of.datagrams -= 1;
        match older {
            NONE => of.oldest = newer,
            older => self.datagrams.at_mut(older).newer = newer,
        }
        match newer {
            NONE => of.newest = older,
            newer => self.datagrams.at_mut(newer).older = older,
        }
        let left = (of.datagrams, of.buffers - buffers);
        self.sources.weigh(source, left.1);
        if left.0 == 0 {
            self.sources.remove(source);
        }
    }

    /// Gives the place of a datagram to the next one.
    fn free(&mut self, number: u32) {
        self.datagrams.at_mut(number).stage = Stage::Free;
        self.datagrams.free(number);
    }
}
