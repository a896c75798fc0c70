//! When something was by the host's clock that a worker tells by its own.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sluice_conntrack::Instant as Time;

/// The two clocks may have drifted so far apart before stamps follow, which keep their distances until then.
const DRIFT: Duration = Duration::from_millis(1);

/// Readings of both clocks: the one between whose halves least has happened counts.
const READINGS: usize = 3;

/// The workers' clock beside the host's, which may be set at any time.
#[derive(Clone)]
pub struct HostTime {
    /// What time it is for the workers.
    workers_now: Arc<dyn Fn() -> Time + Send + Sync>,
    /// The host's time when theirs was zero.
    zero: SystemTime,
}

impl HostTime {
    /// By the workers' clock.
    pub fn new(workers_now: impl Fn() -> Time + Send + Sync + 'static) -> Self {
        let mut time = Self { workers_now: Arc::new(workers_now), zero: SystemTime::UNIX_EPOCH };
        time.follow();
        time
    }

    /// Follows the host's clock.
    pub fn follow(&mut self) {
        let reading = || {
            let before = (self.workers_now)();
            let host = SystemTime::now();
            let took = (self.workers_now)().since(before);
            (took, host.checked_sub(before.since(Time::default())).unwrap_or(SystemTime::UNIX_EPOCH))
        };
        let (_, zero) = (0..READINGS).map(|_| reading()).min().unwrap_or((Duration::ZERO, self.zero));
        let drift = zero.duration_since(self.zero).unwrap_or_else(|error| error.duration());
        if drift > DRIFT {
            self.zero = zero;
        }
    }

    /// The host's time at a time of the workers.
    pub fn at(&self, time: Time) -> SystemTime {
        self.zero + time.since(Time::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn stamps_keep_their_distances_until_the_clocks_have_drifted_apart() {
        let ns = Arc::new(AtomicU64::new(0));
        let theirs = Arc::clone(&ns);
        let mut time = HostTime::new(move || Time::from_ns(theirs.load(Ordering::Relaxed)));
        let first = time.at(Time::from_ns(0));
        assert_eq!(time.at(Time::from_ns(5)), first + Duration::from_nanos(5));
        assert!(first <= SystemTime::now());
        // Theirs runs ahead by an hour, which is as good as the host's set back.
        ns.store(3_600_000_000_000, Ordering::Relaxed);
        time.follow();
        assert!(time.at(Time::from_ns(0)) < first - Duration::from_secs(3500));
    }
}
