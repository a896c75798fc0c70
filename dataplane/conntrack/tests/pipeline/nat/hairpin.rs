//! Hairpinning: clients inside reach a server inside by its public address, and its answers come back this way.

use super::*;
use std::net::IpAddr;

/// How a client sees a server inside by its public address, and how that sees the client; both families.
fn published() -> Vec<(Nat, Pair, Pair)> {
    let networks = [("203.0.113.0", 24, "10.0.8.0"), ("2001:db8:2::", 120, "fd00::100")];
    let one_to_one = networks.map(|(public, length, inside)| {
        let matches =
            Match { destination: vec![Prefix::new(public.parse().unwrap(), length)], ..Match::default() };
        NatRule::new(matches, Target::Prefix(Prefix::new(inside.parse().unwrap(), length)))
    });
    let single = [("203.0.113.10", "10.0.8.10"), ("2001:db8:2::10", "fd00::110")]
        .map(|(public, inside)| NatRule::new(towards(public), to(inside)));
    let mut all = vec![];
    for rules in [one_to_one, single] {
        let destination: Vec<_> = rules.into_iter().map(|rule| NatRule { hairpin: true, ..rule }).collect();
        for (public, seen) in [
            (Pair::at("10.0.0.2:40000", "203.0.113.10:80"), Pair::at("10.0.0.1:40000", "10.0.8.10:80")),
            (
                Pair::at("[fd00::2]:40000", "[2001:db8:2::10]:80"),
                Pair::at("[fd00::1]:40000", "[fd00::110]:80"),
            ),
        ] {
            all.push((Nat { source: vec![], destination: destination.clone() }, public, seen));
        }
    }
    all
}

/// A router behind the port inside.
fn router_inside(pair: Pair) -> IpAddr {
    if pair.source.is_ipv4() { "10.0.0.254".parse().unwrap() } else { "fd00::fe".parse().unwrap() }
}

#[test]
fn queries_are_hairpinned_and_answered() {
    for (nat, public, seen) in published() {
        let mut it = Middlebox::routed(nat);
        it.leaves(INSIDE, &public.echo(9, 1), INSIDE, &seen.echo(9, 1));
        let (answer, becomes) = (seen.inverse().echo_reply(9, 1), public.inverse().echo_reply(9, 1));
        let verdict = it.leaves(INSIDE, &answer, INSIDE, &becomes);
        assert_eq!(verdict.state, Some(State::Established));
        it.check();
    }
}

#[test]
fn errors_are_hairpinned_both_ways() {
    for (nat, public, seen) in published() {
        let packets: [fn(Pair) -> Packet; 3] =
            [|pair| pair.udp(30), |pair| pair.tcp("S", 1, 0), |pair| pair.echo(9, 1)];
        for packet in packets {
            let mut it = Middlebox::routed(nat.clone());
            it.leaves(INSIDE, &packet(public), INSIDE, &packet(seen));
            // The server, or a router before it, sends an error: the client sees one of the public address.
            for sender in [seen.destination.ip(), router_inside(seen)] {
                for error in [Packet::unreachable, Packet::time_exceeded] {
                    let comes = error(&packet(seen), sender);
                    let becomes = error(&packet(public), public.destination.ip());
                    let verdict = it.leaves(INSIDE, &comes, INSIDE, &becomes);
                    assert_eq!(verdict.state, Some(State::Related));
                }
            }
            it.check();
        }
        // The client refuses the answer: the server sees an error of the box.
        let mut it = Middlebox::routed(nat);
        it.leaves(INSIDE, &public.udp(30), INSIDE, &seen.udp(30));
        let (answer, becomes) = (seen.inverse().udp(40), public.inverse().udp(40));
        it.leaves(INSIDE, &answer, INSIDE, &becomes);
        for sender in [public.source.ip(), router_inside(public)] {
            let error = becomes.unreachable(sender);
            let verdict = it.leaves(INSIDE, &error, INSIDE, &answer.unreachable(seen.source.ip()));
            assert_eq!(verdict.state, Some(State::Related));
        }
        it.check();
    }
}

#[test]
fn hairpin_brings_the_answer_back_this_way() {
    let mut nat = destination(towards("203.0.113.10"), to("10.0.0.5:8080"));
    nat.destination[0].hairpin = true;
    let mut it = Middlebox::routed(nat);
    let (public, seen) =
        (Pair::at("10.0.0.2:40000", "203.0.113.10:80"), Pair::at("10.0.0.1:40000", "10.0.0.5:8080"));
    it.leaves(INSIDE, &public.tcp("S", 1, 0), INSIDE, &seen.tcp("S", 1, 0));
    it.leaves(INSIDE, &seen.inverse().tcp("SA", 5, 2), INSIDE, &public.inverse().tcp("SA", 5, 2));
    it.leaves(INSIDE, &public.tcp("A", 2, 6), INSIDE, &seen.tcp("A", 2, 6));
    // From outside the client's address stays.
    let (public, seen) =
        (Pair::at("198.51.100.9:40000", "203.0.113.10:80"), Pair::at("198.51.100.9:40000", "10.0.0.5:8080"));
    it.crosses(OUTSIDE, &public.tcp("S", 1, 0), &seen.tcp("S", 1, 0));
    it.check();
    assert_eq!(it.ports_in_use("10.0.0.1"), 1);
}

#[test]
fn without_hairpin_the_server_sees_the_client() {
    let mut it = Middlebox::routed(destination(towards("203.0.113.10"), to("10.0.0.5")));
    let (public, seen) =
        (Pair::at("10.0.0.2:40000", "203.0.113.10:80"), Pair::at("10.0.0.2:40000", "10.0.0.5:80"));
    it.leaves(INSIDE, &public.tcp("S", 1, 0), INSIDE, &seen.tcp("S", 1, 0));
    it.leaves(INSIDE, &seen.inverse().tcp("SA", 5, 2), INSIDE, &public.inverse().tcp("SA", 5, 2));
}
