//! What an operator has to hear of at once: a full table, early drops, frames cut off, a full neighbour table, pools without
//! ports, losses of ports.
//!
//! The control thread sees it by the counters that it fetches once a second; the packet path does nothing for it. Each is
//! logged at its onset, in the words of Linux where that has some, and once more when it is over, however many packets it
//! is about.

use std::time::{Duration, Instant};

use sluice_conntrack::DropReason;
use sluice_engine::report::Stats;
use tracing::{info, warn};

/// What has not been counted for so long is over: what comes again within that time is no other onset.
const QUIET: Duration = Duration::from_secs(60);

/// Watches one counter.
#[derive(Debug, Default)]
pub struct Alarm(Option<Onset>);

#[derive(Debug)]
struct Onset {
    began: Instant,
    last: Instant,
    counted: u64,
}

/// What there is to say of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It counts, after a time in which it did not.
    Begun,
    /// It has stopped.
    Over {
        /// What was counted in all.
        counted: u64,
        /// From the first to the last.
        lasted: Duration,
    },
}

impl Alarm {
    /// So much more has been counted since this was last asked.
    pub fn watch(&mut self, more: u64, now: Instant) -> Option<Change> {
        match &mut self.0 {
            None if more == 0 => None,
            None => {
                self.0 = Some(Onset { began: now, last: now, counted: more });
                Some(Change::Begun)
            }
            Some(onset) if more > 0 => {
                onset.last = now;
                onset.counted += more;
                None
            }
            Some(onset) if now.duration_since(onset.last) < QUIET => None,
            Some(onset) => {
                let over = Change::Over { counted: onset.counted, lasted: onset.last - onset.began };
                self.0 = None;
                Some(over)
            }
        }
    }

    /// The same, and logs it: at the onset `what` and `details`, at the end how many `units` it was about.
    pub fn log(&mut self, more: u64, now: Instant, what: &str, details: &str, units: &str) {
        match self.watch(more, now) {
            Some(Change::Begun) => warn!("{what}: {more} {units} within a second; {details}"),
            Some(Change::Over { counted, lasted }) => {
                info!("{what}: over; {counted} {units} within {} s", lasted.as_secs().max(1));
            }
            None => {}
        }
    }
}

/// The alarms of what all workers count: those of the tables, and of frames that are cut off.
#[derive(Debug, Default)]
pub struct ShardAlarms {
    full: Alarm,
    early_drop: Alarm,
    truncated: Alarm,
    neighbours: Alarm,
    /// What had been counted when this was last looked at: packets dropped, entries evicted, frames cut off, neighbours
    /// that had to give way.
    seen: [u64; 4],
}

impl ShardAlarms {
    /// Looks at what all workers have counted.
    pub fn watch(&mut self, stats: &Stats, entries_limit: u64, now: Instant) {
        let counters = &stats.counters;
        let drops = |reason: DropReason| counters.drops[reason as usize];
        let counted = [
            drops(DropReason::TableFull),
            counters.early_drops,
            drops(DropReason::Truncated),
            stats.neighbours.evictions.iter().sum(),
        ];
        let [dropped, evicted, cut_off, forgotten] =
            [0, 1, 2, 3].map(|which| counted[which].saturating_sub(self.seen[which]));
        self.seen = counted;
        let entries = format!("{} of {entries_limit} entries (conntrack.max-entries)", stats.entries);
        self.full.log(dropped, now, "nf_conntrack: table full, dropping packet", &entries, "packets dropped");
        self.early_drop.log(
            evicted,
            now,
            "nf_conntrack: early_drop",
            &entries,
            "entries evicted for new ones",
        );
        let long = "frames longer than the MTU are cut off, as of hosts that leave segmentation to a NIC: \
                    `ethtool -K IFACE tso off gso off` there";
        self.truncated.log(cut_off, now, "truncated", long, "packets dropped");
        // Linux's words; whoever is in use keeps its place here.
        let full = "neighbour: neighbor table overflow!";
        let whose = "`sluice neighbours` shows which port they are on";
        self.neighbours.log(forgotten, now, full, whose, "neighbours gave way to others");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_onset_is_told_once_and_its_end_when_it_is_sure() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut alarm = Alarm::default();
        assert_eq!(alarm.watch(0, at(0)), None);
        assert_eq!(alarm.watch(5, at(1)), Some(Change::Begun));
        // It goes on, and off and on.
        let told: Vec<_> = (2..100).filter_map(|second| alarm.watch(second % 3, at(second))).collect();
        assert_eq!(told, []);
        let counted = 5 + (2..100).map(|second| second % 3).sum::<u64>();
        assert_eq!(alarm.watch(0, at(157)), None);
        let over = Change::Over { counted, lasted: Duration::from_secs(97) };
        assert_eq!(alarm.watch(0, at(158)), Some(over));
        assert_eq!(alarm.watch(0, at(159)), None);
        assert_eq!(alarm.watch(1, at(160)), Some(Change::Begun));
    }
}
