//! What parsing finds out about a frame: where its headers are and which tuple it belongs to.

use crate::tuple::{Family, Tuple};
use crate::verdict::InvalidReason;

/// How connection tracking treats a packet, decided by its headers alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PacketKind {
    /// Not IP: passes untracked.
    #[default]
    NotIp,
    /// IP that is never tracked: neighbour discovery and multicast listener reports.
    Untracked,
    /// Part of a connection, named by the packet's own tuple.
    Tracked,
    /// An ICMP error; [`Headers::tuple`] is the *inverse* of the packet it quotes, so that it goes
    /// the way the error goes.
    Error,
    /// A fragment, which is tracked with its datagram. The tuple has its addresses, and the ports that a first one shows.
    Fragment,
    /// Not good enough to be tracked. The tuple holds what could be read of it.
    Invalid(InvalidReason),
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragment {
    /// All of it; an atomic IPv6 fragment (RFC 6946) is that, too.
    #[default]
    Whole,
    /// The fragment that begins it.
    First,
    /// Any other fragment.
    Later,
}

impl Fragment {
    /// From the offset field of an IPv6 fragment header (RFC 8200 section 4.5). A fragment that is first and last is none: an atomic
    /// fragment (RFC 6946).
    pub(crate) const fn of_ipv6(field: u16) -> Self {
        match (field & 0xfff8, field & 1) {
            (0, 0) => Self::Whole,
            (0, _) => Self::First,
            _ => Self::Later,
        }
    }
}

/// The parsed headers of one frame. Offsets count from the start of the frame's first segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers {
    /// The tuple to look up.
    pub tuple: Tuple,
    /// How to treat the packet.
    pub kind: PacketKind,
    /// Where the IP header starts.
    pub l3_offset: u16,
    /// Where the L4 header starts, behind IPv4 options and IPv6 extension headers.
    pub l4_offset: u16,
    /// IP datagram in bytes, header included, as the IP header says (Ethernet padding is not in it).
    pub l3_len: u32,
    /// L4 header and payload in bytes, as the IP header says.
    pub l4_len: u32,
    /// The protocol of the L4 header.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Which part of a datagram it is.
    pub fragment: Fragment,
}

impl Headers {
    /// The family of the packet itself; `None` where it is not IP.
    pub fn family(&self) -> Option<Family> {
        (self.kind != PacketKind::NotIp).then(|| self.tuple.family())
    }
}

/// A parsed packet as trackers see it: headers and the bytes of the first segment.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The parsed headers.
    pub headers: &'a Headers,
    /// The first segment of the frame.
    pub head: &'a [u8],
}

impl<'a> Packet<'a> {
    /// L4 header and payload, as far as they are in the first segment.
    pub fn l4(&self) -> &'a [u8] {
        let start = usize::from(self.headers.l4_offset);
        let end = start.saturating_add(self.headers.l4_len as usize).min(self.head.len());
        self.head.get(start..end).unwrap_or_default()
    }
}
