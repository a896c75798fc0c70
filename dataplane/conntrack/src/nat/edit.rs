//! Rewriting packets: addresses, ports and checksums in place.
//!
//! A checksum is not computed anew but changed by what has changed (RFC 1624), so that damage stays visible; UDP's "no
//! checksum" stays none. SCTP's CRC does not cover addresses, and is computed anew where a port changes.

use crate::frame::Frame;
use crate::headers::{Headers, Packet};
use crate::tuple::{Family, Tuple, protocol};
use crate::wire::bytes::{self, put};
use crate::wire::checksum::{self, Crc32c, Sum};
use crate::wire::field::{self, Field};
use crate::wire::usual::Usual;
use crate::wire::{self, ethernet, gre, icmp, ipv4, segments, tcp, udp};

/// Where a packet goes once its destination is translated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination {
    /// The address.
    pub(crate) address: u128,
    /// The port; `None` where it is the packet's own.
    pub(crate) port: Option<u16>,
}

impl Destination {
    /// That of packets which become ones of this tuple.
    pub(crate) const fn of(to: &Tuple) -> Self {
        Self { address: to.dst, port: Some(to.selector.dport()) }
    }
}

/// Whether a packet can become one of tuple `to`: one of a protocol whose ports cannot be found keeps its destination.
#[inline]
pub(crate) fn is_rewritable(packet: Packet<'_>, to: &Tuple) -> bool {
    packet.headers.protocol != protocol::GRE
        || to.dst == packet.headers.tuple.dst
        || gre::is_known(packet.l4())
}

/// What becoming another tuple adds to the sums over a packet: new words less old ones (RFC 1624).
#[derive(Clone, Copy)]
struct Changes {
    /// To that over the IPv4 header.
    l3: u64,
    /// To that over what the L4 checksum covers, pseudo header included.
    l4: u64,
}

impl Changes {
    /// Those of a packet of tuple `from` that becomes one of tuple `to`.
    #[inline(always)]
    fn between(from: &Tuple, to: &Tuple) -> Self {
        let addresses = match from.family() {
            Family::V4 => {
                checksum::change(from.src as u32, to.src as u32)
                    + checksum::change(from.dst as u32, to.dst as u32)
            }
            Family::V6 => checksum::change_wide(from.src, to.src) + checksum::change_wide(from.dst, to.dst),
        };
        let ports = checksum::change(from.selector.ports(), to.selector.ports());
        let l4 = match from.protocol() {
            // ICMP has no pseudo header. Type and code, where others have the destination port, stay.
            protocol::ICMP => ports,
            _ => addresses + ports,
        };
        Self { l3: addresses, l4 }
    }
}

/// Where an L4 header has what a translation changes.
struct Layout {
    source_port: Option<Field>,
    destination_port: Option<Field>,
    checksum: Option<Field>,
}

impl Layout {
    /// That of a protocol. An ICMP identifier counts as the source port.
    const fn of(number: u8) -> Self {
        let (source_port, destination_port) = match number {
            protocol::ICMP | protocol::ICMPV6 => (Some(field::icmp::IDENTIFIER), None),
            _ if protocol::has_ports(number) => (Some(field::ports::SOURCE), Some(field::ports::DESTINATION)),
            _ => (None, None),
        };
        let checksum = match number {
            protocol::TCP => Some(field::tcp::CHECKSUM),
            protocol::UDP | protocol::UDPLITE => Some(field::udp::CHECKSUM),
            // It is tracked without ports, which so stay; its checksum covers the addresses all the same.
            protocol::DCCP => Some(field::dccp::CHECKSUM),
            protocol::ICMP | protocol::ICMPV6 => Some(field::icmp::CHECKSUM),
            _ => None,
        };
        Self { source_port, destination_port, checksum }
    }
}

/// Makes a packet of a connection one of tuple `to`.
#[inline(never)]
pub(crate) fn rewrite<F: Frame>(frame: &mut F, headers: &Headers, to: &Tuple) {
    let changes = Changes::between(&headers.tuple, to);
    let head = frame.head_mut();
    write_addresses(head, headers.l3_offset.into(), to, changes.l3);
    write_ports(head, headers.l4_offset.into(), to, changes.l4);
    if headers.protocol == protocol::SCTP && headers.tuple.selector.ports() != to.selector.ports() {
        recompute_sctp_crc(frame, headers);
    }
}

/// Makes a usual packet of tuple `from` one of tuple `to`, and takes one from its TTL if a router passes it on.
#[inline(always)]
pub(crate) fn rewrite_usual(head: &mut [u8], usual: &Usual, from: &Tuple, to: &Tuple, is_hop: bool) {
    let mut changes = Changes::between(from, to);
    if is_hop {
        changes.l3 += usual.take_hop(head);
    }
    write_addresses(head, ethernet::HEADER_BYTES, to, changes.l3);
    write_ports(head, usual.l4_offset(), to, changes.l4);
}

/// Writes the addresses of a tuple into the IP header at `offset`.
#[inline(always)]
fn write_addresses(head: &mut [u8], offset: usize, to: &Tuple, change: u64) {
    let header = head.get_mut(offset..).unwrap_or_default();
    match to.family() {
        Family::V4 => {
            let Some(header) = header.first_chunk_mut::<{ ipv4::HEADER_BYTES }>() else { return };
            checksum::add_in(header, field::ipv4::CHECKSUM, change);
            let addresses = (to.src as u64) << 32 | to.dst as u64;
            put(header, field::ipv4::ADDRESSES, addresses.to_be_bytes());
        }
        Family::V6 => {
            put(header, field::ipv6::SOURCE, to.src.to_be_bytes());
            put(header, field::ipv6::DESTINATION, to.dst.to_be_bytes());
        }
    }
}

/// Writes the ports of a tuple into the L4 header at `offset`, as far as that is there.
#[inline(always)]
fn write_ports(head: &mut [u8], offset: usize, to: &Tuple, change: u64) {
    let header = head.get_mut(offset..).unwrap_or_default();
    // Most packets are these, whole: their fields are at hand.
    match to.protocol() {
        protocol::TCP => {
            if let Some(header) = header.first_chunk_mut::<{ tcp::HEADER_BYTES }>() {
                checksum::add_in(header, field::tcp::CHECKSUM, change);
                put(header, field::ports::BOTH, to.selector.ports().to_be_bytes());
                return;
            }
        }
        protocol::UDP => {
            if let Some(header) = header.first_chunk_mut::<{ udp::HEADER_BYTES }>() {
                udp::add_to_checksum(header, change);
                put(header, field::ports::BOTH, to.selector.ports().to_be_bytes());
                return;
            }
        }
        _ => {}
    }
    write_rarer_ports(header, to, change);
}

/// RFC 768, RFC 3828: a checksum that comes out as zero is sent as all ones.
const fn never_zero(checksum: u16) -> u16 {
    if checksum == 0 { u16::MAX } else { checksum }
}

/// The same for any protocol, and for headers that are cut off.
#[inline(never)]
fn write_rarer_ports(header: &mut [u8], to: &Tuple, change: u64) {
    let layout = Layout::of(to.protocol());
    if let Some(field) = layout.checksum
        && let Some(sum) = bytes::get(header, field.clone())
    {
        let (sum, number) = (u16::from_be_bytes(sum), to.protocol());
        let changed = match number {
            protocol::UDP if sum == 0 => 0,
            protocol::UDP | protocol::UDPLITE => never_zero(checksum::add(sum, change)),
            _ => checksum::add(sum, change),
        };
        put(header, field, changed.to_be_bytes());
    }
    if to.protocol() == protocol::GRE {
        gre::write_call_id(header, to.selector.dport());
    }
    if let Some(field) = layout.source_port {
        put(header, field, to.selector.sport().to_be_bytes());
    }
    if let Some(field) = layout.destination_port {
        put(header, field, to.selector.dport().to_be_bytes());
    }
}

/// Writes the identification into the IPv4 header of a packet.
pub(super) fn write_identification(head: &mut [u8], headers: &Headers, number: u16) {
    let header = head.get_mut(usize::from(headers.l3_offset)..).unwrap_or_default();
    let Some(old) = bytes::get(header, field::ipv4::IDENTIFICATION) else { return };
    let change = checksum::change(u16::from_be_bytes(old).into(), number.into());
    put(header, field::ipv4::IDENTIFICATION, number.to_be_bytes());
    checksum::add_in(header, field::ipv4::CHECKSUM, change);
}

#[cold]
fn recompute_sctp_crc<F: Frame>(frame: &mut F, headers: &Headers) {
    let start = usize::from(headers.l4_offset);
    put(frame.head_mut().get_mut(start..).unwrap_or_default(), field::sctp::CHECKSUM, [0; 4]);
    let crc = segments::slices(frame, headers.l4_offset, headers.l4_len as usize)
        .fold(Crc32c::default(), Crc32c::bytes);
    put(frame.head_mut().get_mut(start..).unwrap_or_default(), field::sctp::CHECKSUM, crc.to_wire());
}

/// The translation of an ICMP error: what stands outside and what it quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorEdit {
    /// The new source of the error itself; `None` where the sender's own address may be seen.
    pub(crate) src: Option<u128>,
    /// The new destination of the error itself.
    pub(crate) dst: Option<u128>,
    /// What the quoted packet was before it was translated.
    pub(crate) quoted: Tuple,
}

/// Translates an ICMP error, outside and inside (RFC 5508 section 4): its receiver sees the packet that it sent quoted.
#[cold]
pub(crate) fn rewrite_error<F: Frame>(frame: &mut F, headers: &Headers, edit: &ErrorEdit) {
    let (l3, l4) = (usize::from(headers.l3_offset), usize::from(headers.l4_offset));
    let quoted = headers.tuple.invert();
    let (src, dst) = wire::addresses(frame.head(), headers);
    let outside = Tuple { src: edit.src.unwrap_or(src), dst: edit.dst.unwrap_or(dst), ..quoted };
    let l3_change = checksum::change_wide(src, outside.src) + checksum::change_wide(dst, outside.dst);

    let head = frame.head_mut();
    write_addresses(head, l3, &outside, l3_change);
    let end = l4.saturating_add(headers.l4_len as usize).min(head.len());
    let message = head.get_mut(l4..end).unwrap_or_default();
    let Some((start, header_bytes)) = icmp::quote_offsets(quoted.family(), message) else { return };
    let before = Sum::default().bytes(message).checksum();
    let changes = Changes::between(&quoted, &edit.quoted);
    write_addresses(message, start, &edit.quoted, changes.l3);
    write_ports(message, start + header_bytes, &edit.quoted, changes.l4);
    let after = Sum::default().bytes(message).checksum();
    let pseudo_change = match quoted.family() {
        Family::V4 => 0,
        Family::V6 => l3_change,
    };
    // A checksum is the complement of its sum: the sum grew by what the checksum shrank by.
    let change = checksum::change(after.into(), before.into()) + pseudo_change;
    checksum::add_in(message, field::icmp::CHECKSUM, change);
}
