//! Calls flows that have gone on for the active timeout (RFC 7011 section 4.1), and for each further one, so that a collector hears of
//! those that last for days while they do.
//!
//! A round past all connections takes an eighth of the timeout, and calls those that have become a timeout older since the round before:
//! each once, also where rounds take longer than they should.

use std::sync::mpsc::Receiver;

use sluice_conntrack::entry::Status;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_engine::command::Unanswered;

use super::walk::Walk;
use crate::run::workers::Workers;

/// Flows that are called in a second, about, at most: ten million take ten minutes.
const PER_SECOND: usize = 1 << 14;

/// How long a round takes, of the timeout.
pub const fn round_s(timeout_s: u32) -> u32 {
    if timeout_s < 8 { 1 } else { timeout_s / 8 }
}

/// The rounds.
pub struct ActiveTimeout {
    walk: Walk,
    timeout_s: u32,
    /// Whether flows are called that are not translated.
    untranslated: bool,
    /// Second of the workers' clock in which the round before began, and this one.
    rounds_s: [u64; 2],
}

impl ActiveTimeout {
    /// By the workers' clock, which says `now_s`; what is called comes out at the other end.
    pub fn start(
        timeout_s: u32,
        untranslated: bool,
        now_s: u64,
    ) -> (ActiveTimeout, Receiver<Vec<EntrySnapshot>>) {
        let (walk, called) = Walk::new();
        (ActiveTimeout { walk, timeout_s, untranslated, rounds_s: [now_s; 2] }, called)
    }

    /// Calls the next ones, as many as it may.
    ///
    /// # Errors
    /// A worker does not answer.
    pub fn go_on(&mut self, workers: &mut Workers, now_s: u64) -> Result<(), Unanswered> {
        let [_, round_s] = self.rounds_s;
        if self.walk.is_over() {
            if now_s < round_s + u64::from(self::round_s(self.timeout_s)) {
                return Ok(());
            }
            self.rounds_s = [round_s, now_s];
            self.walk.begin();
        }
        let Self { walk, timeout_s, untranslated, rounds_s } = self;
        walk.go_on(workers, PER_SECOND, |entry| {
            let is_wanted = *untranslated || entry.status.intersects(Status::TRANSLATED);
            is_wanted && is_due(*timeout_s, *rounds_s, now_s, entry.age_s)
        })
    }
}

/// Whether what is so old now has become a timeout older from one round to the next.
fn is_due(timeout_s: u32, rounds_s: [u64; 2], now_s: u64, age_s: u32) -> bool {
    let [before, now] = rounds_s
        .map(|round_s| u64::from(age_s).saturating_sub(now_s.saturating_sub(round_s)) / u64::from(timeout_s));
    before < now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flow_is_called_once_in_a_timeout_however_long_rounds_take() {
        for born_s in [0, 1, 59, 60, 61, 100] {
            // Rounds begin late, and come to the flow some seconds after they began.
            let (mut before, mut called) = (0, Vec::new());
            for (round, late) in [(8, 0), (15, 3), (40, 9), (70, 1), (120, 30), (165, 1), (181, 2), (600, 5)]
            {
                let now_s = round + late;
                if now_s >= born_s && is_due(60, [before, round], now_s, (now_s - born_s) as u32) {
                    called.push(round);
                }
                before = round;
            }
            let by_age = |round: &u64| round.saturating_sub(born_s) / 60;
            let mut ages: Vec<u64> = called.iter().map(by_age).collect();
            assert!(ages.iter().all(|age| *age > 0), "{born_s}: {called:?}");
            ages.dedup();
            assert_eq!(ages.len(), called.len(), "{born_s}: {called:?}");
            let all: Vec<u64> = [8, 15, 40, 70, 120, 165, 181, 600].iter().map(by_age).collect();
            let steps = all.windows(2).filter(|pair| pair[0] < pair[1]).count();
            assert_eq!(called.len(), steps, "{born_s}: {called:?}");
        }
    }
}
