//! Neighbours without a link: packets are numbers, and time is told.

use super::state::{MAX_INCOMPLETE, MAX_UNUSED};
use super::*;
use etherparse::{NetSlice, SlicedPacket};
use sluice_conntrack::forward::{MacAddress, Router};
use sluice_conntrack::{Instant, PortId};
use std::net::{IpAddr, Ipv4Addr};

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

fn cache() -> Neighbours<u32> {
    Neighbours::new(2, 4096)
}

/// What a neighbour says at a port, as an answer or a question to the box.
fn said(text: &str, mac: MacAddress, to_us: bool) -> Heard {
    Heard { ingress: PORT, speaker: Speaker { address: address(text), mac }, to_us, overrides: true }
}

fn number(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + n).into()
}

/// Whom the cache wants to ask at a second, and which packets it gave up.
fn expire(neighbours: &mut Neighbours<u32>, seconds: u64) -> (Vec<IpAddr>, Vec<u32>) {
    let (mut asked, mut lost) = (Vec::new(), Vec::new());
    neighbours.expire(at(seconds), |due| match due {
        Due::Ask(_, address) => asked.push(address),
        Due::GiveUp(packet) => lost.push(packet),
    });
    (asked, lost)
}

/// What is released as a neighbour says something.
fn update(neighbours: &mut Neighbours<u32>, now: Instant, heard: Heard) -> Vec<u32> {
    let mut released = Vec::new();
    neighbours.update(now, heard, |packet| released.push(packet));
    released
}

/// A packet that is no later fragment comes for a neighbour.
fn wait(neighbours: &mut Neighbours<u32>, now: Instant, port: PortId, to: IpAddr, packet: u32) -> Wait {
    neighbours.wait(now, port, to, packet, false)
}

fn entries(neighbours: &Neighbours<u32>, state: State) -> u32 {
    neighbours.counters().entries[state as usize]
}

#[test]
fn packets_wait_for_an_answer_and_leave_in_order() {
    let mut neighbours = cache();
    assert_eq!(neighbours.resolve(at(1), PORT, host()), None);
    assert_eq!(wait(&mut neighbours, at(1), PORT, host(), 1), Wait::Asks);
    assert_eq!(wait(&mut neighbours, at(1), PORT, host(), 2), Wait::Waits);
    assert_eq!(wait(&mut neighbours, at(1), PORT, host(), 3), Wait::Waits);
    assert_eq!(wait(&mut neighbours, at(1), PORT, host(), 4), Wait::Dropped(1));
    let elsewhere = Heard { ingress: PortId(0), ..said("10.0.0.2", MAC, false) };
    assert!(update(&mut neighbours, at(2), elsewhere).is_empty(), "another link's");
    assert_eq!(update(&mut neighbours, at(2), said("10.0.0.2", MAC, false)).as_slice(), [1, 2, 3]);
    assert_eq!(neighbours.resolve(at(2), PORT, host()), Some(MAC));
}

#[test]
fn a_silent_neighbour_is_asked_three_times_and_given_up() {
    let mut neighbours = cache();
    assert_eq!(wait(&mut neighbours, at(1), PORT, host(), 1), Wait::Asks);
    assert_eq!(expire(&mut neighbours, 2), (vec![host()], vec![]));
    assert_eq!(expire(&mut neighbours, 2), (vec![], vec![]), "once a second");
    assert_eq!(expire(&mut neighbours, 3), (vec![host()], vec![]));
    assert_eq!(expire(&mut neighbours, 4), (vec![], vec![1]));
    assert_eq!(wait(&mut neighbours, at(5), PORT, host(), 2), Wait::Asks, "and anew");
}

#[test]
fn a_known_neighbour_is_asked_again_only_while_packets_go_there() {
    let mut neighbours = cache();
    update(&mut neighbours, at(1), said("10.0.0.2", MAC, true));
    assert_eq!(expire(&mut neighbours, 20), (vec![], vec![]));
    assert_eq!(expire(&mut neighbours, 300), (vec![], vec![]), "nobody needs it");
    assert_eq!(neighbours.resolve(at(301), PORT, host()), Some(MAC));
    assert_eq!(expire(&mut neighbours, 302), (vec![host()], vec![]));
    let other = [2, 0, 0, 0, 0, 8];
    update(&mut neighbours, at(303), said("10.0.0.2", other, false));
    assert_eq!(neighbours.resolve(at(304), PORT, host()), Some(other), "it has moved");
    for seconds in [340, 341, 342] {
        assert_eq!(expire(&mut neighbours, seconds), (vec![host()], vec![]));
    }
    assert_eq!(expire(&mut neighbours, 343), (vec![], vec![]));
    assert_eq!(neighbours.resolve(at(344), PORT, host()), None, "it has gone");
}

#[test]
fn an_unused_neighbour_is_forgotten() {
    let mut neighbours = cache();
    update(&mut neighbours, at(1), said("10.0.0.2", MAC, true));
    expire(&mut neighbours, 700);
    assert_eq!(neighbours.resolve(at(701), PORT, host()), None);
}

#[test]
fn strangers_are_remembered_only_if_they_ask_for_the_box() {
    let mut neighbours = cache();
    update(&mut neighbours, at(1), said("10.0.0.2", MAC, false));
    assert_eq!(neighbours.resolve(at(1), PORT, host()), None);
}

#[test]
fn only_an_announcement_that_overrides_moves_an_address() {
    let other = [2, 0, 0, 0, 0, 8];
    let quiet = Heard { overrides: false, ..said("10.0.0.2", other, false) };
    let mut neighbours = cache();
    wait(&mut neighbours, at(1), PORT, host(), 1);
    assert_eq!(update(&mut neighbours, at(1), quiet).as_slice(), [1], "better than nothing");
    update(&mut neighbours, at(2), said("10.0.0.2", MAC, false));
    update(&mut neighbours, at(3), quiet);
    assert_eq!(neighbours.resolve(at(3), PORT, host()), Some(MAC));
    assert_eq!(expire(&mut neighbours, 4).0, [host()], "it is asked who it is");
}

#[test]
fn whoever_is_in_use_keeps_its_slot_in_a_flood_of_questions() {
    let mut neighbours = cache();
    update(&mut neighbours, at(1), said("10.0.0.2", MAC, true));
    neighbours.resolve(at(1), PORT, host());
    for n in 256..256 + 3 * MAX_UNUSED {
        update(&mut neighbours, at(1), said(&number(n).to_string(), MAC, true));
    }
    assert_eq!(entries(&neighbours, State::Stale), MAX_UNUSED);
    assert_eq!(neighbours.counters().evictions[State::Stale as usize], 2 * u64::from(MAX_UNUSED));
    assert_eq!(neighbours.resolve(at(1), PORT, host()), Some(MAC));
    let newest = said("10.0.0.3", MAC, true);
    update(&mut neighbours, at(1), newest);
    assert_eq!(neighbours.resolve(at(1), PORT, newest.speaker.address), Some(MAC), "the newest is known");
    let other_port = Heard { ingress: PortId(0), ..newest };
    update(&mut neighbours, at(1), other_port);
    assert_eq!(neighbours.resolve(at(1), PortId(0), newest.speaker.address), Some(MAC));
}

#[test]
fn more_neighbours_in_use_than_may_be_push_out_those_used_longest_ago() {
    let mut neighbours = Neighbours::new(2, 8);
    for n in 0..10 {
        wait(&mut neighbours, at(1), PORT, number(n), n);
        update(&mut neighbours, at(1), said(&number(n).to_string(), MAC, true));
    }
    assert_eq!(entries(&neighbours, State::Reachable), 8);
    assert_eq!(neighbours.counters().evictions[State::Reachable as usize], 2);
    let known = (0..10).filter(|n| neighbours.resolve(at(1), PORT, number(*n)).is_some());
    assert!(known.eq(2..10));
}

#[test]
fn a_scan_is_paced_and_pushes_out_only_what_it_asked_for() {
    let mut neighbours = cache();
    update(&mut neighbours, at(1), said("10.0.0.2", MAC, true));
    let mut asked = 0;
    for n in 0..10_000 {
        let now = Instant::from_ns(1_000_000_000 + u64::from(n) * 100_000);
        asked += u32::from(wait(&mut neighbours, now, PORT, number(256 + n), n) == Wait::Asks);
        neighbours.expire(now, |due| {
            if let Due::Ask(..) = due {
                asked += 1
            }
        });
    }
    assert!((1000..1200).contains(&asked), "{asked} questions in a second");
    assert_eq!(entries(&neighbours, State::Incomplete), MAX_INCOMPLETE);
    assert!(neighbours.take_lost() > 0);
    assert_eq!(neighbours.resolve(at(2), PORT, host()), Some(MAC));
    assert_eq!(
        wait(&mut neighbours, at(2), PortId(0), host(), 1),
        Wait::Asks,
        "another port has its own pace"
    );
}

#[test]
fn each_slot_of_the_cache_can_be_taken_again() {
    let mut neighbours = cache();
    for round in 0..20 {
        for n in 0..2000 {
            update(&mut neighbours, at(round), said(&number(256 + n).to_string(), MAC, true));
            neighbours.resolve(at(round), PORT, number(256 + n));
        }
        for slice in 0..2000 {
            let now = Instant::from_ns((round * 700 + 1) * 1_000_000_000 + slice * 1_000_000);
            neighbours.expire(now, |_| {});
        }
        let all: u32 = neighbours.counters().entries.iter().sum();
        assert!(neighbours.is_consistent(), "{all} neighbours");
    }
}

#[test]
fn what_the_operator_says_stands() {
    let mut neighbours = cache();
    let mut router = Router::new(vec![], []);
    router.neighbours = vec![sluice_conntrack::forward::Neighbour { port: PORT, address: host(), mac: MAC }];
    for packet in [1, 2] {
        wait(&mut neighbours, at(0), PORT, host(), packet);
    }
    let mut released = Vec::new();
    neighbours.configure(&router, |port, packet, mac| released.push((port, packet, mac)));
    assert_eq!(released, [(PORT, 1, MAC), (PORT, 2, MAC)], "those that have waited");
    update(&mut neighbours, at(1), said("10.0.0.2", [2, 0, 0, 0, 0, 7], true));
    assert_eq!(expire(&mut neighbours, 9000), (vec![], vec![]));
    assert_eq!(neighbours.resolve(at(9000), PORT, host()), Some(MAC));
    router.neighbours.clear();
    neighbours.configure(&router, |_, packet, _| panic!("{packet} did not wait"));
    assert_eq!(neighbours.resolve(at(9001), PORT, host()), None);
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
        let bytes = write(question, None).unwrap();
        assert_eq!(bytes[0] & 1, 1, "to many");
        assert_eq!(bytes[6..12], OWN_MAC);
        assert_eq!(read_bytes(&bytes), Some(question));
        let answer = Message::Advertisement { from: own, overrides: true };
        let bytes = write(answer, Some(other)).unwrap();
        assert_eq!(bytes[..6], MAC);
        assert_eq!(read_bytes(&bytes), Some(answer));
        for length in 0..bytes.len() {
            assert_eq!(read_bytes(&bytes[..length]), None, "{length}");
        }
    }
}

#[test]
fn a_neighbour_without_an_address_is_answered_too() {
    let v4 = Message::Advertisement {
        from: Speaker { address: address("10.0.0.1"), mac: OWN_MAC },
        overrides: true,
    };
    let probe = Speaker { address: address("0.0.0.0"), mac: MAC };
    assert_eq!(write(v4, Some(probe)).unwrap()[..6], MAC);
    let v6 = Message::Advertisement {
        from: Speaker { address: address("2001:db8::1"), mac: OWN_MAC },
        overrides: true,
    };
    assert_eq!(write(v6, None).unwrap()[..6], [0x33, 0x33, 0, 0, 0, 1]);
    // Gratuitous ARP asks all for the address of who asks.
    let announced = write(v4, None).unwrap();
    assert_eq!(announced[..6], [0xff; 6]);
    let own = Speaker { address: address("10.0.0.1"), mac: OWN_MAC };
    assert_eq!(read_bytes(&announced), Some(Message::Solicitation { from: Some(own), target: own.address }));
}

#[test]
fn neighbour_discovery_is_sound_for_another_parser() {
    let own = Speaker { address: address("fe80::ff:fe00:1"), mac: OWN_MAC };
    let bytes =
        write(Message::Solicitation { from: Some(own), target: address("2001:db8::12:3456") }, None).unwrap();
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
fn a_listing_has_each_neighbour_once_whatever_the_size_of_its_pages() {
    let mut neighbours = cache();
    // Of two that are asked for in vain nothing is left.
    for given_up in ["10.0.0.97", "10.0.0.98"] {
        assert_eq!(wait(&mut neighbours, at(1), PORT, address(given_up), 1), Wait::Asks);
    }
    (2..=4).for_each(|second| drop(expire(&mut neighbours, second)));
    for n in 0..18 {
        update(&mut neighbours, at(4), said(&format!("10.0.0.{n}"), MAC, true));
    }
    assert_eq!(wait(&mut neighbours, at(4), PORT, address("10.0.0.99"), 1), Wait::Asks);
    for slots in [1, 7, 256, u32::MAX] {
        let (mut listed, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            next = neighbours.list(from, slots, |neighbour| listed.push(neighbour));
        }
        let asked = listed.iter().find(|neighbour| neighbour.address == address("10.0.0.99")).unwrap();
        assert_eq!((asked.port, asked.mac, asked.state), (PORT, None, State::Incomplete));
        let mut addresses: Vec<IpAddr> = listed.iter().map(|neighbour| neighbour.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!((listed.len(), addresses.len()), (19, 19), "{slots} slots a page");
        let stale = listed.iter().filter(|neighbour| neighbour.state == State::Stale);
        assert!(stale.clone().count() == 18 && stale.clone().all(|neighbour| neighbour.mac == Some(MAC)));
    }
}

#[test]
fn of_a_datagram_in_fragments_all_wait_or_none() {
    let mut neighbours = cache();
    let later = |neighbours: &mut Neighbours<u32>, packet| neighbours.wait(at(1), PORT, host(), packet, true);
    assert_eq!(
        later(&mut neighbours, 0),
        Wait::Dropped(1),
        "nothing is asked for a fragment without the first"
    );
    assert_eq!(wait(&mut neighbours, at(1), PORT, host(), 1), Wait::Asks);
    for packet in 2..=50 {
        assert_eq!(later(&mut neighbours, packet), Wait::Waits);
    }
    for packet in [51, 52] {
        assert_eq!(wait(&mut neighbours, at(1), PORT, host(), packet), Wait::Waits);
    }
    assert_eq!(later(&mut neighbours, 53), Wait::Waits);
    assert_eq!(wait(&mut neighbours, at(1), PORT, host(), 54), Wait::Dropped(1), "a fourth");
    assert_eq!(later(&mut neighbours, 55), Wait::Dropped(1), "and what is behind it");
    assert_eq!(neighbours.counters().waiting, 53);
    let released = update(&mut neighbours, at(2), said("10.0.0.2", MAC, false));
    assert!(released.into_iter().eq(1..=53));
    assert_eq!(neighbours.counters().waiting, 0);
}

#[test]
fn fragments_that_wait_are_bounded_and_leave_their_room() {
    const ROOM: u32 = super::waiting::MAX_FRAGMENTS as u32;
    let mut neighbours = cache();
    for round in 0..3 {
        assert_eq!(wait(&mut neighbours, at(10 * round), PORT, host(), 1), Wait::Asks);
        for packet in 0..ROOM {
            assert_eq!(neighbours.wait(at(10 * round), PORT, host(), 2 + packet, true), Wait::Waits);
        }
        let other = number(99 + round as u32);
        assert_eq!(wait(&mut neighbours, at(10 * round), PORT, other, 1), Wait::Asks);
        assert_eq!(neighbours.wait(at(10 * round), PORT, other, 2, true), Wait::Dropped(2), "with the first");
        assert_eq!(neighbours.wait(at(10 * round), PORT, other, 3, true), Wait::Dropped(1));
        assert_eq!(
            wait(&mut neighbours, at(10 * round), PORT, other, 4),
            Wait::Waits,
            "whole packets have room"
        );
        assert_eq!(update(&mut neighbours, at(10 * round), said(&other.to_string(), MAC, false)), [4]);
        let one_more = neighbours.wait(at(10 * round), PORT, host(), 0, true);
        assert_eq!(one_more, Wait::Dropped(u64::from(ROOM) + 2), "all of the datagram");
        assert_eq!(neighbours.counters().waiting, 0);
        assert_eq!(wait(&mut neighbours, at(10 * round), PORT, host(), 7), Wait::Waits);
        assert_eq!(neighbours.wait(at(10 * round), PORT, host(), 8, true), Wait::Waits);
        // They leave as their neighbour is given up, too.
        let lost: Vec<u32> =
            (1..4).flat_map(|second| expire(&mut neighbours, 10 * round + second).1).collect();
        assert_eq!(lost, [7, 8]);
        assert_eq!(neighbours.counters().waiting, 0);
    }
}
