//! Source translation: what address and port a connection gets.

use super::*;
use crate::common::frame::Segment;
use std::collections::BTreeSet;

const SERVER: &str = "198.51.100.2:80";

fn client(text: &str) -> Pair {
    Pair::at(text, SERVER)
}

#[test]
fn a_masqueraded_connection_lives_and_ends() {
    for (inside, outside) in [
        (Pair::at("10.0.0.2:40000", SERVER), Pair::at("203.0.113.1:40000", SERVER)),
        (
            Pair::at("[fd00::2]:40000", "[2001:db8:9::2]:80"),
            Pair::at("[2001:db8:2::1]:40000", "[2001:db8:9::2]:80"),
        ),
    ] {
        let mut it = Middlebox::routed(masquerade());
        let data =
            |seq, ack, payload_len| Segment { flags: 0x18, seq, ack, payload_len, ..Segment::default() };
        let options =
            Segment { flags: 2, seq: 100, options: vec![2, 4, 5, 180, 4, 2, 3, 3, 7], ..Segment::default() };
        let out = |it: &mut Middlebox, segment: &dyn Fn(Pair) -> Packet| {
            it.crosses(INSIDE, &segment(inside), &segment(outside))
        };
        let back = |it: &mut Middlebox, segment: &dyn Fn(Pair) -> Packet| {
            it.crosses(OUTSIDE, &segment(outside.inverse()), &segment(inside.inverse()))
        };
        assert_eq!(out(&mut it, &|pair| pair.segment(&options)).state, Some(State::New));
        assert_eq!(back(&mut it, &|pair| pair.tcp("SA", 500, 101)).state, Some(State::Established));
        out(&mut it, &|pair| pair.tcp("A", 101, 501));
        out(&mut it, &|pair| pair.segment(&data(101, 501, 77)));
        back(&mut it, &|pair| pair.segment(&data(501, 178, 1000)));
        assert_eq!(it.entry().state, Some("ESTABLISHED"));
        out(&mut it, &|pair| pair.tcp("FA", 178, 1501));
        back(&mut it, &|pair| pair.tcp("FA", 1501, 179));
        out(&mut it, &|pair| pair.tcp("A", 179, 1502));
        let entry = it.entry();
        assert_eq!((entry.state, entry.status.contains(Status::ASSURED)), (Some("TIME_WAIT"), true));
        it.check();
        assert_eq!(it.ports_in_use(&outside.source.ip().to_string()), 1);
        it.pass(secs(121));
        assert!(it.shard.is_empty());
        it.check();
        assert_eq!(it.ports_in_use(&outside.source.ip().to_string()), 0);
    }
}

#[test]
fn a_port_is_kept_towards_other_servers_and_changed_within_its_class_towards_the_same() {
    for (port, class) in [
        (1, 1..=511),
        (511, 1..=511),
        (512, 600..=1023),
        (1023, 600..=1023),
        (1024, 1024..=65535),
        (40000, 1024..=65535),
    ] {
        let mut it = Middlebox::routed(masquerade());
        let from = |host| Pair::of([10, 0, 0, host].into(), port, [198, 51, 100, 2].into(), 80);
        assert_eq!(
            source_port(&it.goes_out(&from(2).udp(1))),
            port,
            "kept, although {port} may be in no class"
        );
        let other = source_port(&it.goes_out(&from(3).udp(1)));
        assert!(other != port && class.contains(&other), "{port} became {other}");
        let elsewhere = Pair { destination: "198.51.100.3:80".parse().unwrap(), ..from(4) };
        assert_eq!(source_port(&it.goes_out(&elsewhere.udp(1))), port);
        // The answers find their ways.
        let seen = |port| Pair::of([203, 0, 113, 1].into(), port, [198, 51, 100, 2].into(), 80);
        it.crosses(OUTSIDE, &seen(port).inverse().udp(5), &from(2).inverse().udp(5));
        it.crosses(OUTSIDE, &seen(other).inverse().udp(5), &from(3).inverse().udp(5));
        it.crosses(INSIDE, &from(3).udp(9), &seen(other).udp(9));
        it.check();
    }
}

#[test]
fn any_port_is_kept_that_nobody_has() {
    let mut it = Middlebox::routed(masquerade());
    for port in [0, 1, 512, 550, 599, 600, 65535] {
        assert_eq!(source_port(&it.goes_out(&client(&format!("10.0.0.2:{port}")).udp(1))), port);
    }
}

#[test]
fn protocols_do_not_take_ports_from_one_another() {
    let mut it = Middlebox::routed(masquerade());
    assert_eq!(source_port(&it.goes_out(&client("10.0.0.2:4000").udp(1))), 4000);
    assert_eq!(source_port(&it.goes_out(&client("10.0.0.3:4000").tcp("S", 1, 0))), 4000);
}

#[test]
fn the_address_is_that_of_the_network_on_the_way() {
    for (via, destination, own) in [
        ("203.0.113.254", "198.51.100.2:80", "203.0.113.1"),
        ("192.0.2.254", "198.51.100.2:80", "192.0.2.1"),
        ("203.0.113.254", "192.0.2.77:80", "192.0.2.1"),
    ] {
        let mut it =
            Middlebox::of_configuration(with_outside(&["203.0.113.1", "192.0.2.1"], via, masquerade()));
        let frame = it.goes_out(&Pair::at("10.0.0.2:4000", destination).udp(1));
        assert_eq!(source_address(&frame), own, "{destination} via {via}");
    }
}

#[test]
fn a_pool_spreads_clients_and_a_persistent_one_knows_them_again() {
    for (persistent, most_per_client) in [(false, 4), (true, 1)] {
        let mut nat = source(pool("203.0.113.10", "203.0.113.13", PortChoice::Preserve));
        nat.source[0].persistent = persistent;
        let mut it = Middlebox::routed(nat);
        let mut all = BTreeSet::new();
        for host in 2..22 {
            let mut own = BTreeSet::new();
            for server in 1..10 {
                let pair = Pair::of([10, 0, 0, host].into(), 4000, [198, 51, 100, server].into(), 80);
                let first = source_address(&it.goes_out(&pair.udp(1)));
                let again = Pair { source: (pair.source.ip(), 4001).into(), ..pair };
                assert_eq!(source_address(&it.goes_out(&again.udp(1))), first, "the same towards one server");
                own.insert(first);
            }
            assert!(own.len() <= most_per_client);
            all.extend(own);
        }
        assert_eq!(all.len(), 4, "{all:?}");
        it.check();
    }
}

#[test]
fn a_networks_hosts_keep_their_numbers() {
    let net = |text: &str, length| Target::Prefix(Prefix::new(text.parse().unwrap(), length));
    let nat = Nat {
        source: vec![
            NatRule::new(outwards(), net("203.0.113.64", 27)),
            NatRule::new(outwards(), net("2001:db8:77::", 64)),
        ],
        destination: vec![NatRule::new(
            Match { destination: vec![Prefix::new("203.0.113.64".parse().unwrap(), 27)], ..Match::default() },
            net("10.0.0.0", 27),
        )],
    };
    let mut it = Middlebox::routed(nat);
    for (inside, outside) in [
        (client("10.0.0.7:4000"), client("203.0.113.71:4000")),
        (
            Pair::at("[fd00::abcd]:4000", "[2001:db8:9::2]:80"),
            Pair::at("[2001:db8:77::abcd]:4000", "[2001:db8:9::2]:80"),
        ),
    ] {
        it.crosses(INSIDE, &inside.udp(3), &outside.udp(3));
        it.crosses(OUTSIDE, &outside.inverse().udp(3), &inside.inverse().udp(3));
    }
    // The other way round, from a server of the same number.
    let (outside, inside) =
        (Pair::at("198.51.100.9:5000", "203.0.113.72:22"), Pair::at("198.51.100.9:5000", "10.0.0.8:22"));
    it.crosses(OUTSIDE, &outside.tcp("S", 1, 0), &inside.tcp("S", 1, 0));
    it.crosses(INSIDE, &inside.inverse().tcp("SA", 1, 2), &outside.inverse().tcp("SA", 1, 2));
    it.check();
}

#[test]
fn the_first_rule_that_applies_decides() {
    let of = |address: &str, length| Match {
        source: vec![Prefix::new(address.parse().unwrap(), length)],
        ..outwards()
    };
    let nat = Nat {
        source: vec![
            NatRule::new(of("10.0.0.3", 32), Target::NoNat),
            NatRule::new(of("10.0.0.4", 32), to("2001:db8::1")),
            NatRule::new(of("10.0.0.0", 24), to("203.0.113.10")),
            NatRule::new(outwards(), to("203.0.113.11")),
        ],
        destination: vec![],
    };
    let mut it = Middlebox::routed(nat);
    for (host, becomes) in [
        ("10.0.0.2", "203.0.113.10"),
        ("10.0.0.3", "10.0.0.3"),
        ("10.0.0.4", "203.0.113.10"),
        ("10.0.1.5", "203.0.113.11"),
    ] {
        let frame = it.goes_out(&client(&format!("{host}:4000")).udp(1));
        assert_eq!(source_address(&frame), becomes, "{host}");
    }
    let bound: Vec<_> = it.shard.rule_counters().source.iter().map(|counter| counter.bound).collect();
    assert_eq!(bound, [0, 0, 2, 1]);
}

#[test]
fn rules_see_the_way_the_mark_and_the_zone() {
    use sluice_conntrack::policy::RuleAction;
    let marked = Match { mark: Some((7, u32::MAX)), ..outwards() };
    let nat = Nat {
        source: vec![
            NatRule::new(Match { ingress: vec![OUTSIDE], ..Match::default() }, to("203.0.113.12")),
            NatRule::new(marked, to("203.0.113.10")),
            NatRule::new(outwards(), to("203.0.113.11")),
        ],
        destination: vec![],
    };
    let to_dns = Match { destination_ports: vec![53..=53], ..Match::default() };
    let policy = rules([(to_dns, RuleAction::Mark(7)), (Match::default(), RuleAction::Accept)]);
    let mut it = Middlebox::routed_with(policy, nat);
    let dns = Pair::at("10.0.0.2:4000", "198.51.100.2:53");
    assert_eq!(source_address(&it.goes_out(&dns.udp(1))), "203.0.113.10");
    assert_eq!(source_address(&it.goes_out(&client("10.0.0.2:4000").udp(1))), "203.0.113.11");
    let (_, frame) = it.pass_one(OUTSIDE, &Pair::at("198.51.100.9:1", "10.0.0.9:2").udp(1));
    assert_eq!(source_address(&frame), "203.0.113.12");
}

#[test]
fn what_is_to_be_masqueraded_does_not_leave_without_an_address() {
    let router = Router::new(
        vec![
            Interface {
                addresses: vec![("fd00::1".parse().unwrap(), 64)],
                mtu: 1500,
                ..Interface::default()
            },
            Interface { addresses: vec![], mtu: 1500, ..Interface::default() },
        ],
        [Route::by(Prefix::new("0.0.0.0".parse().unwrap(), 0), OUTSIDE, None)],
    );
    let settings = Settings::of(Preset::Linux, ROOM);
    let configuration = Configuration::new(settings, accept_all(), Forwarding::Routed(Box::new(router)));
    let mut it = Middlebox::of_configuration(configuration.with_nat(masquerade()));
    it.finds_no_port(&Pair::at("10.0.0.2:40000", "198.51.100.2:80").udp(4));
}
