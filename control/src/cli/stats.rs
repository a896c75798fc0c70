//! `sluice stats`: a running daemon at a glance, or how fast its counters go.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::ask::{Ask, Failure, exit, unexpected};
use super::help;
use crate::config::Seconds;
use crate::socket::Client;
use crate::socket::protocol::{Counted, PortStatistics, Request, Response, RuleStatistics, Statistics};

/// A running daemon at a glance: entries, packets by state, ports, rules
#[derive(Clone, Debug, Args)]
#[command(after_help = help::STATS_HELP)]
pub struct Stats {
    /// Show how fast it all goes instead, a second: again and again, every second or as often as is said
    #[arg(short, long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "1s", conflicts_with = "json")]
    watch: Option<Seconds>,

    /// End after so many intervals
    #[arg(long, value_name = "N", requires = "watch")]
    count: Option<u64>,

    /// How to ask
    #[command(flatten)]
    ask: Ask,
}

impl Stats {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        match self.watch {
            None => self.ask.show(&Request::Statistics),
            Some(interval) => exit(self.watch(Duration::from_secs(interval.0.max(1).into()))),
        }
    }

    fn watch(&self, interval: Duration) -> Result<(), Failure> {
        let mut client = Client::connect(&self.ask.socket.path)?;
        let mut before = statistics(&mut client)?;
        let mut asked = Instant::now();
        let mut shown = 0;
        while self.count.is_none_or(|count| shown < count) {
            thread::sleep(interval);
            let (now, after) = (Instant::now(), statistics(&mut client)?);
            let text = rates(&before, &after, now.duration_since(asked));
            io::stdout().write_all(text.as_bytes())?;
            (before, asked, shown) = (after, now, shown + 1);
        }
        Ok(())
    }
}

fn statistics(client: &mut Client) -> Result<Statistics, Failure> {
    match client.ask(&Request::Statistics)? {
        Response::Statistics(statistics) => Ok(statistics),
        _ => Err(unexpected()),
    }
}

/// What has been counted a second between two answers. Counters of rules that have begun anew, with a configuration, count from there.
fn rates(before: &Statistics, after: &Statistics, time: Duration) -> String {
    let rate = |before: u64, after: u64| {
        let counted = if after < before { after } else { after - before };
        counted as f64 / time.as_secs_f64()
    };
    let Statistics { entries, entries_limit, .. } = after;
    let grown = (*entries as f64 - before.entries as f64) / time.as_secs_f64();
    let mut text = format!("entries {entries} of {entries_limit}, {grown:+.0}/s\n");
    let was = |list: &[Counted], name: &str| {
        list.iter().find(|counted| counted.name == name).map_or(0, |counted| counted.packets)
    };
    let mut counted = |title: &str, before: &[Counted], after: &[Counted]| {
        let rates = after.iter().map(|now| (&now.name, rate(was(before, &now.name), now.packets)));
        let rates = rates.filter(|(_, rate)| *rate > 0.0).map(|(name, rate)| format!("{name} {rate:.0}"));
        let rates: Vec<String> = rates.collect();
        if !rates.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{title:<10} {}", rates.join(", "));
        }
    };
    counted("packets/s", &before.packets, &after.packets);
    counted("went/s", &before.balance.went, &after.balance.went);
    let rule = |rule: &RuleStatistics| Counted { name: rule.rule.clone(), packets: rule.packets };
    let rules = |of: &Statistics| of.rules.iter().map(rule).collect::<Vec<_>>();
    counted("rules/s", &rules(before), &rules(after));
    text += "port              rx packets/s      rx Mbit/s   tx packets/s      tx Mbit/s       lost/s\n";
    let unknown = PortStatistics::default();
    for port in &after.ports {
        let was = before.ports.iter().find(|was| was.name == port.name).unwrap_or(&unknown);
        let mbits = |before: u64, after: u64| rate(before, after) * 8.0 / 1e6;
        let lost = |port: &PortStatistics| port.rx_missed + port.rx_errors + port.rx_nombuf + port.tx_full;
        let _ = writeln!(
            text,
            "{:<15} {:>14.0} {:>14.1} {:>14.0} {:>14.1} {:>12.0}",
            port.name,
            rate(was.rx_packets, port.rx_packets),
            mbits(was.rx_bytes, port.rx_bytes),
            rate(was.tx_packets, port.tx_packets),
            mbits(was.tx_bytes, port.tx_bytes),
            rate(lost(was), lost(port)),
        );
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::protocol::Balance;

    fn counted(name: &str, packets: u64) -> Counted {
        Counted { name: name.to_owned(), packets }
    }

    fn sample(scale: u64) -> Statistics {
        Statistics {
            entries: 100 * scale,
            entries_limit: 1000,
            packets: vec![counted("NEW", 10 * scale), counted("INVALID", 3)],
            balance: Balance { went: vec![counted("sent", 40 * scale)], ..Balance::default() },
            ports: vec![PortStatistics {
                name: "inside".to_owned(),
                rx_packets: 1000 * scale,
                rx_bytes: 1_000_000 * scale,
                tx_full: scale,
                rx_missed: scale,
                ..PortStatistics::default()
            }],
            rules: vec![RuleStatistics { rule: "web".to_owned(), packets: 20 * scale, bytes: 0 }],
            ..Statistics::default()
        }
    }

    #[test]
    fn rates_are_of_a_second() {
        let text = rates(&sample(1), &sample(3), Duration::from_secs(2));
        assert!(
            text.starts_with("entries 300 of 1000, +100/s\npackets/s  NEW 10\nwent/s     sent 40\n"),
            "{text}"
        );
        assert!(text.contains("rules/s    web 20\n"), "{text}");
        let port = text.lines().find(|line| line.starts_with("inside")).unwrap();
        let words: Vec<&str> = port.split_whitespace().collect();
        assert_eq!(words, ["inside", "1000", "8.0", "0", "0.0", "2"]);
    }

    #[test]
    fn what_begins_anew_counts_from_there() {
        let text = rates(&sample(3), &sample(1), Duration::from_secs(1));
        assert!(text.starts_with("entries 100 of 1000, -200/s\n"), "{text}");
        assert!(text.contains("rules/s    web 20\n"), "{text}");
    }
}
