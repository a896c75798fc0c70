//! Writes the NAT journal.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::super::RunError;
use super::sink::{Batch, Batches, Called, Counters, Hears, Sink};
use crate::config;
use crate::export::journal::format::{Gap, Item, Why};
use crate::export::journal::writer::{Limits, Writer};
use crate::export::record::now_us;
use crate::socket::protocol::JournalStatus;

/// How often what has come is written and synced.
const FLUSH: Duration = Duration::from_secs(1);

/// What the control thread sees of it.
pub struct Shared {
    directory: PathBuf,
    bytes: AtomicU64,
    oldest_us: AtomicU64,
}

impl Shared {
    /// What it has come to.
    pub fn status(&self) -> JournalStatus {
        JournalStatus {
            directory: self.directory.clone(),
            bytes: self.bytes.load(Ordering::Relaxed),
            oldest_s: self.oldest_us.load(Ordering::Relaxed) / 1_000_000,
        }
    }
}

/// Begins to write it.
///
/// # Errors
/// It cannot be written.
pub fn start(config: &config::Journal) -> Result<(Sink, Arc<Shared>), RunError> {
    let failed = |error| RunError::Other(format!("export.journal: {}: {error}", config.directory.display()));
    let age = Duration::from_secs(config.keep.0.into());
    let writer =
        Writer::open(&config.directory, Limits { bytes: config.size.0, age }, now_us()).map_err(failed)?;
    let directory = config.directory.clone();
    let to = directory.display().to_string();
    let shared = Arc::new(Shared { directory, bytes: AtomicU64::new(0), oldest_us: AtomicU64::new(0) });
    let seen = Arc::clone(&shared);
    let hears = Hears { called: Some(Called::ByRollCall), lines: false };
    let sink =
        Sink::start("journal", to, hears, move |batches, counters| run(writer, batches, counters, &seen));
    Ok((sink.map_err(failed)?, shared))
}

fn run(mut writer: Writer, batches: &Batches, counters: &Counters, shared: &Shared) {
    let (mut flushed, mut lost) = (Instant::now(), 0);
    publish(&writer, counters, shared, &mut lost);
    loop {
        match batches.next_within(FLUSH.saturating_sub(flushed.elapsed())) {
            Ok(batch) => write(&mut writer, &batch),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if flushed.elapsed() >= FLUSH {
            writer.flush(now_us());
            publish(&writer, counters, shared, &mut lost);
            flushed = Instant::now();
        }
    }
    writer.close(now_us());
}

fn write(writer: &mut Writer, batch: &Batch) {
    let Batch { news, lost, lost_from_us, at_us } = batch;
    if *lost > 0 {
        let gap = Gap { why: Why::Lost, from_us: *lost_from_us, to_us: *at_us, lost: *lost };
        writer.write(Item::Gap(gap), *at_us);
    }
    let translated = news.records.iter().filter(|record| record.translation.is_translated());
    translated.for_each(|record| writer.write(Item::Translation(record.translation), *at_us));
}

/// Has the control thread see what the writer has come to; `lost` is what it was told the disk has lost.
fn publish(writer: &Writer, counters: &Counters, shared: &Shared, lost: &mut u64) {
    let totals = writer.totals();
    counters.written.store(totals.written, Ordering::Relaxed);
    counters.lost.fetch_add(totals.lost - *lost, Ordering::Relaxed);
    *lost = totals.lost;
    shared.bytes.store(totals.bytes, Ordering::Relaxed);
    shared.oldest_us.store(totals.oldest_us, Ordering::Relaxed);
}
