//! Sends messages of syslog: over UDP (RFC 5426), over TCP with each message's length in front of it (RFC 6587 section 3.4.1), or
//! to a Unix socket.

use std::sync::atomic::Ordering;
use std::{fs, process};

use super::super::RunError;
use super::link::Link;
use super::sink::{Batch, Batches, Counters, Hears, Sink};
use crate::config::{self, Told};
use crate::export::record::{Record, now_us};
use crate::export::syslog::Speaker;

/// Begins to send.
///
/// # Errors
/// The system gives no thread.
pub fn start(config: &config::Syslog) -> Result<Sink, RunError> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // RFC 5424 has no room for another character in a name, and `-` for none.
    let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(255).collect();
    let host = if host.is_empty() { "-".to_owned() } else { host };
    let speaker = Speaker { facility: config.facility.number(), host, process: process::id() };
    let (to, of) = (config.to.clone(), config.of);
    let run = move |batches: &Batches, counters: &Counters| {
        let mut link = Link::new(to);
        let mut untold = 0;
        for batch in batches.iter() {
            send(&mut link, &speaker, of, &batch, &mut untold, counters);
        }
    };
    let hears = Hears { called: None, lines: config.log_rules };
    Sink::start("syslog", config.to.to_string(), hears, run)
        .map_err(|error| RunError::Other(format!("export.syslog: {error}")))
}

/// Sends what a batch has to tell. What is `untold` of losses comes first, once there is somebody to hear it.
fn send(link: &mut Link, speaker: &Speaker, of: Told, batch: &Batch, untold: &mut u64, counters: &Counters) {
    link.open();
    let is_stream = link.is_stream();
    let framed = |message: String| match is_stream {
        true => format!("{} {message}", message.len()).into_bytes(),
        false => message.into_bytes(),
    };
    *untold += batch.lost;
    if *untold > 0 && link.send(&framed(speaker.lost(*untold, now_us()))) {
        *untold = 0;
    }
    let is_told = |record: &&Record| match of {
        Told::None => false,
        Told::Translated => record.translation.is_translated(),
        Told::All => true,
    };
    let records = batch.news.records.iter().filter(is_told).filter_map(|record| speaker.message(record));
    let lines = batch.news.lines.iter().map(|line| speaker.logged(line));
    for message in records.chain(lines) {
        match link.send(&framed(message)) {
            true => counters.written.fetch_add(1, Ordering::Relaxed),
            false => {
                *untold += 1;
                counters.lost.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}
