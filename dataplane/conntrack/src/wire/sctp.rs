//! SCTP packets and their chunks (RFC 9260).

use super::PortPair;
use super::bytes::{u16_at, u32_at};
use super::field;
use crate::headers::Packet;
use crate::verdict::InvalidReason;

/// Bytes of the common header.
pub const HEADER_BYTES: usize = 12;
/// Bytes of a chunk's header.
const CHUNK_HEADER_BYTES: usize = 4;
/// Bytes of a chunk up to the initiate tag of an INIT or INIT ACK, that included.
pub(super) const INITIATE_BYTES: usize = 8;

/// The chunk types that a middlebox reads (RFC 9260 section 3.2).
pub mod chunk_type {
    #![allow(missing_docs)]
    pub const DATA: u8 = 0;
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const SACK: u8 = 3;
    pub const HEARTBEAT: u8 = 4;
    pub const HEARTBEAT_ACK: u8 = 5;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const ERROR: u8 = 9;
    pub const COOKIE_ECHO: u8 = 10;
    pub const COOKIE_ACK: u8 = 11;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// A packet: the common header's fields in host order, its chunks unread.
#[derive(Clone, Copy, Debug)]
pub struct SctpPacket<'a> {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Verification tag.
    pub tag: u32,
    chunks: &'a [u8],
}

impl<'a> SctpPacket<'a> {
    /// Reads the common header. `None` where it is cut off, which no packet of
    /// [`crate::headers::PacketKind::Tracked`] is.
    pub fn parse(packet: &Packet<'a>) -> Option<Self> {
        let (header, chunks) = packet.l4().split_first_chunk::<HEADER_BYTES>()?;
        Some(Self {
            sport: u16_at(header, field::ports::SOURCE),
            dport: u16_at(header, field::ports::DESTINATION),
            tag: u32_at(header, field::sctp::VERIFICATION_TAG),
            chunks,
        })
    }

    /// The chunks, in order, as far as they are in the first segment. The last item is an error where a
    /// chunk's length makes no sense.
    pub const fn chunks(&self) -> Chunks<'a> {
        Chunks { rest: self.chunks }
    }
}

/// The ports of a common header that is whole.
pub(super) fn ports(l4: &[u8]) -> Result<PortPair, InvalidReason> {
    let header: &[u8; HEADER_BYTES] = l4.first_chunk().ok_or(InvalidReason::ShortHeader)?;
    Ok((u16_at(header, field::ports::SOURCE), u16_at(header, field::ports::DESTINATION)))
}

/// One chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Its type, see [`chunk_type`].
    pub kind: u8,
    /// Flags, by type.
    pub flags: u8,
    /// Its content, without padding; shorter than it says itself where the packet ends before.
    pub value: &'a [u8],
}

impl Chunk<'_> {
    /// The T bit of ABORT and SHUTDOWN COMPLETE: the verification tag is the receiver's own, sent back.
    pub const fn is_reflected(&self) -> bool {
        self.flags & 1 != 0
    }

    /// The initiate tag, first field of INIT and INIT ACK.
    pub fn initiate_tag(&self) -> Option<u32> {
        self.value.first_chunk::<4>().map(|tag| u32_at(tag, field::chunk::INITIATE_TAG))
    }
}

/// A chunk shorter than its own header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk;

/// Iterator over chunks: see [`SctpPacket::chunks`]. Each step takes four bytes at least.
#[derive(Clone, Copy, Debug)]
pub struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, BadChunk>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.rest.first_chunk::<CHUNK_HEADER_BYTES>()?;
        let ([kind, flags, ..], length) = (*header, usize::from(u16_at(header, field::chunk::LENGTH)));
        if length < CHUNK_HEADER_BYTES {
            self.rest = &[];
            return Some(Err(BadChunk));
        }
        let value = &self.rest[CHUNK_HEADER_BYTES..length.min(self.rest.len())];
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Chunk { kind, flags, value }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;

    fn chunks(bytes: &[u8]) -> Vec<Result<(u8, usize), BadChunk>> {
        Chunks { rest: bytes }.map(|chunk| chunk.map(|chunk| (chunk.kind, chunk.value.len()))).collect()
    }

    #[test]
    fn the_common_header_is_read() {
        let head = [0x13, 0x88, 0x17, 0x70, 0, 0, 0x22, 0x22, 9, 9, 9, 9, 11, 0, 0, 4];
        let headers = Headers { l4_len: 16, ..Headers::default() };
        let packet = SctpPacket::parse(&Packet { headers: &headers, head: &head }).unwrap();
        assert_eq!((packet.sport, packet.dport, packet.tag), (5000, 6000, 0x2222));
        assert_eq!(packet.chunks().count(), 1);
        let short = Headers { l4_len: 11, ..Headers::default() };
        assert!(SctpPacket::parse(&Packet { headers: &short, head: &head }).is_none());
    }

    #[test]
    fn chunks_are_padded_to_four_bytes() {
        let bytes = [10, 0, 0, 7, 1, 2, 3, 0, 0, 3, 0, 6, 1, 2, 0, 0, 14, 0, 0, 4];
        assert_eq!(chunks(&bytes), [Ok((10, 3)), Ok((0, 2)), Ok((14, 0))]);
    }

    #[test]
    fn damaged_chunks_end_the_iteration() {
        assert_eq!(chunks(&[0, 0, 0, 3, 1, 0, 0, 4]), [Err(BadChunk)]);
        assert_eq!(chunks(&[0, 0, 0, 0]), [Err(BadChunk)]);
        assert_eq!(chunks(&[0, 0, 0, 200, 1, 2]), [Ok((0, 2))]);
        assert_eq!(chunks(&[11, 0, 0, 4, 1, 0]), [Ok((11, 0))]);
    }

    #[test]
    fn an_init_carries_its_tag() {
        let chunk = Chunk { kind: chunk_type::INIT, flags: 0, value: &[0, 0, 0x11, 0x11, 0] };
        assert_eq!(chunk.initiate_tag(), Some(0x1111));
        assert_eq!(Chunk { value: &[0, 0, 0], ..chunk }.initiate_tag(), None);
    }
}
