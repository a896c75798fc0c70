//! How fast the box may speak unasked (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4f): a token bucket, kept as the
//! time at which it is full.
//!
//! The box has one pace, whichever shard the packets come to: it is the only thing that shards share. Nothing but an answer
//! touches it, and it is written only as often as answers are sent.

use crate::time::Instant;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One answer a millisecond in the long run: enough for every traceroute, too few to be worth provoking.
const INTERVAL: Duration = Duration::from_millis(1);
/// Answers at once after a silence.
const BURST: u32 = 100;

/// The pace of a box's answers.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the bucket is full again, in nanoseconds as [`Instant`] has them.
    full_ns: AtomicU64,
}

impl Pace {
    /// Takes a token, if there is one at `now`.
    pub fn take(&self, now: Instant) -> bool {
        let taken = |full_ns| {
            let full = Instant::from_ns(full_ns).max(now).after(INTERVAL);
            (full.since(now) <= INTERVAL * BURST).then_some(full.as_ns())
        };
        // No other memory depends on it.
        self.full_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_a_millisecond() {
        let pace = Pace::default();
        let start = Instant::from_ns(5);
        assert_eq!((0..1000).filter(|_| pace.take(start)).count(), BURST as usize);
        assert!(!pace.take(start.after(INTERVAL / 2)));
        assert!(pace.take(start.after(INTERVAL)));
        assert!(!pace.take(start.after(INTERVAL)));
        let later = start.after(Duration::from_secs(3600));
        assert_eq!((0..1000).filter(|_| pace.take(later)).count(), BURST as usize);
    }

    #[test]
    fn many_that_take_at_once_get_no_more_than_one() {
        let pace = Pace::default();
        let take = || (0..1000).filter(|_| pace.take(Instant::from_ns(5))).count();
        let taken: usize = std::thread::scope(|scope| {
            let takers = [(); 4].map(|()| scope.spawn(take));
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(taken, BURST as usize);
    }
}
