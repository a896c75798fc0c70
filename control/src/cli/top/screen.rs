//! The screen: what is seen, as rows of text.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};

use super::sight::{Sight, Sort, fullness};
use crate::socket::protocol::PoolStatistics;

/// Rows of a list.
const MOST: usize = 10;

/// A part of the screen: a heading, and rows below it.
struct Part {
    heading: String,
    rows: Vec<String>,
}

impl Part {
    /// Rows of the screen, an empty one behind it included.
    fn height(&self) -> u16 {
        self.rows.len() as u16 + 2
    }
}

/// Draws it.
pub(super) fn draw(sight: &Sight, sort: Sort, area: Rect, buffer: &mut Buffer) {
    let (summary, ports) = (summary(sight, sort), ports(sight));
    let [top, middle, below] = Layout::vertical([
        Constraint::Length(summary.height()),
        Constraint::Length(ports.height()),
        Constraint::Fill(1),
    ])
    .areas(area);
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(below);
    column(&[summary], top, buffer);
    column(&[ports], middle, buffer);
    column(&[workers(sight), drops(sight, sort)], left, buffer);
    column(&[sources(sight, sort), pools(sight, sort)], right, buffer);
}

/// Parts one below the other, as far as there is room. Those without rows are left out.
fn column(parts: &[Part], area: Rect, buffer: &mut Buffer) {
    let heading = Style::new().add_modifier(Modifier::BOLD);
    let row = |row: &String| (row.clone(), Style::new());
    let of_part = |part: &Part| {
        let rows: Vec<_> = part.rows.iter().map(row).collect();
        let lines = std::iter::once((part.heading.clone(), heading)).chain(rows);
        lines.chain([(String::new(), Style::new())]).collect::<Vec<_>>()
    };
    let lines = parts.iter().filter(|part| !part.rows.is_empty()).flat_map(of_part);
    for ((line, style), y) in lines.zip(area.top()..area.bottom()) {
        buffer.set_stringn(area.x, y, line, area.width.into(), style);
    }
}

fn summary(sight: &Sight, sort: Sort) -> Part {
    let Sight { statistics, rates, .. } = sight;
    let sum = |rates: &[(String, f64)]| rates.iter().map(|(_, rate)| rate).sum::<f64>();
    let all = |rate: fn(&super::super::rates::PortRates) -> f64| rates.ports.iter().map(rate).sum::<f64>();
    let states: Vec<String> =
        rates.packets.iter().map(|(state, rate)| format!("{state} {}", short(*rate))).collect();
    let bits = short(all(|port| port.rx_bytes) * 8.0);
    let dropped = sum(&sight.drops.iter().map(|drop| (String::new(), drop.rate)).collect::<Vec<_>>());
    Part {
        heading: format!(
            "sluice {}, up {}, configuration {}, sorted by {}",
            statistics.version,
            time(statistics.uptime_s),
            statistics.revision,
            sort.name()
        ),
        rows: vec![
            format!(
                "entries {} of {} ({}), {:+.0}/s, {}/s new; mbufs {} of {} in use",
                statistics.entries,
                statistics.entries_limit,
                percent(statistics.entries as f64, statistics.entries_limit as f64),
                rates.entries,
                short(rates.new),
                statistics.mbufs.size.saturating_sub(statistics.mbufs.available),
                statistics.mbufs.size,
            ),
            format!(
                "packets {}/s, {bits}bit/s received; {}/s dropped; {}",
                short(all(|port| port.rx_packets)),
                short(dropped),
                if states.is_empty() { "none tracked".to_owned() } else { states.join(", ") }
            ),
        ],
    }
}

fn ports(sight: &Sight) -> Part {
    let ports = sight.rates.ports.iter().map(|port| {
        format!(
            "{:<18} {:>12} {:>12} {:>12} {:>12} {:>9}",
            port.name,
            short(port.rx_packets),
            short(port.rx_bytes * 8.0),
            short(port.tx_packets),
            short(port.tx_bytes * 8.0),
            short(port.lost)
        )
    });
    Part {
        heading: format!(
            "{:<18} {:>12} {:>12} {:>12} {:>12} {:>9}",
            "port", "rx packets/s", "rx bit/s", "tx packets/s", "tx bit/s", "lost/s"
        ),
        rows: ports.collect(),
    }
}

fn workers(sight: &Sight) -> Part {
    let all = sight.statistics.workers.iter().zip(&sight.rates.workers).enumerate();
    let rows = all.map(|(number, (worker, rates))| {
        format!(
            "{number:<6} {:>6} {:>11} {:>8} {:>12}",
            percent(rates.busy, 1.0),
            worker.entries,
            worker.held,
            short(rates.handed_off)
        )
    });
    Part {
        heading: format!(
            "{:<6} {:>6} {:>11} {:>8} {:>12}",
            "worker", "busy", "entries", "held", "handed off/s"
        ),
        rows: rows.collect(),
    }
}

fn drops(sight: &Sight, sort: Sort) -> Part {
    let drops = sight.sorted_drops(sort).into_iter().take(MOST);
    Part {
        heading: format!("{:<24} {:>9} {:>12}", "drops", "/s", "total"),
        rows: drops
            .map(|drop| format!("{:<24} {:>9} {:>12}", drop.reason, short(drop.rate), drop.total))
            .collect(),
    }
}

fn sources(sight: &Sight, sort: Sort) -> Part {
    let (entries, sampled) = (sight.statistics.entries as f64, sight.sources.sampled as f64);
    let rows = sight.sorted_sources(sort).into_iter().take(MOST).map(|count| {
        let part = count.entries as f64 / sampled.max(1.0);
        format!("{:<30} {:>6} {:>9}", count.source, percent(part, 1.0), short(part * entries))
    });
    Part { heading: format!("{:<30} {:>6} {:>9}", "source", "part", "entries"), rows: rows.collect() }
}

fn pools(sight: &Sight, sort: Sort) -> Part {
    let rows = sight.sorted_pools(sort).into_iter().take(MOST).map(|pool| {
        let PoolStatistics { used, ports, .. } = pool;
        let of = |used: u64, all: u64| format!("{}/{}", short(used as f64), short(all as f64));
        format!(
            "{:<15} {:>6} {:>12} {:>12}",
            pool.pool,
            percent(fullness(pool), 1.0),
            of(used.tcp, ports.tcp),
            of(used.udp, ports.udp)
        )
    });
    Part {
        heading: format!("{:<15} {:>6} {:>12} {:>12}", "pool", "full", "tcp", "udp"),
        rows: rows.collect(),
    }
}

/// A number in four digits or fewer.
fn short(number: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    match UNITS.into_iter().find(|(unit, _)| number >= 10.0 * unit) {
        Some((unit, name)) => {
            let digits = if number >= 100.0 * unit { 0 } else { 1 };
            format!("{:.digits$}{name}", number / unit)
        }
        None => format!("{number:.0}"),
    }
}

fn percent(part: f64, all: f64) -> String {
    format!("{:.1}%", 100.0 * part / if all > 0.0 { all } else { 1.0 })
}

/// The two largest units of a time.
fn time(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, ..) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}
