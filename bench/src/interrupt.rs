//! Ends a benchmark early without leaving anything behind: SIGINT and SIGTERM become errors of the next
//! wait, so that what was started and reserved is dropped on the way out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How soon a wait notices.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// From now on the signals only set a flag. Call once.
pub fn catch() -> anyhow::Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)).context("cannot catch signals")
}

/// Sleeps, or fails when the benchmark was told to end.
pub fn sleep(duration: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + duration;
    loop {
        ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(LOOK_EVERY));
    }
}
