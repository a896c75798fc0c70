//! What is told of a connection as a message of syslog (RFC 5424): what machines read as structured data, and a line for people.
//!
//! The name of the structured data has the number that RFC 5612 keeps for documentation: the project has none of its own.

use std::fmt::Write as _;

use jiff::Timestamp;
use sluice_conntrack::Tuple;
use sluice_conntrack::events::End;
use sluice_conntrack::listing::Traffic;
use sluice_conntrack::tuple::protocol;

use super::record::{LogLine, Micros, Record, Translation, What};
use crate::config::Protocol;

/// Name of the structured data.
const SD_ID: &str = "sluice@32473";

/// Severity "informational" (RFC 5424 section 6.2.1), and "warning".
const INFORMATIONAL: u8 = 6;
const WARNING: u8 = 4;

/// Who speaks.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// Facility, by its number.
    pub facility: u8,
    /// Name of the host.
    pub host: String,
    /// Number of the process.
    pub process: u32,
}

impl Speaker {
    /// The begin or the end of a connection; `None` of one that goes on.
    pub fn message(&self, record: &Record) -> Option<String> {
        let Record { translation, traffic, end, .. } = record;
        let Translation { what, at_us, began_us, original, reply, .. } = translation;
        let message_id = match what {
            What::Begin => "BEGIN",
            What::End => "END",
            What::Alive => return None,
        };
        let mut text = self.head(INFORMATIONAL, *at_us, message_id);
        let name = Protocol(original.protocol());
        let post = post_nat(reply);
        // Writing to a String cannot fail. No value has a character that would have to be escaped.
        let _ = write!(text, "[{SD_ID} protocol=\"{name}\"");
        ends(&mut text, "", original);
        if translation.is_translated() {
            ends(&mut text, "post-nat-", &post);
        }
        if original.selector.zone() != 0 {
            let _ = write!(text, " zone=\"{}\"", original.selector.zone());
        }
        if *what == What::End {
            let lasted_s = at_us.saturating_sub(*began_us) / 1_000_000;
            let _ = write!(text, " start=\"{}\" duration=\"{lasted_s}\"", time(*began_us));
            if let Some([sent, answered]) = traffic {
                counted(&mut text, "", sent);
                counted(&mut text, "reply-", answered);
            }
            if let Some(end) = end {
                let _ = write!(text, " reason=\"{}\"", reason(*end));
            }
        }
        let _ = write!(text, "] {} {name} {}", message_id.to_lowercase(), pair(original));
        if translation.is_translated() {
            let _ = write!(text, " as {}", pair(&post));
        }
        Some(text)
    }

    /// What a `log` rule has said.
    pub fn logged(&self, line: &LogLine) -> String {
        let LogLine { at_us, text } = line;
        format!("{}- {text}", self.head(INFORMATIONAL, *at_us, "LOG"))
    }

    /// So many events were lost.
    pub fn lost(&self, count: u64, at_us: Micros) -> String {
        let head = self.head(WARNING, at_us, "LOST");
        format!("{head}[{SD_ID} lost=\"{count}\"] {count} events were lost")
    }

    fn head(&self, severity: u8, at_us: Micros, message_id: &str) -> String {
        let priority = self.facility * 8 + severity;
        format!("<{priority}>1 {} {} sluice {} {message_id} ", time(at_us), self.host, self.process)
    }
}

/// The tuple of a connection's packets as they leave the box, by its reply tuple.
fn post_nat(reply: &Tuple) -> Tuple {
    reply.invert()
}

fn ends(text: &mut String, prefix: &str, tuple: &Tuple) {
    let _ = write!(text, " {prefix}src=\"{}\" {prefix}dst=\"{}\"", tuple.source(), tuple.destination());
    let (sport, dport) = (tuple.selector.sport(), tuple.selector.dport());
    let _ = match tuple.protocol() {
        number if protocol::has_ports(number) => {
            write!(text, " {prefix}sport=\"{sport}\" {prefix}dport=\"{dport}\"")
        }
        number if protocol::is_icmp(number) => write!(text, " {prefix}id=\"{sport}\""),
        _ => Ok(()),
    };
}

fn counted(text: &mut String, prefix: &str, traffic: &Traffic) {
    let Traffic { packets, bytes } = traffic;
    let _ = write!(text, " {prefix}packets=\"{packets}\" {prefix}bytes=\"{bytes}\"");
}

fn pair(tuple: &Tuple) -> String {
    let (sport, dport) = (tuple.selector.sport(), tuple.selector.dport());
    let [source, destination] = [tuple.source(), tuple.destination()];
    match protocol::has_ports(tuple.protocol()) {
        true => format!("{source},{sport} -> {destination},{dport}"),
        false => format!("{source} -> {destination}"),
    }
}

const fn reason(end: End) -> &'static str {
    match end {
        End::Expired => "expired",
        End::Evicted => "evicted",
        End::Deleted => "deleted",
        End::Closed => "closed",
        End::Refused => "refused",
    }
}

/// A time with microseconds, as RFC 5424 has it.
fn time(us: Micros) -> String {
    let time = i64::try_from(us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    format!("{:.6}", time.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(what: What) -> Record {
        let (client, server) = ([10, 0, 0, 1].into(), [198, 51, 100, 7].into());
        let original = Tuple::new(client, server, protocol::UDP, 4000, 53);
        let reply = Tuple::new(server, [203, 0, 113, 10].into(), protocol::UDP, 53, 2000);
        let (at_us, began_us) = (1_780_000_000_250_000, 1_779_999_970_250_000);
        let translation = Translation { what, at_us, began_us, original, reply, translated: [true, false] };
        let traffic = Some([Traffic { packets: 2, bytes: 56 }, Traffic { packets: 1, bytes: 99 }]);
        Record { translation, traffic, state: None, end: Some(End::Expired) }
    }

    #[test]
    fn a_message_has_all_of_a_connection() {
        let speaker = Speaker { facility: 16, host: "edge".to_owned(), process: 77 };
        assert_eq!(
            speaker.message(&record(What::End)).unwrap(),
            "<134>1 2026-05-28T20:26:40.250000Z edge sluice 77 END [sluice@32473 protocol=\"udp\" src=\"10.0.0.1\" \
             dst=\"198.51.100.7\" sport=\"4000\" dport=\"53\" post-nat-src=\"203.0.113.10\" post-nat-dst=\"198.51.100.7\" \
             post-nat-sport=\"2000\" post-nat-dport=\"53\" start=\"2026-05-28T20:26:10.250000Z\" duration=\"30\" packets=\"2\" \
             bytes=\"56\" reply-packets=\"1\" reply-bytes=\"99\" reason=\"expired\"] end udp 10.0.0.1,4000 -> 198.51.100.7,53 \
             as 203.0.113.10,2000 -> 198.51.100.7,53"
        );
        let begin = speaker.message(&record(What::Begin)).unwrap();
        assert!(begin.contains(" BEGIN [") && !begin.contains("start="), "{begin}");
        assert_eq!(speaker.message(&record(What::Alive)), None);
        let line = LogLine { at_us: 250_000, text: "rule web: IN=lan".to_owned() };
        let logged = "<134>1 1970-01-01T00:00:00.250000Z edge sluice 77 LOG - rule web: IN=lan";
        assert_eq!(speaker.logged(&line), logged);
        let lost = "<132>1 1970-01-01T00:00:00.000000Z edge sluice 77 LOST [sluice@32473 lost=\"9\"] 9 events were lost";
        assert_eq!(speaker.lost(9, 0), lost);
    }
}
