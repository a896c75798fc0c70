//! What the box says itself: counted apart, and at one pace however many workers there are.

use etherparse::PacketBuilder;

use super::scratch::{Packet, Replayed, START, Scratch, pcap};

/// A router that refuses what is not for itself.
const REFUSING: &str = "
version: 1
forwarding: routed
interfaces:
  inside: {device: 'vdev:net_null0', addresses: [10.0.0.1/24]}
  outside: {device: 'vdev:net_null1', addresses: [198.51.100.1/24]}
policy: {default: reject, rules: [{out: local, action: accept}]}
";

const REFUSED: u64 = 300;
const PINGS: u64 = 7;

fn frame(destination: [u8; 4], ping: bool) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
    let builder = builder.ipv4([10, 0, 0, 2], destination, 64);
    let mut frame = Vec::new();
    match ping {
        true => builder.icmpv4_echo_request(77, 1).write(&mut frame, &[1, 2]),
        false => builder.udp(4000, 53).write(&mut frame, &[1, 2]),
    }
    .unwrap();
    frame
}

/// One connection is refused again and again, all at once, and some pings are answered.
fn replay(workers: u16) -> Replayed {
    let refused = (0..REFUSED).map(|number| (START + number, frame([198, 51, 100, 2], false)));
    let pings = (0..PINGS).map(|number| (START + REFUSED + number, frame([10, 0, 0, 1], true)));
    let asked: Vec<Packet> = refused.chain(pings).collect();
    Scratch::new(REFUSING).input("inside", &pcap(&asked)).with(format!("--workers={workers}")).replay()
}

#[test]
fn the_box_has_one_pace_and_its_answers_are_counted_apart() {
    let one = replay(1);
    let report = &one.report;
    assert_eq!((&report["packets_in"], &report["delivered"]), (&(REFUSED + PINGS).into(), &PINGS.into()));
    assert_eq!((&report["drops"]["reject"], &report["held"]), (&REFUSED.into(), &0.into()));
    let answers = &report["answers"];
    assert_eq!((&answers["sent"], &answers["withheld"]), (&(100 + PINGS).into(), &(REFUSED - 100).into()));
    assert_eq!(one.inside.len() as u64, 100 + PINGS);
    for workers in [2, 4] {
        one.is_repeated_by(&replay(workers));
    }
}
