//! PPTP (RFC 2637): a control connection over TCP, and for each call a tunnel of GRE.
//!
//! Either end may call the other. Each gives the call an id of its own, which packets to it have in their GRE header, and tells the
//! other in the request or in the reply to it. Once the reply says that the call stands, both directions are expected. Who is the
//! network server (PNS) and who the access concentrator (PAC) does not matter here: messages are told apart by whose id they say.

pub(super) mod calls;
mod stage;

use super::delimiter::{Delimiter, LengthPrefix};
use super::found::{Form, Found, HelperMemory, Line};
use super::text::Text;
use super::{Descriptor, ExpectationClass, Reads, StreamReader};
use crate::expectations::SourceMask;
use crate::family::Family;
use crate::helper_event::HelperEvent;
use crate::tuple::{Direction, protocol};
use calls::{MAX_CALLS, Message};

/// Each direction of a call is expected for as long as Linux does.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    protocols: &[protocol::TCP],
    ports: &[1723],
    classes: &[ExpectationClass {
        source: SourceMask::Exact,
        loose_source: SourceMask::Exact,
        ..ExpectationClass::only(protocol::GRE, 2 * MAX_CALLS as u8, 300)
    }],
    reads: Reads::Stream(StreamReader {
        delimiter: Delimiter::Length(LengthPrefix { header_bytes: HEADER_BYTES, length }),
        inspect,
        linux: None,
        may_announce,
        rewrite,
    }),
};

/// Length, message type, magic cookie, control message type and two reserved bytes (RFC 2637 section 2).
const HEADER_BYTES: usize = 12;

const MAGIC_COOKIE: [u8; 4] = 0x1a2b_3c4d_u32.to_be_bytes();

/// The message type of what is said about calls.
const CONTROL_MESSAGE: u16 = 1;

/// The result of a request that was granted.
const GRANTED: u8 = 1;

/// What is remembered of a session: the direction in which it was asked for plus one, or that it was granted.
const STARTED: u32 = 3;

/// Where a message has the id that its sender gave the call, and where that of its receiver if it says both.
const CALL_ID: usize = 12;
const PEER_CALL_ID: usize = 14;

/// What a control message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// The session begins, or is granted if the byte there says so.
    Start(Option<usize>),
    /// The session ends, with all calls.
    Stop,
    /// A call is asked for.
    Request,
    /// A call is granted or refused that was asked for by this message.
    Reply(u16),
    /// The sender gives a call up.
    Clear,
    /// A call has ended.
    Disconnect,
    /// A call of the receiver's id.
    Peer,
}

/// Control messages by their type, with the bytes that they have at least.
const MESSAGES: [(u16, usize, About); 13] = [
    (1, 156, About::Start(None)),
    (2, 156, About::Start(Some(14))),
    (3, 16, About::Stop),
    (4, 16, About::Stop),
    (7, 168, About::Request),
    (8, 32, About::Reply(7)),
    (9, 220, About::Request),
    (10, 24, About::Reply(9)),
    (11, 28, About::Peer),
    (12, 16, About::Clear),
    (13, 148, About::Disconnect),
    (14, 40, About::Peer),
    (15, 24, About::Peer),
];

/// How long the message is that begins with these bytes.
fn length(header: &[u8]) -> usize {
    usize::from(u16_at(header, 0))
}

fn u16_at(message: &[u8], at: usize) -> u16 {
    message.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

fn about(message: &[u8]) -> Option<(u16, usize, About)> {
    let kind = u16_at(message, 8);
    MESSAGES.into_iter().find(|(known, ..)| *known == kind)
}

/// Whether a message that begins so may say an id.
fn may_announce(piece: &[u8], _: Direction) -> bool {
    piece.len() < HEADER_BYTES || !matches!(about(piece), None | Some((_, _, About::Start(_) | About::Stop)))
}

/// One end begins a session, or the other one grants it.
const fn start(session: &mut u32, by: Direction, is_reply: bool) {
    if !is_reply && *session != STARTED {
        *session = by as u32 + 1;
    } else if *session == by.invert() as u32 + 1 {
        *session = STARTED;
    }
}

/// The id of a call, outside.
fn rewrite(_: Form, _: Family, _: u128, id: u16) -> Text {
    Text::of_port(id)
}

/// What a message says about calls. Those of no known type, or shorter than theirs, say nothing.
fn inspect(line: &Line<'_>, memory: &mut HelperMemory) -> Found {
    let message = line.bytes;
    if message.get(4..8) != Some(&MAGIC_COOKIE) {
        return Found::Off(if line.is_first { HelperEvent::OtherProtocol } else { HelperEvent::Malformed });
    }
    if length(message) != message.len() {
        return Found::Off(HelperEvent::Malformed);
    }
    let known = about(message).filter(|(_, bytes, _)| message.len() >= *bytes);
    let Some((kind, _, about)) = known.filter(|_| u16_at(message, 2) == CONTROL_MESSAGE) else {
        return Found::Nothing;
    };
    let (id, peer) = (u16_at(message, CALL_ID), u16_at(message, PEER_CALL_ID));
    let said = match about {
        About::Start(result) => {
            if result.is_none_or(|at| message[at] == GRANTED) {
                start(&mut memory.note, line.direction, result.is_some());
            }
            return Found::Nothing;
        }
        _ if memory.note != STARTED => return Found::Nothing,
        About::Stop => Message::Stop,
        About::Request => Message::Request { by: kind, id },
        About::Reply(to) => Message::Reply { to, id, peer, is_granted: message[16] == GRANTED },
        About::Clear => Message::Clear { id },
        About::Disconnect => Message::Disconnect { id },
        About::Peer => Message::Peer { id },
    };
    Found::Call(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};

    #[test]
    fn a_session_begins_when_the_other_end_grants_it() {
        let mut session = 0;
        for (by, is_reply) in [(Original, true), (Original, false), (Original, true)] {
            start(&mut session, by, is_reply);
            assert_ne!(session, STARTED);
        }
        start(&mut session, Reply, true);
        assert_eq!(session, STARTED);
    }
}
