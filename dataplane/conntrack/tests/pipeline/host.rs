//! The box's own network stack behind its ports: what it sends and what it gets is tracked, judged and translated.

use crate::common::*;
use sluice_conntrack::entry::Status;
use sluice_conntrack::ids::StackId;
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Policy, Prefix, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::{Action, Rejection};
use sluice_conntrack::{
    Configuration, Direction, DropReason, Forwarding, Instant, PortId, State, Verdict, tuple,
};

/// The host sides of the ports.
const INNER: PortId = INSIDE.host_side();
const OUTER: PortId = OUTSIDE.host_side();

/// The box's own address outside and a server there, of each family.
const OUTWARDS: [(&str, &str); 2] =
    [("203.0.113.1:40000", "198.51.100.2:80"), ("[2001:db8:2::1]:40000", "[2001:db8:9::2]:80")];

fn hosted(policy: Policy, nat: Nat) -> Middlebox {
    with_hosts([Some(StackId(0)); 2], policy, nat)
}

fn with_hosts(hosts: [Option<StackId>; 2], policy: Policy, nat: Nat) -> Middlebox {
    let settings = Settings::of(Preset::Linux, ROOM);
    let forwarding = Forwarding::Routed(Box::new(router_with_hosts(hosts)));
    let configuration = Configuration::new(settings, policy, forwarding).with_nat(nat);
    Middlebox::starting(Instant::from_ns(0), ROOM, configuration)
}

fn open() -> Middlebox {
    hosted(accept_all(), Nat::default())
}

/// A packet that comes in by `port` leaves by `egress` as `becomes`, TTL and all.
#[track_caller]
fn passes(it: &mut Middlebox, port: PortId, packet: &Packet, egress: PortId, becomes: &Packet) -> Verdict {
    let mut frames = [(port, packet.frame())];
    let verdict = it.burst(&mut frames)[0];
    assert_eq!(verdict.action, Action::Forward(egress), "{verdict:?}");
    assert_eq!(frames[0].1, becomes.frame());
    verdict
}

fn action(it: &mut Middlebox, port: PortId, packet: &Packet) -> Action {
    it.burst(&mut [(port, packet.frame())])[0].action
}

/// Rules for what leaves and comes in by these ports.
fn between(ingress: PortId, egress: PortId) -> Match {
    Match { ingress: vec![ingress], egress: vec![egress], ..Match::default() }
}

fn to(address: &str, port: u16) -> Target {
    let address = address.parse().unwrap();
    Target::Pool(vec![Range { first: address, last: address, ports: PortChoice::Among(port..=port) }])
}

#[test]
fn what_the_box_sends_is_tracked_and_its_answers_come_back() {
    for (own, server) in OUTWARDS {
        let mut it = open();
        let pair = Pair::at(own, server);
        let syn = pair.tcp("S", 100, 0);
        let verdict = passes(&mut it, OUTER, &syn, OUTSIDE, &syn);
        assert_eq!((state(verdict), verdict.direction), (State::New, Some(Direction::Original)));
        let answer = pair.inverse().tcp("SA", 500, 101);
        let verdict = passes(&mut it, OUTSIDE, &answer, OUTER, &answer);
        assert_eq!((state(verdict), verdict.direction), (State::Established, Some(Direction::Reply)));
        let ack = pair.tcp("A", 101, 501);
        assert_eq!(state(passes(&mut it, OUTER, &ack, OUTSIDE, &ack)), State::Established);
        let entry = it.entry();
        let (source, destination) = (tuple::number(syn.source), tuple::number(syn.destination));
        assert_eq!((entry.original.src, entry.original.dst), (source, destination));
        assert!(entry.status.contains(Status::ASSURED));
        let error = ack.unreachable(pair.router());
        assert_eq!(state(passes(&mut it, OUTSIDE, &error, OUTER, &error)), State::Related);
        it.check();
    }
}

#[test]
fn what_is_for_the_box_goes_to_the_host_that_has_the_address() {
    let (one, other) = (Some(StackId(0)), Some(StackId(1)));
    for (hosts, client, own, side) in [
        ([one, one], "10.0.0.2:40000", "10.0.0.1:22", INNER),
        ([one, one], "[fd00::2]:40000", "[2001:db8:2::1]:22", INNER),
        ([one, other], "10.0.0.2:40000", "203.0.113.1:22", OUTER),
        ([one, other], "[fd00::2]:40000", "[fd00::1]:22", INNER),
        ([None, one], "[fd00::2]:40000", "[2001:db8:2::1]:22", OUTER),
    ] {
        let mut it = with_hosts(hosts, accept_all(), Nat::default());
        let pair = Pair::at(client, own);
        let (syn, answer) = (pair.tcp("S", 100, 0), pair.inverse().tcp("SA", 500, 101));
        assert_eq!(state(passes(&mut it, INSIDE, &syn, side, &syn)), State::New);
        // The host's own routes may choose the other port: those of the box decide.
        for port in [INNER, OUTER] {
            assert_eq!(state(passes(&mut it, port, &answer, INSIDE, &answer)), State::Established);
        }
        let echo = pair.echo(7, 1);
        passes(&mut it, INSIDE, &echo, side, &echo);
        assert_eq!(it.shard.len(), 2);
        assert_eq!(it.drops(DropReason::Local), 0);
        it.check();
    }
}

#[test]
fn rules_know_the_box_as_local_in_both_ways() {
    let policy = || {
        rules([
            (between(PortId::LOCAL, OUTSIDE), RuleAction::Accept),
            (between(INSIDE, PortId::LOCAL), RuleAction::Accept),
            (between(OUTSIDE, PortId::LOCAL), RuleAction::Reject),
        ])
    };
    let mut it = hosted(policy(), Nat::default());
    let drop = Action::Drop(DropReason::Policy);
    let from_box = Pair::at("203.0.113.1:40000", "198.51.100.2:80");
    for (port, packet, expected) in [
        (OUTER, from_box.udp(1), Action::Forward(OUTSIDE)),
        (INNER, from_box.udp(1), Action::Forward(OUTSIDE)),
        (INSIDE, Pair::at("10.0.0.2:40000", "198.51.100.2:80").udp(1), drop),
        (INSIDE, Pair::at("10.0.0.2:40000", "10.0.0.1:53").udp(1), Action::Forward(INNER)),
        (INNER, Pair::at("10.0.0.1:40000", "10.0.0.2:53").udp(1), drop),
        (OUTSIDE, from_box.inverse().udp(1), Action::Reject(DropReason::Reject, Rejection::Prohibited)),
    ] {
        assert_eq!(action(&mut it, port, &packet), expected, "{packet:?}");
    }
    assert_eq!(it.shard.len(), 2, "what the policy drops makes no entry: {:?}", it.lines());

    // An established connection is judged by the rules for the way that its packet takes.
    it.check();
    let mut it = open();
    for packet in [(OUTER, from_box), (OUTSIDE, from_box.inverse()), (OUTER, from_box)] {
        assert!(matches!(action(&mut it, packet.0, &packet.1.udp(1)), Action::Forward(_)));
    }
    let forwarding = Forwarding::Routed(Box::new(router_with_hosts([Some(StackId(0)); 2])));
    let settings = it.shard.configuration().settings.clone();
    let only_out = rules([(between(PortId::LOCAL, OUTSIDE), RuleAction::Accept)]);
    it.configure(Configuration::new(settings, only_out, forwarding));
    for _ in 0..2 {
        assert_eq!(action(&mut it, OUTER, &from_box.udp(1)), Action::Forward(OUTSIDE));
        assert_eq!(action(&mut it, OUTSIDE, &from_box.inverse().udp(1)), drop);
    }
}

#[test]
fn what_the_box_sends_is_translated_where_rules_say_so() {
    let out = Match { egress: vec![OUTSIDE], ..Match::default() };
    let ours = Match { ingress: vec![PortId::LOCAL], destination_ports: vec![53..=53], ..Match::default() };
    let nat = Nat {
        source: vec![NatRule::new(out, to("203.0.113.10", 5555))],
        destination: vec![NatRule::new(ours, to("198.51.100.9", 5353))],
    };
    let mut it = hosted(accept_all(), nat);
    let sent = Pair::at("203.0.113.1:40000", "198.51.100.2:53");
    let seen = Pair::at("203.0.113.10:5555", "198.51.100.9:5353");
    let (question, answer) = (sent.udp(9), seen.inverse().udp(99));
    assert_eq!(state(passes(&mut it, OUTER, &question, OUTSIDE, &seen.udp(9))), State::New);
    passes(&mut it, OUTSIDE, &answer, OUTER, &sent.inverse().udp(99));
    let error = seen.udp(9).unreachable(seen.router());
    passes(&mut it, OUTSIDE, &error, OUTER, &sent.udp(9).unreachable(sent.destination.ip()));
    // The rule is for the box alone.
    let passing = Pair::at("10.0.0.2:40000", "198.51.100.3:53");
    let kept = Pair::at("203.0.113.10:5555", "198.51.100.3:53").udp(1);
    passes(&mut it, INSIDE, &passing.udp(1), OUTSIDE, &Packet { ttl: kept.ttl - 1, ..kept });
    it.check();
}

#[test]
fn what_is_translated_to_the_box_reaches_its_host_translated() {
    let public = Match {
        ingress: vec![OUTSIDE],
        destination: vec![Prefix::new("203.0.113.10".parse().unwrap(), u8::MAX)],
        ..Match::default()
    };
    let nat = Nat { source: vec![], destination: vec![NatRule::new(public, to("10.0.0.1", 8080))] };
    let mut it = hosted(accept_all(), nat);
    let asked = Pair::at("198.51.100.2:40000", "203.0.113.10:80");
    let heard = Pair::at("198.51.100.2:40000", "10.0.0.1:8080");
    passes(&mut it, OUTSIDE, &asked.tcp("S", 1, 0), OUTER, &heard.tcp("S", 1, 0));
    let answer = heard.inverse().tcp("SA", 7, 2);
    passes(&mut it, INNER, &answer, OUTSIDE, &asked.inverse().tcp("SA", 7, 2));
    it.check();
}

#[test]
fn routing_protocols_speak_to_the_link_and_hear_it() {
    let forward = Action::Forward;
    for (port, from, to, expected) in [
        // OSPF, VRRP and IGMP; DHCP.
        (OUTSIDE, "203.0.113.9:0", "224.0.0.5:0", forward(OUTER)),
        (OUTER, "203.0.113.1:0", "224.0.0.18:0", forward(OUTSIDE)),
        (INNER, "10.0.0.1:0", "224.0.0.22:0", forward(INSIDE)),
        (OUTER, "0.0.0.0:68", "255.255.255.255:67", forward(OUTSIDE)),
        (OUTSIDE, "[fe80::9]:0", "[ff02::5]:0", forward(OUTER)),
        (OUTSIDE, "[2001:db8:2::9]:0", "[ff02::12]:0", forward(OUTER)),
        (OUTER, "[fe80::1]:0", "[ff02::5]:0", forward(OUTSIDE)),
        (INNER, "[fe80::1]:0", "[fe80::9]:0", forward(INSIDE)),
        // Of no link, or of nobody here.
        (OUTSIDE, "203.0.113.9:0", "239.1.1.1:0", Action::Drop(DropReason::Multicast)),
        (OUTSIDE, "203.0.113.9:0", "255.255.255.255:0", Action::Drop(DropReason::Multicast)),
        (OUTSIDE, "[2001:db8:2::9]:0", "[ff05::2]:0", Action::Drop(DropReason::Multicast)),
        (OUTSIDE, "[fe80::9]:0", "[fe80::8]:0", Action::Drop(DropReason::IpSource)),
        (OUTER, "[fe80::1]:0", "[2001:db8:9::2]:0", Action::Drop(DropReason::IpSource)),
        (OUTSIDE, "203.0.113.1:0", "224.0.0.5:0", Action::Drop(DropReason::IpSource)),
    ] {
        let packet = Packet { ttl: 1, ..Pair::at(from, to).packet(89, vec![0; 24], None) };
        assert_eq!(action(&mut open(), port, &packet), expected, "{from} > {to}");
        let mut closed = hosted(Policy::default(), Nat::default());
        let judged = matches!(expected, Action::Forward(_));
        let refused = if judged { Action::Drop(DropReason::Policy) } else { expected };
        assert_eq!(action(&mut closed, port, &packet), refused, "{from} > {to}");
    }
}

/// What a DHCP server says to a client with this MAC address.
fn dhcp_answer(to: &str, client: [u8; 6]) -> Packet {
    let mut message = vec![0; 240];
    message[..4].copy_from_slice(&[2, 1, 6, 0]);
    message[28..34].copy_from_slice(&client);
    Pair::at("203.0.113.254:67", &format!("{to}:68")).datagram(&message)
}

#[test]
fn the_host_hears_the_server_that_gives_it_an_address() {
    // Frames are sent to this address.
    const MAC: [u8; 6] = [2; 6];
    const OTHER: [u8; 6] = [4; 6];
    let masquerade = || {
        let out = Match { egress: vec![OUTSIDE], ..Match::default() };
        Nat { source: vec![NatRule::new(out, Target::Masquerade(PortChoice::Preserve))], destination: vec![] }
    };
    for host in [Some(StackId(0)), None] {
        let mut it = with_hosts([Some(StackId(0)), host], accept_all(), masquerade());
        it.shard.join_link(OUTSIDE, MAC);
        if host.is_some() {
            let question = Pair::at("0.0.0.0:68", "255.255.255.255:67").udp(240);
            passes(&mut it, OUTER, &question, OUTSIDE, &question);
        }
        // To all, to the address that it is to get, and to one that somebody else has.
        for (to, otherwise) in [
            ("255.255.255.255", Action::Drop(DropReason::Multicast)),
            ("203.0.113.7", Action::Forward(OUTSIDE)),
            ("192.0.2.7", Action::Forward(OUTSIDE)),
            ("10.0.0.7", Action::Forward(INSIDE)),
        ] {
            let expected = host.map_or(otherwise, |_| Action::Forward(OUTER));
            assert_eq!(action(&mut it, OUTSIDE, &dhcp_answer(to, MAC)), expected, "{to}");
            assert_eq!(
                action(&mut it, OUTSIDE, &dhcp_answer(to, OTHER)),
                otherwise,
                "{to}: another client's"
            );
        }
        let short = Pair::at("203.0.113.254:67", "10.0.0.8:68").udp(30);
        assert_eq!(action(&mut it, OUTSIDE, &short), Action::Forward(INSIDE));
        it.check();
    }
    // By the policy, as anything else.
    let mut closed = hosted(Policy::default(), Nat::default());
    closed.shard.join_link(OUTSIDE, MAC);
    assert_eq!(
        action(&mut closed, OUTSIDE, &dhcp_answer("203.0.113.7", MAC)),
        Action::Drop(DropReason::Policy)
    );
}

#[test]
fn the_box_is_told_what_a_router_tells_any_host() {
    let mut it = open();
    let large = Packet { l4: vec![0; 1600], ..Pair::at("[2001:db8:2::1]:1", "[2001:db8:9::2]:2").udp(1) };
    let large = Packet { protocol: 89, checksum_at: None, ..large };
    let too_big = Action::Reject(DropReason::TooBig, Rejection::TooBig(1500));
    assert_eq!(action(&mut it, OUTER, &large), too_big);
    let direct = Packet { ttl: 1, ..Pair::at("203.0.113.1:179", "203.0.113.254:179").udp(1) };
    assert_eq!(action(&mut it, OUTER, &direct), Action::Forward(OUTSIDE), "with a TTL of its own choice");
    let nowhere = Pair::at("203.0.113.1:1", "0.0.0.9:2").udp(1);
    assert_eq!(action(&mut it, OUTER, &nowhere), Action::Drop(DropReason::NoRoute));
    it.check();
}

#[test]
fn a_port_without_a_host_is_as_before() {
    let mut it = Middlebox::routed(Nat::default());
    let packet = Pair::at("10.0.0.2:1", "10.0.0.1:22").udp(1);
    let refused = Action::Reject(DropReason::Local, Rejection::PortUnreachable);
    assert_eq!(action(&mut it, INSIDE, &packet), refused);
    assert_eq!(action(&mut it, INSIDE, &Pair::at("10.0.0.2:1", "10.0.0.1:1").echo(1, 1)), Action::Deliver);
    let group = Pair::at("203.0.113.9:0", "224.0.0.5:0").packet(89, vec![0; 24], None);
    assert_eq!(action(&mut it, OUTSIDE, &group), Action::Drop(DropReason::Multicast));
}
