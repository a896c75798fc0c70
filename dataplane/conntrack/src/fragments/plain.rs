//! The plain fragment: in an untagged frame, behind an IPv4 header without options, or a fixed IPv6 header and nothing else but its
//! fragment header; all of it is there, and undamaged as far as fragments are looked at one by one.
//!
//! It is recognised by what stands at fixed places. One that anything is odd about is parsed as any other packet.

use crate::family::Family;
use crate::frame::Frame;
use crate::headers::{Headers, PacketKind};
use crate::tuple::{Selector, Tuple};
use crate::verdict::FragmentOffsets;
use crate::wire::bytes::get;
use crate::wire::{self, ethernet, field, ipv4, ipv6};

const L3: usize = ethernet::HEADER_BYTES;

/// Headers in front of what a fragment brings.
const V4_HEADERS: usize = ipv4::HEADER_BYTES;
const V6_HEADERS: usize = ipv6::HEADER_BYTES + ipv6::FRAGMENT_HEADER_BYTES;

/// Where a plain fragment is in its frame. `None` of any other packet.
#[inline(always)]
pub(super) fn recognise<F: Frame>(frame: &F) -> Option<FragmentOffsets> {
    let head = frame.head();
    let l3 = head.get(L3..)?;
    let (header_bytes, length, begins_with) = match u16::from_be_bytes(get(head, field::ethernet::ETHERTYPE)?)
    {
        ethernet::IPV4 => {
            let header = l3.first_chunk()?;
            let (length, is_first) = ipv4::plain_fragment(header, frame.l3_checksum())?;
            (V4_HEADERS, length, is_first.then_some(header[field::ipv4::PROTOCOL]))
        }
        ethernet::IPV6 => {
            let (length, begins_with) = ipv6::plain_fragment(l3.first_chunk::<V6_HEADERS>()?)?;
            (V6_HEADERS, length, begins_with)
        }
        _ => return None,
    };
    let brings = l3.get(header_bytes..length)?;
    let is_good = begins_with.is_none_or(|protocol| wire::has_l4_header(protocol, brings));
    is_good.then_some(FragmentOffsets { l3: L3 as u16, payload: (L3 + header_bytes) as u16 })
}

/// Its headers, as far as its owner depends on them.
pub(super) fn headers<F: Frame>(frame: &F, offsets: FragmentOffsets) -> Headers {
    let family = if offsets.header().len() == V4_HEADERS { Family::V4 } else { Family::V6 };
    let selector = Selector::new(family, 0, 0, 0, 0);
    let headers = Headers {
        tuple: Tuple { selector, ..Tuple::default() },
        kind: PacketKind::Fragment,
        l3_offset: offsets.l3,
        ..Headers::default()
    };
    let (src, dst) = wire::addresses(frame.head(), &headers);
    Headers { tuple: Tuple { src, dst, selector }, ..headers }
}
