//! The maximum segment size that SYNs offer: clamped as they pass, with checksums that are right.

use crate::common::frame::Segment;
use crate::common::*;
use sluice_conntrack::PortId;
use sluice_conntrack::mss_clamp::{MssClamp, MssLimit};
use sluice_conntrack::nat::Nat;
use sluice_conntrack::policy::Policy;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::Action;

const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;

/// A wire whose outside has an MTU of 1400 and this limit.
fn wire(limit: MssLimit) -> Middlebox {
    clamped(Middlebox::of(Preset::Linux), limit)
}

fn clamped(mut it: Middlebox, limit: MssLimit) -> Middlebox {
    it.change(|configuration| {
        configuration.mss_clamp = MssClamp::new([(MssLimit::None, 1500), (limit, 1400)])
    });
    it
}

fn segment(pair: Pair, flags: u8, options: &[u8]) -> Packet {
    let (seq, ack) = if flags == SYN { (1000, 0) } else { (5000, 1001) };
    pair.segment(&Segment { flags, seq, ack, options: options.to_vec(), ..Segment::default() })
}

/// What leaves when a packet comes in.
fn leaves(it: &mut Middlebox, port: PortId, packet: &Packet) -> Vec<u8> {
    let mut frames = [(port, packet.frame())];
    let action = it.burst(&mut frames)[0].action;
    assert!(matches!(action, Action::Forward(_)), "{action:?}");
    let [(_, frame)] = frames;
    frame
}

/// The frame of a packet, as tests make it: its checksums are right.
fn right(packet: &Packet, leaves: &[u8]) -> Vec<u8> {
    let mut frame = packet.frame();
    // Padding is no part of the packet.
    frame.resize(leaves.len().max(frame.len()), 0);
    frame
}

/// That the offer of a SYN, and of the SYN/ACK that answers it, become these options.
fn becomes(limit: MssLimit, pair: Pair, options: &[u8], expected: &[u8]) {
    let mut it = wire(limit);
    for (port, pair, flags) in [(INSIDE, pair, SYN), (OUTSIDE, pair.inverse(), SYN_ACK)] {
        // The second of each is a retransmission.
        for _ in 0..2 {
            let left = leaves(&mut it, port, &segment(pair, flags, options));
            let expected = right(&segment(pair, flags, expected), &left);
            assert_eq!(left, expected, "{limit:?} {flags:#x} {options:?}");
        }
    }
}

fn mss(bytes: u16) -> [u8; 4] {
    let [high, low] = bytes.to_be_bytes();
    [2, 4, high, low]
}

#[test]
fn an_offer_is_lowered_both_ways_and_never_raised() {
    let [v4, v6] = Pair::both(40_000, 80);
    for (pair, room) in [(v4, 1360), (v6, 1340)] {
        becomes(MssLimit::Pmtu, pair, &mss(1460), &mss(room));
        becomes(MssLimit::Pmtu, pair, &mss(room), &mss(room));
        becomes(MssLimit::Pmtu, pair, &mss(500), &mss(500));
        becomes(MssLimit::Bytes(1200), pair, &mss(65_535), &mss(1200));
        becomes(MssLimit::None, pair, &mss(1460), &mss(1460));
    }
}

#[test]
fn an_offer_is_found_behind_other_options_wherever_it_lies() {
    for pair in Pair::both(40_000, 80) {
        for before in [&[1][..], &[1, 1], &[1, 3, 3, 7], &[4, 2, 1, 1, 1]] {
            let with = |bytes| [before, &mss(bytes), &[1, 1]].concat();
            becomes(MssLimit::Bytes(1234), pair, &with(1460), &with(1234));
        }
    }
}

#[test]
fn damaged_options_are_left_alone() {
    for pair in Pair::both(40_000, 80) {
        for damaged in
            [&[2, 3, 5, 180][..], &[2, 0, 5, 180], &[3, 0, 2, 4, 5, 180, 0, 0], &[8, 9, 2, 4], &[1, 1, 1, 2]]
        {
            becomes(MssLimit::Bytes(100), pair, damaged, damaged);
        }
    }
}

#[test]
fn a_syn_without_an_offer_gets_what_hosts_assume_at_most() {
    let [v4, v6] = Pair::both(40_000, 80);
    for (pair, assumed) in [(v4, 536), (v6, 1220)] {
        becomes(MssLimit::Pmtu, pair, &[], &mss(assumed));
        becomes(MssLimit::Bytes(300), pair, &[3, 3, 7, 1], &[&mss(300)[..], &[3, 3, 7, 1]].concat());
        becomes(MssLimit::Pmtu, pair, &[1; 40], &[1; 40]);
    }
    // One with payload, which would grow, is left alone, as is one that a box without a limit passes.
    let data = v4.segment(&Segment { flags: SYN, seq: 1000, payload_len: 5, ..Segment::default() });
    assert_eq!(leaves(&mut wire(MssLimit::Pmtu), INSIDE, &data), data.frame());
    becomes(MssLimit::None, v4, &[], &[]);
}

#[test]
fn other_segments_keep_their_options() {
    for pair in Pair::both(40_000, 80) {
        let mut it = wire(MssLimit::Bytes(500));
        leaves(&mut it, INSIDE, &segment(pair, SYN, &mss(1460)));
        leaves(&mut it, OUTSIDE, &segment(pair.inverse(), SYN_ACK, &mss(1460)));
        let ack =
            Segment { flags: 0x10, seq: 1001, ack: 5001, options: mss(1460).to_vec(), ..Segment::default() };
        let ack = pair.segment(&ack);
        assert_eq!(leaves(&mut it, INSIDE, &ack), ack.frame());
    }
}

#[test]
fn a_late_syn_of_an_old_connection_is_clamped_too() {
    let pair = Pair::v4(40_000, 80);
    let mut it = wire(MssLimit::Bytes(500));
    it.inside(&pair.tcp("S", 1000, 0));
    it.outside(&pair.inverse().tcp("SA", 5000, 1001));
    it.inside(&pair.tcp("A", 1001, 5001));
    it.outside(&pair.inverse().tcp("A", 5001, 1001));
    let left = leaves(&mut it, INSIDE, &segment(pair, SYN, &mss(1460)));
    assert_eq!(left, right(&segment(pair, SYN, &mss(500)), &left), "the host has started anew");
}

#[test]
fn translated_and_untracked_connections_are_clamped_as_well() {
    use sluice_conntrack::nat::{NatRule, PortChoice, Target};
    use sluice_conntrack::policy::Match;
    let out = Match { egress: vec![OUTSIDE], ..Match::default() };
    let nat = Nat {
        source: vec![NatRule::new(out, Target::Masquerade(PortChoice::Preserve))],
        destination: vec![],
    };
    let mut it = clamped(Middlebox::routed(nat), MssLimit::Pmtu);
    let (inside, outside) =
        (Pair::at("10.0.0.2:40000", "198.51.100.2:80"), Pair::at("203.0.113.1:40000", "198.51.100.2:80"));
    let ttl = |packet: Packet| Packet { ttl: 63, ..packet };
    let left = leaves(&mut it, INSIDE, &segment(inside, SYN, &mss(1460)));
    assert_eq!(left, right(&ttl(segment(outside, SYN, &mss(1360))), &left));
    let left = leaves(&mut it, OUTSIDE, &segment(outside.inverse(), SYN_ACK, &[]));
    assert_eq!(left, right(&ttl(segment(inside.inverse(), SYN_ACK, &mss(536))), &left));

    let policy = Policy { untracked: vec![Match::default()], ..accept_all() };
    let mut it = clamped(Middlebox::with(Settings::of(Preset::Linux, ROOM), policy), MssLimit::Pmtu);
    let pair = Pair::v4(40_000, 80);
    let left = leaves(&mut it, OUTSIDE, &segment(pair.inverse(), SYN_ACK, &mss(1460)));
    assert_eq!(left, right(&segment(pair.inverse(), SYN_ACK, &mss(1360)), &left));
}
