//! What the later fragments of a datagram take over from the first one, which was translated and routed for all of them.

use crate::family::Family;
use crate::frame::Frame;
use crate::wire::{self, ipv4, ipv6};

/// The IP header of a first fragment, as it leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leader {
    header: [u8; ipv6::HEADER_BYTES],
    /// What IPv6's fragment header says that is cut into fragments.
    next_header: Option<u8>,
}

impl Leader {
    /// That of a fragment. `None` where it is none.
    pub(crate) fn of<F: Frame>(first: &F) -> Option<Self> {
        let headers = wire::parse(first).ok()?;
        let l3 = first.head().get(usize::from(headers.l3_offset)..)?;
        let mut header = [0; ipv6::HEADER_BYTES];
        let there = l3.len().min(header.len());
        header[..there].copy_from_slice(&l3[..there]);
        let is_v6 = headers.tuple.family() == Family::V6;
        let place = is_v6.then(|| ipv6::fragment_header_place(l3)).flatten();
        Some(Self { header, next_header: place.and_then(|place| l3.get(place)).copied() })
    }

    /// Gives a later fragment the same addresses and, of IPv4, identification, of IPv6, next header: of several that the fragments
    /// name, only the first one's counts (RFC 8200 section 4.5). Where the packets are routed, the same TTL or hop
    /// limit, too, as in Linux.
    pub(crate) fn lead<F: Frame>(&self, later: &mut F, is_routed: bool) {
        let Ok(headers) = wire::parse(later) else { return };
        let (start, end) = (usize::from(headers.l3_offset), usize::from(headers.l4_offset));
        let Some(header) = later.head_mut().get_mut(start..end) else { return };
        let mut take = |from: usize, to: usize| {
            if let (Some(field), Some(value)) = (header.get_mut(from..to), self.header.get(from..to)) {
                field.copy_from_slice(value);
            }
        };
        match headers.tuple.family() {
            Family::V4 => {
                take(4, 6);
                take(12, 20);
                if is_routed {
                    take(8, 9);
                }
                ipv4::write_checksum(header);
            }
            Family::V6 => {
                take(8, 40);
                if is_routed {
                    take(7, 8);
                }
                if let (Some(next), Some(place)) = (self.next_header, ipv6::fragment_header_place(header)) {
                    header[place] = next;
                }
            }
        }
    }
}
