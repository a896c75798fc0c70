//! What came of a replay: the summary, the table and `--report`.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use sluice_conntrack::counters::Counters;
use sluice_conntrack::helpers::{HelperEvent, HelperId};
use sluice_conntrack::listing::{Layout, XML_BEGIN, XML_END};
use sluice_conntrack::{DropReason, State};

use super::Failure;
use super::play::Played;
use crate::output::say;

/// Writes the report: a JSON object of counts. Each packet in has left, was dropped, delivered to the box, is held, or has left
/// in fragments; those, and what the box said itself, have left besides. So `packets_in`, `answers.sent` and `fragmented.into` are
/// as much as `packets_out`, all `drops`, `delivered`, `held` and `fragmented.packets`.
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
        "delivered": counters.delivered,
        "held": played.held,
        "answers": { "sent": counters.answers, "withheld": counters.answers_withheld },
        "fragmented": { "packets": counters.fragmented, "into": counters.fragments_created },
        "drops": by_label(DropReason::ALL.iter().map(|reason| reason.label()).collect(), &counters.drops),
        "entries": played.entries(),
        "expectations": counters.expectations,
        "helpers": helpers(&counters),
    });
    std::fs::write(path, format!("{report:#}\n")).map_err(|error| Failure::file("write", path, error))
}

/// What came of each helper.
fn helpers(counters: &Counters) -> Map<String, Value> {
    let of = |helper: HelperId| {
        let number = helper as usize;
        let events = HelperEvent::ALL.iter().zip(counters.helper_events[number]);
        let events: Map<_, _> =
            events.map(|(event, count)| (event.label().to_owned(), json!(count))).collect();
        json!({
            "connections": counters.helper_connections[number],
            "assigned": counters.helper_assignments[number],
            "expectations": counters.helper_expectations[number],
            "events": events,
        })
    };
    HelperId::ALL.into_iter().map(|helper| (helper.name().to_owned(), of(helper))).collect()
}

/// Shows packets by state, drops by reason, and where the outputs are.
pub fn summarise(names: &[&str], played: &Played, directory: &Path) {
    let counters = played.counters();
    let received: u64 = played.received.iter().sum();
    let span_ms = played.span_ns / 1_000_000;
    say(&format!("{received} packets in {}.{:03} s of capture time", span_ms / 1000, span_ms % 1000));
    say("Replayed through DPDK net_pcap devices, on ordinary pages: a replay needs no huge ones");

    say("\nPackets by state");
    for state in State::ALL {
        say(&format!("  {:<12} {:>10}", state.name(), counters.packets[state as usize]));
    }
    let untracked = received.saturating_sub(counters.packets.iter().sum());
    if untracked > 0 {
        say(&format!("  {:<12} {untracked:>10}  ended before tracking", "none"));
    }

    say("\nDrops by reason");
    let drops = DropReason::ALL.iter().map(|reason| (reason.label(), counters.drops[*reason as usize]));
    let drops: Vec<_> = drops.filter(|(_, count)| *count > 0).collect();
    for (label, count) in &drops {
        say(&format!("  {label:<12} {count:>10}"));
    }
    if drops.is_empty() {
        say("  none");
    }

    let came = HelperId::ALL.into_iter().zip(&counters.helper_events).flat_map(|(helper, row)| {
        HelperEvent::ALL.iter().zip(row).map(move |(event, count)| (helper.name(), event.label(), *count))
    });
    let came: Vec<_> = came.filter(|(_, _, count)| *count > 0).collect();
    if !came.is_empty() {
        say("\nHelpers");
    }
    for (helper, event, count) in came {
        say(&format!("  {:<24} {count:>10}", format!("{helper} {event}")));
    }

    let fragmented = [
        ("fragmented", counters.fragmented, "packets and answers"),
        ("fragments", counters.fragments_created, "that have left instead"),
    ];
    if counters.fragmented > 0 {
        say("\nLarger than the MTU of their way out");
    }
    for (label, count, what) in fragmented.iter().filter(|(_, count, _)| *count > 0) {
        say(&format!("  {label:<12} {count:>10}  {what}"));
    }

    let ended = [("delivered", counters.delivered, "to the box itself"), ("held", played.held as u64, "")];
    let answers = [
        ("answers", counters.answers, "by the box, besides"),
        ("withheld", counters.answers_withheld, "answers, to keep the pace"),
    ];
    if ended.iter().chain(&answers).any(|(_, count, _)| *count > 0) {
        say("\nThe box itself");
    }
    for (label, count, what) in ended.iter().chain(&answers).filter(|(_, count, _)| *count > 0) {
        say(format!("  {label:<12} {count:>10}  {what}").trim_end());
    }

    say("\nCaptures of what went out");
    for (name, sent) in names.iter().zip(&played.sent_ns) {
        let path = directory.join(format!("{name}.pcap"));
        say(&format!("  {:<12} {:>10}  {}", name, sent.len(), path.display()));
    }
    say(&format!("\nEntries as of the last packet: {}", played.entries()));
}

/// Prints the table as of the last packet to standard output, where somebody may have stopped reading.
pub fn table(played: &Played, layout: Layout) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut line = String::new();
    let is_xml = layout == Layout::Xml && played.entries() > 0;
    let mut written = if is_xml { writeln!(out, "{XML_BEGIN}") } else { Ok(()) };
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
    if is_xml {
        written = written.and_then(|()| writeln!(out, "{XML_END}"));
    }
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write the table: {error}")))
        }
        _ => Ok(()),
    }
}
