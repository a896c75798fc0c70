//! One fragment, as its headers describe it (RFC 791 section 3.2, RFC 8200 section 4.5).

use super::sources::SourceKey;
use crate::family::Family;
use crate::frame::{Frame, Handed};
use crate::headers::Headers;
use crate::ids::{ShardId, Zone};
use crate::verdict::FragmentOffsets;
use crate::wire::bytes::{put, u16_at, u32_at, u128_at};
use crate::wire::{ethernet, field, ipv4, ipv6};
use std::hash::{Hash, Hasher};

/// Bytes that a datagram's length field can count: all of an IPv4 datagram, what follows the fixed header of an IPv6 one.
const MAX_BYTES: usize = u16::MAX as usize;

/// Bytes that the positions of fragments are counted in.
pub(super) const UNIT: usize = 8;

/// The bits of a traffic class that are for ECN (RFC 3168).
const ECN: u8 = 3;

/// What the fragments of one datagram have in common. Where networks are kept apart, by zone or VLAN, so are their datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Source and destination as numbers, the upper halves first. No arrays: what was read into registers is compared there.
    addresses: (u64, u64, u64, u64),
    /// Identification, zone and protocol. IPv4 numbers the datagrams of each protocol by themselves; IPv6 does not, and has zero here.
    label: u64,
    vlans: u64,
    pub(super) family: Family,
    /// The shard at which its datagram became whole, if this is another.
    whole_at: Option<ShardId>,
}

impl Key {
    /// That of no datagram.
    pub(super) const fn none() -> Self {
        Self { addresses: (0, 0, 0, 0), label: 0, vlans: 0, family: Family::V4, whole_at: None }
    }

    /// Whose datagram it is.
    pub(super) const fn source(&self) -> SourceKey {
        let (upper, lower, ..) = self.addresses;
        SourceKey::of(self.family, [upper, lower])
    }
}

const fn halves(source: u128, destination: u128) -> (u64, u64, u64, u64) {
    ((source >> 64) as u64, source as u64, (destination >> 64) as u64, destination as u64)
}

fn label(identification: u32, zone: Zone, protocol: u8) -> u64 {
    u64::from(identification) << 32 | u64::from(zone) << 16 | u64::from(protocol)
}

/// What is told apart by its source and destination, identification, protocol, zone and VLANs has hashes of its own, whatever
/// outsiders choose. Shards are few.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { addresses: (a, b, c, d), label, vlans, family, whole_at: _ } = *self;
        match family {
            Family::V4 => state.write_u64(b << 32 | d),
            Family::V6 => [a, b, c, d].into_iter().for_each(|half| state.write_u64(half)),
        }
        state.write_u64(label);
        state.write_u64(vlans);
    }
}

/// A fragment and its position in its datagram. Bytes count from the start of what is cut into fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) key: Key,
    /// The first byte.
    pub(super) start: u32,
    /// The one behind the last.
    pub(super) end: u32,
    /// Whether no others come behind it.
    pub(super) is_last: bool,
    /// Where it is in its frame.
    pub(super) offsets: FragmentOffsets,
    /// Bytes of the datagram's headers in front of its own, as far as its length field counts those.
    pub(super) header_bytes: u16,
    /// IP header and fragment in bytes.
    pub(super) packet_bytes: u32,
    /// Whether it must not be cut: IPv6, and IPv4 that says so.
    pub(super) is_fixed: bool,
    /// The bits of the IP header for ECN.
    pub(super) ecn: u8,
}

/// Where a fragment is that has these headers. `None` where no datagram can be made of it.
pub(super) fn find<F: Frame>(frame: &F, headers: &Headers) -> Option<FragmentOffsets> {
    let l3 = headers.l3_offset;
    match headers.tuple.family() {
        Family::V4 => Some(FragmentOffsets { l3, payload: headers.l4_offset }),
        Family::V6 => {
            let header = ipv6::fragment_header_offset(frame.head().get(usize::from(l3)..)?)?;
            let payload = l3 + (header + ipv6::FRAGMENT_HEADER_BYTES) as u16;
            let offsets = FragmentOffsets { l3, payload };
            Piece::read(frame, offsets, 0).filter(|piece| !piece.is_odd()).map(|_| offsets)
        }
    }
}

impl Piece {
    /// Reads a fragment whose headers were parsed and are where these offsets say; `zone` is that of its port. `None` where it
    /// is none.
    #[inline(always)]
    pub(crate) fn read<F: Frame>(frame: &F, offsets: FragmentOffsets, zone: Zone) -> Option<Self> {
        let (head, handed) = (frame.head(), frame.handed());
        let (link, _) = head.split_at_checked(usize::from(offsets.l3))?;
        let header = head.get(offsets.header())?;
        let header_bytes = header.len() as u16;
        let zone = handed.and_then(Handed::zone).unwrap_or(zone);
        let key = Key {
            vlans: ethernet::vlan_ids(link),
            whole_at: handed.filter(|handed| handed.is_datagram()).map(|handed| handed.from),
            ..Key::none()
        };
        if header.first()? >> 4 == 4 {
            let fixed: &[u8; ipv4::HEADER_BYTES] = header.first_chunk()?;
            let (units, more_follow) = ipv4::fragment_field(fixed);
            let packet_bytes = u32::from(u16_at(fixed, field::ipv4::TOTAL_LENGTH));
            let start = u32::from(units) * UNIT as u32;
            Some(Self {
                key: Key {
                    addresses: halves(
                        u32_at(fixed, field::ipv4::SOURCE).into(),
                        u32_at(fixed, field::ipv4::DESTINATION).into(),
                    ),
                    label: label(
                        u16_at(fixed, field::ipv4::IDENTIFICATION).into(),
                        zone,
                        fixed[field::ipv4::PROTOCOL],
                    ),
                    ..key
                },
                start,
                end: start + packet_bytes.checked_sub(header_bytes.into())?,
                is_last: !more_follow,
                offsets,
                header_bytes,
                packet_bytes,
                is_fixed: ipv4::forbids_fragments(fixed),
                ecn: fixed[field::ipv4::TYPE_OF_SERVICE] & ECN,
            })
        } else {
            const OF_ALL: u16 = (ipv6::HEADER_BYTES + ipv6::FRAGMENT_HEADER_BYTES) as u16;
            let fixed: &[u8; ipv6::HEADER_BYTES] = header.first_chunk()?;
            let fragment_header: &[u8; ipv6::FRAGMENT_HEADER_BYTES] = header.last_chunk()?;
            let field = u16_at(fragment_header, field::extension::FRAGMENT_OFFSET);
            let packet_bytes =
                ipv6::HEADER_BYTES as u32 + u32::from(u16_at(fixed, field::ipv6::PAYLOAD_LENGTH));
            let start = u32::from(field & !7);
            Some(Self {
                key: Key {
                    addresses: halves(
                        u128_at(fixed, field::ipv6::SOURCE),
                        u128_at(fixed, field::ipv6::DESTINATION),
                    ),
                    label: label(u32_at(fragment_header, field::extension::FRAGMENT_IDENTIFICATION), zone, 0),
                    family: Family::V6,
                    ..key
                },
                start,
                end: start + packet_bytes.checked_sub(header_bytes.into())?,
                is_last: field & 1 == 0,
                offsets,
                header_bytes: header_bytes.checked_sub(OF_ALL)?,
                packet_bytes,
                is_fixed: true,
                ecn: (u32_at(fixed, field::ipv6::FIRST_WORD) >> 20) as u8 & ECN,
            })
        }
    }

    /// Whether others come behind it and yet it ends between two positions at which they can begin.
    pub(crate) const fn is_odd(&self) -> bool {
        !self.is_last && !self.end.is_multiple_of(UNIT as u32)
    }

    /// Cuts what is beyond the last such position off an odd fragment of IPv4, as Linux does.
    #[inline(always)]
    pub(super) fn trim<F: Frame>(&mut self, frame: &mut F) {
        if self.is_odd() {
            let excess = self.end % UNIT as u32;
            self.end -= excess;
            self.packet_bytes -= excess;
            shorten(frame, self.offsets, self.packet_bytes);
        }
    }

    /// Whether its datagram would be longer than its headers can say, or it says nothing at all.
    pub(super) const fn is_impossible(&self) -> bool {
        self.start == self.end || exceeds(self.header_bytes, self.end)
    }
}

/// Has the IPv4 header of a fragment say that it is so long.
#[cold]
#[inline(never)]
fn shorten<F: Frame>(frame: &mut F, offsets: FragmentOffsets, packet_bytes: u32) {
    let header = frame.head_mut().get_mut(offsets.header()).unwrap_or_default();
    put(header, field::ipv4::TOTAL_LENGTH, (packet_bytes as u16).to_be_bytes());
    ipv4::write_checksum(header);
}

/// Whether a datagram of so many bytes is too long behind headers of so many.
pub(super) const fn exceeds(header_bytes: u16, bytes: u32) -> bool {
    header_bytes as usize + bytes as usize > MAX_BYTES
}
