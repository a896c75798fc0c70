//! Children of translated connections: they go where their masters go, both ways.

use super::*;
use crate::common::expecting::{tuple, wanted};
use sluice_conntrack::expectations::{ChildNat, Limits, SourceMask, Wanted};
use sluice_conntrack::tuple::number;
use std::net::IpAddr;

fn nat(source: &str, destination: &str) -> Option<ChildNat> {
    let to: SocketAddr = destination.parse().unwrap();
    let source: IpAddr = source.parse().unwrap();
    Some(ChildNat { source: number(source), destination: number(to.ip()), port: to.port(), source_port: 0 })
}

/// A box whose master has crossed it from inside, or from outside.
fn with_master(nat: Nat, port: PortId, master: Pair) -> Middlebox {
    let mut it = Middlebox::routed(nat);
    assert!(matches!(it.pass_one(port, &master.tcp("S", 1000, 0)).0.action, Action::Forward(_)));
    it
}

#[track_caller]
fn expect(it: &mut Middlebox, master: Pair, wanted: &Wanted) {
    it.shard.expect_for(&tuple(master), wanted, Limits::default()).unwrap().unwrap();
}

/// A child and its answer cross the box, translated.
#[track_caller]
fn follows(it: &mut Middlebox, port: PortId, child: Pair, becomes: Pair) {
    let other = PortId(1 - port.0);
    let first = it.crosses(port, &child.tcp("S", 70_000, 0), &becomes.tcp("S", 70_000, 0));
    assert_eq!(first.state, Some(State::Related));
    let answer = (becomes.inverse().tcp("SA", 80_000, 70_001), child.inverse().tcp("SA", 80_000, 70_001));
    assert_eq!(it.crosses(other, &answer.0, &answer.1).state, Some(State::Established));
    it.crosses(port, &child.tcp("A", 70_001, 80_001), &becomes.tcp("A", 70_001, 80_001));
    it.check();
}

const SERVER: &str = "198.51.100.2:21";

#[test]
fn a_server_comes_to_the_client_behind_masquerade() {
    let master = Pair::at("10.0.0.2:40000", SERVER);
    let mut it = with_master(masquerade(), INSIDE, master);
    let public = Pair::at("198.51.100.2:0", "203.0.113.1:5001");
    expect(&mut it, master, &Wanted { nat: nat("198.51.100.2", "10.0.0.2:5001"), ..wanted(public) });
    let child = Pair::at("198.51.100.2:20", "203.0.113.1:5001");
    follows(&mut it, OUTSIDE, child, Pair::at("198.51.100.2:20", "10.0.0.2:5001"));
}

#[test]
fn a_masqueraded_client_goes_to_where_its_server_listens() {
    let master = Pair::at("10.0.0.2:40000", SERVER);
    let mut it = with_master(masquerade(), INSIDE, master);
    // Another client has the port that the child would keep.
    it.goes_out(&Pair::at("10.0.0.3:40001", "198.51.100.2:5001").tcp("S", 1, 0));
    let inside = Pair::at("10.0.0.2:0", "198.51.100.2:5001");
    expect(&mut it, master, &Wanted { nat: nat("203.0.113.1", "198.51.100.2:5001"), ..wanted(inside) });
    let child = Pair::at("10.0.0.2:40001", "198.51.100.2:5001");
    let frame = it.goes_out(&child.tcp("S", 70_000, 0));
    assert_eq!(source_address(&frame), "203.0.113.1");
    assert_ne!(source_port(&frame), 40_001, "one that is free");
    let (_, entry) = it.entries()[2];
    assert!(entry.status.contains(Status::EXPECTED) && entry.status.contains(Status::SRC_NAT));
    it.check();
}

#[test]
fn it_is_its_master_that_a_child_follows_and_no_rule() {
    // Two addresses outside: by the rule a client could get either.
    let master = Pair::at("10.0.0.2:40000", SERVER);
    let mut it = with_master(source(to("203.0.113.10")), INSIDE, master);
    let inside = Pair::at("10.0.0.2:0", "198.51.100.2:5001");
    expect(&mut it, master, &Wanted { nat: nat("203.0.113.77", "198.51.100.2:5001"), ..wanted(inside) });
    let child = Pair::at("10.0.0.2:40001", "198.51.100.2:5001");
    follows(&mut it, INSIDE, child, Pair::at("203.0.113.77:40001", "198.51.100.2:5001"));
}

#[test]
fn a_client_reaches_the_data_port_of_a_server_behind_dnat() {
    let master = Pair::at("198.51.100.9:40000", "203.0.113.10:21");
    let rules = destination(towards("203.0.113.10"), to("10.0.0.5:21"));
    let mut it = with_master(rules, OUTSIDE, master);
    let public = Pair::at("198.51.100.9:0", "203.0.113.10:51210");
    expect(&mut it, master, &Wanted { nat: nat("198.51.100.9", "10.0.0.5:51210"), ..wanted(public) });
    let child = Pair::at("198.51.100.9:40001", "203.0.113.10:51210");
    follows(&mut it, OUTSIDE, child, Pair::at("198.51.100.9:40001", "10.0.0.5:51210"));
}

#[test]
fn a_server_behind_dnat_comes_to_its_client_by_the_public_address() {
    let master = Pair::at("198.51.100.9:40000", "203.0.113.10:21");
    let rules = destination(towards("203.0.113.10"), to("10.0.0.5:21"));
    let mut it = with_master(rules, OUTSIDE, master);
    let inside = Pair::at("10.0.0.5:0", "198.51.100.9:5001");
    expect(&mut it, master, &Wanted { nat: nat("203.0.113.10", "198.51.100.9:5001"), ..wanted(inside) });
    let child = Pair::at("10.0.0.5:20", "198.51.100.9:5001");
    follows(&mut it, INSIDE, child, Pair::at("203.0.113.10:20", "198.51.100.9:5001"));
}

#[test]
fn a_child_without_translation_of_its_own_goes_by_the_rules() {
    let master = Pair::at("198.51.100.9:40000", "10.0.0.5:21");
    let mut it = with_master(masquerade(), OUTSIDE, master);
    let inside = Pair::at("10.0.0.5:0", "198.51.100.9:5001");
    expect(&mut it, master, &wanted(inside));
    let child = Pair::at("10.0.0.5:20", "198.51.100.9:5001");
    follows(&mut it, INSIDE, child, Pair::at("203.0.113.1:20", "198.51.100.9:5001"));
}

#[test]
fn an_error_about_a_child_is_translated() {
    let master = Pair::at("10.0.0.2:40000", SERVER);
    let mut it = with_master(masquerade(), INSIDE, master);
    let public = Pair::at("198.51.100.2:0", "203.0.113.1:5001");
    expect(&mut it, master, &Wanted { nat: nat("198.51.100.2", "10.0.0.2:5001"), ..wanted(public) });
    let child = Pair::at("198.51.100.2:20", "203.0.113.1:5001").tcp("S", 1, 0);
    let inside = Pair::at("198.51.100.2:20", "10.0.0.2:5001").tcp("S", 1, 0);
    it.crosses(OUTSIDE, &child, &inside);
    let error = Packet { ttl: inside.ttl - 1, ..inside }.unreachable([10, 0, 0, 2].into());
    let (verdict, frame) = it.pass_one(INSIDE, &error);
    assert_eq!((verdict.state, verdict.action), (Some(State::Related), Action::Forward(OUTSIDE)));
    assert_eq!(source_address(&frame), "203.0.113.1");
}

/// What would be announced for a client's port.
fn announced(it: &mut Middlebox, master: Pair, address: &str, port: u16) -> Option<u16> {
    let child = Pair::of([198, 51, 100, 2].into(), 0, address.parse().unwrap(), port);
    it.shard.port_to_announce_for(&tuple(master), &wanted(child))
}

#[test]
fn the_clients_port_is_announced_if_it_can_be() {
    let [first, second] = ["10.0.0.2:40000", "10.0.0.3:41000"].map(|client| Pair::at(client, SERVER));
    let mut it = with_master(masquerade(), INSIDE, first);
    it.goes_out(&second.tcp("S", 1000, 0));
    let public = "203.0.113.1";
    assert_eq!(announced(&mut it, first, public, 5001), Some(5001));
    let child = Pair::at("198.51.100.2:0", "203.0.113.1:5001");
    expect(&mut it, first, &Wanted { nat: nat("198.51.100.2", "10.0.0.2:5001"), ..wanted(child) });
    assert_eq!(announced(&mut it, first, public, 5001), Some(5001), "again");
    let other = announced(&mut it, second, public, 5001).unwrap();
    assert!(other >= 1024 && other != 5001);
    let used = announced(&mut it, first, public, 41_000).unwrap();
    assert!(used >= 1024 && used != 41_000, "a port that is in use outside");
    assert!(announced(&mut it, first, public, 700).is_some_and(|port| port == 700));
}

#[test]
fn a_port_that_is_announced_is_one_of_the_rule() {
    let ports = || PortChoice::Among(6000..=6003);
    let master = Pair::at("10.0.0.2:40000", SERVER);
    let mut it = with_master(source(pool("203.0.113.10", "203.0.113.11", ports())), INSIDE, master);
    let mut seen = std::collections::BTreeSet::new();
    while let Some(port) = announced(&mut it, master, "203.0.113.10", 5001) {
        assert!((6000..=6003).contains(&port) && seen.insert(port));
        let child = Pair::of([198, 51, 100, 2].into(), 0, [203, 0, 113, 10].into(), port);
        expect(&mut it, master, &Wanted { source: SourceMask::Any, class: port as u8, ..wanted(child) });
    }
    assert!(seen.len() >= 3, "all but that of the master: {seen:?}");
}
