//! Ethernet II frames (RFC 894) with VLAN tags: IEEE 802.1Q, 802.1ad, and the 0x9100 of older switches.

use super::bytes::u16_at;
use super::field;
use crate::verdict::DropReason;

/// Bytes of a header without tags.
pub const HEADER_BYTES: usize = 14;
/// Bytes of one VLAN tag.
pub const TAG_BYTES: usize = 4;
/// Ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// Ethertype of ARP.
pub const ARP: u16 = 0x0806;
/// Ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;

/// Tags that are looked through. Networks use one or two; a frame with more than these is not taken for IP.
const MAX_TAGS: usize = 4;

/// The ethertype behind all tags and the offset of the payload. A frame with an LLC header (RFC 1042) has
/// its length, below 0x600, in place of the ethertype.
///
/// # Errors
/// [`DropReason::Truncated`] where the header or a tag is cut off.
#[inline]
pub(super) fn payload(head: &[u8]) -> Result<(u16, usize), DropReason> {
    let header: &[u8; HEADER_BYTES] = head.first_chunk().ok_or(DropReason::Truncated)?;
    match u16_at(header, field::ethernet::ETHERTYPE) {
        ethertype if is_tag(ethertype) => behind_tags(head, ethertype),
        ethertype => Ok((ethertype, HEADER_BYTES)),
    }
}

#[inline(never)]
fn behind_tags(head: &[u8], mut ethertype: u16) -> Result<(u16, usize), DropReason> {
    let mut offset = HEADER_BYTES;
    while is_tag(ethertype) && offset < HEADER_BYTES + MAX_TAGS * TAG_BYTES {
        let tag: &[u8; TAG_BYTES] =
            head.get(offset..).and_then(<[u8]>::first_chunk).ok_or(DropReason::Truncated)?;
        ethertype = u16_at(tag, 2..4);
        offset += TAG_BYTES;
    }
    Ok((ethertype, offset))
}

/// The identifiers of the VLANs in a header of so many bytes, 12 bits each, one behind the other.
pub(crate) fn vlan_ids(header: &[u8]) -> u64 {
    const TAG_CONTROL: usize = 14;
    let tags = header.get(TAG_CONTROL..).unwrap_or_default().chunks_exact(TAG_BYTES);
    tags.fold(0, |ids, tag| ids << 12 | u64::from(u16::from_be_bytes([tag[0], tag[1]]) & 0xfff))
}

const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
}

/// Turns a frame round: back to the neighbour that sent it.
pub(crate) fn invert(frame: &mut [u8]) {
    let addresses = field::ethernet::DESTINATION.start..field::ethernet::SOURCE.end;
    if let Some(addresses) = frame.get_mut(addresses) {
        let (destination, source) = addresses.split_at_mut(field::ethernet::SOURCE.start);
        destination.swap_with_slice(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ethertypes: &[u16]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        for ethertype in ethertypes {
            frame.extend_from_slice(&ethertype.to_be_bytes());
            frame.extend_from_slice(&[0, 7]);
        }
        frame.truncate(frame.len() - 2);
        frame
    }

    #[test]
    fn tags_are_looked_through() {
        assert_eq!(payload(&frame(&[IPV4])), Ok((IPV4, 14)));
        assert_eq!(payload(&frame(&[0x8100, IPV6])), Ok((IPV6, 18)));
        assert_eq!(payload(&frame(&[0x88a8, 0x8100, IPV4])), Ok((IPV4, 22)));
        assert_eq!(payload(&frame(&[0x9100, 0x8100, 0x8100, 0x8100, IPV4])), Ok((IPV4, 30)));
        assert_eq!(payload(&frame(&[0x8100, 0x8100, 0x8100, 0x8100, 0x8100, IPV4])), Ok((0x8100, 30)));
        assert_eq!(payload(&frame(&[46])), Ok((46, 14)));
    }

    #[test]
    fn a_cut_off_header_or_tag_is_an_error() {
        let whole = frame(&[0x88a8, 0x8100, IPV4]);
        for length in 0..whole.len() {
            assert_eq!(payload(&whole[..length]), Err(DropReason::Truncated), "{length}");
        }
    }
}
