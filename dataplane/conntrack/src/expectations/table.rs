//! The table of a shard: what it expects itself, in slots of its own, and copies of what other shards expect, at theirs.

use super::claims::{Claims, Ended, MAX_GENERATION};
use super::expectation::{Expectation, ExpectationId};
use super::slots::{Slot, Slots};
use crate::entries::NONE;
use crate::steer::Steering;
use crate::time::Tick;
use crate::tuple::Tuple;
use crate::wheel::{Timer, Wheel};
use ahash::RandomState;
use sluice_memory::Arena;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// How often copies of calls are looked at, in milliseconds, whether those are over.
const CALL_MS: u32 = 300_000;

/// Chains that expectations are found in.
const BUCKETS: usize = 1 << 16;

/// An own expectation that is in the table no more.
#[derive(Debug)]
pub(super) struct Removed {
    /// The number of the master's entry.
    pub(super) master: u32,
    /// The newest of its expectations, where that is another one now.
    pub(super) newest: Option<u32>,
    /// What was expected.
    pub(super) expectation: Expectation,
    /// What became of that.
    pub(super) ended: Ended,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Expectations {
    slots: Slots,
    /// The first of each chain, plus one; 0 where there is none.
    buckets: Arena<u32>,
    key: RandomState,
    wheel: Wheel,
    /// Slots in chains.
    len: u32,
    /// The first of its own slots.
    own: u32,
    /// First of the own slots given back.
    free: u32,
    /// Own slots from here on have never been taken.
    untouched: u32,
    /// The own slot that is tidied next.
    hand: u32,
    claims: Arc<Claims>,
}

impl Expectations {
    /// That of a shard, which expects nothing at `now` and finds what it will by `seed`.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn new(
        claims: Arc<Claims>,
        steering: &Steering,
        [a, b, c, d]: [u64; 4],
        now: Tick,
    ) -> io::Result<Self> {
        let own = u32::from(steering.own().0) * claims.slots();
        Ok(Self {
            slots: Slots::new(claims.all_slots())?,
            buckets: Arena::sparse(BUCKETS)?,
            key: RandomState::with_seeds(a, b, c, d),
            wheel: Wheel::new(now),
            len: 0,
            own,
            free: NONE,
            untouched: own,
            hand: own,
            claims,
        })
    }

    /// Makes it one of several tables, all still empty, that see the same claims.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn join(&mut self, claims: Arc<Claims>, steering: &Steering) -> io::Result<()> {
        self.slots = Slots::new(claims.all_slots())?;
        self.own = u32::from(steering.own().0) * claims.slots();
        (self.untouched, self.hand) = (self.own, self.own);
        self.claims = claims;
        Ok(())
    }

    /// The words of the box.
    pub(crate) const fn claims(&self) -> &Arc<Claims> {
        &self.claims
    }

    /// Whether there is nothing to be met.
    #[inline(always)]
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What a slot holds that is in use.
    pub(super) fn at(&self, slot: u32) -> &Expectation {
        &self.slots.at(slot).expectation
    }

    /// The name of what a slot holds.
    pub(super) fn id(&self, slot: u32) -> ExpectationId {
        ExpectationId { slot, generation: self.slots.at(slot).generation }
    }

    /// The slot of an own expectation, if it is to be met yet.
    pub(super) fn own(&self, id: ExpectationId) -> Option<u32> {
        let ExpectationId { slot, generation } = id;
        let is_own = (self.own..self.untouched).contains(&slot);
        (is_own && self.slots.at(slot).generation == generation && self.is_open(slot)).then_some(slot)
    }

    fn is_open(&self, slot: u32) -> bool {
        let Slot { is_chained, generation, .. } = *self.slots.at(slot);
        is_chained && self.claims.is_open(slot, generation)
    }

    /// The first own expectation that is to be met at `now`, from a slot of this number on.
    pub(super) fn next_own(&self, slot: u32, now: Tick) -> Option<u32> {
        self.own_slots(slot).find(|slot| self.is_to_be_met(*slot, now))
    }

    fn bucket(&self, tuple: &Tuple) -> usize {
        let to = (tuple.dst, tuple.selector.with_sport(0).as_u64());
        self.key.hash_one(to) as usize % BUCKETS
    }

    /// What is to be met at `now`, or was met and goes on, of the chain that packets of this tuple look through.
    fn chain(&self, tuple: &Tuple, now: Tick) -> impl Iterator<Item = u32> {
        let first = self.buckets[self.bucket(tuple)].wrapping_sub(1);
        let next = |slot: &u32| Some(self.slots.at(*slot).next).filter(|next| *next != NONE);
        std::iter::successors(Some(first).filter(|first| *first != NONE), next)
            .filter(move |slot| self.is_to_be_met(*slot, now) || self.is_call_on(*slot))
    }

    /// Whether a slot holds a call that has come and is not over.
    fn is_call_on(&self, slot: u32) -> bool {
        let Slot { is_chained, generation, .. } = *self.slots.at(slot);
        is_chained && self.claims.is_met(slot, generation)
    }

    /// The whole tuple of a packet of a call, whose header has the id of one end only; `None` where there is no such call.
    pub(super) fn call(&self, tuple: &Tuple, now: Tick) -> Option<Tuple> {
        let mut met = self.chain(tuple, now).map(|slot| self.at(slot)).filter(|it| it.is_met_by(tuple));
        met.find(|expectation| expectation.is_call()).map(|call| call.tuple)
    }

    /// The call that is met in its direction by this slot is met in the other by packets of this tuple, too.
    pub(super) fn meet_call(&self, slot: u32, answer: &Tuple, now: Tick) -> [Option<Expectation>; 2] {
        let master = self.at(slot).master_id;
        let is_other = |other: &u32| self.at(*other).is_call() && self.at(*other).master_id == master;
        let other = self.chain(answer, now).filter(is_other).find(|other| self.at(*other).is_met_by(answer));
        let meet = |slot: u32| {
            let is_met = self.claims.meet(slot, self.slots.at(slot).generation, self.at(slot));
            is_met.then(|| *self.at(slot))
        };
        let answered = other.and_then(meet);
        [meet(slot), answered]
    }

    /// The newest expectation that a packet of this tuple meets at `now`.
    pub(super) fn find(&self, tuple: &Tuple, now: Tick) -> Option<u32> {
        self.chain(tuple, now).find(|slot| self.at(*slot).is_met_by(tuple))
    }

    /// What a packet could meet as well that meets this one.
    pub(super) fn overlapping(&self, wanted: &Expectation, now: Tick) -> Option<u32> {
        self.chain(&wanted.tuple, now).find(|slot| self.at(*slot).overlaps(wanted))
    }

    /// Whether it is what an entry expects, of that class and met by the same packets.
    pub(super) fn is_again(&self, slot: u32, master: u32, wanted: &Expectation) -> bool {
        let own = (self.own..self.untouched).contains(&slot) && self.slots.at(slot).master == master;
        own && self.at(slot).class == wanted.class && self.at(slot).is_alike(wanted)
    }

    /// Expects an own one until its new deadline, under the same name, so that it is to be met all the while: whoever finds it finds the
    /// one or the other. It is the newest of its master, of which `newest` was.
    pub(super) fn renew(&mut self, slot: u32, newest: u32, wanted: &Expectation) -> ExpectationId {
        self.claims.set_mark(slot, wanted.mark);
        self.wheel.disarm(&mut self.slots, slot);
        self.slots.at_mut(slot).expectation = *wanted;
        self.wheel.arm(&mut self.slots, slot);
        if newest != slot {
            self.unlist(slot);
            self.slots.at_mut(newest).newer = slot;
            let renewed = self.slots.at_mut(slot);
            (renewed.older, renewed.newer) = (newest, NONE);
        }
        self.id(slot)
    }

    /// Takes a slot out from among those of its master.
    fn unlist(&mut self, slot: u32) {
        let Slot { older, newer, .. } = *self.slots.at(slot);
        if older != NONE {
            self.slots.at_mut(older).newer = newer;
        }
        if newer != NONE {
            self.slots.at_mut(newer).older = older;
        }
    }

    /// The expectations of a master from the newest on, be they still to be met or not.
    pub(super) fn of_master(&self, newest: u32) -> impl Iterator<Item = u32> {
        let older = |slot: &u32| Some(self.slots.at(*slot).older).filter(|older| *older != NONE);
        std::iter::successors(Some(newest).filter(|newest| *newest != NONE), older)
    }

    /// Expects something for the entry of this number, whose newest expectation is `newest`, if fewer than so many are expected in
    /// all and for one helper.
    pub(super) fn insert(
        &mut self,
        master: u32,
        newest: u32,
        expectation: &Expectation,
        max: u32,
        of_helper: u32,
    ) -> Option<ExpectationId> {
        let fresh = self.free == NONE;
        let slot = if fresh { self.untouched } else { self.free };
        if fresh && slot - self.own >= self.claims.slots() {
            return None;
        }
        let Slot { generation, next, .. } = *self.slots.at(slot);
        // A word has room for 30 bits of it, and 0 stands for nothing.
        let generation = if generation >= MAX_GENERATION { 1 } else { generation + 1 };
        if !self.claims.begin(slot, generation, expectation, max, of_helper) {
            return None;
        }
        if fresh {
            self.untouched += 1;
        } else {
            self.free = next;
        }
        if newest != NONE {
            self.slots.at_mut(newest).newer = slot;
        }
        let id = ExpectationId { slot, generation };
        self.link(id, expectation, [master, newest]);
        Some(id)
    }

    /// Puts a copy of what another shard expects at its slot, instead of what was there.
    pub(crate) fn copy(&mut self, id: ExpectationId, expectation: &Expectation) {
        if self.slots.get(id.slot).is_some_and(|slot| slot.is_chained) {
            self.unlink(id.slot);
            self.wheel.disarm(&mut self.slots, id.slot);
        }
        if self.slots.get(id.slot).is_some() {
            self.link(id, expectation, [NONE, NONE]);
        }
    }

    fn link(&mut self, id: ExpectationId, expectation: &Expectation, [master, older]: [u32; 2]) {
        let ExpectationId { slot, generation } = id;
        let bucket = self.bucket(&expectation.tuple);
        let next = std::mem::replace(&mut self.buckets[bucket], slot + 1).wrapping_sub(1);
        let timer = Timer::default();
        let expectation = *expectation;
        *self.slots.at_mut(slot) =
            Slot { expectation, generation, timer, is_chained: true, next, master, older, newer: NONE };
        self.wheel.arm(&mut self.slots, slot);
        self.len += 1;
    }

    /// Takes a slot out of its chain.
    fn unlink(&mut self, slot: u32) {
        let Slot { expectation, next, .. } = *self.slots.at(slot);
        let bucket = self.bucket(&expectation.tuple);
        let mut before = self.buckets[bucket].wrapping_sub(1);
        if before == slot {
            self.buckets[bucket] = next.wrapping_add(1);
        } else {
            while self.slots.at(before).next != slot {
                before = self.slots.at(before).next;
            }
            self.slots.at_mut(before).next = next;
        }
        self.slots.at_mut(slot).is_chained = false;
        self.len -= 1;
    }

    /// Lets go of an own expectation, which is ended in all shards from now on.
    pub(super) fn remove(&mut self, slot: u32) -> Removed {
        self.wheel.disarm(&mut self.slots, slot);
        self.remove_disarmed(slot)
    }

    fn remove_disarmed(&mut self, slot: u32) -> Removed {
        self.unlink(slot);
        let Slot { expectation, generation, master, older, newer, .. } = *self.slots.at(slot);
        let ended = self.claims.end(slot, generation, &expectation);
        self.unlist(slot);
        self.slots.at_mut(slot).next = std::mem::replace(&mut self.free, slot);
        let newest = (newer == NONE).then_some(older);
        Removed { master, newest, expectation, ended }
    }

    /// Takes the next one out that has expired at `now`; of an own one, says whose it was.
    /// `None` when there is none for the time being, or when `budget` is used up.
    pub(super) fn remove_expired(&mut self, now: Tick, budget: &mut u32) -> Option<Option<Removed>> {
        loop {
            let slot = self.wheel.next_due(&mut self.slots, now, budget)?;
            if !self.at(slot).deadline.is_due(now) {
                self.wheel.arm(&mut self.slots, slot);
            } else if self.is_call_on(slot) {
                self.slots.at_mut(slot).expectation.deadline = now.after_ms(CALL_MS);
                self.wheel.arm(&mut self.slots, slot);
            } else if self.slots.at(slot).master == NONE {
                self.unlink(slot);
                return Some(None);
            } else {
                return Some(Some(self.remove_disarmed(slot)));
            }
        }
    }

    /// Whether all that is due at `now` has been taken out.
    pub(crate) fn is_done(&self, now: Tick) -> bool {
        self.wheel.is_done(now)
    }

    /// Crosses time in which nothing is due.
    pub(crate) fn skip_to(&mut self, now: Tick) {
        self.wheel = Wheel::new(now);
    }

    /// Goes on to the next own slot; gives it where another shard has used up what it holds.
    pub(super) fn tidy(&mut self) -> Option<u32> {
        let slot = self.hand;
        self.hand = if slot + 1 < self.untouched { slot + 1 } else { self.own };
        let is_used_up = self.slots.at(slot).is_chained && self.claims.is_over(slot);
        is_used_up.then_some(slot)
    }

    /// The own slots from this number on that have ever been taken.
    pub(super) fn own_slots(&self, cursor: u32) -> Range<u32> {
        cursor.max(self.own)..self.untouched
    }

    /// Whether a slot holds what is to be met at `now`.
    pub(super) fn is_to_be_met(&self, slot: u32, now: Tick) -> bool {
        self.is_open(slot) && !self.at(slot).deadline.is_due(now)
    }

    /// Looks at every slot in use: each is in the chain of its tuple and on the wheel, and an own one among those of its master, of
    /// which `newest` says the newest.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) fn check(&self, newest: impl Fn(u32) -> u32) -> Result<(), String> {
        let mut chained = 0;
        // Nearly all are empty: fuzzers look at them millions of times.
        const EMPTY: [u32; 256] = [0; 256];
        for bucket in self.buckets.chunks(EMPTY.len()).filter(|chunk| *chunk != EMPTY).flatten() {
            let mut slot = bucket.wrapping_sub(1);
            while slot != NONE {
                let Slot { expectation, is_chained, master, next, .. } = *self.slots.at(slot);
                if !is_chained || self.buckets[self.bucket(&expectation.tuple)] != *bucket {
                    return Err(format!("slot {slot} is in a chain that is not its own"));
                }
                if master != NONE && !self.of_master(newest(master)).any(|own| own == slot) {
                    return Err(format!("slot {slot} is not among those of entry {master}"));
                }
                (chained, slot) = (chained + 1, next);
            }
        }
        let armed = self.wheel.check(&self.slots)?;
        match self.len {
            len if len == chained && len as usize == armed => Ok(()),
            len => Err(format!("{chained} expectations in chains and {armed} on the wheel for {len}")),
        }
    }

    /// Claims what a packet meets, if it is to be met yet, and is met but once.
    pub(super) fn claim(&self, slot: u32) -> bool {
        let Slot { expectation, generation, .. } = self.slots.at(slot);
        if expectation.is_call() {
            // One shard only decides about it.
            self.is_open(slot) || self.is_call_on(slot)
        } else if expectation.one_shot {
            self.claims.claim(slot, *generation)
        } else {
            self.claims.is_open(slot, *generation)
        }
    }
}
