//! IRC (RFC 1459, RFC 2812): DCC, the requests by which clients offer each other connections of their own.
//!
//! A client offers one in a message to somebody else, whose client then connects to it:
//! `PRIVMSG bob :^ADCC SEND file 167772162 5001 1234^A`. The address is a number, or written out in IPv6. Who comes is known to
//! nobody but the two, so that it may be anybody. What the server passes on are offers of others, by which the client itself connects.

mod linux;
#[cfg(test)]
mod tests;

use super::delimiter::{Delimiter, LINE_BYTES};
use super::found::{Announced, Form, Found, HelperMemory, Line};
use super::text::{Text, number};
use super::{Descriptor, ExpectationClass, LinuxReader, Reads, Segments, StreamReader};
use crate::expectations::SourceMask;
use crate::family::Family;
use crate::helper_event::HelperEvent;
use crate::tuple::{Direction, address, protocol};
use std::net::{IpAddr, Ipv4Addr};

/// A client offers as many connections at a time as Linux allows it to.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    protocols: &[protocol::TCP],
    ports: &[6667],
    classes: &[ExpectationClass {
        source: SourceMask::Any,
        loose_source: SourceMask::Any,
        ..ExpectationClass::only(protocol::TCP, 8, 300)
    }],
    reads: Reads::Stream(StreamReader {
        delimiter: Delimiter::Newline,
        inspect,
        linux: Some(LINUX),
        may_announce,
        rewrite,
    }),
};

const LINUX: LinuxReader =
    LinuxReader { inspect: linux::inspect, segments: Segments::All, knows_outside: true };

/// What a client begins with (RFC 2812 section 3.1, IRCv3 capability negotiation, SASL and STARTTLS; WEBIRC is said by gateways).
/// Before it is registered a server takes nothing else from it. HTTP has none of these for a first word.
const OPENING_COMMANDS: [&str; 8] =
    ["CAP", "PASS", "NICK", "USER", "AUTHENTICATE", "STARTTLS", "WEBIRC", "QUIT"];

/// The server's reply to STARTTLS: the session is encrypted from here on.
const STARTTLS: &[u8] = b"670";

/// What a DCC request offers. All but these only speak of an offer that was made.
const VERBS: [&str; 5] = ["SEND", "CHAT", "MOVE", "TSEND", "SCHAT"];

/// What begins and ends a request within a message.
const CTCP: u8 = 1;

/// Why a text is no DCC request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoRequest {
    /// It is something else.
    Other,
    /// It may become one with what is to come.
    Cut,
}

/// Whether a line that begins so may come to announce a connection.
fn may_announce(piece: &[u8], direction: Direction) -> bool {
    direction == Direction::Original && request(piece) != Err(NoRequest::Other)
}

/// What a line announces.
fn inspect(line: &Line<'_>, _: &mut HelperMemory) -> Found {
    const OTHER: Found = Found::Off(HelperEvent::OtherProtocol);
    let Ok(message) = without_tags(line.bytes) else {
        return if line.bytes.ends_with(b"\n") { OTHER } else { Found::Nothing };
    };
    if matches!(message, b"\r\n" | b"\n") && !line.is_first {
        return Found::Nothing;
    }
    let Some(command) = command(message) else { return OTHER };
    match line.direction {
        Direction::Reply if command == STARTTLS => Found::Off(HelperEvent::Encrypted),
        Direction::Reply => Found::Nothing,
        Direction::Original if line.is_first && !is_any(command, &OPENING_COMMANDS) => OTHER,
        Direction::Original => match request(line.bytes) {
            Ok(request) => offered(request, line.bytes.len() - request.len(), is_whole(message)),
            Err(_) => Found::Nothing,
        },
    }
}

/// An address and port in the form that they had.
fn rewrite(form: Form, family: Family, to: u128, port: u16) -> Text {
    match form {
        Form::Decimal => Text::of(format_args!("{} {port}", to as u32)),
        _ => Text::of(format_args!("{} {port}", address(family, to))),
    }
}

fn is_any(command: &[u8], known: &[&str]) -> bool {
    known.iter().any(|known| command.eq_ignore_ascii_case(known.as_bytes()))
}

/// Whether a message has all of its line, and no more than a server passes on (RFC 2812 section 2.3).
fn is_whole(message: &[u8]) -> bool {
    message.len() <= LINE_BYTES && message.ends_with(b"\n")
}

/// The command of a message: letters or three digits, behind the name of its source if it says that (RFC 2812 section 2.3.1).
fn command(message: &[u8]) -> Option<&[u8]> {
    let text = if message.starts_with(b":") { word(message).1 } else { message };
    let len = text.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let (command, rest) = text.split_at(len);
    (len > 0 && matches!(rest, [b' ' | b'\r' | b'\n', ..])).then_some(command)
}

/// A line without the tags in front of its message (IRCv3 message tags).
fn without_tags(line: &[u8]) -> Result<&[u8], NoRequest> {
    match line {
        [b'@', ..] if !line.contains(&b' ') => Err(NoRequest::Cut),
        [b'@', ..] => Ok(word(line).1),
        _ => Ok(line),
    }
}

/// What a DCC request says behind its name, which is all of a message's text, of a line or of what has come of one.
fn request(line: &[u8]) -> Result<&[u8], NoRequest> {
    let message = without_tags(line)?;
    let parameters = behind(message, b"PRIVMSG ", <[u8]>::eq_ignore_ascii_case)?;
    let parameters = without_spaces(parameters);
    let end_of_target = parameters.iter().position(|byte| *byte == b' ').ok_or(NoRequest::Cut)?;
    behind(word(&parameters[end_of_target..]).1, b":\x01DCC ", <[u8]>::eq)
}

/// What is behind a word that a text begins with.
fn behind<'a>(text: &'a [u8], word: &[u8], is_same: fn(&[u8], &[u8]) -> bool) -> Result<&'a [u8], NoRequest> {
    let both = text.len().min(word.len());
    match is_same(&text[..both], &word[..both]) {
        true if both == word.len() => Ok(&text[both..]),
        true => Err(NoRequest::Cut),
        false => Err(NoRequest::Other),
    }
}

/// What a request offers that begins there in the line: `VERB argument address port`, and what else there may be.
fn offered(request: &[u8], start: usize, is_whole: bool) -> Found {
    let end = request.iter().position(|byte| matches!(*byte, CTCP | b'\r' | b'\n'));
    let (verb, rest) = word(&request[..end.unwrap_or(request.len())]);
    if !VERBS.iter().any(|known| verb == known.as_bytes()) {
        return Found::Nothing;
    }
    let parse = || {
        end.filter(|_| is_whole)?;
        let rest = behind_argument(rest)?;
        let (written, behind) = word(rest);
        let (port, _) = word(behind);
        let (address, form) = host(written)?;
        let len = rest.len() - behind.len() + port.len();
        let at = start + (end? - rest.len());
        Some(Announced { address: Some(address), port: number(port)?, range: at..at + len, form })
    };
    match parse() {
        // It asks the other end to make an offer instead.
        Some(Announced { port: 0, .. }) => Found::Nothing,
        Some(announced) => Found::Announced(announced),
        None => Found::Off(HelperEvent::Malformed),
    }
}

/// What is behind the argument of an offer: the name of a file, in quotes where there are spaces in it.
fn behind_argument(text: &[u8]) -> Option<&[u8]> {
    if let Some(quoted) = text.strip_prefix(b"\"") {
        let end = quoted.windows(2).position(|end| end == b"\" ")?;
        return Some(word(&quoted[end..]).1);
    }
    Some(word(text).1)
}

/// The host of an offer, and how it is written.
fn host(written: &[u8]) -> Option<(IpAddr, Form)> {
    match number(written) {
        Some(bits) => Some((Ipv4Addr::from_bits(bits).into(), Form::Decimal)),
        None => Some((std::str::from_utf8(written).ok()?.parse().ok()?, Form::Plain)),
    }
}

/// The text up to the first space, and what is behind the spaces.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    (&text[..end], without_spaces(&text[end..]))
}

fn without_spaces(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|byte| **byte == b' ').count()..]
}
