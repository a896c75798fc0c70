//! Messages of Q.931 and H.245 over TCP: each in a packet of TPKT (RFC 1006 section 6), and where a message of Q.931 has what H.225.0
//! says.

use crate::helper_event::HelperEvent;
use crate::helpers::messages::{Extent, Measured};
use std::ops::Range;

/// Version, a reserved byte, and the length of all of it.
pub(super) const TPKT_BYTES: usize = 4;

const TPKT_VERSION: u8 = 3;

/// The protocol discriminator of call control (ITU-T Q.931 section 4.2).
const CALL_CONTROL: u8 = 8;

/// The information element in which users have their own (section 4.5.30), and what says that it is encoded by ASN.1.
const USER_USER: u8 = 0x7e;
const ASN1: u8 = 5;

/// How long the packet is that begins so. One without contents keeps the connection alive.
pub(super) fn measure(measured: &mut Measured, bytes: &[u8]) -> Extent {
    if bytes.first().is_some_and(|version| *version != TPKT_VERSION) {
        return Extent::None(HelperEvent::OtherProtocol);
    }
    let Some(&[_, _, high, low]) = bytes.first_chunk::<TPKT_BYTES>() else { return Extent::Unknown };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < TPKT_BYTES {
        return Extent::None(HelperEvent::Malformed);
    }
    measured.total = length as u32;
    Extent::Bytes(length)
}

/// Where a message of Q.931, in its packet, has that of H.225.0; `None` where it has none.
///
/// # Errors
/// When it is no such message, or its elements do not fit in.
pub(super) fn user_information(packet: &[u8]) -> Result<Option<Range<usize>>, HelperEvent> {
    if packet.get(TPKT_BYTES) != Some(&CALL_CONTROL) {
        return Err(HelperEvent::OtherProtocol);
    }
    find_user_user(packet).ok_or(HelperEvent::Malformed)
}

/// The same, behind the discriminator; `None` where something does not fit in.
fn find_user_user(packet: &[u8]) -> Option<Option<Range<usize>>> {
    let reference_bytes = packet.get(TPKT_BYTES + 1)? & 0xf;
    // Behind the call reference stands the message's type.
    let mut at = TPKT_BYTES + 2 + usize::from(reference_bytes) + 1;
    while let Some(&element) = packet.get(at) {
        let (header, length) = match element {
            // All it says is in this byte (section 4.5.1).
            0x80.. => (1, 0),
            USER_USER => (3, usize::from(u16::from_be_bytes([*packet.get(at + 1)?, *packet.get(at + 2)?]))),
            _ => (2, usize::from(*packet.get(at + 1)?)),
        };
        let contents = at + header..at + header + length;
        packet.get(contents.clone())?;
        if element == USER_USER {
            let is_asn1 = length > 0 && packet[contents.start] == ASN1;
            return Some(is_asn1.then_some(contents.start + 1..contents.end));
        }
        at = contents.end;
    }
    (at == packet.len()).then_some(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(message: &[u8]) -> Vec<u8> {
        [&[3, 0, 0, message.len() as u8 + 4], message].concat()
    }

    #[test]
    fn a_packet_says_how_long_it_is() {
        let measure = |bytes: &[u8]| measure(&mut Measured::default(), bytes);
        assert_eq!(measure(&[3, 0, 1, 2, 9, 9]), Extent::Bytes(258));
        assert_eq!(measure(&[3, 0, 0, 4]), Extent::Bytes(4));
        assert_eq!([&[][..], &[3], &[3, 0, 1]].map(measure), [Extent::Unknown; 3]);
        assert_eq!(measure(&[3, 0, 0, 3]), Extent::None(HelperEvent::Malformed));
        assert_eq!(measure(b"GET"), Extent::None(HelperEvent::OtherProtocol));
    }

    #[test]
    fn the_user_user_element_is_found_behind_others() {
        let message = [8, 2, 1, 1, 5, 0xa1, 4, 3, 1, 2, 3, USER_USER, 0, 3, ASN1, 0x20, 0x30];
        assert_eq!(user_information(&packet(&message)), Ok(Some(19..21)));
        for cut in [12, 13, 14, 15, 16] {
            assert_eq!(user_information(&packet(&message[..cut])), Err(HelperEvent::Malformed), "{cut}");
        }
        assert_eq!(user_information(&packet(&message[..11])), Ok(None));
        assert_eq!(user_information(&packet(&message[..9])), Err(HelperEvent::Malformed));
        assert_eq!(user_information(&packet(&[8])), Err(HelperEvent::Malformed));
        assert_eq!(user_information(&packet(&[9, 0, 0])), Err(HelperEvent::OtherProtocol));
    }

    #[test]
    fn h323_h1_cve_2026_23455_a_user_user_element_without_contents_ends_it() {
        assert_eq!(user_information(&packet(&[8, 0, 5, USER_USER, 0, 0])), Ok(None));
        assert_eq!(user_information(&packet(&[8, 0, 5, USER_USER, 0, 1, ASN1])), Ok(Some(11..11)));
        assert_eq!(user_information(&packet(&[8, 0, 5, USER_USER, 0, 2, 4, 9])), Ok(None), "not ASN.1");
    }
}
