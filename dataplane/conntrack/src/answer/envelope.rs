//! Ethernet and IP headers around an answer.

use crate::frame::Frame;
use crate::headers::Headers;
use crate::tuple::{Family, protocol};
use crate::wire::checksum::Sum;
use crate::wire::field::{self, Field};
use crate::wire::{self, ethernet, ipv4, ipv6};

/// TTL and hop limit of what the box sends.
pub(super) const TTL: u8 = 64;
/// Flags and offset of an IPv4 datagram that is not and must not be cut; its identification is zero (RFC 6864
/// section 4.1).
const ATOMIC: [u8; 4] = [0, 0, 0x40, 0];

/// Where an IPv4 header has them.
pub(super) const NUMBER_AND_FLAGS: Field =
    field::ipv4::IDENTIFICATION.start..field::ipv4::FLAGS_AND_OFFSET.end;

/// What stands in the headers of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<'a> {
    /// The Ethernet header, with all tags, of the frame that is answered.
    ethernet: &'a [u8],
    pub(super) family: Family,
    pub(super) source: u128,
    pub(super) destination: u128,
    /// IPv4 type of service, IPv6 traffic class.
    pub(super) traffic_class: u8,
    /// IPv4 identification, flags and fragment offset.
    pub(super) identification: [u8; 4],
}

impl<'a> Envelope<'a> {
    /// Back to the sender of a frame, from where the frame was sent to.
    pub(super) fn back<F: Frame>(frame: &'a F, headers: &Headers) -> Option<Self> {
        let (source, destination) = wire::addresses(frame.head(), headers);
        Some(Self {
            ethernet: frame.head().get(..usize::from(headers.l3_offset))?,
            family: headers.family()?,
            source: destination,
            destination: source,
            traffic_class: 0,
            identification: ATOMIC,
        })
    }

    /// The same from another address.
    pub(super) fn from(self, source: u128) -> Self {
        Self { source, ..self }
    }

    /// The same from one address to another.
    pub(super) fn between(self, source: u128, destination: u128) -> Self {
        Self { source, destination, ..self }
    }

    /// Writes the headers and, behind them, what `content` writes and gives the length of, into `out`. `content` leaves
    /// `checksum` zero. Gives the length of the frame, or `None` where it does not fit.
    pub(super) fn write(
        &self,
        protocol: u8,
        checksum: Field,
        out: &mut [u8],
        content: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<usize> {
        let (ethernet, l3) = out.split_at_mut_checked(self.ethernet.len())?;
        ethernet.copy_from_slice(self.ethernet);
        ethernet::invert(ethernet);

        let header_len = match self.family {
            Family::V4 => ipv4::HEADER_BYTES,
            Family::V6 => ipv6::HEADER_BYTES,
        };
        let (header, l4) = l3.split_at_mut_checked(header_len)?;
        let l4_len = content(l4)?;
        let l4 = l4.get_mut(..l4_len)?;
        let addresses = match self.family {
            Family::V4 => self.ipv4(header, protocol, l4_len)?,
            Family::V6 => self.ipv6(header, protocol, l4_len)?,
        };
        let pseudo_header = match protocol {
            protocol::ICMP => Sum::default(),
            _ => Sum::default().pseudo_header(addresses, protocol, l4_len as u32),
        };
        let sum = pseudo_header.bytes(l4).checksum();
        l4.get_mut(checksum)?.copy_from_slice(&sum.to_be_bytes());
        Some(self.ethernet.len() + header_len + l4_len)
    }

    /// Writes an IPv4 header (RFC 791); gives its addresses.
    fn ipv4<'h>(&self, header: &'h mut [u8], protocol: u8, l4_len: usize) -> Option<&'h [u8]> {
        let header: &mut [u8; ipv4::HEADER_BYTES] = header.try_into().ok()?;
        let total_len = u16::try_from(ipv4::HEADER_BYTES + l4_len).ok()?;
        header[field::ipv4::VERSION_AND_LENGTH] = 4 << 4 | (ipv4::HEADER_BYTES / 4) as u8;
        header[field::ipv4::TYPE_OF_SERVICE] = self.traffic_class;
        header[field::ipv4::TOTAL_LENGTH].copy_from_slice(&total_len.to_be_bytes());
        header[NUMBER_AND_FLAGS].copy_from_slice(&self.identification);
        header[field::ipv4::TTL] = TTL;
        header[field::ipv4::PROTOCOL] = protocol;
        header[field::ipv4::SOURCE].copy_from_slice(&(self.source as u32).to_be_bytes());
        header[field::ipv4::DESTINATION].copy_from_slice(&(self.destination as u32).to_be_bytes());
        ipv4::write_checksum(header);
        Some(&header[field::ipv4::ADDRESSES])
    }

    /// Writes an IPv6 header (RFC 8200 section 3); gives its addresses.
    fn ipv6<'h>(&self, header: &'h mut [u8], protocol: u8, l4_len: usize) -> Option<&'h [u8]> {
        let header: &mut [u8; ipv6::HEADER_BYTES] = header.try_into().ok()?;
        let payload_len = u16::try_from(l4_len).ok()?;
        let first = 6 << 28 | u32::from(self.traffic_class) << 20;
        header[field::ipv6::FIRST_WORD].copy_from_slice(&first.to_be_bytes());
        header[field::ipv6::PAYLOAD_LENGTH].copy_from_slice(&payload_len.to_be_bytes());
        header[field::ipv6::NEXT_HEADER] = protocol;
        header[field::ipv6::HOP_LIMIT] = TTL;
        header[field::ipv6::SOURCE].copy_from_slice(&self.source.to_be_bytes());
        header[field::ipv6::DESTINATION].copy_from_slice(&self.destination.to_be_bytes());
        Some(&header[field::ipv6::ADDRESSES])
    }
}
