//! Seeded connections and their frames: the smallest Ethernet frames (64 bytes on the wire), addresses
//! from the benchmarking networks of RFC 2544 and random ports as RFC 4814 asks.
//!
//! Connection `index` of a seed is always the same connection, and no two of one seed share a tuple, so
//! any range of them may be built anywhere, in any order, on any core.

use std::net::Ipv4Addr;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Bytes of a frame as DPDK sees it: the 64 of the wire without the four of the FCS.
pub const FRAME_BYTES: usize = 60;

/// An Ethernet II frame that holds IPv4, zero-padded to the smallest size.
pub type Frame = [u8; FRAME_BYTES];

/// The client's side: MAC address of whoever sends from there.
const INSIDE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// The server's side.
const OUTSIDE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];

/// Clients are in 198.18.0.0/16, servers in 198.19.0.0/16.
const CLIENT_NETWORK: u32 = 0xc612_0000;
const SERVER_NETWORK: u32 = 0xc613_0000;

/// The first of the addresses that clients are translated to where they are, of a network for documentation (RFC 5737).
pub const OUTSIDE_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 0);

pub(crate) const ETHERNET_BYTES: usize = 14;
pub(crate) const IPV4_BYTES: usize = 20;
const TCP_BYTES: usize = 20;
/// What a SYN carries beyond the TCP header: window scale, as most systems send it.
const SYN_OPTIONS: [u8; 4] = [3, 3, 7, 1];

const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// What fills a frame.
const LINE: &[u8; FRAME_BYTES - ETHERNET_BYTES - IPV4_BYTES - TCP_BYTES] = b"NOOP\r\n";

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// With a handshake and sequence numbers.
    Tcp,
    /// Datagrams both ways.
    Udp,
}

/// One packet in the life of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client's first: SYN, or a datagram.
    Open,
    /// The server's first: SYN/ACK, or a datagram.
    Answer,
    /// From client to server: the ACK that ends the handshake and every later one, or a datagram. Its
    /// sequence number is in the window however often it is sent.
    Original,
    /// From server to client, as often as one likes: ACK, or a datagram.
    Reply,
    /// The client's FIN, or a datagram.
    Close,
    /// The server's, which acknowledges the client's, or a datagram.
    CloseReply,
    /// The client's ACK of that, the last segment of all, or a datagram.
    Last,
}

impl Step {
    /// Whether the client, who is inside, sends it.
    pub fn from_inside(self) -> bool {
        matches!(self, Step::Open | Step::Original | Step::Close | Step::Last)
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// IPv4 address.
    pub address: Ipv4Addr,
    /// TCP or UDP port, host byte order.
    pub port: u16,
}

/// A connection between a client inside and a server outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who opens it.
    pub client: Endpoint,
    /// Who answers.
    pub server: Endpoint,
    /// The client's initial sequence number.
    pub client_isn: u32,
    /// The server's.
    pub server_isn: u32,
}

impl Connection {
    /// Connection `index` of `seed`; `udp_percent` in a hundred of them are UDP.
    pub fn new(seed: u64, index: u32, udp_percent: u8) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index.into());
        let hosts = scatter(index);
        let protocol = if rng.random_range(0..100) < udp_percent { Protocol::Udp } else { Protocol::Tcp };
        Connection {
            protocol,
            client: Endpoint {
                address: Ipv4Addr::from_bits(CLIENT_NETWORK | hosts >> 16),
                port: rng.random_range(1024..=u16::MAX),
            },
            server: Endpoint {
                address: Ipv4Addr::from_bits(SERVER_NETWORK | hosts & 0xffff),
                port: rng.random_range(1..=49151),
            },
            client_isn: rng.random(),
            server_isn: rng.random(),
        }
    }

    /// The connection as the server sees it, whose client was translated.
    #[must_use]
    pub const fn from_outside(self, client: Endpoint) -> Self {
        Self { client, ..self }
    }

    /// The frame of one step, checksums filled in.
    pub fn frame(&self, step: Step) -> Frame {
        let mut frame = [0; FRAME_BYTES];
        self.write(step, &mut frame);
        frame
    }

    /// The frame of the client's line of that number, counted from 0, which announces nothing to an FTP helper. It is as long as all
    /// others.
    pub fn line(&self, number: u32) -> Frame {
        let mut frame = self.frame(Step::Original);
        let (ip, l4) = frame[ETHERNET_BYTES..].split_at_mut(IPV4_BYTES);
        write_ipv4(self.client.address, self.server.address, TCP, TCP_BYTES + LINE.len(), ip);
        let sequence = self.client_isn.wrapping_add(1 + number * LINE.len() as u32);
        l4[4..8].copy_from_slice(&sequence.to_be_bytes());
        l4[13] = ACK | PSH;
        l4[TCP_BYTES..TCP_BYTES + LINE.len()].copy_from_slice(LINE);
        l4[16..18].fill(0);
        let l4_bytes = TCP_BYTES + LINE.len();
        let sum = checksum(pseudo_header_sum(ip, l4_bytes), &l4[..l4_bytes]);
        l4[16..18].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    /// Writes the same into a frame of zeros, which a datagram fills.
    pub(crate) fn write(&self, step: Step, frame: &mut [u8]) {
        let (from, to, source_mac, destination_mac) = if step.from_inside() {
            (self.client, self.server, INSIDE_MAC, OUTSIDE_MAC)
        } else {
            (self.server, self.client, OUTSIDE_MAC, INSIDE_MAC)
        };
        frame[0..6].copy_from_slice(&destination_mac);
        frame[6..12].copy_from_slice(&source_mac);
        frame[12..14].copy_from_slice(&[0x08, 0x00]);

        let (ip, l4) = frame[ETHERNET_BYTES..].split_at_mut(IPV4_BYTES);
        let (number, l4_bytes, checksum_at) = match self.protocol {
            Protocol::Tcp => (TCP, self.write_tcp(step, from.port, to.port, l4), 16),
            Protocol::Udp => (UDP, write_udp(from.port, to.port, l4), 6),
        };
        write_ipv4(from.address, to.address, number, l4_bytes, ip);
        let sum = checksum(pseudo_header_sum(ip, l4_bytes), &l4[..l4_bytes]);
        // A UDP checksum of zero means none (RFC 768).
        let sum = if sum == 0 && number == UDP { 0xffff } else { sum };
        l4[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    }

    /// Writes a TCP header, checksum left zero; returns its length.
    fn write_tcp(&self, step: Step, source: u16, destination: u16, l4: &mut [u8]) -> usize {
        let (client_next, server_next) = (self.client_isn.wrapping_add(1), self.server_isn.wrapping_add(1));
        let (sequence, acknowledgement, flags) = match step {
            Step::Open => (self.client_isn, 0, SYN),
            Step::Answer => (self.server_isn, client_next, SYN | ACK),
            Step::Original => (client_next, server_next, ACK),
            Step::Reply => (server_next, client_next, ACK),
            Step::Close => (client_next, server_next, FIN | ACK),
            Step::CloseReply => (server_next, client_next.wrapping_add(1), FIN | ACK),
            Step::Last => (client_next.wrapping_add(1), server_next.wrapping_add(1), ACK),
        };
        let options: &[u8] = if flags & SYN != 0 { &SYN_OPTIONS } else { &[] };
        let header_bytes = TCP_BYTES + options.len();
        l4[0..2].copy_from_slice(&source.to_be_bytes());
        l4[2..4].copy_from_slice(&destination.to_be_bytes());
        l4[4..8].copy_from_slice(&sequence.to_be_bytes());
        l4[8..12].copy_from_slice(&acknowledgement.to_be_bytes());
        l4[12] = (header_bytes as u8 / 4) << 4;
        l4[13] = flags;
        l4[14..16].copy_from_slice(&0x4000_u16.to_be_bytes()); // the window
        l4[TCP_BYTES..header_bytes].copy_from_slice(options);
        header_bytes
    }
}

/// Writes the header of a datagram that is as long as `l4`, checksum left zero; returns its length.
fn write_udp(source: u16, destination: u16, l4: &mut [u8]) -> usize {
    l4[0..2].copy_from_slice(&source.to_be_bytes());
    l4[2..4].copy_from_slice(&destination.to_be_bytes());
    let l4_bytes = l4.len();
    l4[4..6].copy_from_slice(&(l4_bytes as u16).to_be_bytes());
    l4_bytes
}

fn write_ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, l4_bytes: usize, ip: &mut [u8]) {
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&((IPV4_BYTES + l4_bytes) as u16).to_be_bytes());
    ip[6] = 0x40; // do not fragment
    ip[8] = 64; // time to live
    ip[9] = protocol;
    ip[12..16].copy_from_slice(&source.octets());
    ip[16..20].copy_from_slice(&destination.octets());
    write_ipv4_checksum(ip);
}

/// Writes the checksum of an IPv4 header.
pub(crate) fn write_ipv4_checksum(ip: &mut [u8]) {
    ip[10..12].copy_from_slice(&[0; 2]);
    let sum = checksum(0, ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The sum over what TCP and UDP checksums cover of the IPv4 header (RFC 9293, 3.1).
fn pseudo_header_sum(ip: &[u8], l4_bytes: usize) -> u32 {
    sum_words(&ip[12..20]) + u32::from(ip[9]) + l4_bytes as u32
}

/// The Internet checksum (RFC 1071) of `bytes`, begun at `sum`.
fn checksum(sum: u32, bytes: &[u8]) -> u16 {
    let mut sum = sum + sum_words(bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The sum of big-endian words; all lengths here are even.
fn sum_words(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum()
}

/// Source address and port of a frame.
pub fn source(frame: &Frame) -> Endpoint {
    let [a, b, c, d] = [26, 27, 28, 29].map(|at| frame[at]);
    Endpoint { address: Ipv4Addr::new(a, b, c, d), port: u16::from_be_bytes([frame[34], frame[35]]) }
}

/// A bijection over 32 bits that puts neighbours far apart: each index its own pair of hosts.
fn scatter(index: u32) -> u32 {
    let mut x = index;
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const STEPS: [Step; 4] = [Step::Open, Step::Answer, Step::Original, Step::Reply];

    fn connections(count: u32) -> impl Iterator<Item = Connection> {
        (0..count).map(|index| Connection::new(7, index, 25))
    }

    fn word(frame: &Frame, at: usize) -> u32 {
        u32::from_be_bytes(frame[at..at + 4].try_into().unwrap())
    }

    /// One's complement sum of 16-bit words, folded: all ones where a checksum inside is right.
    fn folded(bytes: impl Iterator<Item = u8>) -> u16 {
        let bytes: Vec<u8> = bytes.collect();
        let mut sum = 0_u16;
        for pair in bytes.chunks(2) {
            let (added, carry) = sum.overflowing_add(u16::from_be_bytes([pair[0], pair[1]]));
            sum = added + u16::from(carry);
        }
        sum
    }

    #[test]
    fn every_checksum_is_right() {
        for connection in connections(2000) {
            for frame in STEPS.map(|step| connection.frame(step)) {
                assert_eq!(folded(frame[14..34].iter().copied()), 0xffff);
                let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
                let l4_bytes = total - 20;
                let pseudo = frame[26..34].iter().copied().chain([0, frame[23], 0, l4_bytes as u8]);
                let segment = frame[34..34 + l4_bytes].iter().copied();
                assert_eq!(folded(pseudo.chain(segment)), 0xffff, "{connection:?}");
                assert!(frame[14 + total..].iter().all(|&byte| byte == 0), "padding is zero");
            }
        }
    }

    #[test]
    fn a_reply_is_the_original_inverted() {
        for connection in connections(100) {
            let (original, reply) = (connection.frame(Step::Original), connection.frame(Step::Reply));
            assert_eq!(original[26..30], reply[30..34]);
            assert_eq!(original[30..34], reply[26..30]);
            assert_eq!(original[34..36], reply[36..38]);
            assert_eq!(original[36..38], reply[34..36]);
            assert_eq!(original[0..6], reply[6..12]);
            assert_eq!((source(&original), source(&reply)), (connection.client, connection.server));
        }
    }

    #[test]
    fn segments_continue_the_handshake() {
        const SEQUENCE: usize = 38;
        const ACKNOWLEDGEMENT: usize = 42;
        for connection in connections(100).filter(|it| it.protocol == Protocol::Tcp) {
            let [open, answer, original, reply] = STEPS.map(|step| connection.frame(step));
            let after_open = word(&open, SEQUENCE).wrapping_add(1);
            let after_answer = word(&answer, SEQUENCE).wrapping_add(1);
            assert_eq!([open[47], answer[47], original[47], reply[47]], [0x02, 0x12, 0x10, 0x10]);
            assert_eq!(word(&answer, ACKNOWLEDGEMENT), after_open);
            assert_eq!(
                (word(&original, SEQUENCE), word(&original, ACKNOWLEDGEMENT)),
                (after_open, after_answer)
            );
            assert_eq!((word(&reply, SEQUENCE), word(&reply, ACKNOWLEDGEMENT)), (after_answer, after_open));
        }
    }

    #[test]
    fn no_two_connections_share_their_hosts() {
        let hosts: HashSet<_> =
            connections(100_000).map(|it| (it.client.address, it.server.address)).collect();
        assert_eq!(hosts.len(), 100_000);
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(Connection::new(1, 5, 25), Connection::new(1, 5, 25));
        assert_ne!(Connection::new(1, 5, 25), Connection::new(2, 5, 25));
    }

    #[test]
    fn udp_has_its_share() {
        let udp = connections(10_000).filter(|it| it.protocol == Protocol::Udp).count();
        assert!((2300..2700).contains(&udp), "{udp} of 10000");
        assert!((0..1000).all(|index| Connection::new(1, index, 0).protocol == Protocol::Tcp));
        assert!((0..1000).all(|index| Connection::new(1, index, 100).protocol == Protocol::Udp));
    }
}
