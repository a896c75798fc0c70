//! TFTP (RFC 1350, RFC 2347).
//!
//! A request goes to the server's assigned port; the server answers from another one, be it with data, an acknowledgement,
//! options (OACK) or an error. Text is never rewritten: a request names no address.

use super::found::InDatagram;
use super::text::Text;
use super::{DatagramReader, Descriptor, ExpectationClass, Reads};
use crate::helper_event::HelperEvent;
use crate::tuple::{Direction, protocol};

/// A client that asks again before it is answered asks for the same.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    protocols: &[protocol::UDP],
    ports: &[69],
    classes: &[ExpectationClass::only(protocol::UDP, 1, 300)],
    reads: Reads::Datagrams(DatagramReader {
        inspect,
        inspect_as_linux: Some(inspect_as_linux),
        rewrite: |_, _, _, _| Text::default(),
        master_timeout_s: [0; 2],
    }),
};

/// Opcodes of requests to read and to write (RFC 1350 section 5).
const REQUESTS: [u16; 2] = [1, 2];
/// Opcodes of all else: data, acknowledgement, error, and the acknowledgement of options (RFC 2347).
const OTHERS: [u16; 4] = [3, 4, 5, 6];

/// How a file may be transferred (RFC 1350 section 1).
const MODES: [&str; 3] = ["netascii", "octet", "mail"];

/// What a datagram says. Clients alone make requests.
fn inspect(payload: &[u8], direction: Direction) -> InDatagram {
    match (direction, payload.split_first_chunk()) {
        (Direction::Reply, _) => InDatagram::Nothing,
        (_, Some((opcode, rest))) if REQUESTS.contains(&u16::from_be_bytes(*opcode)) => {
            if is_request(rest) {
                InDatagram::Request
            } else {
                InDatagram::Off(HelperEvent::Malformed)
            }
        }
        (_, Some((opcode, _))) if OTHERS.contains(&u16::from_be_bytes(*opcode)) => InDatagram::Nothing,
        _ => InDatagram::Off(HelperEvent::OtherProtocol),
    }
}

/// Linux looks at the opcode, whoever sends it.
fn inspect_as_linux(payload: &[u8], _: Direction) -> InDatagram {
    match payload.first_chunk() {
        Some(opcode) if REQUESTS.contains(&u16::from_be_bytes(*opcode)) => InDatagram::Request,
        _ => InDatagram::Nothing,
    }
}

/// Whether that is what follows the opcode of a request: the file's name, the mode, and options, each a name and a value.
/// All are texts that end with a NUL.
fn is_request(rest: &[u8]) -> bool {
    let Some(rest) = rest.strip_suffix(b"\0") else { return false };
    let mut texts = rest.split(|byte| *byte == 0);
    let name = texts.next().unwrap_or_default();
    let mode = texts.next().unwrap_or_default();
    let has_mode = MODES.iter().any(|known| mode.eq_ignore_ascii_case(known.as_bytes()));
    if name.is_empty() || !has_mode {
        return false;
    }
    while let Some(option) = texts.next() {
        let value = texts.next();
        if option.is_empty() || value.is_none() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_client(payload: &[u8]) -> InDatagram {
        inspect(payload, Direction::Original)
    }

    #[test]
    fn requests_are_what_the_rfcs_say() {
        for request in [
            "\0\x01file\0octet\0",
            "\0\x02a/b c\0NetASCII\0",
            "\0\x02user\0mail\0",
            "\0\x01file\0octet\0tsize\x000\0",
            "\0\x01file\0octet\0blksize\x001432\0TSIZE\x000\0x\0\0",
        ] {
            assert_eq!(from_client(request.as_bytes()), InDatagram::Request, "{request:?}");
            assert_eq!(inspect(request.as_bytes(), Direction::Reply), InDatagram::Nothing);
        }
    }

    #[test]
    fn whatever_else_has_the_opcode_of_a_request_is_malformed() {
        for malformed in [
            "\0\x01",
            "\0\x01\0",
            "\0\x01\0octet\0",
            "\0\x01file",
            "\0\x01file\0",
            "\0\x01file\0octet",
            "\0\x01file\0\0",
            "\0\x01file\0octets\0",
            "\0\x01file\0octet\0tsize",
            "\0\x01file\0octet\0tsize\0",
            "\0\x01file\0octet\0tsize\x000",
            "\0\x01file\0octet\0\x000\0",
            "\0\x01file\0octet\0\0\0",
        ] {
            let found = from_client(malformed.as_bytes());
            assert_eq!(found, InDatagram::Off(HelperEvent::Malformed), "{malformed:?}");
            assert_eq!(inspect_as_linux(malformed.as_bytes(), Direction::Original), InDatagram::Request);
        }
    }

    #[test]
    fn other_opcodes_are_of_the_protocol_and_others_are_not() {
        for opcode in [3, 4, 5, 6] {
            assert_eq!(from_client(&[0, opcode, 0, 1]), InDatagram::Nothing);
            assert_eq!(inspect_as_linux(&[0, opcode, 0, 1], Direction::Original), InDatagram::Nothing);
        }
        for payload in [&[][..], &[0], &[1], &[0, 0], &[0, 7], &[1, 0, 0, 1], b"GET / HTTP/1.1\r\n"] {
            assert_eq!(from_client(payload), InDatagram::Off(HelperEvent::OtherProtocol));
            assert_eq!(inspect(payload, Direction::Reply), InDatagram::Nothing);
            assert_eq!(inspect_as_linux(payload, Direction::Original), InDatagram::Nothing);
        }
    }

    /// A browser can be had to send one to any port. Its type is the opcode of a request to read.
    #[test]
    fn g4_a_stun_binding_request_is_none() {
        let header = b"\0\x01\x01\x08\x21\x12\xa4\x42transactions\0\x06\x01\x04";
        assert_eq!(
            from_client(&[header, &b"\0octet\0"[..]].concat()),
            InDatagram::Off(HelperEvent::Malformed)
        );
    }
}
