//! `sluice capture`: packets of a running daemon, into a capture file.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::ask::{Failure, Socket, exit, unexpected};
use super::pcapng::CaptureFile;
use crate::config::Seconds;
use crate::output::say;
use crate::packet::describe;
use crate::socket::protocol::{CapturePage, CapturePoint, CaptureRequest, CapturedPacket, Request, Response};
use crate::socket::{Client, PacketFilter};

/// How long nothing is asked where nothing has happened.
const PAUSE: Duration = Duration::from_millis(50);

/// Packets of a running daemon, into a capture file with what was decided about each
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice capture -w all.pcapng --duration 10s                     everything, for ten seconds
  sluice capture -i wan -w - -p tcp --dport 443 | tshark -r -     what passes one interface
  sluice capture --at received --drops -c 100 -w drops.pcapng     what is dropped, as it came
  sluice capture -p udp -s 10.0.0.7                               a line for each, no file

Each packet is captured as it comes in, before translation, and as it leaves, after it:
--at says which. The file (pcapng) has an interface for each of the box's, stamps in
nanoseconds, which way a packet went, and in its comment what was decided about it:
verdict, reason, state, rule with file and line, way out and translation (in Wireshark
the column or filter `frame.comment`). What is dropped is captured as it came in.

A packet is captured if its source and destination fit, turned round or not, or those of
the original direction of its connection. A VLAN's packets are captured at its interface,
without their tag, those of the box's own network stack at `local`. What the box says of
itself (ARP, answers), fragments as they leave, and packets that have waited for another
worker, as they leave, are not among them.

Packets go on as they do without it. What workers tell faster than it is read is lost,
and said at the end: capture few of many packets, or their first bytes (--snaplen). A few
may be captured and traced at one time; what nobody reads any more ends after some seconds.")]
pub struct Capture {
    /// At which interface packets are captured, as they come in or leave there; all of them without it. May be repeated
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<String>,

    /// Whether packets are captured as they come in, as they leave, or both
    #[arg(long, value_enum, default_value_t)]
    at: CapturePoint,

    /// Which packets
    #[command(flatten)]
    filter: PacketFilter,

    /// Write them into this file; - is standard output
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,

    /// Keep so many bytes of each packet
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    snaplen: Option<u32>,

    /// End after so many packets
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End after so long: 10s, 5m
    #[arg(long, value_name = "TIME")]
    duration: Option<Seconds>,

    /// Where to ask
    #[command(flatten)]
    socket: Socket,
}

/// Where packets go.
enum Output {
    File(CaptureFile<BufWriter<Box<dyn Write>>>),
    Lines(BufWriter<Stdout>),
}

impl Capture {
    /// Captures packets until it has enough of them, SIGINT or SIGTERM comes, or nobody reads them any more.
    pub fn run(&self) -> ExitCode {
        exit(self.capture())
    }

    fn capture(&self) -> Result<(), Failure> {
        let is_over = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, Arc::clone(&is_over))?;
        }
        let mut client = Client::connect(&self.socket.path)?;
        let mut request = CaptureRequest {
            filter: self.filter.clone(),
            interfaces: self.interfaces.clone(),
            at: self.at,
            snap_bytes: self.snaplen,
            from: None,
        };
        // An interface that there is not is said before a file is made.
        request.from = Some(ask(&mut client, &request)?.next);
        let mut output = self.output()?;
        say("sluice: capturing");
        let end = self.duration.map(|Seconds(seconds)| Instant::now() + Duration::from_secs(seconds.into()));
        let mut left = self.count.unwrap_or(u64::MAX);
        let (mut captured, mut all_lost) = (0, 0);
        while left > 0 {
            let is_last = is_over.load(Ordering::Relaxed) || end.is_some_and(|end| Instant::now() >= end);
            let CapturePage { packets, lost, next } = ask(&mut client, &request)?;
            (request.from, all_lost) = (Some(next), all_lost + lost);
            let taken = packets.iter().take(usize::try_from(left).unwrap_or(usize::MAX));
            taken.clone().try_for_each(|packet| output.add(packet))?;
            output.flush()?;
            let taken = taken.len() as u64;
            (left, captured) = (left - taken, captured + taken);
            if is_last {
                break;
            }
            if packets.is_empty() {
                thread::sleep(PAUSE);
            }
        }
        if let Output::File(file) = output {
            file.end(all_lost)?;
        }
        say(&format!("sluice: {captured} packets have been captured, {all_lost} have been lost."));
        Ok(())
    }

    fn output(&self) -> Result<Output, Failure> {
        let out: Box<dyn Write> = match &self.write {
            None => return Ok(Output::Lines(BufWriter::new(io::stdout()))),
            Some(path) if path.as_os_str() == "-" => {
                if io::stdout().is_terminal() {
                    return Err(Failure::Other(
                        "a capture file is nothing for a terminal: write it into a file, or leave -w out"
                            .to_owned(),
                    ));
                }
                Box::new(io::stdout())
            }
            Some(path) => {
                let unmade = |error| Failure::Other(format!("cannot write {}: {error}", path.display()));
                Box::new(File::create(path).map_err(unmade)?)
            }
        };
        let file = CaptureFile::begin(BufWriter::new(out), self.snaplen.unwrap_or_default())?;
        Ok(Output::File(file))
    }
}

fn ask(client: &mut Client, request: &CaptureRequest) -> Result<CapturePage, Failure> {
    match client.ask(&Request::Capture(Box::new(request.clone())))? {
        Response::Capture(page) => Ok(page),
        _ => Err(unexpected()),
    }
}

impl Output {
    fn add(&mut self, packet: &CapturedPacket) -> io::Result<()> {
        match self {
            Self::File(file) => file.add(packet),
            Self::Lines(out) => writeln!(out, "{}", line(packet)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Lines(out) => out.flush(),
        }
    }
}

/// A packet in a line.
fn line(packet: &CapturedPacket) -> String {
    let CapturedPacket { time_ns, interface, sent, len, bytes, comment } = packet;
    let at =
        Timestamp::from_nanosecond(i128::from(*time_ns)).unwrap_or_default().to_zoned(TimeZone::system());
    let way = if *sent { "out" } else { "in" };
    // What was not kept of it is read as zeros.
    let mut frame = BASE64_STANDARD.decode(bytes).unwrap_or_default();
    frame.resize((*len as usize).max(frame.len()), 0);
    format!("{} {interface} {way} {}: {comment}", at.strftime("%H:%M:%S%.6f"), describe(&frame))
}
