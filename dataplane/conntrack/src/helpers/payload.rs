//! Rewriting packets: the text of their payload, and of segments the numbers in their header.
//!
//! Checksums are changed by what has changed (RFC 1624), so that damage stays visible.

use super::shift::{Edge, Shift};
use crate::frame::Frame;
use crate::headers::Headers;
use crate::tuple::protocol;
use crate::wire::bytes::{get, put};
use crate::wire::checksum::{self, Sum};
use crate::wire::field::{self, Field};
use crate::wire::{self, segments, tcp, udp};

/// An option without a length (RFC 9293 section 3.2).
const NO_OPERATION: u8 = 1;
/// The option that has SACK blocks (RFC 2018 section 3).
const SACK: u8 = 5;

/// Rewrites texts of a TCP segment or a UDP datagram whose payload begins at `start` of the frame, and which has all of them, in
/// order: each from this byte of the payload on, so many bytes become these. Lengths and checksums follow. False where
/// the frame has no room: it must not leave then.
pub(super) fn replace<'a, F: Frame>(
    frame: &mut F,
    headers: &mut Headers,
    start: usize,
    texts: impl DoubleEndedIterator<Item = (usize, usize, &'a [u8])>,
) -> bool {
    let is_udp = headers.protocol == protocol::UDP;
    let len = covered(frame, headers);
    let before = sum(frame, headers, len);
    let mut grown = 0_u32;
    for (at, removed, inserted) in texts.rev() {
        if !frame.splice(start + at, removed, inserted) {
            return false;
        }
        grown = grown.wrapping_add(inserted.len() as u32).wrapping_sub(removed as u32);
    }
    headers.l3_len = headers.l3_len.wrapping_add(grown);
    headers.l4_len = headers.l4_len.wrapping_add(grown);
    let new_len = len.wrapping_add(grown);
    if is_udp {
        edit_l4(frame, headers, |l4| udp::write_length(l4, new_len as u16));
    }
    // A checksum is the complement of its sum: the sum grew by what the checksum shrank by.
    let text = checksum::change(sum(frame, headers, new_len).into(), before.into());
    let change = text + checksum::change(len, new_len);
    edit_l4(frame, headers, |l4| {
        if is_udp {
            udp::add_to_checksum(l4, change)
        } else {
            checksum::add_in(l4, field::tcp::CHECKSUM, change)
        }
    });
    wire::write_length(frame.head_mut(), headers);
    true
}

/// Bytes of header and payload that the checksum covers: a datagram may be shorter than its packet.
fn covered<F: Frame>(frame: &F, headers: &Headers) -> u32 {
    let l4 = frame.head().get(usize::from(headers.l4_offset)..).unwrap_or_default();
    match l4.first_chunk() {
        Some(header) if headers.protocol == protocol::UDP => udp::length(header) as u32,
        _ => headers.l4_len,
    }
}

fn edit_l4<F: Frame>(frame: &mut F, headers: &Headers, edit: impl FnOnce(&mut [u8])) {
    edit(frame.head_mut().get_mut(usize::from(headers.l4_offset)..).unwrap_or_default());
}

/// The checksum of so many bytes of header and payload, without the pseudo header.
fn sum<F: Frame>(frame: &F, headers: &Headers, len: u32) -> u16 {
    let slices = segments::slices(frame, headers.l4_offset, len as usize);
    slices.fold(Sum::default(), Sum::bytes).checksum()
}

/// Moves the sequence number of a segment forth.
pub(super) fn move_forth(header: &mut [u8], shift: Shift<'_>) {
    edit(header, |header| change_number(header, field::tcp::SEQUENCE, |seq| shift.forth(seq)));
}

/// Moves the acknowledgement of a segment back, and its SACK blocks.
pub(crate) fn move_back(header: &mut [u8], shift: Shift<'_>) {
    edit(header, |header| {
        change_number(header, field::tcp::ACKNOWLEDGMENT, |ack| shift.back(ack, Edge::End));
        let mut offset = tcp::HEADER_BYTES;
        loop {
            let options = header.get(offset..).unwrap_or_default();
            let len = match *options {
                [NO_OPERATION, ..] => 1,
                [kind, len, ..] if kind > NO_OPERATION && len >= 2 && usize::from(len) <= options.len() => {
                    usize::from(len)
                }
                _ => return,
            };
            if options[0] == SACK {
                for edge in (offset + 2..offset + len - 7).step_by(8) {
                    change_number(header, edge..edge + 4, |left| shift.back(left, Edge::Start));
                    change_number(header, edge + 4..edge + 8, |right| shift.back(right, Edge::End));
                }
            }
            offset += len;
        }
    });
}

/// Edits a TCP header, whose checksum follows.
fn edit(header: &mut [u8], edit: impl FnOnce(&mut [u8])) {
    let before = Sum::default().bytes(header).checksum();
    edit(header);
    let after = Sum::default().bytes(header).checksum();
    checksum::add_in(header, field::tcp::CHECKSUM, checksum::change(after.into(), before.into()));
}

fn change_number(header: &mut [u8], field: Field, change: impl FnOnce(u32) -> u32) {
    if let Some(number) = get(header, field.clone()) {
        put(header, field, change(u32::from_be_bytes(number)).to_be_bytes());
    }
}
