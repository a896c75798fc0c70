//! Wire formats: one file per protocol, each reads a header from bytes without copying them.
//!
//! [`parse`] finds a frame's headers and its tuple, and decides by them alone how it is treated. Damage
//! below IP's own rules ends a packet; damage above makes it INVALID, with as much of its tuple as can be read,
//! so that an `untracked` rule can still match it. [`verify_checksum`] looks at the payload, for packets
//! that such a rule does not spare. [`complete_checksum`] is for packets whose sender left that to its device.

pub mod bytes;
pub mod checksum;
mod complete;
pub(crate) mod dhcp;
pub mod ethernet;
pub mod field;
mod glance;
pub(crate) mod gre;
pub mod icmp;
pub(crate) mod ipv4;
pub(crate) mod ipv6;
pub mod sctp;
pub(crate) mod segments;
pub mod tcp;
#[cfg(test)]
mod tests;
pub mod udp;
pub(crate) mod usual;
mod verify;

pub use complete::complete_checksum;
pub use glance::glance;
pub use verify::verify_checksum;

use crate::frame::{Frame, Reassembled};
use crate::headers::{Fragment, Headers, Packet, PacketKind};
use crate::tuple::{Family, Selector, Tuple, protocol};
use crate::verdict::{DropReason, InvalidReason};
use bytes::{put, u16_at, u32_at, u128_at};
use checksum::Sum;

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

impl Datagram<'_> {
    /// L4 header and payload in bytes.
    const fn l4_len(&self) -> usize {
        self.total_len - self.l4_offset
    }

    /// Its own tuple.
    const fn tuple(&self, (sport, dport): PortPair) -> Tuple {
        let selector = Selector::new(self.family, self.protocol, 0, sport, dport);
        Tuple { src: self.src, dst: self.dst, selector }
    }
}

/// Parses a frame: any bytes at all.
///
/// # Errors
/// Damage for which IP input ends a packet before anything else sees it: [`DropReason::Truncated`],
/// [`DropReason::IpHeader`], [`DropReason::IpChecksum`], [`DropReason::IpSource`].
pub fn parse<F: Frame>(frame: &F) -> Result<Headers, DropReason> {
    let mut headers = Headers::default();
    parse_into(frame, &mut headers).map(|()| headers)
}

/// As [`parse`], in place: where headers are kept for later, a copy costs as much as the parsing.
#[inline(always)]
pub(crate) fn parse_into<F: Frame>(frame: &F, headers: &mut Headers) -> Result<(), DropReason> {
    let head = frame.head();
    let (ethertype, l3_offset) = ethernet::payload(head)?;
    let bytes = head.get(l3_offset..).unwrap_or_default();
    // One copy of what follows for each family: with its constants known it is half as long.
    match ethertype {
        ethernet::IPV4 => {
            let frame_len = frame.len_bytes() - l3_offset;
            let datagram = ipv4::parse(bytes, frame_len, frame.l3_checksum())?;
            read(datagram, frame.reassembled(), l3_offset, headers);
            Ok(())
        }
        ethernet::IPV6 => parse_ipv6(frame, bytes, l3_offset, headers),
        _ => {
            *headers = Headers { l3_offset: l3_offset as u16, ..Headers::default() };
            Ok(())
        }
    }
}

#[inline(never)]
fn parse_ipv6<F: Frame>(
    frame: &F,
    bytes: &[u8],
    l3_offset: usize,
    headers: &mut Headers,
) -> Result<(), DropReason> {
    let datagram = ipv6::parse(bytes, frame.len_bytes() - l3_offset)?;
    read(datagram, frame.reassembled(), l3_offset, headers);
    Ok(())
}

/// Whether no packet can come from this packet's source address, and nothing can be said to it (RFC 1812 section 5.3.7). A
/// link-local address is good on its own link.
/// Linux finds out when it routes a packet, behind connection tracking: it classifies such a packet and
/// then drops it, so that no entry is ever made by one. `headers` are the frame's own.
pub fn has_martian_source<F: Frame>(frame: &F, headers: &Headers) -> bool {
    let (source, _) = addresses(frame.head(), headers);
    headers.family().is_some_and(|family| is_martian(family, source))
}

/// The same of a source address.
pub(crate) const fn is_martian(family: Family, source: u128) -> bool {
    match family {
        Family::V4 => ipv4::is_martian(source as u32),
        Family::V6 => ipv6::is_martian(source),
    }
}

/// Takes one from the TTL or hop limit, which must not be zero. The IPv4 header checksum follows (RFC 1624).
pub(crate) fn decrement_ttl(head: &mut [u8], headers: &Headers) {
    let Some(family) = headers.family() else { return };
    let l3 = head.get_mut(usize::from(headers.l3_offset)..).unwrap_or_default();
    let change = take_hop(l3, family);
    if family == Family::V4 {
        checksum::add_in(l3, field::ipv4::CHECKSUM, change);
    }
}

/// Takes one from the TTL or hop limit of an IP header, which must not be zero, and gives what that adds to the sum over it.
#[inline(always)]
pub(crate) fn take_hop(l3: &mut [u8], family: Family) -> u64 {
    let (field, change) = match family {
        // It stands in the upper half of its word.
        Family::V4 => (field::ipv4::TTL, u64::from(!0x100_u16)),
        Family::V6 => (field::ipv6::HOP_LIMIT, 0),
    };
    if let Some(ttl) = l3.get_mut(field) {
        *ttl = ttl.wrapping_sub(1);
    }
    change
}

/// Writes the length of a datagram that has become longer or shorter into its IP header. The IPv4 header checksum follows
/// (RFC 1624).
pub(crate) fn write_length(head: &mut [u8], headers: &Headers) {
    let l3 = head.get_mut(usize::from(headers.l3_offset)..).unwrap_or_default();
    match headers.family() {
        Some(Family::V4) => {
            let Some(header) = l3.first_chunk_mut::<20>() else { return };
            let (old, new) = (u16_at(header, field::ipv4::TOTAL_LENGTH), headers.l3_len as u16);
            let sum = checksum::update(u16_at(header, field::ipv4::CHECKSUM), old, new);
            header[field::ipv4::TOTAL_LENGTH].copy_from_slice(&new.to_be_bytes());
            header[field::ipv4::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
        }
        Some(Family::V6) => {
            let payload = headers.l3_len.saturating_sub(ipv6::HEADER_BYTES as u32) as u16;
            put(l3, field::ipv6::PAYLOAD_LENGTH, payload.to_be_bytes());
        }
        None => {}
    }
}

/// Writes the checksum of an L4 packet whose field has zeros and that is in the first segment.
pub(crate) fn write_checksum<F: Frame>(frame: &mut F, headers: &Headers, field: field::Field) {
    let l4 = segments::slices(frame, headers.l4_offset, headers.l4_len as usize);
    let sum = l4.fold(verify::pseudo_header(frame, headers, headers.l4_len), Sum::bytes).checksum();
    put(
        frame.head_mut().get_mut(usize::from(headers.l4_offset)..).unwrap_or_default(),
        field,
        sum.to_be_bytes(),
    );
}

/// Source and destination of a packet that is as it was when it was parsed: they are those of its tuple, but for an error, whose
/// tuple is that of the packet it quotes.
#[inline]
pub(crate) fn own_addresses(packet: Packet<'_>) -> (u128, u128) {
    let Packet { headers, head } = packet;
    match headers.kind {
        PacketKind::Error => addresses(head, headers),
        _ => (headers.tuple.src, headers.tuple.dst),
    }
}

/// Source and destination of a packet whose IP header was parsed, as they stand there now.
pub fn addresses(head: &[u8], headers: &Headers) -> (u128, u128) {
    let header = head.get(usize::from(headers.l3_offset)..).unwrap_or_default();
    let addresses = match headers.tuple.family() {
        Family::V4 => {
            let number = |h, field| u128::from(u32_at::<{ ipv4::HEADER_BYTES }>(h, field));
            header
                .first_chunk()
                .map(|h| (number(h, field::ipv4::SOURCE), number(h, field::ipv4::DESTINATION)))
        }
        Family::V6 => {
            let number = u128_at::<{ ipv6::HEADER_BYTES }>;
            header
                .first_chunk()
                .map(|h| (number(h, field::ipv6::SOURCE), number(h, field::ipv6::DESTINATION)))
        }
    };
    addresses.unwrap_or_default()
}

#[inline(always)]
fn read(
    mut datagram: Datagram<'_>,
    reassembled: Option<Reassembled>,
    l3_offset: usize,
    headers: &mut Headers,
) {
    if let Some(whole) = reassembled {
        datagram.total_len += whole.rest_bytes as usize;
        datagram.fragment = Fragment::Whole;
    }
    let (ports, kind) = classify(datagram);
    *headers = Headers {
        tuple: datagram.tuple(ports),
        kind,
        l3_offset: l3_offset as u16,
        l4_offset: (l3_offset + datagram.l4_offset) as u16,
        l3_len: datagram.total_len as u32,
        l4_len: datagram.l4_len() as u32,
        protocol: datagram.protocol,
        ttl: datagram.ttl,
        fragment: datagram.fragment,
    };
    if reassembled.is_some() && datagram.family == Family::V6 {
        headers.l3_len -= ipv6::FRAGMENT_HEADER_BYTES as u32;
    }
    if kind == PacketKind::Error {
        match icmp::answer_to_quote(headers.tuple, datagram.ttl, datagram.l4) {
            Some(tuple) => headers.tuple = tuple,
            None => headers.kind = PacketKind::Invalid(InvalidReason::IcmpQuote),
        }
    }
}

/// Decides how a datagram is treated by its L4 header alone, and finds its ports: all that can be read of
/// them if it is invalid.
#[inline(always)]
fn classify(datagram: Datagram<'_>) -> (PortPair, PacketKind) {
    let Datagram { protocol, l4, .. } = datagram;
    let checked = match (datagram.fragment, protocol) {
        (Fragment::Later, _) => return ((0, 0), PacketKind::Fragment),
        (Fragment::First, _) => return classify_first(protocol, l4, datagram.complete),
        _ if !datagram.complete => Err(InvalidReason::ShortHeader),
        (_, protocol::TCP) => tcp::ports(l4, datagram.l4_len()),
        (_, protocol::UDP) => udp::ports(l4, datagram.l4_len()),
        (_, protocol::ICMP | protocol::ICMPV6) => return icmp::classify(datagram.family, protocol, l4),
        _ => rarer_ports(protocol, l4, datagram.l4_len()),
    };
    match checked {
        Ok(ports) => (ports, PacketKind::Tracked),
        Err(reason) => (readable_ports(protocol, l4).unwrap_or_default(), PacketKind::Invalid(reason)),
    }
}

/// Decides about the fragment that begins a datagram. All headers that tracking reads are to be in it (RFC 7112, RFC 1858, RFC
/// 3128).
#[cold]
#[inline(never)]
fn classify_first(protocol: u8, l4: &[u8], complete: bool) -> (PortPair, PacketKind) {
    let ports = readable_ports(protocol, l4).unwrap_or_default();
    if complete && has_l4_header(protocol, l4) {
        (ports, PacketKind::Fragment)
    } else {
        (ports, PacketKind::Invalid(InvalidReason::Fragment))
    }
}

/// Whether all of the L4 header that tracking reads is there.
pub(crate) fn has_l4_header(protocol: u8, l4: &[u8]) -> bool {
    let header_bytes = match protocol {
        protocol::TCP => tcp::header_bytes(l4),
        protocol::UDP | protocol::UDPLITE => udp::HEADER_BYTES,
        protocol::SCTP => sctp::HEADER_BYTES + sctp::INITIATE_BYTES,
        protocol::ICMP | protocol::ICMPV6 => icmp::HEADER_BYTES,
        protocol::GRE => gre::HEADER_BYTES,
        _ => 0,
    };
    l4.len() >= header_bytes
}

/// The ports of a good header of any protocol but TCP, UDP and ICMP.
#[inline(never)]
fn rarer_ports(protocol: u8, l4: &[u8], l4_len: usize) -> Result<PortPair, InvalidReason> {
    match protocol {
        protocol::UDPLITE => udp::ports_lite(l4, l4_len),
        protocol::SCTP => sctp::ports(l4),
        protocol::GRE => gre::call_id(l4).map(|call_id| (0, call_id)),
        _ => Ok((0, 0)),
    }
}

/// What stands in a tuple for source and destination port.
type PortPair = (u16, u16);

/// The ports of a packet whose L4 header may be damaged behind them. `None` where it is cut off before them,
/// or is of a kind of GRE that has none.
#[cold]
#[inline(never)]
fn readable_ports(protocol: u8, l4: &[u8]) -> Option<PortPair> {
    match protocol {
        _ if protocol::has_ports(protocol) => {
            let ports = l4.get(field::ports::BOTH)?.first_chunk::<4>()?;
            Some((u16_at(ports, field::ports::SOURCE), u16_at(ports, field::ports::DESTINATION)))
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let header = l4.first_chunk::<{ icmp::HEADER_BYTES }>()?;
            Some((u16_at(header, field::icmp::IDENTIFIER), u16_at(header, field::icmp::TYPE_AND_CODE)))
        }
        protocol::GRE => gre::call_id(l4).ok().map(|call_id| (0, call_id)),
        _ => Some((0, 0)),
    }
}
