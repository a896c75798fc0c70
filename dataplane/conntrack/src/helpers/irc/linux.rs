//! IRC as Linux's `nf_conntrack_irc` reads it: an offer at the start of a segment of the client's, and nothing behind it.
//!
//! No segment is dropped for its text. Numbers wrap around, and one that is none is 0, which is nobody's address and no port.

use super::{CTCP, VERBS, without_spaces};
use crate::family::Family;
use crate::helpers::found::{Announced, Form, Match};
use crate::tuple::Direction;
use std::net::Ipv4Addr;

/// Bytes of the shortest beginning of a message: `PRIVMSG x `.
const SHORTEST_MESSAGE: usize = 10;
/// Those of the shortest offer, from the space in front of its text on.
const SHORTEST_OFFER: usize = 26;
/// Those of the shortest address and port, from the space in front of them on.
const SHORTEST_ENDPOINT: usize = 12;

/// Matches the payload of a segment.
pub(super) fn inspect(payload: &[u8], direction: Direction, family: Family) -> Match {
    match (direction, family) {
        (Direction::Original, Family::V4) => find(payload).map_or(Match::None, Match::Full),
        _ => Match::None,
    }
}

fn find(payload: &[u8]) -> Option<Announced> {
    let limit = payload.len().checked_sub(SHORTEST_MESSAGE)?;
    let skipped = payload[..limit].iter().take_while(|byte| b" \r\n".contains(byte)).count();
    let message = &payload[skipped..];
    let command = message.first_chunk::<8>().filter(|command| command.eq_ignore_ascii_case(b"PRIVMSG "))?;
    let limit = message.len().checked_sub(SHORTEST_OFFER)?;
    let text = (command.len()..limit).find(|at| message[*at..].starts_with(b" :"))? + 2;
    let request = message[text..].strip_prefix(&[CTCP])?.strip_prefix(b"DCC ")?;
    let offer = VERBS.iter().find_map(|verb| request.strip_prefix(verb.as_bytes())?.strip_prefix(b" "))?;

    let space = offer.iter().position(|byte| *byte == b' ')?;
    let is_long_enough = space == 0 || space + SHORTEST_ENDPOINT <= offer.len();
    let announced = offer.get(space + 1..).filter(|text| is_long_enough && text.contains(&b'\n'))?;
    let (address, rest) = number(announced);
    let (port, rest) = number(without_spaces(rest));
    let (address, port) = (Ipv4Addr::from_bits(address as u32).into(), port as u16);
    let range = payload.len() - announced.len()..payload.len() - rest.len();
    (port != 0).then_some(Announced { address: Some(address), port, range, form: Form::Decimal })
}

/// The number that a text begins with, and what is behind it.
fn number(text: &[u8]) -> (u64, &[u8]) {
    let (digits, rest) = text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let add = |number: u64, digit: &u8| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
    (digits.iter().fold(0, add), rest)
}
