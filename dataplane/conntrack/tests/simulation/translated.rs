//! Worlds behind a router that translates: many clients with few ports towards few servers, so that ports clash.

use crate::common::*;
use crate::world::World;
use crate::{FIVE_DAYS, check, hostile};
use rand::RngExt;
use rayon::prelude::*;
use sluice_conntrack::Instant;
use sluice_conntrack::nat::{Filtering, Mapping, Nat, NatRule, PortBlock, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Prefix};
use sluice_conntrack::settings::{Preset, Settings};

fn pool(first: &str, last: &str, ports: PortChoice) -> Target {
    Target::Pool(vec![Range { first: first.parse().unwrap(), last: last.parse().unwrap(), ports }])
}

/// Rules of one of a few kinds for sources, and for destinations a public address of the first servers.
fn nat(kind: u64) -> Nat {
    let outwards = || Match { egress: vec![OUTSIDE], ..Match::default() };
    let few = PortChoice::Among(2000..=2300);
    let (v4, v6) = match kind % 4 {
        0 => (Target::Masquerade(PortChoice::Preserve), Target::Masquerade(PortChoice::Preserve)),
        1 => (pool("203.0.113.10", "203.0.113.10", few.clone()), pool("2001:db8:2::a", "2001:db8:2::a", few)),
        2 => (
            pool("203.0.113.10", "203.0.113.19", PortChoice::Preserve),
            pool("2001:db8:2::a", "2001:db8:2::f", PortChoice::Preserve),
        ),
        _ => (Target::Masquerade(PortChoice::Among(40_000..=65_000)), Target::NoNat),
    };
    // A client's port that is one for all servers cannot be two towards one of them, by its own and by its public address.
    let (mapping, filtering, port) = match kind % 5 {
        0 => (Mapping::EndpointIndependent, Filtering::EndpointIndependent, PortChoice::Among(8080..=8080)),
        _ => (Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent, PortChoice::Preserve),
    };
    let random = |target| {
        let random = kind.is_multiple_of(3);
        NatRule { random, mapping, filtering, ..NatRule::new(outwards(), target) }
    };
    let public = |address: &str| Match {
        destination: vec![Prefix::new(address.parse().unwrap(), u8::MAX)],
        ..Match::default()
    };
    Nat {
        source: vec![
            NatRule {
                matches: Match { family: Some(sluice_conntrack::tuple::Family::V4), ..outwards() },
                ..random(v4)
            },
            random(v6),
        ],
        destination: vec![
            NatRule::new(
                public("192.0.2.80"),
                pool("198.51.100.1", "198.51.100.4", PortChoice::Among(8080..=8080)),
            ),
            NatRule::new(public("2001:db8:80::80"), pool("2001:db8:9::1", "2001:db8:9::4", port)),
        ],
    }
}

/// A client and a server of small numbers.
fn pair(world: &mut World) -> Pair {
    let rng = &mut world.rng;
    let (client, server, port) =
        (rng.random_range(2..20_u8), rng.random_range(1..5_u8), rng.random_range(1..4_u16));
    let is_public = rng.random_range(0..4) == 0;
    let text = if rng.random() {
        let server = if is_public { "192.0.2.80".into() } else { format!("198.51.100.{server}") };
        (format!("10.0.0.{client}:{port}024"), format!("{server}:80"))
    } else {
        let server = if is_public { "2001:db8:80::80".into() } else { format!("2001:db8:9::{server:x}") };
        (format!("[fd00::{client:x}]:{port}024"), format!("[{server}]:80"))
    };
    Pair::at(&text.0, &text.1)
}

/// Somebody outside who tries a port that may be mapped.
fn stranger(world: &mut World) {
    let rng = &mut world.rng;
    let port = match rng.random_range(0..2) {
        0 => rng.random_range(1..4) * 1000 + 24,
        _ => rng.random_range(2000..2300),
    };
    let (address, stranger) = [
        ("203.0.113.1", "192.0.2.9"),
        ("203.0.113.10", "192.0.2.9"),
        ("2001:db8:2::1", "2001:db8:77::9"),
        ("2001:db8:2::a", "2001:db8:77::9"),
    ][rng.random_range(0..4)];
    let pair = Pair::of(stranger.parse().unwrap(), rng.random_range(1..4), address.parse().unwrap(), port);
    let packet = if rng.random() { pair.udp(7) } else { pair.tcp("S", 1, 0) };
    world.inject(OUTSIDE, packet.frame());
}

/// Conversations of pairs that all differ.
fn talk(world: &mut World, conversations: usize, spread_ms: u64) {
    let mut pairs = std::collections::BTreeSet::new();
    while pairs.len() < conversations {
        let pair = pair(world);
        pairs.insert((pair.source, pair.destination));
    }
    for (source, destination) in pairs {
        world.talk(Pair { source, destination }, spread_ms);
    }
}

fn world(seed: u64, room: u32, lossy: u32) -> World {
    let settings = Settings::of([Preset::Classic, Preset::Linux][seed as usize % 2], room);
    let configuration = routed(settings, accept_all(), nat(seed));
    World::new(seed, Middlebox::starting(Instant::from_ns(seed), room, configuration), lossy)
}

/// No port is in use when no entry is left.
fn check_end(world: &mut World, seed: u64) {
    world.it.pass(FIVE_DAYS * 4);
    assert!(world.it.shard.is_empty(), "seed {seed}");
    world.it.check();
    let shard = &world.it.shard;
    for address in shard.configuration().source_addresses() {
        let used: u32 = shard.ports_used(&PortBlock::whole(address)).iter().sum();
        assert_eq!(used, 0, "seed {seed}: ports of {address}");
    }
}

#[test]
fn honest_peers_finish_through_translation_and_no_answer_goes_astray() {
    (0..24_u64).into_par_iter().for_each(|seed| {
        let mut world = world(seed, ROOM, [0, 2, 10][seed as usize / 8]);
        talk(&mut world, 120, 10_000);
        while world.step() {
            world.it.shard.expire(world.it.now, 100);
            check(&mut world);
        }
        assert_eq!((world.finished(), world.misled), (120, 0), "seed {seed}");
        check_end(&mut world, seed);
    });
}

#[test]
fn nothing_that_comes_in_makes_two_connections_own_one_tuple() {
    (0..12_u64).into_par_iter().for_each(|seed| {
        let mut world = world(seed, [20, 50, 200][seed as usize % 3], 5);
        talk(&mut world, 120, 20_000);
        while world.step() {
            if world.chance(2) && world.chance(10) {
                let settings = world.it.shard.configuration().settings.clone();
                let rules =
                    if world.chance(20) { Nat::default() } else { nat(world.rng.random_range(0..12)) };
                world.it.configure(routed(settings, accept_all(), rules));
            }
            hostile::disturb(&mut world);
            if world.chance(10) {
                stranger(&mut world);
            }
            check(&mut world);
        }
        check_end(&mut world, seed);
    });
}
