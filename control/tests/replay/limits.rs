//! Rules with a limit: who opens connections too fast is held back, for a time, and nobody else.

use etherparse::PacketBuilder;

use super::scratch::{Packet, Replayed, S, START, Scratch, pcap};

/// Three connections at once from each network, then one a second.
const LIMITED: &str = "
version: 1
interfaces: {inside: {device: 'vdev:net_null0'}, outside: {device: 'vdev:net_null1'}}
policy:
  default: drop
  rules:
    - {state: established, action: accept}
    - {state: new, limit: {rate: 1/s, burst: 3, by: source, ipv4-prefix: 24}, action: accept}
";

/// The same the other way round: those beyond it are refused, all else passes.
const BEYOND: &str = "
version: 1
interfaces: {inside: {device: 'vdev:net_null0'}, outside: {device: 'vdev:net_null1'}}
policy:
  default: accept
  rules:
    - {name: too-fast, state: new, limit: {rate: 60/minute, burst: 3, by: source, ipv4-prefix: 24, over: true}, action: drop}
";

fn udp(client: [u8; 4], sport: u16, request: bool) -> Vec<u8> {
    let server = [198, 51, 100, 2];
    let (from, to) = if request { ((client, sport), (server, 53)) } else { ((server, 53), (client, sport)) };
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let mut frame = Vec::new();
    builder.ipv4(from.0, to.0, 64).udp(from.1, to.1).write(&mut frame, &[1; 8]).unwrap();
    frame
}

/// One network opens ten connections within a millisecond, another one two; later the first opens two more, when one may pass. What
/// was opened goes on all the while.
fn captures() -> (Vec<Packet>, Vec<Packet>) {
    let at = |ns: u64, frame| (START + ns, frame);
    let mut inside: Vec<Packet> =
        (0..10).map(|sport| at(u64::from(sport), udp([10, 0, 0, sport as u8], sport, true))).collect();
    inside.extend((0..2).map(|sport| at(100 + u64::from(sport), udp([10, 0, 1, 1], sport, true))));
    inside.extend((0..50).map(|packet| at(1000 + packet, udp([10, 0, 0, 1], 1, true))));
    inside.extend((0..2).map(|sport| at(S + 10 + u64::from(sport), udp([10, 0, 0, 77], sport, true))));
    let outside = vec![at(500, udp([10, 0, 0, 1], 1, false))];
    (inside, outside)
}

fn replay(config: &str, workers: u16) -> Replayed {
    let (inside, outside) = captures();
    let scratch = Scratch::new(config).input("inside", &pcap(&inside)).input("outside", &pcap(&outside));
    scratch.with(format!("--workers={workers}")).replay()
}

#[test]
fn connections_from_one_network_are_limited_whichever_worker_has_them() {
    for config in [LIMITED, BEYOND] {
        for workers in [1, 4] {
            let replayed = replay(config, workers);
            let passed = |network: u8, ns: std::ops::Range<u64>| {
                let of = |(stamp, frame): &&Packet| {
                    frame[28] == network && ns.contains(&(stamp - START)) && frame[35] == frame[29]
                };
                replayed.outside.iter().filter(of).count()
            };
            assert_eq!(passed(0, 0..100), 3, "{workers} workers: {}", replayed.stderr);
            let others = replayed.outside.iter().filter(|(_, frame)| frame[28] == 1).count();
            assert_eq!(others, 2, "another network has a limit of its own");
            let first = |(stamp, _): &&Packet| (1000..2000).contains(&(stamp - START));
            assert_eq!(replayed.outside.iter().filter(first).count(), 50, "what is open is not limited");
            let later = replayed.outside.iter().filter(|(stamp, _)| *stamp > START + S).count();
            assert_eq!(later, 1, "one a second");
            assert_eq!(replayed.report["drops"]["policy"], 8);
        }
    }
}
