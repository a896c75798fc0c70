//! What ends at the box, what the policy sees, and what an operator sees of translated connections.

use super::*;
use sluice_conntrack::policy::{Outcome, Policy, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::Rejection;
use sluice_conntrack::{Direction, Instant};

fn inside() -> Pair {
    Pair::at("10.0.0.2:40000", "198.51.100.2:80")
}

fn outside() -> Pair {
    Pair::at("203.0.113.1:40000", "198.51.100.2:80")
}

impl Middlebox {
    /// What the box answers to a packet that comes in by `port`: its IP datagram.
    #[track_caller]
    fn answers(&mut self, port: PortId, packet: &Packet) -> Vec<u8> {
        let (verdict, frame) = self.pass_one(port, packet);
        assert_eq!(hex(&frame), hex(&packet.frame()), "what ends here is left as it came");
        let mut out = [0; 1514];
        let length = self.shard.answer(&(port, frame), &verdict, &mut out).expect("an answer");
        out[14..length].to_vec()
    }
}

#[test]
fn a_packet_that_dies_here_is_quoted_as_it_came() {
    let mut it = Middlebox::routed(masquerade());
    it.crosses(INSIDE, &inside().udp(1), &outside().udp(1));
    for (port, packet, from) in [
        (INSIDE, inside().udp(1), "10.0.0.1"),
        (OUTSIDE, outside().inverse().udp(1), "203.0.113.1"),
        (INSIDE, Pair::at("10.0.0.2:40001", "198.51.100.2:80").udp(1), "10.0.0.1"),
    ] {
        let packet = Packet { ttl: 1, ..packet };
        let answer = it.answers(port, &packet);
        assert_eq!(hex(&answer[28..]), hex(&packet.datagram()));
        assert_eq!(answer[20], 11);
        assert_eq!(answer[12..16], from.parse::<std::net::Ipv4Addr>().unwrap().octets());
    }
    assert_eq!(it.shard.len(), 1, "what dies here makes no entry");
    it.check();
}

#[test]
fn a_packet_that_no_neighbour_takes_is_quoted_with_its_own_addresses() {
    let mut it = Middlebox::routed(masquerade());
    for (port, packet, from) in [
        (INSIDE, inside().udp(1), "10.0.0.1"),
        (OUTSIDE, outside().inverse().udp(1), "203.0.113.1"),
        (INSIDE, inside().udp(1), "10.0.0.1"),
    ] {
        let (verdict, frame) = it.pass_one(port, &packet);
        let (mut undelivered, mut out) = ((port, frame), [0; 1514]);
        let length = it.shard.answer_undeliverable(&mut undelivered, &verdict, &mut out).expect("an error");
        let answer = &out[14..length];
        let quoted = Packet { ttl: packet.ttl - 1, ..packet.clone() };
        assert_eq!(hex(&answer[28..]), hex(&quoted.datagram()));
        assert_eq!(answer[20..22], [3, 1], "host unreachable");
        assert_eq!(answer[12..16], from.parse::<std::net::Ipv4Addr>().unwrap().octets());
        assert_eq!(answer[16..20], quoted.datagram()[12..16]);
    }
    // Once the entry is gone, nobody knows who sent the packet.
    let (verdict, frame) = it.pass_one(INSIDE, &inside().udp(1));
    it.shard.delete(|_| true);
    assert_eq!(it.shard.answer_undeliverable(&mut (INSIDE, frame), &verdict, &mut [0; 1514]), None);
}

#[test]
fn who_is_refused_is_told_so_by_the_one_it_asked() {
    let refuse = rules([(Match { egress: vec![INSIDE], ..Match::default() }, RuleAction::Reject)]);
    let mut it = Middlebox::routed_with(refuse, destination(towards("203.0.113.10"), to("10.0.0.5:8080")));
    let public = Pair::at("198.51.100.9:40000", "203.0.113.10:80");
    let answer = it.answers(OUTSIDE, &public.tcp("S", 7, 0));
    let reset = public.inverse().tcp("RA", 0, 8).datagram();
    assert_eq!(hex(&answer[12..24]), hex(&reset[12..24]), "addresses and ports");
    assert!(it.shard.is_empty());
}

#[test]
fn what_is_redirected_and_refused_ends_as_an_answered_connection() {
    let web = Match { ingress: vec![INSIDE], protocols: vec![frame::TCP], ..Match::default() };
    let mut it = Middlebox::routed(destination(web, Target::Masquerade(PortChoice::Among(3128..=3128))));
    let answer = it.answers(INSIDE, &inside().tcp("S", 7, 0));
    let reset = inside().inverse().tcp("RA", 0, 8).datagram();
    assert_eq!(hex(&answer[12..24]), hex(&reset[12..24]), "the server seems to speak");
    assert!(it.shard.is_empty(), "the reset has ended the entry: {:?}", it.lines());
    it.check();
}

#[test]
fn an_echo_redirected_to_the_box_is_answered_by_the_one_asked() {
    let echo = Match { protocols: vec![frame::ICMP], ..Match::default() };
    let mut it = Middlebox::routed(destination(echo, Target::Masquerade(PortChoice::Preserve)));
    let answer = it.answers(INSIDE, &inside().echo(7, 1));
    assert_eq!(hex(&answer[12..20]), hex(&inside().inverse().echo_reply(7, 1).datagram()[12..20]));
    assert!(it.entry().status.contains(Status::SEEN_REPLY));
    it.check();
}

#[test]
fn rules_see_the_destination_behind_and_the_source_before_translation() {
    let seen = |source: &str, destination: &str| Match {
        source: vec![Prefix::new(source.parse().unwrap(), 32)],
        destination: vec![Prefix::new(destination.parse().unwrap(), 32)],
        ..Match::default()
    };
    let policy = rules([
        (seen("10.0.0.2", "198.51.100.2"), RuleAction::Accept),
        (seen("198.51.100.2", "10.0.0.2"), RuleAction::Accept),
        (
            Match {
                destination_ports: vec![8080..=8080],
                status: Some(Status::DST_NAT),
                ..seen("198.51.100.9", "10.0.0.5")
            },
            RuleAction::Accept,
        ),
        (seen("10.0.0.5", "198.51.100.9"), RuleAction::Accept),
    ]);
    let nat =
        Nat { destination: vec![NatRule::new(towards("203.0.113.10"), to("10.0.0.5:8080"))], ..masquerade() };
    let mut it = Middlebox::routed_with(policy, nat);
    it.crosses(INSIDE, &inside().udp(1), &outside().udp(1));
    it.crosses(OUTSIDE, &outside().inverse().udp(1), &inside().inverse().udp(1));
    let public = Pair::at("198.51.100.9:40000", "203.0.113.10:80");
    let private = Pair::at("198.51.100.9:40000", "10.0.0.5:8080");
    for _ in 0..3 {
        it.crosses(OUTSIDE, &public.udp(1), &private.udp(1));
        it.crosses(INSIDE, &private.inverse().udp(1), &public.inverse().udp(1));
    }
    // Asked for by its own address and port, the server is not let be reached.
    let (verdict, _) = it.pass_one(OUTSIDE, &Pair::at("198.51.100.9:5", "10.0.0.5:8080").udp(1));
    assert_eq!(verdict.action, Action::Drop(DropReason::Policy));
}

#[test]
fn what_the_policy_drops_takes_no_port() {
    let mut it = Middlebox::routed_with(Policy { default: Outcome::Drop, ..Policy::default() }, masquerade());
    let (verdict, frame) = it.pass_one(INSIDE, &inside().udp(1));
    assert_eq!(verdict.action, Action::Drop(DropReason::Policy));
    assert_eq!(hex(&frame), hex(&inside().udp(1).frame()));
    assert_eq!((it.shard.len(), it.ports_in_use("203.0.113.1")), (0, 0));
}

#[test]
fn listings_show_the_reply_tuple_and_count_both_directions() {
    let mut it = Middlebox::routed(Nat {
        destination: vec![NatRule::new(towards("198.51.100.2"), to("198.51.100.3:8080"))],
        ..source(pool("203.0.113.10", "203.0.113.10", PortChoice::Among(5555..=5555)))
    });
    let seen = Pair::at("203.0.113.10:5555", "198.51.100.3:8080");
    it.crosses(INSIDE, &inside().udp(72), &seen.udp(72));
    it.crosses(OUTSIDE, &seen.inverse().udp(172), &inside().inverse().udp(172));
    it.crosses(OUTSIDE, &seen.inverse().udp(172), &inside().inverse().udp(172));
    assert_eq!(
        it.lines(),
        ["ipv4     2 udp      17 30 src=10.0.0.2 dst=198.51.100.2 sport=40000 dport=80 packets=1 bytes=100 \
              src=198.51.100.3 dst=203.0.113.10 sport=8080 dport=5555 packets=2 bytes=400 mark=0 zone=0 use=2"]
    );
}

#[test]
fn zones_have_their_own_ports() {
    let settings = Settings::of(Preset::Linux, ROOM);
    let from = |net: &str| Match { source: vec![Prefix::new(net.parse().unwrap(), 24)], ..Match::default() };
    let policy = Policy { zones: vec![(from("10.0.1.0"), 1), (from("10.0.2.0"), 2)], ..accept_all() };
    let mut it = Middlebox::starting(Instant::from_ns(0), ROOM, routed(settings, policy, masquerade()));
    for host in ["10.0.1.2", "10.0.2.2", "10.0.3.2"] {
        let frame = it.goes_out(&Pair::at(&format!("{host}:4000"), "198.51.100.2:80").udp(1));
        assert_eq!(source_port(&frame), 4000);
    }
    it.check();
}

#[test]
fn a_deleted_connection_frees_its_port_and_both_its_slots() {
    let mut it = Middlebox::routed(masquerade());
    for n in 0..50 {
        it.goes_out(&Pair::of([10, 0, 0, 2].into(), 4000 + n, [198, 51, 100, 2].into(), 80).udp(1));
    }
    assert_eq!(it.ports_in_use("203.0.113.1"), 50);
    assert_eq!(it.shard.delete(|entry| entry.original.selector.sport() % 2 == 0), 25);
    assert_eq!(it.ports_in_use("203.0.113.1"), 25);
    it.check();
    assert_eq!(it.shard.delete(|_| true), 25);
    assert_eq!(it.ports_in_use("203.0.113.1"), 0);
    it.check();
}

#[test]
fn both_directions_are_of_one_entry() {
    let mut it = Middlebox::routed(masquerade());
    let first = it.crosses(INSIDE, &inside().udp(1), &outside().udp(1));
    let second = it.crosses(OUTSIDE, &outside().inverse().udp(1), &inside().inverse().udp(1));
    assert!(first.entry.is_some());
    assert_eq!((first.entry, first.direction), (second.entry, Some(Direction::Original)));
    assert_eq!(second.direction, Some(Direction::Reply));
    let refused = Action::Reject(DropReason::Local, Rejection::PortUnreachable);
    let (verdict, _) = it.pass_one(OUTSIDE, &Pair::at("198.51.100.2:80", "203.0.113.1:40001").udp(1));
    assert_eq!(verdict.action, refused, "a port that nobody has is the box's own");
}
