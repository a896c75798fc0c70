//! Each protocol by its own rules: identifiers, checksums that are none or wrong, CRCs, and protocols without ports.

use super::*;
use crate::common::frame::init;
use sluice_conntrack::frame::Frame;
use sluice_conntrack::policy::Policy;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{Instant, InvalidReason};

const DCCP: u8 = 33;
const UDPLITE: u8 = 136;
const GRE: u8 = 47;

fn inside() -> Pair {
    Pair::at("10.0.0.2:40000", "198.51.100.2:80")
}

fn outside() -> Pair {
    Pair::at("203.0.113.1:40000", "198.51.100.2:80")
}

/// A source rule that gives all connections one port.
fn moved() -> Nat {
    source(pool("203.0.113.10", "203.0.113.10", PortChoice::Among(5555..=5555)))
}

fn seen_moved() -> Pair {
    Pair::at("203.0.113.10:5555", "198.51.100.2:80")
}

#[test]
fn identifiers_of_echo_and_timestamp_are_kept_or_changed_and_changed_back() {
    for (client, other, seen) in [
        (Pair::at("10.0.0.2:0", "198.51.100.2:0"), "10.0.0.3", "203.0.113.1:0"),
        (Pair::at("[fd00::2]:0", "[2001:db8:9::2]:0"), "fd00::3", "[2001:db8:2::1]:0"),
    ] {
        let mut it = Middlebox::routed(masquerade());
        let outside = Pair { source: seen.parse().unwrap(), ..client };
        it.crosses(INSIDE, &client.echo(7, 1), &outside.echo(7, 1));
        let other = Pair { source: (other.parse::<std::net::IpAddr>().unwrap(), 0).into(), ..client };
        let frame = it.goes_out(&other.echo(7, 1));
        let id_at = if client.source.is_ipv4() { 38 } else { 58 };
        let id = u16::from_be_bytes([frame[id_at], frame[id_at + 1]]);
        assert_ne!(id, 7);
        it.crosses(INSIDE, &other.echo(7, 2), &outside.echo(id, 2));
        it.crosses(OUTSIDE, &outside.inverse().echo_reply(id, 2), &other.inverse().echo_reply(7, 2));
        it.crosses(OUTSIDE, &outside.inverse().echo_reply(7, 1), &client.inverse().echo_reply(7, 1));
        it.check();
    }
    let mut it = Middlebox::routed(moved());
    for (query, answer, length) in [(13, 14, 12), (17, 18, 4), (15, 16, 0)] {
        let message = |pair: Pair, kind, id: u16| {
            let [a, b] = id.to_be_bytes();
            pair.icmp(kind, 0, [a, b, 0, 1], &[7; 12][..length])
        };
        it.crosses(INSIDE, &message(inside(), query, 9), &message(seen_moved(), query, 5555));
        it.crosses(
            OUTSIDE,
            &message(seen_moved().inverse(), answer, 5555),
            &message(inside().inverse(), answer, 9),
        );
    }
}

#[test]
fn what_a_node_is_asked_stays() {
    let client = Pair::at("[fd00::2]:0", "[2001:db8:9::2]:0");
    let seen = Pair::at("[2001:db8:2::1]:0", "[2001:db8:9::2]:0");
    // The node's name, by a nonce.
    let query = |pair: Pair| pair.icmp(139, 0, [0, 2, 0, 0], &[9; 8]);
    let answer = |pair: Pair| pair.icmp(140, 0, [0, 2, 0, 0], &[9; 8]);
    let mut random = masquerade();
    random.source[0].random = true;
    let mut mapped = masquerade();
    mapped.source[0].mapping = Mapping::EndpointIndependent;
    for nat in [masquerade(), random, mapped, source(Target::Masquerade(PortChoice::Among(5555..=5556)))] {
        let mut it = Middlebox::routed(nat);
        it.crosses(INSIDE, &query(client), &query(seen));
        it.crosses(OUTSIDE, &answer(seen.inverse()), &answer(client.inverse()));
        it.finds_no_port(&query(Pair::at("[fd00::3]:0", "[2001:db8:9::2]:0")));
        it.check();
    }
}

#[test]
fn an_identifier_is_one_towards_all_servers() {
    for (client, other, servers, own) in [
        ("10.0.0.2:0", "10.0.0.3:0", ["198.51.100.2:0", "198.51.100.3:0", "192.0.2.9:0"], "203.0.113.1:0"),
        (
            "[fd00::2]:0",
            "[fd00::3]:0",
            ["[2001:db8:9::2]:0", "[2001:db8:9::3]:0", "[2001:db8::9]:0"],
            "[2001:db8:2::1]:0",
        ),
    ] {
        let mut nat = masquerade();
        nat.source[0].mapping = Mapping::EndpointIndependent;
        let mut it = Middlebox::routed(nat);
        let id_at = if client.starts_with('[') { 58 } else { 38 };
        let frame = |it: &mut Middlebox, packet: &Packet| {
            let frame = it.goes_out(packet);
            u16::from_be_bytes([frame[id_at], frame[id_at + 1]])
        };
        assert_eq!(frame(&mut it, &Pair::at(client, servers[0]).echo(7, 1)), 7);
        let changed = frame(&mut it, &Pair::at(other, servers[1]).echo(7, 1));
        assert_ne!(changed, 7, "another client's, though that has not spoken to this server");
        for (client, id) in [(client, 7), (other, changed)] {
            for server in servers {
                let (inside, outside) = (Pair::at(client, server), Pair::at(own, server));
                it.crosses(INSIDE, &inside.echo(7, 2), &outside.echo(id, 2));
                it.crosses(OUTSIDE, &outside.inverse().echo_reply(id, 2), &inside.inverse().echo_reply(7, 2));
            }
        }
        it.check();
    }
}

#[test]
fn a_checksum_that_is_none_stays_none() {
    for (nat, seen) in [(masquerade(), outside()), (moved(), seen_moved())] {
        let mut it = Middlebox::routed(nat);
        let unset = |pair: Pair| Packet { checksum_at: None, ..pair.udp(30) };
        it.crosses(INSIDE, &unset(inside()), &unset(seen));
        it.crosses(OUTSIDE, &unset(seen.inverse()), &unset(inside().inverse()));
    }
}

/// A payload for which the checksum comes out as `wanted`.
fn with_checksum(pair: Pair, protocol: u8, wanted: u16) -> Packet {
    let coverage: [u8; 2] = if protocol == UDPLITE { [0, 0] } else { [0, 10] };
    let (source, destination) = (pair.source.port().to_be_bytes(), pair.destination.port().to_be_bytes());
    (0..=u16::MAX)
        .map(|word| {
            let l4 = [source, destination, coverage, [0, 0], word.to_be_bytes()].concat();
            pair.packet(protocol, l4, Some(6))
        })
        .find(|packet| packet.datagram()[26..28] == wanted.to_be_bytes())
        .unwrap()
}

#[test]
fn a_checksum_that_comes_out_as_zero_is_all_ones() {
    for (protocol, zero) in [(frame::UDP, 0xffff), (UDPLITE, 0)] {
        let mut it = Middlebox::routed(masquerade());
        let becomes = with_checksum(outside(), protocol, zero);
        let sent = Packet { source: inside().source.ip(), ..becomes.clone() };
        let (verdict, frame) = it.pass_one(INSIDE, &sent);
        assert_eq!(verdict.action, Action::Forward(OUTSIDE), "{verdict:?}");
        assert_eq!(frame[40..42], [0xff, 0xff], "protocol {protocol}");
    }
}

#[test]
fn what_is_damaged_stays_damaged() {
    // With checksums looked at it is INVALID, and not translated.
    let mut it = Middlebox::routed(masquerade());
    it.goes_out(&inside().udp(10));
    let (verdict, frame) = it.pass_one(INSIDE, &inside().udp(10).spoilt());
    assert_eq!(verdict.invalid, Some(InvalidReason::BadChecksum));
    assert_eq!(source_address(&frame), "10.0.0.2");

    let mut settings = Settings::of(Preset::Linux, ROOM);
    settings.checksum = false;
    for (nat, seen) in [(masquerade(), outside()), (moved(), seen_moved())] {
        let configuration = routed(settings.clone(), accept_all(), nat);
        let mut it = Middlebox::starting(Instant::from_ns(0), ROOM, configuration);
        for packet in [|pair: Pair| pair.udp(11), |pair: Pair| pair.tcp("S", 5, 0)] {
            it.crosses(INSIDE, &packet(inside()).spoilt(), &packet(seen).spoilt());
        }
        it.crosses(OUTSIDE, &seen.inverse().udp(1).spoilt(), &inside().inverse().udp(1).spoilt());
    }
}

#[test]
fn udplite_is_translated_whatever_its_checksum_covers() {
    let lite = |pair: Pair, coverage: u16| {
        let ports = [pair.source.port().to_be_bytes(), pair.destination.port().to_be_bytes()].concat();
        pair.packet(UDPLITE, [ports.as_slice(), &coverage.to_be_bytes(), &[0, 0], &[0; 20]].concat(), Some(6))
    };
    for (nat, seen) in [(masquerade(), outside()), (moved(), seen_moved())] {
        let mut it = Middlebox::routed(nat);
        // The payload is zeros: its checksum is the same whether it covers them or not.
        for coverage in [0, 8, 20, 28] {
            it.crosses(INSIDE, &lite(inside(), coverage), &lite(seen, coverage));
            it.crosses(OUTSIDE, &lite(seen.inverse(), coverage), &lite(inside().inverse(), coverage));
        }
        it.check();
    }
}

#[test]
fn the_checksum_of_dccp_follows_the_addresses() {
    let request = |pair: Pair| {
        let ports = [pair.source.port().to_be_bytes(), pair.destination.port().to_be_bytes()].concat();
        pair.packet(DCCP, [ports.as_slice(), &[5, 0, 0, 0], &[0; 12]].concat(), Some(6))
    };
    let mut it = Middlebox::routed(masquerade());
    it.crosses(INSIDE, &request(inside()), &request(outside()));
    it.crosses(OUTSIDE, &request(outside().inverse()), &request(inside().inverse()));
}

/// A frame in pieces.
#[derive(Debug)]
struct Scattered(PortId, Vec<Vec<u8>>);

impl Frame for Scattered {
    fn port(&self) -> PortId {
        self.0
    }

    fn head(&self) -> &[u8] {
        &self.1[0]
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.1[0]
    }

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        self.1[1..].iter().map(Vec::as_slice)
    }
}

#[test]
fn the_crc_follows_the_port_and_only_the_port() {
    for (nat, seen) in [(masquerade(), outside()), (moved(), seen_moved())] {
        let mut it = Middlebox::routed(nat);
        it.crosses(INSIDE, &inside().sctp(0, &init(1)), &seen.sctp(0, &init(1)));
        it.crosses(OUTSIDE, &seen.inverse().sctp(9, &init(2)), &inside().inverse().sctp(9, &init(2)));
        it.check();
    }
    // A wrong CRC, not looked at, is not made a right one where nothing that it covers changes.
    let mut settings = Settings::of(Preset::Linux, ROOM);
    settings.checksum = false;
    let mut it = Middlebox::starting(Instant::from_ns(0), ROOM, routed(settings, accept_all(), masquerade()));
    let spoilt = |pair: Pair| {
        let mut packet = pair.sctp(0, &init(1));
        packet.l4[8] ^= 1;
        packet
    };
    it.crosses(INSIDE, &spoilt(inside()), &spoilt(outside()));
}

#[test]
fn the_crc_of_a_packet_in_pieces_covers_them_all() {
    let chunk = [init(1), vec![0x80, 0, 0, 8, 1, 2, 3, 4]].concat();
    let (comes, becomes) = (inside().sctp(0, &chunk), seen_moved().sctp(0, &chunk));
    let becomes = Packet { ttl: becomes.ttl - 1, ..becomes }.frame();
    for cuts in [vec![66], vec![66, 67], vec![66, 70, 71]] {
        let mut it = Middlebox::routed(moved());
        let mut rest = comes.frame();
        let mut pieces = vec![];
        for cut in cuts.into_iter().rev() {
            pieces.insert(0, rest.split_off(cut));
        }
        pieces.insert(0, rest);
        let mut frames = [Scattered(INSIDE, pieces)];
        let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
        it.shard.process(it.now, &mut frames, &mut verdicts);
        assert_eq!(verdicts[0].action, Action::Forward(OUTSIDE), "{verdicts:?}");
        assert_eq!(hex(&frames[0].1.concat()), hex(&becomes));
    }
}

#[test]
fn what_has_no_ports_serves_one_client_for_each_server() {
    for protocol in [GRE, 50, 89, 253] {
        let mut it = Middlebox::routed(masquerade());
        let packet = |pair: Pair| pair.packet(protocol, vec![0, 0, 8, 0, 1, 2, 3, 4], None);
        let second = Pair::at("10.0.0.3:0", "198.51.100.2:0");
        it.crosses(INSIDE, &packet(inside()), &packet(outside()));
        it.crosses(OUTSIDE, &packet(outside().inverse()), &packet(inside().inverse()));
        it.finds_no_port(&packet(second));
        let elsewhere = Pair::at("10.0.0.3:0", "198.51.100.3:0");
        assert_eq!(source_address(&it.goes_out(&packet(elsewhere))), "203.0.113.1");
        it.check();
    }
}

#[test]
fn a_port_range_gives_what_has_no_ports_its_address() {
    let mut it = Middlebox::routed(moved());
    let packet = |pair: Pair| pair.packet(GRE, vec![0x20, 1, 0x88, 0x0b, 0, 4, 0, 7, 1, 2, 3, 4], None);
    it.crosses(INSIDE, &packet(inside()), &packet(seen_moved()));
    it.check();
}

#[test]
fn what_is_untracked_or_invalid_is_not_translated() {
    let to_dns = Match { destination_ports: vec![53..=53], ..Match::default() };
    let policy = Policy { untracked: vec![to_dns], ..accept_all() };
    let mut it = Middlebox::routed_with(policy, masquerade());
    let dns = Pair::at("10.0.0.2:40000", "198.51.100.2:53");
    it.crosses(INSIDE, &dns.udp(1), &dns.udp(1));
    let orphan = inside().tcp("SA", 1, 1);
    assert_eq!(it.crosses(INSIDE, &orphan, &orphan).state, Some(State::Invalid));
    assert!(it.shard.is_empty());
}

#[test]
fn options_and_extension_headers_are_passed_over() {
    let v6 =
        (Pair::at("[fd00::2]:4", "[2001:db8:9::2]:80"), Pair::at("[2001:db8:2::1]:4", "[2001:db8:9::2]:80"));
    let no_operation: &[u8] = &[1, 1, 1, 0];
    let padding: &[u8] = &[1, 4, 0, 0, 0, 0];
    for (nat, (client, seen), options) in
        [(moved(), (inside(), seen_moved()), no_operation), (masquerade(), v6, padding)]
    {
        let mut it = Middlebox::routed(nat);
        let mut frames = [(INSIDE, client.udp(40).frame_with_options(options))];
        assert_eq!(it.burst(&mut frames)[0].action, Action::Forward(OUTSIDE));
        let becomes = Packet { ttl: 63, ..seen.udp(40) };
        assert_eq!(hex(&frames[0].1), hex(&becomes.frame_with_options(options)));
    }
}

#[test]
fn gre_of_an_unknown_version_gets_no_other_destination() {
    let mut it = Middlebox::routed(destination(towards("203.0.113.1"), to("10.0.0.5")));
    let first = Pair::at("198.51.100.2:0", "203.0.113.1:0").packet(GRE, vec![1, 2, 8, 0, 1, 2, 3, 4], None);
    let (verdict, _) = it.pass_one(OUTSIDE, &first);
    assert_eq!((verdict.action, verdict.state), (Action::Drop(DropReason::NatUnknown), Some(State::New)));
    assert!(it.shard.is_empty());
    it.check();
}

#[test]
fn gre_that_carries_nothing_is_translated_both_ways() {
    let mut it = Middlebox::routed(masquerade());
    let keepalive = |pair: Pair| pair.packet(GRE, vec![0; 4], None);
    it.crosses(INSIDE, &keepalive(inside()), &keepalive(outside()));
    it.crosses(OUTSIDE, &keepalive(outside().inverse()), &keepalive(inside().inverse()));
}

#[test]
fn answers_in_gre_of_an_unknown_version_are_dropped() {
    let mut it = Middlebox::routed(masquerade());
    let packet = |pair: Pair| pair.packet(GRE, vec![1, 2, 8, 0, 1, 2, 3, 4], None);
    it.crosses(INSIDE, &packet(inside()), &packet(outside()));
    let (verdict, _) = it.pass_one(OUTSIDE, &packet(outside().inverse()));
    assert_eq!(
        (verdict.action, verdict.state),
        (Action::Drop(DropReason::NatUnknown), Some(State::Established))
    );
}
