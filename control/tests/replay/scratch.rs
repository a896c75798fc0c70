//! A directory with captures, a configuration and what a replay made of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use etherparse::PacketBuilder;
use serde_json::Value;
use tempfile::TempDir;

/// Everything passes but INVALID.
pub const OPEN: &str = "
version: 1
interfaces: {inside: {device: 'vdev:net_null0'}, outside: {device: 'vdev:net_null1'}}
policy: {default: accept, rules: [{state: invalid, action: drop}]}
";

/// Nanoseconds of a second.
pub const S: u64 = 1_000_000_000;

/// When captures begin here: a moment with nanoseconds, after 2001 and before 2038.
pub const START: u64 = 1_700_000_000 * S + 123_456_789;

/// A frame and its stamp in nanoseconds.
pub type Packet = (u64, Vec<u8>);

/// UDP from 10.0.0.1 to 10.0.0.2.
pub fn udp(sport: u16, payload_bytes: usize) -> Vec<u8> {
    between([10, 0, 0, 1], sport, [10, 0, 0, 2], 53, payload_bytes)
}

/// What answers it.
pub fn udp_answer(dport: u16) -> Vec<u8> {
    between([10, 0, 0, 2], 53, [10, 0, 0, 1], dport, 100)
}

fn between(from: [u8; 4], sport: u16, to: [u8; 4], dport: u16, payload_bytes: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, from[3]], [2, 0, 0, 0, 0, to[3]]);
    let payload: Vec<u8> = (0..payload_bytes).map(|byte| (byte % 251) as u8).collect();
    let mut frame = Vec::new();
    builder.ipv4(from, to, 64).udp(sport, dport).write(&mut frame, &payload).unwrap();
    frame
}

/// The first segment of a connection from 192.168.1.6 to 192.168.1.9.
pub fn syn(sport: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 6], [2, 0, 0, 0, 0, 9])
        .ipv4([192, 168, 1, 6], [192, 168, 1, 9], 64)
        .tcp(sport, 22, 1000, 5840)
        .syn()
        .write(&mut frame, &[])
        .unwrap();
    frame
}

/// The directory, and the arguments of the replay to come.
pub struct Scratch {
    directory: TempDir,
    arguments: Vec<String>,
}

impl Scratch {
    /// A directory with a configuration.
    pub fn new(config: &str) -> Self {
        let scratch = Self { directory: tempfile::tempdir().unwrap(), arguments: Vec::new() };
        std::fs::write(scratch.path("box.yaml"), config).unwrap();
        scratch
    }

    /// A file in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Adds an argument.
    pub fn with(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds an input by an interface, of these bytes.
    pub fn input(self, interface: &str, file: &[u8]) -> Self {
        let name = format!("{interface}.capture");
        std::fs::write(self.path(&name), file).unwrap();
        let argument = format!("--in={interface}={}", self.path(&name).display());
        self.with(argument)
    }

    /// Replays.
    pub fn run(&self) -> Output {
        let path = |name: &str| self.path(name).display().to_string();
        Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["replay", "-c", &path("box.yaml"), "--out", &path("out")])
            .args(["--report", &path("report.json"), "--trace", &path("trace.jsonl")])
            .args(&self.arguments)
            .output()
            .unwrap()
    }

    /// Replays, which must go well.
    pub fn replay(&self) -> Replayed {
        let output = self.run();
        let (stdout, stderr) = texts(&output);
        assert!(output.status.success(), "{stderr}");
        let report = std::fs::read(self.path("report.json")).unwrap();
        let trace = std::fs::read_to_string(self.path("trace.jsonl")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        adds_up(&report);
        Replayed {
            stdout,
            stderr,
            report,
            trace: trace.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            inside: read_pcap(&self.path("out/inside.pcap")),
            outside: read_pcap(&self.path("out/outside.pcap")),
        }
    }

    /// Replays, which must fail; gives what was said.
    pub fn refused(&self) -> String {
        let output = self.run();
        let (stdout, stderr) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stdout, "");
        stderr
    }
}

/// Each packet in has one end; answers, and the fragments of what left in such, have left besides.
fn adds_up(report: &Value) {
    let count = |value: &Value| value.as_u64().unwrap();
    let dropped: u64 = report["drops"].as_object().unwrap().values().map(count).sum();
    let fragmented = &report["fragmented"];
    let begun = count(&report["packets_in"]) + count(&report["answers"]["sent"]) + count(&fragmented["into"]);
    let ended = [&report["packets_out"], &report["delivered"], &report["held"], &fragmented["packets"]];
    assert_eq!(begun, ended.into_iter().map(count).sum::<u64>() + dropped, "{report:#}");
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// What came of a replay.
#[derive(Debug, PartialEq)]
pub struct Replayed {
    pub stdout: String,
    pub stderr: String,
    pub report: Value,
    pub trace: Vec<Value>,
    pub inside: Vec<Packet>,
    pub outside: Vec<Packet>,
}

impl Replayed {
    /// A field of each line of the trace.
    pub fn traced(&self, field: &str) -> Vec<Value> {
        self.trace.iter().map(|line| line[field].clone()).collect()
    }

    /// Asserts that a replay with more workers, wherever each packet came in, gave the same packets, verdicts and entries.
    pub fn is_repeated_by(&self, other: &Self) {
        let entries = |replayed: &Self| {
            let mut lines: Vec<String> = replayed.stdout.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(entries(self), entries(other));
        assert_eq!(self.trace, other.trace);
        assert_eq!(self.report, other.report);
        assert!(self.inside == other.inside && self.outside == other.outside, "packets out");
    }

    /// Asserts what is so after every replay on a wire: each packet has a line, what was accepted left as it came in,
    /// with its stamp and in order, and the counts add up.
    pub fn adds_up(&self, inside: &[Packet], outside: &[Packet]) {
        self.left_as_it_came(inside, outside);
        assert_eq!(self.trace.len(), inside.len() + outside.len());
    }

    /// The same of one capture that was taken apart.
    pub fn adds_up_split(&self, both: &[Packet]) {
        self.left_as_it_came(both, both);
        assert_eq!(self.trace.len(), both.len());
    }

    fn left_as_it_came(&self, inside: &[Packet], outside: &[Packet]) {
        let mut expected = [Vec::new(), Vec::new()];
        let mut held = Vec::new();
        for (place, line) in self.trace.iter().enumerate() {
            assert_eq!(line["number"], place + 1);
            let record = line["record"].as_u64().unwrap() as usize - 1;
            let (packet, egress) = match line["interface"].as_str() {
                Some("inside") => (&inside[record], 1),
                _ => (&outside[record], 0),
            };
            match line["verdict"].as_str() {
                Some("accept") => {
                    assert_eq!(line["reason"], Value::Null);
                    expected[egress].push(packet.clone());
                }
                // A fragment, which leaves with its datagram.
                Some("hold") => held.push(packet.1.clone()),
                _ => assert!(line["reason"].is_string(), "a drop has a reason: {line}"),
            }
        }
        let whole = |left: &[Packet]| -> Vec<Packet> {
            left.iter().filter(|packet| !held.contains(&packet.1)).cloned().collect()
        };
        assert!(whole(&self.inside) == expected[0], "what left by inside is what came in by outside");
        assert!(whole(&self.outside) == expected[1], "what left by outside is what came in by inside");

        let report = &self.report;
        assert_eq!(report["packets_in"], self.trace.len());
        assert_eq!(report["packets_out"], self.inside.len() + self.outside.len());
        assert_eq!(report["entries"], self.stdout.lines().count());
        let dropped: u64 = report["drops"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        assert_eq!(dropped as usize, self.trace.len() - self.inside.len() - self.outside.len());
        for (state, count) in report["states"].as_object().unwrap() {
            let traced = self.trace.iter().filter(|line| line["state"] == state.as_str()).count();
            // Datagrams that came in fragments are counted once, and have no line of their own.
            let traced = traced as u64;
            let most = traced + held.len() as u64;
            assert!((traced..=most).contains(&count.as_u64().unwrap()), "{state}");
        }
    }
}

/// A capture in the classic format: nanoseconds, little-endian, Ethernet.
pub fn pcap(packets: &[Packet]) -> Vec<u8> {
    let mut file: Vec<u8> =
        [0xa1b2_3c4d_u32, 4 << 16 | 2, 0, 0, 262_144, 1].into_iter().flat_map(u32::to_le_bytes).collect();
    for (time, frame) in packets {
        let len = frame.len() as u32;
        file.extend([(time / S) as u32, (time % S) as u32, len, len].into_iter().flat_map(u32::to_le_bytes));
        file.extend(frame);
    }
    file
}

/// Reads such a capture.
pub fn read_pcap(path: &Path) -> Vec<Packet> {
    let file = std::fs::read(path).unwrap();
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(20)), (0xa1b2_3c4d, 1));
    let mut packets = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let len = word(at + 8) as usize;
        packets
            .push((u64::from(word(at)) * S + u64::from(word(at + 4)), file[at + 16..at + 16 + len].to_vec()));
        at += 16 + len;
    }
    packets
}
