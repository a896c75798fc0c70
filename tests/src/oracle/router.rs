//! The box between the oracle's two sides: one shard, and a clock that the script moves.

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};
use sluice::config::Config;
use sluice_conntrack::dispatch::{Dispatcher, Host};
use sluice_conntrack::headers::{Fragment, Packet as Parsed, PacketKind};
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::tuple::{Family, protocol};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::wire::tcp::Segment;
use sluice_conntrack::{
    Capacity, Direction, DropReason, Installation, Instant, PortId, Shard, State, Verdict, wire,
};
use sluice_memory::Pages;
use std::time::Duration;

use super::{entries, hex};

/// The sides, in the order of their port numbers.
pub const SIDES: [&str; 2] = ["inside", "outside"];

const ETHERNET_BYTES: usize = 14;

const FRAGMENT_HEADER_BYTES: u32 = 8;

/// An answer is an ICMP error at most, or an echo reply as long as the request.
const MAX_ANSWER_BYTES: usize = 65_536;

/// A frame and the port it came in by.
type Packet = (PortId, Vec<u8>);

/// A shard and its time.
#[derive(Debug)]
pub struct Router {
    /// The shard, the same that a worker runs.
    pub shard: Shard,
    dispatcher: Dispatcher<Packet>,
    /// The time by the script.
    pub now: Instant,
    /// Entries made since the table was last looked at, as they were when they were made.
    pub born: Vec<Value>,
    /// Where the payload of each segment lies, as its sender numbered it.
    segments: Vec<(EntryId, Direction, Numbers)>,
    /// Whether it says how tracking takes its own packets.
    routed: bool,
}

/// The first sequence number of a segment, and how many bytes it has.
type Numbers = (u32, u32);

impl Router {
    /// A box with this configuration and an empty table. If it is `routed` it says how tracking takes its own packets.
    pub fn new(file: &Config, routed: bool) -> Result<Self> {
        let configuration = lower(file)?;
        let entries = configuration.settings.max_entries;
        let capacity = Capacity { entries, seed: [1, 2, 3, 4], pages: Pages::Ordinary };
        let now = Instant::from_ns(0).after(Duration::from_secs(1));
        let shard = Shard::new(capacity, configuration, now)?;
        let dispatcher = Dispatcher::new(&shard);
        Ok(Self { dispatcher, shard, now, born: Vec::new(), segments: Vec::new(), routed })
    }

    /// Puts another configuration in force.
    pub fn configure(&mut self, file: &Config) -> Result<()> {
        self.shard.configure(&mut Installation::new(lower(file)?));
        Ok(())
    }

    /// Deletes entries.
    pub fn delete(&mut self, wanted: impl FnMut(&EntrySnapshot) -> bool) {
        self.shard.delete(wanted);
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: f64) -> Result<Value> {
        let step = Duration::try_from_secs_f64(seconds)?;
        self.now = self.now.after(step);
        while !self.shard.expire(self.now, u32::MAX) {}
        let mut outside = Outside::default();
        while !self.dispatcher.expire(self.now, &mut self.shard, &mut outside, u32::MAX) {}
        Ok(json!({ "out": outside.out, "ct": [], "why": [] }))
    }

    /// Sends a layer-3 packet in from one side, and says what came out and how it was classified.
    pub fn send(&mut self, side: &str, l3: &[u8]) -> Result<Value> {
        let port = SIDES.iter().position(|name| *name == side).context("no such side")?;
        let mut frames = [(PortId(port as u8), ethernet(l3))];
        let Arrived { whole_bytes, numbers } = Arrived::new(&frames[0]);
        let mut verdicts = [Verdict::dropped(DropReason::Policy)];
        let inserts = self.shard.counters().inserts;
        self.shard.process(self.now, &mut frames, &mut verdicts);
        let ([frame], [mut verdict]) = (frames, verdicts);
        let mut outside = Outside::default();
        self.dispatcher.apply(self.now, &mut self.shard, &mut outside, frame, &mut verdict);
        if self.shard.counters().inserts > inserts {
            self.born.extend(entries::find(self, verdict.entry));
        }
        if let (Some(entry), Some(direction), Some(numbers)) = (verdict.entry, verdict.direction, numbers) {
            self.segments.push((entry, direction, numbers));
        }
        let Outside { out, own, l3_bytes, .. } = outside;
        let l3_bytes = whole_bytes.unwrap_or(l3_bytes);
        let classified = verdict.state.map(|state| {
            let direction = verdict.direction.map(|direction| ["orig", "reply"][direction as usize]);
            json!({ "state": state.name(), "dir": direction, "len": l3_bytes })
        });
        let why = verdict.invalid.map(|reason| reason.label());
        let own = own.into_iter().filter(|_| self.routed);
        let classified: Vec<Value> = classified.into_iter().chain(own).collect();
        Ok(json!({ "out": out, "ct": classified, "why": Vec::from_iter(why) }))
    }

    /// The first sequence number of the segment that brought this byte.
    pub fn segment_with(&self, entry: EntryId, direction: Direction, seq: u32) -> Option<u32> {
        let mut own = self.segments.iter().filter(|(of, way, _)| (*of, *way) == (entry, direction));
        own.find_map(|(_, _, (start, bytes))| (seq.wrapping_sub(*start) < *bytes).then_some(*start))
    }
}

/// What a packet was when it came in.
struct Arrived {
    /// Its bytes, where it is no fragment.
    whole_bytes: Option<u32>,
    /// Those of a TCP segment.
    numbers: Option<Numbers>,
}

impl Arrived {
    fn new(packet: &Packet) -> Self {
        let headers = wire::parse(packet).ok().filter(|headers| headers.fragment == Fragment::Whole);
        let whole_bytes = headers.as_ref().map(|headers| headers.l3_len);
        let tcp = headers
            .filter(|headers| (headers.kind, headers.protocol) == (PacketKind::Tracked, protocol::TCP));
        let segment = tcp.as_ref().and_then(|headers| Segment::parse(&Parsed { headers, head: &packet.1 }));
        Self { whole_bytes, numbers: segment.map(|segment| (segment.seq, segment.payload_len)) }
    }
}

/// What has come out, and what that was before it was cut into fragments.
#[derive(Debug, Default)]
struct Outside {
    out: Vec<Value>,
    /// How tracking takes what the box itself has said.
    own: Vec<Value>,
    /// Bytes of the packet, or of the datagram as a whole.
    l3_bytes: u32,
    /// Whether IPv6's fragment header is left out of that.
    is_reassembled: bool,
}

impl Outside {
    /// Adds a packet, or one fragment more, to the length. A whole datagram has no fragment header.
    fn measure(&mut self, packet: &Packet) {
        let Ok(headers) = wire::parse(packet) else { return };
        let header_bytes = u32::from(headers.l4_offset - headers.l3_offset);
        self.l3_bytes += match headers.fragment {
            Fragment::Later => headers.l3_len - header_bytes,
            Fragment::First | Fragment::Whole => headers.l3_len,
        };
        if headers.fragment == Fragment::Later && headers.family() == Some(Family::V6) && !self.is_reassembled
        {
            self.l3_bytes -= FRAGMENT_HEADER_BYTES;
            self.is_reassembled = true;
        }
    }
}

impl Host for Outside {
    type Packet = Packet;

    fn finish(&mut self, _: Instant, shard: &mut Shard, packet: Packet, verdict: &Verdict) {
        self.measure(&packet);
        let mut answer = [0; MAX_ANSWER_BYTES];
        let shown = match verdict.action {
            Action::Forward(egress) => SIDES
                .get(usize::from(egress.0))
                .map(|side| json!({ "side": side, "l3": l3_hex(&packet.1), "local": false })),
            _ => {
                let side = SIDES.get(usize::from(packet.0.0));
                let length = shard.answer(&packet, verdict, &mut answer);
                self.own.extend(length.and_then(|length| own(verdict, &answer[..length])));
                length.map(|length| json!({ "side": side, "l3": l3_hex(&answer[..length]), "local": true }))
            }
        };
        self.out.extend(shown);
    }

    fn reply(&mut self, _: &mut Shard, packet: Packet) {
        self.measure(&packet);
        let side = SIDES.get(usize::from(packet.0.0));
        self.out.push(json!({ "side": side, "l3": l3_hex(&packet.1), "local": true }));
    }

    fn make(&mut self, ingress: PortId, frame: &[u8]) -> Option<Packet> {
        Some((ingress, frame.to_vec()))
    }
}

/// How tracking takes an answer of the box's, this frame, to a packet with a verdict: what the box says as a host belongs to the
/// packet's connection, and an error is related to that. Both go the other way.
fn own(verdict: &Verdict, frame: &[u8]) -> Option<Value> {
    let state = match verdict.action {
        Action::Deliver => State::Established,
        _ => State::Related,
    };
    let direction = ["reply", "orig"][verdict.direction? as usize];
    let l3_bytes = unpadded(frame.get(ETHERNET_BYTES..)?).len();
    Some(json!({ "hook": "out", "state": state.name(), "dir": direction, "len": l3_bytes }))
}

fn lower(file: &Config) -> Result<sluice_conntrack::Configuration> {
    sluice::config::lower(file).map_err(|problem| anyhow!("{problem:?}"))
}

/// A frame around a layer-3 packet.
fn ethernet(l3: &[u8]) -> Vec<u8> {
    let kind: u16 = if l3.first().is_some_and(|byte| byte >> 4 == 6) { 0x86dd } else { 0x0800 };
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(kind.to_be_bytes());
    frame.extend(l3);
    frame
}

/// The layer-3 packet in a frame.
fn l3_hex(frame: &[u8]) -> String {
    hex(unpadded(frame.get(ETHERNET_BYTES..).unwrap_or_default()))
}

/// A packet without what a link may put behind it.
fn unpadded(l3: &[u8]) -> &[u8] {
    let length = match l3 {
        [first, _, high, low, ..] if first >> 4 == 4 => usize::from(u16::from_be_bytes([*high, *low])),
        [first, _, _, _, high, low, ..] if first >> 4 == 6 => {
            40 + usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => l3.len(),
    };
    &l3[..length.min(l3.len())]
}
