//! A routed box seen from its ports: frames in, verdicts and edited frames out.

use super::*;
use crate::configuration::Configuration;
use crate::policy::{Match, Outcome, Policy, Prefix, Rule, RuleAction};
use crate::settings::{Preset, Settings};
use crate::shard::{Capacity, Shard};
use crate::time::Instant;
use crate::verdict::{DropReason, Rejection, State, Verdict};
use etherparse::{PacketBuilder, PacketBuilderStep};
use sluice_memory::Pages;
use std::net::IpAddr;

pub(crate) const INSIDE: PortId = PortId(0);
pub(crate) const OUTSIDE: PortId = PortId(1);
pub(crate) const BOX_MAC: MacAddress = [2, 0, 0, 0, 0, 1];
pub(crate) const HOST_MAC: MacAddress = [2, 0, 0, 0, 0, 2];

fn router() -> Router {
    filtering(RpFilter::Off)
}

/// The router with such a reverse path filter at the port inside.
pub(super) fn filtering(rp_filter: RpFilter) -> Router {
    let own = |address: &str, length| (address.parse::<IpAddr>().unwrap(), length);
    let to = |to: &str, length, via: &str| {
        Route::by(Prefix::new(to.parse().unwrap(), length), OUTSIDE, Some(via.parse().unwrap()))
    };
    let inside = Interface {
        addresses: vec![own("10.0.0.1", 24), own("fd00:1::1", 64)],
        mtu: 1500,
        rp_filter,
        ..Interface::default()
    };
    let outside = Interface {
        addresses: vec![own("203.0.113.1", 24), own("2001:db8:2::1", 64)],
        mtu: 1400,
        ..Interface::default()
    };
    let routes = [to("198.51.0.0", 16, "203.0.113.254"), to("2001:db8::", 32, "2001:db8:2::fe")];
    Router::new(vec![inside, outside], routes)
}

pub(crate) fn shard(rules: Vec<(Match, RuleAction)>, default: Outcome) -> Shard {
    let mut shard = shard_of(router(), rules, default);
    shard.join_link(INSIDE, BOX_MAC);
    shard
}

pub(super) fn shard_of(router: Router, rules: Vec<(Match, RuleAction)>, default: Outcome) -> Shard {
    let rules = rules.into_iter().map(|(matches, action)| Rule { name: None, matches, action });
    let policy = Policy { rules: rules.collect(), default, ..Policy::default() };
    let settings = Settings::of(Preset::Linux, 100);
    let configuration = Configuration::new(settings, policy, Forwarding::Routed(Box::new(router)));
    let capacity = Capacity { entries: 100, seed: [1, 2, 3, 4], pages: Pages::Ordinary };
    Shard::new(capacity, configuration, Instant::from_ns(0)).unwrap()
}

pub(crate) fn open() -> Shard {
    shard(vec![], Outcome::Accept)
}

pub(crate) fn ip(from: &str, to: &str, ttl: u8) -> PacketBuilderStep<etherparse::IpHeaders> {
    let ethernet = PacketBuilder::ethernet2(HOST_MAC, BOX_MAC);
    match (from.parse().unwrap(), to.parse().unwrap()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ip(etherparse::IpHeaders::Ipv4(
            etherparse::Ipv4Header {
                dont_fragment: true,
                ..etherparse::Ipv4Header::new(0, ttl, etherparse::IpNumber::UDP, from.octets(), to.octets())
                    .unwrap()
            },
            Default::default(),
        )),
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), ttl),
        _ => panic!("two families"),
    }
}

pub(crate) fn udp_of(from: &str, to: &str, ttl: u8, payload_len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(from, to, ttl).udp(4000, 53).write(&mut frame, &vec![7; payload_len]).unwrap();
    frame
}

pub(crate) fn udp(from: &str, to: &str) -> Vec<u8> {
    udp_of(from, to, 64, 10)
}

fn echo_request(from: &str, to: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(from, to, 64).icmpv6_echo_request(1, 1).write(&mut frame, &[7; 10]).unwrap();
    frame
}

/// What the shard says about a frame, and what it has made of it.
pub(crate) fn send(shard: &mut Shard, port: PortId, frame: Vec<u8>) -> (Verdict, Vec<u8>) {
    let mut frames = [(port, frame)];
    let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
    shard.process(Instant::from_ns(1), &mut frames, &mut verdicts);
    let [(_, frame)] = frames;
    (verdicts[0], frame)
}

pub(super) fn action(shard: &mut Shard, frame: Vec<u8>) -> Action {
    send(shard, INSIDE, frame).0.action
}

#[test]
fn the_way_is_by_destination() {
    for (from, to, port, next_hop) in [
        ("10.0.0.2", "203.0.113.9", OUTSIDE, "203.0.113.9"),
        ("10.0.0.2", "10.0.0.7", INSIDE, "10.0.0.7"),
        ("10.0.0.2", "198.51.100.2", OUTSIDE, "203.0.113.254"),
        ("fd00:1::2", "2001:db8:2::9", OUTSIDE, "2001:db8:2::9"),
        ("fd00:1::2", "2001:db8:9::2", OUTSIDE, "2001:db8:2::fe"),
    ] {
        let mut shard = open();
        let (verdict, _) = send(&mut shard, INSIDE, udp(from, to));
        assert_eq!((verdict.action, verdict.state), (Action::Forward(port), Some(State::New)), "{to}");
        assert_eq!(verdict.next_hop, Some(next_hop.parse().unwrap()));
        assert_eq!(shard.len(), 1);
    }
}

#[test]
fn ttl_is_less_by_one_and_the_header_still_good() {
    for (from, to) in [("10.0.0.2", "198.51.100.2"), ("fd00:1::2", "2001:db8:9::2")] {
        for ttl in 2..=255 {
            let (verdict, frame) = send(&mut open(), INSIDE, udp_of(from, to, ttl, 3));
            assert_eq!(verdict.action, Action::Forward(OUTSIDE));
            assert_eq!(frame, udp_of(from, to, ttl - 1, 3));
        }
    }
}

#[test]
fn a_packet_at_the_end_of_its_ttl_refreshes_but_makes_no_entry() {
    for (from, to) in [("10.0.0.2", "198.51.100.2"), ("fd00:1::2", "2001:db8:9::2")] {
        let mut shard = open();
        let exceeded = Action::Reject(DropReason::TtlExceeded, Rejection::TimeExceeded);
        for ttl in [0, 1] {
            let (verdict, frame) = send(&mut shard, INSIDE, udp_of(from, to, ttl, 3));
            assert_eq!((verdict.action, verdict.state), (exceeded, Some(State::New)));
            assert_eq!(frame, udp_of(from, to, ttl, 3), "an answer quotes it as it came");
            assert_eq!(shard.len(), 0);
        }
        let (made, _) = send(&mut shard, INSIDE, udp_of(from, to, 2, 3));
        let (verdict, _) = send(&mut shard, INSIDE, udp_of(from, to, 1, 3));
        assert_eq!((verdict.action, verdict.entry), (exceeded, made.entry));
        let counted = shard.entry(made.entry.unwrap()).unwrap().counters[0].packets();
        assert_eq!((counted, shard.counters().drops[DropReason::TtlExceeded as usize]), (2, 3));
    }
}

#[test]
fn what_goes_nowhere_is_classified_and_dropped() {
    let drop = Action::Drop;
    let no_route = Action::Reject(DropReason::NoRoute, Rejection::NoRoute);
    for (from, to, expected) in [
        ("10.0.0.2", "192.0.2.1", no_route),
        ("fd00:1::2", "3fff::1", no_route),
        ("10.0.0.2", "127.0.0.1", drop(DropReason::NoRoute)),
        ("10.0.0.2", "0.0.0.0", drop(DropReason::NoRoute)),
        ("fd00:1::2", "fe80::1", drop(DropReason::NoRoute)),
        ("10.0.0.2", "224.0.0.251", drop(DropReason::Multicast)),
        ("10.0.0.2", "255.255.255.255", drop(DropReason::Multicast)),
        ("10.0.0.2", "10.0.0.255", drop(DropReason::Multicast)),
        ("fd00:1::2", "ff02::fb", drop(DropReason::Multicast)),
        ("127.0.0.5", "198.51.100.2", drop(DropReason::IpSource)),
        ("0.0.0.0", "255.255.255.255", drop(DropReason::IpSource)),
        ("10.0.0.1", "198.51.100.2", drop(DropReason::IpSource)),
        ("203.0.113.1", "10.0.0.7", drop(DropReason::IpSource)),
        ("fe80::9", "2001:db8:9::2", drop(DropReason::IpSource)),
    ] {
        let mut shard = open();
        let (verdict, _) = send(&mut shard, INSIDE, udp(from, to));
        assert_eq!((verdict.action, verdict.state), (expected, Some(State::New)), "{from} > {to}");
        assert_eq!(shard.len(), 0, "{from} > {to}");
    }
}

#[test]
fn the_mtu_is_that_of_the_egress_port() {
    let mut shard = open();
    let udp_bytes = 8;
    for (from, to, header_bytes) in [("10.0.0.2", "198.51.100.2", 20), ("fd00:1::2", "2001:db8:9::2", 40)] {
        let fits = 1400 - header_bytes - udp_bytes;
        assert_eq!(action(&mut shard, udp_of(from, to, 64, fits)), Action::Forward(OUTSIDE));
        let too_big = Action::Reject(DropReason::TooBig, Rejection::TooBig(1400));
        assert_eq!(action(&mut shard, udp_of(from, to, 64, fits + 1)), too_big);
    }
    let mut frame = udp_of("10.0.0.2", "198.51.100.2", 64, 1400);
    frame[20] &= !0x40;
    crate::wire::ipv4::write_checksum(&mut frame[14..34]);
    assert_eq!(action(&mut shard, frame), Action::Fragment(OUTSIDE, 1400));
}

#[test]
fn local_packets_are_judged_on_their_way_to_the_box() {
    let to_box = Match { egress: vec![PortId::LOCAL], ..Match::default() };
    let mut closed = shard(vec![(to_box, RuleAction::Drop)], Outcome::Accept);
    let policy = Action::Drop(DropReason::Policy);
    for own in ["10.0.0.1", "203.0.113.1"] {
        assert_eq!(action(&mut closed, udp("10.0.0.2", own)), policy);
    }
    assert_eq!(action(&mut closed, udp("fd00:1::2", "2001:db8:2::1")), policy);
    assert_eq!(action(&mut closed, udp("10.0.0.2", "10.0.0.7")), Action::Forward(INSIDE));
    assert_eq!(closed.len(), 1);
}

#[test]
fn the_box_takes_echo_and_refuses_the_rest() {
    let mut shard = open();
    let mut echo = Vec::new();
    ip("10.0.0.2", "10.0.0.1", 1).icmpv4_echo_request(3, 1).write(&mut echo, b"box?").unwrap();
    assert_eq!(action(&mut shard, echo), Action::Deliver);
    let mut echo = Vec::new();
    ip("fd00:1::2", "fd00:1::1", 1).icmpv6_echo_request(3, 1).write(&mut echo, b"box?").unwrap();
    assert_eq!(action(&mut shard, echo), Action::Deliver);
    let mut syn = Vec::new();
    ip("10.0.0.2", "10.0.0.1", 64).tcp(4000, 22, 5, 100).syn().write(&mut syn, &[]).unwrap();
    assert_eq!(action(&mut shard, syn), Action::Reject(DropReason::Local, Rejection::TcpReset));
    let port = Action::Reject(DropReason::Local, Rejection::PortUnreachable);
    assert_eq!(action(&mut shard, udp("10.0.0.2", "10.0.0.1")), port);
    assert_eq!(shard.len(), 4, "all were accepted");
}

#[test]
fn frames_for_others_end_before_tracking() {
    let mut shard = open();
    let mut frame = udp("10.0.0.2", "198.51.100.2");
    frame[5] = 9;
    let (verdict, _) = send(&mut shard, INSIDE, frame.clone());
    assert_eq!(verdict, Verdict::dropped(DropReason::OtherHost));
    // A port that knows no address of its own takes everything.
    let (verdict, _) = send(&mut shard, OUTSIDE, frame);
    assert_eq!(verdict.action, Action::Forward(OUTSIDE));

    let mut tagged = udp("10.0.0.2", "198.51.100.2");
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    assert_eq!(action(&mut shard, tagged), Action::Drop(DropReason::UnknownVlan));
    // A packet to one host in a frame to all.
    let mut shouted = udp("10.0.0.2", "198.51.100.3");
    shouted[..6].fill(0xff);
    assert_eq!(action(&mut shard, shouted), Action::Drop(DropReason::Multicast));
}

#[test]
fn the_links_own_protocols_are_delivered_whatever_the_policy() {
    let mut shard = shard(vec![], Outcome::Drop);
    let mut arp = vec![0xff; 6];
    arp.extend_from_slice(&HOST_MAC);
    arp.extend_from_slice(&[8, 6]);
    arp.resize(60, 0);
    assert_eq!(action(&mut shard, arp.clone()), Action::Deliver);
    arp[13] = 7;
    assert_eq!(action(&mut shard, arp), Action::Drop(DropReason::NotIp));

    let solicitation = |hop_limit| {
        let mut frame = Vec::new();
        let kind = etherparse::Icmpv6Type::Unknown { type_u8: 135, code_u8: 0, bytes5to8: [0; 4] };
        ip("fe80::2", "ff02::1:ff00:1", hop_limit).icmpv6(kind).write(&mut frame, &[0; 16]).unwrap();
        frame
    };
    assert_eq!(action(&mut shard, solicitation(255)), Action::Deliver);
    assert_eq!(action(&mut shard, solicitation(254)), Action::Drop(DropReason::IpSource));

    let query = |hop_limit| {
        let mut frame = Vec::new();
        let kind = etherparse::Icmpv6Type::Unknown { type_u8: 130, code_u8: 0, bytes5to8: [0; 4] };
        ip("fe80::2", "ff02::1", hop_limit).icmpv6(kind).write(&mut frame, &[0; 20]).unwrap();
        frame
    };
    assert_eq!(action(&mut shard, query(1)), Action::Deliver);
    assert_eq!(action(&mut shard, query(2)), Action::Drop(DropReason::IpSource));
}

#[test]
fn who_has_a_link_local_address_speaks_to_the_box_and_nobody_else() {
    let own = |address: &str, length| (address.parse::<IpAddr>().unwrap(), length);
    let interface = |global| Interface {
        addresses: vec![own(global, 64), own("fe80::1", 64)],
        mtu: 1500,
        ..Interface::default()
    };
    let router = Router::new(vec![interface("2001:db8:1::1"), interface("2001:db8:2::1")], []);
    let mut shard = shard_of(router, vec![], Outcome::Accept);
    shard.join_link(INSIDE, BOX_MAC);
    let by_mac = link_local(BOX_MAC).to_string();
    let drop = Action::Drop;
    for (port, from, to, expected) in [
        (INSIDE, "fe80::9", "fe80::1", Action::Deliver),
        (OUTSIDE, "fe80::9", "fe80::1", Action::Deliver),
        (INSIDE, "fe80::9", "2001:db8:1::1", Action::Deliver),
        (INSIDE, "fe80::9", &by_mac, Action::Deliver),
        (INSIDE, "2001:db8:1::9", "fe80::1", Action::Deliver),
        (OUTSIDE, "fe80::9", &by_mac, drop(DropReason::IpSource)),
        (INSIDE, "fe80::9", "fe80::8", drop(DropReason::IpSource)),
        (INSIDE, "fe80::9", "2001:db8:2::9", drop(DropReason::IpSource)),
        (INSIDE, "fe80::1", "2001:db8:1::1", drop(DropReason::IpSource)),
        (INSIDE, "2001:db8:1::9", "fe80::8", drop(DropReason::NoRoute)),
    ] {
        let (verdict, frame) = send(&mut shard, port, echo_request(from, to));
        assert_eq!(verdict.action, expected, "{from} > {to}");
        let answer = shard.answer(&(port, frame), &verdict, &mut [0; 200]);
        assert_eq!(answer.is_some(), expected == Action::Deliver, "{from} > {to}");
    }
}

#[test]
fn the_box_speaks_from_an_address_of_the_port() {
    let own = |address: &str| address.parse::<IpAddr>().ok();
    assert_eq!(router().source(INSIDE, crate::tuple::Family::V4), own("10.0.0.1"));
    assert_eq!(router().source(OUTSIDE, crate::tuple::Family::V6), own("2001:db8:2::1"));
    let link = |text: &str| (text.parse().unwrap(), 64);
    let interface =
        Interface { addresses: vec![link("fe80::1"), link("2001:db8::1")], ..Interface::default() };
    let by_link_local = Router::new(vec![interface], []);
    for next_hop in ["fe80::9", "2001:db8::9", "fd00::9"] {
        let source = by_link_local.source_towards(INSIDE, next_hop.parse().unwrap());
        assert_eq!(source, own("2001:db8::1"), "good anywhere, whatever the next hop is called");
    }
    let bare = Router::new(
        vec![
            Interface::default(),
            Interface { addresses: vec![(own("10.0.0.1").unwrap(), 8)], mtu: 1500, ..Interface::default() },
        ],
        [],
    );
    assert_eq!(bare.source(INSIDE, crate::tuple::Family::V4), own("10.0.0.1"));
    assert_eq!(bare.source(INSIDE, crate::tuple::Family::V6), None);
}

#[test]
fn the_box_answers_for_what_nat_gives_away_on_a_link() {
    use crate::nat::{Nat, NatRule, PortChoice, Range, Target};
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let range = |first: &str, last: &str| Range {
        first: address(first),
        last: address(last),
        ports: PortChoice::Preserve,
    };
    let out = Match { egress: vec![OUTSIDE], ..Match::default() };
    let pools = vec![range("203.0.113.10", "203.0.113.20"), range("192.0.2.1", "192.0.2.9")];
    let published = |to: &str, length| Match {
        destination: vec![Prefix::new(address(to), length)],
        ingress: vec![OUTSIDE],
        ..Match::default()
    };
    let server = Target::Pool(vec![range("10.0.0.5", "10.0.0.5")]);
    let nat = Nat {
        source: vec![NatRule::new(out, Target::Pool(pools))],
        destination: vec![
            NatRule::new(published("203.0.113.40", 32), server.clone()),
            NatRule::new(published("203.0.113.128", 25), server),
        ],
    };
    let configuration = open().configuration().clone().with_nat(nat);
    let Forwarding::Routed(router) = &configuration.forwarding else { panic!("it is a router") };
    for (port, text, answers) in [
        (OUTSIDE, "203.0.113.1", true),
        (OUTSIDE, "203.0.113.10", true),
        (OUTSIDE, "203.0.113.20", true),
        (OUTSIDE, "203.0.113.21", false),
        (INSIDE, "203.0.113.10", false),
        (OUTSIDE, "203.0.113.40", true),
        // Whoever is in a network that a rule looks at is still there.
        (OUTSIDE, "203.0.113.129", false),
        // Addresses of another network are reached by a route to the box.
        (OUTSIDE, "192.0.2.1", false),
    ] {
        assert_eq!(router.answers(port, address(text)), answers, "{text} at port {port:?}");
    }
}

#[test]
fn a_host_in_a_network_that_nat_gives_away_answers_for_itself() {
    use crate::nat::{Nat, NatRule, Target};
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let network = Prefix::new(address("203.0.113.0"), 24);
    let everybody = Match { source: vec![Prefix::new(address("10.0.0.0"), 24)], ..Match::default() };
    let nat = Nat { source: vec![NatRule::new(everybody, Target::Prefix(network))], destination: Vec::new() };
    let mut configuration = open().configuration().clone();
    let Forwarding::Routed(router) = &mut configuration.forwarding else { panic!("it is a router") };
    router.neighbours =
        vec![Neighbour { port: OUTSIDE, address: address("203.0.113.77"), mac: [2, 0, 0, 0, 0, 77] }];
    let configuration = configuration.with_nat(nat);
    let Forwarding::Routed(router) = &configuration.forwarding else { panic!("it is a router") };
    for (text, answers) in [
        ("203.0.113.1", true),
        ("203.0.113.200", true),
        // The gateway, and the neighbour whose link-layer address is given.
        ("203.0.113.254", false),
        ("203.0.113.77", false),
    ] {
        assert_eq!(router.answers(OUTSIDE, address(text)), answers, "{text}");
    }
}
