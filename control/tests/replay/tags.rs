//! VLAN tags on a routed box: a priority tag is no tag, a VLAN is an interface of its own, and any other is none of the box's.

use etherparse::PacketBuilder;

use super::scratch::{Packet, Replayed, S, START, Scratch, pcap, udp};

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
        assert!(replayed.stderr.contains("unknown-vlan"), "{}", replayed.stderr);
    }
}

/// Two VLANs on one port, a plain network there, and another port. What leaves by the VLAN `wan` is masqueraded.
const TRUNK: &str = "
version: 1
interfaces:
  guests: {device: 'vlan:outside.20', addresses: [10.20.0.1/16, 'fd00:20::1/64']}
  inside: {device: 'vdev:net_null0', addresses: [10.0.0.1/16, 'fd00::1/64']}
  outside: {device: 'vdev:net_null1', addresses: [10.1.0.1/16, 'fd00:1::1/64']}
  wan: {device: 'vlan:outside.4094', addresses: [203.0.113.1/24, '2001:db8::1/64'], mtu: 1400}
nat: {source: [{out: wan, masquerade: true}]}
policy:
  rules:
    - {state: [established, related], action: accept}
    - {name: leaves, out: wan, state: new, action: accept}
    - {name: guests-in, in: guests, out: inside, state: new, action: accept}
    - {name: to-guests, in: [inside, outside], out: guests, state: new, action: accept}
    - {name: to-box, out: local, action: accept}
";

/// UDP of 8 bytes payload between two addresses, with a TTL.
fn between(from: &str, to: &str, ports: (u16, u16), ttl: u8, payload_bytes: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 7], [2, 0, 0, 0, 0, 1]);
    let builder = match (from.parse().unwrap(), to.parse().unwrap()) {
        (std::net::IpAddr::V4(from), std::net::IpAddr::V4(to)) => {
            builder.ipv4(from.octets(), to.octets(), ttl)
        }
        (std::net::IpAddr::V6(from), std::net::IpAddr::V6(to)) => {
            builder.ipv6(from.octets(), to.octets(), ttl)
        }
        _ => panic!("one family"),
    };
    let mut frame = Vec::new();
    builder.udp(ports.0, ports.1).write(&mut frame, &vec![7; payload_bytes]).unwrap();
    frame
}

/// Replays what comes in by `outside`, with each of these numbers of workers.
fn play(workers: &[u16], frames: &[Vec<u8>], check: impl Fn(&Replayed)) {
    let packets: Vec<Packet> = (0..).zip(frames).map(|(n, frame)| (START + n * S, frame.clone())).collect();
    for workers in workers {
        let scratch = Scratch::new(TRUNK).input("outside", &pcap(&packets));
        check(&scratch.with(format!("--workers={workers}")).replay());
    }
}

fn frames(packets: &[Packet]) -> Vec<Vec<u8>> {
    packets.iter().map(|(_, frame)| frame.clone()).collect()
}

const FAMILIES: [[&str; 4]; 2] = [
    ["10.20.0.9", "203.0.113.9", "203.0.113.1", "10.0.0.9"],
    ["fd00:20::9", "2001:db8::9", "2001:db8::1", "fd00::9"],
];

#[test]
fn a_vlan_is_an_interface_and_its_frames_have_its_tag_on_the_link() {
    for [guest, server, wan, inside] in FAMILIES {
        let sent = [
            // Through the port that it came in by, into another VLAN, and back.
            tagged(&between(guest, server, (4000, 53), 64, 8), 20 | 5 << 13),
            tagged(&between(server, wan, (53, 4000), 64, 8), 4094),
            // By another port, without a tag.
            tagged(&between(guest, inside, (4000, 53), 64, 8), 20),
            // From a VLAN that may not, and one that is none of the box's.
            tagged(&between(server, inside, (1, 2), 64, 8), 4094),
            tagged(&between(guest, server, (4000, 54), 64, 8), 21),
            // Tags in tags.
            tagged(&tagged(&between(guest, server, (4000, 55), 64, 8), 20), 20),
        ];
        // Several workers draw ports.
        play(&[1], &sent, |replayed| {
            let masqueraded = tagged(&between(wan, server, (4000, 53), 63, 8), 4094);
            let answer = tagged(&between(server, guest, (53, 4000), 63, 8), 20);
            assert_eq!(frames(&replayed.outside), [masqueraded, answer], "{}", replayed.stderr);
            assert_eq!(frames(&replayed.inside), [between(guest, inside, (4000, 53), 63, 8)]);
            assert_eq!(replayed.traced("rule")[0], "leaves");
            assert_eq!(replayed.traced("out")[..3], ["wan", "guests", "inside"]);
            let reasons = replayed.traced("reason");
            assert_eq!(reasons[3..], ["policy", "unknown-vlan", "unknown-vlan"]);
        });
    }
}

#[test]
fn untagged_frames_are_those_of_the_port() {
    for (from, guest) in [("10.1.0.9", "10.20.0.9"), ("fd00:1::9", "fd00:20::9")] {
        let sent = [
            between(from, guest, (4000, 53), 64, 8),
            tagged(&between(guest, from, (53, 4000), 64, 8), 20),
            // The guests' source without their tag is judged as the port's, which may not go there.
            between(guest, from, (4000, 53), 64, 8),
        ];
        play(&[1, 2], &sent, |replayed| {
            let there = tagged(&between(from, guest, (4000, 53), 63, 8), 20);
            let back = between(guest, from, (53, 4000), 63, 8);
            assert_eq!(frames(&replayed.outside), [there, back], "{}", replayed.stderr);
            assert_eq!(replayed.traced("verdict")[2], "drop");
        });
    }
}

#[test]
fn what_the_box_says_in_a_vlan_has_its_tag() {
    let echo = |from: [u8; 4], to: [u8; 4], ttl, answers: bool| {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 7], [2, 0, 0, 0, 0, 1]).ipv4(from, to, ttl);
        let mut frame = Vec::new();
        match answers {
            false => builder.icmpv4_echo_request(3, 1).write(&mut frame, b"box?").unwrap(),
            true => builder.icmpv4_echo_reply(3, 1).write(&mut frame, b"box?").unwrap(),
        }
        frame
    };
    let (guest, own) = ([10, 20, 0, 9], [10, 20, 0, 1]);
    let sent = [
        tagged(&echo(guest, own, 64, false), 20),
        // The TTL ends here; and more than the MTU of the way out, which must not be cut.
        tagged(&between("10.20.0.9", "203.0.113.9", (4000, 53), 1, 8), 20),
        tagged(&between("fd00:20::9", "2001:db8::9", (4000, 53), 64, 1400), 20),
    ];
    play(&[1, 2], &sent, |replayed| {
        assert_eq!(replayed.outside.len(), 3, "{}", replayed.stderr);
        for (_, frame) in &replayed.outside {
            assert_eq!(frame[..6], [2, 0, 0, 0, 0, 7]);
            assert_eq!(frame[12..16], [0x81, 0, 0, 20], "to the guests");
        }
        let reply = &replayed.outside[0].1;
        assert_eq!(reply[30..38], [own, guest].concat());
        assert_eq!(reply[38..40], [0, 0], "an echo reply");
        assert_eq!(replayed.outside[1].1[38..40], [11, 0], "time exceeded");
        assert_eq!(replayed.outside[2].1[58..60], [2, 0], "packet too big");
        assert_eq!(replayed.traced("reason")[1..], ["ttl-exceeded", "too-big"]);
    });
}
