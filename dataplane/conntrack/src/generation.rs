//! Generations of configurations, by which a judgement of the policy that an entry keeps is told from one that no longer holds.
//!
//! They are numbered from 1, and begin again behind 65,535. So that an entry which nobody has sent anything for meanwhile has no
//! judgement by an older configuration of the same number, judgements are forgotten long before, at the begin of each half of the
//! numbers, a few places at a time: then no entry has one by a number of the half that follows.

use crate::shard::Shard;

/// Half of the numbers.
const HALF: u16 = 1 << 15;

impl Shard {
    /// Another configuration comes in force: nothing that was judged before holds any more.
    pub(crate) fn begin_generation(&mut self) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.flows.clear();
        if self.generation % HALF == 1 {
            // As good as never anything: so many configurations have not come within a sweep.
            self.go_on_forgetting(u32::MAX);
            self.forgetting = Some(0);
        }
    }

    /// Goes on forgetting, at most `budget` places. False when there is more to do.
    pub(crate) fn go_on_forgetting(&mut self, budget: u32) -> bool {
        for _ in 0..budget {
            let Some(index) = self.forgetting.and_then(|index| self.table.entries.next_index(index)) else {
                self.forgetting = None;
                return true;
            };
            self.forgetting = Some(index + 1);
            self.table.entries.at_mut(index).judged.forget_others(self.generation);
        }
        self.forgetting.is_none()
    }
}
