//! How fast a running daemon's counters go, of two answers of it: for `sluice stats --watch` and `sluice top`.

use std::time::Duration;

use crate::socket::protocol::{Counted, PortStatistics, RuleStatistics, Statistics, WorkerStatistics};

/// What has been counted a second between two answers. Counters of rules that have begun anew, with a configuration, count from there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// By how much the table has grown, or shrunk.
    pub entries: f64,
    /// Connections that have come into it.
    pub new: f64,
    /// Packets by state, those of which there were some.
    pub packets: Vec<(String, f64)>,
    /// What has become of packets, likewise.
    pub went: Vec<(String, f64)>,
    /// Packets of rules, likewise.
    pub rules: Vec<(String, f64)>,
    /// All ports.
    pub ports: Vec<PortRates>,
    /// All workers.
    pub workers: Vec<WorkerRates>,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PortRates {
    pub name: String,
    pub rx_packets: f64,
    pub rx_bytes: f64,
    pub tx_packets: f64,
    pub tx_bytes: f64,
    /// Packets that were missed, broken, or found no memory or no room in the transmit queue.
    pub lost: f64,
}

/// A worker.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct WorkerRates {
    /// The part of its time in which it had packets.
    pub busy: f64,
    /// Packets that it has handed to others.
    pub handed_off: f64,
}

impl Rates {
    pub(super) fn between(before: &Statistics, after: &Statistics, time: Duration) -> Rates {
        let per_second = PerSecond(time);
        let inserts = |of: &Statistics| of.workers.iter().map(|worker| worker.inserts).sum();
        let rule = |rule: &RuleStatistics| Counted { name: rule.rule.clone(), packets: rule.packets };
        let rules = |of: &Statistics| of.rules.iter().map(rule).collect::<Vec<_>>();
        Rates {
            entries: (after.entries as f64 - before.entries as f64) / time.as_secs_f64(),
            new: per_second.rate(inserts(before), inserts(after)),
            packets: per_second.counted(&before.packets, &after.packets),
            went: per_second.counted(&before.balance.went, &after.balance.went),
            rules: per_second.counted(&rules(before), &rules(after)),
            ports: per_second.ports(&before.ports, &after.ports),
            workers: per_second.workers(&before.workers, &after.workers),
        }
    }
}

/// Makes rates of what was counted in a time.
pub(super) struct PerSecond(pub Duration);

impl PerSecond {
    fn rate(&self, before: u64, after: u64) -> f64 {
        let counted = if after < before { after } else { after - before };
        counted as f64 / self.0.as_secs_f64()
    }

    /// By name, those of which there were some.
    pub(super) fn counted(&self, before: &[Counted], after: &[Counted]) -> Vec<(String, f64)> {
        let was = |name: &str| before.iter().find(|was| was.name == name).map_or(0, |was| was.packets);
        let rates = after.iter().map(|now| (now.name.clone(), self.rate(was(&now.name), now.packets)));
        rates.filter(|(_, rate)| *rate > 0.0).collect()
    }

    fn ports(&self, before: &[PortStatistics], after: &[PortStatistics]) -> Vec<PortRates> {
        let unknown = PortStatistics::default();
        let lost = |port: &PortStatistics| port.rx_missed + port.rx_errors + port.rx_nombuf + port.tx_full;
        let rates = |port: &PortStatistics| {
            let was = before.iter().find(|was| was.name == port.name).unwrap_or(&unknown);
            PortRates {
                name: port.name.clone(),
                rx_packets: self.rate(was.rx_packets, port.rx_packets),
                rx_bytes: self.rate(was.rx_bytes, port.rx_bytes),
                tx_packets: self.rate(was.tx_packets, port.tx_packets),
                tx_bytes: self.rate(was.tx_bytes, port.tx_bytes),
                lost: self.rate(lost(was), lost(port)),
            }
        };
        after.iter().map(rates).collect()
    }

    fn workers(&self, before: &[WorkerStatistics], after: &[WorkerStatistics]) -> Vec<WorkerRates> {
        let rates = |(was, now): (&WorkerStatistics, &WorkerStatistics)| {
            let busy_ns = now.busy_ns.saturating_sub(was.busy_ns);
            let all_ns = busy_ns + now.idle_ns.saturating_sub(was.idle_ns);
            let busy = busy_ns as f64 / all_ns.max(1) as f64;
            WorkerRates { busy, handed_off: self.rate(was.handed_off, now.handed_off) }
        };
        before.iter().zip(after).map(rates).collect()
    }
}
