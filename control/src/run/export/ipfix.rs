//! Sends messages of IPFIX: over UDP or TCP (RFC 7011 section 10). Templates are sent where the way is opened, and again every
//! [`TEMPLATES`] while records are sent, with how many events were lost.

use std::process;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::RunError;
use super::link::Link;
use super::sink::{Batch, Batches, Counters, Sink};
use crate::config::{self, Flows};
use crate::export::ipfix::Exporter;
use crate::export::record::now_us;

/// How often templates are sent again: a collector that has begun anew understands nothing until then.
const TEMPLATES: Duration = Duration::from_secs(60);

/// Begins to send.
///
/// # Errors
/// The system gives no thread.
pub fn start(config: &config::Ipfix) -> Result<Sink, RunError> {
    let mut it = Stream {
        link: Link::new(config.to.clone()),
        exporter: Exporter::new(config.domain, process::id()),
        flows: config.flows,
        nat_events: config.nat_events,
        taught: None,
    };
    let run = move |batches: &Batches, counters: &Counters| {
        batches.iter().for_each(|batch| it.send(&batch, counters));
    };
    Sink::start("ipfix", config.to.to_string(), run)
        .map_err(|error| RunError::Other(format!("export.ipfix: {error}")))
}

struct Stream {
    link: Link,
    exporter: Exporter,
    flows: Flows,
    nat_events: bool,
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
        }
        for record in batch.records.iter() {
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
            if is_told {
                let full = self.exporter.flow(record, now_us);
                self.finish(full, counters);
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
