//! Configurations of all kinds follow one another, at each shard at its own time, while packets are on their way, claims are
//! pending and entries are deleted: no port is two clients', no tuple two connections', and nothing is left behind.

use crate::cluster::{Cluster, claimed};
use crate::common::frame::{ICMP, SCTP, TCP, UDP, init};
use crate::common::*;
use rand::RngExt;
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sluice_conntrack::entry::Status;
use sluice_conntrack::forward::{Interface, Route, Router};
use sluice_conntrack::nat::{Filtering, Mapping, Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Outcome, Policy, Prefix, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{Configuration, Forwarding};
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// Boxes that are tried.
const SEEDS: u64 = 100;

const PUBLIC: [u8; 4] = [203, 0, 113, 200];

/// The box's own addresses outside, of which it has one at a time.
const OWN: [&str; 2] = ["203.0.113.1", "203.0.112.1"];

/// Addresses of pools, far from one another.
const POOLS: [[u8; 4]; 3] = [[203, 0, 113, 64], [203, 0, 113, 66], [192, 0, 2, 10]];

fn router(own: &str) -> Forwarding {
    let interface = |address: &str, length| Interface {
        addresses: vec![(address.parse().unwrap(), length)],
        mtu: 1500,
        ..Interface::default()
    };
    let via = if own == OWN[0] { "203.0.113.254" } else { "203.0.112.254" };
    let default = Route::by(Prefix::new("0.0.0.0".parse().unwrap(), 0), OUTSIDE, Some(via.parse().unwrap()));
    Forwarding::Routed(Box::new(Router::new(vec![interface("10.0.0.1", 8), interface(own, 24)], [default])))
}

/// One of many configurations.
fn draw(random: &mut ChaCha8Rng, room: u32) -> Configuration {
    let ports = match random.random_range(0..3) {
        0 => PortChoice::Preserve,
        1 => PortChoice::Among(4000..=4040),
        _ => PortChoice::Among(5000..=5999),
    };
    let first = *POOLS.choose(random).unwrap();
    let last = [first[0], first[1], first[2], first[3] + random.random_range(0..3)];
    let range = Range { first: first.into(), last: last.into(), ports: ports.clone() };
    let target = if random.random_bool(0.4) { Target::Masquerade(ports) } else { Target::Pool(vec![range]) };
    let mut source = NatRule::new(Match { egress: vec![OUTSIDE], ..Match::default() }, target);
    source.persistent = random.random();
    source.random = random.random_bool(0.2);
    if random.random_bool(0.7) {
        source.mapping = Mapping::EndpointIndependent;
        source.filtering = *[Filtering::default(), Filtering::EndpointIndependent].choose(random).unwrap();
    }
    let public = Match { destination: vec![Prefix::new(PUBLIC.into(), 32)], ..Match::default() };
    let backends = Range {
        first: [10, 0, 0, 5].into(),
        last: [10, 0, 0, random.random_range(5..8)].into(),
        ports: PortChoice::Preserve,
    };
    let backends = NatRule::new(public, Target::Pool(vec![backends]));
    let nat = Nat {
        source: if random.random_bool(0.9) { vec![source] } else { vec![] },
        destination: if random.random_bool(0.7) { vec![backends] } else { vec![] },
    };
    let zone = |random: &mut ChaCha8Rng| random.random_range(0..6_u16).saturating_sub(3);
    let pings = Match { protocols: vec![ICMP], ..Match::default() };
    let zones = if random.random_bool(0.3) { vec![(pings.clone(), zone(random))] } else { vec![] };
    let untracked = if random.random_bool(0.1) { vec![pings] } else { vec![] };
    let strict = if random.random_bool(0.2) { firewall().rules } else { vec![] };
    let default = if strict.is_empty() { Outcome::Accept } else { Outcome::Drop };
    let mut policy = Policy { zones, untracked, default, ..Policy::default() };
    policy.rules = rules([(Match::default(), RuleAction::Log)]).rules;
    policy.rules.extend(strict);
    let limit = if random.random_bool(0.2) { room / 8 } else { room };
    let settings = Settings::of(*[Preset::Classic, Preset::Linux].choose(random).unwrap(), limit);
    let forwarding = router(OWN.choose(random).unwrap());
    let zone = zone(random);
    Configuration { zones: [zone; _], ..Configuration::new(settings, policy, forwarding).with_nat(nat) }
}

/// Who has sent a frame to whom, by which protocol.
fn seen(frame: &[u8]) -> (Pair, u8) {
    let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap()).into();
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let (sport, dport) = if frame[23] == ICMP { (word(38), word(38)) } else { (word(34), word(36)) };
    (Pair::of(address(26), sport, address(30), dport), frame[23])
}

fn first(pair: Pair, protocol: u8) -> Packet {
    match protocol {
        TCP => pair.tcp("S", 1, 0),
        UDP => pair.udp(8),
        SCTP => pair.sctp(0, &init(1)),
        _ => pair.echo(pair.source.port(), 1),
    }
}

fn answer(pair: Pair, protocol: u8) -> Packet {
    match protocol {
        TCP => pair.tcp("SA", 1, 2),
        UDP => pair.udp(20),
        SCTP => pair.sctp(9, &init(2)),
        _ => pair.echo_reply(pair.source.port(), 1),
    }
}

/// All packets come to their ends, and all that is over or lost.
fn rest(cluster: &mut Cluster) {
    while !cluster.is_at_rest() {
        cluster.step();
    }
    cluster.expire();
}

/// What must hold when all packets have come to their ends.
fn check(cluster: &Cluster, seed: u64) {
    cluster.check();
    let (mut clients, mut owners) = (HashMap::new(), HashMap::new());
    for shard in cluster.shards() {
        let own = shard.steering().own();
        shard.list(0, u32::MAX, |id, entry| {
            for tuple in claimed(&entry) {
                let owner = *owners.entry(tuple).or_insert((own, id));
                assert_eq!(owner, (own, id), "seed {seed}: {tuple:?} is owned twice");
            }
            if entry.status.contains(Status::MAPPED) {
                let outside = (
                    entry.reply.selector.zone(),
                    entry.reply.protocol(),
                    entry.reply.dst,
                    entry.reply.reply_port(),
                );
                let client = (entry.original.src, entry.original.selector.sport());
                assert_eq!(
                    *clients.entry(outside).or_insert(client),
                    client,
                    "seed {seed}: {outside:?} is two clients'"
                );
            }
        });
    }
}

fn play(seed: u64, shards: u16) {
    const ROOM: u32 = 400;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let configuration = draw(&mut random, ROOM);
    let mut cluster =
        Cluster::of(shards, ROOM / u32::from(shards), &configuration, ChaCha8Rng::seed_from_u64(!seed));
    cluster.outside.congestion = [0.0, 0.02][seed as usize % 2];
    cluster.outside.lane = [1, 4, 1024][seed as usize % 3];
    let mut received = 0;
    for round in 0..1500_u32 {
        let protocol = *[TCP, UDP, UDP, SCTP, ICMP].choose(&mut random).unwrap();
        let client = [10, 0, 1, random.random_range(1..20)];
        let server = [198, 51, 100, random.random_range(1..6)];
        let port = 4000 + random.random_range(0..3);
        let (ingress, packet) = match random.random_range(0..10) {
            0..5 => (INSIDE, first(Pair::of(client.into(), port, server.into(), 80), protocol)),
            5 => (OUTSIDE, first(Pair::of(server.into(), port, PUBLIC.into(), 80), protocol)),
            6 => (OUTSIDE, first(Pair::of(server.into(), port, [10, 0, 0, 5].into(), 80), protocol)),
            other => match cluster.outside.sent.choose(&mut random) {
                // A stranger tries what it has seen, or somebody answers, perhaps long afterwards.
                Some((OUTSIDE, frame)) if other == 7 => {
                    let (pair, protocol) = seen(frame);
                    (
                        OUTSIDE,
                        first(Pair { destination: pair.source, source: (server, port).into() }, protocol),
                    )
                }
                Some((port, frame)) => {
                    let (pair, protocol) = seen(frame);
                    (*port, answer(pair.inverse(), protocol))
                }
                None => continue,
            },
        };
        cluster.receive(ingress, packet.frame());
        received += 1;
        for _ in 0..random.random_range(0..2 * shards) {
            cluster.step();
        }
        if random.random_bool(0.03) {
            cluster.configure(&draw(&mut random, ROOM));
        }
        match random.random_range(0..200) {
            0 => cluster.delete(|_| true),
            1..4 => cluster.delete(|entry| entry.original.selector.sport() == port),
            4..20 => cluster.now = cluster.now.after(secs(7)),
            _ => {}
        }
        if round % 100 == 0 {
            rest(&mut cluster);
            check(&cluster, seed);
        }
    }
    rest(&mut cluster);
    check(&cluster, seed);
    let ended = cluster.outside.sent.len() + cluster.outside.drops.len() + cluster.outside.delivered;
    assert_eq!(ended, received, "seed {seed}: each packet has one end");
    let own = cluster.shards().next().unwrap().configuration().forwarding.clone();
    let Forwarding::Routed(router) = own else { panic!("all of them are routers") };
    for shard in cluster.shards() {
        shard.list(0, u32::MAX, |_, entry| {
            let is_own = router.own().contains(&entry.reply.destination());
            assert!(is_own || !entry.status.contains(Status::MASQUERADED), "seed {seed}: {entry:?}");
        });
    }
    cluster.now = cluster.now.after(secs(1_000_000));
    cluster.expire();
    check(&cluster, seed);
    let left = cluster.shards().map(|shard| shard.len() + shard.signposts());
    assert_eq!(left.sum::<u32>(), 0, "seed {seed}");
}

#[test]
fn nothing_is_lost_or_left_over_whatever_configurations_follow_one_another() {
    (0..SEEDS).into_par_iter().for_each(|seed| play(seed, 1 + seed as u16 % 5));
}
