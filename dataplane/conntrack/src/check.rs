//! What must hold inside a shard between two bursts, whatever came in: for tests and fuzzers.

use crate::shard::Shard;

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
        for (what, count) in [
            ("places in use", used().count()),
            ("places in the index", self.index.len()),
            ("entries on the wheel", self.wheel.check(&self.entries)?),
        ] {
            if count != len {
                return Err(format!("{count} {what} for {len} entries"));
            }
        }
        for index in used() {
            let tuple = self.entries.tuple(index);
            let inverse = tuple.invert();
            for (tuple, inverse) in [(tuple, inverse), (inverse, tuple)] {
                let hash = self.index.hash(&tuple, inverse.selector);
                let test = |other| self.entries.direction(other, &tuple, inverse.selector);
                let found = self.index.find(hash, test);
                if found.map(|(other, _)| other) != Some(index) {
                    return Err(format!("entry {index} is not found by {tuple:?}, but {found:?}"));
                }
            }
        }
        Ok(())
    }
}
