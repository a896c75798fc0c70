//! One fragment, as its headers describe it (RFC 791 section 3.2, RFC 8200 section 4.5).

use crate::family::Family;
use crate::frame::{Frame, Handed};
use crate::headers::Headers;
use crate::ids::{ShardId, Zone};
use crate::wire::{self, ethernet, ipv4, ipv6};

/// Bytes that a datagram's length field can count: all of an IPv4 datagram, what follows the fixed header of an IPv6 one.
const MAX_BYTES: usize = u16::MAX as usize;

/// Bytes that the places of fragments are counted in.
pub(super) const UNIT: usize = 8;

/// What the fragments of one datagram have in common. Where networks are kept apart, by zone or VLAN, so are their datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(super) source: u128,
    destination: u128,
    identification: u32,
    /// IPv4 numbers the datagrams of each protocol by themselves; IPv6 does not, and has zero here.
    protocol: u8,
    pub(super) family: Family,
    zone: Zone,
    vlans: u64,
    /// The shard at which its datagram became whole, if this is another.
    whole_at: Option<ShardId>,
}

impl Key {
    /// That of no datagram.
    pub(super) const fn none() -> Self {
        Self {
            source: 0,
            destination: 0,
            identification: 0,
            protocol: 0,
            family: Family::V4,
            zone: 0,
            vlans: 0,
            whole_at: None,
        }
    }
}

/// A fragment and its place in its datagram. Bytes count from the start of what is cut into fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) key: Key,
    /// The first byte.
    pub(super) start: u32,
    /// The one behind the last.
    pub(super) end: u32,
    /// Whether no others come behind it.
    pub(super) is_last: bool,
    /// Where its bytes are in the frame's first segment.
    pub(super) offset: u16,
    /// Bytes of the datagram's headers in front of them, as far as its length field counts those.
    pub(super) header_bytes: u32,
    /// IP header and fragment in bytes.
    pub(super) packet_bytes: u32,
    /// Whether it must not be cut: IPv6, and IPv4 that says so.
    pub(super) is_fixed: bool,
    /// The bits of the IP header for ECN.
    pub(super) ecn: u8,
}

impl Piece {
    /// Reads a fragment: `headers` are the frame's own, which say that it is one; `zone` is that of its port. `None` where it is
    /// none.
    pub(crate) fn read<F: Frame>(frame: &F, headers: &Headers, zone: Zone) -> Option<Self> {
        let (head, handed) = (frame.head(), frame.handed());
        let (link, l3) = head.split_at_checked(usize::from(headers.l3_offset))?;
        let family = headers.tuple.family();
        let word = |at: usize| l3.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
        let (field, identification, protocol, behind, header_bytes, traffic_class) = match family {
            Family::V4 => {
                let header = usize::from(headers.l4_offset - headers.l3_offset);
                let field = word(6)?;
                // Offset and flag as IPv6 has them.
                let field = field << 3 | field >> 13 & 1;
                (field, u32::from(word(4)?), headers.protocol, header, header, *l3.get(1)?)
            }
            Family::V6 => {
                let place = ipv6::fragment_header_place(l3)?;
                let identification = u32::from(word(place + 4)?) << 16 | u32::from(word(place + 6)?);
                let behind = place + ipv6::FRAGMENT_HEADER_BYTES;
                let class = (word(0)? >> 4) as u8;
                (word(place + 2)?, identification, 0, behind, place - ipv6::HEADER_BYTES, class)
            }
        };
        let start = u32::from(field & !7);
        let packet_bytes = headers.l3_len;
        let (source, destination) = wire::addresses(head, headers);
        Some(Self {
            key: Key {
                source,
                destination,
                identification,
                protocol,
                family,
                zone: handed.and_then(Handed::zone).unwrap_or(zone),
                vlans: ethernet::vlan_ids(link),
                whole_at: handed.filter(|handed| handed.is_datagram()).map(|handed| handed.from),
            },
            start,
            end: start + packet_bytes.checked_sub(behind as u32)?,
            is_last: field & 1 == 0,
            offset: headers.l3_offset + behind as u16,
            header_bytes: header_bytes as u32,
            packet_bytes,
            is_fixed: family == Family::V6 || !ipv4::may_be_fragmented(head, headers),
            ecn: traffic_class & 3,
        })
    }

    /// Whether others come behind it and yet it ends between two places at which they can begin.
    pub(crate) const fn is_odd(&self) -> bool {
        !self.is_last && !self.end.is_multiple_of(UNIT as u32)
    }

    /// Cuts what is beyond the last such place off an odd fragment of IPv4, as Linux does.
    pub(super) fn trim<F: Frame>(&mut self, frame: &mut F) {
        let excess = self.end % UNIT as u32;
        (self.end, self.packet_bytes) = (self.end - excess, self.packet_bytes - excess);
        let l3 = usize::from(self.offset) - self.header_bytes as usize;
        let header = frame.head_mut().get_mut(l3..usize::from(self.offset)).unwrap_or_default();
        if let Some(length) = header.get_mut(2..).and_then(<[u8]>::first_chunk_mut) {
            *length = (self.packet_bytes as u16).to_be_bytes();
        }
        ipv4::write_checksum(header);
    }

    /// Whether its datagram would be longer than its headers can say, or it says nothing at all.
    pub(super) const fn is_impossible(&self) -> bool {
        self.start == self.end || exceeds(self.header_bytes, self.end)
    }
}

/// Whether a datagram of so many bytes is too long behind headers of so many.
pub(super) const fn exceeds(header_bytes: u32, bytes: u32) -> bool {
    header_bytes as usize + bytes as usize > MAX_BYTES
}
