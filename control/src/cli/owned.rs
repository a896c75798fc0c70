//! `sluice nat who-owned`: who had an address and port at a time, as the NAT journal says.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_conntrack::Tuple;
use sluice_conntrack::tuple::protocol;

use super::ask::{Failure, Socket, exit, unexpected};
use crate::config::{Protocol, Seconds};
use crate::export::journal::format::{Gap, Why};
use crate::export::journal::search::{Answer, Owner, Question, who_owned};
use crate::export::record::Micros;
use crate::output::say;
use crate::socket::Client;
use crate::socket::protocol::{Request, Response};

/// Who had an address and port, and when.
#[derive(Clone, Debug, Args)]
pub(super) struct WhoOwned {
    /// Address and port, such as 203.0.113.10:40123 or [2001:db8::1]:443, and the protocol: /tcp, /udp, /47
    #[arg(value_name = "IP:PORT[/PROTO]", value_parser = public)]
    public: (SocketAddr, Option<Protocol>),

    /// The time: RFC 3339, such as @2026-11-30T09:15:00Z, or how long ago: @10m, @2h30m
    #[arg(value_name = "@TIME", value_parser = time)]
    at: Timestamp,

    /// The journal's directory; without it the running daemon is asked where it is
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Where to ask
    #[command(flatten)]
    socket: Socket,
}

fn public(text: &str) -> Result<(SocketAddr, Option<Protocol>), String> {
    let (end, protocol) = match text.split_once('/') {
        Some((end, protocol)) => (end, Some(protocol.parse()?)),
        None => (text, None),
    };
    Ok((address_and_port(end)?, protocol))
}

/// An address with a port.
pub(super) fn address_and_port(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected IP:PORT, such as 203.0.113.10:40123 or [2001:db8::1]:443".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    let text = text.strip_prefix('@').unwrap_or(text);
    if let Ok(Seconds(ago_s)) = text.parse() {
        let second = Timestamp::now().as_second() - i64::from(ago_s);
        return Timestamp::from_second(second).map_err(|error| error.to_string());
    }
    text.parse().map_err(|_| {
        "expected a time such as 2026-11-30T09:15:00Z or 2026-11-30T10:15:00+01:00, or how long ago, such as 10m".to_owned()
    })
}

impl WhoOwned {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        exit(self.ask())
    }

    fn ask(&self) -> Result<(), Failure> {
        let directory = match &self.journal {
            Some(directory) => directory.clone(),
            None => running_journal(&self.socket)?,
        };
        let (public, protocol) = self.public;
        let at_us = u64::try_from(self.at.as_microsecond()).unwrap_or_default();
        let question = Question { public, protocol: protocol.map(|it| it.0), at_us };
        let failed = |error| Failure::Other(format!("{}: {error}", directory.display()));
        let answer = who_owned(&directory, &question).map_err(failed)?;
        for damage in &answer.damage {
            say(&format!("sluice: {}: damaged at byte {}", damage.file.display(), damage.offset));
        }
        let text = if self.json { json_of(&question, &answer) } else { text_of(&question, &answer) };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
}

/// Where the running daemon writes its journal.
fn running_journal(socket: &Socket) -> Result<PathBuf, Failure> {
    let Response::ExportStatus(status) = Client::connect(&socket.path)?.ask(&Request::ExportStatus)? else {
        return Err(unexpected());
    };
    let without = "the daemon writes no journal (export.journal); one that was written before is asked by --journal DIR";
    status.journal.map(|journal| journal.directory).ok_or_else(|| Failure::Other(without.to_owned()))
}

fn moment(us: Micros) -> String {
    let time = i64::try_from(us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    time.map_or_else(|| "the end of time".to_owned(), |time| time.to_string())
}

fn text_of(question: &Question, answer: &Answer) -> String {
    let mut text = String::new();
    for Owner { tuples, began_us, seen_us, ended_us, is_sure } in &answer.owners {
        let original = &tuples[0];
        let name = Protocol(original.protocol()).to_string();
        let doubt = if *is_sure { "" } else { "may have been: " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{doubt}{name:<8} {}", original.protocol());
        tuples.iter().for_each(|tuple| text += &tuple_text(tuple));
        if original.selector.zone() != 0 {
            let _ = write!(text, " zone={}", original.selector.zone());
        }
        let _ = write!(text, " [start={}]", moment(*began_us));
        let _ = match ended_us {
            Some(ended_us) => writeln!(text, " [stop={}]", moment(*ended_us)),
            None => writeln!(text, " [seen={}]", moment(*seen_us)),
        };
    }
    if answer.owners.is_empty() {
        let _ =
            writeln!(text, "nobody is known to have had {} at {}", question.public, moment(question.at_us));
    }
    for gap in &answer.gaps {
        let Gap { from_us, to_us, lost, .. } = gap;
        let what = match gap.why {
            Why::Stopped => "nothing was written".to_owned(),
            Why::Lost => format!("{lost} events were lost"),
            Why::Damaged => "the journal is damaged".to_owned(),
        };
        let so = match lies_over(gap, question) {
            true => "it lies over that time: another may have been",
            false => "what began in it and ended soon behind that time may be missing",
        };
        let from = if *from_us == 0 { "the beginning".to_owned() } else { moment(*from_us) };
        let _ = writeln!(text, "a gap from {from} to {}: {what}; {so}", moment(*to_us));
    }
    text
}

fn lies_over(gap: &Gap, question: &Question) -> bool {
    gap.from_us <= question.at_us && question.at_us <= gap.to_us
}

fn tuple_text(tuple: &Tuple) -> String {
    let (sport, dport) = (tuple.selector.sport(), tuple.selector.dport());
    let ends = format!(" src={} dst={}", tuple.source(), tuple.destination());
    let [kind, code] = dport.to_be_bytes();
    match tuple.protocol() {
        number if protocol::has_ports(number) => format!("{ends} sport={sport} dport={dport}"),
        protocol::ICMP | protocol::ICMPV6 => format!("{ends} type={kind} code={code} id={sport}"),
        _ => ends,
    }
}

fn json_of(question: &Question, answer: &Answer) -> String {
    let tuple = |tuple: &Tuple| {
        let (source, destination) = (tuple.source(), tuple.destination());
        json!({"src": source, "dst": destination, "sport": tuple.selector.sport(), "dport": tuple.selector.dport()})
    };
    let owner = |owner: &Owner| {
        let [original, reply] = &owner.tuples;
        json!({
            "sure": owner.is_sure,
            "protocol": original.protocol(),
            "zone": original.selector.zone(),
            "original": tuple(original),
            "reply": tuple(reply),
            "start": moment(owner.began_us),
            "seen": moment(owner.seen_us),
            "stop": owner.ended_us.map(moment),
        })
    };
    let gap = |gap: &Gap| {
        let Gap { why, from_us, to_us, lost } = gap;
        let over = lies_over(gap, question);
        json!({"from": moment(*from_us), "to": moment(*to_us), "why": why, "lost": lost, "over": over})
    };
    let all = json!({
        "public": question.public.to_string(),
        "at": moment(question.at_us),
        "owners": answer.owners.iter().map(owner).collect::<Vec<Value>>(),
        "gaps": answer.gaps.iter().map(gap).collect::<Vec<Value>>(),
        "damaged": answer.damage.iter().map(|it| json!({"file": it.file, "offset": it.offset})).collect::<Vec<_>>(),
    });
    format!("{all}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_points_or_distances() {
        assert_eq!(time("@2026-11-30T09:15:00Z"), time("2026-11-30T10:15:00+01:00"));
        let ago_s = Timestamp::now().as_second() - time("@2h30m").unwrap().as_second();
        assert!((9000..9005).contains(&ago_s), "{ago_s}");
        assert!(time("@yesterday").unwrap_err().contains("2026-11-30T09:15:00Z"));
        assert_eq!(public("203.0.113.10:7/udp").unwrap().1, Some(Protocol(17)));
        assert!(public("203.0.113.10/udp").is_err() && public("203.0.113.10:7/xyz").is_err());
    }

    #[test]
    fn an_address_needs_a_port() {
        assert!(address_and_port("203.0.113.10:53").is_ok() && address_and_port("[2001:db8::1]:53").is_ok());
        for wrong in ["203.0.113.10", "2001:db8::1:53", "203.0.113.10:65536", ""] {
            assert!(address_and_port(wrong).unwrap_err().contains("[2001:db8::1]:443"), "{wrong}");
        }
    }

    #[test]
    fn an_answer_says_what_is_sure_and_what_is_missing() {
        let (client, server) = ([10, 0, 0, 1].into(), [198, 51, 100, 7].into());
        let original = Tuple::new(client, server, 17, 4000, 53);
        let reply = Tuple::new(server, [203, 0, 113, 10].into(), 17, 53, 2000);
        let us = |second: u64| 1_780_000_000_000_000 + second * 1_000_000;
        let owner = Owner {
            tuples: [original, reply],
            began_us: us(1),
            seen_us: us(2),
            ended_us: None,
            is_sure: false,
        };
        let gaps = vec![
            Gap { why: Why::Lost, from_us: us(0), to_us: us(1), lost: 9 },
            Gap { why: Why::Stopped, from_us: us(2), to_us: us(9), lost: 0 },
        ];
        let known = Owner { ended_us: Some(us(7)), is_sure: true, ..owner };
        let answer = Answer { owners: vec![known, owner], gaps, damage: vec![] };
        let question = Question { public: ([203, 0, 113, 10], 2000).into(), protocol: None, at_us: us(5) };
        let line = "udp      17 src=10.0.0.1 dst=198.51.100.7 sport=4000 dport=53 src=198.51.100.7 dst=203.0.113.10 \
                    sport=53 dport=2000 [start=2026-05-28T20:26:41Z]";
        let expected = format!(
            "{line} [stop=2026-05-28T20:26:47Z]\nmay have been: {line} [seen=2026-05-28T20:26:42Z]\n\
             a gap from 2026-05-28T20:26:40Z to 2026-05-28T20:26:41Z: 9 events were lost; what began in it and ended soon \
             behind that time may be missing\n\
             a gap from 2026-05-28T20:26:42Z to 2026-05-28T20:26:49Z: nothing was written; it lies over that time: another \
             may have been\n"
        );
        assert_eq!(text_of(&question, &answer), expected);
        let json: Value = serde_json::from_str(&json_of(&question, &answer)).unwrap();
        assert_eq!((&json["owners"][1]["sure"], &json["gaps"][1]["over"]), (&json!(false), &json!(true)));
        let nobody = text_of(&question, &Answer::default());
        assert_eq!(nobody, "nobody is known to have had 203.0.113.10:2000 at 2026-05-28T20:26:45Z\n");
    }
}
