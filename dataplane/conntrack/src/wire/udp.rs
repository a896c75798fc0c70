//! UDP (RFC 768) and UDP-Lite (RFC 3828).

use super::PortPair;
use super::bytes::{get, put, u16_at};
use super::{checksum, field};
use crate::verdict::InvalidReason;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 8;

/// The ports of a good UDP header. A datagram shorter than its packet is fine: what follows are options (RFC 9868).
#[inline(always)]
pub(super) fn ports(l4: &[u8], l4_len: usize) -> Result<PortPair, InvalidReason> {
    let header: &[u8; HEADER_BYTES] = l4.first_chunk().ok_or(InvalidReason::ShortHeader)?;
    match length(header) {
        length if length < HEADER_BYTES || length > l4_len => Err(InvalidReason::BadLength),
        _ => Ok((u16_at(header, field::ports::SOURCE), u16_at(header, field::ports::DESTINATION))),
    }
}

/// The ports of a good UDP-Lite header, which cannot do without a checksum.
pub(super) fn ports_lite(l4: &[u8], l4_len: usize) -> Result<PortPair, InvalidReason> {
    let header: &[u8; HEADER_BYTES] = l4.first_chunk().ok_or(InvalidReason::ShortHeader)?;
    match coverage(header, l4_len) {
        covered if covered < HEADER_BYTES || covered > l4_len => Err(InvalidReason::BadLength),
        _ if checksum(header) == 0 => Err(InvalidReason::BadChecksum),
        _ => Ok((u16_at(header, field::ports::SOURCE), u16_at(header, field::ports::DESTINATION))),
    }
}

/// The datagram's length in bytes, header included, as it says itself.
#[inline]
pub(crate) const fn length(header: &[u8; HEADER_BYTES]) -> usize {
    u16_at(header, field::udp::LENGTH) as usize
}

/// The bytes of a UDP-Lite packet that its checksum covers; 0 stands for all.
pub(super) const fn coverage(header: &[u8; HEADER_BYTES], l4_len: usize) -> usize {
    match u16_at(header, field::udp::LENGTH) {
        0 => l4_len,
        covered => covered as usize,
    }
}

/// Writes the datagram's length in bytes, header included.
pub(crate) fn write_length(l4: &mut [u8], length: u16) {
    put(l4, field::udp::LENGTH, length.to_be_bytes());
}

/// Has the checksum follow what it covers, which has grown by this ([`checksum::change`]). One that is none remains none, and none
/// becomes so: 0 is written as all ones (RFC 768).
///
/// [`checksum::change`]: super::checksum::change
#[inline(always)]
pub(crate) fn add_to_checksum(l4: &mut [u8], change: u64) {
    let Some(old) = get(l4, field::udp::CHECKSUM).map(u16::from_be_bytes) else { return };
    if old != 0 {
        let new = checksum::add(old, change);
        put(l4, field::udp::CHECKSUM, (if new == 0 { u16::MAX } else { new }).to_be_bytes());
    }
}

/// The checksum; 0 is none.
pub(crate) const fn checksum(header: &[u8; HEADER_BYTES]) -> u16 {
    u16_at(header, field::udp::CHECKSUM)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a packet of 20 bytes with this length or coverage and checksum.
    fn checked(
        ports: fn(&[u8], usize) -> Result<PortPair, InvalidReason>,
        length: u8,
        checksum: u8,
    ) -> Result<PortPair, InvalidReason> {
        let mut packet = [0; 20];
        packet[5] = length;
        packet[7] = checksum;
        ports(&packet, packet.len())
    }

    #[test]
    fn a_datagram_fits_its_packet() {
        for (length, expected) in [(0, false), (7, false), (8, true), (19, true), (20, true), (21, false)] {
            assert_eq!(checked(ports, length, 0).is_ok(), expected, "{length}");
        }
        assert_eq!(ports(&[0; 7], 7), Err(InvalidReason::ShortHeader));
    }

    #[test]
    fn coverage_is_everything_or_header_and_more() {
        for (length, expected) in [(0, true), (7, false), (8, true), (20, true), (21, false)] {
            assert_eq!(checked(ports_lite, length, 1).is_ok(), expected, "{length}");
        }
        assert_eq!(checked(ports_lite, 8, 0), Err(InvalidReason::BadChecksum));
        assert_eq!(ports_lite(&[0; 7], 7), Err(InvalidReason::ShortHeader));
    }
}
