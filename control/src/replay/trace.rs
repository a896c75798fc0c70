//! `--trace`: a JSON line for each packet of a replay.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sluice_conntrack::ids::{EntryId, RuleId};
use sluice_conntrack::verdict::{Action, Rejection};
use sluice_conntrack::{Direction, DropReason, PortId, ShardId, State, Verdict};

use super::Failure;
use super::helped::Came;
use super::input::Stamp;
use crate::config::Config;

/// A packet that has had its verdict.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Its number among all packets, in the order of their stamps, from 1.
    pub number: u64,
    /// The port it came in by.
    pub port: PortId,
    /// When, and its number in its capture.
    pub stamp: Stamp,
    /// The shard that decided.
    pub shard: ShardId,
    /// The verdict.
    pub verdict: Verdict,
    /// What came of helpers by it.
    pub helpers: Came,
    /// What is expected by it, in conntrack(8)'s layout.
    pub expects: Vec<String>,
}

/// The trace: a JSON line for each packet.
pub struct Trace {
    file: BufWriter<File>,
    path: PathBuf,
    interfaces: Vec<String>,
    rules: Vec<String>,
    /// The entries by number: shards name theirs without regard to each other.
    entries: HashMap<(ShardId, EntryId), usize>,
}

/// One line of it. A field that is `null` does not apply.
#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    interface: &'a str,
    /// The packet's number in its capture.
    record: u32,
    /// Seconds since 1970, to the nanosecond.
    time: String,
    state: Option<&'static str>,
    direction: Option<&'static str>,
    verdict: &'static str,
    /// The interface it leaves by.
    out: Option<&'a str>,
    /// The drop reason.
    reason: Option<&'static str>,
    /// Why it is INVALID.
    invalid: Option<&'static str>,
    /// The rule that decided: its name, or its position in the file.
    rule: Option<&'a str>,
    /// The number of the connection's entry, from 1, in the order in which they are first seen.
    entry: Option<usize>,
    /// What came of helpers, by their names: the events of `sluice_helper_events_total`.
    helpers: Option<&'a Came>,
    /// What is expected by what it announces, in conntrack(8)'s layout.
    expects: Option<&'a [String]>,
}

impl Trace {
    /// Begins the file.
    pub fn create(path: &Path, config: &Config) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| Failure::file("write", path, error))?;
        let rules = config.policy.rules.iter().enumerate();
        let rules = rules
            .map(|(position, rule)| rule.name.clone().unwrap_or_else(|| format!("policy.rules[{position}]")));
        Ok(Self {
            file: BufWriter::new(file),
            path: path.to_owned(),
            interfaces: config.interfaces.keys().cloned().collect(),
            rules: rules.collect(),
            entries: HashMap::new(),
        })
    }

    /// Writes the line of a packet.
    pub fn write(&mut self, packet: &Packet) -> Result<(), Failure> {
        let Packet { number, port, stamp, shard, verdict, helpers, expects } = packet;
        let interface = |port: PortId| self.interfaces.get(usize::from(port.0)).map(String::as_str);
        let (action, out) = match verdict.action {
            Action::Forward(egress) | Action::Fragment(egress, _) => ("accept", interface(egress)),
            Action::Deliver => ("deliver", None),
            // Where the next shard's verdict is not known, the ring was full.
            Action::Drop(_)
            | Action::Handoff(..)
            | Action::Hold(_)
            | Action::Announce(_)
            | Action::Acknowledge(_)
            | Action::Wait => ("drop", None),
            Action::Reject(_, Rejection::SynCookie) => ("synproxy", None),
            Action::Reject(..) => ("reject", None),
            Action::Reassemble(_) => ("hold", None),
        };
        let next = self.entries.len() + 1;
        let entry = verdict.entry.map(|id| *self.entries.entry((*shard, id)).or_insert(next));
        let line = Line {
            number: *number,
            interface: interface(*port).unwrap_or_default(),
            record: stamp.record,
            time: format!("{}.{:09}", stamp.time_ns / 1_000_000_000, stamp.time_ns % 1_000_000_000),
            state: verdict.state.map(State::name),
            direction: verdict.direction.map(Direction::name),
            verdict: action,
            out,
            reason: verdict.drop_reason().map(DropReason::label),
            invalid: verdict.invalid.map(|reason| reason.label()),
            rule: verdict
                .rule
                .and_then(|RuleId(position)| self.rules.get(usize::from(position)))
                .map(String::as_str),
            entry,
            helpers: Some(helpers).filter(|came| !came.is_empty()),
            expects: Some(expects.as_slice()).filter(|lines| !lines.is_empty()),
        };
        let written = serde_json::to_writer(&mut self.file, &line).map_err(io::Error::from);
        let written = written.and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|error| Failure::file("write", &self.path, error))
    }

    /// Writes what is still in memory.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.file.flush().map_err(|error| Failure::file("write", &self.path, error))
    }
}
