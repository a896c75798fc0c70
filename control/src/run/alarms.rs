//! What an operator has to hear of at once: a full table, early drops, whatever else has no room, frames cut off, pools without
//! ports, losses of ports.
//!
//! The control thread sees it by the counters that it fetches once a second; the packet path does nothing for it. Each is
//! logged at its onset, in the words of Linux where that has some, once a minute while it goes on, and once more when it is over,
//! however many packets it is about.

use std::time::{Duration, Instant};

use sluice_conntrack::DropReason;
use sluice_engine::report::Stats;
use tracing::{info, warn};

/// What has not been counted for so long is over: what comes again within that time is no other onset.
const QUIET: Duration = Duration::from_secs(60);

/// How often it is logged that it goes on.
const REMINDER: Duration = Duration::from_secs(60);

/// Watches one counter.
#[derive(Debug, Default)]
pub struct Alarm(Option<Onset>);

#[derive(Debug)]
struct Onset {
    began: Instant,
    last: Instant,
    counted: u64,
    /// When it was told last, and what had been counted then.
    told: (Instant, u64),
}

/// What there is to say of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It counts, after a time in which it did not.
    Begun,
    /// It goes on.
    GoesOn {
        /// What was counted since that was told last.
        more: u64,
    },
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
                self.0 = Some(Onset { began: now, last: now, counted: more, told: (now, more) });
                Some(Change::Begun)
            }
            Some(onset) if more > 0 => {
                onset.last = now;
                onset.counted += more;
                let (at, counted) = onset.told;
                (now.duration_since(at) >= REMINDER).then(|| {
                    onset.told = (now, onset.counted);
                    Change::GoesOn { more: onset.counted - counted }
                })
            }
            Some(onset) if now.duration_since(onset.last) < QUIET => None,
            Some(onset) => {
                let over = Change::Over { counted: onset.counted, lasted: onset.last - onset.began };
                self.0 = None;
                Some(over)
            }
        }
    }

    /// The same, and logs it: at the onset and while it goes on `what` and `details`, at the end how many `units` it was about.
    pub fn log(&mut self, more: u64, now: Instant, what: &str, details: &str, units: &str) {
        match self.watch(more, now) {
            Some(Change::Begun) => warn!("{what}: {more} {units} within a second; {details}"),
            Some(Change::GoesOn { more }) => warn!("{what}: {more} {units} more; {details}"),
            Some(Change::Over { counted, lasted }) => {
                info!("{what}: over; {counted} {units} within {} s", lasted.as_secs().max(1));
            }
            None => {}
        }
    }
}

/// What is watched of what all workers count.
struct Watched {
    /// What is said, in Linux's words where it has some.
    what: &'static str,
    /// What is counted.
    units: &'static str,
    /// What helps; nothing where it is how full the table is.
    help: &'static str,
    count: fn(&Stats) -> u64,
}

const fn drops(stats: &Stats, reason: DropReason) -> u64 {
    stats.counters.drops[reason as usize]
}

const WATCHED: [Watched; 7] = [
    Watched {
        what: "nf_conntrack: table full, dropping packet",
        units: "packets dropped",
        help: "",
        count: |stats| drops(stats, DropReason::TableFull),
    },
    Watched {
        what: "nf_conntrack: early_drop",
        units: "entries evicted for new ones",
        help: "",
        count: |stats| stats.counters.early_drops,
    },
    Watched {
        what: "nf_conntrack: expectation table full",
        units: "packets dropped",
        help: "`sluice helpers` shows whose they are (conntrack.max-expectations)",
        count: |stats| drops(stats, DropReason::ExpectationFull),
    },
    Watched {
        what: "fragments: limit reached, dropping fragment",
        units: "fragments dropped",
        help: "conntrack.fragments says how many may wait for the rest of their datagram",
        count: |stats| drops(stats, DropReason::FragmentLimit),
    },
    Watched {
        what: "workers: no room on the way to another one, dropping packet",
        units: "packets dropped",
        help: "a worker is overloaded: `sluice_worker_busy_ratio` says which",
        count: |stats| drops(stats, DropReason::HandoffFull) + drops(stats, DropReason::HoldFull),
    },
    Watched {
        what: "truncated",
        units: "packets dropped",
        help: "frames longer than the MTU are cut off, as of hosts that leave segmentation to a NIC: \
               `ethtool -K IFACE tso off gso off` there",
        count: |stats| drops(stats, DropReason::Truncated),
    },
    // Whoever is in use keeps its place here.
    Watched {
        what: "neighbour: neighbor table overflow!",
        units: "neighbours gave way to others",
        help: "`sluice neighbours` shows which port they are on",
        count: |stats| stats.neighbours.evictions.iter().sum(),
    },
];

/// The alarms of what all workers count.
#[derive(Debug, Default)]
pub struct ShardAlarms {
    /// Each with what had been counted when it was last looked at.
    alarms: [(Alarm, u64); WATCHED.len()],
}

impl ShardAlarms {
    /// Looks at what all workers have counted.
    pub fn watch(&mut self, stats: &Stats, entries_limit: u64, now: Instant) {
        let entries = format!("{} of {entries_limit} entries (conntrack.max-entries)", stats.entries);
        for (Watched { what, units, help, count }, (alarm, seen)) in WATCHED.iter().zip(&mut self.alarms) {
            let counted = count(stats);
            let more = counted.saturating_sub(std::mem::replace(seen, counted));
            alarm.log(more, now, what, if help.is_empty() { &entries } else { help }, units);
        }
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
        let told: Vec<_> =
            (2..100).filter_map(|second| Some((second, alarm.watch(second % 3, at(second))?))).collect();
        let more = (2..=61).map(|second| second % 3).sum();
        assert_eq!(told, [(61, Change::GoesOn { more })], "once a minute");
        let counted = 5 + (2..100).map(|second| second % 3).sum::<u64>();
        assert_eq!(alarm.watch(0, at(157)), None);
        let over = Change::Over { counted, lasted: Duration::from_secs(97) };
        assert_eq!(alarm.watch(0, at(158)), Some(over));
        assert_eq!(alarm.watch(0, at(159)), None);
        assert_eq!(alarm.watch(1, at(160)), Some(Change::Begun));
    }
}
