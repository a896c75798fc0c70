//! Completing checksums that a sender has left to its device.
//!
//! A host at the other end of a virtual cable (veth, virtio) writes into TCP's and UDP's checksum field the sum over the
//! pseudo header alone, which a NIC would take up (Linux: `CHECKSUM_PARTIAL`), and zeros into SCTP's. There is no NIC, nor
//! anything on the way that could have damaged the packet.

use super::bytes::{get, put};
use super::checksum::Sum;
use super::field::{self, Field};
use super::verify::{l4_header, pseudo_header, sctp_crc};
use super::{parse, sctp, segments};
use crate::frame::Frame;
use crate::headers::{Fragment, Headers, PacketKind};
use crate::tuple::protocol;

/// Completes the checksum of a whole TCP, UDP or SCTP packet if it was left to the device; gives whether it was. For
/// packets from a virtual cable only: of those that a real link has damaged, one in 65,536 looks so.
pub fn complete_checksum<F: Frame>(frame: &mut F) -> bool {
    let Ok(headers) = parse(frame) else { return false };
    if headers.kind != PacketKind::Tracked || headers.fragment != Fragment::Whole {
        return false;
    }
    match headers.protocol {
        protocol::TCP => complete_sum(frame, &headers, field::tcp::CHECKSUM),
        protocol::UDP => complete_sum(frame, &headers, field::udp::CHECKSUM),
        protocol::SCTP => complete_crc(frame, &headers),
        _ => false,
    }
}

fn complete_sum<F: Frame>(frame: &mut F, headers: &Headers, field: Field) -> bool {
    let l4 = frame.head().get(usize::from(headers.l4_offset)..).unwrap_or_default();
    let Some(found) = get(l4, field.clone()) else { return false };
    if u16::from_be_bytes(found) != !pseudo_header(frame, headers, headers.l4_len).checksum() {
        return false;
    }
    // What stands in the field is the part of the sum that it is to begin with.
    let l4 = segments::slices(frame, headers.l4_offset, headers.l4_len as usize);
    let checksum = match l4.fold(Sum::default(), Sum::bytes).checksum() {
        // UDP's zero says that there is none (RFC 768); TCP takes either zero (RFC 1624 section 3).
        0 => u16::MAX,
        checksum => checksum,
    };
    write(frame, headers, field, checksum.to_be_bytes());
    true
}

fn complete_crc<F: Frame>(frame: &mut F, headers: &Headers) -> bool {
    let Some(header) = l4_header::<F, { sctp::HEADER_BYTES }>(frame, headers) else { return false };
    if header[field::sctp::CHECKSUM] != [0; 4] {
        return false;
    }
    let crc = sctp_crc(frame, headers, header);
    write(frame, headers, field::sctp::CHECKSUM, crc);
    true
}

fn write<F: Frame, const N: usize>(frame: &mut F, headers: &Headers, field: Field, bytes: [u8; N]) {
    put(frame.head_mut().get_mut(usize::from(headers.l4_offset)..).unwrap_or_default(), field, bytes);
}
