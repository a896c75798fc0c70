//! The worker's clock: the processor's time-stamp counter, as nanoseconds since the clock was made.

use dpdk::{Eal, lcore};
use sluice_conntrack::Instant;

/// A clock that is read without a system call and never runs backwards on one core.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The counter when the clock was made.
    start: u64,
    /// Nanoseconds of one cycle, times 2^32.
    ns_per_cycle: u64,
}

impl Clock {
    /// A clock that shows zero now.
    pub fn new(eal: &Eal) -> Self {
        let ns_per_cycle = (1_000_000_000 << 32) / u128::from(lcore::tsc_hz(eal).max(1));
        Self { start: lcore::tsc(), ns_per_cycle: ns_per_cycle as u64 }
    }

    /// A clock that shows how much time has passed since then.
    pub fn since(eal: &Eal, then: std::time::Instant) -> Self {
        let Self { start, ns_per_cycle } = Self::new(eal);
        let cycles = (then.elapsed().as_nanos() << 32) / u128::from(ns_per_cycle.max(1));
        Self { start: start.saturating_sub(cycles as u64), ns_per_cycle }
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        let cycles = lcore::tsc().saturating_sub(self.start);
        Instant::from_ns(((u128::from(cycles) * u128::from(self.ns_per_cycle)) >> 32) as u64)
    }
}
