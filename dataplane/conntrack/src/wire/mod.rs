//! Wire formats: one file per protocol, each reads a header from bytes without copying them.
//!
//! [`parse`] finds a frame's headers and its tuple, and decides by them alone how it is treated. Damage
//! below IP's own rules ends a packet; damage above makes it INVALID, with as much of its tuple as can be read,
//! so that an `untracked` rule can still match it. [`verify_checksum`] looks at the payload, for packets
//! that such a rule does not spare.

mod bytes;
pub mod checksum;
pub mod ethernet;
mod gre;
pub mod icmp;
mod ipv4;
mod ipv6;
pub mod sctp;
pub mod tcp;
#[cfg(test)]
mod tests;
pub mod udp;
mod verify;

pub use verify::verify_checksum;

use crate::frame::Frame;
use crate::headers::{Headers, Kind};
use crate::tuple::{Family, Selector, Tuple, protocol};
use crate::verdict::{DropReason, InvalidReason};
use bytes::u16_at;

/// What an IP header says, whatever its version.
#[derive(Clone, Copy, Debug)]
struct Datagram<'a> {
    family: Family,
    src: u128,
    dst: u128,
    ttl: u8,
    /// Header and payload in bytes, as the header says.
    total_len: usize,
    /// What follows the last header that could be walked.
    protocol: u8,
    /// Where that starts, from the start of the IP header.
    l4_offset: usize,
    /// The bytes there, as far as they are in the first segment.
    l4: &'a [u8],
    fragment: Fragment,
    /// Whether the chain of headers leads to an L4 header.
    complete: bool,
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fragment {
    Whole,
    First,
    Later,
}

/// Parses a frame: any bytes at all.
///
/// # Errors
/// Damage for which IP input ends a packet before anything else sees it: [`DropReason::Truncated`],
/// [`DropReason::IpHeader`], [`DropReason::IpChecksum`], [`DropReason::IpSource`].
#[inline]
pub fn parse<F: Frame>(frame: &F) -> Result<Headers, DropReason> {
    let head = frame.head();
    let (ethertype, l3_offset) = ethernet::payload(head)?;
    let bytes = head.get(l3_offset..).unwrap_or_default();
    let frame_len = || frame.len_bytes() - l3_offset;
    let datagram = match ethertype {
        ethernet::IPV4 => ipv4::parse(bytes, frame_len(), frame.l3_checksum())?,
        ethernet::IPV6 => ipv6::parse(bytes, frame_len())?,
        _ => return Ok(Headers { l3_offset: l3_offset as u16, ..Headers::default() }),
    };
    Ok(classify(&datagram, l3_offset))
}

/// Whether no packet to be forwarded can come from this packet's source address (RFC 1812 section 5.3.7).
/// Linux finds out when it routes a packet, behind connection tracking: it classifies such a packet and
/// then drops it, so that no entry is ever made by one. `headers` are the frame's own.
pub fn has_martian_source<F: Frame>(frame: &F, headers: &Headers) -> bool {
    let header = frame.head().get(usize::from(headers.l3_offset)..).unwrap_or_default();
    match headers.family() {
        Some(Family::V4) => {
            header.first_chunk().is_none_or(|h: &[u8; 20]| ipv4::is_martian(bytes::u32_at(h, 12)))
        }
        Some(Family::V6) => {
            header.first_chunk().is_none_or(|h: &[u8; 40]| ipv6::is_martian(bytes::u128_at(h, 8)))
        }
        None => false,
    }
}

#[inline]
fn classify(datagram: &Datagram<'_>, l3_offset: usize) -> Headers {
    let own = if datagram.fragment == Fragment::Later { None } else { ports(datagram.protocol, datagram.l4) };
    let (sport, dport) = own.unwrap_or_default();
    let selector = Selector::new(datagram.family, datagram.protocol, 0, sport, dport);
    let mut headers = Headers {
        tuple: Tuple { src: datagram.src, dst: datagram.dst, selector },
        kind: Kind::Tracked,
        l3_offset: l3_offset as u16,
        l4_offset: (l3_offset + datagram.l4_offset) as u16,
        l3_len: datagram.total_len as u32,
        l4_len: (datagram.total_len - datagram.l4_offset) as u32,
        protocol: datagram.protocol,
        ttl: datagram.ttl,
        fragment: datagram.fragment != Fragment::Whole,
    };
    if headers.fragment {
        headers.kind = Kind::Invalid(InvalidReason::Fragment);
        return headers;
    }
    if !datagram.complete || own.is_none() {
        let reason = match datagram.protocol {
            protocol::GRE => InvalidReason::GreProtocol,
            _ => InvalidReason::ShortHeader,
        };
        headers.kind = Kind::Invalid(reason);
        return headers;
    }
    let l4_len = headers.l4_len as usize;
    let checked = match datagram.protocol {
        protocol::TCP => tcp::check(datagram.l4, l4_len),
        protocol::UDP => udp::check(datagram.l4, l4_len),
        protocol::UDPLITE => udp::check_lite(datagram.l4, l4_len),
        protocol::SCTP => sctp::check(datagram.l4),
        protocol::ICMP | protocol::ICMPV6 => {
            let (kind, tuple) = icmp::judge(datagram);
            headers.kind = kind;
            headers.tuple = tuple.unwrap_or(headers.tuple);
            return headers;
        }
        _ => Ok(()),
    };
    if let Err(reason) = checked {
        headers.kind = Kind::Invalid(reason);
    }
    headers
}

/// What stands in the tuple for source and destination port. `None` where the L4 header is cut off before it,
/// or is of a kind of GRE that has none.
#[inline]
fn ports(protocol: u8, l4: &[u8]) -> Option<(u16, u16)> {
    match protocol {
        protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP => {
            l4.first_chunk::<4>().map(|ports| (u16_at(ports, 0), u16_at(ports, 2)))
        }
        protocol::ICMP | protocol::ICMPV6 => {
            l4.first_chunk::<{ icmp::HEADER_BYTES }>().map(|header| (u16_at(header, 4), u16_at(header, 0)))
        }
        protocol::GRE => gre::call_id(l4).map(|call_id| (0, call_id)),
        _ => Some((0, 0)),
    }
}
