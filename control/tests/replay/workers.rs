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
