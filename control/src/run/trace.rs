//! `sluice trace`: what becomes of packets, as it happens, one line each, in the words of `sluice explain`.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use sluice_conntrack::DropReason;
use sluice_conntrack::verdict::Action;
use sluice_engine::command::Unanswered;
use sluice_engine::watch::{Decided, Snap, WatchedPacket, egress};

use super::journal::JournalPage;
use super::watches::{Watched, Watches};
use super::workers::Workers;
use crate::config::Config;
use crate::packet::describe;
use crate::rehearsal::{Bound, Came, Names, Outcome, Sent, Word};
use crate::socket::protocol::{Response, TracePage, TraceRequest};

/// Bytes of a packet that are kept: all headers of nearly every packet.
const SNAP_BYTES: usize = 256;

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

/// The packets that were traced from a number on; without a number none, from when on there are some.
pub fn answer(
    watches: &mut Watches,
    workers: &mut Workers,
    config: &Config,
    names: impl FnOnce() -> Names,
    TraceRequest { filter, json, from }: TraceRequest,
) -> Result<Response, Unanswered> {
    let filter = match filter.lower(config) {
        Ok(filter) => filter,
        Err(message) => return Ok(Response::Error { message }),
    };
    let watched = Watched { filter, snap_bytes: SNAP_BYTES };
    let line =
        |worker, packet: &WatchedPacket, at, names: &Names| Some(line(worker, packet, at, names, json));
    Ok(match watches.page(workers, names, watched, from, line)? {
        Ok(JournalPage { lines, lost, next }) => Response::Trace(TracePage { lines, lost, next }),
        Err(message) => Response::Error { message },
    })
}

/// A packet in a line.
fn line(worker: u16, packet: &WatchedPacket, at: SystemTime, names: &Names, json: bool) -> String {
    let outcome = outcome(packet, names);
    let at = Timestamp::try_from(at).unwrap_or_default().to_zoned(TimeZone::system());
    let ingress = names.interface(packet.decided.ingress).to_owned();
    let packet = describe(&frame(&packet.came));
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
pub fn outcome(packet: &WatchedPacket, names: &Names) -> Outcome {
    let WatchedPacket { decided: Decided { ingress, verdict, entry, .. }, came, became } = packet;
    let sent = egress(verdict).map(|port| Sent { port, frame: frame(became), is_answer: false });
    // Whom no rule has stopped was judged, by a rule or the default.
    let is_judged = match verdict.drop_reason() {
        None => egress(verdict).is_some() || verdict.action == Action::Deliver,
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
        sent: sent.into_iter().collect(),
        entry: *entry,
    };
    Outcome { rule: is_judged.then(|| names.rule(verdict.rule).clone()), ..Outcome::of(&came, names) }
}

/// A frame as long as it was, as far as it was kept: zeros stand for the rest.
fn frame(snap: &Snap) -> Vec<u8> {
    let mut frame = snap.bytes.clone();
    frame.resize((snap.len as usize).max(frame.len()), 0);
    frame
}
