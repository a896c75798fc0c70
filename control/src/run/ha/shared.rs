//! What the threads of a cluster's box count and know, for the control thread to show, and how they hear that it is over.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluice_conntrack::replica::NotInstalled;

/// Why something that a peer has told was not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The shard refused it.
    NotInstalled(NotInstalled),
    /// Another shard had an entry of its reply tuple.
    Claim,
    /// No connection can be like that, or its kind is not known.
    Record,
    /// A whole stream entry is damaged, or no one at all.
    Entry,
}

impl Failure {
    /// How many there are.
    const COUNT: usize = NotInstalled::ALL.len() + 3;

    fn index(self) -> usize {
        let of_shards = NotInstalled::ALL.len();
        match self {
            Self::NotInstalled(why) => {
                NotInstalled::ALL.iter().position(|it| *it == why).unwrap_or(of_shards)
            }
            Self::Claim => of_shards,
            Self::Record => of_shards + 1,
            Self::Entry => of_shards + 2,
        }
    }

    /// The metric labels, in the order of the numbers.
    fn labels() -> impl Iterator<Item = &'static str> {
        NotInstalled::ALL.iter().map(|why| why.label()).chain(["claim-refused", "malformed", "damaged"])
    }
}

/// What there is to know of what a peer tells of a group.
#[derive(Debug, Default)]
pub struct Heard {
    /// Whether its Redis answers.
    pub is_up: AtomicBool,
    /// Whether this box knows all that it has told.
    pub is_synced: AtomicBool,
    /// The term and number of the last entry of its stream that was read.
    pub term: AtomicU32,
    /// See `term`.
    pub sequence: AtomicU64,
    /// When the last entry was sent, nanoseconds since 1970; 0 before the first.
    sent_ns: AtomicU64,
    /// How old it was then.
    lag_ns: AtomicU64,
    /// Records that were installed.
    pub installed: AtomicU64,
    failures: [AtomicU64; Failure::COUNT],
    /// Gaps in its stream.
    pub gaps: AtomicU64,
    /// Bulks that came to their end.
    pub bulks: AtomicU64,
}

/// An entry that is older is late; until then the next one is waited for.
const SILENCE_NS: u64 = 1_000_000_000;

impl Heard {
    /// Something could not be installed.
    pub fn count(&self, failure: Failure, times: u64) {
        self.failures[failure.index()].fetch_add(times, Relaxed);
    }

    /// How often that was, by reason.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Failure::labels().zip(self.failures.iter().map(|count| count.load(Relaxed)))
    }

    /// All that was told until then is done.
    pub fn note_sent(&self, sent_ns: u64) {
        self.sent_ns.store(sent_ns, Relaxed);
        self.lag_ns.store(now_ns().saturating_sub(sent_ns), Relaxed);
    }

    /// How far this box is behind: as old as the last entry was when it was done, or is by now where no other has come for long. `None`
    /// before the first.
    pub fn lag_ns(&self) -> Option<u64> {
        let sent_ns = self.sent_ns.load(Relaxed);
        let age_ns = now_ns().saturating_sub(sent_ns);
        let lag_ns = if age_ns > SILENCE_NS { age_ns } else { self.lag_ns.load(Relaxed) };
        (sent_ns > 0).then_some(lag_ns)
    }
}

/// What there is to know of what this box tells of a group.
#[derive(Debug, Default)]
pub struct Spoken {
    /// The term that it writes by.
    pub term: AtomicU32,
    /// Entries written in it.
    pub sequence: AtomicU64,
    /// Records written.
    pub records: AtomicU64,
    /// Times that all connections were told of.
    pub bulks: AtomicU64,
}

/// Says when it is over.
#[derive(Debug, Default)]
pub struct Stop {
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// It is over.
    pub fn stop(&self) {
        *self.is_over.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = true;
        self.changed.notify_all();
    }

    /// Whether it is over, now or within so long.
    pub fn within(&self, time: Duration) -> bool {
        let is_over = self.is_over.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let waited = self.changed.wait_timeout_while(is_over, time, |is_over| !*is_over);
        waited.map_or(true, |(is_over, _)| *is_over)
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        *self.is_over.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Nanoseconds since 1970.
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_a_label_of_its_own() {
        let heard = Heard::default();
        let all = NotInstalled::ALL.map(Failure::NotInstalled);
        all.into_iter().chain([Failure::Claim, Failure::Record, Failure::Entry]).zip(1..).for_each(
            |(failure, times)| {
                heard.count(failure, times);
            },
        );
        let counted: Vec<_> = heard.failures().collect();
        assert_eq!(counted.len(), Failure::COUNT);
        assert!(counted.iter().zip(1..).all(|((_, count), times)| *count == times), "{counted:?}");
        assert_eq!(counted[0].0, NotInstalled::ALL[0].label());
        assert_eq!(counted[Failure::COUNT - 1], ("damaged", Failure::COUNT as u64));
    }

    #[test]
    fn lag_grows_while_nothing_comes() {
        let heard = Heard::default();
        assert_eq!(heard.lag_ns(), None);
        heard.note_sent(now_ns() - 5 * SILENCE_NS);
        assert!(heard.lag_ns().unwrap() >= 5 * SILENCE_NS);
        heard.note_sent(now_ns());
        assert!(heard.lag_ns().unwrap() < 5 * SILENCE_NS);
    }
}
