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
mod slots;
mod sources;
mod stage;
mod store;
#[cfg(test)]
mod tests;
mod units;
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
use slots::buffers;
use std::time::Duration;
use store::Store;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// A pause that the wheel is not turned through step by step. No timeout is longer.
const LONG_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// The number of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DatagramId(u32);

/// Fragments of a datagram that are still held, from this slot on.
#[derive(Debug)]
pub(crate) struct Chain(u32);

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
    #[inline(always)]
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
        piece.trim(&mut packet);
        let buffers = buffers(&packet).into();
        let number = if self.is_of_latest(&piece.key) {
            self.latest
        } else {
            match self.find_or_begin(limits, piece.key, drop) {
                Some(number) => number,
                None => return refuse(packet, DropReason::FragmentLimit, drop),
            }
        };
        if !self.store.datagrams.at(number).is_listed() && !self.store.has_plenty(limits, buffers) {
            self.store.list(number, limits, drop);
        }
        if let Err(reason) = self.admit(number, limits, &piece, buffers, drop) {
            return refuse(packet, reason, drop);
        }
        let Store { slots, maps, datagrams, sources, buffers: taken, .. } = &mut self.store;
        let datagram = datagrams.at_mut(number);
        datagram.take_in(&piece, slots.insert(&piece, packet), slots);
        datagram.buffers += buffers;
        *taken += buffers;
        if datagram.is_listed() {
            sources.grow(datagram.source, buffers);
        }
        if datagram.is_whole() {
            datagram.sort(slots, maps);
            return match datagram.fault(slots.at(datagram.first).header_bytes) {
                None => {
                    self.store.complete(number);
                    Ok(Some(DatagramId(number)))
                }
                Some(reason) => {
                    self.kill(number, limits, reason, drop);
                    Err(reason)
                }
            };
        }
        if datagram.fragments > 1 {
            self.list(number, limits, drop);
        }
        Ok(None)
    }

    /// How many fragments a whole datagram has.
    pub(crate) fn count(&self, DatagramId(number): DatagramId) -> usize {
        usize::from(self.store.datagrams.at(number).fragments)
    }

    /// Forgets a datagram that is whole. Gives its fragments, each of which is then to be [taken out](Self::take).
    pub(crate) fn open(&mut self, DatagramId(number): DatagramId) -> Chain {
        let datagram = self.store.datagrams.at_mut(number);
        if datagram.stage != Stage::Whole {
            return Chain(NONE);
        }
        let first = datagram.first;
        self.store.buffers -= datagram.buffers;
        self.store.free(number);
        Chain(first)
    }

    /// Takes the next fragment of a datagram out, in order, and says where it is in its frame.
    #[inline(always)]
    pub(crate) fn take(&mut self, Chain(next): &mut Chain) -> Option<(P, FragmentOffsets)> {
        let offsets = self.store.slots.get(*next)?.offsets;
        let (packet, following) = self.store.slots.take(*next);
        *next = following;
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

    /// Whether a key is that of the datagram which a fragment has come of last: it most often is.
    #[inline(always)]
    fn is_of_latest(&self, key: &Key) -> bool {
        self.store.datagrams.get(self.latest).is_some_and(|latest| {
            latest.stage == Stage::Unfinished && latest.key == *key && !latest.is_due(Tick::at(self.now))
        })
    }

    /// The datagram of a key, if its time is not over, or else a new one. `None` where there is no room.
    #[inline(never)]
    fn find_or_begin(
        &mut self,
        limits: &FragmentLimits,
        key: Key,
        drop: &mut impl FnMut(P, DropReason),
    ) -> Option<u32> {
        let tick = Tick::at(self.now);
        if self.unlisted().is_some() {
            self.store.list(self.latest, limits, drop);
        }
        let hash = self.store.hash(&key);
        let number = match self.store.datagrams.find(&key, hash) {
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

    /// Lists a datagram, unless it is.
    #[inline(always)]
    fn list(&mut self, number: u32, limits: &FragmentLimits, drop: &mut impl FnMut(P, DropReason)) {
        if !self.store.datagrams.at(number).is_listed() {
            self.store.list(number, limits, drop);
        }
    }

    /// The datagram that is not listed, if there is one: that which a fragment has come of last.
    fn unlisted(&self) -> Option<&Datagram> {
        let latest = self.store.datagrams.get(self.latest)?;
        (latest.stage == Stage::Unfinished && !latest.is_listed()).then_some(latest)
    }

    /// Whether a fragment can be part of its datagram, for which there is room then. Where it ends the datagram, that is dead.
    #[inline(always)]
    fn admit(
        &mut self,
        number: u32,
        limits: &FragmentLimits,
        piece: &Piece,
        buffers: u32,
        drop: &mut impl FnMut(P, DropReason),
    ) -> Result<(), DropReason> {
        let datagram = self.store.datagrams.at_mut(number);
        if let Stage::Dead(reason) = datagram.stage {
            return Err(reason);
        }
        let may_grow = datagram.fragments < limits.fragments;
        let reason = match datagram.admit(&self.store.slots, &mut self.store.maps, piece) {
            Ok(()) if may_grow && self.store.make_room(number, limits, buffers, drop) => return Ok(()),
            Ok(()) => DropReason::FragmentLimit,
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
        self.list(number, limits, drop);
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
