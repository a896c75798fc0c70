//! Echo replies (RFC 792, RFC 4443 section 4.2): the request's data, sent back.

use super::envelope::Envelope;
use crate::frame::Frame;
use crate::headers::{Fragment, Headers};
use crate::icmp_type;
use crate::tuple::{Family, protocol};
use crate::wire::segments;

const REQUEST: u8 = 8;
const REQUEST_V6: u8 = 128;

/// Writes the reply to an echo request; `None` for any other packet. The reply has the request's type of service,
/// identification and permission to be cut: whoever can send so much must be able to receive it.
pub(super) fn write<F: Frame>(
    frame: &F,
    headers: &Headers,
    mut envelope: Envelope<'_>,
    out: &mut [u8],
) -> Option<usize> {
    let request = match (envelope.family, headers.protocol) {
        (Family::V4, protocol::ICMP) => REQUEST,
        (Family::V6, protocol::ICMPV6) => REQUEST_V6,
        _ => return None,
    };
    let l3 = frame.head().get(usize::from(headers.l3_offset)..)?;
    let l4 = frame.head().get(usize::from(headers.l4_offset)..)?;
    if l4.first() != Some(&request) || headers.fragment != Fragment::Whole {
        return None;
    }
    match envelope.family {
        Family::V4 => {
            envelope.traffic_class = *l3.get(1)?;
            envelope.identification = *l3.get(4..)?.first_chunk()?;
        }
        Family::V6 => {
            let [a, b] = *l3.first_chunk()?;
            envelope.traffic_class = a << 4 | b >> 4;
        }
    }
    envelope.write(headers.protocol, 2, out, |out| {
        let length = segments::copy(frame, headers.l4_offset, headers.l4_len as usize, out)?;
        out.get_mut(..4)?.copy_from_slice(&[icmp_type::invert_type(envelope.family, request), 0, 0, 0]);
        Some(length)
    })
}
