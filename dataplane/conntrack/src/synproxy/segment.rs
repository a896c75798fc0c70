//! A TCP segment that becomes another one in its own frame: the cookie's ACK a SYN, the server's SYN/ACK an ACK.

use super::ClientOffer;
use crate::frame::Frame;
use crate::headers::Headers;
use crate::wire::tcp::{Flags, HEADER_BYTES};
use crate::wire::{self, field};
use arrayvec::ArrayVec;

/// Bytes of options at most.
const MAX_OPTIONS: usize = 12;

/// Options, padded.
pub(crate) type Options = ArrayVec<u8, MAX_OPTIONS>;

/// All that a header says but for its ports and its checksum.
pub(crate) struct Header {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: Flags,
    pub(crate) window: u16,
    pub(crate) options: Options,
}

/// The options of a SYN or SYN/ACK (RFC 9293 section 3.2, RFC 7323 section 2.2, RFC 2018 section 2).
pub(crate) fn syn_options(offer: &ClientOffer) -> Options {
    let [high, low] = offer.mss.to_be_bytes();
    let mut options = Options::new();
    options.extend([2, 4, high, low]);
    if offer.sack_perm {
        options.extend([1, 1, 4, 2]);
    }
    if let Some(wscale) = offer.wscale {
        options.extend([1, 3, 3, wscale]);
    }
    options
}

impl Header {
    /// Writes it into `out`, without ports and checksum; gives its length in bytes.
    pub(crate) fn write(&self, out: &mut [u8]) -> Option<usize> {
        let len = HEADER_BYTES + self.options.len();
        let header = out.get_mut(..len)?;
        header[field::tcp::SEQUENCE].copy_from_slice(&self.seq.to_be_bytes());
        header[field::tcp::ACKNOWLEDGMENT].copy_from_slice(&self.ack.to_be_bytes());
        header[field::tcp::DATA_OFFSET] = (len as u8 / 4) << 4;
        header[field::tcp::FLAGS] = self.flags.bits();
        header[field::tcp::WINDOW].copy_from_slice(&self.window.to_be_bytes());
        // Checksum and urgent pointer.
        header[field::tcp::CHECKSUM.start..HEADER_BYTES].fill(0);
        header[HEADER_BYTES..].copy_from_slice(&self.options);
        Some(len)
    }

    /// Makes a segment this one, without payload; lengths and checksums follow. False, and nothing is changed, where the frame has no room,
    /// or is one of several fragments.
    pub(super) fn replace<F: Frame>(&self, frame: &mut F, headers: &mut Headers) -> bool {
        let start = usize::from(headers.l4_offset);
        let removed = (headers.l4_len as usize).saturating_sub(HEADER_BYTES);
        if frame.reassembled().is_some() || !frame.splice(start + HEADER_BYTES, removed, &self.options) {
            return false;
        }
        let len = (HEADER_BYTES + self.options.len()) as u32;
        headers.l3_len = headers.l3_len - headers.l4_len + len;
        headers.l4_len = len;
        wire::write_length(frame.head_mut(), headers);
        self.write(frame.head_mut().get_mut(start..).unwrap_or_default());
        wire::write_checksum(frame, headers, field::tcp::CHECKSUM);
        true
    }
}
