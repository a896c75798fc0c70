//! What is held, and who gives way where there is no room for more: of a source that has its share, its oldest datagram; else the
//! oldest of the source that holds most.

use super::NONE;
use super::datagrams::{Datagram, Stage};
use super::directory::{Directory, Item};
use super::piece::Key;
use super::slots::Slots;
use super::sources::Sources;
use super::units::{Maps, NO_MAP};
use crate::family::Family;
use crate::settings::{FRAGMENT_BUFFER_BYTES, FragmentLimits};
use crate::time::Tick;
use crate::verdict::DropReason;
use crate::wheel::Wheel;
use ahash::RandomState;
use std::hash::Hash;

/// The part of the memory that one source may fill.
pub(super) const SHARE_OF_SOURCE: u32 = 4;

/// The part of the datagrams that give way at once where there is no room for one more.
const PART_AT_ONCE: u32 = 512;

/// Packets, the datagrams that they are of, and their sources.
#[derive(Debug)]
pub(super) struct Store<P> {
    pub(super) slots: Slots<P>,
    pub(super) datagrams: Directory<Datagram>,
    pub(super) maps: Maps,
    pub(super) sources: Sources,
    hasher: RandomState,
    pub(super) wheel: Wheel,
    /// Room for so many buffers, and how many are taken.
    pub(super) room: u32,
    pub(super) buffers: u32,
}

impl<P> Store<P> {
    /// Room for so many bytes of packets, found by a secret key.
    pub(super) fn new(memory_bytes: u32, hasher: RandomState, now: Tick) -> Self {
        let room = memory_bytes / FRAGMENT_BUFFER_BYTES;
        let mut vacant = Datagram::new(Key::none(), 0, now);
        vacant.stage = Stage::Free;
        Self {
            slots: Slots::new(room),
            datagrams: Directory::new(room, vacant),
            maps: Maps::new(room),
            sources: Sources::new(room, room),
            hasher,
            wheel: Wheel::new(now),
            room,
            buffers: 0,
        }
    }

    /// Begins a datagram, if need be instead of others; it is unlisted. `None` where none can give way.
    pub(super) fn begin(
        &mut self,
        now: Tick,
        limits: &FragmentLimits,
        key: Key,
        hash: u32,
        drop: &mut impl FnMut(P, DropReason),
    ) -> Option<u32> {
        if self.datagrams.is_full() {
            self.give_way(drop)?;
        }
        let timeout_ms = match key.family {
            Family::V4 => limits.timeout_ms,
            Family::V6 => limits.timeout_v6_ms,
        };
        self.datagrams.add(Datagram::new(key, hash, now.after_ms(timeout_ms)))
    }

    /// Whether so little is held that one datagram more exceeds no limit, whosever it is, with so many buffers more.
    #[inline(always)]
    pub(super) const fn has_plenty(&self, limits: &FragmentLimits, buffers: u32) -> bool {
        self.datagrams.len() <= limits.datagrams as usize
            && self.buffers + buffers <= self.most(limits) / SHARE_OF_SOURCE
    }

    /// The most buffers that may be taken.
    const fn most(&self, limits: &FragmentLimits) -> u32 {
        let most = limits.memory_bytes / FRAGMENT_BUFFER_BYTES;
        if most < self.room { most } else { self.room }
    }

    /// Lists a datagram: by its key, with its source, and with its time. Most datagrams come in two fragments, one behind the other:
    /// while little is held, they need not be listed to become whole. If its source has as many as it may, the oldest gives way.
    #[inline(never)]
    pub(super) fn list(
        &mut self,
        number: u32,
        limits: &FragmentLimits,
        drop: &mut impl FnMut(P, DropReason),
    ) {
        let key = self.datagrams.at(number).key.source();
        let hash = self.hash(&key);
        let mut found = self.sources.find(&key, hash);
        while let Some(source) = found
            && self.sources.at(source).datagrams >= limits.datagrams.max(1)
        {
            self.end(self.sources.at(source).oldest, DropReason::FragmentLimit, drop);
            found = self.sources.find(&key, hash);
        }
        // There is room for as many as there are datagrams.
        let Some(source) = found.or_else(|| self.sources.add(key, hash)) else { return };
        let datagram = self.datagrams.at_mut(number);
        datagram.source = source;
        let buffers = datagram.buffers;
        let of = self.sources.at_mut(source);
        of.datagrams += 1;
        datagram.older = std::mem::replace(&mut of.newest, number);
        match datagram.older {
            NONE => of.oldest = number,
            older => self.datagrams.at_mut(older).newer = number,
        }
        self.sources.grow(source, buffers);
        self.datagrams.link(number);
        self.wheel.arm(&mut self.datagrams, number);
    }

    /// Has the oldest datagrams of the heaviest sources end, several at once: between two fragments of a flood, other packets have
    /// pushed all that this takes out of the first-level caches. `None` where there are none.
    #[cold]
    #[inline(never)]
    fn give_way(&mut self, drop: &mut impl FnMut(P, DropReason)) -> Option<()> {
        for ended in 0..(self.room / PART_AT_ONCE).max(1) {
            let Some(heaviest) = self.sources.heaviest() else { return (ended > 0).then_some(()) };
            self.end(self.sources.at(heaviest).oldest, DropReason::FragmentLimit, drop);
            self.prefetch_next_to_give_way();
        }
        Some(())
    }

    /// Fetches what the next to give way will look at: each time one step farther of who is the heaviest but two, but one, and the
    /// heaviest.
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

    /// Makes room for buffers of a datagram. False where it is the next itself to give way.
    #[inline(always)]
    pub(super) fn make_room(
        &mut self,
        number: u32,
        limits: &FragmentLimits,
        buffers: u32,
        drop: &mut impl FnMut(P, DropReason),
    ) -> bool {
        self.buffers + buffers <= self.most(limits) / SHARE_OF_SOURCE
            || self.have_give_way(number, limits, buffers, drop)
    }

    #[inline(never)]
    fn have_give_way(
        &mut self,
        number: u32,
        limits: &FragmentLimits,
        buffers: u32,
        drop: &mut impl FnMut(P, DropReason),
    ) -> bool {
        let most = self.most(limits);
        if !self.datagrams.at(number).is_listed() {
            return !self.slots.is_full();
        }
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
    pub(super) fn kill(&mut self, number: u32, reason: DropReason, drop: &mut impl FnMut(P, DropReason)) {
        let Datagram { source, buffers, .. } = *self.datagrams.at(number);
        self.sources.shrink(source, buffers);
        self.release(number, reason, drop);
        self.datagrams.at_mut(number).stage = Stage::Dead(reason);
    }

    /// Takes a datagram that has become whole out of what can be found and can give way.
    #[inline(always)]
    pub(super) fn complete(&mut self, number: u32) {
        self.unlist(number);
        self.datagrams.at_mut(number).stage = Stage::Whole;
    }

    /// Ends a datagram that is not whole.
    pub(super) fn end(&mut self, number: u32, reason: DropReason, drop: &mut impl FnMut(P, DropReason)) {
        self.unlist(number);
        self.release(number, reason, drop);
        self.free(number);
    }

    /// Lets go of the fragments of a datagram.
    fn release(&mut self, number: u32, reason: DropReason, drop: &mut impl FnMut(P, DropReason)) {
        let datagram = self.datagrams.at_mut(number);
        (datagram.last, datagram.fragments) = (NONE, 0);
        self.buffers -= std::mem::take(&mut datagram.buffers);
        self.maps.free(std::mem::replace(&mut datagram.map, NO_MAP));
        let mut next = std::mem::replace(&mut datagram.first, NONE);
        while next != NONE {
            let (packet, following) = self.slots.take(next);
            packet.into_iter().for_each(|packet| drop(packet, reason));
            next = following;
        }
    }

    /// Lets a datagram be found no more, and takes it from its source and from the wheel, if it is listed.
    #[inline(always)]
    fn unlist(&mut self, number: u32) {
        if self.datagrams.at(number).is_listed() {
            self.unlink(number);
        }
    }

    #[inline(never)]
    fn unlink(&mut self, number: u32) {
        self.wheel.disarm(&mut self.datagrams, number);
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
    pub(super) fn hash(&self, key: &impl Hash) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    /// Gives the slot of a datagram to the next one.
    pub(super) fn free(&mut self, number: u32) {
        self.datagrams.at_mut(number).stage = Stage::Free;
        self.datagrams.free(number);
    }
}
