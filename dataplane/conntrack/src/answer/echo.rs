//! Echo replies (RFC 792, RFC 4443 section 4.2): the request's data, sent back.

use super::envelope::{Envelope, NUMBER_AND_FLAGS, TTL};
use crate::frame::Frame;
use crate::headers::{Fragment, Headers};
use crate::icmp_type;
use crate::tuple::{Family, protocol};
use crate::wire::{bytes, checksum, ethernet, field, ipv4, ipv6, segments};

const REQUEST: u8 = 8;
const REQUEST_V6: u8 = 128;

/// Bytes of the headers of an IPv6 fragment without other extension headers.
const WITH_FRAGMENT_HEADER: usize = ipv6::HEADER_BYTES + ipv6::FRAGMENT_HEADER_BYTES;

/// Writes the reply to an echo request; `None` for any other packet. The reply has the request's type of service,
/// identification and permission to be cut: whoever can send so much must be able to receive it.
pub(super) fn write<F: Frame>(
    frame: &F,
    headers: &Headers,
    mut envelope: Envelope<'_>,
    out: &mut [u8],
) -> Option<usize> {
    let request = request(frame.head(), headers)?;
    let l3 = frame.head().get(usize::from(headers.l3_offset)..)?;
    match envelope.family {
        Family::V4 => {
            envelope.traffic_class = *l3.get(field::ipv4::TYPE_OF_SERVICE)?;
            envelope.identification = bytes::get(l3, NUMBER_AND_FLAGS)?;
        }
        Family::V6 => {
            let [a, b] = *l3.first_chunk()?;
            envelope.traffic_class = a << 4 | b >> 4;
        }
    }
    envelope.write(headers.protocol, field::icmp::CHECKSUM, out, |out| {
        let length = segments::copy(frame, headers.l4_offset, headers.l4_len as usize, out)?;
        out.get_mut(..4)?.copy_from_slice(&[icmp_type::invert_type(envelope.family, request), 0, 0, 0]);
        Some(length)
    })
}

/// The type of an echo request; `None` of any other packet.
pub(super) fn request(head: &[u8], headers: &Headers) -> Option<u8> {
    let request = match (headers.family()?, headers.protocol) {
        (Family::V4, protocol::ICMP) => REQUEST,
        (Family::V6, protocol::ICMPV6) => REQUEST_V6,
        _ => return None,
    };
    let is_one =
        headers.fragment == Fragment::Whole && head.get(usize::from(headers.l4_offset)) == Some(&request);
    is_one.then_some(request)
}

/// Turns an echo request that came in fragments into its reply where it is held, without a copy of its data. What is written is
/// in the first fragment. `None`, and nothing is changed, for any other datagram, and for one with IPv4 options or IPv6 extension
/// headers, which a reply has not.
pub(super) fn turn(head: &mut [u8], headers: &Headers) -> Option<()> {
    let request = request(head, headers)?;
    let family = headers.family()?;
    let (begin, icmp) = head.split_at_mut_checked(usize::from(headers.l4_offset))?;
    let (link, header) = begin.split_at_mut_checked(usize::from(headers.l3_offset))?;
    let [kind, code, high, low] = icmp.first_chunk_mut()?;
    match (family, header.len()) {
        (Family::V4, ipv4::HEADER_BYTES) => {
            let (source, destination) = header[field::ipv4::ADDRESSES].split_at_mut(4);
            source.swap_with_slice(destination);
            header[field::ipv4::TTL] = TTL;
            ipv4::write_checksum(header);
        }
        (Family::V6, WITH_FRAGMENT_HEADER) => {
            let (source, destination) = header[field::ipv6::ADDRESSES].split_at_mut(16);
            source.swap_with_slice(destination);
            header[field::ipv6::HOP_LIMIT] = TTL;
        }
        _ => return None,
    }
    ethernet::invert(link);
    let reply = icmp_type::invert_type(family, request);
    let sum = u16::from_be_bytes([*high, *low]);
    let (old, new) = (u16::from_be_bytes([*kind, *code]), u16::from_be_bytes([reply, 0]));
    [*kind, *code] = [reply, 0];
    [*high, *low] = checksum::update(sum, old, new).to_be_bytes();
    Some(())
}
