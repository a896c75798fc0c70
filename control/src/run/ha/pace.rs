//! How fast records of a peer are taken: as fast as one may have them to tell, and no faster, so that workers have time for packets.

use std::time::{Duration, Instant};

/// Records a second, at most. A peer has a million to tell while connections come and go as fast as they may.
const RECORDS_PER_S: u32 = 2_000_000;

/// When more may be taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    free: Option<Instant>,
}

impl Pace {
    /// Takes so many records; gives how long is to be waited before that. What is not taken waits in the peer's stream.
    pub fn take(&mut self, records: u32, now: Instant) -> Duration {
        let begin = self.free.map_or(now, |free| free.max(now));
        self.free = Some(begin + Duration::from_secs(1) * records / RECORDS_PER_S);
        begin - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_two_million_records_are_taken_in_a_second() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        let mut now = begun;
        let mut taken = 0;
        while now < begun + Duration::from_secs(1) {
            taken += 1000;
            now += pace.take(1000, now);
        }
        assert!((2_000_000..=2_002_000).contains(&taken), "{taken}");
        // A pause saves nothing up.
        now += Duration::from_secs(10);
        assert_eq!(pace.take(1000, now), Duration::ZERO);
        assert_eq!(pace.take(1000, now), Duration::from_micros(500));
    }
}
