//! `sluice explain`: what every stage would say about a packet.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sluice_conntrack::{Instant, PortId};

use super::ask::{Failure, Socket, exit};
use super::running::Running;
use crate::config::ConfigError;
use crate::explain::{Explanation, Passed, Stage, explain};
use crate::output::{fail, print, refuse};
use crate::packet::{self, Spoken, Wrong};
use crate::rehearsal::{Came, Rehearsal, Subject};
use crate::replay::{CapturedFrame, ReplayInput, captured};

/// Rules that were passed and are shown of a stage, at most, unless all are asked for.
const SHOWN: usize = 10;

const EXAMPLES: &str = "\
Examples:
  sluice explain -c box.yaml 'in lan tcp 10.0.0.2:40000 -> 192.0.2.1:80 syn'
  sluice explain -c box.yaml 'in lan udp 10.0.0.2:5000 -> 192.0.2.53:53' \\
                             'in wan udp 192.0.2.53:53 -> 203.0.113.1:5000'
  sluice explain -c box.yaml --in lan=a.pcap --in wan=b.pcap --packet 7
  sluice explain 'in wan tcp 192.0.2.1:80 -> 203.0.113.1:40000'     asks a daemon

Each stage is shown with the rule by which it decides, and where that stands in the
file; below it the rules in front of that, and what they miss in the packet.
Several packets come in one after the other, so that answers find their connection.
The packets go through the same tracking, translation, routes and rules as those of
`sluice run`, but no device is opened, and nothing that runs is changed. Without -c a
daemon says by which configuration it runs, and which of its connections each packet
belongs to.";

/// What every stage would say about a packet: tracking, translation, route, rules, verdict
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", packet::HELP))]
pub struct Explain {
    /// Configuration file; its devices are not opened. Without one a running daemon is asked
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Packets of a capture that come in by an interface; may be given once for each, and they come in the order of
    /// their stamps
    #[arg(long = "in", value_name = "NAME=FILE", conflicts_with = "packets", requires = "config")]
    inputs: Vec<ReplayInput>,

    /// Show one packet only, by its number from 1; those before it come in all the same
    #[arg(long, value_name = "N")]
    packet: Option<usize>,

    /// Show all rules that a packet has passed, however many
    #[arg(long)]
    all: bool,

    /// How it is shown: json is an object for each packet
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,

    /// Where to ask
    #[command(flatten)]
    socket: Socket,

    /// Packets in words, each one argument
    #[arg(value_name = "PACKET", required_unless_present = "inputs")]
    packets: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What comes in.
enum Incoming {
    Spoken(String, PortId, Spoken),
    Captured(PortId, CapturedFrame),
}

impl Explain {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        let (mut running, subject) = match &self.config {
            Some(file) => match Subject::read(file) {
                Ok(subject) => (None, subject),
                Err(error) => return refuse(&error),
            },
            None => match Running::connect(&self.socket) {
                Ok((running, subject)) => (Some(running), subject),
                Err(failure) => return exit(Err(failure)),
            },
        };
        let incoming = match self.inputs.is_empty() {
            true => match self.spoken(&subject) {
                Ok(spoken) => spoken,
                Err(code) => return code,
            },
            false => match captured(&subject.config, &self.inputs) {
                Ok(all) => all.into_iter().map(|(port, frame)| Incoming::Captured(port, frame)).collect(),
                Err(why) => return fail(&why),
            },
        };
        match self.explain_all(&subject, running.as_mut(), incoming) {
            Ok(text) => print(&text),
            Err(failure) => exit(Err(failure)),
        }
    }

    /// The packets on the command line.
    fn spoken(&self, subject: &Subject) -> Result<Vec<Incoming>, ExitCode> {
        let spoken = |text: &String| {
            let spoken = packet::parse(text)?;
            Ok(Incoming::Spoken(text.clone(), packet::ingress(&subject.config, &spoken)?, spoken))
        };
        let one = |text: &String| {
            spoken(text).map_err(|Wrong { at, message, help }| {
                refuse(&ConfigError::of_words("packet", text, at, message, help))
            })
        };
        self.packets.iter().map(one).collect()
    }

    fn explain_all(
        &self,
        subject: &Subject,
        mut running: Option<&mut Running>,
        incoming: Vec<Incoming>,
    ) -> Result<String, Failure> {
        let begin = match incoming.first() {
            Some(Incoming::Captured(_, first)) => Instant::from_ns(first.time_ns),
            _ => Instant::default().after(Duration::from_secs(1)),
        };
        let no_memory = |error| Failure::Other(format!("no memory for a table: {error}"));
        let mut rehearsal = Rehearsal::new(&subject.configuration, begin).map_err(no_memory)?;
        let mut text = String::new();
        for (number, incoming) in (1..).zip(incoming) {
            let brought = match (&mut running, &incoming) {
                (Some(running), Incoming::Spoken(_, ingress, spoken)) => {
                    Some(running.bring(subject, &mut rehearsal, *ingress, spoken)?)
                }
                _ => None,
            };
            let (packet, came) = come_in(subject, &mut rehearsal, incoming);
            if self.packet.is_none_or(|wanted| wanted == number) {
                let explanation = Explanation { running: brought, ..explain(subject, &came, packet) };
                text.push_str(&match self.output {
                    Format::Json => format!("{}\n", serde_json::to_string(&explanation).unwrap_or_default()),
                    Format::Text if text.is_empty() => self.show(&explanation),
                    Format::Text => format!("\n{}", self.show(&explanation)),
                });
            }
        }
        Ok(text)
    }

    fn show(&self, Explanation { packet, running, stages, verdict }: &Explanation) -> String {
        let mut text = line("packet", packet);
        if let Some(running) = running {
            text.push_str(&line("running", running));
        }
        for Stage { stage, result, rule, passed } in stages {
            let rule = rule.as_ref().map(|rule| format!(", by {rule}")).unwrap_or_default();
            text.push_str(&line(stage, &format!("{}{rule}", result.replace('\n', "\n           "))));
            let shown = match *stage {
                _ if self.all => passed.len(),
                "zone" | "untracked" => 0,
                _ => passed.len().min(SHOWN),
            };
            let hidden = passed.len() - shown;
            if hidden > 0 && shown > 0 {
                text.push_str(&line("", &format!("  {hidden} rules in front of these (--all shows them)")));
            }
            for Passed { rule, because } in &passed[hidden..] {
                text.push_str(&line("", &format!("  {rule}: {because}")));
            }
        }
        text + &line("verdict", verdict)
    }
}

/// Has a packet come in; gives what it is called, and what has come of it.
fn come_in(subject: &Subject, rehearsal: &mut Rehearsal, incoming: Incoming) -> (String, Came) {
    match incoming {
        Incoming::Spoken(text, ingress, spoken) => (text, rehearsal.say(ingress, &spoken)),
        Incoming::Captured(ingress, CapturedFrame { time_ns, mut bytes }) => {
            rehearsal.wait(Instant::from_ns(time_ns).since(rehearsal.now()));
            let ingress = subject.untag(ingress, &mut bytes);
            let words = packet::describe(&bytes);
            let text = format!("in {} {words}", subject.names.interface(ingress));
            (text, rehearsal.send(ingress, vec![bytes]))
        }
    }
}

fn line(name: &str, text: &str) -> String {
    format!("{name:<11}{text}\n")
}
