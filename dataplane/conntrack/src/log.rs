//! What `log` rules saw: a bounded ring that a control thread empties, never the packet path.

use crate::facts::Facts;
use crate::ids::RuleId;
use crate::time::Instant;
use std::collections::VecDeque;

/// Records that wait to be fetched, at most.
const RING: usize = 1024;

/// Records a second that are kept: enough to see what happens, too few to slow the packet path.
const PER_SECOND: u32 = 1000;

/// One packet that a `log` rule saw.
#[derive(Clone, Copy, Debug)]
pub struct LogRecord {
    /// When.
    pub at: Instant,
    /// The rule.
    pub rule: RuleId,
    /// What the rule looked at.
    pub facts: Facts,
}

/// The records of a shard.
#[derive(Debug)]
pub struct Log {
    ring: VecDeque<LogRecord>,
    second: u64,
    left: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self { ring: VecDeque::with_capacity(RING), second: 0, left: PER_SECOND }
    }
}

impl Log {
    /// Keeps a record; false when the ring is full or this second has had its share.
    pub fn push(&mut self, record: LogRecord) -> bool {
        if record.at.as_secs() != self.second {
            self.second = record.at.as_secs();
            self.left = PER_SECOND;
        }
        if self.left == 0 || self.ring.len() == RING {
            return false;
        }
        self.left -= 1;
        self.ring.push_back(record);
        true
    }

    /// Takes the oldest record.
    pub fn pop(&mut self) -> Option<LogRecord> {
        self.ring.pop_front()
    }
}
