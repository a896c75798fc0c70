//! What the later fragments of a datagram take over from the first one, which was translated and routed for all of them.

use crate::family::Family;
use crate::frame::Frame;
use crate::verdict::FragmentOffsets;
use crate::wire::bytes::{u16_at, u32_at};
use crate::wire::{checksum, field, ipv4, ipv6};

/// The IP header of a first fragment, as it leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leader {
    family: Family,
    header: [u8; ipv6::HEADER_BYTES],
    /// What IPv6's fragment header says that is cut into fragments.
    next_header: u8,
}

impl Leader {
    /// That of a fragment, which is where these offsets say. `None` where it is none.
    pub(crate) fn of<F: Frame>(first: &F, offsets: FragmentOffsets) -> Option<Self> {
        let l3 = first.head().get(offsets.header())?;
        let family = if l3.first()? >> 4 == 4 { Family::V4 } else { Family::V6 };
        let next_header = match family {
            Family::V4 => 0,
            Family::V6 => l3.last_chunk::<{ ipv6::FRAGMENT_HEADER_BYTES }>()?[field::extension::NEXT_HEADER],
        };
        let mut header = [0; ipv6::HEADER_BYTES];
        match l3.first_chunk() {
            Some(fixed) => header = *fixed,
            None => header[..l3.len()].copy_from_slice(l3),
        }
        Some(Self { family, header, next_header })
    }

    /// Gives a later fragment, which is where these offsets say, the same addresses and, of IPv4, identification, of IPv6, next
    /// header: of several that the fragments name, only the first one's counts (RFC 8200 section 4.5). Where the packets are
    /// routed, the same TTL or hop limit, too, as in Linux.
    pub(crate) fn lead<F: Frame>(&self, later: &mut F, offsets: FragmentOffsets, is_routed: bool) {
        let Some(header) = later.head_mut().get_mut(offsets.header()) else { return };
        match self.family {
            Family::V4 => {
                let Some(fixed) = header.first_chunk_mut::<{ ipv4::HEADER_BYTES }>() else { return };
                let Some(own): Option<&[u8; ipv4::HEADER_BYTES]> = self.header.first_chunk() else { return };
                let is_same = |field: field::Field| fixed[field.clone()] == own[field];
                if !is_routed && is_same(field::ipv4::IDENTIFICATION) && is_same(field::ipv4::ADDRESSES) {
                    return;
                }
                let mut change = checksum::change(
                    u16_at(fixed, field::ipv4::IDENTIFICATION).into(),
                    u16_at(own, field::ipv4::IDENTIFICATION).into(),
                );
                for field in [field::ipv4::SOURCE, field::ipv4::DESTINATION] {
                    change += checksum::change(u32_at(fixed, field.clone()), u32_at(own, field));
                }
                if is_routed {
                    let ttl = |header: &[u8; ipv4::HEADER_BYTES]| u32::from(header[field::ipv4::TTL]) << 8;
                    change += checksum::change(ttl(fixed), ttl(own));
                    fixed[field::ipv4::TTL] = own[field::ipv4::TTL];
                }
                for field in [field::ipv4::IDENTIFICATION, field::ipv4::ADDRESSES] {
                    fixed[field.clone()].copy_from_slice(&own[field]);
                }
                checksum::add_in(fixed, field::ipv4::CHECKSUM, change);
            }
            Family::V6 => {
                if let Some(fragment_header) = header.last_chunk_mut::<{ ipv6::FRAGMENT_HEADER_BYTES }>() {
                    fragment_header[field::extension::NEXT_HEADER] = self.next_header;
                }
                let Some(fixed) = header.first_chunk_mut::<{ ipv6::HEADER_BYTES }>() else { return };
                fixed[field::ipv6::ADDRESSES].copy_from_slice(&self.header[field::ipv6::ADDRESSES]);
                if is_routed {
                    fixed[field::ipv6::HOP_LIMIT] = self.header[field::ipv6::HOP_LIMIT];
                }
            }
        }
    }
}
