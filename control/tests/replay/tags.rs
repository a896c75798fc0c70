//! VLAN tags on a routed box: a priority tag is no tag, and frames of a VLAN are not the port's.

use super::scratch::{S, START, Scratch, pcap, udp};

const ROUTED: &str = "
version: 1
interfaces:
  inside: {device: 'vdev:net_null0', addresses: [10.0.0.2/8]}
  outside: {device: 'vdev:net_null1', addresses: [203.0.113.1/24]}
routes: [{to: 0.0.0.0/0, via: 203.0.113.254, dev: outside}]
neighbours: [{address: 203.0.113.254, mac: '02:00:00:00:02:02', dev: outside}]
nat: {destination: [{in: inside, destination: 10.0.0.2, protocol: udp, to: 198.51.100.7}]}
policy: {default: accept}
";

/// The same frame with a tag of IEEE 802.1Q.
fn tagged(frame: &[u8], control: u16) -> Vec<u8> {
    [&frame[..12], &[0x81, 0x00], &control.to_be_bytes(), &frame[12..]].concat()
}

#[test]
fn a_priority_tag_is_no_tag() {
    // Priority 5 without a VLAN, then VLAN 5.
    let frames = [udp(1111, 8), tagged(&udp(1111, 8), 5 << 13), tagged(&udp(2222, 8), 5)];
    let packets: Vec<_> = (0..).zip(frames).map(|(number, frame)| (START + number * S, frame)).collect();
    for workers in [1, 2] {
        let scratch = Scratch::new(ROUTED).input("inside", &pcap(&packets));
        let replayed = scratch.with(format!("--workers={workers}")).replay();
        assert_eq!(replayed.traced("state")[..2], ["NEW", "NEW"], "{}", replayed.stderr);
        let [(_, plain), (_, stripped)] = &replayed.outside[..] else { panic!("{}", replayed.stderr) };
        assert_eq!(plain, stripped);
        assert!(replayed.stderr.contains("other-host"), "{}", replayed.stderr);
    }
}
