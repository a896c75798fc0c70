//! UDP (RFC 768) and UDP-Lite (RFC 3828).

use super::bytes::u16_at;
use crate::verdict::InvalidReason;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 8;

/// Checks a UDP header. A datagram shorter than its packet is fine: what follows are options (RFC 9868).
#[inline]
pub(super) fn check(l4: &[u8], l4_len: usize) -> Result<(), InvalidReason> {
    let header: &[u8; HEADER_BYTES] = l4.first_chunk().ok_or(InvalidReason::ShortHeader)?;
    match length(header) {
        length if length < HEADER_BYTES || length > l4_len => Err(InvalidReason::BadLength),
        _ => Ok(()),
    }
}

/// Checks a UDP-Lite header, which cannot do without a checksum.
pub(super) fn check_lite(l4: &[u8], l4_len: usize) -> Result<(), InvalidReason> {
    let header: &[u8; HEADER_BYTES] = l4.first_chunk().ok_or(InvalidReason::ShortHeader)?;
    match coverage(header, l4_len) {
        covered if covered < HEADER_BYTES || covered > l4_len => Err(InvalidReason::BadLength),
        _ if checksum(header) == 0 => Err(InvalidReason::BadChecksum),
        _ => Ok(()),
    }
}

/// The datagram's length in bytes, header included, as it says itself.
#[inline]
pub(super) const fn length(header: &[u8; HEADER_BYTES]) -> usize {
    u16_at(header, 4) as usize
}

/// The bytes of a UDP-Lite packet that its checksum covers; 0 stands for all.
pub(super) const fn coverage(header: &[u8; HEADER_BYTES], l4_len: usize) -> usize {
    match u16_at(header, 4) {
        0 => l4_len,
        covered => covered as usize,
    }
}

/// The checksum; 0 is none.
pub(super) const fn checksum(header: &[u8; HEADER_BYTES]) -> u16 {
    u16_at(header, 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a packet of 20 bytes with this length or coverage and checksum.
    fn checked(
        check: fn(&[u8], usize) -> Result<(), InvalidReason>,
        length: u8,
        checksum: u8,
    ) -> Result<(), InvalidReason> {
        let mut packet = [0; 20];
        packet[5] = length;
        packet[7] = checksum;
        check(&packet, packet.len())
    }

    #[test]
    fn a_datagram_fits_its_packet() {
        for (length, expected) in [(0, false), (7, false), (8, true), (19, true), (20, true), (21, false)] {
            assert_eq!(checked(check, length, 0).is_ok(), expected, "{length}");
        }
        assert_eq!(check(&[0; 7], 7), Err(InvalidReason::ShortHeader));
    }

    #[test]
    fn coverage_is_everything_or_header_and_more() {
        for (length, expected) in [(0, true), (7, false), (8, true), (20, true), (21, false)] {
            assert_eq!(checked(check_lite, length, 1).is_ok(), expected, "{length}");
        }
        assert_eq!(checked(check_lite, 8, 0), Err(InvalidReason::BadChecksum));
        assert_eq!(check_lite(&[0; 7], 7), Err(InvalidReason::ShortHeader));
    }
}
