//! Neighbours without a link: packets are numbers, and time is told.

use super::*;
use etherparse::{NetSlice, SlicedPacket};

const PORT: PortId = PortId(1);
const MAC: MacAddress = [2, 0, 0, 0, 0, 9];
const OWN_MAC: MacAddress = [2, 0, 0, 0, 0, 1];

fn at(seconds: u64) -> Instant {
    Instant::from_ns(seconds * 1_000_000_000)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn host() -> IpAddr {
    address("10.0.0.2")
}

/// Whom the table wants to ask at a second, and how many packets it gave up.
fn look_through(neighbours: &mut Neighbours<u32>, seconds: u64) -> (Vec<IpAddr>, u64) {
    let mut asked = Vec::new();
    let lost = neighbours.look_through(at(seconds), |_, address| asked.push(address));
    (asked, lost)
}

#[test]
fn packets_wait_for_an_answer_and_leave_in_order() {
    let mut neighbours = Neighbours::new();
    assert_eq!(neighbours.resolve(at(1), PORT, host(), 1), Hop::Waits { ask: true });
    assert_eq!(neighbours.resolve(at(1), PORT, host(), 2), Hop::Waits { ask: false });
    assert_eq!(neighbours.resolve(at(1), PORT, host(), 3), Hop::Waits { ask: false });
    assert_eq!(neighbours.resolve(at(1), PORT, host(), 4), Hop::Dropped(4));
    assert!(neighbours.heard(at(2), PortId(0), host(), MAC, false).is_empty(), "another link's");
    assert_eq!(neighbours.heard(at(2), PORT, host(), MAC, false).as_slice(), [1, 2, 3]);
    assert_eq!(neighbours.resolve(at(2), PORT, host(), 5), Hop::Known(5, MAC));
}

#[test]
fn a_silent_station_is_asked_three_times_and_given_up() {
    let mut neighbours = Neighbours::new();
    assert_eq!(neighbours.resolve(at(1), PORT, host(), 1), Hop::Waits { ask: true });
    assert_eq!(look_through(&mut neighbours, 2), (vec![host()], 0));
    assert_eq!(look_through(&mut neighbours, 2), (vec![], 0), "once a second");
    assert_eq!(look_through(&mut neighbours, 3), (vec![host()], 0));
    assert_eq!(look_through(&mut neighbours, 4), (vec![], 1));
    assert_eq!(neighbours.resolve(at(5), PORT, host(), 2), Hop::Waits { ask: true }, "and anew");
}

#[test]
fn a_known_station_is_asked_again_only_while_packets_go_there() {
    let mut neighbours = Neighbours::new();
    neighbours.heard(at(1), PORT, host(), MAC, true);
    assert_eq!(look_through(&mut neighbours, 20), (vec![], 0));
    assert_eq!(look_through(&mut neighbours, 300), (vec![], 0), "nobody needs it");
    assert_eq!(neighbours.resolve(at(301), PORT, host(), 1), Hop::Known(1, MAC));
    assert_eq!(look_through(&mut neighbours, 302), (vec![host()], 0));
    let other = [2, 0, 0, 0, 0, 8];
    neighbours.heard(at(303), PORT, host(), other, false);
    assert_eq!(neighbours.resolve(at(304), PORT, host(), 2), Hop::Known(2, other), "it has moved");
    for seconds in [340, 341, 342] {
        assert_eq!(look_through(&mut neighbours, seconds), (vec![host()], 0));
    }
    assert_eq!(look_through(&mut neighbours, 343), (vec![], 0));
    assert_eq!(neighbours.resolve(at(344), PORT, host(), 3), Hop::Waits { ask: true }, "it has gone");
}

#[test]
fn an_unused_station_is_forgotten() {
    let mut neighbours = Neighbours::new();
    neighbours.heard(at(1), PORT, host(), MAC, true);
    look_through(&mut neighbours, 700);
    assert_eq!(neighbours.resolve(at(701), PORT, host(), 1), Hop::Waits { ask: true });
}

#[test]
fn strangers_are_remembered_only_if_they_speak_to_us() {
    let mut neighbours = Neighbours::new();
    neighbours.heard(at(1), PORT, host(), MAC, false);
    assert_eq!(neighbours.resolve(at(1), PORT, host(), 1), Hop::Waits { ask: true });
}

#[test]
fn the_table_has_an_end() {
    let mut neighbours = Neighbours::new();
    let number = |n: usize| IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n as u32));
    for n in 0..MAX_STATIONS {
        assert_eq!(neighbours.resolve(at(1), PORT, number(n), 0), Hop::Waits { ask: true });
    }
    assert_eq!(neighbours.resolve(at(1), PORT, number(MAX_STATIONS), 7), Hop::Dropped(7));
    neighbours.heard(at(1), PORT, number(MAX_STATIONS), MAC, true);
    assert_eq!(neighbours.resolve(at(1), PORT, number(MAX_STATIONS), 7), Hop::Dropped(7));
    for seconds in 2..5 {
        look_through(&mut neighbours, seconds);
    }
    assert_eq!(neighbours.resolve(at(5), PORT, number(MAX_STATIONS), 7), Hop::Waits { ask: true });
}

#[test]
fn what_the_operator_says_stands() {
    let mut neighbours = Neighbours::new();
    let mut router = Router::new(vec![], &[]);
    router.neighbours = vec![Neighbour { port: PORT, address: host(), mac: MAC }];
    for packet in [1, 2] {
        neighbours.resolve(at(0), PORT, host(), packet);
    }
    let mut released = Vec::new();
    neighbours.configure(&router, |port, packet, mac| released.push((port, packet, mac)));
    assert_eq!(released, [(PORT, 1, MAC), (PORT, 2, MAC)], "those that have waited");
    neighbours.heard(at(1), PORT, host(), [2, 0, 0, 0, 0, 7], true);
    assert_eq!(look_through(&mut neighbours, 9000), (vec![], 0));
    assert_eq!(neighbours.resolve(at(9000), PORT, host(), 1), Hop::Known(1, MAC));
    router.neighbours.clear();
    neighbours.configure(&router, |_, packet, _| panic!("{packet} did not wait"));
    assert_eq!(neighbours.resolve(at(9001), PORT, host(), 1), Hop::Waits { ask: true });
}

fn read_bytes(bytes: &[u8]) -> Option<Message> {
    read(&(PORT, bytes.to_vec()))
}

#[test]
fn messages_read_as_they_were_written() {
    for (own, other) in [("10.0.0.1", "10.0.0.2"), ("fe80::ff:fe00:1", "2001:db8::2")] {
        let own = Speaker { address: address(own), mac: OWN_MAC };
        let other = Speaker { address: address(other), mac: MAC };
        let question = Message::Solicitation { from: Some(own), target: other.address };
        let bytes = question.write(None).unwrap();
        assert_eq!(bytes[0] & 1, 1, "to many");
        assert_eq!(bytes[6..12], OWN_MAC);
        assert_eq!(read_bytes(&bytes), Some(question));
        let answer = Message::Advertisement(own);
        let bytes = answer.write(Some(other)).unwrap();
        assert_eq!(bytes[..6], MAC);
        assert_eq!(read_bytes(&bytes), Some(answer));
        for length in 0..bytes.len() {
            assert_eq!(read_bytes(&bytes[..length]), None, "{length}");
        }
    }
}

#[test]
fn a_station_without_an_address_is_answered_too() {
    let v4 = Message::Advertisement(Speaker { address: address("10.0.0.1"), mac: OWN_MAC });
    let probe = Speaker { address: address("0.0.0.0"), mac: MAC };
    assert_eq!(v4.write(Some(probe)).unwrap()[..6], MAC);
    let v6 = Message::Advertisement(Speaker { address: address("2001:db8::1"), mac: OWN_MAC });
    assert_eq!(v6.write(None).unwrap()[..6], [0x33, 0x33, 0, 0, 0, 1]);
}

#[test]
fn neighbour_discovery_is_sound_for_another_parser() {
    let own = Speaker { address: address("fe80::ff:fe00:1"), mac: OWN_MAC };
    let bytes =
        Message::Solicitation { from: Some(own), target: address("2001:db8::12:3456") }.write(None).unwrap();
    assert_eq!(bytes[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
    let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("no IPv6") };
    assert_eq!(ip.header().hop_limit(), 255);
    assert_eq!(IpAddr::from(ip.header().destination_addr()), address("ff02::1:ff12:3456"));
    let Some(etherparse::TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("no ICMPv6") };
    assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
    // One bit less and it is nothing.
    for bit in 14 * 8..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let read = read_bytes(&damaged);
        assert!(read.is_none() || (14 * 8..21 * 8).contains(&bit), "bit {bit}: {read:?}");
    }
}

#[test]
fn a_port_makes_its_link_local_address_of_its_mac() {
    assert_eq!(
        IpAddr::from(link_local([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde])),
        address("fe80::3656:78ff:fe9a:bcde")
    );
}
