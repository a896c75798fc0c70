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
mod shortcuts;
mod slots;
mod sources;
mod stage;
#[cfg(test)]
mod tests;
mod whole;

pub(crate) use check::check;
pub(crate) use cut::{MAX_FRAME_BYTES, cut};
pub(crate) use leader::Leader;
pub(crate) use piece::Piece;
pub(crate) use whole::{Whole, read, read_all};

use crate::family::Family;
use crate::frame::Frame;
use crate::settings::{FRAGMENT_BUFFER_BYTES, FragmentLimits};
use crate::time::{Instant, Tick};
use crate::verdict::{DropReason, FragmentOffsets};
use crate::wheel::Wheel;
use ahash::RandomState;
use datagrams::{Datagram, Stage};
use directory::{Directory, Item};
use piece::Key;
use shortcuts::Shortcuts;
use slots::{Neighbours, Slot, Slots, buffers};
use sources::{SourceKey, Sources};
use std::hash::Hash;
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
    shortcuts: Shortcuts,
    sources: Sources,
    hasher: RandomState,
    /// The datagram that a fragment has come of last.
    latest: u32,
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
        let mut vacant = Datagram::new(Key::none(), 0, Tick::at(now));
        vacant.stage = Stage::Free;
        Self {
            slots: Slots::new(room),
            datagrams: Directory::new(room, vacant),
            shortcuts: Shortcuts::new(room),
            sources: Sources::new(room, room),
            hasher,
            latest: NONE,
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
        if now > self.now {
            self.advance(now, drop);
        }
        if piece.is_odd() {
            piece = piece.trim(&mut packet);
        }
        let buffers = buffers(&packet);
        let Some(number) = self.find_or_begin(limits, &piece.key, drop) else {
            return refuse(packet, DropReason::FragmentLimit, drop);
        };
        let neighbours = match self.locate(number, limits, &piece, buffers, drop) {
            Ok(neighbours) => neighbours,
            Err(reason) => return refuse(packet, reason, drop),
        };
        let slot = self.slots.insert(&piece, packet, buffers, neighbours);
        let datagram = self.datagrams.at_mut(number);
        datagram.take_in(&piece, slot, neighbours);
        self.buffers += u32::from(buffers);
        let fault = match datagram.is_whole() {
            false => None,
            true => match datagram.fault(self.slots.at(datagram.first).header_bytes) {
                None => {
                    self.wheel.disarm(&mut self.datagrams, number);
                    self.unlink(number);
                    let datagram = self.datagrams.at_mut(number);
                    datagram.stage = Stage::Whole;
                    datagram.buffers += u32::from(buffers);
                    return Ok(Some(DatagramId(number)));
                }
                fault => fault,
            },
        };
        datagram.buffers += u32::from(buffers);
        let source = datagram.source;
        self.sources.grow(source, buffers.into());
        fault.map_or(Ok(None), |reason| {
            self.kill(number, reason, drop);
            Err(reason)
        })
    }

    /// How many fragments a whole datagram has.
    pub(crate) fn count(&self, DatagramId(number): DatagramId) -> usize {
        usize::from(self.datagrams.at(number).fragments)
    }

    /// Takes the next fragment of a whole datagram out, in order, and says where it is in its frame. Behind the last the datagram
    /// is forgotten.
    #[inline(always)]
    pub(crate) fn take(&mut self, DatagramId(number): DatagramId) -> Option<(P, FragmentOffsets)> {
        let datagram = self.datagrams.at_mut(number);
        if datagram.stage != Stage::Whole {
            return None;
        }
        let Slot { offsets, buffers, .. } = *self.slots.at(datagram.first);
        let (packet, next) = self.slots.take(datagram.first);
        self.buffers -= u32::from(buffers);
        datagram.first = next;
        if next == NONE {
            self.free(number);
        }
        packet.map(|packet| (packet, offsets))
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

    /// The datagram of a key, if its time is not over, or else a new one. `None` where there is no room. It is most often that of
    /// the fragment before.
    fn find_or_begin(
        &mut self,
        limits: &FragmentLimits,
        key: &Key,
        drop: &mut impl FnMut(P, DropReason),
    ) -> Option<u32> {
        let tick = Tick::at(self.now);
        let latest = self.datagrams.get(self.latest);
        if latest.is_some_and(|datagram| {
            datagram.stage == Stage::Unfinished && datagram.key == *key && !datagram.is_due(tick)
        }) {
            return Some(self.latest);
        }
        let hash = self.hash(key);
        let number = match self.datagrams.find(key, hash) {
            Some(number) if !self.datagrams.at(number).is_due(tick) => number,
            Some(number) => {
                self.end(number, DropReason::FragmentTimeout, drop);
                self.begin(limits, key, hash, drop)?
            }
            None => self.begin(limits, key, hash, drop)?,
        };
        self.latest = number;
        Some(number)
    }

    /// Begins a datagram, if need be instead of another. `None` where none can give way.
    fn begin(
        &mut self,
        limits: &FragmentLimits,
        key: &Key,
        hash: u32,
        drop: &mut impl FnMut(P, DropReason),
    ) -> Option<u32> {
        let source_key = SourceKey::of(key.family, key.source);
        let source_hash = self.hash(&source_key);
        let mut found = self.sources.find(&source_key, source_hash);
        while let Some(source) = found
            && self.sources.at(source).datagrams >= limits.datagrams.max(1)
        {
            self.end(self.sources.at(source).oldest, DropReason::FragmentLimit, drop);
            found = self.sources.find(&source_key, source_hash);
        }
        if self.datagrams.is_full() {
            let heaviest = self.sources.heaviest()?;
            self.end(self.sources.at(heaviest).oldest, DropReason::FragmentLimit, drop);
            self.prefetch_next_to_give_way();
            // It may have been the only one of its source.
            found = found
                .filter(|source| *source != heaviest)
                .or_else(|| self.sources.find(&source_key, source_hash));
        }
        let source = found.or_else(|| self.sources.add(source_key, source_hash))?;
        let timeout_ms = match key.family {
            Family::V4 => limits.timeout_ms,
            Family::V6 => limits.timeout_v6_ms,
        };
        let datagram = Datagram::new(*key, hash, Tick::at(self.now).after_ms(timeout_ms));
        let number = self.datagrams.insert(datagram)?;
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

    /// Fetches what the next fragments of a flood will look at, for which others give way as they have come: each time one step
    /// farther of who is the heaviest but two, but one, and the heaviest.
    fn prefetch_next_to_give_way(&mut self) {
        let Some(heaviest) = self.sources.heaviest() else { return };
        let source = self.sources.at(heaviest);
        if let Some(datagram) = self.datagrams.get(source.oldest) {
            self.datagrams.prefetch(datagram.hash());
            self.slots.prefetch(datagram.first);
        }
        self.sources.prefetch(source.hash());
        if let Some(next) = self.sources.get(source.following) {
            self.datagrams.prefetch_item(next.oldest);
            self.sources.prefetch_item(next.following);
        }
    }

    /// Between which others of its datagram a fragment belongs, for which there is room then. Where it ends the datagram, that is
    /// dead.
    fn locate(
        &mut self,
        number: u32,
        limits: &FragmentLimits,
        piece: &Piece,
        buffers: u16,
        drop: &mut impl FnMut(P, DropReason),
    ) -> Result<Neighbours, DropReason> {
        let datagram = self.datagrams.at_mut(number);
        if let Stage::Dead(reason) = datagram.stage {
            return Err(reason);
        }
        let may_grow = datagram.fragments < limits.fragments;
        let reason = match datagram.locate(&self.slots, self.shortcuts.of(number), piece) {
            Ok(neighbours) if may_grow && self.make_room(number, limits, buffers.into(), drop) => {
                return Ok(neighbours);
            }
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
        let Datagram { source, buffers, .. } = *self.datagrams.at(number);
        self.sources.shrink(source, buffers);
        self.release(number, reason, drop);
        self.datagrams.at_mut(number).stage = Stage::Dead(reason);
    }

    /// Ends a datagram that is not whole.
    fn end(&mut self, number: u32, reason: DropReason, drop: &mut impl FnMut(P, DropReason)) {
        self.wheel.disarm(&mut self.datagrams, number);
        self.unlink(number);
        self.release(number, reason, drop);
        self.free(number);
    }

    /// Lets go of the fragments of a datagram.
    fn release(&mut self, number: u32, reason: DropReason, drop: &mut impl FnMut(P, DropReason)) {
        let datagram = self.datagrams.at_mut(number);
        (datagram.last, datagram.fragments) = (NONE, 0);
        self.buffers -= std::mem::take(&mut datagram.buffers);
        let mut next = std::mem::replace(&mut datagram.first, NONE);
        while next != NONE {
            let (packet, following) = self.slots.take(next);
            packet.into_iter().for_each(|packet| drop(packet, reason));
            next = following;
        }
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
        if of.datagrams == 0 {
            self.sources.remove(source);
        } else {
            self.sources.shrink(source, buffers);
        }
    }

    /// The keyed hash of what is found by it.
    fn hash(&self, key: &impl Hash) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    /// Gives the slot of a datagram to the next one.
    fn free(&mut self, number: u32) {
        self.datagrams.at_mut(number).stage = Stage::Free;
        self.datagrams.free(number);
    }
}

/// Gives a fragment that cannot be held to `drop`.
#[cold]
#[inline(never)]
fn refuse<P, T>(
    packet: P,
    reason: DropReason,
    drop: &mut impl FnMut(P, DropReason),
) -> Result<T, DropReason> {
    drop(packet, reason);
    Err(reason)
}
