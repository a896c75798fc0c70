//! Packets of some connections, plain ones and odd ones, as a device hands them over.

use super::{BOX_MAC, INSIDE, OUTSIDE, Traits, ip};
use crate::frame::{Checksum, Frame, Handed, Reassembled};
use crate::ids::{PortId, ShardId};
use crate::tuple::protocol::{TCP, UDP};
use crate::tuple::{Family, Tuple};
use crate::verdict::Handoff;
use crate::wire::checksum::Sum;
use std::net::IpAddr;

/// Sequence numbers of SYNs, of client and server.
const ISN: [u32; 2] = [1000, u32::MAX - 20];
pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const ACK: u8 = 16;

/// Connections by protocol, client, server and the server's port.
pub(super) const CONNECTIONS: [(u8, &str, &str, u16); 8] = [
    (TCP, "10.0.0.2", "198.51.100.2", 80),
    (UDP, "10.0.0.3", "198.51.100.2", 53),
    (TCP, "fd00:1::2", "2001:db8:9::2", 80),
    (UDP, "fd00:1::3", "2001:db8:9::2", 53),
    // By a port that rules are about, and a helper.
    (TCP, "10.0.0.2", "198.51.100.3", 21),
    (TCP, "10.0.0.2", "198.51.100.3", 99),
    (UDP, "fd00:1::2", "2001:db8:9::3", 99),
    (UDP, "10.0.0.2", "198.51.100.4", 123),
];

/// What sources are translated to.
pub(super) const PUBLIC: [&str; 2] = ["203.0.113.7", "2001:db8:2::7"];

/// What is unusual about a frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Oddity {
    Nothing,
    /// Bits flipped in the byte at a place.
    Damage(usize, u8),
    Cut(usize),
    Padded(usize),
    Tagged,
    IpOptions,
    Fragment(u16),
    Ttl(u8),
    ForeignMac,
    OtherPort,
    /// Its bytes from there on lie in a second segment.
    Split(usize),
    L3(Checksum),
    L4(Checksum),
    Handed(Handoff),
    WithoutChecksum,
    /// It came in fragments, if it is of IPv4: the first with so many units of eight bytes.
    InFragments(usize),
}

/// A packet of a connection.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) connection: usize,
    pub(super) is_reply: bool,
    pub(super) flags: u8,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) window: u16,
    pub(super) options: &'static [u8],
    pub(super) payload_len: usize,
    /// What its payload is, if that is not so many bytes.
    pub(super) line: &'static str,
    pub(super) oddity: Oddity,
}

/// The connection that a helper may read, of those below.
pub(super) const CONTROL: usize = 4;

/// What is said there: lines that announce nothing, some that do, what goes on over several segments, and what is no line of FTP.
pub(super) const LINES: [&str; 12] = [
    "USER anonymous\r\n",
    "NOOP\r\n",
    "RETR a\r\n",
    "PORT 10,0,0,2,19,137\r\n",
    "EPRT |1|10.0.0.2|5001|\r\n",
    "PASV\r\n",
    "200 fine\r\n",
    "227 Entering Passive Mode (198,51,100,3,19,137)\r\n",
    "229 Extended (|||5002|)\r\n",
    "200 in two",
    " parts\r\n220 and two\r\n",
    "PORT 1,2\r\n",
];

/// Options of TCP: none, a timestamp as most write it, selective acknowledgements, and some that are cut off.
pub(super) const OPTIONS: [&[u8]; 4] =
    [&[], &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], &[1, 1, 5, 10, 0, 0, 3, 240, 0, 0, 4, 20], &[3, 3, 7, 99]];

/// A frame as a device may hand it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Received {
    port: PortId,
    head: Vec<u8>,
    tail: Vec<u8>,
    l3_checksum: Checksum,
    l4_checksum: Checksum,
    handed: Option<Handed>,
    reassembled: Option<Reassembled>,
}

impl Frame for Received {
    fn port(&self) -> PortId {
        self.port
    }
    fn head(&self) -> &[u8] {
        &self.head
    }
    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.head
    }
    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.tail.as_slice())
    }
    fn splice(&mut self, at: usize, removed: usize, inserted: &[u8]) -> bool {
        let has = self.head.get(at..).is_some_and(|rest| removed <= rest.len());
        if has {
            self.head.splice(at..at + removed, inserted.iter().copied());
        }
        has
    }
    fn l3_checksum(&self) -> Checksum {
        self.l3_checksum
    }
    fn l4_checksum(&self) -> Checksum {
        self.l4_checksum
    }
    fn handed(&self) -> Option<Handed> {
        self.handed
    }
    fn reassembled(&self) -> Option<Reassembled> {
        self.reassembled
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

impl Sent {
    /// A datagram without payload, or an ACK to all that the other end has said in a handshake.
    pub(super) fn of(connection: usize, is_reply: bool) -> Self {
        let [own, peer] = if is_reply { [ISN[1], ISN[0]] } else { ISN };
        Self {
            connection,
            is_reply,
            flags: ACK,
            seq: own.wrapping_add(1),
            ack: peer.wrapping_add(1),
            window: 10_000,
            options: &[],
            payload_len: 0,
            line: "",
            oddity: Oddity::Nothing,
        }
    }

    /// Lines of the control connection, each with whether it is the server's, its number, and whether it is sent again.
    pub(super) fn said(dialogue: &[(bool, usize, bool)]) -> Vec<Self> {
        let mut said = [0_u32; 2];
        let lines = dialogue.iter().map(|&(is_reply, number, comes_again)| {
            let begun = Self::of(CONTROL, is_reply);
            let line = LINES[number % LINES.len()];
            let [own, peer] = [is_reply, !is_reply].map(usize::from);
            let (seq, ack) = (begun.seq.wrapping_add(said[own]), begun.ack.wrapping_add(said[peer]));
            said[own] += if comes_again { 0 } else { line.len() as u32 };
            Self { seq, ack, line, ..begun }
        });
        lines.collect()
    }

    /// The packets that open a connection.
    pub(super) fn opening(connection: usize) -> [Self; 4] {
        let syn = |sent: Self, flags| Self { flags, seq: sent.seq.wrapping_sub(1), ..sent };
        let [there, back] = [false, true].map(|is_reply| Self::of(connection, is_reply));
        [syn(there.clone(), SYN), syn(back.clone(), SYN | ACK), there, back]
    }

    pub(super) fn tuple(&self, translated: bool) -> Tuple {
        let (protocol, client, server, port) = CONNECTIONS[self.connection];
        let client_port = 4000 + self.connection as u16;
        let public = PUBLIC[usize::from(client.contains(':'))];
        if self.is_reply {
            let client = if translated { public } else { client };
            Tuple::new(ip(server), ip(client), protocol, port, client_port)
        } else {
            Tuple::new(ip(client), ip(server), protocol, client_port, port)
        }
    }

    fn l4(&self, tuple: &Tuple) -> Vec<u8> {
        let ports = tuple.selector.ports().to_be_bytes();
        let payload = match self.line {
            "" => (0..self.payload_len as u8).collect::<Vec<_>>(),
            line => line.as_bytes().to_vec(),
        };
        let checksum_at = if tuple.protocol() == TCP { 16 } else { 6 };
        let mut l4 = if tuple.protocol() == TCP {
            let offset = ((20 + self.options.len()) / 4) as u8;
            let numbers = [self.seq.to_be_bytes(), self.ack.to_be_bytes()].concat();
            let rest = [&[offset << 4, self.flags], self.window.to_be_bytes().as_slice(), &[0; 4]].concat();
            [&ports, numbers.as_slice(), &rest, self.options, &payload].concat()
        } else {
            let length = (8 + payload.len()) as u16;
            [&ports, length.to_be_bytes().as_slice(), &[0; 2], &payload].concat()
        };
        if !(matches!(self.oddity, Oddity::WithoutChecksum) && tuple.protocol() == UDP) {
            let addresses = [octets(tuple.source()), octets(tuple.destination())].concat();
            let sum = Sum::default().pseudo_header(&addresses, tuple.protocol(), l4.len() as u32).bytes(&l4);
            l4[checksum_at..checksum_at + 2].copy_from_slice(&sum.checksum().to_be_bytes());
        }
        l4
    }

    pub(super) fn received(&self, traits: Traits) -> Received {
        let tuple = self.tuple(traits.translates);
        let l4 = self.l4(&tuple);
        let addresses = [octets(tuple.source()), octets(tuple.destination())].concat();
        let has_options = matches!(self.oddity, Oddity::IpOptions);
        let ttl = if let Oddity::Ttl(ttl) = self.oddity { ttl } else { 64 };
        let first_len = match self.oddity {
            Oddity::InFragments(units) if tuple.family() == Family::V4 => Some(8 * units),
            _ => None,
        };
        let first_len = first_len.filter(|first| *first < l4.len());
        let (ethertype, l3) = match tuple.family() {
            Family::V4 => {
                let options: &[u8] = if has_options { &[1; 4] } else { &[] };
                let header_len = 20 + options.len();
                let total_len = ((header_len + first_len.unwrap_or(l4.len())) as u16).to_be_bytes();
                let fragment = match self.oddity {
                    Oddity::Fragment(field) => field,
                    _ if first_len.is_some() => 0x2000,
                    _ => 0,
                };
                let first = [0x40 | (header_len / 4) as u8, 0, total_len[0], total_len[1], 1, 2];
                let last = [ttl, tuple.protocol(), 0, 0];
                let mut header =
                    [&first, fragment.to_be_bytes().as_slice(), &last, &addresses, options].concat();
                let checksum = Sum::default().bytes(&header).checksum();
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
                ([8, 0], header)
            }
            Family::V6 => {
                let extension: &[u8] =
                    if has_options { &[tuple.protocol(), 0, 1, 4, 0, 0, 0, 0] } else { &[] };
                let next = if has_options { 60 } else { tuple.protocol() };
                let length = ((extension.len() + l4.len()) as u16).to_be_bytes();
                let first = [0x60, 0, 0, 0, length[0], length[1], next, ttl];
                ([0x86, 0xdd], [&first, addresses.as_slice(), extension].concat())
            }
        };
        let mac = if matches!(self.oddity, Oddity::ForeignMac) { [2, 9, 9, 9, 9, 9] } else { BOX_MAC };
        let tag: &[u8] = if matches!(self.oddity, Oddity::Tagged) { &[0x81, 0, 0, 7] } else { &[] };
        let mut head = [&mac, [2; 6].as_slice(), tag, &ethertype, &l3, &l4].concat();
        let mut tail = Vec::new();
        match self.oddity {
            Oddity::Damage(at, bits) => {
                let len = head.len();
                head[at % len] ^= bits;
            }
            Oddity::Cut(len) => head.truncate(len),
            Oddity::Padded(len) => head.resize(head.len() + len, 0xee),
            Oddity::Split(at) => tail = head.split_off(at.min(head.len())),
            _ => {}
        }
        let reassembled = first_len.map(|first_len| {
            tail = head.split_off(head.len() - l4.len() + first_len);
            let largest = l3.len() + first_len.max(tail.len());
            Reassembled {
                rest_bytes: tail.len() as u32,
                largest_bytes: largest as u32,
                may_be_fragmented: self.payload_len.is_multiple_of(2),
                has_seen_congestion: false,
            }
        });
        let port = if self.is_reply == matches!(self.oddity, Oddity::OtherPort) { INSIDE } else { OUTSIDE };
        let l3_checksum = if let Oddity::L3(found) = self.oddity { found } else { Checksum::Unknown };
        let l4_checksum = if let Oddity::L4(found) = self.oddity { found } else { Checksum::Unknown };
        let by = if let Oddity::Handed(by) = self.oddity { Some(by) } else { None };
        let handed = by.filter(|_| traits.several_shards);
        let handed = handed.map(|by| Handed { from: ShardId(0), by, hops: 1 });
        Received { port, head, tail, l3_checksum, l4_checksum, handed, reassembled }
    }
}
