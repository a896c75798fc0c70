//! TCP resets in the name of a segment's destination (RFC 9293 section 3.10.7.1).

use super::envelope::Envelope;
use crate::frame::Frame;
use crate::headers::{Fragment, Headers, Packet};
use crate::tuple::protocol;
use crate::wire::field;
use crate::wire::tcp::{Flags, HEADER_BYTES, Segment};

/// Writes the reset that answers a segment. Nothing answers a reset, nor a segment that is cut.
pub(super) fn write<F: Frame>(
    frame: &F,
    headers: &Headers,
    envelope: Envelope<'_>,
    out: &mut [u8],
) -> Option<usize> {
    if headers.protocol != protocol::TCP || headers.fragment != Fragment::Whole {
        return None;
    }
    let segment = Segment::parse(&Packet { headers, head: frame.head() })?;
    if segment.flags.contains(Flags::RST) {
        return None;
    }
    let (seq, ack, flags) = match segment.flags.contains(Flags::ACK) {
        true => (segment.ack, 0, Flags::RST),
        false => (0, segment.end(), Flags::RST | Flags::ACK),
    };
    envelope.write(protocol::TCP, field::tcp::CHECKSUM, out, |out| {
        let header: &mut [u8; HEADER_BYTES] = out.first_chunk_mut()?;
        *header = [0; HEADER_BYTES];
        header[field::ports::SOURCE].copy_from_slice(&segment.dport.to_be_bytes());
        header[field::ports::DESTINATION].copy_from_slice(&segment.sport.to_be_bytes());
        header[field::tcp::SEQUENCE].copy_from_slice(&seq.to_be_bytes());
        header[field::tcp::ACKNOWLEDGMENT].copy_from_slice(&ack.to_be_bytes());
        header[field::tcp::DATA_OFFSET] = (HEADER_BYTES as u8 / 4) << 4;
        header[field::tcp::FLAGS] = flags.bits();
        Some(HEADER_BYTES)
    })
}
