//! What must hold inside a shard between two bursts, whatever came in: for tests and fuzzers.

use crate::entry::Status;
use crate::nat::{Client, inside, outside};
use crate::shard::Shard;
use crate::tuple::Direction;
use std::collections::{HashMap, HashSet};

impl Shard {
    /// Looks at every place of the table, the index and the timer wheel.
    ///
    /// # Errors
    /// What does not hold.
    #[doc(hidden)]
    pub fn check_invariants(&self) -> Result<(), String> {
        let used =
            || std::iter::successors(self.entries.next_used(0), |last| self.entries.next_used(last + 1));
        let len = self.len() as usize;
        let translated = used().filter(|index| self.entries.at(*index).is_translated()).count();
        for (what, count, expected) in [
            ("places in use", used().count(), len),
            ("translated entries", self.translated as usize, translated),
            ("places in the index", self.index.len(), len + translated),
            ("entries on the wheel", self.wheel.check(&self.entries)?, len),
        ] {
            if count != expected {
                return Err(format!("{count} {what} for {len} entries, {translated} of them translated"));
            }
        }
        self.check_mappings(
            used().filter(|index| self.entries.at(*index).status.meets(Status::USES_MAPPING)),
        )?;
        // A tuple that two entries own finds one of them only.
        for index in used() {
            for direction in [Direction::Original, Direction::Reply] {
                let tuple = self.entries.tuple(index, direction);
                let found = self.search(&self.key(&tuple), &tuple);
                if found.map(|(other, _)| other) != Some(index) {
                    return Err(format!("entry {index} is not found by {tuple:?}, but {found:?}"));
                }
            }
        }
        Ok(())
    }

    /// The entries `users` use all mappings there are, as often as those count, and a published port leads to a client whose it
    /// is.
    fn check_mappings(&self, users: impl Iterator<Item = u32>) -> Result<(), String> {
        let mut uses = HashMap::new();
        let mut ports = HashSet::new();
        for index in users {
            let mut tuples =
                [Direction::Original, Direction::Reply].map(|way| self.entries.tuple(index, way));
            if self.entries.at(index).status.has(Status::ENTERED) {
                tuples.reverse();
            }
            let [sends, comes] = tuples;
            *uses.entry(inside(&sends)).or_insert(0) += 1;
            ports.insert((outside(&comes), Client::of(&sends)));
        }
        let strange = |(outside, _): &&(_, _)| {
            self.published.get(outside).is_some_and(|client| !ports.contains(&(*outside, client)))
        };
        if let Some((outside, _)) = ports.iter().find(strange) {
            return Err(format!("{outside:?} is published for a client that does not have it"));
        }
        if uses.len() != self.mappings.len() as usize || self.published.len() > self.mappings.len() {
            let (mappings, published) = (self.mappings.len(), self.published.len());
            return Err(format!("{mappings} mappings, {published} published, {} used", uses.len()));
        }
        match uses.iter().find(|(client, uses)| self.mappings.get(client).is_none_or(|it| it.uses != **uses))
        {
            Some((client, uses)) => Err(format!("the mapping of {client:?} is used by {uses} entries")),
            None => Ok(()),
        }
    }
}
