//! Clamping of the TCP maximum segment size: what a SYN offers is lowered to what the way can take (RFC 9293 section
//! 3.7.1), for hosts that never hear that their packets are too big (RFC 2923 section 2.1).
//!
//! As Linux's TCPMSS target does it: an offer is never raised; a SYN without the option and without payload gets one, of
//! what hosts assume without it at most; a SYN whose options are damaged is left alone.

use crate::forward::MAX_PORTS;
use crate::frame::Frame;
use crate::headers::{Fragment, Headers, Packet, PacketKind};
use crate::ids::PortId;
use crate::tuple::{Family, protocol};
use crate::wire::field::{self, Field};
use crate::wire::tcp::{self, Flags, Segment};
use crate::wire::{self, checksum};

/// The option and its length (RFC 9293 section 3.2).
const MSS: [u8; 2] = [2, 4];
/// Bytes of the longest TCP header.
const LONGEST_HEADER: u8 = 60;

/// The largest maximum segment size that SYNs may offer which come in or leave by a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MssLimit {
    /// Any.
    #[default]
    None,
    /// What the smaller MTU of the ports that it passes has room for, without options.
    Pmtu,
    /// So many bytes.
    Bytes(u16),
}

/// The limit of each port, and the MTUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MssClamp {
    /// By [`PortId`]; empty where no port has a limit.
    ports: Vec<(MssLimit, u16)>,
}

impl MssClamp {
    /// That of ports with these limits and MTUs, in the order of their numbers.
    pub fn new(ports: impl IntoIterator<Item = (MssLimit, u16)>) -> Self {
        let mut ports: Vec<_> = ports.into_iter().take(MAX_PORTS).collect();
        if ports.iter().all(|(limit, _)| *limit == MssLimit::None) {
            ports.clear();
        }
        Self { ports }
    }

    /// The most that SYNs of a family may offer on their way from one port to another.
    fn limit(&self, family: Family, ingress: PortId, egress: PortId) -> Option<u16> {
        let headers: u16 = if family == Family::V4 { 40 } else { 60 };
        let passed = [ingress, egress].into_iter().filter_map(|port| self.ports.get(usize::from(port.0)));
        let room = passed.clone().map(|(_, mtu)| mtu.saturating_sub(headers)).min()?;
        passed
            .filter_map(|(limit, _)| match limit {
                MssLimit::None => None,
                MssLimit::Pmtu => Some(room),
                MssLimit::Bytes(bytes) => Some(*bytes),
            })
            .min()
    }

    /// Whether no port has a limit.
    #[inline(always)]
    pub(crate) const fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// Clamps what a packet that leaves by `egress` offers, if it is a SYN, with or without ACK.
    #[inline]
    pub(crate) fn apply<F: Frame>(&self, frame: &mut F, headers: &Headers, egress: PortId) {
        if !self.ports.is_empty() && headers.protocol == protocol::TCP {
            self.apply_to_segment(frame, headers, egress);
        }
    }

    #[inline(never)]
    fn apply_to_segment<F: Frame>(&self, frame: &mut F, headers: &Headers, egress: PortId) {
        let is_whole = matches!(headers.kind, PacketKind::Tracked | PacketKind::Untracked)
            && headers.fragment != Fragment::Later
            && headers.l4_offset > headers.l3_offset;
        let packet = Packet { headers, head: frame.head() };
        let (Some(family), Some(segment)) = (headers.family(), Segment::parse(&packet)) else { return };
        if !is_whole || !segment.flags.contains(Flags::SYN) || segment.flags.contains(Flags::RST) {
            return;
        }
        let Some(limit) = self.limit(family, frame.port(), egress) else { return };
        let options = tcp::HEADER_BYTES..usize::from(segment.header_len);
        match find(packet.l4().get(options).unwrap_or_default()) {
            Found::At(offset) => lower(frame, headers, tcp::HEADER_BYTES + offset, limit),
            Found::Nowhere
                if segment.payload_len == 0
                    && headers.fragment == Fragment::Whole
                    && segment.header_len <= LONGEST_HEADER - 4 =>
            {
                // What a host assumes that is told nothing (RFC 9293 section 3.7.1).
                let assumed = if family == Family::V4 { 536 } else { 1220 };
                insert(frame, headers, limit.min(assumed));
            }
            Found::Nowhere | Found::Damaged => {}
        }
    }
}

/// Has a SYN which says what it offers offer so many bytes at most.
pub(crate) fn lower_offer<F: Frame>(frame: &mut F, headers: &Headers, header_len: u8, limit: u16) {
    let packet = Packet { headers, head: frame.head() };
    let options = tcp::HEADER_BYTES..usize::from(header_len);
    if let Found::At(offset) = find(packet.l4().get(options).unwrap_or_default()) {
        lower(frame, headers, tcp::HEADER_BYTES + offset, limit);
    }
}

/// Where the option is.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Its value begins at this byte of the options.
    At(usize),
    Nowhere,
    /// It, or an option before it, has a length that cannot be.
    Damaged,
}

fn find(options: &[u8]) -> Found {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    let mut offset = 0;
    loop {
        let rest = options.get(offset..).unwrap_or_default();
        offset += match *rest {
            [] | [END, ..] => return Found::Nowhere,
            [NO_OPERATION, ..] => 1,
            [kind, length, ..] if kind == MSS[0] && length == MSS[1] && rest.len() >= 4 => {
                return Found::At(offset + 2);
            }
            [kind, length, ..] if kind != MSS[0] && length >= 2 && usize::from(length) <= rest.len() => {
                usize::from(length)
            }
            _ => return Found::Damaged,
        };
    }
}

/// Lowers the value at a byte of the segment, if it is above the limit. The checksum follows (RFC 1624).
fn lower<F: Frame>(frame: &mut F, headers: &Headers, offset: usize, limit: u16) {
    let l4 = frame.head_mut().get_mut(usize::from(headers.l4_offset)..).unwrap_or_default();
    let Some(value) = l4.get_mut(offset..).and_then(<[u8]>::first_chunk_mut::<2>) else { return };
    let before = u16::from_be_bytes(*value);
    if before <= limit {
        return;
    }
    *value = limit.to_be_bytes();
    // A value that lies across two words adds its bytes the other way round.
    let word = |value: u16| if offset.is_multiple_of(2) { value } else { value.swap_bytes() };
    update(l4, field::tcp::CHECKSUM, &[(word(before), word(limit))]);
}

/// Puts the option before all others; lengths and checksums follow.
fn insert<F: Frame>(frame: &mut F, headers: &Headers, value: u16) {
    let [high, low] = value.to_be_bytes();
    let at = usize::from(headers.l4_offset) + tcp::HEADER_BYTES;
    let (longer, l4_len) = (headers.l3_len + 4, headers.l4_len + 4);
    let (Ok(_), Ok(l4_len)) = (u16::try_from(longer), u16::try_from(l4_len)) else { return };
    if !frame.splice(at, 0, &[MSS[0], MSS[1], high, low]) {
        return;
    }
    let head = frame.head_mut();
    let l4 = head.get_mut(usize::from(headers.l4_offset)..).unwrap_or_default();
    if let Some(offset) = l4.get_mut(field::tcp::DATA_OFFSET) {
        *offset += 1 << 4;
    }
    let words = [(0, u16::from_be_bytes(MSS)), (0, value), (0, 1 << 12), (l4_len - 4, l4_len)];
    update(l4, field::tcp::CHECKSUM, &words);
    wire::write_length(head, &Headers { l3_len: longer, ..*headers });
}

/// Brings a checksum up to date with words that it covers and that were others before.
fn update(header: &mut [u8], field: Field, words: &[(u16, u16)]) {
    let change = words.iter().map(|(old, new)| u64::from(!old) + u64::from(*new)).sum();
    checksum::add_in(header, field, change);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_found_behind_others_and_never_in_damage() {
        assert_eq!(find(&[2, 4, 5, 180]), Found::At(2));
        assert_eq!(find(&[1, 3, 3, 7, 2, 4, 5, 180]), Found::At(6));
        for nowhere in [&[][..], &[0, 2, 4, 5], &[1, 1, 4, 2], &[3, 3, 2, 1]] {
            assert_eq!(find(nowhere), Found::Nowhere, "{nowhere:?}");
        }
        for damaged in
            [&[2][..], &[2, 4, 5], &[2, 3, 5, 180], &[2, 0, 0, 0], &[3, 0, 2, 4, 5, 180], &[8, 10, 1, 1]]
        {
            assert_eq!(find(damaged), Found::Damaged, "{damaged:?}");
        }
    }

    #[test]
    fn the_smallest_limit_on_the_way_counts() {
        let clamp = MssClamp::new([
            (MssLimit::None, 1500),
            (MssLimit::Pmtu, 1492),
            (MssLimit::Bytes(1300), 1500),
            (MssLimit::None, 1280),
        ]);
        let limit = |ingress, egress| clamp.limit(Family::V4, PortId(ingress), PortId(egress));
        assert_eq!((limit(0, 1), limit(1, 0)), (Some(1452), Some(1452)), "by which it leaves, and comes in");
        assert_eq!((limit(1, 2), limit(1, 3), limit(0, 3)), (Some(1300), Some(1240), None));
        assert_eq!(clamp.limit(Family::V6, PortId(0), PortId(1)), Some(1432));
        assert_eq!(MssClamp::new([(MssLimit::None, 1500)]), MssClamp::default());
    }
}
