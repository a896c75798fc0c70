//! What is told of a connection that a helper reads, and how another box goes on with it: the helper reads it as one that it did not see
//! begin, and text that became another goes on as it did.

use super::shift::Change;
use super::slots::Slot;
use super::{Assigned, HelperId};
use crate::entry::Status;
use crate::replica::{Changed, Connection, RecordStatus};
use crate::shard::Shard;
use crate::tuple::Direction;

impl Connection {
    /// The helper that is to read it.
    pub(crate) fn assigned(&self) -> Option<Assigned> {
        let loose = self.status.contains(RecordStatus::LOOSE);
        self.helper.map(|helper: HelperId| Assigned { helper, loose })
    }
}

impl Shard {
    /// Visits the texts of one direction of an entry that became others and may come again: how many were visited before, by how much the
    /// numbers of all that comes before them are moved, and the text. Where there is none of those, says by how much.
    pub(crate) fn visit_changes(
        &self,
        index: u32,
        direction: Direction,
        mut visit: impl FnMut(u8, u32, Option<Change>),
    ) {
        let slot = self.table.extension(index).map_or(Slot::NONE, |extension| extension.help);
        let Some((before, changes)) = self.help.unacknowledged(slot, direction) else { return };
        match changes {
            [] if before == 0 => {}
            [] => visit(0, before, None),
            changes => (0..).zip(changes).for_each(|(number, change)| visit(number, before, Some(*change))),
        }
    }

    /// Goes on with a text of an entry that became another elsewhere. False where there is no room for it.
    pub(crate) fn install_change(&mut self, index: u32, changed: &Changed) -> bool {
        let Changed { direction, number, before, change, .. } = *changed;
        let mut slot = self.table.extension(index).map_or(Slot::NONE, |extension| extension.help);
        if slot == Slot::NONE {
            slot = self.take_help(index);
        }
        if number == 0 {
            self.help.begin_shift(slot, direction, before);
        }
        // Numbers are moved where helpers read.
        self.table.entries.at_mut(index).status.insert(Status::SEQ_ADJUST.union(Status::HELPER));
        slot != Slot::NONE && change.is_none_or(|change| self.help.note_change(slot, direction, change))
    }

    /// A peer tells of an entry again: what its helper knows and expects of it is told behind that.
    pub(crate) fn begin_help_anew(&mut self, index: u32, assigned: Option<Assigned>) {
        let Some(&before) = self.table.extension(index) else {
            if let Some(assigned) = assigned {
                self.assign(index, assigned);
            }
            return;
        };
        self.end_expectations_of(before.newest_expectation());
        self.help.end(before.help);
        let extension = self.table.extend(index);
        extension.set_newest_expectation(crate::entries::NONE);
        (extension.help, extension.is_unread) = (Slot::NONE, false);
        if let (None, Some(assigned)) = (before.assigned(), assigned) {
            self.assign(index, assigned);
        }
    }
}
