//! GRE: version 0 (RFC 2784, RFC 2890), and version 1, which carries PPTP (RFC 2637).

use super::bytes::{put, u16_at};
use super::field;
use crate::verdict::InvalidReason;

/// Bytes of a header up to the call id of version 1, that included.
pub(super) const HEADER_BYTES: usize = 8;

/// The bits of a header's first word that say its version.
const VERSION: u16 = 0x0007;

/// Whether a packet is of version 0 or 1. Four bytes are a whole header (RFC 2784 section 2.1).
pub(crate) fn is_known(l4: &[u8]) -> bool {
    l4.first_chunk::<4>().is_some_and(|header| u16_at(header, field::gre::FLAGS_AND_VERSION) & VERSION <= 1)
}

/// Whether a packet is of version 1, with a call id.
pub(crate) fn is_enhanced(l4: &[u8]) -> bool {
    l4.first_chunk::<HEADER_BYTES>()
        .is_some_and(|header| u16_at(header, field::gre::FLAGS_AND_VERSION) & VERSION == 1)
}

/// Writes the call id into a header that has one.
pub(crate) fn write_call_id(l4: &mut [u8], id: u16) {
    if is_enhanced(l4) {
        put(l4, field::gre::CALL_ID, id.to_be_bytes());
    }
}

/// The call id of a PPTP packet, which stands in the tuple for the destination port. Version 0 has none, its
/// key is not looked at; neither is a packet too short to tell. Those have 0: one entry per address pair.
/// [`InvalidReason::GreProtocol`] where version 1 carries anything but PPP, which it cannot.
pub(super) fn call_id(l4: &[u8]) -> Result<u16, InvalidReason> {
    const PPP: u16 = 0x880b;
    match l4.first_chunk::<HEADER_BYTES>() {
        Some(header) if u16_at(header, field::gre::FLAGS_AND_VERSION) & VERSION == 1 => {
            match u16_at(header, field::gre::PROTOCOL) {
                PPP => Ok(u16_at(header, field::gre::CALL_ID)),
                _ => Err(InvalidReason::GreProtocol),
            }
        }
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pptp_has_a_call_id() {
        assert_eq!(call_id(b"\x20\x01\x88\x0b\x00\x04\x00\x07abcd"), Ok(7));
        assert_eq!(call_id(b"\x20\x01\x08\x00\x00\x04\x00\x07abcd"), Err(InvalidReason::GreProtocol));
        assert_eq!(call_id(b"\x20\x00\x08\x00\x00\x00\x00\x2a"), Ok(0));
        assert_eq!(call_id(b"\x20\x01\x88\x0b"), Ok(0));
        assert_eq!(call_id(b""), Ok(0));
    }
}
