//! Several workers and translation: answers that another shard gets come back to their connection.

use etherparse::PacketBuilder;

use super::scratch::{Packet, Replayed, S, START, Scratch, pcap};

/// Who asks 10.0.0.9 is answered by 10.0.0.2.
const TRANSLATED: &str = "
version: 1
interfaces: {inside: {device: 'vdev:net_null0'}, outside: {device: 'vdev:net_null1'}}
policy: {default: accept, rules: [{state: invalid, action: drop}]}
nat: {destination: [{in: inside, destination: 10.0.0.9, to: 10.0.0.2}]}
";

/// An echo request or its reply. Nothing in it can be chosen so that a certain shard gets the answer.
fn echo(client: u8, request: bool) -> Vec<u8> {
    let (source, destination) = if request { (client, 9) } else { (2, client) };
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, source], [2, 0, 0, 0, 0, destination]);
    let builder = builder.ipv4([10, 0, 0, source], [10, 0, 0, destination], 64);
    let mut frame = Vec::new();
    match request {
        true => builder.icmpv4_echo_request(77, 1).write(&mut frame, &[1, 2]),
        false => builder.icmpv4_echo_reply(77, 1).write(&mut frame, &[1, 2]),
    }
    .unwrap();
    frame
}

fn replay(workers: u16) -> Replayed {
    let at = |client: u8, ns: u64| START + u64::from(client) * S / 100 + ns;
    let asked: Vec<Packet> = (16..80).map(|client| (at(client, 0), echo(client, true))).collect();
    let answered: Vec<Packet> = (16..80).map(|client| (at(client, 1000), echo(client, false))).collect();
    let scratch = Scratch::new(TRANSLATED).input("inside", &pcap(&asked)).input("outside", &pcap(&answered));
    scratch.with(format!("--workers={workers}")).replay()
}

#[test]
fn answers_to_translated_connections_find_their_shard() {
    let (one, four) = (replay(1), replay(4));
    assert!(one.traced("state").chunks(2).all(|pair| pair == ["NEW", "ESTABLISHED"]), "{}", one.stderr);
    assert_eq!(one.traced("state"), four.traced("state"));
    assert_eq!((one.inside.len(), one.outside.len()), (64, 64));
    assert!(one.inside == four.inside && one.outside == four.outside);
    assert!(one.outside.iter().all(|(_, frame)| frame[33] == 2), "requests go to who is there");
    assert!(one.inside.iter().all(|(_, frame)| frame[29] == 9), "answers come from who was asked");
}

/// Who asks outside is known there by one address.
const HIDDEN: &str = "
version: 1
interfaces: {inside: {device: 'vdev:net_null0'}, outside: {device: 'vdev:net_null1'}}
policy: {default: drop, rules: [{state: established, action: accept}, {in: inside, state: new, action: accept}]}
nat: {source: [{out: outside, to: 203.0.113.1}]}
";

/// Clients, each of whom asks from a port of its own.
const CLIENTS: std::ops::Range<u8> = 100..164;

/// The port of a client.
fn port_of(client: u8) -> u16 {
    40_000 + u16::from(client)
}

/// A datagram between one of these ports and that of a server.
fn datagram(host: [u8; 4], port: u16, asks: bool) -> Vec<u8> {
    let (server, mac) = (([10, 9, 0, 2], 53), [2, 0, 0, 0, 0, 1]);
    let builder = PacketBuilder::ethernet2(mac, mac);
    let mut frame = Vec::new();
    match asks {
        true => builder.ipv4(host, server.0, 64).udp(port, server.1).write(&mut frame, &[1, 2]),
        false => builder.ipv4(server.0, host, 64).udp(server.1, port).write(&mut frame, &[1, 2]),
    }
    .unwrap();
    frame
}

/// A replay of a datagram from each client and, behind it, of an answer to each of these ports of the public address, if any.
fn replay_hidden(workers: u16, answered: &[u16]) -> Replayed {
    let at = |number: usize, ns: u64| START + number as u64 * S / 100 + ns;
    let asked = CLIENTS
        .enumerate()
        .map(|(number, client)| (at(number, 0), datagram([10, 0, 0, client], port_of(client), true)));
    let answered = answered
        .iter()
        .enumerate()
        .map(|(number, port)| (at(number, 1000), datagram([203, 0, 113, 1], *port, false)));
    let [asked, answered]: [Vec<Packet>; 2] = [asked.collect(), answered.collect()];
    let scratch = Scratch::new(HIDDEN).input("inside", &pcap(&asked)).input("outside", &pcap(&answered));
    scratch.with(format!("--workers={workers}")).replay()
}

/// With several workers a client's port becomes one whose answers come to its shard. An answer that was recorded goes to the port
/// that was seen then.
#[test]
fn answers_are_those_of_connections_whose_ports_were_drawn() {
    for workers in [1, 2, 4] {
        let asked = replay_hidden(workers, &[]);
        let sent_from = |(_, frame): &Packet| u16::from_be_bytes([frame[34], frame[35]]);
        let drawn: Vec<u16> = asked.outside.iter().map(sent_from).collect();
        let states = |answered: &[u16]| replay_hidden(workers, answered).traced("state");
        assert!(states(&drawn).chunks(2).all(|pair| pair == ["NEW", "ESTABLISHED"]), "{workers}");
        let own: Vec<u16> = CLIENTS.map(port_of).collect();
        for ((pair, drawn), own) in states(&own).chunks(2).zip(&drawn).zip(&own) {
            let answer = if drawn == own { "ESTABLISHED" } else { "NEW" };
            assert_eq!(pair, ["NEW", answer], "{workers}: {own} became {drawn}");
        }
        assert_eq!(drawn == own, workers == 1, "{drawn:?}");
    }
}
