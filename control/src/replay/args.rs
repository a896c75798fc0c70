//! The command line of `sluice replay`.

use std::path::PathBuf;

use clap::Args;

use crate::listing::Listing;

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

    /// Write packets, states, drops, entries and what came of helpers as JSON
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,

    /// Write one JSON line for each input packet; entries are numbered as they are first seen
    #[arg(long, value_name = "FILE.jsonl")]
    pub trace: Option<PathBuf>,

    /// With a single capture of both directions: the interface of each connection's first sender
    #[arg(long, value_name = "NAME")]
    pub client_side: Option<String>,

    /// How many workers share the connections, in step: packets reach them in turn, and are handed to the
    /// one that each belongs to. Several draw other ports for translated clients than one does, so that recorded
    /// answers to those meet no connection
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Replays {
        #[command(flatten)]
        args: Replay,
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
