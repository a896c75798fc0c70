//! Adopting: connections that a peer has told of become this box's own when it takes their group over, with their next packet or, those that
//! are silent, a few at a time.

use crate::shard::Shard;
use crate::time::Tick;
use std::time::Duration;

/// What a silent connection lives at least when it is adopted: a client that is slow to notice is not late.
const LEAST_LIFE: Duration = Duration::from_secs(120);

impl Shard {
    /// Goes on with it, at most `budget` slots: as far as it is to have come by now, so that who is told of them all is not told at once.
    /// False when there is more to do at this time.
    pub(crate) fn go_on_adopting(&mut self, budget: u32) -> bool {
        let Some((begun, mut next)) = self.adoption.walk else { return true };
        let whole = self.configuration.groups.takeover.adopt.as_millis().max(1);
        let passed = self.now.since(begun).as_millis().min(whole);
        let capacity = self.table.entries.capacity();
        let goal = (u128::from(capacity) * passed / whole) as u32;
        let last = goal.min(next.saturating_add(budget));
        while let Some(index) = self.table.entries.next_index(next).filter(|index| *index < last) {
            next = index + 1;
            if self.table.entries.at(index).is_used()
                && self.told_for(index).is_some()
                && !self.is_foreign(index)
            {
                self.adopt(index);
                let least = Tick::at(self.now).after_ms(LEAST_LIFE.as_millis() as u32);
                if self.table.entries.at(index).deadline.since_ms(least) < 0 {
                    self.refresh(index, least);
                }
            }
        }
        let is_over = passed == whole && last == goal;
        self.adoption.walk = (!is_over).then_some((begun, last));
        last == goal
    }

    /// An entry that a peer told of is this box's own from now on.
    pub(crate) fn adopt(&mut self, index: u32) {
        self.foreign.forget(index);
        self.touch(index);
    }
}
