//! Drives a shard without devices: writes bursts of frames as a NIC would, and times what the shard makes of
//! them.

use std::time::Duration;

use anyhow::ensure;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::policy::{Match, Outcome, Policy, Rule, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::{Action, DropReason, State, Verdict};
use sluice_conntrack::{Capacity, Configuration, Forwarding, Frame, Instant, PortId, Shard};
use sluice_engine::EXPIRY_BUDGET;
use sluice_memory::Pages;

use crate::connection::{self, Connection, Step};

/// Packets that a worker takes from a queue at once.
pub const BURST: usize = 32;

/// Buffers that frames go round in. With 64 bytes each they stay in a second-level cache, where a NIC that
/// writes into the cache (DDIO) would put them.
pub const BUFFERS: usize = 4096;

/// How much later the next burst comes.
const BETWEEN_BURSTS: Duration = Duration::from_micros(3);

const INSIDE: PortId = PortId(0);
const OUTSIDE: PortId = PortId(1);

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
struct Buffer {
    bytes: connection::Frame,
    port: PortId,
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

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }
}

/// A shard and the frames it is driven with.
pub struct Driver {
    shard: Shard,
    now: Instant,
    seed: u64,
    udp_percent: u8,
    buffers: Vec<Buffer>,
    verdicts: [Verdict; BURST],
}

impl Driver {
    /// An empty shard for `capacity` entries.
    pub fn new(capacity: u32, seed: u64, udp_percent: u8) -> anyhow::Result<Self> {
        let now = Instant::from_ns(1_000_000_000);
        let configuration = configuration(capacity);
        let capacity = Capacity { entries: capacity, seed: [seed, 2, 3, 4], pages: Pages::Huge2M };
        Ok(Self {
            shard: Shard::new(capacity, configuration, now)?,
            now,
            seed,
            udp_percent,
            buffers: Vec::with_capacity(BUFFERS),
            verdicts: [Verdict::dropped(DropReason::Truncated); BURST],
        })
    }

    /// The shard.
    pub const fn shard(&self) -> &Shard {
        &self.shard
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

    /// Lets time pass in which no packet comes.
    pub fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// Opens the connections 0 to `count` by three packets each, and waits until Linux takes those of UDP for
    /// streams.
    pub fn open(&mut self, count: u32) -> anyhow::Result<()> {
        let steps = [Step::Open, Step::Answer, Step::Original];
        for step in steps {
            self.drive((0..count).map(|number| (number, step)))?;
        }
        self.wait(Duration::from_secs(3));
        self.drive((0..count).map(|number| (number, Step::Reply)))?;
        ensure!(self.shard.len() == count, "{} connections are open, not {count}", self.shard.len());
        Ok(())
    }

    /// Sends `packets` through the shard, and gives the time that passed between parsing and verdict, all
    /// together. All of them must be forwarded.
    pub fn drive(&mut self, packets: impl IntoIterator<Item = Planned>) -> anyhow::Result<Duration> {
        let mut packets = packets.into_iter();
        let mut time = Duration::ZERO;
        while self.write(&mut packets) {
            let begin = std::time::Instant::now();
            let refused = self.process();
            time += begin.elapsed();
            ensure!(refused == 0, "{refused} packets were refused");
        }
        Ok(time)
    }

    /// Fills the buffers with the next of `packets`; false when there are none.
    pub fn write(&mut self, packets: &mut impl Iterator<Item = Planned>) -> bool {
        self.buffers.clear();
        self.buffers.extend(packets.take(BUFFERS).map(|(number, step)| Buffer {
            bytes: Connection::new(self.seed, number, self.udp_percent).frame(step),
            port: if step.from_inside() { INSIDE } else { OUTSIDE },
        }));
        !self.buffers.is_empty()
    }

    /// Takes what is in the buffers through the shard, burst by burst, as a worker does; gives the number of
    /// packets that were not forwarded.
    pub fn process(&mut self) -> usize {
        let mut forwarded = 0;
        for burst in self.buffers.chunks_mut(BURST) {
            self.now = self.now.after(BETWEEN_BURSTS);
            self.shard.expire(self.now, EXPIRY_BUDGET);
            let verdicts = &mut self.verdicts[..burst.len()];
            self.shard.process(self.now, burst, verdicts);
            forwarded += verdicts.iter().filter(|it| matches!(it.action, Action::Forward(_))).count();
        }
        self.buffers.len() - forwarded
    }
}

/// What a box is told that behaves like Linux and lets connections out: checksums verified, windows tracked,
/// packets and bytes counted, at most `limit` entries.
pub(crate) fn configuration(limit: u32) -> Box<Configuration> {
    let settings = Settings::of(Preset::Linux, limit);
    Box::new(Configuration::new(settings, policy(), Forwarding::wire()))
}

/// Connections are opened from inside, and nothing else passes.
fn policy() -> Policy {
    let rule = |matches, action| Rule { name: None, matches, action };
    let states = |states: &[State]| Some(states.iter().copied().collect());
    let outgoing = Match { ingress: vec![INSIDE], states: states(&[State::New]), ..Match::default() };
    Policy {
        rules: vec![
            rule(
                Match { states: states(&[State::Established, State::Related]), ..Match::default() },
                RuleAction::Accept,
            ),
            rule(Match { states: states(&[State::Invalid]), ..Match::default() }, RuleAction::Drop),
            rule(outgoing, RuleAction::Accept),
        ],
        default: Outcome::Drop,
        ..Policy::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_open_connections_are_established_in_any_order() {
        let mut driver = Driver::new(1000, 1, 25).unwrap();
        driver.open(1000).unwrap();
        let established = |driver: &Driver| driver.shard.counters().packets[State::Established as usize];
        let before = established(&driver);
        let backwards = (0..1000).rev().flat_map(|number| [(number, Step::Reply), (number, Step::Original)]);
        driver.drive(backwards).unwrap();
        assert_eq!(established(&driver) - before, 2000);
    }

    #[test]
    fn refused_packets_are_an_error() {
        let mut driver = Driver::new(10, 1, 25).unwrap();
        assert!(driver.drive([(3, Step::Reply)]).is_err());
    }
}
