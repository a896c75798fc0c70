//! What must hold inside a shard between two bursts, whatever came in: for tests and fuzzers.

use crate::entries::NONE;
use crate::entry::Status;
use crate::extension::Extension;
use crate::nat::{has_choice, inside, outside};
use crate::shard::Shard;
use crate::tuple::Direction;
use ahash::RandomState;
use std::collections::HashMap;

impl Shard {
    /// Looks at every slot of the table, the index and the timer wheel.
    ///
    /// # Errors
    /// What does not hold.
    #[doc(hidden)]
    pub fn check_invariants(&self) -> Result<(), String> {
        let used = || {
            std::iter::successors(self.table.entries.next_used(0), |last| {
                self.table.entries.next_used(last + 1)
            })
        };
        let len = self.len() as usize;
        let translated = used().filter(|index| self.table.entries.at(*index).is_translated()).count();
        for (what, count, expected) in [
            ("slots in use", used().count(), len),
            ("translated entries", self.table.translated() as usize, translated),
            ("slots in the index", self.table.index.len(), len + translated),
            ("entries on the wheel", self.table.wheel.check(&self.table.entries)?, len),
        ] {
            if count != expected {
                return Err(format!("{count} {what} for {len} entries, {translated} of them translated"));
            }
        }
        self.expectations.check(|master| {
            let extension = self.table.extension(master);
            extension.map_or(NONE, Extension::newest_expectation)
        })?;
        self.check_mappings(
            used().filter(|index| self.table.entries.at(*index).status.intersects(Status::USES_MAPPING)),
        )?;
        let users = used().filter(|index| self.table.entries.at(*index).is_translated());
        self.nat.pools().check(users.flat_map(|index| {
            let came_by_own = self.table.entries.at(index).status.came_by_own_port();
            let came = came_by_own.then(|| self.table.entries.tuple(index, Direction::Original));
            [Some(self.table.entries.tuple(index, Direction::Reply)), came].into_iter().flatten()
        }))?;
        // A tuple that two entries own finds one of them only.
        for index in used() {
            for tuple in self.table.entries.tuples(index) {
                let found = self.table.search(&self.table.key(&tuple), &tuple);
                if found.map(|(other, _)| other) != Some(index) {
                    return Err(format!("entry {index} is not found by {tuple:?}, but {found:?}"));
                }
            }
        }
        Ok(())
    }

    /// The entries `users` use all mappings there are, as often as those count, and the port of each leads to its client.
    fn check_mappings(&self, users: impl Iterator<Item = u32>) -> Result<(), String> {
        // The same in each run, so that a fuzzer that begins with the same number comes the same way.
        let mut uses = HashMap::with_hasher(RandomState::with_seeds(1, 2, 3, 4));
        let mut ports = 0;
        for index in users {
            let mut tuples = self.table.entries.tuples(index);
            if self.table.entries.at(index).status.contains(Status::EIF) {
                tuples.reverse();
            }
            let [sends, comes] = tuples;
            let count = uses.entry(inside(&sends)).or_insert(0);
            *count += 1;
            if has_choice(comes.protocol()) {
                ports += u32::from(*count == 1);
                if !self.nat.mappings().client(&outside(&comes)).is_some_and(|client| client.sends(&sends)) {
                    return Err(format!("{:?} does not lead to its client", outside(&comes)));
                }
            }
        }
        let (mappings, clients) = self.nat.mappings().len();
        if uses.len() != mappings as usize || clients != ports {
            return Err(format!(
                "{mappings} mappings and {clients} clients, {} and {ports} used",
                uses.len()
            ));
        }
        match uses
            .iter()
            .find(|(client, uses)| self.nat.mappings().get(client).is_none_or(|it| it.uses != **uses))
        {
            Some((client, uses)) => Err(format!("the mapping of {client:?} is used by {uses} entries")),
            None => Ok(()),
        }
    }
}
