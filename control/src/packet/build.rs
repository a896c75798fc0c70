//! From the parts of a packet to the frames that come in, with lengths and checksums.

use std::net::IpAddr;

use etherparse::{
    IpDscp, IpEcn, IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions,
    Ipv6FragmentHeader, Ipv6Header, LaxPacketHeaders, NetHeaders, PacketBuilder, TcpHeader, TcpOptionElement,
};

use super::{Packet, Segment, Transport, flag};

/// The MAC addresses of a neighbour and of the box.
const NEIGHBOUR: [u8; 6] = [2, 0, 0, 0, 0, 2];
const BOX: [u8; 6] = [2, 0, 0, 0, 0, 1];

const ETHERNET_BYTES: usize = 14;

/// How much of a packet an ICMP error quotes, at most: so much that the error fits the smallest MTU of IPv6.
const QUOTE_BYTES: usize = 512;

/// The numbers that a TCP segment has where none were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Its sequence number.
    pub seq: u32,
    /// Its acknowledgement number.
    pub ack: u32,
}

/// The frame of a packet, on its way from a neighbour to the box.
pub fn frame(packet: &Packet, numbers: Numbers) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(NEIGHBOUR, receiver(packet.destination)).ip(ip(packet));
    let payload = vec![0; usize::from(packet.length)];
    let written = match &packet.transport {
        Transport::Tcp(segment) => builder.tcp_header(tcp(segment, numbers)).write(&mut frame, &payload),
        Transport::Udp { sport, dport } => builder.udp(*sport, *dport).write(&mut frame, &payload),
        Transport::Icmp { kind, code, rest, about } => {
            let quote = about.as_ref().map_or(payload, |about| quote(about, numbers));
            match packet.source {
                IpAddr::V4(_) => builder.icmpv4_raw(*kind, *code, *rest).write(&mut frame, &quote),
                IpAddr::V6(_) => builder.icmpv6_raw(*kind, *code, *rest).write(&mut frame, &quote),
            }
        }
        Transport::Other(number) => builder.write(&mut frame, IpNumber(*number), &payload),
    };
    written.expect("a packet of words is shorter than IP allows, and is written to memory");
    frame
}

/// A frame around an IP datagram.
pub(super) fn ethernet(datagram: &[u8]) -> Vec<u8> {
    let kind: u16 = if datagram.first().is_some_and(|byte| byte >> 4 == 6) { 0x86dd } else { 0x0800 };
    [BOX.as_slice(), &NEIGHBOUR, &kind.to_be_bytes(), datagram].concat()
}

/// The fragments that a frame comes in, none of them with a datagram of more than so many bytes; the frame itself where it is no
/// longer, or no IP datagram.
pub fn fragments(frame: Vec<u8>, most: Option<u16>) -> Vec<Vec<u8>> {
    let Some(most) =
        most.map(usize::from).filter(|most| frame.len() - ETHERNET_BYTES.min(frame.len()) > *most)
    else {
        return vec![frame];
    };
    match LaxPacketHeaders::from_ethernet(&frame).ok().and_then(|headers| headers.net) {
        Some(NetHeaders::Ipv4(header, _)) => {
            let room = (most - header.header_len()) & !7;
            cut(&frame, ETHERNET_BYTES + header.header_len(), room, |offset, more, bytes| {
                let mut header = header.clone();
                header.fragment_offset = fragment_offset(offset);
                (header.more_fragments, header.dont_fragment) = (more, false);
                header.total_len = (header.header_len() + bytes) as u16;
                header.header_checksum = header.calc_header_checksum();
                header.to_bytes().to_vec()
            })
        }
        Some(NetHeaders::Ipv6(header, _)) => {
            let room = (most - Ipv6Header::LEN - Ipv6FragmentHeader::LEN) & !7;
            cut(&frame, ETHERNET_BYTES + Ipv6Header::LEN, room, |offset, more, bytes| {
                let fragment = Ipv6FragmentHeader::new(header.next_header, fragment_offset(offset), more, 1);
                let mut header = header.clone();
                header.next_header = IpNumber::IPV6_FRAGMENTATION_HEADER;
                header.payload_length = (Ipv6FragmentHeader::LEN + bytes) as u16;
                [header.to_bytes().as_slice(), &fragment.to_bytes()].concat()
            })
        }
        _ => vec![frame],
    }
}

/// Cuts what stands from a byte on into pieces of so many bytes, each behind the header that `header` writes for it: of its offset,
/// whether more follow, and its length.
fn cut(
    frame: &[u8],
    from: usize,
    room: usize,
    header: impl Fn(usize, bool, usize) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let payload = frame.get(from..).unwrap_or_default();
    let pieces = payload.chunks(room).enumerate().map(|(number, piece)| {
        let offset = number * room;
        let more = offset + piece.len() < payload.len();
        [&frame[..ETHERNET_BYTES], &header(offset, more, piece.len()), piece].concat()
    });
    pieces.collect()
}

/// An offset in bytes, a multiple of eight.
fn fragment_offset(bytes: usize) -> IpFragOffset {
    IpFragOffset::try_new((bytes / 8) as u16).unwrap_or_default()
}

/// Who a frame for an address is sent to on the link (RFC 1112 section 6.4, RFC 2464 section 7).
fn receiver(destination: IpAddr) -> [u8; 6] {
    match destination {
        IpAddr::V4(v4) if v4.is_broadcast() => [0xff; 6],
        IpAddr::V4(v4) if v4.is_multicast() => {
            let [_, b, c, d] = v4.octets();
            [1, 0, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(v6) if v6.is_multicast() => {
            let [.., a, b, c, d] = v6.octets();
            [0x33, 0x33, a, b, c, d]
        }
        _ => BOX,
    }
}

/// The header of the packet; the builder completes it.
fn ip(packet: &Packet) -> IpHeaders {
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = Ipv4Header {
                time_to_live: packet.ttl,
                source: source.octets(),
                destination: destination.octets(),
                identification: 1,
                ..Ipv4Header::default()
            };
            header.dscp = IpDscp::try_new(packet.tos >> 2).unwrap_or_default();
            header.ecn = IpEcn::try_new(packet.tos & 3).unwrap_or_default();
            IpHeaders::Ipv4(header, Ipv4Extensions::default())
        }
        (source, destination) => {
            let header = Ipv6Header {
                traffic_class: packet.tos,
                hop_limit: packet.ttl,
                source: v6(source),
                destination: v6(destination),
                ..Ipv6Header::default()
            };
            IpHeaders::Ipv6(header, Ipv6Extensions::default())
        }
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn tcp(segment: &Segment, numbers: Numbers) -> TcpHeader {
    let has = |bit: u8| segment.flags & bit != 0;
    let seq = segment.seq.unwrap_or(numbers.seq);
    let mut header = TcpHeader::new(segment.sport, segment.dport, seq, segment.window);
    if has(flag::ACK) {
        header.acknowledgment_number = segment.ack.unwrap_or(numbers.ack);
    }
    (header.fin, header.syn, header.rst) = (has(flag::FIN), has(flag::SYN), has(0x04));
    (header.psh, header.ack, header.urg) = (has(0x08), has(flag::ACK), has(0x20));
    (header.ece, header.cwr) = (has(0x40), has(0x80));
    if let Some(mss) = segment.mss {
        header
            .set_options(&[TcpOptionElement::MaximumSegmentSize(mss)])
            .expect("one option of four bytes has room in a header");
    }
    header
}

/// What an error quotes: the datagram from its IP header on.
fn quote(about: &Packet, numbers: Numbers) -> Vec<u8> {
    let mut quote = frame(about, numbers).split_off(ETHERNET_BYTES);
    quote.truncate(QUOTE_BYTES);
    quote
}
