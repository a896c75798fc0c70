//! The same traffic through boxes of one, two and four workers: each packet has the same end, and differs in the address and
//! port at most that its connection found when others had those of one worker.

use crate::cluster::Cluster;
use crate::common::frame::{ICMP, SCTP, TCP, UDP, init};
use crate::common::*;
use crate::{Seen, pool, seen};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sluice_conntrack::nat::{Mapping, Nat, NatRule, PortChoice};
use sluice_conntrack::policy::{Match, Prefix};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{DropReason, PortId, RuleCounters};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Boxes that are compared.
const SEEDS: u64 = 40;

const ROOM: u32 = 2000;

/// Protocols that are tracked by their addresses: IGMP, 6in4, ESP.
const WITHOUT_PORTS: [u8; 3] = [2, 41, 50];

/// The server that is reached by another address and one of some ports.
const PUBLIC: [u8; 4] = [203, 0, 113, 200];

/// Networks of clients, by the second byte of their addresses, each with a rule of its own.
const FEW_PORTS: u8 = 1;
const ONE_ADDRESS: u8 = 2;
const EIGHT_ADDRESSES: u8 = 3;
const MAPPED: u8 = 4;
const PLAIN: u8 = 5;

fn nat() -> Nat {
    let from = |network: u8| Match {
        source: vec![Prefix::new([10, network, 0, 0].into(), 16)],
        egress: vec![OUTSIDE],
        ..Match::default()
    };
    let of = |network, first: u8, last: u8, ports| {
        NatRule::new(from(network), pool([203, 0, 113, first], [203, 0, 113, last], ports))
    };
    let public = Match { destination: vec![Prefix::new(PUBLIC.into(), 32)], ..Match::default() };
    Nat {
        source: vec![
            of(FEW_PORTS, 1, 2, PortChoice::Among(6000..=6004)),
            NatRule { persistent: true, ..of(ONE_ADDRESS, 3, 5, PortChoice::Among(7000..=7004)) },
            of(EIGHT_ADDRESSES, 8, 15, PortChoice::Preserve),
            NatRule { mapping: Mapping::EndpointIndependent, ..of(MAPPED, 16, 16, PortChoice::Preserve) },
        ],
        destination: vec![NatRule::new(
            public,
            pool([10, 5, 0, 7], [10, 5, 0, 9], PortChoice::Among(80..=83)),
        )],
    }
}

fn begin(pair: Pair, protocol: u8) -> Packet {
    match protocol {
        TCP => pair.tcp("S", 1, 0),
        UDP => pair.udp(8),
        SCTP => pair.sctp(0, &init(1)),
        ICMP => pair.echo(pair.source.port(), 1),
        _ => pair.packet(protocol, vec![0x55; 24], None),
    }
}

/// The answer to a frame that has left.
fn answer(frame: &[u8]) -> Packet {
    let (Seen { source, destination, protocol }, _) = seen(frame);
    let pair = Pair::of(destination.0.into(), destination.1, source.0.into(), source.1);
    match protocol {
        TCP => pair.tcp("SA", 1, 2),
        UDP => pair.udp(20),
        SCTP => pair.sctp(1, &init(2)),
        ICMP => pair.echo_reply(source.1, 1),
        _ => pair.packet(protocol, vec![0x55; 24], None),
    }
}

type Endpoint = (Ipv4Addr, u16);

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It left by this port, from here to there. What a connection's first packet was given as source is as good as any other.
    Left(PortId, Option<Endpoint>, Option<Endpoint>),
    Dropped(DropReason),
    Delivered,
}

/// A box, and what left it.
struct World {
    cluster: Cluster,
    /// The first packets of connections that were not answered yet, as they left.
    left: Vec<First>,
}

/// A first packet: as it came, by which port it left, and as what.
struct First {
    came: Vec<u8>,
    egress: PortId,
    frame: Vec<u8>,
}

impl World {
    fn new(shards: u16, seed: u64) -> Self {
        let settings = Settings::of(Preset::Linux, ROOM);
        let configuration = configuration(settings, accept_all()).with_nat(nat());
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { cluster: Cluster::of(shards, ROOM, &configuration, random), left: Vec::new() }
    }

    /// A packet goes in by a port, and comes to its end; `given` is what the source of its connection has become.
    fn pass(&mut self, port: PortId, packet: &Packet, given: Option<Endpoint>) -> End {
        self.cluster.receive(port, packet.frame());
        while !self.cluster.is_at_rest() {
            self.cluster.step();
        }
        if let Some(reason) = self.cluster.outside.drops.pop() {
            return End::Dropped(reason);
        }
        let Some((egress, frame)) = self.cluster.outside.sent.pop() else { return End::Delivered };
        let (Seen { source, destination, protocol }, _) = seen(&frame);
        let given = given.unwrap_or_else(|| {
            let came = packet.frame();
            if self.left.iter().all(|first| first.came != came) {
                self.left.push(First { came, egress, frame });
            }
            source
        });
        // An identifier of ICMP is seen as the port of both.
        let port = |(_, port): Endpoint| if protocol == ICMP { 0 } else { port };
        let own = |endpoint: Endpoint| (endpoint != given).then_some((endpoint.0, port(endpoint)));
        End::Left(egress, own(source), own(destination))
    }

    /// A connection begins.
    fn begin(&mut self, port: PortId, packet: &Packet) -> End {
        self.pass(port, packet, None)
    }

    /// The first packet of a connection is answered.
    fn answer(&mut self, index: usize) -> End {
        let First { egress, frame, .. } = self.left.swap_remove(index);
        self.pass(egress, &answer(&frame), Some(seen(&frame).0.source))
    }

    /// Time passes, in which some connections end. Nobody answers late: to one that is over, the answer could be somebody's.
    fn rest(&mut self, time: Duration) {
        self.left.clear();
        self.cluster.now = self.cluster.now.after(time);
        self.cluster.expire();
    }

    /// The connections that each rule has bound, in all shards together.
    fn bound(&self) -> (Vec<u64>, Vec<u64>) {
        let mut counters = RuleCounters::default();
        self.cluster.shards().for_each(|shard| counters.add(shard.rule_counters()));
        (counters.source.iter().map(|counter| counter.bound).collect(), counters.destination)
    }

    /// Whether all connections have ended that are over: a timer is late by a quarter of a second at most.
    fn is_up_to_date(&self) -> bool {
        self.cluster.shards().all(|shard| {
            let mut listed = 0;
            shard.list(0, u32::MAX, |_, _| listed += 1);
            listed == shard.len()
        })
    }
}

fn compare(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut worlds = [1, 2, 4].map(|shards| World::new(shards, seed));
    // Every other box has a few protocols compete for few ports.
    let networks: &[u8] = match seed % 2 {
        0 => &[FEW_PORTS, ONE_ADDRESS, EIGHT_ADDRESSES, MAPPED, PLAIN],
        _ => &[FEW_PORTS],
    };
    let with_ports = if seed.is_multiple_of(2) { vec![TCP, UDP, SCTP, ICMP] } else { vec![UDP, ICMP] };
    let mut refused = 0;
    for number in 0..600 {
        let ends = match random.random_range(0..20) {
            0 => {
                let mut time = secs(random.random_range(1..40));
                loop {
                    worlds.iter_mut().for_each(|world| world.rest(time));
                    if worlds.iter().all(World::is_up_to_date) {
                        break;
                    }
                    time = ms(256);
                }
                continue;
            }
            1..6 if !worlds[0].left.is_empty() => {
                let index = random.random_range(0..worlds[0].left.len());
                worlds.each_mut().map(|world| world.answer(index))
            }
            _ => {
                let network = *networks.choose(&mut random).unwrap();
                let client = [10, network, 0, random.random_range(1..40)];
                let port = 4000 + random.random_range(0..20);
                let server = [198, 51, 100, random.random_range(1..4)];
                let protocol = match random.random_range(0..8) {
                    0..3 => *WITHOUT_PORTS.choose(&mut random).unwrap(),
                    _ => *with_ports.choose(&mut random).unwrap(),
                };
                let (ingress, pair) = match random.random_range(0..6) {
                    0 => (OUTSIDE, Pair::of(server.into(), port, PUBLIC.into(), 80)),
                    _ => (INSIDE, Pair::of(client.into(), port, server.into(), 80)),
                };
                let packet = begin(pair, protocol);
                worlds.each_mut().map(|world| world.begin(ingress, &packet))
            }
        };
        refused += u32::from(ends[0] == End::Dropped(DropReason::NatExhausted));
        assert!(ends.iter().all(|end| *end == ends[0]), "seed {seed}, packet {number}: {ends:?}");
    }
    assert!(refused > 0, "seed {seed}: something is exhausted");
    let all = worlds.each_ref().map(World::bound);
    assert!(all.iter().all(|bound| *bound == all[0]), "seed {seed}: {all:?}");
    assert!(all[0].1[0] > 10, "seed {seed}: {all:?}");
    for world in &mut worlds {
        world.rest(secs(1_000_000));
        world.cluster.check();
        let left = world.cluster.shards().map(|shard| shard.len() + shard.signposts());
        assert_eq!(left.sum::<u32>(), 0, "seed {seed}");
    }
}

#[test]
fn boxes_of_one_and_of_several_workers_give_packets_the_same_ends() {
    (0..SEEDS).into_par_iter().for_each(compare);
}

/// In whatever order they come: a client whose port is not kept gets the same again by the same key.
#[test]
fn a_box_that_starts_anew_draws_the_same_ports_again() {
    let left = |order: &[u8]| {
        let mut world = World::new(2, 1);
        let pair = |host: u8| {
            Pair::of([10, 3, 0, host].into(), 4000 + u16::from(host), [198, 51, 100, 2].into(), 80)
        };
        for host in order {
            world.begin(INSIDE, &pair(*host).tcp("S", 1, 0));
        }
        let mut left: Vec<_> =
            world.left.iter().map(|first| (first.came.clone(), seen(&first.frame).0.source)).collect();
        left.sort();
        left
    };
    let hosts: Vec<u8> = (1..100).collect();
    let others: Vec<u8> = hosts.iter().rev().copied().collect();
    assert_eq!(left(&hosts), left(&others));
}
