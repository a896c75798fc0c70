//! Destination translation: to a server inside, to one of several, to the box, and back out the way it came.

use super::*;
use std::collections::BTreeSet;

const OUTER: &str = "198.51.100.9:40000";

#[test]
fn a_server_inside_is_reached_by_another_address_and_port() {
    for (public, inside, rule) in [
        (
            Pair::at(OUTER, "203.0.113.10:80"),
            Pair::at(OUTER, "10.0.0.5:8080"),
            destination(towards("203.0.113.10"), to("10.0.0.5:8080")),
        ),
        (
            Pair::at("[2001:db8:9::9]:4", "[2001:db8:2::a]:80"),
            Pair::at("[2001:db8:9::9]:4", "[fd00::5]:8080"),
            destination(towards("2001:db8:2::a"), to("[fd00::5]:8080")),
        ),
        // An address of the box itself, which its routes do not lead to.
        (
            Pair::at(OUTER, "203.0.113.1:80"),
            Pair::at(OUTER, "10.0.0.5:80"),
            destination(towards("203.0.113.1"), to("10.0.0.5")),
        ),
    ] {
        let mut it = Middlebox::routed(rule);
        it.crosses(OUTSIDE, &public.tcp("S", 1, 0), &inside.tcp("S", 1, 0));
        it.crosses(INSIDE, &inside.inverse().tcp("SA", 5, 2), &public.inverse().tcp("SA", 5, 2));
        it.crosses(OUTSIDE, &public.tcp("A", 2, 6), &inside.tcp("A", 2, 6));
        it.crosses(OUTSIDE, &public.udp(9), &inside.udp(9));
        it.crosses(INSIDE, &inside.inverse().udp(99), &public.inverse().udp(99));
        it.check();
    }
}

/// What the policy drops is bound to nothing, and neither is what a rule says to keep or what belongs to a connection already.
#[test]
fn each_connection_counts_for_the_rule_that_its_destination_was_bound_by() {
    let nat = Nat {
        source: vec![NatRule::new(outwards(), Target::Masquerade(PortChoice::Preserve))],
        destination: vec![
            NatRule::new(towards("203.0.113.9"), Target::NoNat),
            NatRule::new(towards("203.0.113.10"), to("10.0.0.5:8080")),
            NatRule::new(towards("203.0.113.10"), to("10.0.0.6")),
            NatRule::new(towards("203.0.113.11"), to("10.0.0.7")),
        ],
    };
    let doomed = Match { destination_ports: vec![99..=99], ..Match::default() };
    let policy = Policy { default: Outcome::Accept, ..rules([(doomed, RuleAction::Drop)]) };
    let mut it = Middlebox::routed_with(policy, nat);
    for (host, port) in [(9, 80), (10, 80), (10, 80), (10, 81), (11, 80), (11, 99)] {
        it.outside(&Pair::at(OUTER, &format!("203.0.113.{host}:{port}")).udp(1));
    }
    it.inside(&Pair::at("10.0.0.2:4000", OUTER).udp(1));
    let counters = it.shard.rule_counters();
    assert_eq!(counters.destination, [0, 2, 0, 1]);
    assert_eq!(counters.source[0].bound, 2, "the client's, and what is kept and leaves again");
}

#[test]
fn echo_goes_to_the_server_even_where_the_rule_has_a_port() {
    let mut it = Middlebox::routed(destination(towards("203.0.113.10"), to("10.0.0.5:8080")));
    let (public, inside) = (Pair::at(OUTER, "203.0.113.10:0"), Pair::at(OUTER, "10.0.0.5:0"));
    it.crosses(OUTSIDE, &public.echo(7, 1), &inside.echo(7, 1));
    it.crosses(INSIDE, &inside.inverse().echo_reply(7, 1), &public.inverse().echo_reply(7, 1));
    it.check();
}

#[test]
fn servers_share_the_clients() {
    let mut it = Middlebox::routed(destination(
        towards("203.0.113.10"),
        Target::Pool(vec![
            Range {
                first: "10.0.0.5".parse().unwrap(),
                last: "10.0.0.6".parse().unwrap(),
                ports: PortChoice::Preserve,
            },
            Range {
                first: "10.0.0.9".parse().unwrap(),
                last: "10.0.0.9".parse().unwrap(),
                ports: PortChoice::Among(8080..=8080),
            },
        ]),
    ));
    let mut servers = BTreeSet::new();
    for client in 1..60 {
        let pair = Pair::of([198, 51, 100, client].into(), 4000, [203, 0, 113, 10].into(), 80);
        let server = |it: &mut Middlebox, pair: Pair| {
            let (verdict, frame) = it.pass_one(OUTSIDE, &pair.tcp("S", 1, 0));
            assert_eq!(verdict.action, Action::Forward(INSIDE));
            (frame[33], u16::from_be_bytes([frame[36], frame[37]]))
        };
        let first = server(&mut it, pair);
        let again = Pair { source: (pair.source.ip(), 4001).into(), ..pair };
        assert_eq!(server(&mut it, again), first, "a client stays with its server");
        servers.insert(first);
    }
    assert_eq!(servers, BTreeSet::from([(5, 80), (6, 80), (9, 8080)]));
    it.check();
}

#[test]
fn ports_are_shifted() {
    let target = pool("10.0.0.5", "10.0.0.5", PortChoice::Shift { from: 5000, to: 6000 });
    let of_ports = Match { destination_ports: vec![5000..=5100], ..towards("203.0.113.10") };
    let mut it = Middlebox::routed(destination(of_ports, target));
    let public = |port| Pair::of([198, 51, 100, 9].into(), 4000, [203, 0, 113, 10].into(), port);
    let inside = |port| Pair::of([198, 51, 100, 9].into(), 4000, [10, 0, 0, 5].into(), port);
    for port in [5000, 5042, 5100] {
        it.crosses(OUTSIDE, &public(port).udp(1), &inside(port + 1000).udp(1));
    }
    let (verdict, _) = it.pass_one(OUTSIDE, &public(5101).udp(1));
    assert_eq!(verdict.action, Action::Forward(OUTSIDE), "no rule applies: to its own destination");
}

#[test]
fn a_range_of_ports_keeps_the_one_that_is_in_it() {
    let mut it = Middlebox::routed(destination(
        towards("203.0.113.10"),
        pool("10.0.0.5", "10.0.0.5", PortChoice::Among(8000..=8009)),
    ));
    let public = |port| Pair::of([198, 51, 100, 9].into(), 4000, [203, 0, 113, 10].into(), port);
    let port_of = |it: &mut Middlebox, port| {
        let (_, frame) = it.pass_one(OUTSIDE, &public(port).udp(1));
        u16::from_be_bytes([frame[36], frame[37]])
    };
    assert_eq!(port_of(&mut it, 8003), 8003);
    assert!((8000..=8009).contains(&port_of(&mut it, 80)));
    it.check();
}

#[test]
fn what_is_redirected_is_the_boxs_own() {
    let dns = Match { ingress: vec![INSIDE], destination_ports: vec![53..=53], ..Match::default() };
    let mut it = Middlebox::routed(destination(dns, Target::Masquerade(PortChoice::Among(5353..=5353))));
    let pair = Pair::at("10.0.0.2:4000", "198.51.100.2:53");
    let (verdict, frame) = it.pass_one(INSIDE, &pair.udp(1));
    let unreachable =
        Action::Reject(DropReason::Local, sluice_conntrack::verdict::Rejection::PortUnreachable);
    assert_eq!((verdict.action, verdict.state), (unreachable, Some(State::New)));
    assert_eq!(hex(&frame), hex(&pair.udp(1).frame()), "it is answered as it came");
    let entry = it.entry();
    assert_eq!((entry.reply.src, entry.reply.selector.sport()), (0x0a00_0001, 5353));
    it.check();
}

#[test]
fn both_ends_of_one_connection_are_translated() {
    for (outside, inside, to_server, to_client) in [
        (
            Pair::at(OUTER, "203.0.113.10:80"),
            Pair::at("10.0.0.1:40000", "10.0.0.5:8080"),
            to("10.0.0.5:8080"),
            Target::Masquerade(PortChoice::Preserve),
        ),
        (
            Pair::at("[2001:db8:9::9]:4000", "[2001:db8:2::a]:80"),
            Pair::at("[fd00::77]:6000", "[fd00::5]:8080"),
            to("[fd00::5]:8080"),
            to("[fd00::77]:6000"),
        ),
    ] {
        let public = outside.destination.ip().to_string();
        let nat = Nat {
            source: vec![NatRule::new(
                Match { egress: vec![INSIDE], status: Some(Status::DST_NAT), ..Match::default() },
                to_client,
            )],
            destination: vec![NatRule::new(towards(&public), to_server)],
        };
        let mut it = Middlebox::routed(nat);
        it.crosses(OUTSIDE, &outside.tcp("S", 1, 0), &inside.tcp("S", 1, 0));
        it.crosses(INSIDE, &inside.inverse().tcp("SA", 5, 2), &outside.inverse().tcp("SA", 5, 2));
        it.crosses(OUTSIDE, &outside.tcp("A", 2, 6), &inside.tcp("A", 2, 6));
        let status = it.entry().status;
        assert!(status.contains(Status::SRC_NAT) && status.contains(Status::DST_NAT));
        it.check();
    }
}
