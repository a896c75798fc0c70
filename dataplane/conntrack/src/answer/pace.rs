//! How fast the box may speak unasked (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4f): a token bucket, kept as the
//! time at which it is full.

use crate::time::Instant;
use std::time::Duration;

/// One answer a millisecond in the long run: enough for every traceroute, too few to be worth provoking.
const INTERVAL: Duration = Duration::from_millis(1);
/// Answers at once after a silence.
const BURST: u32 = 100;

/// The pace of a shard's answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// When the bucket is full again.
    full: Instant,
}

impl Pace {
    /// Takes a token, if there is one at `now`: of a bucket that so many shards share.
    pub fn take(&mut self, now: Instant, shards: u16) -> bool {
        let shards = u32::from(shards);
        let full = self.full.max(now).after(INTERVAL * shards);
        // However many they are, each has one answer at once.
        let taken = full.since(now) <= INTERVAL * BURST.max(shards);
        if taken {
            self.full = full;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_a_millisecond() {
        let mut pace = Pace::default();
        let start = Instant::from_ns(5);
        assert_eq!((0..1000).filter(|_| pace.take(start, 1)).count(), BURST as usize);
        assert!(!pace.take(start.after(INTERVAL / 2), 1));
        assert!(pace.take(start.after(INTERVAL), 1));
        assert!(!pace.take(start.after(INTERVAL), 1));
        let later = start.after(Duration::from_secs(3600));
        assert_eq!((0..1000).filter(|_| pace.take(later, 1)).count(), BURST as usize);
        let much_later = later.after(Duration::from_secs(3600));
        assert_eq!((0..1000).filter(|_| pace.take(much_later, 4)).count(), BURST as usize / 4);
    }
}
