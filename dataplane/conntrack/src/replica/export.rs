//! Telling: which connections are to be told of, and the records of them.
//!
//! Ends are told first: what is told of a tuple after its end is another connection. But what helpers have done beside a connection comes
//! right behind its state.

use super::helped::{Changed, Expected};
use super::record::{Connection, Record, RecordStatus};
use super::teller::{MAX_BESIDE, Teller};
use crate::entries::NONE;
use crate::entry::Status;
use crate::extension::Extension;
use crate::ids::{EntryId, GroupId};
use crate::nat::outside;
use crate::shard::{LISTED_SLOTS, Shard};
use crate::time::Tick;
use crate::tracker;
use crate::tuple::{Direction, Tuple};
use std::mem;

impl Shard {
    /// Has what becomes of connections told by another teller from now on, or by nobody. Gives the one before.
    pub const fn tell_by(&mut self, teller: Option<Box<Teller>>) -> Option<Box<Teller>> {
        mem::replace(&mut self.teller, teller)
    }

    /// What is yet to be told, if anything is.
    pub fn teller(&self) -> Option<&Teller> {
        self.teller.as_deref()
    }

    /// An entry is another than before, or new, or was found alive when its time was looked at: it is to be told of.
    #[inline(never)]
    pub(crate) fn touch(&mut self, index: u32) {
        if let Some(teller) = &mut self.teller {
            teller.touch(index, self.table.entries.at(index).status);
        }
    }

    /// An entry ends: whoever knows it is to be told so.
    pub(crate) fn tell_end(&mut self, index: u32) {
        if let Some(teller) = &mut self.teller {
            teller.end(index, || self.table.entries.tuples(index));
        }
    }

    /// The next record to be told. What is not asked for yet waits, and changes meanwhile.
    pub fn export(&mut self) -> Option<Record> {
        if let Some(record) = self.teller.as_mut()?.next_beside() {
            return Some(record);
        }
        if let Some(tuples) = self.teller.as_mut()?.next_end() {
            return Some(Record::End(tuples));
        }
        loop {
            let index = self.teller.as_mut()?.next_dirty()?;
            // What was its own when the box was demoted is told yet: the peer goes on with it.
            let is_peers = || self.told_for(index).is_some() && self.is_foreign(index);
            if !self.table.entries.at(index).is_used() || is_peers() {
                continue;
            }
            match self.connection(index) {
                Some(connection) => {
                    self.teller.as_mut()?.note_told(index);
                    if self.has_beside(index) {
                        self.tell_beside(index);
                    }
                    return Some(Record::State(connection));
                }
                // It can be told of no more.
                None if self.teller.as_ref()?.is_replicated(index) => {
                    self.tell_end(index);
                    return self.teller.as_mut()?.next_end().map(Record::End);
                }
                None => {}
            }
        }
    }

    /// Whether there is something to be told beside the state of an entry.
    fn has_beside(&self, index: u32) -> bool {
        let status = self.table.entries.at(index).status;
        let expects = |extension: &Extension| extension.newest_expectation() != NONE;
        status.contains(Status::SEQ_ADJUST) || self.table.extension(index).is_some_and(expects)
    }

    /// Has that told next.
    #[cold]
    fn tell_beside(&mut self, index: u32) {
        let Some(mut teller) = self.teller.take() else { return };
        self.visit_beside(index, |record| teller.add_beside(record));
        self.teller = Some(teller);
    }

    /// Visits what is to be told beside the state of an entry.
    fn visit_beside(&self, index: u32, mut visit: impl FnMut(Record)) {
        let tuples = self.table.entries.tuples(index);
        for direction in [Direction::Original, Direction::Reply] {
            let changed =
                |number, before, change| Changed { connection: tuples, direction, number, before, change };
            self.visit_changes(index, direction, |number, before, change| {
                visit(Record::Changed(changed(number, before, change)));
            });
        }
        self.visit_expected(index, |wanted, is_inactive| {
            visit(Record::Expected(Expected { master: tuples, wanted, is_inactive }));
        });
    }

    /// Visits what is to be told of the connections of this box from the slot `cursor` on, each behind it by what helpers have done beside it:
    /// of no more connections once `most` records were visited, so that there are fewer than that and [`MAX_RECORDS_OF_ONE`] of them, and of at
    /// most [`LISTED_SLOTS`] slots. Gives the slot to go on from, which may come without any, or `None` at the end.
    pub fn export_page(&self, cursor: u32, most: u32, mut visit: impl FnMut(Record)) -> Option<u32> {
        let mut next = self.table.entries.next_index(cursor);
        let mut visited = 0;
        for _ in 0..LISTED_SLOTS {
            let Some(index) = next.filter(|_| visited < most) else { break };
            if self.table.entries.at(index).is_used()
                && !self.is_foreign(index)
                && let Some(connection) = self.connection(index)
            {
                visit(Record::State(connection));
                visited += 1;
                let mut room = MAX_BESIDE;
                self.visit_beside(index, |record| {
                    if let Some(left) = room.checked_sub(1) {
                        visit(record);
                        (room, visited) = (left, visited + 1);
                    }
                });
            }
            next = self.table.entries.next_index(index + 1);
        }
        next
    }

    /// The connection that packets of a tuple belong to, if it can be told of.
    pub fn export_one(&self, tuple: &Tuple) -> Option<Connection> {
        let (index, _) = self.table.search(&self.table.key(tuple), tuple)?;
        self.connection(index)
    }

    /// As [`Self::export_page`], of those of a group that others are to be told of, and from now on know. Those beside which there is more to
    /// be told are [exported](Self::export), as all that [was noted](Teller::noted) by then.
    pub fn tell_page(
        &mut self,
        group: GroupId,
        cursor: u32,
        most: u32,
        mut visit: impl FnMut(Connection),
    ) -> Option<u32> {
        let mut next = self.table.entries.next_index(cursor);
        let mut visited = 0;
        for _ in 0..LISTED_SLOTS {
            let Some(index) = next.filter(|_| visited < most) else { break };
            let entry = self.table.entries.at(index);
            let status = entry.status;
            let is_told = entry.is_used()
                && self.teller.as_ref()?.tells(status)
                && !self.is_foreign(index)
                && self.group_told_in(&self.table.entries.tuples(index)) == Some(group);
            if is_told && self.has_beside(index) {
                self.teller.as_mut()?.touch(index, status);
            } else if is_told && let Some(connection) = self.connection(index) {
                self.teller.as_mut()?.note_told(index);
                visit(connection);
                visited += 1;
            }
            next = self.table.entries.next_index(index + 1);
        }
        next
    }

    /// The group among whose connections others hear of a record. `None` where it is of the box alone.
    pub fn told_in(&self, record: &Record) -> Option<GroupId> {
        self.group_told_in(&record.tuples())
    }

    /// A box that has no groups tells of all its connections as of one.
    fn group_told_in(&self, tuples: &[Tuple; 2]) -> Option<GroupId> {
        if self.has_groups() { self.configuration.group_of(tuples) } else { Some(GroupId(0)) }
    }

    /// The group that a peer told of an entry for, unless that is this box's own by now.
    pub(crate) fn told_for(&self, index: u32) -> Option<GroupId> {
        let is_installed = self.table.entries.at(index).status.contains(Status::INSTALLED);
        if is_installed { self.foreign.group_of(index) } else { None }
    }

    /// What is told of an entry. Nothing where its time is over, and of a call, whose control connection a helper would have to read on.
    fn connection(&self, index: u32) -> Option<Connection> {
        let entry = self.table.entries.at(index);
        let remaining_ms = entry.deadline.since_ms(Tick::at(self.now));
        let is_call =
            entry.status.contains(Status::DELEGATED) && !entry.status.intersects(Status::USES_MAPPING);
        if remaining_ms <= 0 || is_call {
            return None;
        }
        let [original, reply] = self.table.entries.tuples(index);
        let mut status = RecordStatus::of(entry.status);
        let is_open = || self.nat.mappings().client(&outside(&reply)).is_some_and(|client| client.is_open());
        status.set(RecordStatus::OPEN, status.contains(RecordStatus::MAPPED) && is_open());
        let assigned = self.table.extension(index).and_then(Extension::assigned);
        status.set(RecordStatus::LOOSE, assigned.is_some_and(|assigned| assigned.loose));
        Some(Connection {
            original,
            reply,
            state: entry.state,
            status,
            remaining_ms: remaining_ms as u32,
            age_s: (self.now.as_secs() as u32).wrapping_sub(self.table.entries.cold(index).born_s),
            mark: entry.mark,
            tracker: tracker::told(entry),
            helper: assigned.map(|assigned| assigned.helper),
            entry: EntryId { index, generation: entry.generation },
        })
    }
}
