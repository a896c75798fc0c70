//! What a shard does about expectations: it expects, is told what others expect, and finds out what a first packet meets.

use super::child::Child;
use super::claims::Ended;
use super::expectation::{Expectation, ExpectationId, Limits, Unexpected, Wanted};
use super::table::Removed;
use crate::entries::NONE;
use crate::entry::Status;
use crate::events::EventKind;
use crate::facts::Facts;
use crate::helper_event::HelperEvent;
use crate::helpers::Assigned;
use crate::listing::ExpectationSnapshot;
use crate::nat::announced;
use crate::shard::Shard;
use crate::time::{MAX_TIMEOUT, Tick};
use crate::tuple::{Direction, Tuple, protocol};
use crate::unconfirmed::Unconfirmed;
use crate::verdict::{Action, State, Verdict};

/// Own slots that are looked at for each that is taken, so that those which other shards have used up are few.
const TIDIED: u32 = 4;

/// Slots that one call of [`Shard::list_expectations`] looks at.
const LISTED_SLOTS: u32 = 1024;

impl Shard {
    /// Expects something for the entry of this number. What that expects already is waited for anew. The packet that announces it
    /// leaves when all other shards have been told.
    ///
    /// # Errors
    /// Why it is not expected.
    pub(crate) fn expect(
        &mut self,
        master: u32,
        wanted: &Wanted,
        limits: Limits,
    ) -> Result<ExpectationId, Unexpected> {
        self.expect_from(master, wanted, limits, false)
    }

    /// The same of what is not to be met before it is expected anew.
    pub(crate) fn expect_inactive(
        &mut self,
        master: u32,
        wanted: &Wanted,
        limits: Limits,
    ) -> Result<ExpectationId, Unexpected> {
        self.expect_from(master, wanted, limits, true)
    }

    fn expect_from(
        &mut self,
        master: u32,
        wanted: &Wanted,
        limits: Limits,
        is_inactive: bool,
    ) -> Result<ExpectationId, Unexpected> {
        let expected = self.try_to_expect(master, wanted, limits, is_inactive);
        match expected {
            Ok(_) => self.counters.expectations_created += 1,
            Err(_) => {
                self.counters.expectations_refused += 1;
                self.counters.count_event(wanted.helper, HelperEvent::Refused);
            }
        }
        expected
    }

    /// The same, uncounted.
    pub(crate) fn try_to_expect(
        &mut self,
        master: u32,
        wanted: &Wanted,
        limits: Limits,
        is_inactive: bool,
    ) -> Result<ExpectationId, Unexpected> {
        self.tidy_expectations();
        let now = Tick::at(self.now);
        let deadline = now.after_ms(wanted.timeout_ms.min(MAX_TIMEOUT.as_millis() as u32));
        let original = self.table.entries.tuple(master, Direction::Original);
        let (id, mark) = (self.table.entries.id(master), self.table.entries.at(master).mark);
        let mut expectation = Expectation::new(wanted, original, id, mark, deadline);
        expectation.is_inactive = is_inactive;
        let before = self.expectations.overlapping(&expectation, now);
        if before.is_some_and(|slot| !self.expectations.is_again(slot, master, &expectation)) {
            return Err(Unexpected::Clash);
        }
        if !self.exchange.may_announce() {
            return Err(Unexpected::Full);
        }
        match before {
            Some(slot) if self.is_renewed_by(slot, &expectation) => {
                let before = *self.expectations.at(slot);
                self.tell_expectation(EventKind::Destroy, &before);
                let id = self.expectations.renew(slot, self.newest_expectation(master), &expectation);
                self.table.extend(master).set_newest_expectation(slot);
                self.exchange.announce(id, &expectation);
                self.touch(master);
                self.tell_expectation(EventKind::New, &expectation);
                return Ok(id);
            }
            Some(slot) => self.end_expectation(slot),
            None => self.make_way_for(master, &expectation, limits.of_class)?,
        }
        let newest = self.newest_expectation(master);
        let max = self.configuration.settings.max_expectations;
        let id = self.expectations.insert(master, newest, &expectation, max, limits.of_helper);
        let id = id.ok_or(Unexpected::Full)?;
        self.table.extend(master).set_newest_expectation(id.slot);
        self.exchange.announce(id, &expectation);
        self.touch(master);
        self.tell_expectation(EventKind::New, &expectation);
        Ok(id)
    }

    /// Visits what an entry expects yet and other boxes can be told of, with whether it is not to be met yet. Of calls of PPTP they are not.
    pub(crate) fn visit_expected(&self, master: u32, mut visit: impl FnMut(Wanted, bool)) {
        let now = Tick::at(self.now);
        let slots = self.expectations.of_master(self.newest_expectation(master));
        for slot in slots.filter(|slot| self.expectations.is_to_be_met(*slot, now)) {
            let it = self.expectations.at(slot);
            if it.tuple.protocol() != protocol::GRE && it.tuple.family() == it.master.family() {
                visit(it.wanted(it.deadline.since_ms(now) as u32), it.is_inactive);
            }
        }
    }

    /// Whether an own expectation is to be met yet and is this one, but for how long.
    fn is_renewed_by(&self, slot: u32, wanted: &Expectation) -> bool {
        let open = self.expectations.own(self.expectations.id(slot));
        open.is_some() && self.expectations.at(slot).is_renewed_by(wanted)
    }

    /// A port of the address outside that is wanted as a child's destination, to be announced and expected by the entry of this number:
    /// that which is wanted, if it can be, or another of the same address that nobody uses and nobody else expects.
    pub(crate) fn find_port_to_announce(&self, master: u32, wanted: &Wanted) -> Option<u16> {
        let mut ports =
            announced::ports_to_announce(&self.nat, &self.configuration.nat, self.steering(), &wanted.tuple);
        ports.find(|port| !self.is_expected_by_others(master, &wanted.at_port(*port)))
    }

    /// The port of its own that an entry has announced by one of this address; `None` where it expects nothing there.
    pub(crate) fn port_behind(&self, master: u32, address: u128, port: u16) -> Option<u16> {
        let slots = self.expectations.of_master(self.newest_expectation(master));
        let expected = slots.map(|slot| self.expectations.at(slot));
        let mut there = expected.filter(|it| it.tuple.dst == address && it.tuple.selector.dport() == port);
        there.find_map(|expectation| Some(expectation.nat()?.port))
    }

    /// Ends the oldest expectation of a master's class where there are as many as may be.
    fn make_way_for(&mut self, master: u32, wanted: &Expectation, max: u32) -> Result<(), Unexpected> {
        let newest = self.newest_expectation(master);
        let of_class = |slot: &u32| self.expectations.at(*slot).class == wanted.class;
        let is_open = |slot: &u32| self.expectations.own(self.expectations.id(*slot)).is_some();
        let mut rivals = self.expectations.of_master(newest).filter(of_class).filter(is_open);
        let (mut count, mut oldest) = (0, None);
        for slot in rivals.by_ref() {
            (count, oldest) = (count + 1, Some(slot));
        }
        drop(rivals);
        match oldest.filter(|_| count >= max) {
            Some(oldest) => self.end_expectation(oldest),
            None if max == 0 => return Err(Unexpected::Full),
            None => {}
        }
        Ok(())
    }

    /// The newest expectation of an entry, or [`NONE`].
    pub(super) fn newest_expectation(&self, master: u32) -> u32 {
        self.table.extension(master).map_or(NONE, |extension| extension.newest_expectation())
    }

    /// Has the children of an entry inherit its new mark, on whatever shards they are to come.
    #[cold]
    pub(crate) fn mark_expectations(&self, master: u32, mark: u32) {
        for slot in self.expectations.of_master(self.newest_expectation(master)) {
            self.expectations.claims().set_mark(slot, mark);
        }
    }

    /// Lets go of some own expectations that were used up by other shards.
    fn tidy_expectations(&mut self) {
        for _ in 0..TIDIED {
            if let Some(slot) = self.expectations.tidy() {
                self.end_expectation(slot);
            }
        }
    }

    /// Ends an own expectation, in all shards at once.
    pub(super) fn end_expectation(&mut self, slot: u32) {
        let removed = self.expectations.remove(slot);
        self.note_newest(&removed);
        self.end_removed(&removed);
    }

    /// Ends what came of an expectation that was removed, and tells that it is over.
    fn end_removed(&mut self, removed: &Removed) {
        if removed.ended == Ended::Open {
            self.tell_expectation(EventKind::Destroy, &removed.expectation);
        }
        self.end_call_of(removed);
    }

    fn note_newest(&mut self, removed: &Removed) {
        if removed.master != NONE {
            self.touch(removed.master);
        }
        if let Removed { master, newest: Some(newest), .. } = *removed {
            self.table.extend(master).set_newest_expectation(newest);
        }
    }

    /// Ends what a connection that has ended expects; `newest` is the slot of the newest.
    #[cold]
    pub(crate) fn end_expectations_of(&mut self, newest: u32) {
        let mut next = self.expectations.of_master(newest).next();
        while let Some(slot) = next {
            next = self.expectations.of_master(slot).nth(1);
            let removed = self.expectations.remove(slot);
            self.end_removed(&removed);
        }
    }

    /// Ends expectations that have expired at `now`, as far as `budget` goes. False when there is more to do.
    pub(crate) fn end_expired_expectations(&mut self, now: Tick, budget: &mut u32) -> bool {
        while let Some(own) = self.expectations.remove_expired(now, budget) {
            let Some(removed) = own else { continue };
            if removed.ended == Ended::Open {
                self.counters.expectations_expired += 1;
                self.counters.count_event(removed.expectation.helper(), HelperEvent::Expired);
                self.tell_expectation(EventKind::Destroy, &removed.expectation);
            }
            self.note_newest(&removed);
        }
        self.expectations.is_done(now)
    }

    /// Ends an expectation of this shard's. False where it has ended already.
    pub fn unexpect(&mut self, id: ExpectationId) -> bool {
        let slot = self.expectations.own(id);
        if let Some(slot) = slot {
            self.end_expectation(slot);
        }
        slot.is_some()
    }

    /// Expects something for the connection whose original tuple this is; `None` where there is no such connection here.
    pub fn expect_for(
        &mut self,
        master: &Tuple,
        wanted: &Wanted,
        limits: Limits,
    ) -> Option<Result<ExpectationId, Unexpected>> {
        let index = self.master(master)?;
        Some(self.expect(index, wanted, limits))
    }

    /// The entry whose original tuple this is. No packet's look-up, and not counted as one.
    pub(crate) fn master(&self, original: &Tuple) -> Option<u32> {
        let (index, direction) = self.table.search(&self.table.key(original), original)?;
        let has_expired = self.table.entries.at(index).deadline.is_due(Tick::at(self.now));
        (direction == Direction::Original && !has_expired).then_some(index)
    }

    /// A port to be announced for what the connection wants whose original tuple this is, as a helper finds it; `None` where there is
    /// none, or no such connection here.
    pub fn port_to_announce_for(&mut self, master: &Tuple, wanted: &Wanted) -> Option<u16> {
        let index = self.master(master)?;
        self.find_port_to_announce(index, wanted)
    }

    /// Ends the expectations of this shard that `wanted` says; gives how many those were.
    pub fn delete_expectations(&mut self, mut wanted: impl FnMut(&ExpectationSnapshot) -> bool) -> u32 {
        let now = Tick::at(self.now);
        let (mut next, mut count) = (self.expectations.next_own(0, now), 0);
        while let Some(slot) = next {
            if wanted(&self.expectation_snapshot(slot)) {
                self.end_expectation(slot);
                count += 1;
            }
            next = self.expectations.next_own(slot + 1, now);
        }
        count
    }

    /// Walks what this shard expects from the slot `cursor` on, at most `most` of it and as many slots as a worker has time
    /// for; gives the slot to go on from, which may come without any expectation, or `None` at the end.
    pub fn list_expectations(
        &self,
        cursor: u32,
        most: u32,
        mut visit: impl FnMut(ExpectationId, ExpectationSnapshot),
    ) -> Option<u32> {
        let now = Tick::at(self.now);
        let mut slots = self.expectations.own_slots(cursor);
        let mut visited = 0;
        for slot in slots.by_ref().take(LISTED_SLOTS as usize) {
            if self.expectations.is_to_be_met(slot, now) {
                visit(self.expectations.id(slot), self.expectation_snapshot(slot));
                visited += 1;
            }
            if visited >= most {
                break;
            }
        }
        slots.next()
    }

    /// Makes a connection a child whose first packet meets an expectation, or was one before: the packet is RELATED.
    #[inline(never)]
    pub(crate) fn look_for_expectation(&mut self, unconfirmed: &mut Unconfirmed, facts: &mut Facts) {
        let before = self.table.last_child(unconfirmed.attempt.before).copied();
        let Some(child) = before.or_else(|| self.meet(&unconfirmed.original)) else { return };
        facts.state = Some(State::Related);
        if let Some(connection) = &mut facts.connection {
            connection.mark = child.expectation.mark;
            connection.status.insert(Status::EXPECTED);
            connection.helper = child.expectation.helper();
        }
        unconfirmed.helper = Assigned::of_child(&child.expectation);
        unconfirmed.child = Some(child);
    }

    /// What a first packet of this tuple meets, claimed for it until [`Self::conclude_child`].
    fn meet(&mut self, tuple: &Tuple) -> Option<Child> {
        let now = Tick::at(self.now);
        loop {
            let slot = self.expectations.find(tuple, now)?;
            if self.expectations.claim(slot) {
                let mark = self.expectations.claims().mark(slot);
                let expectation = self.expectations.at(slot).with_mark(mark);
                if !expectation.is_call() {
                    self.count_met(&expectation);
                }
                return Some(Child { id: self.expectations.id(slot), expectation });
            }
        }
    }

    /// Uses up what the first packet of a connection has met, whatever has become of the packet; gives it back where another
    /// shard is to decide.
    #[cold]
    #[inline(never)]
    pub(crate) fn conclude_child(&mut self, child: &Child, verdict: &mut Verdict) {
        if verdict.state == Some(State::New) {
            verdict.state = Some(State::Related);
        }
        let is_decided = !matches!(verdict.action, Action::Handoff(..));
        let claims = self.expectations.claims();
        if child.expectation.is_call() {
            if is_decided {
                self.conclude_call(child);
            }
        } else if is_decided {
            if claims.use_up(child) {
                self.tell_expectation(EventKind::Destroy, &child.expectation);
            }
        } else if claims.give_back(child) {
            self.counters.expectations_met -= 1;
            self.counters.uncount_event(child.expectation.helper(), HelperEvent::Met);
        }
    }

    pub(super) fn count_met(&mut self, expectation: &Expectation) {
        self.counters.expectations_met += 1;
        self.counters.count_event(expectation.helper(), HelperEvent::Met);
    }

    /// Has packets that are about to leave wait until all other shards know what is announced.
    #[doc(hidden)]
    #[inline]
    pub fn hold_back(&self, verdicts: &mut [Verdict]) {
        if self.exchange.is_announcing() {
            verdicts.iter_mut().for_each(Verdict::hold_back);
        }
    }

    fn expectation_snapshot(&self, slot: u32) -> ExpectationSnapshot {
        ExpectationSnapshot::of(self.expectations.at(slot), self.now)
    }
}
