//! `sluice stats`: a running daemon at a glance, or how fast its counters go.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::ask::{Ask, Failure, exit, unexpected};
use super::help;
use super::rates::{PortRates, Rates};
use crate::config::Seconds;
use crate::socket::Client;
use crate::socket::protocol::{Request, Response, Statistics};

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
            let text = text(&after, &Rates::between(&before, &after, now.duration_since(asked)));
            io::stdout().write_all(text.as_bytes())?;
            (before, asked, shown) = (after, now, shown + 1);
        }
        Ok(())
    }
}

pub(super) fn statistics(client: &mut Client) -> Result<Statistics, Failure> {
    match client.ask(&Request::Statistics)? {
        Response::Statistics(statistics) => Ok(*statistics),
        _ => Err(unexpected()),
    }
}

/// What has been counted a second between two answers.
fn text(after: &Statistics, rates: &Rates) -> String {
    let Statistics { entries, entries_limit, .. } = after;
    let mut text = format!("entries {entries} of {entries_limit}, {:+.0}/s\n", rates.entries);
    let lists = [("packets/s", &rates.packets), ("went/s", &rates.went), ("rules/s", &rates.rules)];
    for (title, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        let rates: Vec<String> = list.iter().map(|(name, rate)| format!("{name} {rate:.0}")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{title:<10} {}", rates.join(", "));
    }
    text += "port              rx packets/s      rx Mbit/s   tx packets/s      tx Mbit/s       lost/s\n";
    for PortRates { name, rx_packets, rx_bytes, tx_packets, tx_bytes, lost } in &rates.ports {
        let [rx_mbits, tx_mbits] = [rx_bytes, tx_bytes].map(|bytes| bytes * 8.0 / 1e6);
        let _ = writeln!(
            text,
            "{name:<15} {rx_packets:>14.0} {rx_mbits:>14.1} {tx_packets:>14.0} {tx_mbits:>14.1} {lost:>12.0}"
        );
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::protocol::{Balance, Counted, PortStatistics, RuleStatistics};

    fn rates(before: &Statistics, after: &Statistics, time: Duration) -> String {
        text(after, &Rates::between(before, after, time))
    }

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
