//! Whatever comes in has one end: what leaves, is dropped, is delivered and is held adds up to what came, for boxes of one, two
//! and four workers. The box's own answers leave besides.

use crate::cluster::Cluster;
use crate::common::frame::{Segment, TCP, UDP, init};
use crate::common::*;
use crate::{nat, pool};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sluice_conntrack::counters::Counters;
use sluice_conntrack::helpers::{Assignment, HelperId, Helpers};
use sluice_conntrack::ids::StackId;
use sluice_conntrack::nat::{Nat, NatRule, PortChoice};
use sluice_conntrack::policy::{Match, Policy, Prefix, RuleAction};
use sluice_conntrack::settings::Settings;
use sluice_conntrack::{Configuration, DropReason, Forwarding, PortId, State, wire};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Boxes that are tried, of each number of workers.
const SEEDS: u64 = 12;

/// Packets, or datagrams in fragments, that come to each.
const ROUNDS: usize = 1500;

/// Steps in which everything that can move has moved.
const MANY_STEPS: usize = 3000;

/// Entries of a shard: fewer than there are connections.
const ROOM: u32 = 20;

/// The network of the clients that share few ports.
const FEW_PORTS: [u8; 4] = [10, 7, 0, 0];

/// The port whose connections are dropped, and that whose are rejected.
const DROPPED: u16 = 25;
const REJECTED: u16 = 113;

/// What must have happened in some box, or the sum says little.
const REASONS: [DropReason; 9] = [
    DropReason::Policy,
    DropReason::Reject,
    DropReason::NatExhausted,
    DropReason::TableFull,
    DropReason::FragmentOverlap,
    DropReason::FragmentTimeout,
    DropReason::Truncated,
    DropReason::TtlExceeded,
    DropReason::HandoffFull,
];

/// The services are dropped, rejected and accepted; what is INVALID is dropped.
fn policy() -> Policy {
    let service = |port| Match { destination_ports: vec![port..=port], ..Match::default() };
    rules([
        (service(DROPPED), RuleAction::Drop),
        (service(REJECTED), RuleAction::Reject),
        (states([State::New, State::Established, State::Related]), RuleAction::Accept),
    ])
}

/// A router with NAT, a helper and, in every other box, a network stack of its own.
fn configuration(seed: u64, shards: u16) -> Configuration {
    let hosts = if seed.is_multiple_of(2) { [None; 2] } else { [Some(StackId(0)); 2] };
    let mut settings = Settings::of(PRESETS[(seed / 2 % 2) as usize], ROOM * u32::from(shards));
    settings.reject_when_full = seed.is_multiple_of(3);
    let from_few =
        Match { source: vec![Prefix::new(FEW_PORTS.into(), 16)], egress: vec![OUTSIDE], ..Match::default() };
    let Nat { mut source, destination } = nat();
    let few = pool([203, 0, 113, 90], [203, 0, 113, 90], PortChoice::Among(6000..=6003));
    source.insert(0, NatRule::new(from_few, few));
    let forwarding = Forwarding::Routed(Box::new(router_with_hosts(hosts)));
    let mut configuration = Configuration::new(settings, policy(), forwarding);
    configuration = configuration.with_nat(Nat { source, destination });
    let ftp = Match { destination_ports: vec![21..=21], ..Match::default() };
    let helpers = vec![Assignment { helper: HelperId::Ftp, on: ftp, loose: false }];
    configuration.helpers = Helpers::new(helpers);
    configuration
}

/// A box, and how many packets have come in.
struct World {
    cluster: Cluster,
    random: ChaCha8Rng,
    came: u64,
    identification: u16,
}

impl World {
    fn new(shards: u16, seed: u64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        let mut cluster = Cluster::of(shards, ROOM, &configuration(seed, shards), random.clone());
        cluster.outside.congestion = 0.1;
        Self { cluster, random, came: 0, identification: 0 }
    }

    fn receive(&mut self, port: PortId, frames: Vec<Vec<u8>>) {
        self.came += frames.len() as u64;
        frames.into_iter().for_each(|frame| self.cluster.receive(port, frame));
    }

    /// Somebody inside and somebody outside.
    fn pair(&mut self) -> Pair {
        let random = &mut self.random;
        let network = *[FEW_PORTS[1], 1, 129].choose(random).unwrap();
        let client = Ipv4Addr::from([10, network, 0, random.random_range(2..6)]);
        let server = Ipv4Addr::from([198, 51, 100, random.random_range(1..3)]);
        let service = *[21, 53, 80, DROPPED, REJECTED].choose(random).unwrap();
        Pair::of(client.into(), random.random_range(4000..4002), server.into(), service)
    }

    /// A packet of any kind, by the port that it comes in by.
    fn any_packet(&mut self) -> (PortId, Packet) {
        let pair = self.pair();
        let own = Pair { source: "203.0.113.1:40000".parse().unwrap(), ..pair };
        let public = Pair { source: pair.destination, destination: "203.0.113.200:80".parse().unwrap() };
        let command = format!("PORT {},19,137\r\n", pair.source.ip().to_string().replace('.', ","));
        let mut spoken = pair.segment(&Segment { flags: 0x18, seq: 2, ack: 2, ..Segment::default() });
        spoken.l4.extend(command.bytes());
        match self.random.random_range(0..14) {
            0 => (INSIDE, pair.udp(8)),
            1 => (INSIDE, pair.tcp("S", 1, 0)),
            2 => (INSIDE, pair.tcp("A", 2, 2)),
            3 => (INSIDE, spoken),
            4 => (INSIDE, pair.tcp("R", 2, 0)),
            5 => (INSIDE, pair.echo(pair.source.port(), 1)),
            6 => (INSIDE, pair.sctp(0, &init(1))),
            7 => (INSIDE, pair.packet(50, vec![0x55; 24], None)),
            8 => (OUTSIDE, public.tcp("S", 1, 0)),
            9 => (OUTSIDE.host_side(), own.udp(8)),
            10 => (INSIDE, Pair { destination: "10.0.0.1:80".parse().unwrap(), ..pair }.echo(7, 1)),
            11 => (INSIDE, pair.udp(8).spoilt()),
            12 => (INSIDE, Packet { ttl: 1, ..pair.udp(8) }),
            // Cut on its way out.
            _ => (INSIDE, pair.udp(self.random.random_range(1500..4000))),
        }
    }

    /// The answer to something that has left, or an error about it.
    fn answer(&mut self) -> Option<(PortId, Packet)> {
        let left = self.cluster.outside.sent.choose(&mut self.random)?.clone();
        self.answer_to(&left)
    }

    fn answer_to(&mut self, (port, frame): &(PortId, Vec<u8>)) -> Option<(PortId, Packet)> {
        let headers = wire::parse(&(*port, frame.clone())).ok()?;
        let tuple = headers.tuple;
        let pair =
            Pair::of(tuple.destination(), tuple.selector.dport(), tuple.source(), tuple.selector.sport());
        let packet = match headers.protocol {
            TCP if self.random.random() => pair.tcp("A", 2, 2),
            TCP => pair.tcp("SA", 1, 2),
            UDP if self.random.random() => pair.inverse().udp(8).unreachable(pair.source.ip()),
            UDP => pair.udp(20),
            protocol => pair.packet(protocol, vec![0x55; 24], None),
        };
        Some((*port, packet))
    }

    /// Connections begin and talk, and stay: more than there is room for.
    fn fill(&mut self) {
        for number in 0..200 {
            let pair = Pair::of([10, 1, 1, number].into(), 4000, [198, 51, 100, 9].into(), 80);
            for _ in 0..3 {
                self.receive(INSIDE, vec![pair.tcp("A", 2, 2).frame()]);
                (0..50).for_each(|_| self.cluster.step());
                if let Some(left) = self.cluster.outside.sent.last().cloned()
                    && let Some((port, packet)) = self.answer_to(&left)
                {
                    self.receive(port, vec![packet.frame()]);
                    (0..50).for_each(|_| self.cluster.step());
                }
            }
        }
        self.check();
    }

    /// Fragments of a datagram in any order: all of them, or with one that is missing or comes twice.
    fn fragments(&mut self) -> (PortId, Vec<Vec<u8>>) {
        let pair = self.pair();
        let to_box = Pair { destination: "10.0.0.1:0".parse().unwrap(), ..pair };
        let packet = match self.random.random_range(0..3) {
            0 => to_box.icmp(8, 0, [0, 9, 0, 1], &[7; 400]),
            _ => pair.udp(400),
        };
        self.identification += 1;
        let mut frames = packet.fragments(self.identification, &[0, 160, 320]);
        match self.random.random_range(0..6) {
            0 => drop(frames.pop()),
            1 => drop(frames.remove(0)),
            2 => frames.extend(packet.fragments(self.identification, &[0, 152, 320])),
            _ => {}
        }
        frames.shuffle(&mut self.random);
        (INSIDE, frames)
    }

    fn count(&self, counter: impl Fn(&Counters) -> u64) -> u64 {
        self.cluster.shards().map(|shard| counter(&shard.counters())).sum()
    }

    /// All that came has one end, or none yet. What is cut leaves as fragments that the box has made, and so do replies to
    /// fragments, of which each is one answer.
    fn check(&self) {
        let outside = &self.cluster.outside;
        let left = outside.sent.len() as u64;
        let replies = self.count(|counters| counters.answers) - outside.answers.len() as u64;
        let dropped = self.count(|counters| counters.drops.iter().sum());
        let delivered = self.count(|counters| counters.delivered);
        let held = self.cluster.in_hand() as u64;
        let cut = self.count(|counters| counters.fragmented);
        let made = self.count(|counters| counters.fragments_created);
        assert_eq!(
            self.came + replies + made,
            left + dropped + delivered + held + cut,
            "{left} left, {dropped} dropped, {delivered} delivered, {held} held, {cut} cut into {made}"
        );
        assert_eq!(dropped, outside.drops.len() as u64, "each drop is counted once");
        assert_eq!(delivered, (outside.delivered + outside.replies) as u64);
    }
}

/// Gives the reasons that packets were dropped for, and how many were cut, delivered, and announced by a helper.
fn play(seed: u64, shards: u16) -> (BTreeSet<&'static str>, [u64; 3]) {
    let mut world = World::new(shards, seed);
    for round in 0..ROUNDS {
        match world.random.random_range(0..20) {
            0 => world.cluster.now = world.cluster.now.after(secs(world.random.random_range(1..20))),
            1..4 => {
                let (port, frames) = world.fragments();
                world.receive(port, frames);
            }
            4..9 => {
                if let Some((port, packet)) = world.answer() {
                    world.receive(port, vec![packet.frame()]);
                }
            }
            9 => world.receive(INSIDE, vec![Pair::v4(1, 2).udp(8).frame()[..20].to_vec()]),
            _ => {
                let (port, packet) = world.any_packet();
                world.receive(port, vec![packet.frame()]);
            }
        }
        for _ in 0..world.random.random_range(0..3 * shards) {
            world.cluster.step();
        }
        if round % 50 == 0 {
            world.check();
        }
    }
    world.cluster.outside.congestion = 0.0;
    world.fill();
    (0..MANY_STEPS).for_each(|_| world.cluster.step());
    world.check();
    world.cluster.now = world.cluster.now.after(secs(1_000_000));
    world.cluster.expire();
    world.check();
    assert_eq!(world.cluster.in_hand(), 0, "what was held has its end");
    let reasons = world.cluster.outside.drops.iter().map(|reason| reason.label()).collect();
    let others = [
        world.count(|counters| counters.fragmented),
        world.count(|counters| counters.delivered),
        world.count(|counters| counters.expectations_created),
    ];
    (reasons, others)
}

#[test]
fn all_that_comes_in_leaves_is_dropped_is_delivered_or_is_held() {
    let boxes: Vec<_> = (0..SEEDS).flat_map(|seed| [1, 2, 4].map(|shards| (seed, shards))).collect();
    let ends: Vec<_> = boxes.into_par_iter().map(|(seed, shards)| play(seed, shards)).collect();
    for reason in REASONS {
        assert!(ends.iter().any(|(reasons, _)| reasons.contains(reason.label())), "{reason:?} has come up");
    }
    for (number, what) in ["cut", "delivered", "expected"].into_iter().enumerate() {
        assert!(ends.iter().any(|(_, others)| others[number] > 0), "something was {what}");
    }
}
