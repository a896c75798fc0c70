//! What the daemon says: to journald where systemd started it, else to standard error; and the records of `log`
//! rules, as the kernel's LOG target writes them.

use std::fmt::Write as _;
use std::sync::OnceLock;

use sluice_conntrack::log::LogRecord;
use sluice_conntrack::tuple::{self, protocol};
use sluice_conntrack::{DropReason, Instant, PortId};
use sluice_engine::command::Unanswered;
use sluice_engine::report::PAGE;
use tracing::info;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use super::workers::Workers;
use crate::config::Config;
use crate::socket::protocol::LogLevel;

/// Records written out a second; the others are counted.
const RECORDS_PER_SECOND: usize = 100;

/// How much is said, for as long as the process lives.
static LEVEL: OnceLock<Handle<LevelFilter, Registry>> = OnceLock::new();

/// From now on `info!` and its like are heard.
pub fn start() {
    let (level, handle) = reload::Layer::new(LevelFilter::INFO);
    // systemd sets it where standard error goes to the journal.
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let text = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false)
    });
    // A subscriber that is there already, as in a test, is kept.
    if tracing_subscriber::registry().with(level).with(journal).with(text).try_init().is_ok() {
        let _ = LEVEL.set(handle);
    }
}

/// How much is said from now on, or, where nothing is asked for, now.
pub fn level(wanted: Option<LogLevel>) -> LogLevel {
    let handle = LEVEL.get();
    if let (Some(level), Some(handle)) = (wanted, handle) {
        // It is there as long as the process.
        let _ = handle.reload(level.filter());
        info!("the log says what is {} or worse from now on", level.name());
    }
    let filter = handle.and_then(Handle::clone_current);
    LogLevel::ALL.into_iter().find(|level| Some(level.filter()) == filter).unwrap_or_default()
}

/// The records of `log` rules since the start.
#[derive(Debug, Default)]
pub struct Records {
    /// Those that were written out.
    pub written: u64,
    /// Those that were not, because there were too many.
    pub left_out: u64,
}

impl Records {
    /// Writes out what `log` rules saw, at most so much; gives all of it that was fetched, if `others` hear of it, too.
    pub fn write_out(
        &mut self,
        workers: &mut Workers,
        config: &Config,
        others: bool,
    ) -> Result<Vec<(Instant, String)>, Unanswered> {
        let (mut seen, mut told) = (0, Vec::new());
        loop {
            let pages = workers.log()?;
            for record in pages.iter().flat_map(|page| page.records()) {
                let is_written = seen < RECORDS_PER_SECOND;
                let line = (is_written || others).then(|| line(record, config));
                if let Some(line) = line.as_ref().filter(|_| is_written) {
                    info!("{line}");
                }
                told.extend(line.filter(|_| others).map(|line| (record.at, line)));
                seen += 1;
            }
            // Workers that log faster than this thread reads do not keep it here.
            if pages.iter().all(|page| page.records().len() < PAGE) || seen > 16 * PAGE {
                break;
            }
        }
        let written = seen.min(RECORDS_PER_SECOND);
        if seen > written {
            info!("{} more packets met a log rule", seen - written);
        }
        self.written += written as u64;
        self.left_out += (seen - written) as u64;
        Ok(told)
    }
}

/// A record in one line.
fn line(record: &LogRecord, config: &Config) -> String {
    let facts = &record.facts;
    let port = |port: PortId| config.interfaces.keys().nth(usize::from(port.0)).map_or("", String::as_str);
    let rule = usize::from(record.rule.0);
    let mut line = match config.policy.rules.get(rule).and_then(|rule| rule.name.as_deref()) {
        Some(name) => format!("rule {name}:"),
        None => format!("rule #{rule}:"),
    };
    // Writing to a String cannot fail.
    let _ = write!(
        line,
        " IN={} OUT={} SRC={} DST={} LEN={} PROTO={}",
        port(facts.ingress),
        facts.egress.map_or("", port),
        tuple::address(facts.family, facts.source),
        tuple::address(facts.family, facts.destination),
        record.len,
        crate::config::Protocol(facts.protocol)
    );
    let [kind, code] = facts.destination_port.to_be_bytes();
    let _ = match facts.protocol {
        number if protocol::has_ports(number) => {
            write!(line, " SPT={} DPT={}", facts.source_port, facts.destination_port)
        }
        protocol::ICMP | protocol::ICMPV6 => write!(line, " TYPE={kind} CODE={code}"),
        _ => Ok(()),
    };
    if facts.protocol == protocol::TCP {
        let flags = FLAGS.iter().filter(|(_, bit)| facts.tcp_flags & bit != 0);
        flags.for_each(|(name, _)| line.extend([" ", name]));
    }
    if let Some(state) = facts.state {
        let _ = write!(line, " STATE={}", state.name());
    }
    if let Some(mark @ 1..) = facts.mark() {
        let _ = write!(line, " MARK={mark:#x}");
    }
    let _ = match record.dropped {
        None => write!(line, " VERDICT=accept"),
        Some(DropReason::Policy) => write!(line, " VERDICT=drop"),
        Some(DropReason::Reject) => write!(line, " VERDICT=reject"),
        Some(DropReason::SynCookie) => write!(line, " VERDICT=synproxy"),
        Some(reason) => write!(line, " VERDICT=drop REASON={}", reason.label()),
    };
    if let Some(sent) = &record.translated {
        let has_ports = protocol::has_ports(facts.protocol);
        if sent.src != facts.source || has_ports && sent.selector.sport() != facts.source_port {
            let _ = write!(line, " NSRC={}", sent.source());
            let _ = if has_ports { write!(line, " NSPT={}", sent.selector.sport()) } else { Ok(()) };
        }
        if sent.dst != facts.destination || has_ports && sent.selector.dport() != facts.destination_port {
            let _ = write!(line, " NDST={}", sent.destination());
            let _ = if has_ports { write!(line, " NDPT={}", sent.selector.dport()) } else { Ok(()) };
        }
    }
    line
}

/// TCP's flags, as the kernel names and orders them.
const FLAGS: [(&str, u8); 8] = [
    ("CWR", 0x80),
    ("ECE", 0x40),
    ("URG", 0x20),
    ("ACK", 0x10),
    ("PSH", 0x08),
    ("RST", 0x04),
    ("SYN", 0x02),
    ("FIN", 0x01),
];

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::entry::Status;
    use sluice_conntrack::facts::{Connection, Facts};
    use sluice_conntrack::ids::RuleId;
    use sluice_conntrack::tuple::{Family, Tuple};
    use sluice_conntrack::{Direction, State};

    const CONFIG: &str = "\
version: 1
interfaces: {inside: {device: 'vdev:net_null0'}, outside: {device: 'vdev:net_null1'}}
policy: {rules: [{action: log}, {name: web, action: log}]}";

    fn facts() -> Facts {
        let address = |text: &str| tuple::number(text.parse().unwrap());
        Facts {
            state: Some(State::New),
            ingress: PortId(0),
            egress: Some(PortId(1)),
            family: Family::V4,
            source: address("10.0.0.1"),
            destination: address("192.0.2.9"),
            protocol: 6,
            source_port: 40_000,
            destination_port: 80,
            tcp_flags: 2,
            zone: 0,
            connection: None,
        }
    }

    #[test]
    fn records_look_like_the_kernels() {
        let config = crate::config::parse("test", CONFIG.as_bytes()).unwrap();
        let record = |rule, facts| LogRecord {
            at: Instant::default(),
            rule: RuleId(rule),
            facts,
            len: 60,
            dropped: None,
            translated: None,
        };
        let line_of = |rule, facts| line(&record(rule, facts), &config);
        assert_eq!(
            line_of(1, facts()),
            "rule web: IN=inside OUT=outside SRC=10.0.0.1 DST=192.0.2.9 LEN=60 PROTO=tcp SPT=40000 DPT=80 SYN STATE=NEW VERDICT=accept"
        );
        let connection = Some(Connection {
            direction: Direction::Original,
            mark: 16,
            status: Status::default(),
            helper: None,
        });
        let echo = Facts { protocol: 1, destination_port: 8 << 8, egress: None, connection, ..facts() };
        assert_eq!(
            line_of(0, echo),
            "rule #0: IN=inside OUT= SRC=10.0.0.1 DST=192.0.2.9 LEN=60 PROTO=icmp TYPE=8 CODE=0 STATE=NEW MARK=0x10 VERDICT=accept"
        );
        let sent = Tuple::new([203, 0, 113, 1].into(), [192, 0, 2, 9].into(), 6, 1024, 80);
        let answer = Facts { tcp_flags: 0x12, ..facts() };
        let said =
            |dropped| line(&LogRecord { dropped, translated: Some(sent), ..record(1, answer) }, &config);
        assert!(said(None).ends_with("DPT=80 ACK SYN STATE=NEW VERDICT=accept NSRC=203.0.113.1 NSPT=1024"));
        let refused = LogRecord { dropped: Some(DropReason::NatExhausted), ..record(1, facts()) };
        assert!(line(&refused, &config).ends_with("STATE=NEW VERDICT=drop REASON=nat-exhausted"));
        let rejected = LogRecord { dropped: Some(DropReason::Reject), ..record(1, facts()) };
        assert!(line(&rejected, &config).ends_with("VERDICT=reject"));
    }
}
