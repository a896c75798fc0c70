//! Drives a shard without devices: writes bursts of frames as a NIC would, and times what the shard makes of
//! them.

use std::time::Duration;

use anyhow::{Context, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sluice_conntrack::helpers::Helpers;
use sluice_conntrack::ids::ShardId;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::steer::Steering;
use sluice_conntrack::verdict::{Action, DropReason, Verdict};
use sluice_conntrack::{Capacity, Forwarding, Frame, Installation, Instant, PortId, Shard, Tuple};
use sluice_engine::EXPIRY_BUDGET;
use sluice_memory::Pages;

use crate::configuration::{Helped, INSIDE, OUTSIDE, Topology, configuration};
use crate::connection::{self, Connection, Endpoint, Protocol, Step};

/// Packets that a worker takes from a queue at once.
pub const BURST: usize = 32;

/// Buffers that frames go round in. With 64 bytes each they stay in a second-level cache, where a NIC that
/// writes into the cache (DDIO) would put them.
pub const BUFFERS: usize = 4096;

/// Rounds of a worker in which an entry ends, if the time of any is over: a step of the wheel may be over empty slots alone.
const ROUNDS: usize = 4096;

/// How much later the next burst comes.
pub(crate) const BETWEEN_BURSTS: Duration = Duration::from_micros(3);

/// The packet of a connection, by the connection's number, that is to come.
pub type Planned = (u32, Step);

/// Packets of established connections 0 to `connections`, without end: each time any of them, in any direction.
pub fn random_packets(seed: u64, connections: u32) -> impl Iterator<Item = Planned> {
    let mut order = ChaCha8Rng::seed_from_u64(seed);
    std::iter::repeat_with(move || {
        let step = if order.random() { Step::Original } else { Step::Reply };
        (order.random_range(0..connections), step)
    })
}

/// A frame in a cache line of its own.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Buffer {
    pub(crate) bytes: connection::Frame,
    pub(crate) port: PortId,
}

impl Frame for Buffer {
    fn port(&self) -> PortId {
        self.port
    }

    fn head(&self) -> &[u8] {
        &self.bytes
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// What is driven.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Connections that there are packets of.
    pub connections: u32,
    /// Entries that the shard has room for: as many, if no other number is said.
    pub room: Option<u32>,
    /// Decides tuples and the key of the index.
    pub seed: u64,
    /// How many connections in a hundred are UDP.
    pub udp_percent: u8,
    /// Whether their sources are translated, to as few addresses as the ports allow.
    pub snat: bool,
    /// Which shard of its box is driven, and how many that has.
    pub shard: (ShardId, u16),
    /// How it tracks.
    pub preset: Preset,
    /// Which connections helpers read.
    pub helpers: Helped,
    /// How packets pass.
    pub topology: Topology,
}

impl Setup {
    /// Connections of the only shard of a box without NAT.
    pub const fn new(connections: u32, seed: u64, udp_percent: u8) -> Self {
        let (shard, preset, helpers) = ((ShardId(0), 1), Preset::Linux, Helped::Nobody);
        let (snat, topology, room) = (false, Topology::Wire, None);
        Self { connections, room, seed, udp_percent, snat, shard, preset, helpers, topology }
    }

    /// The same with the sources of connections translated.
    #[must_use]
    pub const fn with_snat(self) -> Self {
        Self { snat: true, ..self }
    }

    /// The same with room for so many entries.
    #[must_use]
    pub const fn with_room(self, entries: u32) -> Self {
        Self { room: Some(entries), ..self }
    }

    /// The same with another preset.
    #[must_use]
    pub const fn with_preset(self, preset: Preset) -> Self {
        Self { preset, ..self }
    }

    /// The same with helpers.
    #[must_use]
    pub const fn with_helpers(self, helpers: Helped) -> Self {
        Self { helpers, ..self }
    }

    /// The same whose packets pass otherwise.
    #[must_use]
    pub const fn with_topology(self, topology: Topology) -> Self {
        Self { topology, ..self }
    }

    /// The same for one shard of so many.
    #[must_use]
    pub const fn with_steering(self, own: ShardId, shards: u16) -> Self {
        Self { shard: (own, shards), ..self }
    }

    /// Addresses that sources are translated to.
    fn addresses(self) -> u32 {
        if self.snat { self.connections.div_ceil(1 << 16).max(1) } else { 0 }
    }
}

/// A connection of the shard.
#[derive(Clone, Copy)]
struct Peers {
    connection: Connection,
    /// The client as the server sees it.
    outside: Endpoint,
}

impl Peers {
    fn frame(&self, step: Step) -> connection::Frame {
        let Self { connection, outside } = self;
        if step.from_inside() {
            connection.frame(step)
        } else {
            connection.from_outside(*outside).frame(step)
        }
    }
}

/// A shard and the frames it is driven with.
pub struct Driver {
    shard: Shard,
    now: Instant,
    peers: Vec<Peers>,
    planned: Vec<Planned>,
    buffers: Vec<Buffer>,
    verdicts: [Verdict; BURST],
    handoffs: u64,
}

impl Driver {
    /// An empty shard.
    pub fn new(setup: Setup) -> anyhow::Result<Self> {
        Self::between(setup, setup.topology.forwarding(), |_, connection| connection)
    }

    /// One whose packets are forwarded so, and whose connections, by their numbers, are made others.
    pub fn between(
        setup: Setup,
        forwarding: Forwarding,
        place: impl Fn(u32, Connection) -> Connection + Sync,
    ) -> anyhow::Result<Self> {
        let now = Instant::from_ns(1_000_000_000);
        let (own, shards) = setup.shard;
        let entries = setup.room.unwrap_or(setup.connections);
        let limit = entries * u32::from(shards);
        let mut configuration = configuration(limit, setup.addresses());
        configuration.settings = Settings::of(setup.preset, limit);
        configuration.helpers = Helpers::new(setup.helpers.assignments());
        configuration.forwarding = forwarding;
        let capacity = Capacity { entries, seed: [setup.seed, 2, 3, 4], pages: Pages::Huge2M };
        let steering = Steering::new(own, shards).context("no such shard")?;
        let peers = peers(setup, &steering, place);
        Ok(Self {
            shard: Shard::new(capacity, configuration, now)?.with_steering(steering)?,
            now,
            peers,
            planned: Vec::with_capacity(BUFFERS),
            buffers: Vec::with_capacity(BUFFERS),
            verdicts: [Verdict::dropped(DropReason::Truncated); BURST],
            handoffs: 0,
        })
    }

    /// The shard.
    pub const fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The original tuples of the connections, as packets of theirs come in.
    pub fn originals(&self) -> Vec<Tuple> {
        self.peers.iter().map(|peers| tuple(&peers.connection)).collect()
    }

    /// Packets that went to another shard so far.
    pub const fn handoffs(&self) -> u64 {
        self.handoffs
    }

    /// The time that the last burst came at.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// One round's share of expiry at `now`, as a worker does it.
    pub fn expire(&mut self, now: Instant) {
        self.now = now;
        self.shard.expire(now, EXPIRY_BUDGET);
    }

    /// Ends all whose time is over, in shares of a worker's rounds; gives the time that took.
    pub fn expire_all(&mut self) -> Duration {
        let begin = std::time::Instant::now();
        let mut before = u32::MAX;
        while self.shard.len() < before {
            before = self.shard.len();
            for _ in 0..ROUNDS {
                self.shard.expire(self.now, EXPIRY_BUDGET);
            }
        }
        begin.elapsed()
    }

    /// Puts other routes in force, and leaves the old ones in their place.
    pub fn reroute(&mut self, next: &mut Installation) {
        self.shard.reroute(next);
    }

    /// Lets time pass in which no packet comes.
    pub fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// Opens all connections by three packets each, and waits until Linux takes those of UDP for streams.
    pub fn open(&mut self) -> anyhow::Result<()> {
        self.open_first(self.peers.len() as u32)
    }

    /// The same with so many of them, the first ones.
    pub fn open_first(&mut self, count: u32) -> anyhow::Result<()> {
        for step in [Step::Open, Step::Answer, Step::Original] {
            self.drive((0..count).map(|number| (number, step)))?;
        }
        self.wait(Duration::from_secs(3));
        self.drive((0..count).map(|number| (number, Step::Reply)))?;
        ensure!(self.shard.len() == count, "{} connections are open, not {count}", self.shard.len());
        Ok(())
    }

    /// Sends `packets` through the shard, and gives the time that passed between parsing and verdict, all
    /// together. All of them must be forwarded, or handed to another shard.
    pub fn drive(&mut self, packets: impl IntoIterator<Item = Planned>) -> anyhow::Result<Duration> {
        let mut packets = packets.into_iter();
        let mut time = Duration::ZERO;
        while self.write(&mut packets) {
            let begin = std::time::Instant::now();
            let refused = self.process();
            time += begin.elapsed();
            ensure!(refused == 0, "{refused} packets were refused");
            self.learn();
        }
        Ok(time)
    }

    /// Fills the buffers with the next of `packets`; false when there are none.
    pub fn write(&mut self, packets: &mut impl Iterator<Item = Planned>) -> bool {
        self.planned.clear();
        self.planned.extend(packets.take(BUFFERS));
        self.buffers.clear();
        self.buffers.extend(self.planned.iter().map(|&(number, step)| Buffer {
            bytes: self.peers[number as usize].frame(step),
            port: if step.from_inside() { INSIDE } else { OUTSIDE },
        }));
        !self.buffers.is_empty()
    }

    /// Fills the buffers with lines of control connections that announce nothing, of all clients in turn.
    pub fn write_lines(&mut self) {
        let count = self.peers.len();
        let line = |index: usize| self.peers[index % count].connection.line((index / count) as u32);
        self.buffers = (0..BUFFERS).map(|index| Buffer { bytes: line(index), port: INSIDE }).collect();
    }

    /// Takes what is in the buffers through the shard, burst by burst, as a worker does; gives the number of
    /// packets that were neither forwarded nor handed off.
    pub fn process(&mut self) -> usize {
        let mut refused = 0;
        for burst in self.buffers.chunks_mut(BURST) {
            self.now = self.now.after(BETWEEN_BURSTS);
            self.shard.expire(self.now, EXPIRY_BUDGET);
            let verdicts = &mut self.verdicts[..burst.len()];
            self.shard.process(self.now, burst, verdicts);
            for verdict in verdicts {
                match verdict.action {
                    Action::Forward(_) => {}
                    Action::Handoff(..) => self.handoffs += 1,
                    _ => refused += 1,
                }
            }
        }
        refused
    }

    /// Reads in the buffers how the clients of opened connections look from outside: servers answer what they see.
    fn learn(&mut self) {
        for (&(number, step), buffer) in self.planned.iter().zip(&self.buffers) {
            if step == Step::Open {
                self.peers[number as usize].outside = connection::source(&buffer.bytes);
            }
        }
    }
}

/// The tuple of a client's packets.
fn tuple(Connection { protocol, client, server, .. }: &Connection) -> Tuple {
    let number = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    Tuple::new(client.address.into(), server.address.into(), number, client.port, server.port)
}

/// Bytes of an empty shard with room for so many connections, translated if there is NAT, and the time to make it.
pub fn empty_shard(entries: u32, snat: bool) -> anyhow::Result<(usize, Duration)> {
    let setup = Setup { snat, ..Setup::new(entries, 1, 0) };
    let configuration = configuration(entries, setup.addresses());
    let capacity = Capacity { entries, seed: [1, 2, 3, 4], pages: Pages::Huge2M };
    let begin = std::time::Instant::now();
    let shard = Shard::new(capacity, configuration, Instant::from_ns(0))?;
    Ok((shard.memory_bytes(), begin.elapsed()))
}

/// The first connections of a seed, made others, whose packets come to this shard.
fn peers(
    setup: Setup,
    steering: &Steering,
    place: impl Fn(u32, Connection) -> Connection + Sync,
) -> Vec<Peers> {
    let is_own = |connection: &Connection| steering.owner(&tuple(connection)) == steering.own();
    let mut peers = Vec::with_capacity(setup.connections as usize);
    let mut next = 0;
    while peers.len() < setup.connections as usize {
        let missing = setup.connections - peers.len() as u32;
        peers.par_extend(
            (next..next + missing)
                .into_par_iter()
                .map(|index| place(index, Connection::new(setup.seed, index, setup.udp_percent)))
                .filter(is_own)
                .map(|connection| Peers { connection, outside: connection.client }),
        );
        next += missing;
    }
    peers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::OUTSIDE_ADDRESS;
    use sluice_conntrack::State;

    const SETUP: Setup = Setup::new(1000, 1, 25);

    #[test]
    fn packets_of_open_connections_are_established_in_any_order() {
        for setup in [SETUP, SETUP.with_snat(), SETUP.with_snat().with_steering(ShardId(2), 4)] {
            let mut driver = Driver::new(setup).unwrap();
            driver.open().unwrap();
            let established = |driver: &Driver| driver.shard.counters().packets[State::Established as usize];
            let before = established(&driver);
            let backwards =
                (0..1000).rev().flat_map(|number| [(number, Step::Reply), (number, Step::Original)]);
            driver.drive(backwards).unwrap();
            assert_eq!(established(&driver) - before, 2000);
            assert_eq!(driver.handoffs(), 0);
        }
    }

    #[test]
    fn lines_are_read_where_a_helper_is_and_announce_nothing() {
        for (helpers, read) in [(Helped::Nobody, 0), (Helped::Others, 0), (Helped::All, 64)] {
            let mut driver =
                Driver::new(Setup::new(64, 1, 0).with_preset(Preset::Classic).with_helpers(helpers)).unwrap();
            driver.open().unwrap();
            driver.write_lines();
            assert_eq!(driver.process(), 0);
            let counters = driver.shard.counters();
            assert_eq!(counters.helper_connections.iter().sum::<u64>(), read);
            assert!(counters.helper_events.iter().flatten().all(|count| *count == 0));
            assert_eq!(counters.packets[State::Invalid as usize], 0);
        }
    }

    #[test]
    fn servers_see_translated_clients() {
        let mut driver = Driver::new(SETUP.with_snat()).unwrap();
        driver.open().unwrap();
        assert!(driver.peers.iter().all(|peers| peers.outside.address == OUTSIDE_ADDRESS));
    }

    #[test]
    fn refused_packets_are_an_error() {
        let mut driver = Driver::new(Setup::new(10, 1, 25)).unwrap();
        assert!(driver.drive([(3, Step::Reply)]).is_err());
    }
}
