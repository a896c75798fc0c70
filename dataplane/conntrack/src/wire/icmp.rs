//! ICMP (RFC 792) and ICMPv6 (RFC 4443) messages.

use super::{Datagram, PortPair, ipv4, ipv6, readable_ports};
use crate::headers::{Fragment, Packet, PacketKind};
use crate::icmp_type::{Class, REDIRECT_V6, class};
pub use crate::icmp_type::{LISTENER_QUERY, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION};
use crate::tuple::{Family, Tuple, protocol};
use crate::verdict::InvalidReason;

/// Bytes of a message's header.
pub const HEADER_BYTES: usize = 8;

/// What stands in an ICMPv6 redirect between header and options.
const TARGET_AND_DESTINATION_BYTES: usize = 32;

/// What stands in the redirected header option before the quote (RFC 4861 section 4.6.3).
const OPTION_HEADER_BYTES: usize = 8;

/// ICMP redirect (RFC 792).
const REDIRECT_V4: u8 = 5;

/// Whether an error can be told to somebody whose connection is translated: one that is no redirect, and quotes eight bytes
/// behind the IP header (RFC 792) where there are ports or an identifier among them.
pub(crate) fn is_translatable(packet: Packet<'_>) -> bool {
    let tuple = packet.headers.tuple;
    let redirect = match tuple.family() {
        Family::V4 => REDIRECT_V4,
        Family::V6 => REDIRECT_V6,
    };
    let least = match tuple.protocol() {
        protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP | protocol::GRE => 8,
        protocol::ICMP | protocol::ICMPV6 => HEADER_BYTES,
        _ => 0,
    };
    let message = packet.l4();
    let quotes_enough = |(start, header_bytes): (usize, usize)| message.len() >= start + header_bytes + least;
    message.first() != Some(&redirect) && quote_offsets(tuple.family(), message).is_some_and(quotes_enough)
}

/// ICMP's unreachable code that asks for smaller packets (RFC 1191): the destination is reached with those. ICMPv6 has a
/// type for it.
const FRAGMENTATION_NEEDED: u8 = 4;

/// Whether an ICMP error says that its destination cannot be reached, be the packet as small as it may.
pub fn is_unreachable(packet: Packet<'_>) -> bool {
    match (packet.headers.tuple.family(), packet.l4()) {
        (Family::V4, [3, code, ..]) => *code != FRAGMENTATION_NEEDED,
        (Family::V6, [1, ..]) => true,
        _ => false,
    }
}

/// How a message is treated, and its identifier and type in place of ports. Whether an error is good, its quote
/// says: [`answer_to_quote`].
#[inline(never)]
pub(super) fn classify(family: Family, protocol: u8, l4: &[u8]) -> (PortPair, PacketKind) {
    let Some(&[kind, code, _, _, id @ .., _, _]) = l4.first_chunk::<HEADER_BYTES>() else {
        return ((0, 0), PacketKind::Invalid(InvalidReason::ShortHeader));
    };
    let ports = (u16::from_be_bytes(id), u16::from_be_bytes([kind, code]));
    if protocol != protocol_of(family) {
        return (ports, PacketKind::Invalid(InvalidReason::IcmpType));
    }
    let kind = match class(family, kind) {
        Class::Query | Class::Answer => PacketKind::Tracked,
        Class::Error => PacketKind::Error,
        Class::Untracked => PacketKind::Untracked,
        Class::Other => PacketKind::Invalid(InvalidReason::IcmpType),
    };
    (ports, kind)
}

/// The tuple of an answer to the packet that an error quotes; `own` is the error's own tuple. `None` where the
/// quote is no good, or is of a packet that the one who is told about it did not send.
#[cold]
#[inline(never)]
pub(super) fn answer_to_quote(own: Tuple, ttl: u8, l4: &[u8]) -> Option<Tuple> {
    let quoted = quoted_tuple(quote(own, ttl, l4)?)?;
    (quoted.src == own.dst).then(|| quoted.invert())
}

/// The protocol of a family's own ICMP.
const fn protocol_of(family: Family) -> u8 {
    match family {
        Family::V4 => protocol::ICMP,
        Family::V6 => protocol::ICMPV6,
    }
}

/// The datagram that an error quotes.
fn quote(own: Tuple, ttl: u8, l4: &[u8]) -> Option<Datagram<'_>> {
    let [kind, code] = own.selector.dport().to_be_bytes();
    let rest = l4.get(HEADER_BYTES..)?;
    match own.family() {
        Family::V4 => ipv4::quoted(rest),
        Family::V6 if kind == REDIRECT_V6 => {
            let valid = code == 0 && ttl == 255 && ipv6::is_link_local(own.src);
            if valid { redirected(rest) } else { None }
        }
        Family::V6 => ipv6::quoted(rest),
    }
}

/// Where the IP header of the datagram that an error quotes starts, from the start of the message, and how many bytes it
/// has. For a message whose quote was found good.
pub(crate) fn quote_offsets(family: Family, message: &[u8]) -> Option<(usize, usize)> {
    let start = match (family, message.first()?) {
        (Family::V6, &REDIRECT_V6) => HEADER_BYTES + TARGET_AND_DESTINATION_BYTES + OPTION_HEADER_BYTES,
        _ => HEADER_BYTES,
    };
    let quote = message.get(start..)?;
    let datagram = match family {
        Family::V4 => ipv4::quoted(quote),
        Family::V6 => ipv6::quoted(quote),
    };
    Some((start, datagram?.l4_offset))
}

/// What an error quotes behind the IP header. For a message whose quote was found good.
#[cold]
pub(crate) fn quoted_l4<'a>(packet: Packet<'a>) -> &'a [u8] {
    let message = packet.l4();
    let offsets = quote_offsets(packet.headers.tuple.family(), message);
    offsets.and_then(|(start, header_bytes)| message.get(start + header_bytes..)).unwrap_or_default()
}

/// Whether the IP header that an error quotes is undamaged, as far as that can be told: IPv6 headers have no checksum.
#[cold]
pub(crate) fn quotes_undamaged(packet: Packet<'_>) -> bool {
    match packet.headers.tuple.family() {
        Family::V4 => packet.l4().get(HEADER_BYTES..).is_some_and(ipv4::is_undamaged),
        Family::V6 => true,
    }
}

/// The datagram that a redirect, valid by RFC 4861 section 8.1, quotes in its first option, behind target and
/// destination.
fn redirected(rest: &[u8]) -> Option<Datagram<'_>> {
    const REDIRECTED_HEADER: u8 = 4;
    let (option, quote) =
        rest.get(TARGET_AND_DESTINATION_BYTES..)?.split_first_chunk::<OPTION_HEADER_BYTES>()?;
    if option[0] == REDIRECTED_HEADER && option[1] > 0 { ipv6::quoted(quote) } else { None }
}

/// The tuple of a quoted datagram. `None` where too little of it is quoted, or where it cannot have been part
/// of a connection: a later fragment, a message that neither asks nor answers.
fn quoted_tuple(quote: Datagram<'_>) -> Option<Tuple> {
    if quote.fragment == Fragment::Later || !quote.complete {
        return None;
    }
    let ports = readable_ports(quote.protocol, quote.l4)?;
    if protocol::is_icmp(quote.protocol) {
        let [kind, _] = ports.1.to_be_bytes();
        let asks_or_answers = matches!(class(quote.family, kind), Class::Query | Class::Answer);
        if quote.protocol != protocol_of(quote.family) || !asks_or_answers {
            return None;
        }
    }
    Some(quote.tuple(ports))
}
