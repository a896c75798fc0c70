//! A sample of the table: who has made connections, told by some of them that are spread over all of it.

use std::net::IpAddr;

use crate::shard::Shard;
use crate::time::Tick;
use crate::tuple::{Direction, address};

impl Shard {
    /// Visits the original source of the entries in so many slots at most, as far from one another as they can be, beginning by `phase`:
    /// the whole of a small table. Each is some cache lines from memory.
    pub fn sample_sources(&self, most: u32, phase: u32, mut visit: impl FnMut(IpAddr)) {
        let (entries, now) = (&self.table.entries, Tick::at(self.now));
        for index in entries.spread(most, phase) {
            let entry = entries.at(index);
            if entry.is_used() && !entry.deadline.is_due(now) {
                let tuple = entries.tuple(index, Direction::Original);
                visit(address(tuple.family(), tuple.src));
            }
        }
    }
}
