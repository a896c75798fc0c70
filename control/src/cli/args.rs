//! The arguments of the commands that move packets or ask a running daemon.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use sluice_conntrack::listing::Layout;
use sluice_conntrack::settings::Preset;

use super::daemon::Socket;
use crate::socket::Filter;

/// Run the middlebox until a signal ends it
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Example:
  sluice run -c /etc/sluice/sluice.yaml

SIGTERM and SIGINT end it, with every packet sent that was received. SIGHUP
reads the configuration anew, as `sluice reload` does. Under systemd it is a
service of Type=notify, with a watchdog on the workers.")]
pub struct Run {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Captures in, captures out, in capture time
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice replay -c box.yaml --in inside=a.pcap --in outside=b.pcap --out /tmp/result
  sluice replay -c box.yaml --in inside=both.pcap --client-side inside -o extended
  sluice replay -c box.yaml --in inside=a.pcap --report report.json --trace trace.jsonl

Standard output ends with the table as of the last packet; standard error has
states and drops by reason.")]
pub struct Replay {
    /// Configuration file; its devices are not opened
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,

    /// What comes in by an interface; may be given once for each
    #[arg(long = "in", value_name = "NAME=FILE", required = true)]
    pub inputs: Vec<ReplayInput>,

    /// Where the output captures go, one for each interface: by default a new directory among the
    /// temporary files, which the summary names
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// How the table is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "conntrack")]
    pub output: Listing,

    /// Write packets, states, drops and entries as JSON
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,

    /// Write one JSON line for each input packet; entries are numbered as they are first seen
    #[arg(long, value_name = "FILE.jsonl")]
    pub trace: Option<PathBuf>,

    /// With a single capture of both directions: the interface of each connection's first sender
    #[arg(long, value_name = "NAME")]
    pub client_side: Option<String>,

    /// How many workers share the connections, in step: packets reach them in turn, and are handed to the
    /// one that each belongs to
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(sluice_conntrack::steer::MAX_SHARDS)))]
    pub workers: u16,
}

/// A capture and the interface that it comes in by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayInput {
    /// Name of the interface.
    pub interface: String,
    /// The capture file.
    pub file: PathBuf,
}

impl std::str::FromStr for ReplayInput {
    type Err = String;

    fn from_str(text: &str) -> Result<ReplayInput, String> {
        match text.split_once('=') {
            Some((interface, file)) if !interface.is_empty() && !file.is_empty() => {
                Ok(ReplayInput { interface: interface.to_owned(), file: file.into() })
            }
            _ => Err("expected NAME=FILE, such as inside=a.pcap".to_owned()),
        }
    }
}

/// The layouts of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listing {
    /// conntrack(8)'s
    Conntrack,
    /// conntrack(8)'s, with the family in front
    Extended,
    /// One JSON object a line
    Json,
    /// That of the preset's kernel: /proc/net/ip_conntrack (classic) or nf_conntrack (linux)
    Proc,
}

impl Listing {
    /// The tracking crate's layout; /proc's file is the one of the preset's kernel.
    pub fn layout(self, preset: Preset) -> Layout {
        match self {
            Self::Conntrack => Layout::Conntrack,
            Self::Extended => Layout::Extended,
            Self::Json => Layout::Json,
            Self::Proc => Layout::proc(preset),
        }
    }
}

/// The tracked connections of a running daemon, as conntrack(8) shows them
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice conntrack -L                          every entry
  sluice conntrack -L -p tcp --state SYN_SENT  connections that nobody answers
  sluice conntrack -L -s 10.0.0.5 -o extended  those of one host
  sluice conntrack -L --any-nat                translated ones
  sluice conntrack -C                          how many there are
  sluice conntrack -C -p tcp --state TIME_WAIT how many of these
  sluice conntrack -S                          counters of each shard

Of conntrack(8)'s commands these three are here: entries cannot be got one by
one, deleted, changed or watched (-G, -D, -F, -U, -E).")]
pub struct ConntrackArgs {
    /// What to do
    #[command(flatten)]
    pub command: ConntrackCommand,

    /// Which entries
    #[command(flatten)]
    pub filter: Filter,

    /// How entries are printed
    #[arg(short, long, value_name = "FORMAT", default_value = "conntrack")]
    pub output: Listing,

    /// Where to ask
    #[command(flatten)]
    pub socket: Socket,
}

/// conntrack(8)'s commands; exactly one.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ConntrackCommand {
    /// List the entries
    #[arg(short = 'L', long)]
    pub dump: bool,

    /// Count the entries
    #[arg(short = 'C', long)]
    pub count: bool,

    /// Show the counters
    #[arg(short = 'S', long)]
    pub stats: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Protocol;
    use crate::socket::{EntryStatus, NatPeer};
    use clap::Parser;

    #[derive(Parser)]
    struct Conntrack {
        #[command(flatten)]
        args: ConntrackArgs,
    }

    #[derive(Parser)]
    struct Replays {
        #[command(flatten)]
        args: Replay,
    }

    fn conntrack(line: &str) -> Result<ConntrackArgs, clap::Error> {
        Conntrack::try_parse_from(line.split(' ')).map(|parsed| parsed.args)
    }

    #[test]
    fn what_conntrack_takes_is_taken() {
        let args = conntrack(
            "conntrack -L -p tcp -s 10.0.0.5 --dport 80 -m 0x10/0xf0 -u assured,SEEN_REPLY -f ipv4",
        )
        .unwrap();
        assert!(args.command.dump && !args.command.count);
        assert_eq!(args.filter.proto, Some(Protocol::TCP));
        assert_eq!(args.filter.src.map(|prefix| prefix.to_string()), Some("10.0.0.5/32".to_owned()));
        assert_eq!(args.filter.dport, Some(80));
        assert_eq!(args.filter.status, [EntryStatus::Assured, EntryStatus::SeenReply]);
        assert!(conntrack("conntrack -C").unwrap().command.count);
        assert_eq!(conntrack("conntrack --dump -o json").unwrap().output, Listing::Json);
    }

    #[test]
    fn an_address_behind_a_translation_may_be_left_out() {
        let filter = |line: &str| conntrack(line).map(|args| args.filter);
        assert_eq!(filter("conntrack -L -n -p tcp").unwrap().src_nat, Some(NatPeer::Any));
        let to = filter("conntrack -L --dst-nat 10.0.0.5:80 -j").unwrap();
        assert_eq!(to.dst_nat, Some(NatPeer::Port("10.0.0.5:80".parse().unwrap())));
        assert_eq!((to.any_nat, to.src_nat), (Some(NatPeer::Any), None));
        assert!(filter("conntrack -L -g somewhere").is_err());
    }

    #[test]
    fn exactly_one_command_is_wanted() {
        assert!(conntrack("conntrack -L -C").is_err());
        assert!(conntrack("conntrack -p tcp").is_err());
    }

    #[test]
    fn a_replay_names_its_captures() {
        let line = "replay -c box.yaml --in inside=a.pcap --in outside=dir/b=c.pcap --client-side inside";
        let args = Replays::try_parse_from(line.split(' ')).map(|parsed| parsed.args).unwrap();
        assert_eq!(
            args.inputs[1],
            ReplayInput { interface: "outside".to_owned(), file: "dir/b=c.pcap".into() }
        );
        for wrong in ["inside", "=a.pcap", "inside="] {
            assert!(Replays::try_parse_from(["replay", "-c", "box.yaml", "--in", wrong]).is_err());
        }
    }
}
