//! What the later fragments of a datagram take over from the first one, which was translated and routed for all of them.

use crate::family::Family;
use crate::frame::Frame;
use crate::wire::{self, ipv4, ipv6};

/// The IP header of a first fragment, as it leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leader {
    header: [u8; ipv6::HEADER_BYTES],
}

impl Leader {
    /// That of a fragment. `None` where it is none.
    pub(crate) fn of<F: Frame>(first: &F) -> Option<Self> {
        let headers = wire::parse(first).ok()?;
        let l3 = first.head().get(usize::from(headers.l3_offset)..)?;
        let mut header = [0; ipv6::HEADER_BYTES];
        let there = l3.len().min(header.len());
        header[..there].copy_from_slice(&l3[..there]);
        Some(Self { header })
    }

    /// Gives a later fragment the same addresses and, of IPv4, identification; where the packets are routed, the same TTL or hop
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
            }
        }
    }
}
