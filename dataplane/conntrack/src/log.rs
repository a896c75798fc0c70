//! What `log` rules saw: a bounded ring that a control thread empties, never the packet path.

use crate::facts::Facts;
use crate::ids::RuleId;
use crate::time::Instant;
use crate::tuple::Tuple;
use crate::verdict::DropReason;
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
    /// Bytes of its IP datagram.
    pub len: u32,
    /// Why it did not pass, if it did not.
    pub dropped: Option<DropReason>,
    /// The tuple that it has as it leaves, if it does and another one than it came with.
    pub translated: Option<Tuple>,
}

/// The records of a shard.
#[derive(Debug)]
pub struct Log {
    ring: VecDeque<LogRecord>,
    second: u64,
    left: u32,
    per_second: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self { ring: VecDeque::with_capacity(RING), second: 0, left: PER_SECOND, per_second: PER_SECOND }
    }
}

impl Log {
    /// Keeps all records that there is room for, however many a second: for whoever fetches them packet by packet.
    pub const fn keep_all(&mut self) {
        (self.left, self.per_second) = (u32::MAX, u32::MAX);
    }

    /// Keeps a record; false when the ring is full or this second has had its share.
    pub fn push(&mut self, record: LogRecord) -> bool {
        if record.at.as_secs() != self.second {
            self.second = record.at.as_secs();
            self.left = self.per_second;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use crate::ids::PortId;
    use std::time::Duration;

    fn record() -> LogRecord {
        let facts = Facts {
            state: None,
            ingress: PortId(0),
            egress: None,
            family: Family::V4,
            source: 1,
            destination: 2,
            protocol: 17,
            source_port: 3,
            destination_port: 4,
            tcp_flags: 0,
            zone: 0,
            connection: None,
        };
        let at = Instant::default().after(Duration::from_secs(9));
        LogRecord { at, rule: RuleId(0), facts, len: 28, dropped: None, translated: None }
    }

    #[test]
    fn a_second_has_its_share_unless_all_are_kept() {
        let fetch = |log: &mut Log| {
            (0..2 * PER_SECOND).filter(|_| log.push(record()) && log.pop().is_some()).count() as u32
        };
        let mut log = Log::default();
        assert_eq!(fetch(&mut log), PER_SECOND);
        log.keep_all();
        assert_eq!(fetch(&mut log), 2 * PER_SECOND);
        let kept = (0..2 * RING).filter(|_| log.push(record())).count();
        assert_eq!(kept, RING, "for no more is there room");
    }
}
