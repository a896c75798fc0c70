//! Completing checksums that a sender has left to its device.
//!
//! A host at the other end of a virtual cable (veth, virtio) writes into TCP's and UDP's checksum field the sum over the
//! pseudo header alone, which a NIC would take up (Linux: `CHECKSUM_PARTIAL`), and zeros into SCTP's. There is no NIC, nor
//! anything on the way that could have damaged the packet.

use super::checksum::Sum;
use super::verify::{l4_header, pseudo_header, sctp_crc};
use super::{parse, sctp, segments};
use crate::frame::Frame;
use crate::headers::{Fragment, Headers, Kind};
use crate::tuple::protocol;

/// Where the checksum is in a TCP and in a UDP header.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;

/// Completes the checksum of a whole TCP, UDP or SCTP packet if it was left to the device; gives whether it was. For
/// packets from a virtual cable only: of those that a real link has damaged, one in 65,536 looks so.
pub fn complete_checksum<F: Frame>(frame: &mut F) -> bool {
    let Ok(headers) = parse(frame) else { return false };
    if headers.kind != Kind::Tracked || headers.fragment != Fragment::Whole {
        return false;
    }
    match headers.protocol {
        protocol::TCP => complete_sum(frame, &headers, TCP_CHECKSUM),
        protocol::UDP => complete_sum(frame, &headers, UDP_CHECKSUM),
        protocol::SCTP => complete_crc(frame, &headers),
        _ => false,
    }
}

fn complete_sum<F: Frame>(frame: &mut F, headers: &Headers, offset: usize) -> bool {
    let place = usize::from(headers.l4_offset) + offset;
    let Some(found) = frame.head().get(place..).and_then(|bytes| bytes.first_chunk::<2>()) else {
        return false;
    };
    if u16::from_be_bytes(*found) != !pseudo_header(frame, headers, headers.l4_len).checksum() {
        return false;
    }
    // What stands in the field is the part of the sum that it is to begin with.
    let l4 = segments::slices(frame, headers.l4_offset, headers.l4_len as usize);
    let checksum = match l4.fold(Sum::default(), Sum::bytes).checksum() {
        // UDP's zero says that there is none (RFC 768); TCP takes either zero (RFC 1624 section 3).
        0 => u16::MAX,
        checksum => checksum,
    };
    write(frame, place, &checksum.to_be_bytes());
    true
}

fn complete_crc<F: Frame>(frame: &mut F, headers: &Headers) -> bool {
    let Some(header) = l4_header::<F, { sctp::HEADER_BYTES }>(frame, headers) else { return false };
    if header[sctp::CHECKSUM_OFFSET..] != [0; 4] {
        return false;
    }
    let crc = sctp_crc(frame, headers, header);
    write(frame, usize::from(headers.l4_offset) + sctp::CHECKSUM_OFFSET, &crc);
    true
}

fn write<F: Frame>(frame: &mut F, place: usize, bytes: &[u8]) {
    if let Some(field) = frame.head_mut().get_mut(place..place + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}
