//! What must hold inside a shard between two bursts, whatever came in: for tests and fuzzers.

use crate::shard::Shard;
use crate::tuple::Direction;

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
}
