//! `sluice compare`: do a Linux box's rules and what has become of them do the same?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::compare::{Comparison, Rules, compare};
use crate::output::{fail, print, refuse};
use crate::rehearsal::Subject;
use crate::replay::{ReplayInput, captured};

/// Packets that are shown, unless all are asked for.
const SHOWN: usize = 20;

/// Plays captures through the kernel, with a Linux box's rules, and through Sluice, and shows each packet that differs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluice compare -c sluice.yaml --nft ruleset.nft --in eth0=a.pcap --in eth1=b.pcap
  sluice compare -c sluice.yaml --iptables rules.v4 --ip6tables rules.v6 --in eth0=a.pcap

The kernel's side is this machine's own kernel, in a network namespace that nobody
else is in and that is gone afterwards: the interfaces, addresses and routes are
those of the configuration, under its names. It takes root, ip(8), and nft(8) or
iptables-restore(8). Packets come in one behind the other, in the order of their
stamps, and no time passes between them, so that no timeout does; what the box
itself says is not compared. Exit status 1 if a packet differs.")]
pub struct Compare {
    /// What has become of the rules; its devices are not opened
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,

    /// What `nft list ruleset` has written, as text or as JSON
    #[arg(long, value_name = "FILE", required_unless_present_any = ["iptables", "ip6tables"])]
    nft: Vec<PathBuf>,

    /// What `iptables-save` has written
    #[arg(long, value_name = "FILE")]
    iptables: Vec<PathBuf>,

    /// What `ip6tables-save` has written
    #[arg(long, value_name = "FILE")]
    ip6tables: Vec<PathBuf>,

    /// A capture that comes in by an interface; may be given once for each
    #[arg(long = "in", value_name = "NAME=FILE", required = true)]
    inputs: Vec<ReplayInput>,

    /// Show all packets that differ, however many
    #[arg(long)]
    all: bool,

    /// How it is shown: json is one object
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Compare {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        let subject = match Subject::read(&self.config) {
            Ok(subject) => subject,
            Err(error) => return refuse(&error),
        };
        let rules = self.nft.iter().cloned().map(Rules::Nft);
        let rules = rules.chain(self.iptables.iter().cloned().map(Rules::Iptables));
        let rules: Vec<Rules> = rules.chain(self.ip6tables.iter().cloned().map(Rules::Ip6tables)).collect();
        let compared = captured(&subject.config, &self.inputs).and_then(|captured| {
            let frames = captured.into_iter().map(|(port, frame)| (port, frame.bytes));
            compare(&subject, &rules, frames.collect())
        });
        let comparison = match compared {
            Ok(comparison) => comparison,
            Err(why) => return fail(&why),
        };
        print(&match self.output {
            Format::Text => self.show(&comparison),
            Format::Json => format!("{}\n", to_json(&comparison)),
        });
        if comparison.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn show(&self, comparison: &Comparison) -> String {
        let Comparison { alike: [leave, for_box, refused, end], differences } = comparison;
        let shown = if self.all { differences.len() } else { differences.len().min(SHOWN) };
        let mut text = String::new();
        for it in &differences[..shown] {
            text.push_str(&format!(
                "packet {}  {}\n  kernel  {}\n  sluice  {}\n",
                it.number, it.packet, it.kernel, it.sluice
            ));
        }
        let hidden = differences.len() - shown;
        if hidden > 0 {
            text.push_str(&format!("and {hidden} more (--all shows them)\n"));
        }
        text + &format!(
            "{} packets: alike, {leave} pass, {for_box} are for the box, {refused} are refused, {end} are dropped; {} differ\n",
            leave + for_box + refused + end + differences.len(),
            differences.len()
        )
    }
}

fn to_json(
    Comparison { alike: [leave, for_box, refused, end], differences }: &Comparison,
) -> serde_json::Value {
    json!({
        "alike": { "accept": leave, "local": for_box, "reject": refused, "drop": end },
        "differences": differences,
    })
}
