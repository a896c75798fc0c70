//! TCP segments (RFC 9293) with the options that a middlebox reads: segment size, window scale (RFC 7323) and SACK
//! (RFC 2018).

use super::PortPair;
use super::bytes::{u16_at, u32_at};
use super::field;
use crate::headers::Packet;
use crate::verdict::InvalidReason;
use bitflags::bitflags;

/// Bytes of a header without options.
pub const HEADER_BYTES: usize = 20;

/// Bytes of the longest header, with all options that there can be.
pub const LONGEST_HEADER: usize = 60;

/// The control bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

bitflags! {
    impl Flags: u8 {
        /// No more data from the sender.
        const FIN = 0x01;
        /// Synchronise sequence numbers.
        const SYN = 0x02;
        /// Reset.
        const RST = 0x04;
        /// Push.
        const PSH = 0x08;
        /// The acknowledgement number counts.
        const ACK = 0x10;
        /// The urgent pointer counts.
        const URG = 0x20;
        /// ECN echo (RFC 3168).
        const ECE = 0x40;
        /// Congestion window reduced (RFC 3168).
        const CWR = 0x80;
    }
}

/// A segment: its header's fields in host order, its options unread.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Sequence number of the first byte, or of the SYN.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Control bits.
    pub flags: Flags,
    /// Window as it stands in the header, not scaled.
    pub window: u16,
    /// Header with options in bytes, 20 to 60.
    pub header_len: u8,
    /// Payload in bytes, as the IP header says; it may lie in later segments of the frame.
    pub payload_len: u32,
    options: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads the header of a TCP packet. `None` where it is cut off or its data offset is impossible, which
    /// no packet of [`crate::headers::PacketKind::Tracked`] is.
    #[inline]
    pub fn parse(packet: &Packet<'a>) -> Option<Self> {
        Self::read(packet.l4(), packet.headers.l4_len)
    }

    /// The same of L4 header and payload, of which there are so many bytes, as far as they are in the first segment.
    #[inline(always)]
    pub(crate) fn read(l4: &'a [u8], l4_len: u32) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = l4.first_chunk()?;
        let header_len = data_offset(header);
        let options = l4.get(HEADER_BYTES..header_len)?;
        Some(Self {
            sport: u16_at(header, field::ports::SOURCE),
            dport: u16_at(header, field::ports::DESTINATION),
            seq: u32_at(header, field::tcp::SEQUENCE),
            ack: u32_at(header, field::tcp::ACKNOWLEDGMENT),
            flags: Flags(header[field::tcp::FLAGS]),
            window: u16_at(header, field::tcp::WINDOW),
            header_len: header_len as u8,
            payload_len: l4_len - header_len as u32,
            options,
        })
    }

    /// Sequence number right behind this segment: SYN and FIN count as one byte each.
    pub const fn end(&self) -> u32 {
        let controls = self.flags.contains(Flags::SYN) as u32 + self.flags.contains(Flags::FIN) as u32;
        self.seq.wrapping_add(self.payload_len).wrapping_add(controls)
    }

    /// The options, in order, up to the end of the list or the first one that is damaged.
    pub const fn options(&self) -> Options<'a> {
        Options { rest: self.options }
    }

    /// Whether there are options, and other ones than a lone timestamp as most stacks lay it out (RFC 7323
    /// appendix A).
    #[inline]
    pub fn may_have_sack(&self) -> bool {
        const TIMESTAMP: [u8; 4] = [1, 1, 8, 10];
        match self.options.len() {
            0 => false,
            12 => !self.options.starts_with(&TIMESTAMP),
            _ => true,
        }
    }
}

/// The ports of a good header: one that holds its options, in a packet that holds it.
#[inline(always)]
pub(super) fn ports(l4: &[u8], l4_len: usize) -> Result<PortPair, InvalidReason> {
    let header: &[u8; HEADER_BYTES] = l4.first_chunk().ok_or(InvalidReason::ShortHeader)?;
    match data_offset(header) {
        offset if offset < HEADER_BYTES || offset > l4_len => Err(InvalidReason::BadLength),
        offset if offset > l4.len() => Err(InvalidReason::ShortHeader),
        _ => Ok((u16_at(header, field::ports::SOURCE), u16_at(header, field::ports::DESTINATION))),
    }
}

/// Bytes of the header at the start of `l4`, options included; of one without them where it does not say.
pub(super) fn header_bytes(l4: &[u8]) -> usize {
    l4.first_chunk().map_or(HEADER_BYTES, |header| data_offset(header).max(HEADER_BYTES))
}

/// Header length in bytes as the data offset field says, options included; not checked.
#[inline]
const fn data_offset(header: &[u8; HEADER_BYTES]) -> usize {
    (header[field::tcp::DATA_OFFSET] >> 4) as usize * 4
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// The maximum segment size.
    Mss(u16),
    /// Window scale, as sent: RFC 7323 takes anything above 14 for 14.
    WindowScale(u8),
    /// SACK may be used.
    SackPermitted,
    /// SACK blocks: left and right edge in network order.
    Sack(&'a [[u8; 8]]),
    /// Any other, or one of these with a length it cannot have.
    Other {
        /// Its kind.
        kind: u8,
    },
}

/// Iterator over options: see [`Segment::options`].
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// The blocks of all SACK options: each the first sequence number of a block and the one behind it.
    pub fn sack_blocks(self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        let blocks = self.flat_map(|option| match option {
            TcpOption::Sack(blocks) => blocks,
            _ => &[],
        });
        blocks.map(|block| (u32_at(block, 0..4), u32_at(block, 4..8)))
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        const END: u8 = 0;
        const NO_OPERATION: u8 = 1;
        loop {
            let (&kind, rest) = self.rest.split_first()?;
            match kind {
                END => return None,
                NO_OPERATION => self.rest = rest,
                _ => {
                    let (&length, _) = rest.split_first()?;
                    let value = self.rest.get(2..usize::from(length))?;
                    self.rest = &self.rest[usize::from(length)..];
                    return Some(TcpOption::from_parts(kind, value));
                }
            }
        }
    }
}

impl<'a> TcpOption<'a> {
    fn from_parts(kind: u8, value: &'a [u8]) -> Self {
        match (kind, value) {
            (2, &[high, low]) => Self::Mss(u16::from_be_bytes([high, low])),
            (3, &[shift]) => Self::WindowScale(shift),
            (4, []) => Self::SackPermitted,
            (5, blocks) => match blocks.as_chunks() {
                (blocks @ [_, ..], []) => Self::Sack(blocks),
                _ => Self::Other { kind },
            },
            _ => Self::Other { kind },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;

    /// A segment with these options (padded by the caller) and five bytes of payload.
    fn bytes(options: &[u8]) -> Vec<u8> {
        let mut segment = vec![0x12, 0x34, 0, 80, 0, 0, 0, 7, 0, 0, 1, 0, 0, 0x12, 0x20, 0, 0, 0, 0, 0];
        segment[12] = (((HEADER_BYTES + options.len()) / 4) << 4) as u8;
        segment.extend_from_slice(options);
        segment.extend_from_slice(b"hello");
        segment
    }

    fn headers(head: &[u8]) -> Headers {
        Headers { l4_len: head.len() as u32, ..Headers::default() }
    }

    fn options(options: &[u8]) -> Vec<TcpOption<'_>> {
        Options { rest: options }.collect()
    }

    #[test]
    fn fields_are_read_in_host_order() {
        let head = bytes(&[2, 4, 5, 180]);
        let headers = headers(&head);
        let segment = Segment::parse(&Packet { headers: &headers, head: &head }).unwrap();
        assert_eq!((segment.sport, segment.dport), (0x1234, 80));
        assert_eq!((segment.seq, segment.ack, segment.window), (7, 256, 0x2000));
        assert_eq!((segment.header_len, segment.payload_len), (24, 5));
        assert_eq!(segment.flags, Flags::SYN | Flags::ACK);
        assert_eq!(segment.end(), 7 + 5 + 1);
    }

    #[test]
    fn impossible_headers_are_refused() {
        let good = bytes(&[]);
        for length in 0..HEADER_BYTES {
            let head = &good[..length];
            assert!(Segment::parse(&Packet { headers: &headers(head), head }).is_none());
        }
        for offset in [0u8, 4, 7, 15] {
            let mut head = good.clone();
            head[12] = offset << 4;
            assert!(Segment::parse(&Packet { headers: &headers(&head), head: &head }).is_none(), "{offset}");
        }
    }

    #[test]
    fn options_end_where_they_are_damaged() {
        use TcpOption::{Mss, Other, SackPermitted, WindowScale};
        assert_eq!(options(&[1, 3, 3, 7, 4, 2, 0, 3, 3, 9]), [WindowScale(7), SackPermitted]);
        assert_eq!(options(&[2, 4, 5, 180, 3, 4, 7, 7]), [Mss(1460), Other { kind: 3 }]);
        for damaged in [&[3][..], &[3, 0, 7], &[3, 1, 7], &[3, 4, 7], &[8, 255]] {
            assert_eq!(options(damaged), [], "{damaged:?}");
        }
    }

    #[test]
    fn sack_blocks_of_all_options_are_found() {
        let head = bytes(&[1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9, 5, 10, 0, 0, 1, 0, 0, 0, 2, 0, 5, 2]);
        let headers = headers(&head);
        let segment = Segment::parse(&Packet { headers: &headers, head: &head }).unwrap();
        assert_eq!(segment.options().sack_blocks().collect::<Vec<_>>(), [(1, 9), (256, 512)]);
    }
}
