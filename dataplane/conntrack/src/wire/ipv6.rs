//! IPv6 headers and their chain of extension headers (RFC 8200).

use super::Datagram;
use super::bytes::{u16_at, u128_at};
use super::field;
use crate::headers::Fragment;
use crate::tuple::{Family, protocol};
use crate::verdict::DropReason;

/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 40;

/// Bytes of a fragment header (RFC 8200 section 4.5).
pub(crate) const FRAGMENT_HEADER_BYTES: usize = 8;

/// Extension headers that are walked. RFC 8200 section 4.1 has a use for seven.
const MAX_EXTENSIONS: usize = 16;

/// The numbers of extension headers.
mod next_header {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const AUTHENTICATION: u8 = super::protocol::AH;
    pub const NONE: u8 = 59;
    pub const DESTINATION: u8 = 60;

    /// Whether what follows is no L4 header.
    pub(super) const fn is_extension(number: u8) -> bool {
        matches!(number, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | NONE | DESTINATION)
    }
}

/// Reads and checks the headers at the start of `bytes`. `frame_len` is what the frame has from there on,
/// later segments included.
#[inline]
pub(super) fn parse(bytes: &[u8], frame_len: usize) -> Result<Datagram<'_>, DropReason> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(DropReason::Truncated)?;
    let total_len = HEADER_BYTES + usize::from(u16_at(header, field::ipv6::PAYLOAD_LENGTH));
    if header[field::ipv6::VERSION] >> 4 != 6 {
        return Err(DropReason::IpHeader);
    }
    if total_len > frame_len {
        return Err(DropReason::Truncated);
    }
    if is_impossible(u128_at(header, field::ipv6::SOURCE)) {
        return Err(DropReason::IpSource);
    }
    let (datagram, is_nested) = datagram(header, bytes, total_len);
    // What is a fragment of a fragment, different hosts read differently.
    if is_nested {
        return Err(DropReason::IpHeader);
    }
    // Every node on the way must read hop-by-hop options (RFC 8200 section 4.3): it cannot where they are cut off.
    if datagram.protocol == next_header::HOP_BY_HOP && datagram.l4_offset == HEADER_BYTES {
        return Err(DropReason::IpHeader);
    }
    Ok(datagram)
}

/// The datagram's length in bytes, header included, if the header is good.
#[inline(always)]
pub(super) fn plain(header: &[u8; HEADER_BYTES]) -> Option<usize> {
    let is_good =
        header[field::ipv6::VERSION] >> 4 == 6 && !is_impossible(u128_at(header, field::ipv6::SOURCE));
    is_good.then(|| HEADER_BYTES + usize::from(u16_at(header, field::ipv6::PAYLOAD_LENGTH)))
}

/// The same of a fragment whose fragment header is right behind the fixed one, and the L4 protocol that it begins with, if it begins
/// its datagram. `None` where it ends between two positions at which the next one can begin.
#[inline(always)]
pub(crate) fn plain_fragment(
    headers: &[u8; HEADER_BYTES + FRAGMENT_HEADER_BYTES],
) -> Option<(usize, Option<u8>)> {
    let fixed = headers.first_chunk()?;
    let fragment_header: &[u8; FRAGMENT_HEADER_BYTES] = headers.last_chunk()?;
    if fixed[field::ipv6::NEXT_HEADER] != next_header::FRAGMENT {
        return None;
    }
    let total_len = plain(fixed)?;
    let protocol = fragment_header[field::extension::NEXT_HEADER];
    let field = u16_at(fragment_header, field::extension::FRAGMENT_OFFSET);
    let ends_anywhere = field & 1 == 0;
    if protocol == next_header::FRAGMENT || !ends_anywhere && !total_len.is_multiple_of(8) {
        return None;
    }
    match Fragment::of_ipv6(field) {
        Fragment::Whole => None,
        Fragment::First => (!next_header::is_extension(protocol)).then_some((total_len, Some(protocol))),
        Fragment::Later => Some((total_len, None)),
    }
}

/// Reads the headers of a datagram that an ICMPv6 error quotes, of which only the beginning is there. `None`
/// where the fixed header is cut off.
pub(super) fn quoted(bytes: &[u8]) -> Option<Datagram<'_>> {
    bytes.first_chunk().map(|header| datagram(header, bytes, bytes.len()).0)
}

/// The datagram, and whether it has a fragment header behind another one.
#[inline]
fn datagram<'a>(header: &[u8; HEADER_BYTES], bytes: &'a [u8], total_len: usize) -> (Datagram<'a>, bool) {
    let bytes = bytes.get(..total_len).unwrap_or(bytes);
    let chain = walk(bytes, header[field::ipv6::NEXT_HEADER]);
    let datagram = Datagram {
        family: Family::V6,
        src: u128_at(header, field::ipv6::SOURCE),
        dst: u128_at(header, field::ipv6::DESTINATION),
        ttl: header[field::ipv6::HOP_LIMIT],
        total_len,
        protocol: chain.protocol,
        l4_offset: chain.offset,
        l4: bytes.get(chain.offset..).unwrap_or_default(),
        fragment: chain.fragment,
        complete: chain.complete,
    };
    (datagram, chain.is_nested)
}

/// Where the fragment header stands in the headers of a fragment.
pub(crate) fn fragment_header_offset(bytes: &[u8]) -> Option<usize> {
    walk(bytes, *bytes.get(field::ipv6::NEXT_HEADER)?).fragment_header
}

/// Where the number of the L4 protocol stands in a whole datagram.
pub(crate) fn protocol_offset(bytes: &[u8]) -> Option<usize> {
    Some(walk(bytes, *bytes.get(field::ipv6::NEXT_HEADER)?).protocol_offset)
}

/// Where a chain of extension headers ends.
struct Chain {
    protocol: u8,
    protocol_offset: usize,
    offset: usize,
    fragment: Fragment,
    /// Where its fragment header is.
    fragment_header: Option<usize>,
    /// Whether it has another one.
    is_nested: bool,
    complete: bool,
}

/// Walks the chain to the L4 header, or to the fragment header of a fragment that does not hold it.
#[inline]
fn walk(bytes: &[u8], first: u8) -> Chain {
    let mut chain = Chain {
        protocol: first,
        protocol_offset: field::ipv6::NEXT_HEADER,
        offset: HEADER_BYTES,
        fragment: Fragment::Whole,
        fragment_header: None,
        is_nested: false,
        complete: true,
    };
    for _ in 0..MAX_EXTENSIONS {
        let unit_bytes = match chain.protocol {
            next_header::HOP_BY_HOP | next_header::ROUTING | next_header::DESTINATION => 8,
            next_header::AUTHENTICATION => 4,
            next_header::FRAGMENT => 0,
            next_header::NONE => break,
            _ => return chain,
        };
        let rest = bytes.get(chain.offset..).unwrap_or_default();
        let Some(extension) = rest.first_chunk::<8>() else { break };
        // Beyond its first 8 bytes an extension header is counted in units of 8, an authentication header
        // in units of 4 (RFC 4302 section 2.2); a fragment header has no more than those 8.
        let extension_len = 8 + usize::from(extension[field::extension::LENGTH]) * unit_bytes;
        if chain.protocol == next_header::FRAGMENT {
            chain.fragment = Fragment::of_ipv6(u16_at(extension, field::extension::FRAGMENT_OFFSET));
            chain.is_nested = chain.fragment_header.replace(chain.offset).is_some()
                || extension[field::extension::NEXT_HEADER] == next_header::FRAGMENT;
            if chain.is_nested {
                break;
            }
        }
        if extension_len > rest.len() {
            break;
        }
        (chain.protocol, chain.protocol_offset) = (extension[field::extension::NEXT_HEADER], chain.offset);
        chain.offset += extension_len;
        if chain.fragment == Fragment::Later {
            return chain;
        }
    }
    chain.complete = false;
    chain
}

/// Whether IP input refuses the source: multicast (RFC 4291 section 2.7) and loopback (section 2.5.3).
const fn is_impossible(source: u128) -> bool {
    source >> 120 == 0xff || source == 1
}

/// Whether nobody can be told anything at this address: besides those that IP input refuses, the unspecified one (RFC 4291
/// section 2.5.2).
pub(super) const fn is_martian(source: u128) -> bool {
    is_impossible(source) || source == 0
}

/// Whether an address is good on one link only (RFC 4291 section 2.5.6).
pub(crate) const fn is_link_local(address: u128) -> bool {
    address >> 118 == 0xfe80 >> 6
}
