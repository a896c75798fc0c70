//! The life of a connection: the one place where it begins, the one where its state changes, and the one where it ends.
//!
//! Whoever is to know of that is told here: NAT, which counts ports and mappings, other shards, which have signposts, who
//! listens ([`crate::events`]), and other boxes ([`crate::replica`]).

use crate::connection_counts::{ConnectionCounts, Counted};
use crate::counters::ProtocolLabel;
use crate::entries::NONE;
use crate::entry::{Judged, Status};
use crate::events::{End, Event, EventKind, EventSender};
use crate::extension::Extension;
use crate::helpers::Assigned;
use crate::ids::EntryId;
use crate::index::Hash;
use crate::listing::EntrySnapshot;
use crate::nat::Pools;
use crate::shard::Shard;
use crate::table::{Due, Found, Key, Removed};
use crate::time::Tick;
use crate::tracker;
use crate::tuple::Tuple;
use crate::unconfirmed::Unconfirmed;
use std::mem;
use std::sync::Arc;

impl Shard {
    /// Begins a connection: it enters the table under the hash of its original tuple. `None` when there is no room for it.
    pub(crate) fn begin(&mut self, hash: Hash, unconfirmed: &Unconfirmed) -> Option<u32> {
        let index = self.table.insert(hash, unconfirmed, self.now.as_secs() as u32)?;
        self.counters.inserts += 1;
        if let Some(child) = &unconfirmed.child {
            self.expectations.claims().begin_child(child);
        }
        if let Some(assigned) = unconfirmed.helper {
            self.assign(index, assigned);
        }
        let status = self.table.entries.at(index).status;
        if status.intersects(Status::TRANSLATED) {
            let tuples = [&unconfirmed.original, &unconfirmed.reply];
            self.nat.count_ports(index, tuples, status, Pools::take);
        }
        self.tell(EventKind::New, index, None);
        Some(index)
    }

    /// Has a helper read a connection.
    pub(crate) fn assign(&mut self, index: u32, assigned: Assigned) {
        self.table.extend(index).assign(assigned);
        self.counters.helper_connections[assigned.helper as usize] += 1;
        self.counters.helper_assignments[assigned.helper as usize] += 1;
    }

    /// Takes note that a packet has brought an entry from its tracker's state `from` into that which it has now, and lets it live
    /// so long, if it does: who listens is told of both.
    #[inline(never)]
    pub(crate) fn change_state(&mut self, index: u32, from: u8, timeout_ms: Option<u32>) {
        if let Some(timeout_ms) = timeout_ms {
            self.refresh(index, Tick::at(self.now).after_ms(timeout_ms));
        }
        self.table.change_state(index, from);
        if tracker::is_closed(self.table.entries.at(index)) {
            self.give_back_closed(index);
        }
        self.tell_update(index);
    }

    /// Takes note that a packet has answered an entry, or made it an assured one, and lets it live so long, if it does: who listens is told
    /// of both.
    #[inline(never)]
    pub(crate) fn change_status(&mut self, index: u32, timeout_ms: Option<u32>) {
        if let Some(timeout_ms) = timeout_ms {
            self.refresh(index, Tick::at(self.now).after_ms(timeout_ms));
        }
        self.tell_update(index);
    }

    /// Gives an entry another mark, and with it what the entry expects.
    pub(crate) fn set_mark(&mut self, index: u32, mark: u32) {
        let entry = self.table.entries.at_mut(index);
        entry.mark = mark;
        // Rules may look at the mark: what was decided about either direction no longer holds.
        entry.judged = Judged::default();
        self.mark_expectations(index, mark);
        self.tell_update(index);
    }

    /// Lets a connection live until `deadline`, unless that is changed again.
    #[inline(always)]
    pub(crate) fn refresh(&mut self, index: u32, deadline: Tick) {
        self.table.wheel.refresh(&mut self.table.entries, index, deadline);
    }

    /// Ends a connection.
    pub(crate) fn end(&mut self, index: u32, end: End) {
        self.tell(EventKind::Destroy, index, Some(end));
        let removed = self.table.remove(index);
        self.release_removed(&removed, end);
    }

    /// Ends the next connection that has expired at `now`; false when there is none for the time being, or when `budget`
    /// is used up.
    pub(crate) fn end_expired(&mut self, now: Tick, budget: &mut u32) -> bool {
        let index = loop {
            match self.table.next_due(now, budget) {
                Some(Due::Expired(index)) => break index,
                Some(Due::Alive(index)) => self.touch(index),
                None => return false,
            }
        };
        self.tell(EventKind::Destroy, index, Some(End::Expired));
        let removed = self.table.remove_disarmed(index);
        self.release_removed(&removed, End::Expired);
        true
    }

    /// Counts an end, and gives back what the connection had besides its slot in the table.
    fn release_removed(&mut self, removed: &Removed, end: End) {
        let Removed { index, tuples, status, state, extension } = removed;
        match end {
            End::Expired => {
                let protocol = ProtocolLabel::of(tuples[0].protocol());
                self.counters.expired[protocol as usize][usize::from(*state)] += 1;
            }
            End::Evicted => self.counters.early_drops += 1,
            End::Deleted => self.counters.deletes += 1,
            End::Closed | End::Refused => self.counters.closed += 1,
        }
        if status.contains(Status::INSTALLED) {
            self.foreign.forget(*index);
        }
        if status.intersects(Status::USES_MAPPING) {
            self.nat.leave_mapping(tuples, *status);
        }
        if removed.is_translated() {
            self.nat.count_ports(*index, tuples.each_ref(), *status, Pools::give_back);
            if end != End::Refused {
                self.nat.forget_exhausted(&tuples[1], &self.exchange, self.now);
            }
        }
        if status.contains(Status::EXPECTED)
            && let Some(child) = self.table.last_child(self.table.entries.id(*index))
        {
            self.expectations.claims().end_child(child);
        }
        if let Some(extension) = extension {
            self.release_extension(*index, extension);
        }
        self.release_signposts(tuples, *status);
    }

    /// Gives back what a connection had beside its entry.
    #[cold]
    fn release_extension(&mut self, index: u32, extension: &Extension) {
        if let Some(Assigned { helper, .. }) = extension.assigned() {
            self.counters.helper_connections[helper as usize] -= 1;
            self.help.end(extension.help);
        }
        if extension.is_counted {
            self.give_back(&self.table.last_counted(index));
        }
        if extension.newest_expectation() != NONE {
            self.end_expectations_of(extension.newest_expectation());
        }
    }

    /// Makes its rules count connections together with those of all shards of the box.
    #[must_use]
    pub fn with_connection_counts(mut self, counts: Arc<ConnectionCounts>) -> Self {
        self.connection_counts = counts;
        self
    }

    /// Keeps what counts a connection that has begun with its first packet, or gives it back where none has.
    #[cold]
    pub(crate) fn settle_counted(&mut self, begun: Option<EntryId>, counted: &Counted) {
        match begun {
            Some(EntryId { index, .. }) => self.keep_counted(index, counted),
            None => self.give_back(counted),
        }
    }

    /// Keeps what counts a connection, until it ends or is closed.
    #[cold]
    pub(crate) fn keep_counted(&mut self, index: u32, counted: &Counted) {
        self.table.keep_counted(index, counted);
    }

    #[cold]
    fn give_back(&self, counted: &Counted) {
        counted.iter().for_each(|key| self.connection_counts.give_back(*key));
    }

    /// Gives back what counts a connection that is closed, though its entry stays.
    fn give_back_closed(&mut self, index: u32) {
        if self.table.extension(index).is_some_and(|extension| extension.is_counted) {
            self.give_back(&self.table.counted(index));
            self.table.extend(index).is_counted = false;
        }
    }

    /// Finds the live entry of a tuple, and the direction in which the tuple belongs to it. An entry whose time is
    /// over ends here if the wheel has not come to it yet.
    #[inline(always)]
    pub(crate) fn find(&mut self, key: &Key, tuple: &Tuple) -> Found {
        let found = match self.table.entries.direction(key.candidate, tuple) {
            Some(direction) => Some((key.candidate, direction)),
            None => self.table.search(key, tuple),
        };
        self.count_look_up(found, Tick::at(self.now))
    }

    /// Counts what a look-up has found, which is nothing if the entry's time is over at `now`: then it ends here.
    #[inline(always)]
    pub(crate) fn count_look_up(&mut self, found: Found, now: Tick) -> Found {
        match found {
            Some((index, _)) if self.table.entries.at(index).deadline.is_due(now) => {
                self.counters.missed += 1;
                self.end(index, End::Expired);
                None
            }
            Some(_) => {
                self.counters.found += 1;
                found
            }
            None => {
                self.counters.missed += 1;
                None
            }
        }
    }

    /// Whether a packet of a tuple would belong to a connection of this shard. An entry that has expired ends here.
    pub(crate) fn is_taken(&mut self, tuple: &Tuple) -> bool {
        let owner = self.table.search(&self.table.key(tuple), tuple);
        owner.is_some_and(|(index, _)| !self.end_if_due(index))
    }

    /// Ends an entry if it has expired, and says whether it had.
    pub(crate) fn end_if_due(&mut self, index: u32) -> bool {
        let is_due = self.table.entries.at(index).deadline.is_due(Tick::at(self.now));
        if is_due {
            self.end(index, End::Expired);
        }
        is_due
    }

    /// Ends an entry whose slot or tuple another connection takes.
    pub(crate) fn end_for_another(&mut self, index: u32) {
        if !self.end_if_due(index) {
            self.end(index, End::Closed);
        }
    }

    /// Tells events to another listener from now on, or to nobody. Gives the one before.
    pub const fn listen(&mut self, listener: Option<Box<EventSender>>) -> Option<Box<EventSender>> {
        mem::replace(&mut self.listener, listener)
    }

    /// Tells whoever listens that an entry is another than before.
    pub(crate) fn tell_update(&mut self, index: u32) {
        self.tell(EventKind::Update, index, None);
    }

    /// Tells whoever listens what happens to an entry; why, if it ends.
    #[inline(always)]
    fn tell(&mut self, kind: EventKind, index: u32, end: Option<End>) {
        if self.listener.is_some() {
            self.tell_listener(kind, index, end);
        }
        if self.teller.is_some() {
            self.tell_others(kind, index);
        }
    }

    #[inline(never)]
    fn tell_others(&mut self, kind: EventKind, index: u32) {
        match kind {
            EventKind::New | EventKind::Update => self.touch(index),
            EventKind::Destroy => self.tell_end(index),
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_listener(&mut self, kind: EventKind, index: u32, end: Option<End>) {
        let is_translated = self.table.entries.at(index).status.intersects(Status::TRANSLATED);
        if !self.listener.as_ref().is_some_and(|listener| listener.is_wanted(kind, is_translated)) {
            return;
        }
        let (id, entry) = (self.table.entries.id(index), self.snapshot(index));
        let event = Event { at: self.now, kind, end, id, entry };
        if let Some(listener) = &mut self.listener {
            listener.send(event);
        }
    }

    /// Deletes the entries that `wanted` says; gives how many those were.
    pub fn delete(&mut self, mut wanted: impl FnMut(&EntrySnapshot) -> bool) -> u32 {
        let (mut next, mut count) = (self.table.entries.next_used(0), 0);
        while let Some(index) = next {
            if wanted(&self.snapshot(index)) {
                self.end(index, End::Deleted);
                count += 1;
            }
            next = self.table.entries.next_used(index + 1);
        }
        count
    }
}
