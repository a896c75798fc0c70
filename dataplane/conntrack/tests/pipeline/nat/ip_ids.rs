//! Identifications of IPv4 packets: left alone, or the box's own where their source is translated (RFC 7857 section 11).

use super::*;
use std::collections::BTreeSet;

const DONT_FRAGMENT: u16 = 0x4000;

/// The Ethernet frame of an IPv4 packet with this identification and flags.
fn numbered(packet: &Packet, number: u16, flags: u16) -> Vec<u8> {
    let mut frame = packet.frame();
    frame[18..20].copy_from_slice(&number.to_be_bytes());
    frame[20..22].copy_from_slice(&flags.to_be_bytes());
    frame[24..26].fill(0);
    let sum: u32 =
        frame[14..34].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame
}

fn number(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[18], frame[19]])
}

fn renumbering(nat: Nat) -> Middlebox {
    let mut it = Middlebox::routed(nat);
    it.change(|configuration| configuration.renumbers = true);
    it
}

/// What leaves when such a packet comes in; but for its number it is as it would be without renumbering.
fn leaves(it: &mut Middlebox, port: PortId, packet: &Packet, becomes: &Packet, flags: u16) -> u16 {
    let mut frames = [(port, numbered(packet, 7, flags))];
    assert!(matches!(it.burst(&mut frames)[0].action, Action::Forward(_)));
    let [(_, frame)] = frames;
    let becomes = Packet { ttl: becomes.ttl - 1, ..becomes.clone() };
    assert_eq!(hex(&frame), hex(&numbered(&becomes, number(&frame), flags)), "checksums are right");
    number(&frame)
}

fn client(host: u8) -> (Pair, Pair) {
    let port = 40_000 + u16::from(host);
    let server = ([198, 51, 100, 2].into(), 80);
    (
        Pair::of([10, 0, 0, host].into(), port, server.0, server.1),
        Pair::of([203, 0, 113, 1].into(), port, server.0, server.1),
    )
}

#[test]
fn packets_of_many_clients_to_one_server_have_different_numbers() {
    let mut it = renumbering(masquerade());
    let mut numbers = BTreeSet::new();
    for round in 0..40 {
        for host in 2..102 {
            let (inside, outside) = client(host);
            numbers.insert(leaves(&mut it, INSIDE, &inside.udp(round), &outside.udp(round), 0));
        }
    }
    assert_eq!(numbers.len(), 4000);
}

#[test]
fn what_is_not_cut_or_not_hidden_keeps_its_number() {
    let (inside, outside) = client(2);
    let mut it = renumbering(masquerade());
    assert_eq!(leaves(&mut it, INSIDE, &inside.udp(1), &outside.udp(1), DONT_FRAGMENT), 7);
    let (to_outside, to_inside) = (outside.inverse().udp(1), inside.inverse().udp(1));
    assert_eq!(leaves(&mut it, OUTSIDE, &to_outside, &to_inside, 0), 7, "the server's source is its own");
    assert_ne!(leaves(&mut it, INSIDE, &inside.udp(1), &outside.udp(1), 0), 7);
    let mut it = Middlebox::routed(masquerade());
    assert_eq!(leaves(&mut it, INSIDE, &inside.udp(1), &outside.udp(1), 0), 7, "as in Linux");
}

#[test]
fn errors_and_answers_of_a_hidden_server_are_renumbered_too() {
    let mut it = renumbering(destination(towards("203.0.113.10"), to("10.0.0.5:8080")));
    let (public, inside) =
        (Pair::at("198.51.100.9:40000", "203.0.113.10:80"), Pair::at("198.51.100.9:40000", "10.0.0.5:8080"));
    assert_eq!(leaves(&mut it, OUTSIDE, &public.udp(1), &inside.udp(1), 0), 7);
    let answer = leaves(&mut it, INSIDE, &inside.inverse().udp(1), &public.inverse().udp(1), 0);
    let (comes, becomes) = (
        inside.udp(1).unreachable(inside.destination.ip()),
        public.udp(1).unreachable(public.destination.ip()),
    );
    let error = leaves(&mut it, INSIDE, &comes, &becomes, 0);
    assert!(answer != 7 && error != 7 && answer != error);
}
