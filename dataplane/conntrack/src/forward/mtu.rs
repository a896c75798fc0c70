//! Packets and the MTU of their way out (RFC 791 section 3.2, RFC 1812 section 5.2.6).
//!
//! A datagram that came in fragments leaves as it came if its largest fragment fits.

use crate::frame::Frame;
use crate::headers::Headers;
use crate::tuple::Family;
use crate::wire::ipv4;

/// Whether a packet is larger than this MTU in bytes.
#[inline(always)]
pub(super) fn is_exceeded<F: Frame>(frame: &F, headers: &Headers, mtu: u16) -> bool {
    frame.reassembled().map_or(headers.l3_len, |datagram| datagram.largest_bytes) > u32::from(mtu)
}

/// Whether a packet may be cut into fragments on its way.
#[cold]
#[inline(never)]
pub(super) fn may_be_fragmented<F: Frame>(frame: &F, headers: &Headers) -> bool {
    match frame.reassembled() {
        Some(datagram) => datagram.may_be_fragmented,
        None => headers.family() == Some(Family::V4) && ipv4::may_be_fragmented(frame.head(), headers),
    }
}
