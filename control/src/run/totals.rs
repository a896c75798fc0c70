//! What the workers have counted, as it is shown.

use sluice_conntrack::{DropReason, InvalidReason, State};
use sluice_engine::Load;
use sluice_engine::report::Stats;

use crate::socket::protocol::{Counted, Response, ShardCounters, WorkerStatistics};

/// What all workers have counted together.
pub fn total(shards: &[Stats]) -> Stats {
    let mut total = Stats::default();
    shards.iter().for_each(|stats| total.add(stats));
    total
}

/// The share of its time that a worker was busy since `before`, which becomes `now`.
pub fn busy_ratio(before: &mut Load, now: Load) -> f64 {
    let busy_ns = now.busy_ns - before.busy_ns;
    let all_ns = busy_ns + (now.idle_ns - before.idle_ns);
    *before = now;
    busy_ns as f64 / all_ns.max(1) as f64
}

/// Packets by these names.
pub fn counted<'a>(names: impl IntoIterator<Item = &'a str>, packets: &[u64]) -> Vec<Counted> {
    names
        .into_iter()
        .zip(packets)
        .map(|(name, packets)| Counted { name: name.to_owned(), packets: *packets })
        .collect()
}

/// Drops and INVALID packets, by every reason there is.
pub fn drops(stats: &Stats) -> Response {
    Response::Drops {
        drops: counted(DropReason::ALL.iter().map(|reason| reason.label()), &stats.counters.drops),
        invalid: counted(InvalidReason::ALL.iter().map(|reason| reason.label()), &stats.counters.invalid),
    }
}

/// A shard's counters in conntrack(8)'s words.
pub fn shard_counters((shard, stats): (u16, &Stats)) -> ShardCounters {
    let counters = &stats.counters;
    ShardCounters {
        shard,
        found: counters.found,
        invalid: counters.packets[State::Invalid as usize],
        insert: counters.inserts,
        insert_failed: counters.insert_failures,
        drop: counters.drops[DropReason::TableFull as usize],
        early_drop: counters.early_drops,
    }
}

/// What a worker does.
pub fn worker(stats: &Stats) -> WorkerStatistics {
    WorkerStatistics {
        entries: stats.entries.into(),
        inserts: stats.counters.inserts,
        held: stats.held,
        handed_off: stats.handed_off,
        busy_ns: stats.load.busy_ns,
        idle_ns: stats.load.idle_ns,
    }
}

/// What passed, in one line.
pub fn summary(stats: &Stats) -> String {
    let sum =
        |counters: fn(&sluice_engine::PortCounters) -> u64| stats.ports.iter().map(counters).sum::<u64>();
    format!(
        "{} packets received, {} sent, {} dropped; {} entries",
        sum(|port| port.rx_packets),
        sum(|port| port.tx_packets),
        stats.counters.drops.iter().sum::<u64>(),
        stats.entries
    )
}
