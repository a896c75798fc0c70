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
mod plain;
mod shortcuts;
mod slots;
mod sources;
mod stage;
mod store;
#[cfg(test)]
mod tests;
mod whole;

pub(crate) use check::check;
pub(crate) use cut::{MAX_FRAME_BYTES, cut};
pub(crate) use leader::Leader;
pub(crate) use piece::Piece;
pub(crate) use whole::{Whole, read, read_all};

use crate::frame::Frame;
use crate::settings::FragmentLimits;
use crate::time::{Instant, Tick};
use crate::verdict::{DropReason, FragmentOffsets};
use crate::wheel::Wheel;
use ahash::RandomState;
use datagrams::{Datagram, Stage};
use piece::Key;
use shortcuts::Place;
use slots::{Slot, buffers};
use std::time::Duration;
use store::Store;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// A pause that the wheel is not turned through step by step. No timeout is longer.
const LONG_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// The number of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DatagramId(u32);

/// All fragments that one shard holds.
#[derive(Debug)]
pub(crate) struct Fragments<P> {
    store: Store<P>,
    /// The datagram that a fragment has come of last.
    latest: u32,
    now: Instant,
    /// All that was due by then has ended.
    expired_by: Instant,
}

impl<P: Frame> Fragments<P> {
    /// Room for so many bytes of packets, found by a secret key.
    pub(crate) fn new(memory_bytes: u32, hasher: RandomState, now: Instant) -> Self {
        Self { store: Store::new(memory_bytes, hasher, Tick::at(now)), latest: NONE, now, expired_by: now }
    }

    /// Packets that are held.
    pub(crate) const fn len(&self) -> u32 {
        self.store.slots.len()
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
        piece: &Piece,
        mut packet: P,
        drop: &mut impl FnMut(P, DropReason),
    ) -> Result<Option<DatagramId>, DropReason> {
        if now > self.now {
            self.advance(now, drop);
        }
        let trimmed = piece.is_odd().then(|| piece.trim(&mut packet));
        let piece = trimmed.as_ref().unwrap_or(piece);
        let buffers = buffers(&packet);
        let Some(number) = self.find_or_begin(limits, &piece.key, drop) else {
            return refuse(packet, DropReason::FragmentLimit, drop);
        };
        if !self.store.datagrams.at(number).is_listed()
            && !self.stays_unlisted(number, limits, piece, buffers)
        {
            self.store.list(number, limits, drop);
        }
        let place = match self.locate(number, limits, piece, buffers, drop) {
            Ok(place) => place,
            Err(reason) => return refuse(packet, reason, drop),
        };
        let slot = self.store.slots.insert(piece, packet, buffers, [place.before, place.after]);
        let datagram = self.store.datagrams.at_mut(number);
        datagram.take_in(piece, slot, place);
        self.store.shortcuts.lead_to(datagram.row, place, piece.start, slot);
        self.store.buffers += u32::from(buffers);
        let fault = match datagram.is_whole() {
            false => None,
            true => match datagram.fault(self.store.slots.at(datagram.first).header_bytes) {
                None => {
                    self.store.complete(number);
                    self.store.datagrams.at_mut(number).buffers += u32::from(buffers);
                    return Ok(Some(DatagramId(number)));
                }
                fault => fault,
            },
        };
        datagram.buffers += u32::from(buffers);
        if datagram.is_listed() {
            let source = datagram.source;
            self.store.sources.grow(source, buffers.into());
        }
        fault.map_or(Ok(None), |reason| {
            self.kill(number, limits, reason, drop);
            Err(reason)
        })
    }

    /// How many fragments a whole datagram has.
    pub(crate) fn count(&self, DatagramId(number): DatagramId) -> usize {
        usize::from(self.store.datagrams.at(number).fragments)
    }

    /// Takes the next fragment of a whole datagram out, in order, and says where it is in its frame. Behind the last the datagram
    /// is forgotten.
    #[inline(always)]
    pub(crate) fn take(&mut self, DatagramId(number): DatagramId) -> Option<(P, FragmentOffsets)> {
        let datagram = self.store.datagrams.at_mut(number);
        if datagram.stage != Stage::Whole {
            return None;
        }
        let Slot { offsets, buffers, .. } = *self.store.slots.at(datagram.first);
        let (packet, next) = self.store.slots.take(datagram.first);
        self.store.buffers -= u32::from(buffers);
        datagram.first = next;
        if next == NONE {
            self.store.free(number);
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
        if self.unlisted().is_some_and(|datagram| datagram.is_due(tick)) {
            self.store.end(self.latest, DropReason::FragmentTimeout, drop);
        }
        while let Some(number) = self.store.wheel.next_due(&mut self.store.datagrams, tick, &mut budget) {
            self.store.wheel.arm(&mut self.store.datagrams, number);
            if self.store.datagrams.at(number).is_due(tick) {
                self.store.end(number, DropReason::FragmentTimeout, drop);
            }
        }
        let is_done = self.store.wheel.is_done(tick);
        if is_done {
            self.expired_by = self.now;
        }
        is_done
    }

    /// Moves the clock. Behind a long pause everything is over, and the wheel begins anew.
    fn advance(&mut self, now: Instant, drop: &mut impl FnMut(P, DropReason)) {
        self.now = self.now.max(now);
        if self.now.since(self.expired_by) > LONG_PAUSE {
            while let Some(source) = self.store.sources.heaviest() {
                self.store.end(self.store.sources.at(source).oldest, DropReason::FragmentTimeout, drop);
            }
            self.store.wheel = Wheel::new(Tick::at(self.now));
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
        let latest = self.store.datagrams.get(self.latest);
        if latest.is_some_and(|datagram| {
            datagram.stage == Stage::Unfinished && datagram.key == *key && !datagram.is_due(tick)
        }) {
            return Some(self.latest);
        }
        if self.unlisted().is_some() {
            self.store.list(self.latest, limits, drop);
        }
        let hash = self.store.hash(key);
        let number = match self.store.datagrams.find(key, hash) {
            Some(number) if !self.store.datagrams.at(number).is_due(tick) => number,
            Some(number) => {
                self.store.end(number, DropReason::FragmentTimeout, drop);
                self.store.begin(tick, limits, key, hash, drop)?
            }
            None => self.store.begin(tick, limits, key, hash, drop)?,
        };
        self.latest = number;
        Some(number)
    }

    /// Whether a datagram can do without being listed though this fragment comes.
    fn stays_unlisted(&self, number: u32, limits: &FragmentLimits, piece: &Piece, buffers: u16) -> bool {
        self.store.has_plenty(limits, buffers.into())
            && self.store.datagrams.at(number).is_brief(&self.store.slots, piece)
    }

    /// The datagram that is not listed, if there is one: that which a fragment has come of last.
    fn unlisted(&self) -> Option<&Datagram> {
        let latest = self.store.datagrams.get(self.latest)?;
        (latest.stage == Stage::Unfinished && !latest.is_listed()).then_some(latest)
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
    ) -> Result<Place, DropReason> {
        let datagram = self.store.datagrams.at_mut(number);
        if let Stage::Dead(reason) = datagram.stage {
            return Err(reason);
        }
        let may_grow = datagram.fragments < limits.fragments;
        let reason = match datagram.locate(&self.store.slots, &mut self.store.shortcuts, piece) {
            Ok(place) if may_grow && self.store.make_room(number, limits, buffers.into(), drop) => {
                return Ok(place);
            }
            Ok(_) => DropReason::FragmentLimit,
            Err(DropReason::FragmentDuplicate) => return Err(DropReason::FragmentDuplicate),
            Err(reason) => reason,
        };
        self.kill(number, limits, reason, drop);
        Err(reason)
    }

    /// Lets go of what there is of a datagram, which is to be found so that the rest of it is dropped, too.
    #[cold]
    #[inline(never)]
    fn kill(
        &mut self,
        number: u32,
        limits: &FragmentLimits,
        reason: DropReason,
        drop: &mut impl FnMut(P, DropReason),
    ) {
        if !self.store.datagrams.at(number).is_listed() {
            self.store.list(number, limits, drop);
        }
        self.store.kill(number, reason, drop);
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
