//! `sluice trace`: what becomes of packets, as it happens, one line each, in the words of `sluice explain`.
//!
//! There is one trace at a time, and any number of clients that read it. Workers trace only while somebody asks.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use sluice_conntrack::DropReason;
use sluice_conntrack::verdict::Action;
use sluice_engine::command::Unanswered;
use sluice_engine::trace::{Snap, TraceRecord};

use super::journal::Journal;
use super::workers::Workers;
use crate::config::Config;
use crate::packet::describe;
use crate::rehearsal::{Bound, Came, Names, Outcome, Sent, Word};
use crate::socket::TraceFilter;
use crate::socket::protocol::{Response, TracePage, TraceRequest};

/// Records that wait in a worker's ring, at most: some megabytes.
const RING: usize = 1 << 11;

/// Records that are kept for clients, at most.
const KEPT: usize = 1 << 12;

/// The trace, if there is one.
pub struct Tracing {
    journal: Journal<TraceRecord>,
    filter: TraceFilter,
    /// What the numbers in records are called.
    names: Option<Names>,
}

/// A packet, and what became of it.
#[derive(Debug, Serialize)]
struct Traced {
    at: String,
    worker: u16,
    #[serde(rename = "in")]
    ingress: String,
    packet: String,
    verdict: Word,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    became: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
}

impl Default for Tracing {
    fn default() -> Self {
        Self { journal: Journal::new(KEPT), filter: TraceFilter::default(), names: None }
    }
}

impl Tracing {
    /// The packets that were traced from a number on; without a number none, from when on there are some.
    pub fn answer(
        &mut self,
        workers: &mut Workers,
        config: &Config,
        names: impl FnOnce() -> Names,
        TraceRequest { filter, json, from }: TraceRequest,
    ) -> Result<Response, Unanswered> {
        let refused = |message: String| Ok(Response::Error { message });
        let lowered = match filter.lower(config) {
            Ok(lowered) => lowered,
            Err(message) => return refused(message),
        };
        let is_another = self.filter != filter;
        if is_another && self.journal.is_read() {
            return refused("another trace goes on: it ends with the last who reads it".to_owned());
        }
        if is_another || !self.journal.listens() {
            self.journal.listen(workers.trace(&lowered, RING)?);
            self.filter = filter;
        }
        let names = self.names.get_or_insert_with(names);
        let page = self.journal.page(from, |worker, record, at| Some(line(worker, record, at, names, json)));
        Ok(Response::Trace(TracePage { lines: page.lines, lost: page.lost, next: page.next }))
    }

    /// Other rules come in force: what was traced by the old ones is shown no more.
    pub fn rename(&mut self) {
        self.journal.forget();
        self.names = None;
    }

    /// Stops tracing if nobody has asked for long.
    pub fn look_after(&mut self, workers: &mut Workers) {
        if self.journal.end_unasked() {
            workers.stop_tracing();
        }
    }
}

/// A packet in a line.
fn line(worker: u16, record: &TraceRecord, at: SystemTime, names: &Names, json: bool) -> String {
    let outcome = outcome(record, names);
    let at = Timestamp::try_from(at).unwrap_or_default().to_zoned(TimeZone::system());
    let ingress = names.interface(record.ingress).to_owned();
    let packet = describe(&frame(&record.came));
    if !json {
        return format!("{} in {ingress} {packet}: {outcome}", at.strftime("%H:%M:%S%.6f"));
    }
    let traced = Traced {
        at: at.timestamp().to_string(),
        worker,
        ingress,
        packet,
        verdict: outcome.verdict,
        reason: outcome.reason.map(DropReason::label),
        state: outcome.state.map(|state| state.name()),
        invalid: outcome.invalid.map(|reason| reason.label()),
        rule: outcome.rule.as_ref().map(ToString::to_string),
        out: outcome.out.clone(),
        via: outcome.via.map(|via| via.to_string()),
        became: outcome.sent.first().filter(|_| outcome.is_translated()).cloned(),
        entry: outcome.entry.clone(),
    };
    // It is plain data, so it is always valid JSON.
    serde_json::to_string(&traced).unwrap_or_default()
}

/// What has come of it, in the words of operators.
fn outcome(record: &TraceRecord, names: &Names) -> Outcome {
    let TraceRecord { ingress, came, became, verdict, entry, .. } = record;
    let sent = match verdict.action {
        Action::Forward(port) | Action::Fragment(port, _) | Action::Announce(port) => {
            vec![Sent { port, frame: frame(became), is_answer: false }]
        }
        _ => Vec::new(),
    };
    // Whom no rule has stopped was judged, by a rule or the default.
    let is_judged = match verdict.drop_reason() {
        None => matches!(
            verdict.action,
            Action::Forward(_) | Action::Fragment(..) | Action::Announce(_) | Action::Deliver
        ),
        Some(reason) => verdict.rule.is_some() || reason == DropReason::Policy,
    };
    let came = Came {
        frame: frame(came),
        ingress: *ingress,
        fragments: 1,
        is_first: false,
        verdict: *verdict,
        facts: None,
        bound: Bound::default(),
        sent,
        entry: *entry,
    };
    Outcome { rule: is_judged.then(|| names.rule(verdict.rule).clone()), ..Outcome::of(&came, names) }
}

/// A frame as long as it was, as far as it was kept: zeros stand for the rest.
fn frame(snap: &Snap) -> Vec<u8> {
    let mut frame = snap.head().to_vec();
    frame.resize((snap.len as usize).max(frame.len()), 0);
    frame
}
