//! Cutting IPv4 packets that are larger than the MTU of their way out into fragments (RFC 791 section 3.2).
//!
//! A datagram that came in fragments is cut anew as a whole, as in Linux: to what this link takes, wherever it was cut before.

use super::piece::UNIT;
use crate::frame::Frame;
use crate::wire::{self, ipv4, segments};

/// Bytes of the longest fragment as a frame: the largest MTU, behind any tags.
pub(crate) const MAX_FRAME_BYTES: usize = u16::MAX as usize + 64;

/// What the type of service says of a packet that has seen congestion (RFC 3168 section 5).
const CONGESTION_EXPERIENCED: u8 = 3;

/// Cuts a packet into fragments of at most `mtu_bytes`, which are written into `scratch` and handed to `take` one by one, in
/// order. False where `take` refuses one, which ends it, and where not even eight bytes of the packet would fit.
pub(crate) fn cut<F: Frame>(
    frame: &F,
    mtu_bytes: u16,
    scratch: &mut [u8],
    mut take: impl FnMut(&[u8]) -> bool,
) -> bool {
    let Ok(headers) = wire::parse(frame) else { return false };
    let (l3, l4) = (usize::from(headers.l3_offset), usize::from(headers.l4_offset));
    let (Some(begin), Some(out)) = (frame.head().get(..l4), scratch.get_mut(..l4)) else { return false };
    out.copy_from_slice(begin);
    // What is no datagram's fragment any more begins at its first byte, and ends it.
    let (mut units, more_follow) = match frame.reassembled() {
        Some(datagram) => {
            if datagram.has_seen_congestion {
                out[l3 + 1] |= CONGESTION_EXPERIENCED;
            }
            (0, false)
        }
        None => out[l3..].first_chunk().map_or((0, false), ipv4::fragment_field),
    };
    let room = usize::from(mtu_bytes).saturating_sub(l4 - l3);
    let mut left = headers.l4_len as usize;
    let mut payload = segments::Reader::new(frame, headers.l4_offset, left);
    while left > 0 {
        let bytes = if left <= room { left } else { room / UNIT * UNIT };
        let Some(fragment) = scratch.get_mut(..l4 + bytes).filter(|_| bytes > 0) else { return false };
        left -= bytes;
        payload.read(&mut fragment[l4..]);
        ipv4::write_fragment(&mut fragment[l3..], l4 - l3, units, more_follow || left > 0);
        if !take(fragment) {
            return false;
        }
        ipv4::blank_options(&mut fragment[l3..l4]);
        units += (bytes / UNIT) as u16;
    }
    true
}
