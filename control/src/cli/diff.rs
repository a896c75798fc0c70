//! `sluice diff`: what a reload would change.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::ask::{Failure, Socket, exit, unexpected};
use crate::diff::{Change, Difference, Side, Sides};
use crate::listing::{Format, Listing};
use crate::output::{print, refuse};
use crate::socket::Client;
use crate::socket::protocol::{
    Considered, Cursor, CutConnection, CutPage, Cuts, CutsRequest, Request, Response,
};

/// The exit status where only a restart puts the new configuration in force.
const NEEDS_RESTART: u8 = 3;

/// What a configuration says otherwise than another, or than a running daemon's, and what a reload would do to open connections
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluice diff new.yaml                   against the running daemon
  sluice diff --connections new.yaml     with those connections themselves
  sluice diff box.yaml new.yaml          two files, without any daemon

Both are compared as they would be in force, with every default written out: two
files that say the same in other words do not differ. `-` goes, `+` comes, each with
file and line; `default` is what a file does not say.

Of a running daemon nothing is changed. Its open connections are looked at as they
are, by the rules that a reload goes by; those that would be cut are counted by reason:
  lost-address   masqueraded as an address that the box loses: ends at once
  route-changed  masqueraded, and leaves by another interface: ends with its next packet
  no-route       its packets have no route
  zone           its packets come to another zone
  untracked      its packets are tracked no more, nor translated
  policy         the policy drops its next packet
All others go on, and keep their translation. Those are counted, too, that would be
translated otherwise if they began by the new rules:
  stale-nat      the rules of NAT, or the way it takes, would give it another translation,
                 or none; once `sluice conntrack -D` has ended it, it begins anew
The daemon reads the file, so its user must be able to.

Exit status 0 if a reload puts the new one in force, 3 if only a restart can, 1 if a
file is wrong.")]
pub struct Diff {
    /// The configuration that is to be, behind the one in force where no daemon is asked; `-`, where none is, is standard input
    #[arg(value_name = "FILE", num_args = 1..=2, required = true)]
    files: Vec<PathBuf>,

    /// Show the connections that would be cut, or translated otherwise, too
    #[arg(long)]
    connections: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Where to ask
    #[command(flatten)]
    socket: Socket,
}

/// All that there is to say.
#[derive(Debug, Default, Serialize)]
struct Report {
    differences: Vec<Difference>,
    needs_restart: Vec<String>,
    /// What a reload would cut; of files alone nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    cuts: Option<Cuts>,
    /// How many go on, but would be translated otherwise if they began by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_nat: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    connections: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beyond_limit: Option<u64>,
}

/// A connection that would be cut, or translated otherwise.
#[derive(Debug, Serialize)]
struct Shown {
    reason: String,
    connection: Value,
}

impl Diff {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        let report = match &self.files[..] {
            [old, new] if self.connections => {
                let (old, new) = (old.display(), new.display());
                Err(Failure::Other(format!(
                    "connections are a daemon's: `sluice diff --connections {new}`, without {old}"
                )))
            }
            [old, new] => match (Side::read(old), Side::read(new)) {
                (Ok(old), Ok(new)) => Ok(compare(&Sides { old, new })),
                (Err(error), _) | (_, Err(error)) => return refuse(&error),
            },
            files => {
                // There is one at least.
                let Some(new) = files.first() else { return ExitCode::FAILURE };
                match Side::read(new) {
                    Ok(side) => self.against_daemon(new, side),
                    Err(error) => return refuse(&error),
                }
            }
        };
        match report {
            Ok(report) => {
                let printed = print(&if self.json { json(&report) } else { text(&report) });
                if report.needs_restart.is_empty() { printed } else { ExitCode::from(NEEDS_RESTART) }
            }
            Err(failure) => exit(Err(failure)),
        }
    }

    /// What becomes otherwise than it is with a daemon, whose file is read once more by that itself.
    fn against_daemon(&self, file: &Path, new: Side) -> Result<Report, Failure> {
        let mut client = Client::connect(&self.socket.path)?;
        let Response::Configuration(running) = client.ask(&Request::Configuration)? else {
            return Err(unexpected());
        };
        let name = running.status.file.display().to_string();
        let old = Side::running(&name, &running.text, &running.yaml)
            .map_err(|why| Failure::Other(why.to_string()))?;
        let unreadable = |why| Failure::Other(format!("{}: {why}", file.display()));
        let file = file.canonicalize().map_err(unreadable)?;
        let Response::Considered(Considered { number, needs_restart, beyond_limit }) =
            client.ask(&Request::Consider { file })?
        else {
            return Err(unexpected());
        };
        let mut report = Report { needs_restart, ..compare(&Sides { old, new }) };
        if report.needs_restart.is_empty() {
            self.ask_what_becomes(&mut client, number, &mut report)?;
            report.beyond_limit = (beyond_limit > 0).then_some(beyond_limit);
        }
        Ok(report)
    }

    /// What becomes of open connections, page by page.
    fn ask_what_becomes(&self, client: &mut Client, number: u64, report: &mut Report) -> Result<(), Failure> {
        let format = if self.json { Listing::Json } else { Listing::Conntrack };
        let (list, format) = (self.connections, Some(Format::of(format)));
        let (mut all, mut all_stale, mut from) = (Cuts::default(), 0, Cursor::default());
        loop {
            let answer = client.ask(&Request::Cuts(CutsRequest { number, list, format, from }))?;
            let Response::Cuts(CutPage { cuts, stale_nat, connections, next }) = answer else {
                return Err(unexpected());
            };
            all.add(&cuts);
            all_stale += stale_nat;
            report.connections.extend(connections.into_iter().map(|CutConnection { reason, line }| Shown {
                reason,
                connection: serde_json::from_str(&line).unwrap_or(Value::String(line)),
            }));
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        (report.cuts, report.stale_nat) = (Some(all), Some(all_stale));
        Ok(())
    }
}

/// What two configurations say otherwise.
fn compare(sides: &Sides) -> Report {
    Report { differences: sides.differences(), needs_restart: sides.needs_restart(), ..Report::default() }
}

fn json(report: &Report) -> String {
    // A report is plain data, so it is always valid JSON.
    serde_json::to_string(report).unwrap_or_default() + "\n"
}

fn text(report: &Report) -> String {
    let mut text: String = report.differences.iter().map(show).collect();
    text.push_str(&match (report.differences.len(), report.needs_restart.is_empty()) {
        (0, _) => "no difference\n".to_owned(),
        (_, true) => "a reload puts this in force\n".to_owned(),
        (_, false) => format!("only a restart can change {}\n", report.needs_restart.join(", ")),
    });
    // Writing to a String cannot fail.
    if let Some(cuts) = &report.cuts {
        let _ = writeln!(text, "{cuts}");
    }
    match report.stale_nat {
        None | Some(0) => {}
        Some(1) => text.push_str("1 connection goes on, but would be translated otherwise if it began now\n"),
        Some(more) => {
            let _ = writeln!(
                text,
                "{more} connections go on, but would be translated otherwise if they began now"
            );
        }
    }
    if let Some(beyond) = report.beyond_limit {
        let _ = writeln!(
            text,
            "{beyond} connections are more than conntrack.max-entries: they give way to new ones, or expire"
        );
    }
    for Shown { reason, connection } in &report.connections {
        let line = connection.as_str().unwrap_or_default();
        let _ = writeln!(text, "{:>15} {line}", format!("[{reason}]"));
    }
    text
}

/// A key, and below it what goes and what comes.
fn show(Difference { path, changes }: &Difference) -> String {
    let place = |change: &Change| change.place.clone().unwrap_or_else(|| "default".to_owned());
    let width = changes.iter().map(|change| place(change).len()).max().unwrap_or_default();
    let line = |change: &Change| {
        let sign = if change.comes { '+' } else { '-' };
        format!("  {sign} {:<width$}  {}\n", place(change), change.value)
    };
    format!("{path}\n{}\n", changes.iter().map(line).collect::<String>())
}
