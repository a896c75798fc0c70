//! Fragments through a shard and its dispatcher, as in a worker but without devices: datagrams in two fragments or in many tiny
//! ones, and floods of fragments that no datagram is made of.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use anyhow::ensure;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::dispatch::{Dispatcher, Host};
use sluice_conntrack::settings::{FRAGMENT_BUFFER_BYTES, FragmentLimits};
use sluice_conntrack::verdict::{Action, DropReason, Verdict};
use sluice_conntrack::{Capacity, Frame, Instant, PortId, Shard};
use sluice_engine::EXPIRY_BUDGET;
use sluice_memory::Pages;

use crate::configuration::{INSIDE, OUTSIDE, configuration};
use crate::connection::{self, Connection, ETHERNET_BYTES, IPV4_BYTES, Step, write_ipv4_checksum};
use crate::driver::{BETWEEN_BURSTS, BUFFERS, BURST, Buffer};

/// The fragments of a datagram that are as small as they can be, and as many as one may have.
pub const TINY: usize = 128;

/// Bytes that the offsets of fragments are counted in.
const UNIT: usize = 8;

/// Where a datagram is cut in two: behind the header of UDP and the first bytes of its payload.
const HALF: usize = 2 * UNIT;

/// A frame at a port.
pub type Arrival = (PortId, connection::Frame);

/// Which fragments of their datagrams a flood has, the others of which never come.
#[derive(Clone, Copy, Debug)]
pub enum Flood {
    /// Those that begin a datagram.
    First,
    /// Some from within.
    Middle,
    /// Those that end it.
    Last,
}

impl Flood {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::First, Self::Middle, Self::Last];
}

/// In which order the tiny fragments of a datagram come: each belongs far from where it is looked for first.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Every other one, then the rest, one of each half in turn.
    EveryOther,
    /// From both ends in turn.
    BothEnds,
    /// In any order.
    Random,
}

impl Order {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::EveryOther, Self::BothEnds, Self::Random];

    /// The fragments by their numbers.
    fn units(self, random: &mut ChaCha8Rng) -> Vec<usize> {
        match self {
            Self::EveryOther => {
                let of_both_halves = (0..TINY / 2).step_by(2).flat_map(|unit| [unit, unit + TINY / 2]);
                (1..TINY).step_by(2).chain(of_both_halves).collect()
            }
            Self::BothEnds => (0..TINY / 2).flat_map(|unit| [unit, TINY - 1 - unit]).collect(),
            Self::Random => {
                let mut units: Vec<usize> = (0..TINY).collect();
                units.shuffle(random);
                units
            }
        }
    }
}

/// A frame that is moved as an mbuf is, by its address.
#[derive(Clone)]
struct Packet(Box<Buffer>);

impl Frame for Packet {
    fn port(&self) -> PortId {
        self.0.port
    }

    fn head(&self) -> &[u8] {
        &self.0.bytes
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.0.bytes
    }
}

/// Where packets go: their buffers are free again.
#[derive(Default)]
struct Sink {
    free: Vec<Packet>,
    forwarded: usize,
}

impl Host for Sink {
    type Packet = Packet;

    fn finish(&mut self, _: Instant, _: &mut Shard, packet: Packet, verdict: &Verdict) {
        self.forwarded += usize::from(matches!(verdict.action, Action::Forward(_)));
        self.free.push(packet);
    }

    fn reply(&mut self, _: &mut Shard, packet: Packet) {
        self.free.push(packet);
    }

    fn make(&mut self, _: PortId, _: &[u8]) -> Option<Packet> {
        None
    }
}

/// The only shard of a box with open UDP connections, and packets that have come for it.
pub struct Reassembly {
    shard: Shard,
    dispatcher: Dispatcher<Packet>,
    sink: Sink,
    now: Instant,
    came: Vec<Packet>,
    burst: Vec<Packet>,
    traffic: Traffic,
}

/// What comes.
pub struct Traffic {
    connections: Vec<Connection>,
    random: ChaCha8Rng,
    /// That of the next datagram.
    identification: u16,
}

impl Reassembly {
    /// One with so many connections.
    pub fn new(connections: u32, seed: u64) -> anyhow::Result<Self> {
        let now = Instant::from_ns(1_000_000_000);
        let capacity = Capacity { entries: connections, seed: [seed, 2, 3, 4], pages: Pages::Huge2M };
        let shard = Shard::new(capacity, configuration(connections, 0), now)?;
        let traffic = Traffic {
            connections: (0..connections).map(|number| Connection::new(seed, number, 100)).collect(),
            random: ChaCha8Rng::seed_from_u64(seed),
            identification: 0,
        };
        let mut it = Self {
            dispatcher: Dispatcher::new(&shard),
            shard,
            sink: Sink::default(),
            now,
            came: Vec::with_capacity(BUFFERS),
            burst: Vec::with_capacity(BURST),
            traffic,
        };
        // Behind the first two packets each direction has one whose verdict its connection remembers.
        for step in [Step::Open, Step::Answer, Step::Original, Step::Reply] {
            let frame = |connection: &Connection| (port(step), connection.frame(step));
            for frames in it.traffic.connections.iter().map(frame).collect::<Vec<_>>().chunks(BUFFERS) {
                it.write(frames);
                it.process();
            }
        }
        ensure!(it.shard.len() == connections, "{} connections are open", it.shard.len());
        Ok(it)
    }

    /// Makes up what comes next.
    pub const fn traffic(&mut self) -> &mut Traffic {
        &mut self.traffic
    }

    /// Frames come, which [`Reassembly::process`] takes.
    pub fn write(&mut self, arrivals: &[Arrival]) {
        for (port, bytes) in arrivals {
            let buffer = Buffer { bytes: *bytes, port: *port };
            let packet = match self.sink.free.pop() {
                Some(mut packet) => {
                    *packet.0 = buffer;
                    packet
                }
                None => Packet(Box::new(buffer)),
            };
            self.came.push(packet);
        }
        // Packets that leave meanwhile find room without an allocation.
        self.sink.free.reserve(self.came.len() + self.dispatcher.held());
    }

    /// Takes what has come through shard and dispatcher, burst by burst, as a worker does; gives the number of packets that were
    /// forwarded.
    pub fn process(&mut self) -> usize {
        let before = self.sink.forwarded;
        let mut came = std::mem::take(&mut self.came);
        let mut packets = came.drain(..);
        loop {
            self.burst.extend(packets.by_ref().take(BURST));
            if self.burst.is_empty() {
                break;
            }
            self.now = self.now.after(BETWEEN_BURSTS);
            self.shard.expire(self.now, EXPIRY_BUDGET);
            self.dispatcher.expire(self.now, &mut self.shard, &mut self.sink, EXPIRY_BUDGET);
            let mut verdicts = [Verdict::dropped(DropReason::Truncated); BURST];
            let verdicts = &mut verdicts[..self.burst.len()];
            self.shard.process(self.now, &mut self.burst, verdicts);
            let packets = self.burst.drain(..).zip(verdicts);
            self.dispatcher.apply_burst(self.now, &mut self.shard, &mut self.sink, packets);
        }
        drop(packets);
        self.came = came;
        self.sink.forwarded - before
    }

    /// The same, and how long it took.
    pub fn time(&mut self, arrivals: &[Arrival]) -> (Duration, usize) {
        self.write(arrivals);
        let begin = std::time::Instant::now();
        let forwarded = self.process();
        (begin.elapsed(), forwarded)
    }

    /// Memory of the fragments that are held, as a part of what they may take.
    pub fn memory_fraction(&self) -> f64 {
        let held_bytes = self.dispatcher.held() as u64 * u64::from(FRAGMENT_BUFFER_BYTES);
        held_bytes as f64 / f64::from(FragmentLimits::default().memory_bytes)
    }
}

impl Traffic {
    /// So many packets, each of any connection and in any direction.
    pub fn whole(&mut self, packets: usize) -> Vec<Arrival> {
        let packet = |(connection, step): (Connection, Step)| (port(step), connection.frame(step));
        (0..packets).map(|_| packet(self.draw())).collect()
    }

    /// The same datagrams as so many fragments, two of each.
    pub fn in_two(&mut self, fragments: usize) -> Vec<Arrival> {
        let mut arrivals = Vec::with_capacity(fragments);
        while arrivals.len() < fragments {
            let (connection, step) = self.draw();
            let frame = connection.frame(step);
            let end = frame.len() - ETHERNET_BYTES - IPV4_BYTES;
            let identification = self.identify();
            arrivals.extend(
                [(0..HALF, false), (HALF..end, true)]
                    .map(|(bytes, is_last)| (port(step), cut(&frame, identification, bytes, is_last))),
            );
        }
        arrivals
    }

    /// So many datagrams in tiny fragments.
    pub fn tiny(&mut self, order: Order, datagrams: usize) -> Vec<Arrival> {
        let mut arrivals = Vec::with_capacity(datagrams * TINY);
        for _ in 0..datagrams {
            let (connection, step) = self.draw();
            let mut frame = vec![0; ETHERNET_BYTES + IPV4_BYTES + TINY * UNIT];
            connection.write(step, &mut frame);
            let identification = self.identify();
            let units = order.units(&mut self.random);
            arrivals.extend(units.into_iter().map(|unit| {
                let bytes = unit * UNIT..(unit + 1) * UNIT;
                (port(step), cut(&frame, identification, bytes, unit + 1 == TINY))
            }));
        }
        arrivals
    }

    /// So many fragments from random sources outside, each of a datagram of its own.
    pub fn flood(&mut self, flood: Flood, fragments: usize) -> Vec<Arrival> {
        let mut arrivals = Vec::with_capacity(fragments);
        for _ in 0..fragments {
            let (connection, _) = self.draw();
            let mut spoofed = connection;
            spoofed.server.address = Ipv4Addr::from_bits(self.random.random_range(0x0100_0000..0xe000_0000));
            let frame = spoofed.frame(Step::Reply);
            let (bytes, is_last) = match flood {
                Flood::First => (0..HALF, false),
                Flood::Middle => (UNIT..HALF, false),
                Flood::Last => (UNIT..HALF, true),
            };
            arrivals.push((OUTSIDE, cut(&frame, self.random.random(), bytes, is_last)));
        }
        arrivals
    }

    /// Packets with others among them, at random positions.
    pub fn mix(&mut self, packets: Vec<Arrival>, among: Vec<Arrival>) -> Vec<Arrival> {
        let mut mixed = packets;
        for arrival in among {
            let index = self.random.random_range(0..=mixed.len());
            mixed.insert(index, arrival);
        }
        mixed
    }

    fn draw(&mut self) -> (Connection, Step) {
        let step = if self.random.random() { Step::Original } else { Step::Reply };
        (self.connections[self.random.random_range(0..self.connections.len())], step)
    }

    fn identify(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
    }
}

/// The port that a step comes in by.
fn port(step: Step) -> PortId {
    if step.from_inside() { INSIDE } else { OUTSIDE }
}

/// The fragment of these bytes of a datagram.
fn cut(datagram: &[u8], identification: u16, bytes: Range<usize>, is_last: bool) -> connection::Frame {
    const L4: usize = ETHERNET_BYTES + IPV4_BYTES;
    const MORE_FRAGMENTS: u16 = 1 << 13;
    let mut frame = [0; connection::FRAME_BYTES];
    frame[..L4].copy_from_slice(&datagram[..L4]);
    frame[L4..L4 + bytes.len()].copy_from_slice(&datagram[L4..][bytes.clone()]);
    let ip = &mut frame[ETHERNET_BYTES..L4];
    let field = (bytes.start / UNIT) as u16 | if is_last { 0 } else { MORE_FRAGMENTS };
    ip[2..4].copy_from_slice(&((IPV4_BYTES + bytes.len()) as u16).to_be_bytes());
    ip[4..6].copy_from_slice(&identification.to_be_bytes());
    ip[6..8].copy_from_slice(&field.to_be_bytes());
    write_ipv4_checksum(ip);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_pass_and_floods_do_not() {
        let mut it = Reassembly::new(100, 1).unwrap();
        let whole = it.traffic().whole(1000);
        assert_eq!(it.time(&whole).1, 1000);
        let in_two = it.traffic().in_two(1000);
        assert_eq!(it.time(&in_two).1, 1000);
        for order in Order::ALL {
            let tiny = it.traffic().tiny(order, 10);
            assert_eq!(it.time(&tiny).1, 10 * TINY);
        }
        for flood in Flood::ALL {
            let flood = it.traffic().flood(flood, 10_000);
            assert_eq!(it.time(&flood).1, 0);
        }
        assert_eq!(it.memory_fraction(), 1.0);
        assert_eq!(it.shard.len(), 100);
    }
}
