//! ICMP errors (RFC 792, RFC 1191, RFC 1812 section 4.3) and ICMPv6 errors (RFC 4443 section 3).

use super::envelope::Envelope;
use crate::frame::Frame;
use crate::headers::Headers;
use crate::tuple::{Family, protocol};
use crate::verdict::Rejection;
use crate::wire::{field, icmp, ipv4, ipv6, segments};

/// Most bytes of an error's datagram: what everybody must be able to receive (RFC 1812 section 4.3.2.3, RFC 4443
/// section 2.4c).
const MAX_BYTES: usize = 576;
const MAX_BYTES_V6: usize = 1280;

/// Internetwork control (RFC 1812 section 4.3.2.5).
const PRECEDENCE: u8 = 0xc0;

/// Type, code and the 32 bits behind the checksum of an error about a datagram.
fn message(family: Family, rejection: Rejection, datagram: &[u8]) -> Option<(u8, u8, u32)> {
    Some(match (rejection, family) {
        (Rejection::TcpReset | Rejection::SynCookie, _) => return None,
        (Rejection::Prohibited, Family::V4) => (3, 13, 0),
        (Rejection::Prohibited, Family::V6) => (1, 1, 0),
        (Rejection::PortUnreachable, Family::V4) => (3, 3, 0),
        (Rejection::PortUnreachable, Family::V6) => (1, 4, 0),
        (Rejection::ProtocolUnreachable, Family::V4) => (3, 2, 0),
        (Rejection::ProtocolUnreachable, Family::V6) => (4, 1, ipv6::protocol_offset(datagram)? as u32),
        (Rejection::NoRoute, Family::V4) => (3, 0, 0),
        (Rejection::NoRoute, Family::V6) => (1, 0, 0),
        (Rejection::HostUnreachable, Family::V4) => (3, 1, 0),
        (Rejection::HostUnreachable, Family::V6) => (1, 3, 0),
        (Rejection::TimeExceeded, Family::V4) => (11, 0, 0),
        (Rejection::TimeExceeded, Family::V6) => (3, 0, 0),
        (Rejection::ReassemblyTimeExceeded, Family::V4) => (11, 1, 0),
        (Rejection::ReassemblyTimeExceeded, Family::V6) => (3, 1, 0),
        (Rejection::TooBig(mtu), Family::V4) => (3, 4, mtu as u32),
        (Rejection::TooBig(mtu), Family::V6) => (2, 0, mtu as u32),
    })
}

/// Writes the error about a packet, which quotes as much of the packet as has room.
pub(super) fn write<F: Frame>(
    frame: &F,
    headers: &Headers,
    mut envelope: Envelope<'_>,
    rejection: Rejection,
    out: &mut [u8],
) -> Option<usize> {
    let datagram = frame.head().get(usize::from(headers.l3_offset)..)?;
    let (kind, code, rest) = message(envelope.family, rejection, datagram)?;
    let (protocol, most) = match envelope.family {
        Family::V4 => {
            envelope.traffic_class = PRECEDENCE;
            (protocol::ICMP, MAX_BYTES - ipv4::HEADER_BYTES - icmp::HEADER_BYTES)
        }
        Family::V6 => (protocol::ICMPV6, MAX_BYTES_V6 - ipv6::HEADER_BYTES - icmp::HEADER_BYTES),
    };
    envelope.write(protocol, field::icmp::CHECKSUM, out, |out| {
        let (header, quote) = out.split_first_chunk_mut::<{ icmp::HEADER_BYTES }>()?;
        *header = [0; icmp::HEADER_BYTES];
        header[field::icmp::TYPE_AND_CODE].copy_from_slice(&[kind, code]);
        header[field::icmp::REST].copy_from_slice(&rest.to_be_bytes());
        let quoted = most.min(headers.l3_len as usize);
        Some(header.len() + segments::copy(frame, headers.l3_offset, quoted, quote)?)
    })
}
