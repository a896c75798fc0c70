//! SANE through boxes of several shards: pictures are fetched from whoever named a port, whichever shards the request and the
//! picture land on.

use crate::common::*;
use crate::helpers::{CLIENTS, World, with_helper};
use crate::masquerade;
use sluice_conntrack::helpers::HelperId;
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Policy, Prefix, RuleAction};
use sluice_conntrack::{PortId, State};
use std::net::SocketAddr;

const INIT: &str = "\0\0\0\0\x01\0\0\x03\0\0\0\x03me\0";
const VERSION: &str = "\0\0\0\0\x01\0\0\x03";
const START: &str = "\0\0\0\x07\0\0\0\x01";
/// Success at port 30001, and the byte order of the picture.
const STARTED: &str = "\0\0\0\0\0\0u1\0\0\x12\x34\0\0\0\0";

/// Connections may be opened to scanners only, and what those have announced.
fn scanners_only() -> Policy {
    let scanners = Match { destination_ports: vec![6566..=6566], ..states([State::New]) };
    rules([
        (states([State::Established, State::Related]), RuleAction::Accept),
        (scanners, RuleAction::Accept),
    ])
}

/// A server inside is known by another address outside.
fn published() -> Nat {
    let public = Match { destination: vec![Prefix::new([203, 0, 113, 10].into(), 32)], ..Match::default() };
    let inside = [10, 0, 0, 5].into();
    let to = Target::Pool(vec![Range { first: inside, last: inside, ports: PortChoice::Preserve }]);
    Nat { source: vec![], destination: vec![NatRule::new(public, to)] }
}

/// Opens a connection to a server, asks it to scan, and gives the port that its reply names and the pair as it arrives.
fn scan(world: &mut World, from: PortId, client: Pair) -> (u16, Pair) {
    let to = PortId(1 - from.0);
    let server = world.pass(from, &client.tcp("S", 1000, 0)).expect("a SYN leaves").pair.inverse();
    world.pass(to, &server.tcp("SA", 5000, 1001)).expect("so does its answer");
    let mut next = [1001, 5001];
    let mut said = String::new();
    for (is_reply, text) in [(false, INIT), (true, VERSION), (false, START), (true, STARTED)] {
        let (port, pair, numbers) =
            if is_reply { (to, server, [next[1], next[0]]) } else { (from, client, next) };
        said = world.says(port, pair, numbers, text).text;
        next[usize::from(is_reply)] += text.len() as u32;
    }
    let mut port = said.chars().skip(6).map(|byte| byte as u16);
    (port.next().unwrap() << 8 | port.next().unwrap(), server)
}

#[test]
fn sane_g19_pictures_are_fetched_through_masquerade_on_any_shard() {
    for shards in [1, 2, 4] {
        for preset in PRESETS {
            let cluster = with_helper(shards, preset, scanners_only(), masquerade(), HelperId::Sane);
            let mut world = World { cluster };
            for client in 0..CLIENTS {
                let [high, low] = (client + 2).to_be_bytes();
                let from = format!("10.0.{high}.{low}");
                let client = Pair::at(&format!("{from}:40000"), "198.51.100.2:6566");
                let (port, _) = scan(&mut world, INSIDE, client);
                assert_eq!(port, 30_001, "the server's port is what it is");
                let data = Pair::at(&format!("{from}:40001"), "198.51.100.2:30001");
                let left = world.pass(INSIDE, &data.tcp("S", 1, 0)).expect("it is RELATED").pair;
                assert_eq!(left.source.ip().to_string(), "203.0.113.1");
                let back =
                    world.pass(OUTSIDE, &left.inverse().tcp("SA", 9, 2)).expect("so is its answer").pair;
                assert_eq!(back, data.inverse());
                let other = Pair::at(&format!("{from}:40002"), "198.51.100.2:30001");
                assert!(world.pass(INSIDE, &other.tcp("S", 1, 0)).is_none(), "it was expected once");
            }
            world.cluster.check();
        }
    }
}

#[test]
fn sane_g19_g20_pictures_come_from_a_published_server_on_any_shard() {
    for shards in [1, 2, 4] {
        for preset in PRESETS {
            let cluster = with_helper(shards, preset, scanners_only(), published(), HelperId::Sane);
            let mut world = World { cluster };
            let mut ports = vec![];
            for client in 0..CLIENTS {
                let from = Pair::at(&format!("198.51.100.2:{}", 40_000 + client), "203.0.113.10:6566");
                let (port, server) = scan(&mut world, OUTSIDE, from);
                assert_eq!(server.source, "10.0.0.5:6566".parse().unwrap());
                ports.push(port);
            }
            for (client, port) in (0..).zip(&ports) {
                // All were given the same port inside, which only one of them can have outside.
                assert_eq!(ports.iter().filter(|other| *other == port).count(), 1, "{ports:?}");
                let data =
                    Pair::at(&format!("198.51.100.2:{}", 50_000 + client), &format!("203.0.113.10:{port}"));
                let left = world.pass(OUTSIDE, &data.tcp("S", 1, 0)).expect("it is RELATED").pair;
                assert_eq!(left.destination, SocketAddr::from(([10, 0, 0, 5], 30_001)));
                let back =
                    world.pass(INSIDE, &left.inverse().tcp("SA", 9, 2)).expect("so is its answer").pair;
                assert_eq!(back, data.inverse());
            }
            world.cluster.check();
        }
    }
}
