//! The short commands that ask a running daemon: `stats`, `ports`, `drops`, `reload`, `timeouts`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use sluice_conntrack::{DropReason, InvalidReason};

use crate::socket::protocol::{Answer, Counted, PortDescription, Request, Statistics, Timeout};
use crate::socket::{Client, ClientError};

/// Where the daemon listens.
#[derive(Clone, Debug, Args)]
pub struct Socket {
    /// The daemon's control socket
    #[arg(long = "socket", value_name = "PATH", default_value = "/run/sluice/control.sock")]
    pub path: PathBuf,
}

/// What a daemon is asked for and how the answer is shown.
#[derive(Clone, Debug, Args)]
pub struct Ask {
    /// Print the daemon's answer as it came, one JSON object
    #[arg(long)]
    json: bool,

    /// Where to ask
    #[command(flatten)]
    socket: Socket,
}

/// The timeouts of a running daemon
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice timeouts get                        all of them, in seconds
  sluice timeouts get tcp.established        one of them
  sluice timeouts set tcp.established 1d     until the next reload

A new timeout holds for an entry from its next packet on. To keep one, write it
under conntrack.timeouts in the configuration file.")]
pub struct Timeouts {
    /// What to do
    #[command(subcommand)]
    command: TimeoutsCommand,
}

/// What can be done with timeouts.
#[derive(Clone, Debug, Subcommand)]
enum TimeoutsCommand {
    /// Show the timeouts, or one of them
    Get {
        /// Its keys below conntrack.timeouts, such as tcp.established
        name: Option<String>,

        /// Where to ask
        #[command(flatten)]
        socket: Socket,
    },
    /// Change one until the next reload
    Set {
        /// Its keys below conntrack.timeouts, such as tcp.established
        name: String,

        /// Seconds, or a number with one of the units s, m, h, d
        value: String,

        /// Where to ask
        #[command(flatten)]
        socket: Socket,
    },
}

/// Why a command failed.
pub(super) enum Failure {
    /// There is no answer, or the daemon refused.
    Daemon(ClientError),
    /// The answer could not be written out.
    Output(io::Error),
    /// Something else, in words.
    Other(String),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Daemon(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// The answer belongs to another question: the daemon is of another version.
pub(super) fn unexpected() -> Failure {
    Failure::Other("the daemon's answer is of another kind; is it of another version?".to_owned())
}

/// What the shell gets. A reader that has gone away (`sluice ... | head`) is no error.
pub(super) fn exit(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => super::fail(&format!("cannot write: {error}")),
        Err(Failure::Daemon(error)) => super::fail(&error.to_string()),
        Err(Failure::Other(text)) => super::fail(&text),
    }
}

pub(super) const STATS_HELP: &str = "\
A packet that ends before tracking has no state; `sluice drops` says why it did.
`rx missed` are packets that a device dropped because its queues were full, `rx
nombuf` because no mbuf was free; `tx full` are those that it did not take. A
rule goes by its name, or `#` and its place in policy.rules; rules are counted
anew after a reload.";

pub(super) const PORTS_HELP: &str = "\
A link is as the device knows it; net_af_packet and net_pcap call theirs up at
10 Gbit/s whatever the kernel says (`ip link`). A speed that is not known is
`-`. What came in and went out is in `sluice stats`.";

/// What each reason of `sluice drops` means.
pub(super) fn reasons() -> String {
    let drops = DropReason::ALL.iter().map(|reason| (reason.label(), reason.meaning()));
    let invalid = InvalidReason::ALL.iter().map(|reason| (reason.label(), reason.meaning()));
    let line = |(label, meaning): (&str, &str)| format!("  {label:<16} {meaning}\n");
    format!(
        "Reasons for drops, all of them final:\n{}\nReasons to call a packet INVALID, which the policy then judges:\n{}",
        drops.map(line).collect::<String>(),
        invalid.map(line).collect::<String>()
    )
}

impl Ask {
    /// `sluice stats`.
    pub fn stats(&self) -> ExitCode {
        self.show(&Request::Statistics)
    }

    /// `sluice ports`.
    pub fn ports(&self) -> ExitCode {
        self.show(&Request::Ports)
    }

    /// `sluice drops`.
    pub fn drops(&self) -> ExitCode {
        self.show(&Request::Drops)
    }

    /// `sluice reload`.
    pub fn reload(&self) -> ExitCode {
        self.show(&Request::Reload)
    }

    /// Asks and shows the answer.
    pub(super) fn show(&self, request: &Request) -> ExitCode {
        exit(self.ask(request))
    }

    fn ask(&self, request: &Request) -> Result<(), Failure> {
        let answer = Client::connect(&self.socket.path)?.ask(request)?;
        let text = match self.json {
            true => serde_json::to_string(&answer).map_err(io::Error::from)? + "\n",
            false => text_of(&answer),
        };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
}

impl Timeouts {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        exit(match &self.command {
            TimeoutsCommand::Get { name, socket } => get(name.as_deref(), socket),
            TimeoutsCommand::Set { name, value, socket } => {
                let request = Request::SetTimeout { name: name.clone(), value: value.clone() };
                Ask { json: false, socket: socket.clone() }.ask(&request)
            }
        })
    }
}

fn get(name: Option<&str>, socket: &Socket) -> Result<(), Failure> {
    let Answer::Timeouts { mut timeouts } = Client::connect(&socket.path)?.ask(&Request::Timeouts)? else {
        return Err(unexpected());
    };
    if let Some(name) = name {
        timeouts.retain(|timeout| timeout.name == name);
        if timeouts.is_empty() {
            return Err(Failure::Other(format!(
                "there is no timeout `{name}`; `sluice timeouts get` shows them all"
            )));
        }
    }
    Ok(io::stdout().write_all(text_of(&Answer::Timeouts { timeouts }).as_bytes())?)
}

/// An answer for a reader's eyes.
fn text_of(answer: &Answer) -> String {
    match answer {
        Answer::Statistics(statistics) => statistics_text(statistics),
        Answer::Drops { drops, invalid } => {
            let drops = counted_text("drops by reason", drops, "no packet was dropped");
            drops + "\n" + &counted_text("INVALID packets by reason", invalid, "no packet was INVALID")
        }
        Answer::Ports { ports } => ports_text(ports),
        Answer::Pools { pools } => super::nat::pools_text(pools),
        Answer::Reloaded { revision } => format!("configuration {revision} is in force\n"),
        Answer::Timeouts { timeouts } => timeouts.iter().map(timeout_line).collect(),
        Answer::Count { .. } | Answer::Entries { .. } | Answer::Shards { .. } | Answer::Error { .. } => {
            String::new()
        }
    }
}

fn timeout_line(timeout: &Timeout) -> String {
    format!("{} = {}\n", timeout.name, timeout.seconds)
}

/// What was counted at all, under a title.
fn counted_text(title: &str, counted: &[Counted], none: &str) -> String {
    let seen: Vec<&Counted> = counted.iter().filter(|counted| counted.packets > 0).collect();
    if seen.is_empty() {
        return format!("{none}\n");
    }
    let lines = seen.iter().map(|Counted { name, packets }| format!("  {name:<20} {packets:>12}\n"));
    format!("{title}\n{}", lines.collect::<String>())
}

fn statistics_text(statistics: &Statistics) -> String {
    let Statistics { version, uptime_s, revision, entries, entries_limit, packets, ports, rules } =
        statistics;
    let share = *entries as f64 * 100.0 / (*entries_limit).max(1) as f64;
    let mut text = format!(
        "sluice {version}, up {}, configuration {revision}\nentries {entries} of {entries_limit} ({share:.1} %)\n\n",
        duration_text(*uptime_s)
    );
    text += &counted_text("packets by state", packets, "no packet has come");
    text += "\nport            rx packets     rx bytes  rx missed  rx nombuf   tx packets     tx bytes    tx full\n";
    for port in ports {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<15} {:>10} {:>12} {:>10} {:>10} {:>12} {:>12} {:>10}",
            port.name,
            port.rx_packets,
            port.rx_bytes,
            port.rx_missed,
            port.rx_nombuf,
            port.tx_packets,
            port.tx_bytes,
            port.tx_full
        );
    }
    text += "\nrule                                packets        bytes\n";
    for rule in rules {
        let _ = writeln!(text, "{:<30} {:>12} {:>12}", rule.rule, rule.packets, rule.bytes);
    }
    text
}

fn ports_text(ports: &[PortDescription]) -> String {
    let mut text = String::from(
        "port            link       speed  mac                 mtu  rx queues  tx queues  device\n",
    );
    for port in ports {
        let PortDescription { name, mac, mtu, rx_queues, tx_queues, device, driver, .. } = port;
        let link = if port.up { "up" } else { "down" };
        let speed = port.speed_mbps.map_or_else(|| "-".to_owned(), speed_text);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{name:<15} {link:<4} {speed:>11}  {mac} {mtu:>5} {rx_queues:>10} {tx_queues:>10}  {device} ({driver})"
        );
    }
    text
}

/// `25 Gbit/s`, `2.5 Gbit/s`, `100 Mbit/s`.
fn speed_text(mbps: u32) -> String {
    match mbps {
        ..1000 => format!("{mbps} Mbit/s"),
        _ => format!("{} Gbit/s", f64::from(mbps) / 1000.0),
    }
}

/// The two largest units: `3d 4h`, `5m 6s`, `7s`.
fn duration_text(seconds: u64) -> String {
    let parts = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let split = parts.iter().scan(seconds, |rest, (size, unit)| {
        let count = *rest / size;
        *rest %= size;
        Some((count, unit))
    });
    let shown: Vec<String> = split
        .skip_while(|(count, unit)| *count == 0 && **unit != 's')
        .take(2)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::protocol::{PortStatistics, RuleStatistics};

    fn counted(name: &str, packets: u64) -> Counted {
        Counted { name: name.to_owned(), packets }
    }

    #[test]
    fn durations_have_two_units() {
        let texts = [0, 7, 306, 3_600, 86_400 * 3 + 3_600 * 4 + 5].map(duration_text);
        assert_eq!(texts, ["0s", "7s", "5m 6s", "1h 0m", "3d 4h"]);
    }

    #[test]
    fn a_line_shows_a_port() {
        let inside = PortDescription {
            name: "inside".to_owned(),
            up: true,
            speed_mbps: Some(25_000),
            mac: "02:00:00:00:00:01".to_owned(),
            mtu: 1500,
            rx_queues: 2,
            tx_queues: 2,
            device: "0000:3b:00.0".to_owned(),
            driver: "net_ice".to_owned(),
        };
        let outside =
            PortDescription { name: "outside".to_owned(), up: false, speed_mbps: None, ..inside.clone() };
        let text = text_of(&Answer::Ports { ports: vec![inside, outside] });
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(
            rows,
            [
                "port            link       speed  mac                 mtu  rx queues  tx queues  device",
                "inside          up     25 Gbit/s  02:00:00:00:00:01  1500          2          2  0000:3b:00.0 (net_ice)",
                "outside         down           -  02:00:00:00:00:01  1500          2          2  0000:3b:00.0 (net_ice)",
            ]
        );
        assert_eq!([100, 1000, 2500].map(speed_text), ["100 Mbit/s", "1 Gbit/s", "2.5 Gbit/s"]);
    }

    #[test]
    fn only_what_happened_is_shown() {
        let answer = Answer::Drops {
            drops: vec![counted("policy", 12), counted("tx-full", 0)],
            invalid: vec![counted("tcp-window", 0)],
        };
        let expected = "drops by reason\n  policy                         12\n\nno packet was INVALID\n";
        assert_eq!(text_of(&answer), expected);
    }

    #[test]
    fn statistics_are_readable_at_a_glance() {
        let statistics = Statistics {
            version: "0.1.0".to_owned(),
            uptime_s: 65,
            revision: 2,
            entries: 5,
            entries_limit: 1000,
            packets: vec![counted("NEW", 5), counted("RELATED", 0)],
            ports: vec![PortStatistics {
                name: "inside".to_owned(),
                rx_packets: 9,
                ..PortStatistics::default()
            }],
            rules: vec![RuleStatistics { rule: "web".to_owned(), packets: 7, bytes: 700 }],
        };
        let text = text_of(&Answer::Statistics(statistics));
        assert!(text.starts_with("sluice 0.1.0, up 1m 5s, configuration 2\nentries 5 of 1000 (0.5 %)\n\n"));
        assert!(text.contains("NEW") && !text.contains("RELATED"));
        let port = text.lines().find(|line| line.starts_with("inside")).unwrap();
        assert_eq!(
            port.split_whitespace().collect::<Vec<_>>(),
            ["inside", "9", "0", "0", "0", "0", "0", "0"]
        );
        let rule = text.lines().last().unwrap();
        assert_eq!(rule.split_whitespace().collect::<Vec<_>>(), ["web", "7", "700"]);
    }
}
