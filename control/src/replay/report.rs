//! What came of a replay: the summary, the table, `--report` and `--trace`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};
use sluice_conntrack::ids::{EntryId, RuleId};
use sluice_conntrack::listing::Layout;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Direction, DropReason, PortId, ShardId, State, Verdict};

use super::Failure;
use super::input::Stamp;
use super::play::Played;
use crate::cli;
use crate::config::Config;

/// A packet that has had its verdict.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Its place among all packets, in the order of their stamps, from 1.
    pub number: u64,
    /// The port it came in by.
    pub port: PortId,
    /// When, and its place in its capture.
    pub stamp: Stamp,
    /// The shard that decided.
    pub shard: ShardId,
    /// The verdict.
    pub verdict: Verdict,
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
    /// The packet's place in its capture.
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
    /// The rule that decided: its name, or its place in the file.
    rule: Option<&'a str>,
    /// The number of the connection's entry, from 1, in the order in which they are first seen.
    entry: Option<usize>,
}

impl Trace {
    /// Begins the file.
    pub fn create(path: &Path, config: &Config) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| Failure::file("write", path, error))?;
        let rules = config.policy.rules.iter().enumerate();
        let rules =
            rules.map(|(place, rule)| rule.name.clone().unwrap_or_else(|| format!("policy.rules[{place}]")));
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
        let Packet { number, port, stamp, shard, verdict } = packet;
        let interface = |port: PortId| self.interfaces.get(usize::from(port.0)).map(String::as_str);
        let (action, out) = match verdict.action {
            Action::Forward(egress) => ("accept", interface(egress)),
            Action::Deliver => ("deliver", None),
            // Where the next shard's verdict is not known, the ring was full.
            Action::Drop(_) | Action::Handoff(..) | Action::Hold(_) | Action::Wait => ("drop", None),
            Action::Reject(..) => ("reject", None),
        };
        let next = self.entries.len() + 1;
        let entry = verdict.entry.map(|id| *self.entries.entry((*shard, id)).or_insert(next));
        let line = Line {
            number: *number,
            interface: interface(*port).unwrap_or_default(),
            record: stamp.record,
            time: format!("{}.{:09}", stamp.time_ns / 1_000_000_000, stamp.time_ns % 1_000_000_000),
            state: verdict.state.map(State::name),
            direction: verdict.direction.map(|direction| match direction {
                Direction::Original => "original",
                Direction::Reply => "reply",
            }),
            verdict: action,
            out,
            reason: verdict.drop_reason().map(DropReason::label),
            invalid: verdict.invalid.map(|reason| reason.label()),
            rule: verdict
                .rule
                .and_then(|RuleId(place)| self.rules.get(usize::from(place)))
                .map(String::as_str),
            entry,
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

/// Writes the report: a JSON object of counts.
pub fn write(path: &Path, names: &[&str], played: &Played) -> Result<(), Failure> {
    let by_label = |labels: Vec<&str>, counts: &[u64]| {
        labels
            .into_iter()
            .zip(counts)
            .map(|(label, count)| (label.to_owned(), json!(count)))
            .collect::<Map<_, _>>()
    };
    let counters = played.counters();
    let sent: Vec<u64> = played.sent_ns.iter().map(|times| times.len() as u64).collect();
    let interfaces: Map<String, Value> = (names.iter().zip(&played.received).zip(&sent))
        .map(|((name, received), sent)| ((*name).to_owned(), json!({ "in": received, "out": sent })))
        .collect();
    let report = json!({
        "packets_in": played.received.iter().sum::<u64>(),
        "packets_out": sent.iter().sum::<u64>(),
        "interfaces": interfaces,
        "states": by_label(State::ALL.iter().map(|state| state.name()).collect(), &counters.packets),
        "drops": by_label(DropReason::ALL.iter().map(|reason| reason.label()).collect(), &counters.drops),
        "entries": played.entries(),
        "expectations": 0,
    });
    std::fs::write(path, format!("{report:#}\n")).map_err(|error| Failure::file("write", path, error))
}

/// Shows packets by state, drops by reason, and where the outputs are.
pub fn summarise(names: &[&str], played: &Played, directory: &Path) {
    let counters = played.counters();
    let received: u64 = played.received.iter().sum();
    let span_ms = played.span_ns / 1_000_000;
    cli::say(&format!("{received} packets in {}.{:03} s of capture time", span_ms / 1000, span_ms % 1000));
    cli::say("Replayed through DPDK net_pcap devices, on ordinary pages: a replay needs no huge ones");

    cli::say("\nPackets by state");
    for state in State::ALL {
        cli::say(&format!("  {:<12} {:>10}", state.name(), counters.packets[state as usize]));
    }
    let untracked = received.saturating_sub(counters.packets.iter().sum());
    if untracked > 0 {
        cli::say(&format!("  {:<12} {untracked:>10}  ended before tracking", "none"));
    }

    cli::say("\nDrops by reason");
    let drops = DropReason::ALL.iter().map(|reason| (reason.label(), counters.drops[*reason as usize]));
    let drops: Vec<_> = drops.filter(|(_, count)| *count > 0).collect();
    for (label, count) in &drops {
        cli::say(&format!("  {label:<12} {count:>10}"));
    }
    if drops.is_empty() {
        cli::say("  none");
    }

    cli::say("\nCaptures of what went out");
    for (name, sent) in names.iter().zip(&played.sent_ns) {
        let path = directory.join(format!("{name}.pcap"));
        cli::say(&format!("  {:<12} {:>10}  {}", name, sent.len(), path.display()));
    }
    cli::say(&format!("\nEntries as of the last packet: {}", played.entries()));
}

/// Prints the table as of the last packet to standard output, where somebody may have stopped reading.
pub fn table(played: &Played, layout: Layout) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut line = String::new();
    let mut written = Ok(());
    for shard in &played.shards {
        let mut next = Some(0);
        while let (Some(cursor), Ok(())) = (next, &written) {
            next = shard.list(cursor, 1, |_, entry| {
                line.clear();
                written = match entry.write(layout, &mut line) {
                    Ok(()) => writeln!(out, "{line}"),
                    Err(_) => Err(io::ErrorKind::InvalidData.into()),
                };
            });
        }
    }
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write the table: {error}")))
        }
        _ => Ok(()),
    }
}
