//! Packets in words: `in lan tcp 10.0.0.2:40000 -> 192.0.2.1:80 syn`.
//!
//! [`words`] reads them, [`build`] makes frames of them, and [`describe()`] says of a frame what would be read as that.

mod build;
mod describe;
mod given;
mod ingress;
#[cfg(test)]
mod tests;
mod tuple;
mod words;

use std::net::IpAddr;
use std::ops::Range;

pub use build::{Numbers, fragments, frame};
pub use describe::describe;
pub use ingress::ingress;
pub use tuple::{early_facts, tuple};
pub use words::parse;

/// What stands below `--help` of the commands that take packets in words.
pub const HELP: &str = "\
A packet in words is

  [in INTERFACE] PROTOCOL SOURCE[:PORT] -> DESTINATION[:PORT] [WORD...]

  in lan tcp 10.0.0.2:40000 -> 192.0.2.1:80 syn
  in wan tcp 192.0.2.1:80 -> 203.0.113.1:40000 syn ack
  in lan udp [2001:db8::2]:5353 -> [2001:db8::53]:53 length=512
  in lan icmp 10.0.0.2 -> 192.0.2.1 echo-request id=7
  in wan icmp 198.51.100.9 -> 203.0.113.1 time-exceeded about udp 203.0.113.1:40000 -> 8.8.8.8:53
  in wan esp 198.51.100.9 -> 203.0.113.1 length=100
  in lan hex 4500001c000100004001aedd0a000002c00002010800f7fd00010001

`in` names the interface that it comes in by, a VLAN's among them; `in local` is what
the box's own network stack sends. Without a port a source has 49152.
  tcp     flags: syn ack fin rst psh urg ece cwr; none is `ack`
          seq= ack= window= mss=
  icmp    a type as in rules, such as port-unreachable or 3/1; none is echo-request
          id= seq=, and for errors mtu= and `about` with the packet that they quote
  any     ttl= tos= length= (bytes of payload) fragment= (it comes in fragments of so
          many bytes at most)
Sequence and acknowledgement numbers that are not given are those that the two ends
would have sent by then. `hex` is an IP datagram, or a whole Ethernet frame.";

/// A packet as somebody says it, and how it comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The name of the interface, and where it stands.
    pub ingress: Option<(String, Range<usize>)>,
    /// What comes in.
    pub content: Content,
    /// The largest of the fragments that it comes in, IP header included.
    pub fragment: Option<u16>,
}

/// What comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A packet of these parts.
    Packet(Packet),
    /// A frame, byte by byte.
    Frame(Vec<u8>),
}

/// The parts of an IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who sends it.
    pub source: IpAddr,
    /// Whom to; of the same family.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Bytes of payload behind the header of the transport.
    pub length: u16,
    /// What it carries.
    pub transport: Transport,
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A segment of TCP.
    Tcp(Segment),
    /// A datagram of UDP.
    Udp {
        /// The port that it comes from.
        sport: u16,
        /// The port that it is for.
        dport: u16,
    },
    /// A message of ICMP or, between IPv6 addresses, ICMPv6.
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
        /// The four bytes behind the checksum: identifier and sequence number, or the MTU.
        rest: [u8; 4],
        /// The packet that it quotes.
        about: Option<Box<Packet>>,
    },
    /// Any other protocol, by its number.
    Other(u8),
}

/// The header of a TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The port that it comes from.
    pub sport: u16,
    /// The port that it is for.
    pub dport: u16,
    /// Its flags, as in byte 13 of the header.
    pub flags: u8,
    /// Its sequence number, where that was given.
    pub seq: Option<u32>,
    /// Its acknowledgement number, where that was given.
    pub ack: Option<u32>,
    /// Its window.
    pub window: u16,
    /// The maximum segment size that it offers.
    pub mss: Option<u16>,
}

/// Why words are no packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which bytes of the text.
    pub at: Range<usize>,
    /// What is wrong with them.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

/// TCP's flags, as they are looked at here.
pub(crate) mod flag {
    /// The last of the sender's.
    pub const FIN: u8 = 0x01;
    /// The first of the sender's.
    pub const SYN: u8 = 0x02;
    /// Has an acknowledgement number.
    pub const ACK: u8 = 0x10;
}
