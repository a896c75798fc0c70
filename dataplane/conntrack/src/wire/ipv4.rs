//! IPv4 headers (RFC 791).

use super::Datagram;
use super::bytes::{put, u16_at, u32_at};
use super::checksum::Sum;
use super::field;
use crate::frame::Checksum;
use crate::headers::{Fragment, Headers};
use crate::tuple::Family;
use crate::verdict::DropReason;

/// Bytes of a header without options.
pub const HEADER_BYTES: usize = 20;

/// Flags and fragment offset, which share a field.
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Reads and checks the header at the start of `bytes`, as IP input does before anything else sees the
/// packet (RFC 1812 section 5.2.2). `frame_len` is what the frame has from there on, later segments included.
#[inline(always)]
pub(super) fn parse(bytes: &[u8], frame_len: usize, checksum: Checksum) -> Result<Datagram<'_>, DropReason> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(DropReason::Truncated)?;
    let header_len = header_len(header);
    let total_len = usize::from(u16_at(header, field::ipv4::TOTAL_LENGTH));
    if header[field::ipv4::VERSION_AND_LENGTH] >> 4 != 4
        || header_len < HEADER_BYTES
        || total_len < header_len
    {
        return Err(DropReason::IpHeader);
    }
    if total_len > frame_len {
        return Err(DropReason::Truncated);
    }
    let (words, _) = bytes.get(..header_len).ok_or(DropReason::Truncated)?.as_chunks();
    let good = match checksum {
        Checksum::Good => true,
        Checksum::Bad => false,
        Checksum::Unknown if header_len == HEADER_BYTES => Sum::of_header(header).is_valid(),
        Checksum::Unknown => Sum::words(words).is_valid(),
    };
    if !good {
        return Err(DropReason::IpChecksum);
    }
    Ok(datagram(header, bytes, header_len, total_len))
}

/// The datagram's length in bytes, header included, if the header is good and plain: without options, and of no fragment.
#[inline(always)]
pub(super) fn plain(header: &[u8; HEADER_BYTES], checksum: Checksum) -> Option<usize> {
    let is_plain = is_without_options(header)
        && u16_at(header, field::ipv4::FLAGS_AND_OFFSET) & (MORE_FRAGMENTS | OFFSET) == 0;
    (is_plain && is_good(header, checksum)).then(|| total_len(header))
}

/// The same of a header that was found good before, of the fragment that begins a datagram.
#[inline(always)]
pub(super) fn plain_first(header: &[u8; HEADER_BYTES]) -> Option<usize> {
    is_without_options(header).then(|| total_len(header))
}

/// The same of a fragment, and whether it begins its datagram.
#[inline(always)]
pub(crate) fn plain_fragment(header: &[u8; HEADER_BYTES], checksum: Checksum) -> Option<(usize, bool)> {
    let field = u16_at(header, field::ipv4::FLAGS_AND_OFFSET) & (MORE_FRAGMENTS | OFFSET);
    let is_plain = is_without_options(header) && field != 0;
    (is_plain && is_good(header, checksum)).then(|| (total_len(header), field == MORE_FRAGMENTS))
}

const fn is_without_options(header: &[u8; HEADER_BYTES]) -> bool {
    /// Version 4, and five words.
    const PLAIN: u8 = 0x45;
    header[field::ipv4::VERSION_AND_LENGTH] == PLAIN
}

#[inline(always)]
fn is_good(header: &[u8; HEADER_BYTES], checksum: Checksum) -> bool {
    match checksum {
        Checksum::Good => true,
        Checksum::Bad => false,
        Checksum::Unknown => Sum::of_header(header).is_valid(),
    }
}

const fn total_len(header: &[u8; HEADER_BYTES]) -> usize {
    u16_at(header, field::ipv4::TOTAL_LENGTH) as usize
}

/// Reads the header of a datagram that an ICMP error quotes. Routers on the way have changed it and quoted
/// only its beginning, so that its version, lengths and checksum say nothing. `None` where it is cut off.
pub(super) fn quoted(bytes: &[u8]) -> Option<Datagram<'_>> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let header_len = header_len(header);
    (HEADER_BYTES..=bytes.len())
        .contains(&header_len)
        .then(|| datagram(header, bytes, header_len, bytes.len()))
}

/// Whether the checksum of the header at the start of `bytes`, which [`quoted`] has found whole, is good.
pub(super) fn is_undamaged(bytes: &[u8]) -> bool {
    let header = bytes.first_chunk().and_then(|header| bytes.get(..header_len(header)));
    header.is_some_and(|header| Sum::default().bytes(header).is_valid())
}

const fn header_len(header: &[u8; HEADER_BYTES]) -> usize {
    (header[field::ipv4::VERSION_AND_LENGTH] & 0xf) as usize * 4
}

#[inline(always)]
fn datagram<'a>(
    header: &[u8; HEADER_BYTES],
    bytes: &'a [u8],
    header_len: usize,
    total_len: usize,
) -> Datagram<'a> {
    let fragment = match u16_at(header, field::ipv4::FLAGS_AND_OFFSET) & (MORE_FRAGMENTS | OFFSET) {
        0 => Fragment::Whole,
        MORE_FRAGMENTS => Fragment::First,
        _ => Fragment::Later,
    };
    Datagram {
        family: Family::V4,
        src: u128::from(u32_at(header, field::ipv4::SOURCE)),
        dst: u128::from(u32_at(header, field::ipv4::DESTINATION)),
        ttl: header[field::ipv4::TTL],
        total_len,
        protocol: header[field::ipv4::PROTOCOL],
        l4_offset: header_len,
        l4: bytes.get(header_len..total_len.min(bytes.len())).unwrap_or_default(),
        fragment,
        complete: true,
    }
}

/// Writes the checksum into a whole header that has changed, and was undamaged before.
pub(crate) fn write_checksum(header: &mut [u8]) {
    put(header, field::ipv4::CHECKSUM, [0; 2]);
    let sum = match <[u8; HEADER_BYTES]>::try_from(&*header) {
        Ok(fixed) => Sum::words(fixed.as_chunks().0),
        Err(_) => Sum::default().bytes(header),
    };
    put(header, field::ipv4::CHECKSUM, sum.checksum().to_be_bytes());
}

/// Whether a router may cut a packet whose header was parsed into fragments.
pub(crate) fn may_be_fragmented(head: &[u8], headers: &Headers) -> bool {
    let header = head.get(usize::from(headers.l3_offset)..).unwrap_or_default();
    header.first_chunk().is_some_and(|header| !forbids_fragments(header))
}

/// Whether no router may cut a packet with this header into fragments.
pub(crate) const fn forbids_fragments(header: &[u8; HEADER_BYTES]) -> bool {
    u16_at(header, field::ipv4::FLAGS_AND_OFFSET) & DONT_FRAGMENT != 0
}

/// Where a fragment begins in its datagram, in units of eight bytes, and whether others follow.
pub(crate) const fn fragment_field(header: &[u8; HEADER_BYTES]) -> (u16, bool) {
    let field = u16_at(header, field::ipv4::FLAGS_AND_OFFSET);
    (field & OFFSET, field & MORE_FRAGMENTS != 0)
}

/// Makes a packet whose header takes so many bytes a fragment, which begins so many units of eight bytes behind the first.
pub(crate) fn write_fragment(packet: &mut [u8], header_bytes: usize, units: u16, more_follow: bool) {
    let length = packet.len() as u16;
    let header = packet.get_mut(..header_bytes).unwrap_or_default();
    if let Some(fixed) = header.first_chunk_mut::<HEADER_BYTES>() {
        let flags = if more_follow { MORE_FRAGMENTS } else { 0 };
        fixed[field::ipv4::TOTAL_LENGTH].copy_from_slice(&length.to_be_bytes());
        fixed[field::ipv4::FLAGS_AND_OFFSET].copy_from_slice(&(flags | units & OFFSET).to_be_bytes());
    }
    write_checksum(header);
}

/// Puts no-operations in the place of the options that only the first fragment of a datagram has (section 3.1).
pub(crate) fn blank_options(header: &mut [u8]) {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;
    let mut options = header.get_mut(HEADER_BYTES..).unwrap_or_default();
    loop {
        let length = match options {
            [] | [END, ..] => return,
            [NO_OPERATION, ..] => 1,
            [_, length, ..] => usize::from(*length),
            [_] => return,
        };
        let Some((option, rest)) = options.split_at_mut_checked(length).filter(|_| length > 0) else {
            return;
        };
        if option[0] & COPIED == 0 {
            option.fill(NO_OPERATION);
        }
        options = rest;
    }
}

/// Whether no packet to be forwarded can come from this address: this network, loopback, multicast, limited
/// broadcast (RFC 1812 section 5.3.7).
pub(super) const fn is_martian(source: u32) -> bool {
    let [first, ..] = source.to_be_bytes();
    matches!(first, 0 | 127 | 224..=239) || source == u32::MAX
}
