//! SANE, the network protocol of Scanner Access Now Easy.
//!
//! A client asks its server to begin a scan (`SANE_NET_START`), and the server's reply names the port at which it waits for the
//! client, which fetches the picture there. Numbers are big-endian; requests and replies take turns.

use super::turns::{HEAD_BYTES, Turn};
use super::{Descriptor, ExpectationClass, Reads, TurnReader};
use crate::helper_event::HelperEvent;
use crate::tuple::{Direction, protocol};

/// A scanner has one picture at a time.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    protocols: &[protocol::TCP],
    ports: &[6566],
    classes: &[ExpectationClass::only(protocol::TCP, 1, 300)],
    reads: Reads::Turns(TurnReader { inspect, is_asked }),
};

/// Codes of requests.
const INIT: u32 = 0;
const START: u32 = 7;
/// All of a request to begin: the code, and the handle of an open device.
const START_BYTES: u32 = 8;
/// The major version in INIT.
const VERSION: u8 = 1;

/// The word that a head begins with.
const fn word(head: &[u8; HEAD_BYTES]) -> u32 {
    let [a, b, c, d, ..] = *head;
    u32::from_be_bytes([a, b, c, d])
}

/// Whether that, of so many bytes, asks for what names a port.
fn is_asked(head: &[u8; HEAD_BYTES], len: u32) -> bool {
    len == START_BYTES && word(head) == START
}

/// The port that a turn names, if it does: status, zero, and the port. A client that begins with anything but INIT speaks something
/// else.
fn inspect(turn: &Turn) -> Result<Option<u16>, HelperEvent> {
    let [.., a, b, high, low] = turn.head;
    if turn.is_first && turn.direction == Direction::Original && (word(&turn.head), a) != (INIT, VERSION) {
        let is_known = turn.before.1 > 0;
        return if is_known { Ok(None) } else { Err(HelperEvent::OtherProtocol) };
    }
    let (asked, len) = turn.before;
    let is_reply = turn.direction == Direction::Reply && is_asked(&asked, len);
    let is_good = word(&turn.head) == 0 && (a, b) == (0, 0);
    Ok((is_reply && is_good).then(|| u16::from_be_bytes([high, low])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};

    const REQUEST: [u8; 8] = [0, 0, 0, 7, 0, 0, 0, 1];

    fn turn(direction: Direction, head: [u8; 8], before: ([u8; 8], u32), is_first: bool) -> Turn {
        Turn { direction, head, seq: 0, before, is_first }
    }

    #[test]
    fn the_reply_to_a_request_to_begin_names_a_port() {
        let reply = |head, before| inspect(&turn(Reply, head, before, false));
        assert_eq!(reply([0, 0, 0, 0, 0, 0, 0xc3, 0x51], (REQUEST, 8)), Ok(Some(50_001)));
        for (head, before) in [
            ([0, 0, 0, 1, 0, 0, 0xc3, 0x51], (REQUEST, 8)),
            ([0, 0, 0, 0, 0, 1, 0xc3, 0x51], (REQUEST, 8)),
            ([0, 0, 0, 0, 0, 0, 0xc3, 0x51], (REQUEST, 9)),
            ([0, 0, 0, 0, 0, 0, 0xc3, 0x51], ([0, 0, 0, 6, 0, 0, 0, 1], 8)),
            ([0, 0, 0, 0, 0, 0, 0xc3, 0x51], ([0; 8], 0)),
        ] {
            assert_eq!(reply(head, before), Ok(None));
        }
        assert_eq!(inspect(&turn(Original, [0, 0, 0, 0, 0, 0, 0xc3, 0x51], (REQUEST, 8), false)), Ok(None));
    }

    #[test]
    fn a_client_begins_with_init() {
        let first = |head| inspect(&turn(Original, head, ([0; 8], 0), true));
        assert_eq!(first([0, 0, 0, 0, 1, 0, 0, 3]), Ok(None));
        for head in [*b"GET / HT", REQUEST, [0, 0, 0, 0, 2, 0, 0, 0]] {
            assert_eq!(first(head), Err(HelperEvent::OtherProtocol));
        }
    }
}
