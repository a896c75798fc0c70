//! ICMP errors about translated connections: outside and inside, whoever sends them.

use super::*;
use sluice_conntrack::InvalidReason;
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// How a client inside is seen outside, by protocol: the packet it sends, and what that becomes.
fn connections() -> Vec<(Nat, Packet, Packet)> {
    let moved = |ports: std::ops::RangeInclusive<u16>| Nat {
        source: vec![
            NatRule::new(outwards(), pool("203.0.113.10", "203.0.113.10", PortChoice::Among(ports.clone()))),
            NatRule::new(outwards(), pool("2001:db8:2::a", "2001:db8:2::a", PortChoice::Among(ports))),
        ],
        destination: vec![],
    };
    let v4 =
        (Pair::at("10.0.0.2:40000", "198.51.100.2:80"), Pair::at("203.0.113.10:5555", "198.51.100.2:80"));
    let v6 = (
        Pair::at("[fd00::2]:40000", "[2001:db8:9::2]:80"),
        Pair::at("[2001:db8:2::a]:5555", "[2001:db8:9::2]:80"),
    );
    let kept =
        (Pair::at("10.0.0.2:40000", "198.51.100.2:80"), Pair::at("203.0.113.1:40000", "198.51.100.2:80"));
    let mut all = vec![(masquerade(), kept.0.udp(64), kept.1.udp(64))];
    for (inside, outside) in [v4, v6] {
        for payload_len in [0, 1, 63, 64] {
            all.push((moved(5555..=5555), inside.udp(payload_len), outside.udp(payload_len)));
        }
        all.push((moved(5555..=5555), inside.tcp("S", 1000, 0), outside.tcp("S", 1000, 0)));
        all.push((moved(5555..=5555), inside.echo(9, 1), outside.echo(5555, 1)));
    }
    all
}

/// Errors of each kind that a packet can meet: type, code, and what stands behind the checksum.
fn kinds(packet: &Packet) -> Vec<(u8, u8, [u8; 4])> {
    match packet.source {
        IpAddr::V4(_) => vec![
            (3, 1, [0; 4]),
            (3, 3, [0; 4]),
            (3, 4, [0, 0, 5, 120]),
            (4, 0, [0; 4]),
            (11, 0, [0; 4]),
            (12, 0, [20, 0, 0, 0]),
        ],
        IpAddr::V6(_) => vec![(1, 4, [0; 4]), (2, 0, [0, 0, 5, 0]), (3, 0, [0; 4]), (4, 1, [0, 0, 0, 6])],
    }
}

/// The error that `router` sends about `packet` as it is seen there.
fn error(router: IpAddr, packet: &Packet, (kind, code, words): (u8, u8, [u8; 4]), quoted: usize) -> Packet {
    let mut quote = Packet { ttl: packet.ttl - 1, ..packet.clone() }.datagram();
    quote.truncate(quoted);
    Pair::of(router, 0, packet.source, 0).icmp(kind, code, words, &quote)
}

/// Bytes of a quote that is a header and so many bytes behind it.
fn quoted(packet: &Packet, l4: usize) -> usize {
    l4 + if packet.source.is_ipv4() { 20 } else { 40 }
}

#[test]
fn an_error_from_outside_shows_the_client_the_packet_that_it_sent() {
    for (nat, inside, outside) in connections() {
        for router in [ip("192.0.2.1"), ip("2001:db8:99::1")] {
            if router.is_ipv4() != inside.source.is_ipv4() {
                continue;
            }
            for kind in kinds(&inside) {
                // From the least that a router quotes to the whole packet.
                for l4 in [8, 9, 12, 18, 19, 20, 1000] {
                    let mut it = Middlebox::routed(nat.clone());
                    it.crosses(INSIDE, &inside, &outside);
                    let comes = error(router, &outside, kind, quoted(&outside, l4));
                    let mut becomes = error(router, &inside, kind, quoted(&inside, l4));
                    becomes.destination = inside.source;
                    let verdict = it.crosses(OUTSIDE, &comes, &becomes);
                    assert_eq!(verdict.state, Some(State::Related));
                    it.check();
                }
            }
        }
    }
}

#[test]
fn an_error_from_inside_hides_who_sent_it() {
    for (nat, inside, outside) in connections() {
        if matches!(inside.protocol, frame::ICMP | frame::ICMPV6) {
            continue;
        }
        // The answer as it is seen on each side.
        let answer = |packet: &Packet| {
            let mut answer =
                Packet { source: packet.destination, destination: packet.source, ..packet.clone() };
            let (from, to) = packet.l4.split_at(2);
            answer.l4 = [&to[..2], from, &to[2..]].concat();
            if answer.protocol == frame::TCP {
                answer.l4[13] = 0x12;
                answer.l4[8..12].copy_from_slice(&1001_u32.to_be_bytes());
            }
            answer
        };
        let senders = match inside.source {
            IpAddr::V4(_) => [inside.source, ip("10.0.0.254")],
            IpAddr::V6(_) => [inside.source, ip("fd00::fe")],
        };
        for sender in senders {
            let mut it = Middlebox::routed(nat.clone());
            it.crosses(INSIDE, &inside, &outside);
            it.crosses(OUTSIDE, &answer(&outside), &answer(&inside));
            for kind in kinds(&inside) {
                let comes = error(sender, &answer(&inside), kind, 1000);
                let becomes = error(outside.source, &answer(&outside), kind, 1000);
                it.crosses(INSIDE, &comes, &becomes);
            }
            it.check();
        }
    }
}

#[test]
fn errors_about_a_server_inside_are_its_public_addresss() {
    let nat = destination(towards("203.0.113.10"), to("10.0.0.5:8080"));
    let mut it = Middlebox::routed(nat);
    let (public, inside) =
        (Pair::at("198.51.100.9:40000", "203.0.113.10:80"), Pair::at("198.51.100.9:40000", "10.0.0.5:8080"));
    it.crosses(OUTSIDE, &public.udp(30), &inside.udp(30));
    // The server, or a router before it, refuses the packet.
    for sender in ["10.0.0.5", "10.0.0.254"] {
        let comes = error(ip(sender), &inside.udp(30), (3, 3, [0; 4]), 1000);
        it.crosses(INSIDE, &comes, &error(ip("203.0.113.10"), &public.udp(30), (3, 3, [0; 4]), 1000));
    }
    // A router outside refuses the answer.
    it.crosses(INSIDE, &inside.inverse().udp(30), &public.inverse().udp(30));
    let comes = error(ip("192.0.2.1"), &public.inverse().udp(30), (11, 0, [0; 4]), 28);
    it.crosses(OUTSIDE, &comes, &error(ip("192.0.2.1"), &inside.inverse().udp(30), (11, 0, [0; 4]), 28));
    it.check();
}

/// Linux has these errors come from the address of the connection's own host.
#[test]
fn an_error_about_a_connection_of_which_only_a_port_changed_keeps_its_sender() {
    for (there, here, port, other, router) in [
        ("198.51.100.2:80", "10.0.0.5:40000", 5555, "198.51.100.9", "10.0.0.254"),
        ("[2001:db8:9::2]:80", "[fd00::5]:40000", 5555, "2001:db8:9::9", "fd00::fe"),
    ] {
        let inside = Pair::at(here, there);
        let host = inside.source.ip();
        let mut outside = inside;
        outside.source.set_port(port);
        // The host inside is the client.
        let ports = PortChoice::Among(port..=port);
        let text = host.to_string();
        let mut it = Middlebox::routed(source(pool(&text, &text, ports)));
        it.crosses(INSIDE, &inside.udp(30), &outside.udp(30));
        it.crosses(OUTSIDE, &outside.inverse().udp(30), &inside.inverse().udp(30));
        let mut served = Middlebox::routed(destination(towards(&text), to(&inside.source.to_string())));
        // It is the server.
        served.crosses(OUTSIDE, &outside.inverse().udp(30), &inside.inverse().udp(30));
        served.crosses(INSIDE, &inside.udp(30), &outside.udp(30));
        for it in [&mut it, &mut served] {
            for sender in [host, ip(router)] {
                let comes = inside.inverse().udp(30).time_exceeded(sender);
                it.crosses(INSIDE, &comes, &outside.inverse().udp(30).time_exceeded(sender));
            }
            for sender in [inside.destination.ip(), ip(other)] {
                let comes = outside.udp(30).time_exceeded(sender);
                it.crosses(OUTSIDE, &comes, &inside.udp(30).time_exceeded(sender));
            }
            it.check();
        }
    }
}

#[test]
fn a_quote_without_a_checksum_or_with_a_wrong_one_stays_so() {
    let (inside, outside) =
        (Pair::at("10.0.0.2:40000", "198.51.100.2:80"), Pair::at("203.0.113.1:40000", "198.51.100.2:80"));
    let mut it = Middlebox::routed(masquerade());
    it.crosses(INSIDE, &inside.udp(10), &outside.udp(10));
    let unset = |pair: Pair| Packet { checksum_at: None, ..pair.udp(10) };
    for [seen, sent] in [[unset(outside), unset(inside)], [outside.udp(10).spoilt(), inside.udp(10).spoilt()]]
    {
        let comes = error(ip("192.0.2.1"), &seen, (3, 3, [0; 4]), 1000);
        it.crosses(OUTSIDE, &comes, &error(ip("192.0.2.1"), &sent, (3, 3, [0; 4]), 1000));
    }
}

#[test]
fn errors_about_nothing_are_not_translated() {
    let mut it = Middlebox::routed(masquerade());
    let inside = Pair::at("10.0.0.2:40000", "198.51.100.2:80");
    it.goes_out(&inside.udp(10));
    let unmapped = Pair::at("203.0.113.1:40001", "198.51.100.2:80").udp(10);
    let forged = inside.udp(10);
    for packet in [unmapped, forged] {
        let error = error(ip("192.0.2.1"), &packet, (3, 3, [0; 4]), 1000);
        let (verdict, frame) = it.pass_one(OUTSIDE, &error);
        assert_eq!(verdict.state, Some(State::Invalid));
        let mut left = error.frame();
        if matches!(verdict.action, Action::Forward(_)) {
            left = Packet { ttl: error.ttl - 1, ..error }.frame();
        }
        assert_eq!(hex(&frame), hex(&left));
    }
}

#[test]
fn redirects_about_translated_connections_are_dropped() {
    let mut it = Middlebox::routed(masquerade());
    let (inside, outside) =
        (Pair::at("10.0.0.2:40000", "198.51.100.2:80"), Pair::at("203.0.113.1:40000", "198.51.100.2:80"));
    it.crosses(INSIDE, &inside.udp(10), &outside.udp(10));
    let redirect = |packet: &Packet| error(ip("203.0.113.254"), packet, (5, 1, [203, 0, 113, 9]), 1000);
    let (verdict, frame) = it.pass_one(OUTSIDE, &redirect(&outside.udp(10)));
    assert_eq!((verdict.action, verdict.state), (Action::Drop(DropReason::NatUnknown), Some(State::Related)));
    assert_eq!(hex(&frame), hex(&redirect(&outside.udp(10)).frame()));
    // One about a connection that is not translated passes.
    let plain = Pair::at("198.51.100.9:1", "10.0.0.9:2").udp(10);
    it.crosses(OUTSIDE, &plain, &plain);
    let about = error(ip("10.0.0.254"), &plain, (5, 1, [10, 0, 0, 7]), 1000);
    it.crosses(INSIDE, &about, &about);
}

#[test]
fn an_error_that_quotes_less_than_eight_bytes_is_dropped() {
    for (nat, inside, outside) in connections() {
        if inside.source.is_ipv6() || inside.protocol == frame::ICMP {
            continue;
        }
        let mut it = Middlebox::routed(nat);
        it.crosses(INSIDE, &inside, &outside);
        for l4 in [4, 7] {
            let error = error(ip("192.0.2.1"), &outside, (3, 1, [0; 4]), quoted(&outside, l4));
            let (verdict, frame) = it.pass_one(OUTSIDE, &error);
            assert_eq!(verdict.action, Action::Drop(DropReason::NatUnknown));
            assert_eq!(hex(&frame), hex(&error.frame()));
        }
    }
}

/// RFC 5508 section 4.1, requirement 3a, which Linux passes over.
#[test]
fn an_error_that_quotes_a_damaged_header_is_invalid_where_that_is_looked_at() {
    let (inside, outside) =
        (Pair::at("10.0.0.2:40000", "198.51.100.2:80"), Pair::at("203.0.113.1:40000", "198.51.100.2:80"));
    let error = |damage: u8| {
        let mut quote = outside.udp(10).datagram();
        quote[8] ^= damage; // the TTL, as some routers change it and nothing else
        Pair::at("192.0.2.1:0", "203.0.113.1:0").icmp(11, 0, [0; 4], &quote)
    };
    let server = "[2001:db8:9::2]:80";
    let v6 = (Pair::at("[fd00::2]:40000", server).udp(10), Pair::at("[2001:db8:2::1]:40000", server).udp(10));
    for looked_at in [false, true] {
        let mut it = Middlebox::routed(masquerade());
        it.change(|configuration| configuration.settings.quote_checksum = looked_at);
        it.crosses(INSIDE, &inside.udp(10), &outside.udp(10));
        let (whole, damaged) = (it.outside(&error(0)), it.outside(&error(1)));
        assert_eq!((whole.state, whole.action), (Some(State::Related), Action::Forward(INSIDE)));
        let expected = if looked_at { State::Invalid } else { State::Related };
        assert_eq!(damaged.state, Some(expected));
        assert_eq!(damaged.invalid, looked_at.then_some(InvalidReason::IcmpQuote));
        // Options are part of the header.
        let mut options = outside.udp(10).datagram();
        options.splice(20..20, [1; 4]);
        options[0] = 0x46;
        let error = Pair::at("192.0.2.1:0", "203.0.113.1:0").icmp(11, 0, [0; 4], &options);
        assert_eq!(it.outside(&error).state, Some(expected));
        // IPv6 headers have no checksum to be wrong.
        it.crosses(INSIDE, &v6.0, &v6.1);
        assert_eq!(it.outside(&v6.1.time_exceeded(ip("2001:db8:99::1"))).state, Some(State::Related));
    }
}

/// RFC 5508 section 4.2, requirement 5c.
#[test]
fn a_router_with_an_address_of_its_own_outside_sends_errors_from_there() {
    let one_to_one = |errors, network: &str, public: &str| {
        let prefix = |text: &str| {
            let (address, length) = text.split_once('/').unwrap();
            Prefix::new(ip(address), length.parse().unwrap())
        };
        let matches = Match { source: vec![prefix(network)], ..outwards() };
        NatRule { errors, ..NatRule::new(matches, Target::Prefix(prefix(public))) }
    };
    let families = [
        (
            "10.0.0.2:40000",
            "198.51.100.2:80",
            "203.0.113.1:40000",
            "10.0.0.254",
            "203.0.113.254",
            "10.0.0.99",
        ),
        (
            "[fd00::2]:40000",
            "[2001:db8:9::2]:80",
            "[2001:db8:2::1]:40000",
            "fd00::fe",
            "2001:db8:2::fe",
            "fd00::99",
        ),
    ];
    for (client, server, seen, router, public, other) in families {
        for errors in [false, true] {
            let nat = Nat {
                source: vec![
                    one_to_one(errors, "10.0.0.128/25", "203.0.113.128/25"),
                    one_to_one(errors, "fd00::f0/124", "2001:db8:2::f0/124"),
                    NatRule::new(outwards(), Target::Masquerade(PortChoice::Preserve)),
                ],
                destination: vec![],
            };
            let mut it = Middlebox::routed(nat);
            let (inside, outside) = (Pair::at(client, server), Pair::at(seen, server));
            it.crosses(INSIDE, &inside.udp(10), &outside.udp(10));
            it.crosses(OUTSIDE, &outside.inverse().udp(10), &inside.inverse().udp(10));
            let own = if errors { ip(public) } else { outside.source.ip() };
            // One without an address of its own has the connection's, as ever.
            for (sender, becomes) in [(ip(router), own), (ip(other), outside.source.ip())] {
                let comes = inside.inverse().udp(10).time_exceeded(sender);
                it.crosses(INSIDE, &comes, &outside.inverse().udp(10).time_exceeded(becomes));
            }
            // Errors from outside have nothing to hide.
            let comes = outside.udp(10).unreachable(outside.destination.ip());
            it.crosses(OUTSIDE, &comes, &inside.udp(10).unreachable(inside.destination.ip()));
            it.check();
        }
    }
}
