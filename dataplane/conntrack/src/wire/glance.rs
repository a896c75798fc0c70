//! A glance at a frame: the tuple of a TCP or UDP packet, read where it stands in most of them, and no checksum verified. For whoever
//! only has to tell which of many packets may concern him.

use super::usual::{Usual, l4_offset};
use super::{ethernet, field, ipv4, ipv6};
use crate::frame::Checksum;
use crate::tuple::{Family, Selector, Tuple, protocol};

/// The tuple, in zone 0, of TCP or UDP right behind a plain IP header of an untagged frame. `None` of any other frame.
#[inline]
pub fn glance(head: &[u8]) -> Option<Tuple> {
    let family = Usual::family_of(head)?;
    let l3 = head.get(ethernet::HEADER_BYTES..)?;
    let protocol = match family {
        Family::V4 => {
            let header = l3.first_chunk()?;
            ipv4::plain(header, Checksum::Good)?;
            header[field::ipv4::PROTOCOL]
        }
        Family::V6 => {
            let header = l3.first_chunk()?;
            ipv6::plain(header)?;
            header[field::ipv6::NEXT_HEADER]
        }
    };
    let ports = head.get(l4_offset(family)..)?.first_chunk().map(|ports| u32::from_be_bytes(*ports))?;
    let selector = Selector::new(family, protocol, 0, 0, 0).with_ports(ports);
    let has_tuple = matches!(protocol, protocol::TCP | protocol::UDP);
    has_tuple.then(|| Usual { selector, l3_len: 0 }.tuple(head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PortId;
    use crate::wire::checksum::Sum;
    use crate::wire::parse;

    /// A UDP packet, its header checksum right, with these bytes of flags and offset and this protocol.
    fn frame(flags: [u8; 2], protocol: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        frame
            .extend([0x45, 0, 0, 28, 0, 1, flags[0], flags[1], 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0, 7, 0, 53, 0, 8, 0, 0]);
        let checksum = Sum::default().bytes(&frame[14..34]).checksum();
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        frame
    }

    #[test]
    fn it_sees_what_parsing_finds_or_nothing() {
        let udp = frame([0; 2], protocol::UDP);
        let tuple = Tuple::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), protocol::UDP, 7, 53);
        assert_eq!(glance(&udp), Some(tuple));
        assert_eq!(parse(&(PortId(0), udp.clone())).unwrap().tuple, tuple);
        for other in
            [frame([0x20, 0], protocol::UDP), frame([0, 1], protocol::UDP), frame([0; 2], protocol::GRE)]
        {
            assert_eq!(glance(&other), None);
        }
        assert!((0..udp.len() - 4).all(|len| glance(&udp[..len]).is_none()), "of what is cut off nothing");
    }
}
