//! Packets and the MTU of their way out (RFC 791 section 3.2, RFC 1812 section 5.2.6).
//!
//! A datagram that came in fragments leaves as it came if its largest fragment fits.

use super::{Egress, RouteResult};
use crate::frame::Frame;
use crate::headers::Headers;
use crate::tuple::Family;
use crate::verdict::{Action, DropReason, Rejection};
use crate::wire::ipv4;

/// The route of a packet out of a port with this MTU: open where it fits, or may be cut.
#[inline(always)]
pub(super) fn leave<F: Frame>(frame: &F, headers: &Headers, egress: Egress, mtu: u16) -> RouteResult {
    if !is_exceeded(frame, headers, mtu) || may_be_fragmented(frame, headers) {
        RouteResult::Open(egress)
    } else {
        RouteResult::Closed(Action::Reject(DropReason::TooBig, Rejection::TooBig(mtu)))
    }
}

/// Whether a packet is larger than this MTU in bytes.
#[inline(always)]
pub(super) fn is_exceeded<F: Frame>(frame: &F, headers: &Headers, mtu: u16) -> bool {
    frame.reassembled().map_or(headers.l3_len, |datagram| datagram.largest_bytes) > u32::from(mtu)
}

/// Whether a packet may be cut into fragments on its way.
#[cold]
#[inline(never)]
fn may_be_fragmented<F: Frame>(frame: &F, headers: &Headers) -> bool {
    match frame.reassembled() {
        Some(datagram) => datagram.may_be_fragmented,
        None => headers.family() == Some(Family::V4) && ipv4::may_be_fragmented(frame.head(), headers),
    }
}
