//! Sends messages of IPFIX: over UDP or TCP (RFC 7011 section 10). Templates are sent where the way is opened, and again every
//! [`TEMPLATES`] while records are sent, with how many events were lost.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{process, thread};

use super::super::RunError;
use super::link::Link;
use super::sink::{Batch, Batches, Called, Counters, Hears, Sink};
use crate::config::{self, Flows};
use crate::export::going_on::GoingOn;
use crate::export::ipfix::Exporter;
use crate::export::record::{What, now_us};

/// How often templates are sent again: a collector that has begun anew understands nothing until then.
const TEMPLATES: Duration = Duration::from_secs(60);

/// How long nothing is sent behind a message that flows which go on have filled: those of a second come spread over a part of it, so that no
/// collector's buffer is too small for them.
const SPREAD: Duration = Duration::from_micros(250);

/// Begins to send. Flows that go on are called in rounds of so many seconds.
///
/// # Errors
/// The system gives no thread.
pub fn start(config: &config::Ipfix, round_s: u32) -> Result<Sink, RunError> {
    // What a round calls may be as much too early as another was late.
    let due_s = config.active_timeout.0.saturating_sub(round_s);
    let mut it = Stream {
        link: Link::new(config.to.clone()),
        exporter: Exporter::new(config.domain, process::id()),
        flows: config.flows,
        nat_events: config.nat_events,
        going_on: GoingOn::new(u64::from(due_s) * 1_000_000),
        taught: None,
    };
    let run = move |batches: &Batches, counters: &Counters| {
        batches.iter().for_each(|batch| it.send(&batch, counters));
    };
    let called = config.tells_of_going_on().then_some(Called::ByActiveTimeout);
    Sink::start("ipfix", config.to.to_string(), Hears { called, lines: false }, run)
        .map_err(|error| RunError::Other(format!("export.ipfix: {error}")))
}

struct Stream {
    link: Link,
    exporter: Exporter,
    flows: Flows,
    nat_events: bool,
    going_on: GoingOn,
    /// When templates were last sent.
    taught: Option<Instant>,
}

impl Stream {
    /// Sends what a batch has to tell.
    fn send(&mut self, batch: &Batch, counters: &Counters) {
        let now_us = now_us();
        if self.link.open() || self.taught.is_none_or(|taught| taught.elapsed() >= TEMPLATES) {
            let templates = self.exporter.templates(counters.lost.load(Ordering::Relaxed), now_us);
            self.taught = self.link.send(&templates).then(Instant::now);
            self.going_on.sweep(now_us);
        }
        for record in batch.news.records.iter() {
            let translation = &record.translation;
            if self.nat_events && translation.is_translated() {
                let full = self.exporter.event(translation, now_us);
                self.finish(full, counters);
            }
            let is_told = match self.flows {
                Flows::All => true,
                Flows::Translated => translation.is_translated(),
                Flows::None => false,
            };
            if let Some(part) = is_told.then(|| self.going_on.part(record)).flatten() {
                let full = self.exporter.flow(&part, now_us);
                let is_spread = full.is_some() && translation.what == What::Alive;
                self.finish(full, counters);
                if is_spread {
                    thread::sleep(SPREAD);
                }
            }
        }
        let rest = self.exporter.rest(now_us);
        self.finish(rest, counters);
    }

    /// Sends a message if it is one.
    fn finish(&mut self, message: Option<(Vec<u8>, u64)>, counters: &Counters) {
        if let Some((message, records)) = message {
            let counter = if self.link.send(&message) { &counters.written } else { &counters.lost };
            counter.fetch_add(records, Ordering::Relaxed);
        }
    }
}
