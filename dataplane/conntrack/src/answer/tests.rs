//! Answers, as another implementation reads them.

use crate::forward::tests::{BOX_MAC, HOST_MAC, INSIDE, ip, open, send, shard, udp, udp_of};
use crate::policy::Outcome;
use crate::shard::Shard;
use crate::tuple::{Direction, Family, Tuple};
use crate::verdict::{Action, DropReason, Rejection, Verdict};
use crate::{Configuration, Forwarding, Installation};
use etherparse::{Ethernet2Slice, Icmpv4Type, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};
use std::net::IpAddr;

const ROOM_BYTES: usize = 2048;

/// Sends a frame and gives the answer to it.
fn ask(shard: &mut Shard, frame: Vec<u8>) -> Option<Vec<u8>> {
    let (verdict, frame) = send(shard, INSIDE, frame);
    answer(shard, frame, &verdict)
}

fn answer(shard: &mut Shard, frame: Vec<u8>, verdict: &Verdict) -> Option<Vec<u8>> {
    let mut out = [0xee; ROOM_BYTES];
    let length = shard.answer(&(INSIDE, frame), verdict, &mut out)?;
    assert!(out[length..].iter().all(|byte| *byte == 0xee), "writes what it says");
    Some(out[..length].to_vec())
}

/// A shard on a wire, whose every packet is rejected.
fn rejecting() -> Shard {
    let mut shard = shard(vec![], Outcome::Reject);
    let Configuration { settings, policy, .. } = shard.configuration().clone();
    shard.configure(&mut Installation::new(Configuration::new(
        settings,
        policy.into_policy(),
        Forwarding::wire(),
    )));
    shard
}

struct Read {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    transport: TransportSummary,
    payload: Vec<u8>,
}

#[derive(Debug, PartialEq)]
enum TransportSummary {
    Icmp(u8, u8, u32),
    Reset { seq: u32, ack: Option<u32>, ports: (u16, u16) },
}

/// Reads an answer with a foreign parser; all its lengths and checksums must be right.
fn read(frame: &[u8]) -> Read {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).unwrap();
    assert_eq!((ethernet.destination(), ethernet.source()), (HOST_MAC, BOX_MAC));
    let (source, destination, ttl) = match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
            assert_eq!(usize::from(header.total_len()), frame.len() - ethernet_len(frame));
            (IpAddr::V4(header.source_addr()), IpAddr::V4(header.destination_addr()), header.ttl())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            assert_eq!(usize::from(header.payload_length()) + 40, frame.len() - ethernet_len(frame));
            (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()), header.hop_limit())
        }
        other => panic!("{other:?}"),
    };
    let (v4, v6) = match (source, destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => (Some((s.octets(), d.octets())), None),
        (IpAddr::V6(s), IpAddr::V6(d)) => (None, Some((s.octets(), d.octets()))),
        _ => panic!("two families"),
    };
    let (transport, payload) = match packet.transport.unwrap() {
        TransportSlice::Icmpv4(icmp) => {
            let checksum = icmp.icmp_type().calc_checksum(icmp.payload());
            assert_eq!(checksum, icmp.checksum());
            let rest = u32::from_be_bytes(icmp.bytes5to8());
            (TransportSummary::Icmp(icmp.type_u8(), icmp.code_u8(), rest), icmp.payload().to_vec())
        }
        TransportSlice::Icmpv6(icmp) => {
            let (source, destination) = v6.unwrap();
            assert!(icmp.is_checksum_valid(source, destination));
            let rest = u32::from_be_bytes(icmp.bytes5to8());
            (TransportSummary::Icmp(icmp.type_u8(), icmp.code_u8(), rest), icmp.payload().to_vec())
        }
        TransportSlice::Tcp(tcp) => {
            let header = tcp.to_header();
            let checksum = match (v4, v6) {
                (Some((s, d)), _) => header.calc_checksum_ipv4_raw(s, d, tcp.payload()),
                (_, Some((s, d))) => header.calc_checksum_ipv6_raw(s, d, tcp.payload()),
                _ => unreachable!(),
            };
            assert_eq!(checksum.unwrap(), tcp.checksum());
            assert!(tcp.rst() && !tcp.syn() && !tcp.fin());
            let ack = tcp.ack().then(|| tcp.acknowledgment_number());
            let ports = (tcp.source_port(), tcp.destination_port());
            (TransportSummary::Reset { seq: tcp.sequence_number(), ack, ports }, tcp.payload().to_vec())
        }
        TransportSlice::Udp(udp) => panic!("{udp:?}"),
    };
    Read { source, destination, ttl, transport, payload }
}

fn ethernet_len(frame: &[u8]) -> usize {
    if frame[12..14] == [0x81, 0] { 18 } else { 14 }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The IP datagram of a frame.
fn datagram(frame: &[u8]) -> Vec<u8> {
    frame[ethernet_len(frame)..].to_vec()
}

#[test]
fn the_box_answers_echo_and_its_entry_is_replied() {
    for (from, own, request, reply) in
        [("10.0.0.2", "10.0.0.1", 8, 0), ("fd00:1::2", "2001:db8:2::1", 128, 129)]
    {
        let mut shard = open();
        let mut echo = Vec::new();
        if request == 8 {
            ip(from, own, 3).icmpv4_echo_request(3, 1).write(&mut echo, b"box?!").unwrap();
        } else {
            ip(from, own, 3).icmpv6_echo_request(3, 1).write(&mut echo, b"box?!").unwrap();
        }
        let (verdict, echo) = send(&mut shard, INSIDE, echo);
        assert_eq!(verdict.action, Action::Deliver);
        let read = read(&answer(&mut shard, echo, &verdict).unwrap());
        assert_eq!((read.source, read.destination, read.ttl), (address(own), address(from), 64));
        assert_eq!(read.transport, TransportSummary::Icmp(reply, 0, 3 << 16 | 1));
        assert_eq!(read.payload, b"box?!");
        let counters = shard.entry(verdict.entry.unwrap()).unwrap().counters;
        assert_eq!(counters[Direction::Reply as usize].packets(), 1);
    }
}

#[test]
fn an_echo_reply_is_no_request() {
    let mut reply = Vec::new();
    ip("10.0.0.2", "10.0.0.1", 64).icmpv4_echo_reply(3, 1).write(&mut reply, b"x").unwrap();
    assert_eq!(ask(&mut open(), reply), None);
}

#[test]
fn a_router_speaks_from_its_own_address_and_quotes() {
    let own = |v6| address(if v6 { "fd00:1::1" } else { "10.0.0.1" });
    for (from, to, ttl, len, v4, v6) in [
        ("10.0.0.2", "198.51.100.2", 1, 10, (11, 0, 0), None),
        ("fd00:1::2", "2001:db8:9::2", 1, 10, (0, 0, 0), Some((3, 0, 0))),
        ("10.0.0.2", "192.0.2.1", 64, 10, (3, 0, 0), None),
        ("fd00:1::2", "3fff::1", 64, 10, (0, 0, 0), Some((1, 0, 0))),
        ("10.0.0.2", "198.51.100.2", 64, 1400, (3, 4, 1400), None),
        ("fd00:1::2", "2001:db8:9::2", 64, 1400, (0, 0, 0), Some((2, 0, 1400))),
    ] {
        let sent = udp_of(from, to, ttl, len);
        let answer = ask(&mut open(), sent.clone()).unwrap();
        let read = read(&answer);
        assert_eq!((read.source, read.destination), (own(v6.is_some()), address(from)));
        let (kind, code, rest) = v6.unwrap_or(v4);
        assert_eq!(read.transport, TransportSummary::Icmp(kind, code, rest));
        let most = if v6.is_some() { 1280 - 48 } else { 576 - 28 };
        let quoted = datagram(&sent);
        assert_eq!(read.payload, quoted[..quoted.len().min(most)]);
    }
}

/// Host unreachable, and in IPv6 address unreachable (RFC 4443 section 3.1), of which that there is no route is not one.
#[test]
fn a_silent_neighbour_is_told_as_unreachable() {
    let own = |v6| address(if v6 { "fd00:1::1" } else { "10.0.0.1" });
    for (from, to, v6, icmp) in [
        ("10.0.0.2", "198.51.100.2", false, TransportSummary::Icmp(3, 1, 0)),
        ("fd00:1::2", "2001:db8:9::2", true, TransportSummary::Icmp(1, 3, 0)),
    ] {
        let mut shard = open();
        let (verdict, frame) = send(&mut shard, INSIDE, udp_of(from, to, 64, 10));
        assert!(matches!(verdict.action, Action::Forward(_)));
        let mut out = [0; ROOM_BYTES];
        let length = shard.answer_undeliverable(&mut (INSIDE, frame), &verdict, &mut out).unwrap();
        let read = read(&out[..length]);
        assert_eq!((read.source, read.destination), (own(v6), address(from)));
        assert_eq!(read.transport, icmp);
        let quoted = if v6 { &read.payload[24..40] } else { &read.payload[16..20] };
        let named: Vec<u8> = match address(to) {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        assert_eq!(quoted, named);
    }
}

#[test]
fn an_error_is_related_to_the_entry_it_quotes() {
    let mut shard = open();
    send(&mut shard, INSIDE, udp("10.0.0.2", "198.51.100.2"));
    let error = ask(&mut shard, udp_of("10.0.0.2", "198.51.100.2", 1, 10)).unwrap();
    let headers = crate::wire::parse(&(INSIDE, error)).unwrap();
    assert_eq!(headers.kind, crate::headers::PacketKind::Error);
    let entry = Tuple::new(address("10.0.0.2"), address("198.51.100.2"), 17, 4000, 53);
    assert_eq!(headers.tuple, entry.invert());
    assert_eq!(headers.family(), Some(Family::V4));
}

#[test]
fn a_wire_speaks_in_the_name_of_the_destination() {
    for (from, to, expected) in [
        ("10.0.0.2", "198.51.100.2", TransportSummary::Icmp(3, 13, 0)),
        ("fd00:1::2", "2001:db8:9::2", TransportSummary::Icmp(1, 1, 0)),
    ] {
        let mut sent = udp(from, to);
        let read_untagged = read(&ask(&mut rejecting(), sent.clone()).unwrap());
        assert_eq!(read_untagged.source, address(to));
        assert_eq!(read_untagged.transport, expected);
        sent.splice(12..12, [0x81, 0, 0, 7]);
        let tagged = ask(&mut rejecting(), sent).unwrap();
        assert_eq!(tagged[12..16], [0x81, 0, 0, 7]);
        assert_eq!(read(&tagged).transport, expected);
    }
}

#[test]
fn a_reset_fits_the_segment() {
    let ports = (443, 4000);
    for (from, to) in [("10.0.0.2", "198.51.100.2"), ("fd00:1::2", "2001:db8:9::2")] {
        let tcp = || ip(from, to, 64).tcp(4000, 443, 1000, 9);
        for (builder, payload, expected) in [
            (tcp().syn(), 0, Some((0, Some(1001)))),
            (tcp().fin(), 5, Some((0, Some(1006)))),
            (tcp().ack(77), 5, Some((77, None))),
            (tcp().syn().ack(77), 0, Some((77, None))),
            (tcp().rst(), 0, None),
            (tcp().rst().ack(77), 0, None),
        ] {
            let mut sent = Vec::new();
            builder.write(&mut sent, &vec![1; payload]).unwrap();
            let reset = ask(&mut rejecting(), sent.clone()).map(|answer| read(&answer));
            let expected = expected.map(|(seq, ack)| TransportSummary::Reset { seq, ack, ports });
            assert_eq!(reset.as_ref().map(|read| &read.transport), expected.as_ref());
            assert!(reset.is_none_or(|read| read.source == address(to) && read.payload.is_empty()));
            // A damaged segment may be from anybody.
            *sent.last_mut().unwrap() ^= 1;
            assert_eq!(ask(&mut rejecting(), sent), None);
        }
    }
}

#[test]
fn a_closed_port_of_the_box_resets_and_ends_the_entry() {
    let mut shard = open();
    let mut syn = Vec::new();
    ip("10.0.0.2", "203.0.113.1", 64).tcp(4000, 22, 5, 100).syn().write(&mut syn, &[]).unwrap();
    let read_reset = read(&ask(&mut shard, syn).unwrap());
    assert_eq!(read_reset.source, address("203.0.113.1"));
    assert_eq!(shard.len(), 0, "a refused connection has ended");

    let port = read(&ask(&mut shard, udp("10.0.0.2", "203.0.113.1")).unwrap());
    assert_eq!((port.source, port.transport), (address("203.0.113.1"), TransportSummary::Icmp(3, 3, 0)));
    assert_eq!(shard.len(), 1);
}

#[test]
fn what_is_damaged_is_not_answered_in_the_place_of_a_host() {
    let mut unchecked = open();
    let mut configuration = unchecked.configuration().clone();
    configuration.settings.checksum = false;
    unchecked.configure(&mut Installation::new(configuration));
    for mut shard in [open(), unchecked, rejecting()] {
        for (from, own) in [("10.0.0.2", "203.0.113.1"), ("fd00:1::2", "2001:db8:2::1")] {
            let mut request = Vec::new();
            if from.contains(':') {
                ip(from, own, 64).icmpv6_echo_request(3, 1).write(&mut request, b"box?!").unwrap();
            } else {
                ip(from, own, 64).icmpv4_echo_request(3, 1).write(&mut request, b"box?!").unwrap();
            }
            for sound in [udp(from, own), request] {
                let mut damaged = sound.clone();
                *damaged.last_mut().unwrap() ^= 1;
                assert_eq!(ask(&mut shard, damaged), None);
                assert!(ask(&mut shard, sound).is_some());
            }
            let is_v6 = from.contains(':');
            let udp_at = if is_v6 { 14 + 40 } else { 14 + 20 };
            let mut too_long = udp(from, own);
            too_long[udp_at + 4] = 9;
            assert_eq!(ask(&mut shard, too_long), None);
            let mut without_checksum = udp(from, own);
            without_checksum[udp_at + 6..][..2].fill(0);
            assert_eq!(ask(&mut shard, without_checksum).is_none(), is_v6);
        }
    }
}

#[test]
fn the_pointer_is_where_the_unknown_protocol_stands() {
    let pointer = |extension: &[u8], first: u8| {
        let datagram = udp("fd00:1::2", "2001:db8:2::1");
        let mut frame = [&datagram[..54], extension, &[0; 16]].concat();
        frame[18..20].copy_from_slice(&(extension.len() as u16 + 16).to_be_bytes());
        frame[20] = first;
        read(&ask(&mut open(), frame).unwrap()).transport
    };
    assert_eq!(pointer(&[], 253), TransportSummary::Icmp(4, 1, 6));
    assert_eq!(pointer(&[253, 0, 1, 4, 0, 0, 0, 0], 60), TransportSummary::Icmp(4, 1, 40));
    let two = [60, 0, 1, 4, 0, 0, 0, 0, 253, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(pointer(&two, 60), TransportSummary::Icmp(4, 1, 48));
}

/// A verdict that asks for an error about anything at all.
fn prohibited() -> Verdict {
    let action = Action::Reject(DropReason::Reject, Rejection::Prohibited);
    Verdict { action, ..Verdict::dropped(DropReason::Reject) }
}

#[test]
fn some_packets_are_never_answered() {
    let mut shard = rejecting();
    let mut error = Vec::new();
    let kind = Icmpv4Type::TimeExceeded(etherparse::icmpv4::TimeExceededCode::TtlExceededInTransit);
    ip("10.0.0.2", "198.51.100.2", 64).icmpv4(kind).write(&mut error, &[0; 28]).unwrap();
    let mut error_v6 = Vec::new();
    let kind = Icmpv6Type::PacketTooBig { mtu: 1280 };
    ip("fd00:1::2", "2001:db8:9::2", 64).icmpv6(kind).write(&mut error_v6, &[0; 48]).unwrap();
    let mut to_all = udp("10.0.0.2", "198.51.100.2");
    to_all[..6].fill(0xff);
    let mut later = udp("10.0.0.2", "198.51.100.2");
    later[20..22].copy_from_slice(&[0, 7]);
    later[24..26].fill(0);
    let sum = crate::wire::checksum::Sum::default().bytes(&later[14..34]).checksum();
    later[24..26].copy_from_slice(&sum.to_be_bytes());
    let mut not_ip = udp("10.0.0.2", "198.51.100.2");
    not_ip[12..14].copy_from_slice(&[0x88, 0xcc]);
    for (what, frame) in [
        ("an error", error),
        ("an ICMPv6 error", error_v6),
        ("a frame to all", to_all),
        ("a later fragment", later),
        ("no IP", not_ip),
        ("multicast", udp("10.0.0.2", "224.0.0.5")),
        ("broadcast", udp("10.0.0.2", "255.255.255.255")),
        ("multicast v6", udp("fd00:1::2", "ff02::5")),
        ("unspecified source", udp("0.0.0.0", "198.51.100.2")),
        ("unspecified source v6", udp("::", "2001:db8::2")),
        ("loopback source", udp("127.0.0.1", "198.51.100.2")),
    ] {
        assert_eq!(answer(&mut shard, frame, &prohibited()), None, "{what}");
    }
    assert_eq!(shard.counters().answers, 0);
    assert!(answer(&mut shard, udp("10.0.0.2", "198.51.100.2"), &prohibited()).is_some());
}

#[test]
fn nothing_is_said_where_no_verdict_asks_for_it() {
    let mut shard = rejecting();
    let dropped = Verdict::dropped(DropReason::Policy);
    let forwarded = Verdict { action: Action::Forward(INSIDE), ..dropped };
    for verdict in [dropped, forwarded] {
        assert_eq!(answer(&mut shard, udp("10.0.0.2", "198.51.100.2"), &verdict), None);
    }
}

#[test]
fn answers_keep_a_pace() {
    let mut shard = rejecting();
    let asked = 500;
    let answered = (0..asked).filter(|_| ask(&mut shard, udp("10.0.0.2", "198.51.100.2")).is_some()).count();
    assert!((50..=200).contains(&answered));
    assert_eq!(shard.counters().answers, answered as u64);
    assert_eq!(shard.counters().answers_withheld, (asked - answered) as u64);
}

#[test]
fn shards_share_their_pace_whichever_is_asked() {
    let pace = std::sync::Arc::default();
    let mut shards =
        [(); 4].map(|()| rejecting().with_pace(std::sync::Arc::clone(&pace), std::sync::Arc::default()));
    let mut asked = |shard: usize| {
        let answered = |_: &i32| ask(&mut shards[shard], udp("10.0.0.2", "198.51.100.2")).is_some();
        (0..60).filter(answered).count()
    };
    assert_eq!([asked(2), asked(2), asked(1), asked(3)], [60, 40, 0, 0]);
}

#[test]
fn an_answer_that_does_not_fit_is_not_sent() {
    let mut shard = rejecting();
    let frame = (INSIDE, udp("10.0.0.2", "198.51.100.2"));
    let mut out = [0; ROOM_BYTES];
    let whole = shard.answer(&frame, &prohibited(), &mut out).unwrap();
    for room in 0..whole {
        assert_eq!(shard.answer(&frame, &prohibited(), &mut out[..room]), None);
    }
}
