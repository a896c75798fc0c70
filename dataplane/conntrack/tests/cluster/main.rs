//! Several shards with NAT, as workers drive them but in any order: no reply tuple is ever owned twice, and every answer
//! finds the client that it is for.
#![forbid(unsafe_code)]

mod accounts;
mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod echo;
mod expectations;
mod fragments;
mod helpers;
mod host;
mod late;
mod mtu;
mod operator;
mod reload;
mod replica;
mod synproxy;
mod workers;

use cluster::Cluster;
use common::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sluice_conntrack::nat::{Filtering, Mapping, Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Prefix};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{DropReason, PortId};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// Where the server inside is reached from outside, and where it is.
const PUBLIC: [u8; 4] = [203, 0, 113, 200];
const SERVER: [u8; 4] = [10, 255, 0, 5];

/// The network of the clients whose ports are mapped alike for all servers.
const GAMERS: [u8; 4] = [10, 128, 0, 0];

fn pool(first: [u8; 4], last: [u8; 4], ports: PortChoice) -> Target {
    Target::Pool(vec![Range { first: first.into(), last: last.into(), ports }])
}

/// All that leaves has the box's address there.
fn masquerade() -> Nat {
    let out = Match { egress: vec![OUTSIDE], ..Match::default() };
    Nat { source: vec![NatRule::new(out, Target::Masquerade(PortChoice::Preserve))], destination: vec![] }
}

/// Clients share a pool, and a server is published.
fn nat() -> Nat {
    let out = Match { egress: vec![OUTSIDE], ..Match::default() };
    let public = Match { destination: vec![Prefix::new(PUBLIC.into(), 32)], ..Match::default() };
    let games = Match { source: vec![Prefix::new(GAMERS.into(), 9)], ..out.clone() };
    let games = NatRule::new(games, pool([203, 0, 113, 64], [203, 0, 113, 95], PortChoice::Preserve));
    Nat {
        source: vec![
            NatRule {
                mapping: Mapping::EndpointIndependent,
                filtering: Filtering::EndpointIndependent,
                persistent: true,
                ..games
            },
            NatRule::new(out, pool([203, 0, 113, 1], [203, 0, 113, 32], PortChoice::Preserve)),
        ],
        destination: vec![NatRule::new(public, pool(SERVER, SERVER, PortChoice::Preserve))],
    }
}

/// What is looked at in a frame: addresses, protocol, ports (or the identifier twice), and the connection's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Seen {
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
    protocol: u8,
}

fn seen(frame: &[u8]) -> (Seen, u32) {
    let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap());
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let protocol = frame[23];
    let (sport, dport) = if protocol == frame::ICMP { (word(38), word(38)) } else { (word(34), word(36)) };
    let number = u32::from_be_bytes(frame[42..46].try_into().unwrap());
    (Seen { source: (address(26), sport), destination: (address(30), dport), protocol }, number)
}

fn numbered(mut packet: Packet, number: u32) -> Vec<u8> {
    packet.l4[8..12].copy_from_slice(&number.to_be_bytes());
    packet.frame()
}

/// The answer to a frame that has left.
fn answer(frame: &[u8]) -> Vec<u8> {
    let (Seen { source, destination, protocol }, number) = seen(frame);
    let pair = Pair::of(destination.0.into(), destination.1, source.0.into(), source.1);
    let packet = if protocol == frame::ICMP { pair.echo_reply(source.1, 1) } else { pair.udp(16) };
    numbered(packet, number)
}

/// A world of clients inside, servers outside, and clients outside of the server inside.
struct World {
    cluster: Cluster,
    random: ChaCha8Rng,
    /// The connection that owns each translated tuple.
    owners: HashMap<Seen, u32>,
    /// What each connection's client sent.
    begun: Vec<(PortId, Seen)>,
    /// What the clients' ports have become that are mapped alike for all servers, and the other way round.
    mapped: HashMap<(Ipv4Addr, u16), (Ipv4Addr, u16)>,
    mappers: HashMap<(Ipv4Addr, u16), (Ipv4Addr, u16)>,
    /// What that has become.
    translated: HashMap<u32, Seen>,
    answered: u32,
}

impl World {
    fn new(seed: u64, shards: u16, entries: u32) -> Self {
        let settings = Settings::of(Preset::Classic, entries * u32::from(shards));
        let random = ChaCha8Rng::seed_from_u64(seed);
        let cluster = Cluster::new(shards, entries, &settings, &accept_all(), &nat(), random.clone());
        Self {
            cluster,
            random,
            owners: HashMap::new(),
            begun: Vec::new(),
            mapped: HashMap::new(),
            mappers: HashMap::new(),
            translated: HashMap::new(),
            answered: 0,
        }
    }

    /// A client begins a connection.
    fn begin(&mut self) {
        let number = self.begun.len() as u32;
        let host = |net: u32, number: u32| IpAddr::V4(Ipv4Addr::from(net | number));
        let client = number / 8;
        let port = 1024 + (number % 8) as u16 * 7;
        let server = host(0xc633_6400, self.random.random_range(1..200));
        // Every tenth pair of connections is one client's with the server inside: by its public address and by its own, which
        // have the same reply tuple.
        let (pair, number_in_pair) = (number / 2, number % 2);
        let inside = [PUBLIC, SERVER][number_in_pair as usize];
        let (ingress, packet) = match pair % 10 {
            0 => (INSIDE, Pair::of(host(0x0a00_0000, client), 0, server, 0).echo(port, 1)),
            // A few ports, each of which speaks to many servers.
            2..4 => {
                let pair = Pair::of(
                    host(0x0a80_0000, pair / 400),
                    4000 + (pair % 3) as u16,
                    host(0xc633_0000, number),
                    53,
                );
                (INSIDE, pair.udp(16))
            }
            1 => (OUTSIDE, Pair::of(host(0x6440_0000, pair), 4000, inside.into(), 53).udp(16)),
            _ => (INSIDE, Pair::of(host(0x0a00_0000, client), port, server, 53).udp(16)),
        };
        let frame = numbered(packet.clone(), number);
        self.begun.push((ingress, seen(&frame).0));
        self.cluster.receive(ingress, frame.clone());
        // Some clients are impatient; one who asks twice by ICMP could get an answer after the entry has ended with the first.
        if packet.protocol == frame::UDP && self.random.random_bool(0.5) {
            self.cluster.receive(ingress, frame);
        }
    }

    /// What has left reaches its peer: a server answers, a client compares.
    fn deliver(&mut self) {
        for (port, frame) in std::mem::take(&mut self.cluster.outside.sent) {
            let (packet, number) = seen(&frame);
            let (ingress, sent) = self.begun[number as usize];
            if port != ingress {
                self.translated.insert(number, packet);
                let owner = *self.owners.entry(packet).or_insert(number);
                assert_eq!(owner, number, "{packet:?} is owned twice");
                if sent.source.0.octets()[..2] == GAMERS[..2] {
                    assert_eq!(*self.mapped.entry(sent.source).or_insert(packet.source), packet.source);
                    assert_eq!(*self.mappers.entry(packet.source).or_insert(sent.source), sent.source);
                }
                self.cluster.receive(port, answer(&frame));
                continue;
            }
            let back = (packet.destination, packet.source, packet.protocol);
            assert_eq!(
                back,
                (sent.source, sent.destination, sent.protocol),
                "an answer of connection {number}"
            );
            self.answered += 1;
            if packet.protocol == frame::ICMP {
                // An answered query is over: its identifier is free again.
                self.translated.remove(&number).and_then(|packet| self.owners.remove(&packet));
            }
        }
    }

    fn rest(&mut self) {
        while !self.cluster.is_at_rest() || !self.cluster.outside.sent.is_empty() {
            self.cluster.step();
            self.deliver();
        }
        self.cluster.check();
    }
}

fn play(seed: u64, shards: u16, connections: u32) -> World {
    let mut world = World::new(seed, shards, connections.div_ceil(u32::from(shards)) * 2);
    for number in 0..connections {
        world.begin();
        for _ in 0..world.random.random_range(0..2 * shards) {
            world.cluster.step();
        }
        if number % 64 == 0 {
            world.deliver();
        }
    }
    world.rest();
    world
}

#[test]
fn no_reply_tuple_is_owned_twice_among_a_million_connections() {
    let worlds: Vec<World> =
        (0..20_u64).into_par_iter().map(|seed| play(seed, 2 + seed as u16 % 7, 50_000)).collect();
    for world in &worlds {
        let lost = world.cluster.outside.drops.len() as u32;
        assert!(world.answered + 2 * lost >= world.begun.len() as u32, "each packet is answered or counted");
        let only = |reason| matches!(reason, DropReason::HoldFull | DropReason::NatExhausted);
        assert!(world.cluster.outside.drops.iter().copied().all(only), "{:?}", world.cluster.outside.drops);
        assert!(world.mapped.len() > 20, "clients have mappings");
        for (pair, _) in world.begun.chunks(2).enumerate().filter(|(_, pair)| pair[0].0 == OUTSIDE) {
            let ports = [0, 1].map(|half| world.translated.get(&(2 * pair as u32 + half)));
            let kept = ports.iter().flatten().filter(|packet| packet.source.1 == 4000).count();
            assert!(
                kept > 0 || ports.contains(&None),
                "a client whose source no rule translates keeps its port"
            );
        }
    }
}

/// The identifiers of a client's queries are one towards all servers, and each shard has some to give.
#[test]
fn each_shard_maps_identifiers() {
    const CLIENTS: u32 = 100;
    let settings = Settings::of(Preset::Linux, 4000);
    let random = ChaCha8Rng::seed_from_u64(7);
    let mut cluster = Cluster::new(4, 1000, &settings, &accept_all(), &nat(), random);
    let [a, b, ..] = GAMERS;
    let mut sent = HashMap::new();
    for number in 0..400 {
        let client = [a, b, 0, 1 + (number % CLIENTS) as u8];
        let server = [198, 51, 100, 1 + (number / CLIENTS) as u8];
        sent.insert(number, client);
        cluster.receive(INSIDE, numbered(Pair::of(client.into(), 0, server.into(), 0).echo(7, 1), number));
        while !cluster.is_at_rest() {
            cluster.step();
        }
    }
    assert_eq!(cluster.outside.drops, []);
    assert_eq!(cluster.outside.sent.len(), 400);
    let (mut mapped, mut mappers) = (HashMap::new(), HashMap::new());
    for (_, frame) in std::mem::take(&mut cluster.outside.sent) {
        let (packet, number) = seen(&frame);
        assert_eq!(*mapped.entry(sent[&number]).or_insert(packet.source), packet.source);
        assert_eq!(*mappers.entry(packet.source).or_insert(sent[&number]), sent[&number]);
        cluster.receive(OUTSIDE, answer(&frame));
    }
    while !cluster.is_at_rest() {
        cluster.step();
    }
    assert_eq!((cluster.outside.drops.len(), cluster.outside.sent.len()), (0, 400));
    for (_, frame) in &cluster.outside.sent {
        let (packet, number) = seen(frame);
        assert_eq!(packet.destination, (sent[&number].into(), 7));
    }
    cluster.check();
}

/// The shard that a client's packets are steered to knows of the new connection as it knew of the old one.
#[test]
fn a_delegated_connection_that_begins_again_is_delegated_again() {
    let mut settings = Settings::of(Preset::Linux, 1000);
    settings.tcp.loose = false;
    let random = ChaCha8Rng::seed_from_u64(1);
    let mut cluster = Cluster::new(2, 500, &settings, &accept_all(), &nat(), random);
    let mut pass = |port, packet: Packet| {
        cluster.receive(port, packet.frame());
        for _ in 0..500 {
            cluster.step();
        }
        cluster.check();
        let sent = std::mem::take(&mut cluster.outside.sent);
        assert_eq!(sent.len(), 1, "{packet:?} has left");
        seen(&sent[0].1).0
    };
    for port in 2000..2100 {
        let pair = Pair::of(GAMERS.into(), port, [198, 51, 100, 1].into(), 80);
        for seq in [1000, 900_000] {
            let Seen { source, destination, .. } = pass(INSIDE, pair.tcp("S", seq, 0));
            let back = Pair::of(destination.0.into(), destination.1, source.0.into(), source.1);
            pass(OUTSIDE, back.tcp("SA", 5000, seq + 1));
            pass(INSIDE, pair.tcp("A", seq + 1, 5001));
            pass(INSIDE, pair.tcp("R", seq + 1, 0));
        }
    }
    let closed: u64 = cluster.shards().map(|shard| shard.counters().closed).sum();
    assert_eq!(closed, 100, "each has made room for another");
}

#[test]
fn a_mapped_table_fills_to_its_limit_and_makes_room() {
    let (entries, shards) = (500, 2_u16);
    let limit = entries * u32::from(shards);
    let settings = Settings::of(Preset::Linux, limit);
    let random = ChaCha8Rng::seed_from_u64(1);
    let mut cluster = Cluster::new(shards, entries, &settings, &accept_all(), &nat(), random);
    // All of one client's ports to one server: to a linear hash they are all as far from their mappings' homes.
    for port in 1024..1024 + 3 * limit as u16 {
        let pair = Pair::of(IpAddr::from(GAMERS), port, IpAddr::from([198, 51, 100, 7]), 53);
        cluster.receive(INSIDE, pair.udp(16).frame());
        // Some first packets are held while others look for room.
        while port % 32 == 0 && !cluster.is_at_rest() {
            cluster.step();
        }
    }
    while !cluster.is_at_rest() {
        cluster.step();
    }
    cluster.check();
    assert_eq!(cluster.outside.drops.len(), 0, "each new connection finds room, if in the place of another");
    let held: u32 = cluster.shards().map(|shard| shard.len()).sum();
    assert!(held > limit * 9 / 10, "{held} of {limit} entries");
}

/// Clients learn their ports outside and then speak to one another's peers while those speak to them, so that either packet
/// may begin the connection, on any shard.
fn play_with_strangers(seed: u64, shards: u16) {
    let settings = Settings::of(Preset::Linux, 4000);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut cluster =
        Cluster::new(shards, 4000, &settings, &accept_all(), &nat(), ChaCha8Rng::seed_from_u64(!seed));
    let rest = |cluster: &mut Cluster| {
        while !cluster.is_at_rest() {
            cluster.step();
        }
        assert_eq!(cluster.outside.drops, [], "seed {seed}");
        cluster.check();
        std::mem::take(&mut cluster.outside.sent)
    };
    let [a, b, ..] = GAMERS;
    let client = |number: u32| IpAddr::from([a, b, 1, 1 + number as u8]);
    for number in 0..50 {
        let pair = Pair::of(client(number), 4000, [198, 51, 100, 1].into(), 53);
        cluster.receive(INSIDE, numbered(pair.udp(16), number));
    }
    let seen_outside: HashMap<u32, (Ipv4Addr, u16)> =
        rest(&mut cluster).iter().map(|(_, frame)| (seen(frame).1, seen(frame).0.source)).collect();
    let mut packets = 0;
    for round in 0..8_u8 {
        for number in 0..50 {
            let (address, port) = seen_outside[&number];
            let stranger = Pair::of([192, 0, 2, round].into(), 777, address.into(), port);
            let client = Pair::of(client(number), 4000, stranger.source.ip(), 777);
            if random.random_bool(0.5) {
                cluster.receive(INSIDE, numbered(client.udp(16), number));
                packets += 1;
            }
            cluster.receive(OUTSIDE, numbered(stranger.udp(16), number));
            packets += 1;
            for _ in 0..random.random_range(0..2 * shards) {
                cluster.step();
            }
        }
    }
    let sent = rest(&mut cluster);
    assert_eq!(sent.len(), packets, "seed {seed}");
    for (port, frame) in sent {
        let (packet, number) = seen(&frame);
        match port {
            INSIDE => assert_eq!(IpAddr::V4(packet.destination.0), client(number), "seed {seed}"),
            _ => assert_eq!(packet.source, seen_outside[&number], "seed {seed}"),
        }
    }
    assert_eq!(cluster.shards().map(|shard| shard.len()).sum::<u32>(), 50 + 8 * 50, "one entry for both");
    // Nothing is left behind when all are over.
    cluster.now = cluster.now.after(secs(1000));
    cluster.expire();
    rest(&mut cluster);
    assert_eq!(cluster.shards().map(|shard| shard.len() + shard.signposts()).sum::<u32>(), 0);
}

#[test]
fn strangers_reach_mapped_ports_on_whatever_shard() {
    (0..40).into_par_iter().for_each(|seed| play_with_strangers(seed, 1 + seed as u16 % 6));
}
