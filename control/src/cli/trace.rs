//! `sluice trace`: what becomes of packets, as it happens.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use super::ask::{Failure, Socket, exit, unexpected};
use crate::output::say;
use crate::socket::protocol::{Request, Response, TracePage, TraceRequest};
use crate::socket::{Client, PacketFilter};

/// How long nothing is asked where nothing has happened.
const PAUSE: Duration = Duration::from_millis(50);

/// What becomes of packets of a running daemon, as it happens: a line each
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice trace -p tcp -d 192.0.2.1 --dport 443   connections to a server, both directions
  sluice trace --in wan --drops --count 20       what is dropped of what comes in by wan
  sluice trace --json -s 10.0.0.7 | jq .reason

Each line has the time, the packet as it came in, and what was decided: verdict, reason,
state, rule with file and line, way out, and what it was translated to. A packet is shown
if its source and destination fit, turned round or not, or those of the original
direction of its connection, so that answers to a translated client are shown, too.

Packets go on as they do without it. What workers tell faster than it is read is lost, and
at the end it is said how many that were: trace few of many packets, not all. Up to four
traces and captures go on at one time, each of which any number of clients may read. A packet
that has waited for another worker or for the rest of its datagram is shown as it comes in,
with `hold`.")]
pub struct Trace {
    /// Which packets
    #[command(flatten)]
    filter: PacketFilter,

    /// End after so many packets
    #[arg(short, long, value_name = "N")]
    count: Option<usize>,

    /// Print an object for each packet, with the entry that it belongs to
    #[arg(long)]
    json: bool,

    /// Where to ask
    #[command(flatten)]
    socket: Socket,
}

impl Trace {
    /// Prints packets until SIGINT comes, or nobody reads them any more.
    pub fn run(&self) -> ExitCode {
        exit(self.trace())
    }

    fn trace(&self) -> Result<(), Failure> {
        let is_over = Arc::new(AtomicBool::new(false));
        flag::register(SIGINT, Arc::clone(&is_over))?;
        let mut client = Client::connect(&self.socket.path)?;
        let mut out = BufWriter::new(io::stdout().lock());
        let (mut from, mut shown, mut all_lost) = (None, 0, 0);
        let left = |shown: usize| self.count.map_or(usize::MAX, |count| count.saturating_sub(shown));
        while !is_over.load(Ordering::Relaxed) && left(shown) > 0 {
            let request = TraceRequest { filter: self.filter.clone(), json: self.json, from };
            let answer = client.ask(&Request::Trace(Box::new(request)))?;
            let Response::Trace(TracePage { lines, lost, next }) = answer else {
                return Err(unexpected());
            };
            (from, all_lost) = (Some(next), all_lost + lost);
            lines.iter().take(left(shown)).try_for_each(|line| writeln!(out, "{line}"))?;
            out.flush()?;
            shown += lines.len().min(left(shown));
            if lines.is_empty() {
                thread::sleep(PAUSE);
            }
        }
        say(&format!("sluice: {shown} packets have been shown, {all_lost} have been lost."));
        Ok(())
    }
}
