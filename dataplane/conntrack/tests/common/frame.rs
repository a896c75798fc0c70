//! Ethernet frames from parts: what tests put on the wire.

use sluice_conntrack::wire::checksum::Crc32c;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
pub const SCTP: u8 = 132;

/// Who talks to whom: the first is the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

impl Pair {
    /// A client inside and a server outside, both of IPv4.
    pub fn v4(sport: u16, dport: u16) -> Self {
        Self::of([192, 168, 1, 6].into(), sport, [192, 168, 1, 9].into(), dport)
    }

    /// A client inside and a server outside, both of IPv6.
    pub fn v6(sport: u16, dport: u16) -> Self {
        let address = |host| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, host, 0, 0, 0, host));
        Self::of(address(6), sport, address(9), dport)
    }

    /// The same of each family.
    pub fn both(sport: u16, dport: u16) -> [Self; 2] {
        [Self::v4(sport, dport), Self::v6(sport, dport)]
    }

    pub fn of(source: IpAddr, sport: u16, destination: IpAddr, dport: u16) -> Self {
        Self { source: (source, sport).into(), destination: (destination, dport).into() }
    }

    /// From one socket address to another, as text.
    pub fn at(source: &str, destination: &str) -> Self {
        Self { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    /// A router on the way between them.
    pub fn router(self) -> IpAddr {
        if self.source.is_ipv4() { [10, 9, 9, 9].into() } else { "2001:db8:9::9".parse().unwrap() }
    }

    pub fn inverse(self) -> Self {
        Self { source: self.destination, destination: self.source }
    }

    /// A datagram with so many bytes of payload.
    pub fn udp(self, payload_len: usize) -> Packet {
        self.datagram(&vec![0x55; payload_len])
    }

    /// A datagram with this payload.
    pub fn datagram(self, payload: &[u8]) -> Packet {
        let len = (8 + payload.len()) as u16;
        let l4 = [self.ports().as_slice(), &len.to_be_bytes(), &[0; 2], payload].concat();
        self.packet(UDP, l4, Some(6))
    }

    /// A segment with the flags of these letters (of `FSRPAUEC`), a window of 10000 and nothing else.
    pub fn tcp(self, flags: &str, seq: u32, ack: u32) -> Packet {
        let bits = flags.chars().filter_map(|c| "FSRPAUEC".find(c)).fold(0, |all, bit| all | 1 << bit);
        self.segment(&Segment { flags: bits, seq, ack, ..Segment::default() })
    }

    pub fn segment(self, segment: &Segment) -> Packet {
        let mut options = segment.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let offset = ((20 + options.len()) / 4) as u8;
        let mut l4 = [
            self.ports().as_slice(),
            &segment.seq.to_be_bytes(),
            &segment.ack.to_be_bytes(),
            &[offset << 4, segment.flags],
            &segment.window.to_be_bytes(),
            &[0; 4],
            &options,
        ]
        .concat();
        l4.resize(l4.len() + segment.payload_len, 0x55);
        self.packet(TCP, l4, Some(16))
    }

    /// An SCTP packet with one chunk, its CRC right.
    pub fn sctp(self, tag: u32, chunk: &[u8]) -> Packet {
        let mut l4 = [self.ports().as_slice(), &tag.to_be_bytes(), &[0; 4], chunk].concat();
        let crc = Crc32c::default().bytes(&l4).to_wire();
        l4[8..12].copy_from_slice(&crc);
        self.packet(SCTP, l4, None)
    }

    /// An echo request.
    pub fn echo(self, id: u16, seq: u16) -> Packet {
        self.icmp(if self.source.is_ipv4() { 8 } else { 128 }, 0, echo_words(id, seq), &[0x55; 32])
    }

    /// An echo reply.
    pub fn echo_reply(self, id: u16, seq: u16) -> Packet {
        self.icmp(if self.source.is_ipv4() { 0 } else { 129 }, 0, echo_words(id, seq), &[0x55; 32])
    }

    /// Any message of ICMP or, between IPv6 hosts, ICMPv6.
    pub fn icmp(self, kind: u8, code: u8, words: [u8; 4], payload: &[u8]) -> Packet {
        let l4 = [&[kind, code, 0, 0], words.as_slice(), payload].concat();
        self.packet(if self.source.is_ipv4() { ICMP } else { ICMPV6 }, l4, Some(2))
    }

    /// Any other protocol, without a checksum.
    pub fn packet(self, protocol: u8, l4: Vec<u8>, checksum_at: Option<usize>) -> Packet {
        Packet {
            source: self.source.ip(),
            destination: self.destination.ip(),
            protocol,
            ttl: 64,
            tags: vec![],
            l4,
            checksum_at,
            checksum_flaw: 0,
        }
    }

    fn ports(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.source.port().to_be_bytes(), self.destination.port().to_be_bytes());
        [a, b, c, d]
    }
}

/// A chunk of SCTP: INIT (1) or INIT ACK (2).
pub fn init(kind: u8) -> Vec<u8> {
    vec![kind, 0, 0, 20, 0, 0, 0, 9, 0, 0, 128, 0, 0, 1, 0, 1, 0, 0, 0, 1]
}

fn echo_words(id: u16, seq: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (id.to_be_bytes(), seq.to_be_bytes());
    [a, b, c, d]
}

/// The parts of a TCP segment.
#[derive(Clone, Debug)]
pub struct Segment {
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub options: Vec<u8>,
    pub payload_len: usize,
}

impl Default for Segment {
    fn default() -> Self {
        Self { flags: 0, seq: 0, ack: 0, window: 10_000, options: vec![], payload_len: 0 }
    }
}

/// One packet, checksums still to be filled in.
#[derive(Clone, Debug)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub ttl: u8,
    /// VLAN tags from the outside in: TPID and VLAN.
    pub tags: Vec<(u16, u16)>,
    /// L4 header and payload.
    pub l4: Vec<u8>,
    /// Where in it the checksum belongs.
    pub checksum_at: Option<usize>,
    /// What is added to the checksum to make it wrong.
    pub checksum_flaw: u16,
}

impl Packet {
    /// The same in a VLAN, inside the tags it has already.
    pub fn vlan(mut self, vlan: u16) -> Self {
        self.tags.push((0x8100, vlan));
        self
    }

    /// The same with a wrong L4 checksum.
    pub fn spoilt(self) -> Self {
        Self { checksum_flaw: 1, ..self }
    }

    /// An ICMP error that `router` sends back about this packet.
    pub fn error(&self, router: IpAddr, kind: u8, code: u8) -> Self {
        let pair = Pair::of(router, 0, self.source, 0);
        pair.icmp(kind, code, [0; 4], &self.datagram())
    }

    /// Destination unreachable: the port.
    pub fn unreachable(&self, router: IpAddr) -> Self {
        if self.source.is_ipv4() { self.error(router, 3, 3) } else { self.error(router, 1, 4) }
    }

    /// Time exceeded in transit.
    pub fn time_exceeded(&self, router: IpAddr) -> Self {
        self.error(router, if self.source.is_ipv4() { 11 } else { 3 }, 0)
    }

    /// The Ethernet frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for (tpid, vlan) in &self.tags {
            frame.extend_from_slice(&tpid.to_be_bytes());
            frame.extend_from_slice(&vlan.to_be_bytes());
        }
        frame.extend_from_slice(if self.source.is_ipv4() { &[8, 0] } else { &[0x86, 0xdd] });
        frame.extend_from_slice(&self.datagram());
        frame.resize(frame.len().max(60), 0);
        frame
    }

    /// The frame with options: those of the IPv4 header, a multiple of four bytes, or those of a hop-by-hop header, which with the
    /// two bytes before them are a multiple of eight.
    pub fn frame_with_options(&self, options: &[u8]) -> Vec<u8> {
        let mut datagram = self.datagram();
        let length_at = if self.source.is_ipv4() {
            datagram.splice(20..20, options.iter().copied());
            datagram[0] = 0x45 + (options.len() / 4) as u8;
            2
        } else {
            let header = [self.protocol, (options.len() / 8) as u8];
            datagram.splice(40..40, [header.as_slice(), options].concat());
            datagram[6] = 0;
            4
        };
        let length = datagram.len() - if self.source.is_ipv4() { 0 } else { 40 };
        datagram[length_at..length_at + 2].copy_from_slice(&(length as u16).to_be_bytes());
        if self.source.is_ipv4() {
            let header = &mut datagram[..20 + options.len()];
            header[10..12].copy_from_slice(&[0; 2]);
            let checksum = !fold(sum(header));
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        [&self.frame()[..14 + 4 * self.tags.len()], &datagram].concat()
    }

    /// The frames of the fragments that it is cut into: these bytes of what can be cut, each up to the next offset, all of which
    /// but the last count whole units of eight.
    pub fn fragments(&self, identification: u16, offsets: &[usize]) -> Vec<Vec<u8>> {
        let datagram = self.datagram();
        let (header, body) = datagram.split_at(if self.source.is_ipv4() { 20 } else { 40 });
        let ends = offsets.iter().copied().skip(1).chain([body.len()]);
        let cut = |(start, end): (usize, usize)| {
            let field = start as u16 | u16::from(end < body.len());
            fragment(header, self.protocol, identification, field, &body[start..end])
        };
        let link = self.frame()[..12 + 4 * self.tags.len() + 2].to_vec();
        offsets.iter().copied().zip(ends).map(|ends| [link.as_slice(), &cut(ends)].concat()).collect()
    }

    /// The IP datagram.
    pub fn datagram(&self) -> Vec<u8> {
        let mut l4 = self.l4.clone();
        let len = l4.len() as u16;
        if let Some(at) = self.checksum_at {
            let pseudo = match (self.source, self.destination) {
                (_, _) if self.protocol == ICMP => vec![],
                (IpAddr::V4(src), IpAddr::V4(dst)) => [src.octets(), dst.octets()].concat(),
                (IpAddr::V6(src), IpAddr::V6(dst)) => [src.octets(), dst.octets()].concat(),
                _ => panic!("a packet has one family"),
            };
            let lengths = if pseudo.is_empty() { 0 } else { u32::from(len) + u32::from(self.protocol) };
            let right = !fold(sum(&pseudo) + sum(&l4) + lengths);
            let sent = if right == 0 && self.protocol == UDP { 0xffff } else { right };
            l4[at..at + 2].copy_from_slice(&sent.wrapping_add(self.checksum_flaw).to_be_bytes());
        }
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                [ipv4_header(source, destination, self.protocol, self.ttl, len).as_slice(), &l4].concat()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let [a, b] = len.to_be_bytes();
                let start = [0x60, 0, 0, 0, a, b, self.protocol, self.ttl];
                [start.as_slice(), &source.octets(), &destination.octets(), &l4].concat()
            }
            _ => panic!("a packet has one family"),
        }
    }
}

/// A fragment behind a plain IP header: `field` is its offset in bytes, and whether more follow in the lowest bit.
pub fn fragment(header: &[u8], protocol: u8, identification: u16, field: u16, bytes: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    if header[0] >> 4 == 4 {
        header[2..4].copy_from_slice(&((20 + bytes.len()) as u16).to_be_bytes());
        header[4..6].copy_from_slice(&identification.to_be_bytes());
        header[6..8].copy_from_slice(&(field >> 3 | (field & 1) << 13).to_be_bytes());
        header[10..12].copy_from_slice(&[0; 2]);
        let checksum = !fold(sum(&header));
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        header[4..6].copy_from_slice(&((8 + bytes.len()) as u16).to_be_bytes());
        header[6] = 44;
        let ([a, b], [c, d]) = (field.to_be_bytes(), identification.to_be_bytes());
        header.extend_from_slice(&[protocol, 0, a, b, 0, 0, c, d]);
    }
    [header.as_slice(), bytes].concat()
}

fn ipv4_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, ttl: u8, l4_len: u16) -> [u8; 20] {
    let [a, b] = (20 + l4_len).to_be_bytes();
    let mut header = [0; 20];
    header[..12].copy_from_slice(&[0x45, 0, a, b, 0, 1, 0, 0, ttl, protocol, 0, 0]);
    header[12..16].copy_from_slice(&source.octets());
    header[16..].copy_from_slice(&destination.octets());
    let checksum = !fold(sum(&header));
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low))).sum()
}

const fn fold(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}
