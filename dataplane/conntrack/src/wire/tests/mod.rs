//! Tests of the parser as a whole: what each kind of packet comes to. Here frames, IP and ports.

mod checksums;
mod icmp;
mod properties;

use super::*;
use crate::frame::Checksum;
use crate::ids::PortId;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A frame in segments, with what a device says about it.
#[derive(Clone, Debug)]
struct Segments {
    segments: Vec<Vec<u8>>,
    l3: Checksum,
    l4: Checksum,
}

impl Frame for Segments {
    fn port(&self) -> PortId {
        PortId(0)
    }

    fn head(&self) -> &[u8] {
        &self.segments[0]
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.segments[0]
    }

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        self.segments[1..].iter().map(Vec::as_slice)
    }

    fn l3_checksum(&self) -> Checksum {
        self.l3
    }

    fn l4_checksum(&self) -> Checksum {
        self.l4
    }
}

fn frame(bytes: &[u8]) -> Segments {
    split(bytes, &[])
}

/// A frame cut before each of these offsets.
fn split(bytes: &[u8], cuts: &[usize]) -> Segments {
    let mut segments = vec![];
    let mut start = 0;
    for &cut in cuts {
        let cut = cut.clamp(start, bytes.len());
        segments.push(bytes[start..cut].to_vec());
        start = cut;
    }
    segments.push(bytes[start..].to_vec());
    Segments { segments, l3: Checksum::Unknown, l4: Checksum::Unknown }
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 2);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 0xfe);

/// An IPv4 packet without Ethernet, its header checksum right.
fn ipv4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, l4: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0];
    packet.extend_from_slice(&src.octets());
    packet.extend_from_slice(&dst.octets());
    packet.extend_from_slice(l4);
    let total = packet.len() as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    seal(packet)
}

/// Puts the right header checksum into an IPv4 packet.
fn seal(mut packet: Vec<u8>) -> Vec<u8> {
    let header_len = usize::from(packet[0] & 0xf) * 4;
    packet[10..12].fill(0);
    let sum = checksum::Sum::default().bytes(&packet[..header_len]).checksum();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// An IPv6 packet without Ethernet.
fn ipv6(src: Ipv6Addr, dst: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b] = (payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, a, b, next_header, 64];
    packet.extend_from_slice(&src.octets());
    packet.extend_from_slice(&dst.octets());
    packet.extend_from_slice(payload);
    packet
}

/// Puts an IP packet into a frame.
fn ethernet(packet: &[u8]) -> Segments {
    let ethertype: [u8; 2] = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
    frame(&[&[2; 12], &ethertype[..], packet].concat())
}

fn parsed(packet: &[u8]) -> Headers {
    parse(&ethernet(packet)).expect("IP is fine")
}

fn kind4(protocol: u8, l4: &[u8]) -> PacketKind {
    parsed(&ipv4(CLIENT, SERVER, protocol, l4)).kind
}

fn kind6(next_header: u8, payload: &[u8]) -> PacketKind {
    parsed(&ipv6(CLIENT6, SERVER6, next_header, payload)).kind
}

fn icmp(kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0][..], rest].concat()
}

const SHORT: PacketKind = PacketKind::Invalid(InvalidReason::ShortHeader);
const QUOTE: PacketKind = PacketKind::Invalid(InvalidReason::IcmpQuote);
const UDP: [u8; 12] = [0x9c, 0x40, 0, 80, 0, 12, 0, 0, b'p', b'i', b'n', b'g'];

#[test]
fn damage_to_ip_ends_a_packet() {
    let good = ipv4(CLIENT, SERVER, protocol::UDP, &UDP);
    let changed = |offset: usize, value: u8| {
        let mut packet = good.clone();
        packet[offset] = value;
        parse(&frame(&[&[2; 12], &[8, 0][..], &seal(packet)].concat())).map(|headers| headers.kind)
    };
    assert_eq!(changed(8, 9), Ok(PacketKind::Tracked));
    assert_eq!(changed(0, 0x65), Err(DropReason::IpHeader));
    assert_eq!(changed(0, 0x44), Err(DropReason::IpHeader));
    assert_eq!(changed(3, 16), Err(DropReason::IpHeader));
    assert_eq!(changed(3, 255), Err(DropReason::Truncated));
    let mut packet = good.clone();
    packet[10] ^= 0xff;
    assert_eq!(parse(&ethernet(&packet)).map(|h| h.kind), Err(DropReason::IpChecksum));
    let believed = Segments { l3: Checksum::Good, ..ethernet(&packet) };
    assert_eq!(parse(&believed).map(|h| h.kind), Ok(PacketKind::Tracked));
    let refused = Segments { l3: Checksum::Bad, ..ethernet(&good) };
    assert_eq!(parse(&refused).map(|h| h.kind), Err(DropReason::IpChecksum));

    let six = ipv6(CLIENT6, SERVER6, protocol::UDP, &UDP);
    let mut version = frame(&[&[2; 12], &[0x86, 0xdd][..], &six].concat());
    version.head_mut()[14] = 0x45;
    assert_eq!(parse(&version).map(|h| h.kind), Err(DropReason::IpHeader));
    assert_eq!(parse(&ethernet(&six[..six.len() - 1])).map(|h| h.kind), Err(DropReason::Truncated));
    for source in ["ff02::1", "::1"] {
        let packet = ipv6(source.parse().unwrap(), SERVER6, protocol::UDP, &UDP);
        assert_eq!(parse(&ethernet(&packet)).map(|h| h.kind), Err(DropReason::IpSource));
    }
}

#[test]
fn a_martian_source_is_seen_but_for_tracking_no_damage() {
    for (source, expected) in [
        ("127.0.0.5", true),
        ("0.0.0.0", true),
        ("224.0.0.1", true),
        ("255.255.255.255", true),
        ("10.0.0.2", false),
        ("240.0.0.1", false),
    ] {
        let frame = ethernet(&ipv4(source.parse().unwrap(), SERVER, protocol::UDP, &UDP));
        let headers = parse(&frame).unwrap();
        assert_eq!(headers.kind, PacketKind::Tracked);
        assert_eq!(has_martian_source(&frame, &headers), expected, "{source}");
    }
    for (source, expected) in [("::", true), ("fe80::1", false), ("fec0::1", false), ("2001:db8::1", false)] {
        let frame = ethernet(&ipv6(source.parse().unwrap(), SERVER6, protocol::UDP, &UDP));
        let headers = parse(&frame).unwrap();
        assert_eq!(has_martian_source(&frame, &headers), expected, "{source}");
    }
}

#[test]
fn what_is_not_ip_is_not_looked_at() {
    for ethertype in [0x0806u16, 0x8847, 0x88cc, 46, 0x0600] {
        let headers = parse(&frame(&[&[2; 12], &ethertype.to_be_bytes()[..], &[0; 40]].concat())).unwrap();
        assert_eq!(headers.kind, PacketKind::NotIp);
        assert_eq!(headers.family(), None);
    }
}

#[test]
fn ethernet_padding_is_no_payload() {
    let mut padded = ipv4(CLIENT, SERVER, protocol::UDP, &UDP);
    padded.resize(46, 0xaa);
    let headers = parsed(&padded);
    assert_eq!((headers.kind, headers.l3_len, headers.l4_len), (PacketKind::Tracked, 32, 12));
}

#[test]
fn short_l4_headers_are_invalid_but_show_their_ports() {
    let mut tcp = [0; 24];
    tcp[..4].copy_from_slice(&[0x9c, 0x40, 0, 80]);
    tcp[12] = 5 << 4;
    for length in 0..20 {
        let headers = parsed(&ipv4(CLIENT, SERVER, protocol::TCP, &tcp[..length]));
        assert_eq!(headers.kind, SHORT);
        let ports = if length < 4 { (0, 0) } else { (40000, 80) };
        assert_eq!((headers.tuple.selector.sport(), headers.tuple.selector.dport()), ports, "{length}");
    }
    assert_eq!(kind4(protocol::TCP, &tcp[..20]), PacketKind::Tracked);
    for (offset, expected) in [(0, false), (4, false), (5, true), (6, true), (7, false), (15, false)] {
        tcp[12] = offset << 4;
        let wanted =
            if expected { PacketKind::Tracked } else { PacketKind::Invalid(InvalidReason::BadLength) };
        assert_eq!(kind4(protocol::TCP, &tcp), wanted, "{offset}");
    }
    for (protocol, needed) in [(protocol::UDP, 8), (protocol::SCTP, 12), (protocol::ICMP, 8)] {
        let l4 = [8, 0, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0];
        for length in 0..needed {
            assert_eq!(kind4(protocol, &l4[..length]), SHORT, "{protocol} {length}");
        }
        assert_eq!(kind4(protocol, &l4[..needed]), PacketKind::Tracked, "{protocol}");
    }
}

#[test]
fn protocols_without_ports_are_tracked_by_address() {
    for protocol in [0, 2, 4, protocol::DCCP, protocol::ESP, protocol::AH, 89, 253, 255] {
        let headers = parsed(&ipv4(CLIENT, SERVER, protocol, &[]));
        assert_eq!(headers.kind, PacketKind::Tracked);
        assert_eq!(headers.tuple, Tuple::new(CLIENT.into(), SERVER.into(), protocol, 0, 0));
    }
    let pptp = parsed(&ipv4(CLIENT, SERVER, protocol::GRE, b"\x20\x01\x88\x0b\x00\x04\x00\x07abcd"));
    assert_eq!(pptp.tuple, Tuple::new(CLIENT.into(), SERVER.into(), protocol::GRE, 0, 7));
    let other = kind4(protocol::GRE, b"\x20\x01\x08\x00\x00\x04\x00\x07abcd");
    assert_eq!(other, PacketKind::Invalid(InvalidReason::GreProtocol));
}

#[test]
fn ipv4_options_are_skipped() {
    let mut packet = ipv4(CLIENT, SERVER, protocol::UDP, &[&[1; 8][..], &UDP].concat());
    packet[0] = 0x47;
    let headers = parsed(&seal(packet));
    assert_eq!((headers.l4_offset, headers.l4_len, headers.kind), (14 + 28, 12, PacketKind::Tracked));
    assert_eq!(headers.tuple, Tuple::new(CLIENT.into(), SERVER.into(), protocol::UDP, 40000, 80));
}

#[test]
fn ipv4_fragments_keep_what_is_known() {
    for (field, ports) in [(0x2000u16, (40000, 80)), (0x2001, (0, 0)), (0x0001, (0, 0))] {
        let mut packet = ipv4(CLIENT, SERVER, protocol::UDP, &UDP);
        packet[6..8].copy_from_slice(&field.to_be_bytes());
        let headers = parsed(&seal(packet));
        assert_ne!(headers.fragment, Fragment::Whole);
        assert_eq!(headers.kind, PacketKind::Fragment);
        assert_eq!(headers.tuple, Tuple::new(CLIENT.into(), SERVER.into(), protocol::UDP, ports.0, ports.1));
    }
    let mut unfragmented = ipv4(CLIENT, SERVER, protocol::UDP, &UDP);
    unfragmented[6] = 0x40;
    assert_eq!(parsed(&seal(unfragmented)).kind, PacketKind::Tracked);
}

#[test]
fn ipv6_extension_headers_are_walked() {
    let options = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    let chain = [&options(43)[..], &options(60), &options(51), &[17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &UDP];
    let headers = parsed(&ipv6(CLIENT6, SERVER6, 0, &chain.concat()));
    assert_eq!((headers.kind, headers.protocol), (PacketKind::Tracked, protocol::UDP));
    assert_eq!((headers.l4_offset, headers.l4_len), (14 + 40 + 24 + 12, 12));
    assert_eq!(headers.tuple, Tuple::new(CLIENT6.into(), SERVER6.into(), protocol::UDP, 40000, 80));

    assert_eq!(kind6(59, &[]), SHORT, "no next header");
    assert_eq!(kind6(60, &options(59)), SHORT, "no next header behind options");
    assert_eq!(kind6(60, &options(17)), SHORT, "nothing behind options");
    assert_eq!(kind6(60, &[17, 0, 1]), SHORT, "options cut off");
    let cut_off = ipv6(CLIENT6, SERVER6, 0, &[17, 0, 1]);
    assert_eq!(
        parse(&ethernet(&cut_off)).err(),
        Some(DropReason::IpHeader),
        "options that every node must read"
    );
    assert_eq!(kind6(60, &[17, 9, 0, 0, 0, 0, 0, 0]), SHORT, "options longer than the packet");
    let endless = [options(60); 17].concat();
    assert_eq!(kind6(60, &endless), SHORT, "more options than anybody sends");
    assert_eq!(kind6(protocol::ESP, &[]), PacketKind::Tracked);
}

#[test]
fn an_atomic_ipv6_fragment_is_no_fragment() {
    let fragment = |field: u16, next| {
        let [a, b] = field.to_be_bytes();
        parsed(&ipv6(CLIENT6, SERVER6, 44, &[&[next, 0, a, b, 0, 0, 0, 85][..], &UDP].concat()))
    };
    let atomic = fragment(0, protocol::UDP);
    assert_eq!((atomic.kind, atomic.fragment), (PacketKind::Tracked, Fragment::Whole));
    assert_eq!(atomic.tuple.selector.dport(), 80);
    let first = fragment(1, protocol::UDP);
    assert_eq!((first.kind, first.fragment), (PacketKind::Fragment, Fragment::First));
    assert_eq!(first.tuple.selector.dport(), 80);
    let later = fragment(0x00c9, 60);
    assert_eq!((later.kind, later.fragment), (PacketKind::Fragment, Fragment::Later));
    assert_eq!((later.protocol, later.tuple.selector.dport(), later.l4_offset), (60, 0, 14 + 48));
}

#[test]
fn a_first_fragment_holds_all_headers() {
    let first = |protocol, l4: &[u8]| {
        let mut packet = ipv4(CLIENT, SERVER, protocol, l4);
        packet[6] = 0x20;
        let v4 = parsed(&seal(packet)).kind;
        let fragment = [&[protocol, 0, 0, 1, 0, 0, 0, 85][..], l4].concat();
        assert_eq!(parsed(&ipv6(CLIENT6, SERVER6, 44, &fragment)).kind, v4, "{protocol}, {} bytes", l4.len());
        v4 == PacketKind::Fragment
    };
    let segment = |len: usize| {
        let mut l4 = vec![0; len];
        l4.iter_mut().skip(12).take(1).for_each(|offset| *offset = 8 << 4);
        first(protocol::TCP, &l4)
    };
    assert_eq!([8, 16, 24, 32, 40].map(segment), [false, false, false, true, true], "options, too");
    assert!(first(protocol::UDP, &[0; 8]) && !first(protocol::UDP, &[]));
    assert!(first(protocol::SCTP, &[0; 24]) && !first(protocol::SCTP, &[0; 16]));
    assert!(first(protocol::ESP, &[0; 8]));
}

#[test]
fn a_fragment_of_a_fragment_is_no_packet() {
    let header = |next, field: u16| {
        let [a, b] = field.to_be_bytes();
        [next, 0, a, b, 0, 0, 0, 85]
    };
    for [outer, inner] in [[0, 0], [0, 1], [1, 0], [0x0100, 0]] {
        let chain = [&header(44, outer)[..], &header(protocol::UDP, inner), &UDP].concat();
        let frame = ethernet(&ipv6(CLIENT6, SERVER6, 44, &chain));
        assert_eq!(parse(&frame).err(), Some(DropReason::IpHeader), "{outer} {inner}");
    }
}
