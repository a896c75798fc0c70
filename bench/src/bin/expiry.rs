//! Measures expiry: how long it may keep a worker from its packets, and how late an entry ends.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use sluice_bench::connection::Step;
use sluice_bench::driver::{Driver, Setup};
use sluice_bench::figures::median;
use sluice_bench::huge_pages::HugePages;
use sluice_bench::interrupt;

/// Fill a table, let a part of it expire at once, and drive a worker's rounds; print a JSON object.
#[derive(Parser)]
#[command(name = "expiry", version)]
struct Options {
    /// Entries in the table
    #[arg(long, default_value_t = 10_000_000)]
    entries: u32,
    /// How many of them, at random positions, come to their time within a tenth of a second
    #[arg(long, default_value_t = 1_000_000)]
    expiring: u32,
    /// What a round of the worker takes besides expiry, in microseconds
    #[arg(long, default_value_t = 20)]
    round_us: u64,
    /// How often to measure
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Decides tuples and positions
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Timeouts of Linux: an opening that nobody answers, and one that is not confirmed.
const SYN_SENT: Duration = Duration::from_secs(120);
const SYN_RECV: Duration = Duration::from_secs(60);

/// When these begin, so that a slot of the wheel, of 65.536 s, begins just before the first are due, and all others are linked
/// on that slot.
const OPENED: Duration = Duration::from_secs(15);
const ANSWERED: Duration = Duration::from_secs(71);

/// What the rounds of a worker came to.
struct Measured {
    /// Nanoseconds of each call, in order.
    calls_ns: Vec<u64>,
    /// From the time of the first entry to the end of the last one.
    lag: Duration,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    interrupt::catch()?;
    let _huge_pages = HugePages::reserve(u64::from(options.entries) * 160);
    let rounds = (0..options.rounds).map(|_| options.measure()).collect::<anyhow::Result<Vec<_>>>()?;
    let calls = rounds.iter().map(|round| round.calls_ns.len()).min().unwrap_or_default();
    // The calls of all rounds do the same; whatever else the machine does meets others each time.
    let at_best = |call: usize| rounds.iter().map(|round| round.calls_ns[call]).min();
    let longest_ns = (0..calls).filter_map(at_best).max().unwrap_or_default();
    let mut all_ns: Vec<u64> = rounds.iter().flat_map(|round| round.calls_ns.iter().copied()).collect();
    all_ns.sort_unstable();
    let last = all_ns.len().saturating_sub(1);
    let us = |ns: u64| ns as f64 / 1000.0;
    let part_us = |missing: usize| all_ns.get(last - last / missing).copied().map(us);
    let lags_ms: Vec<f64> = rounds.iter().map(|round| round.lag.as_secs_f64() * 1000.0).collect();
    let figures = json!({
        "expiry_longest_loop_us": us(longest_ns),
        "expiry_loop_p9999_us": part_us(10_000),
        "expiry_loop_max_us": all_ns.last().copied().map(us),
        "expiry_lag_ms": median(&lags_ms),
        "expiry_lag_ms_rounds": lags_ms,
    });
    println!("{figures:#}");
    Ok(())
}

impl Options {
    fn measure(&self) -> anyhow::Result<Measured> {
        let mut driver = Driver::new(Setup::new(self.entries, self.seed, 0))?;
        driver.wait(OPENED);
        let opened = driver.now();
        driver.drive((0..self.entries).map(|number| (number, Step::Open)))?;
        let mut expiring: Vec<u32> = (0..self.entries).collect();
        expiring.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        expiring.truncate(self.expiring as usize);
        driver.wait(ANSWERED.saturating_sub(OPENED));
        let due = driver.now().after(SYN_RECV);
        driver.drive(expiring.into_iter().map(|number| (number, Step::Answer)))?;

        let mut calls_ns = Vec::new();
        let mut now = driver.now();
        let stay = self.entries.saturating_sub(self.expiring);
        while driver.shard().len() > stay {
            ensure!(now.since(opened) < SYN_SENT, "{} entries are left", driver.shard().len());
            let begin = Instant::now();
            driver.expire(now);
            let took = begin.elapsed();
            calls_ns.push(took.as_nanos() as u64);
            now = now.after(took + Duration::from_micros(self.round_us));
        }
        Ok(Measured { calls_ns, lag: driver.now().since(due) })
    }
}
