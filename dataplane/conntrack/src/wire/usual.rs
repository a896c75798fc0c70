//! The usual packet: TCP or UDP right behind a plain IP header, whole and in the first segment of an untagged frame; or a UDP
//! datagram of IPv4 that came in fragments, whose first one is such.
//!
//! All that tracking reads of it stands at fixed places, so that little has to be kept: the rest is read where it is needed.

use super::bytes::{get, u32_at, u128_at};
use super::checksum::Sum;
use super::{checksum, ethernet, field, ipv4, ipv6, tcp, udp};
use crate::frame::{Checksum, Frame};
use crate::headers::{Fragment, Headers, PacketKind};
use crate::tuple::{Family, Selector, Tuple, protocol};

/// Where the L4 header of a usual packet stands.
const V4_L4: usize = ethernet::HEADER_BYTES + ipv4::HEADER_BYTES;
const V6_L4: usize = ethernet::HEADER_BYTES + ipv6::HEADER_BYTES;

/// What is kept of a usual packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usual {
    /// Its tuple but for its addresses.
    pub(crate) selector: Selector,
    /// IP datagram in bytes, header included.
    pub(crate) l3_len: u32,
}

impl Usual {
    /// The family of the datagram in an untagged frame.
    #[inline(always)]
    pub(crate) fn family_of(head: &[u8]) -> Option<Family> {
        match u16::from_be_bytes(get(head, field::ethernet::ETHERTYPE)?) {
            ethernet::IPV4 => Some(Family::V4),
            ethernet::IPV6 => Some(Family::V6),
            _ => None,
        }
    }

    /// Recognises a usual packet whose headers are good, in zone 0. `None` of any other one of this family.
    #[inline(always)]
    pub(crate) fn of<F: Frame>(family: Family, frame: &F) -> Option<Self> {
        let head = frame.head();
        let reassembled = frame.reassembled();
        let (protocol, l3_len) = match family {
            Family::V4 => {
                let header = head.get(ethernet::HEADER_BYTES..)?.first_chunk()?;
                let l3_len = match reassembled {
                    Some(_) => ipv4::plain_first(header),
                    None => ipv4::plain(header, frame.l3_checksum()),
                };
                (header[field::ipv4::PROTOCOL], l3_len?)
            }
            Family::V6 if reassembled.is_some() => return None,
            Family::V6 => {
                let header = head.get(ethernet::HEADER_BYTES..)?.first_chunk()?;
                (header[field::ipv6::NEXT_HEADER], ipv6::plain(header)?)
            }
        };
        let l4 = head.get(l4_offset(family)..ethernet::HEADER_BYTES + l3_len)?;
        let rest_bytes = reassembled.map_or(0, |datagram| datagram.rest_bytes);
        let has_good_header = match protocol {
            protocol::TCP => reassembled.is_none() && tcp::ports(l4, l4.len()).is_ok(),
            protocol::UDP => udp::ports(l4, l4.len() + rest_bytes as usize).is_ok(),
            _ => false,
        };
        // Both ports are read at once.
        let ports = l4.first_chunk().filter(|_| has_good_header).map(|ports| u32::from_be_bytes(*ports))?;
        let selector = Selector::new(family, protocol, 0, 0, 0).with_ports(ports);
        Some(Self { selector, l3_len: l3_len as u32 + rest_bytes })
    }

    /// The same where its family is known, which is written once more, so that the compiler knows it, too.
    #[inline(always)]
    pub(crate) const fn of_family(self, family: Family) -> Self {
        Self { selector: self.selector.with_family(family), ..self }
    }

    /// Its family.
    #[inline(always)]
    pub(crate) const fn family(&self) -> Family {
        self.selector.family()
    }

    /// Its tuple, of a frame that has not been edited.
    #[inline(always)]
    pub(crate) fn tuple(&self, head: &[u8]) -> Tuple {
        let addresses = match self.family() {
            Family::V4 => head.first_chunk::<V4_L4>().map(|head| {
                let at = |field: field::Field| ethernet::HEADER_BYTES + field.start..V4_L4;
                (
                    u128::from(u32_at(head, at(field::ipv4::SOURCE))),
                    u128::from(u32_at(head, at(field::ipv4::DESTINATION))),
                )
            }),
            Family::V6 => head.first_chunk::<V6_L4>().map(|head| {
                let at = |field: field::Field| ethernet::HEADER_BYTES + field.start..V6_L4;
                (u128_at(head, at(field::ipv6::SOURCE)), u128_at(head, at(field::ipv6::DESTINATION)))
            }),
        };
        let (src, dst) = addresses.unwrap_or_default();
        Tuple { src, dst, selector: self.selector }
    }

    /// Its L4 header and payload. `None` of what came in fragments, since not all of it is there.
    #[inline(always)]
    pub(crate) fn l4<'a>(&self, head: &'a [u8]) -> Option<&'a [u8]> {
        head.get(l4_offset(self.family())..ethernet::HEADER_BYTES + self.l3_len as usize)
    }

    /// Where its L4 header stands in its frame.
    #[inline(always)]
    pub(crate) const fn l4_offset(&self) -> usize {
        l4_offset(self.family())
    }

    /// Its TTL or hop limit.
    #[inline(always)]
    pub(crate) fn ttl(&self, head: &[u8]) -> u8 {
        let field = match self.family() {
            Family::V4 => field::ipv4::TTL,
            Family::V6 => field::ipv6::HOP_LIMIT,
        };
        head.get(ethernet::HEADER_BYTES + field).copied().unwrap_or_default()
    }

    /// Takes one from its TTL, as a router does that passes it on. The IPv4 header checksum follows.
    #[inline(always)]
    pub(crate) fn pass_on(&self, head: &mut [u8]) {
        let change = self.take_hop(head);
        if self.family() == Family::V4 {
            let l3 = head.get_mut(ethernet::HEADER_BYTES..).unwrap_or_default();
            checksum::add_in(l3, field::ipv4::CHECKSUM, change);
        }
    }

    /// Takes one from its TTL; gives what that adds to the sum over its IP header.
    #[inline(always)]
    pub(crate) fn take_hop(&self, head: &mut [u8]) -> u64 {
        super::take_hop(head.get_mut(ethernet::HEADER_BYTES..).unwrap_or_default(), self.family())
    }

    /// Its headers, as [`parse`](super::parse) finds them, of a frame that has not been edited.
    #[inline(always)]
    pub(crate) fn headers(&self, head: &[u8]) -> Headers {
        let l4_offset = self.l4_offset();
        Headers {
            tuple: self.tuple(head),
            kind: PacketKind::Tracked,
            l3_offset: ethernet::HEADER_BYTES as u16,
            l4_offset: l4_offset as u16,
            l3_len: self.l3_len,
            l4_len: self.l3_len - (l4_offset - ethernet::HEADER_BYTES) as u32,
            protocol: self.selector.protocol(),
            ttl: self.ttl(head),
            fragment: Fragment::Whole,
        }
    }

    /// Whether its L4 checksum is good. False where that takes a closer look.
    #[inline(always)]
    pub(crate) fn is_undamaged<F: Frame>(&self, frame: &F) -> bool {
        match frame.l4_checksum() {
            Checksum::Good => return true,
            Checksum::Bad => return false,
            Checksum::Unknown => {}
        }
        let (head, protocol) = (frame.head(), self.selector.protocol());
        if frame.reassembled().is_some() {
            return self.is_undamaged_in_pieces(frame);
        }
        let Some(l4) = self.l4(head) else { return false };
        let (sum, read) = match protocol {
            protocol::TCP => match l4.first_chunk() {
                Some(header) => (Sum::of_header(header), tcp::HEADER_BYTES),
                None => return false,
            },
            _ => match l4.first_chunk::<{ udp::HEADER_BYTES }>() {
                Some(header) if udp::checksum(header) == 0 => return true,
                Some(header) => (Sum::default().word(header), udp::HEADER_BYTES),
                None => return false,
            },
        };
        // The pseudo header: the addresses stand right before the L4 header.
        let pseudo = u64::from(protocol) + l4.len() as u64;
        let sum = sum.word(&pseudo.to_be_bytes());
        let addresses = match self.family() {
            Family::V4 => field::ipv4::ADDRESSES,
            Family::V6 => field::ipv6::ADDRESSES,
        };
        let addresses = head.get(ethernet::HEADER_BYTES + addresses.start..self.l4_offset());
        let (addresses, _) = addresses.unwrap_or_default().as_chunks();
        let sum = addresses.iter().fold(sum, Sum::word);
        sum.rest_of_row(l4, read).is_valid()
    }

    /// The same of a UDP datagram of IPv4 that came in fragments.
    #[inline(always)]
    fn is_undamaged_in_pieces<F: Frame>(&self, frame: &F) -> bool {
        let checksum = get(frame.head(), V4_L4 + field::udp::CHECKSUM.start..V4_L4 + udp::HEADER_BYTES);
        let begin = ethernet::HEADER_BYTES + field::ipv4::ADDRESSES.start;
        let end = ethernet::HEADER_BYTES + self.l3_len as usize;
        let l4_len = (end - V4_L4) as u32;
        let length = Sum::words(&[l4_len.to_be_bytes(), [0, 0, 0, self.selector.protocol()]]);
        checksum == Some([0; 2]) || frame.fold(begin, end - begin, length, Sum::segment).is_valid()
    }
}

/// Where the L4 header of a usual packet of a family stands in its frame.
#[inline(always)]
pub(super) const fn l4_offset(family: Family) -> usize {
    match family {
        Family::V4 => V4_L4,
        Family::V6 => V6_L4,
    }
}
