//! Verifying the checksum of a packet's L4 header and payload, which may lie in several segments.

use super::checksum::{Crc32c, Sum};
use super::{field, sctp, segments, udp};
use crate::frame::{Checksum, Frame};
use crate::headers::Headers;
use crate::tuple::{Family, protocol};

/// Whether the checksum of TCP, UDP, UDP-Lite, SCTP, ICMP or ICMPv6 is good; any other protocol has none.
/// `headers` are the frame's own, of a whole datagram; an L4 header that is cut off is not good.
///
/// What the device has found out about TCP, UDP and SCTP is believed.
#[inline(always)]
pub fn verify_checksum<F: Frame>(frame: &F, headers: &Headers) -> bool {
    match (headers.protocol, frame.l4_checksum()) {
        (protocol::TCP | protocol::UDP | protocol::SCTP, Checksum::Good) => true,
        (protocol::TCP | protocol::SCTP, Checksum::Bad) => false,
        (protocol::TCP, _) => sum(frame, headers, headers.l4_len, headers.l4_len),
        (protocol::UDP, device) => verify_udp(frame, headers, device),
        _ => verify_rarer(frame, headers),
    }
}

#[inline(never)]
fn verify_rarer<F: Frame>(frame: &F, headers: &Headers) -> bool {
    match headers.protocol {
        protocol::UDPLITE => verify_udplite(frame, headers),
        protocol::SCTP => verify_sctp(frame, headers),
        protocol::ICMP => segments::slices(frame, headers.l4_offset, headers.l4_len as usize)
            .fold(Sum::default(), Sum::bytes)
            .is_valid(),
        protocol::ICMPV6 => sum(frame, headers, headers.l4_len, headers.l4_len),
        _ => true,
    }
}

/// A UDP checksum of 0 is none: over IPv6 too, for tunnels (RFC 6935) and for all others because Linux says
/// so. A datagram shorter than its packet is good by its own length (RFC 768) or, as Linux has it and as
/// RFC 9868 section 8 arranges for, by the packet's.
#[inline]
fn verify_udp<F: Frame>(frame: &F, headers: &Headers, device: Checksum) -> bool {
    let Some(header) = l4_header::<F, { udp::HEADER_BYTES }>(frame, headers) else { return false };
    if udp::checksum(header) == 0 {
        return true;
    }
    if device == Checksum::Bad {
        return false;
    }
    let length = udp::length(header) as u32;
    sum(frame, headers, headers.l4_len, headers.l4_len)
        || length < headers.l4_len && sum_segments(frame, headers, length, length)
}

/// The pseudo header has the packet's length, whatever the checksum covers (RFC 3828 section 3.1).
fn verify_udplite<F: Frame>(frame: &F, headers: &Headers) -> bool {
    l4_header::<F, { udp::HEADER_BYTES }>(frame, headers).is_some_and(|header| {
        let covered = udp::coverage(header, headers.l4_len as usize) as u32;
        udp::checksum(header) != 0 && sum(frame, headers, covered, headers.l4_len)
    })
}

/// The CRC is of the packet with zeros in place of the CRC (RFC 9260 section 6.8).
fn verify_sctp<F: Frame>(frame: &F, headers: &Headers) -> bool {
    let Some(header) = l4_header::<F, { sctp::HEADER_BYTES }>(frame, headers) else { return false };
    sctp_crc(frame, headers, header) == header[field::sctp::CHECKSUM]
}

/// The CRC as it belongs into the header, which is the frame's own.
pub(super) fn sctp_crc<F: Frame>(frame: &F, headers: &Headers, header: &[u8; sctp::HEADER_BYTES]) -> [u8; 4] {
    let mut slices = segments::slices(frame, headers.l4_offset, headers.l4_len as usize);
    let first = slices.next().unwrap_or_default().get(sctp::HEADER_BYTES..).unwrap_or_default();
    let crc = Crc32c::default().bytes(&header[..field::sctp::CHECKSUM.start]).bytes(&[0; 4]).bytes(first);
    slices.fold(crc, Crc32c::bytes).to_wire()
}

/// Whether the first `covered` bytes of the L4 packet add up with a pseudo header that says `length`. The
/// addresses are those of the IP header: an IPv6 packet with segments left to route is not yet where its
/// checksum says it goes, and fails, as it does in Linux.
#[inline]
fn sum<F: Frame>(frame: &F, headers: &Headers, covered: u32, length: u32) -> bool {
    let start = usize::from(headers.l4_offset);
    match frame.head().get(start..start + covered as usize) {
        Some(bytes) => pseudo_header(frame, headers, length).bytes(bytes).is_valid(),
        None => sum_segments(frame, headers, covered, length),
    }
}

/// The same for a packet in any number of segments.
#[inline(never)]
fn sum_segments<F: Frame>(frame: &F, headers: &Headers, covered: u32, length: u32) -> bool {
    let sum = pseudo_header(frame, headers, length);
    frame.fold(headers.l4_offset.into(), covered as usize, sum, Sum::bytes).is_valid()
}

/// The sum over the pseudo header. An ICMP error's tuple is not the packet's own: the addresses are read
/// from the packet.
#[inline]
pub(super) fn pseudo_header<F: Frame>(frame: &F, headers: &Headers, length: u32) -> Sum {
    let header = frame.head().get(usize::from(headers.l3_offset)..).unwrap_or_default();
    let sum = |addresses| Sum::default().pseudo_header(addresses, headers.protocol, length);
    // One copy for each family, with its length known.
    match headers.tuple.family() {
        Family::V4 => sum(header.get(field::ipv4::ADDRESSES).unwrap_or_default()),
        Family::V6 => sum(header.get(field::ipv6::ADDRESSES).unwrap_or_default()),
    }
}

/// The first bytes of the L4 packet, if there are so many in the first segment.
pub(super) fn l4_header<'a, F: Frame, const N: usize>(
    frame: &'a F,
    headers: &Headers,
) -> Option<&'a [u8; N]> {
    let l4 = frame.head().get(usize::from(headers.l4_offset)..)?;
    l4.first_chunk().filter(|_| N as u32 <= headers.l4_len)
}
