//! FTP (RFC 959, RFC 2428, RFC 4217).
//!
//! The client announces a data connection by PORT or EPRT, the server by the replies 227 and 229. What of this is malformed
//! turns the helper off, as does whatever is not FTP, and an encrypted session.

mod linux;
#[cfg(test)]
mod tests;

use super::delimiter::Delimiter;
use super::found::{Announced, Form, Found, HelperMemory, Line};
use super::text::{Text, capitals, decimal};
use super::{Descriptor, ExpectationClass, LinuxReader, Reads, Segments, StreamReader};
use crate::family::Family;
use crate::helper_event::HelperEvent;
use crate::tuple::{Direction, protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A client may announce one data connection after the other, but it has one at a time.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    protocols: &[protocol::TCP],
    ports: &[21],
    classes: &[ExpectationClass::only(protocol::TCP, 1, 300)],
    reads: Reads::Stream(StreamReader {
        delimiter: Delimiter::Newline,
        inspect,
        linux: Some(LINUX),
        may_announce,
        rewrite,
    }),
};

const LINUX: LinuxReader =
    LinuxReader { inspect: linux::inspect, segments: Segments::AtLineStarts, knows_outside: false };

/// What a session begins with: commands that need no login (RFC 959, 2228, 2389, 2428, 2640, 7151), and others that clients send
/// before it. HTTP and mail have none of these for a first word.
const OPENING_VERBS: [&str; 21] = [
    "USER", "AUTH", "HOST", "FEAT", "OPTS", "SYST", "HELP", "NOOP", "QUIT", "CLNT", "PBSZ", "PROT", "LANG",
    "ADAT", "CSID", "REIN", "STAT", "PORT", "PASV", "EPRT", "EPSV",
];

/// Letters and digits of the longest verb in use.
const LONGEST_VERB: usize = 8;

/// Words that may announce a connection, by who says them.
const ANNOUNCING: [[&str; 2]; 2] = [["PORT ", "EPRT "], ["227 ", "229 "]];

/// The code of the reply that goes on over several lines, in the low half of the note; 0 is none.
const CODE: u32 = 0xffff;
/// The client has said that it will announce by EPSV alone: EPSV ALL.
const EPSV_ALL: u32 = 1 << 16;

/// Whether a line that begins so may come to announce a connection.
fn may_announce(piece: &[u8], direction: Direction) -> bool {
    let piece = without_telnet(piece);
    ANNOUNCING[direction as usize].iter().any(|word| {
        let both = piece.len().min(word.len());
        piece[..both].eq_ignore_ascii_case(&word.as_bytes()[..both])
    })
}

/// What a line announces.
fn inspect(line: &Line<'_>, memory: &mut HelperMemory) -> Found {
    match line.direction {
        Direction::Original if is_quiet(line) => Found::Nothing,
        Direction::Original => command(line, &mut memory.note),
        Direction::Reply => reply(line.bytes, &mut memory.note),
    }
}

/// An address in one of the forms. IPv6 is written in full, as Linux does.
fn rewrite(form: Form, family: Family, address: u128, port: u16) -> Text {
    match (form, family) {
        (Form::Numbers, _) => {
            let [a, b, c, d] = (address as u32).to_be_bytes();
            let [high, low] = port.to_be_bytes();
            Text::of(format_args!("{a},{b},{c},{d},{high},{low}"))
        }
        (Form::Extended, Family::V4) => {
            Text::of(format_args!("|1|{}|{port}|", Ipv4Addr::from_bits(address as u32)))
        }
        (Form::Extended, Family::V6) => {
            let [a, b, c, d, e, f, g, h] = Ipv6Addr::from_bits(address).segments();
            Text::of(format_args!(
                "|2|{a:04x}:{b:04x}:{c:04x}:{d:04x}:{e:04x}:{f:04x}:{g:04x}:{h:04x}|{port}|"
            ))
        }
        _ => Text::of(format_args!("|||{port}|")),
    }
}

/// The verb that a line begins with, in capitals, if it has four letters, as nearly all have.
#[inline]
fn usual_verb(line: &[u8]) -> Option<[u8; 4]> {
    let [a, b, c, d, b' ' | b'\r' | b'\n'] = *line.first_chunk()? else { return None };
    capitals([a, b, c, d])
}

/// Whether a line of the client's, not its first, begins with a verb that announces nothing.
#[inline(always)]
fn is_quiet(line: &Line<'_>) -> bool {
    /// Those by which a connection is announced, or none by one.
    const NOTABLE: [[u8; 4]; 3] = [*b"PORT", *b"EPRT", *b"EPSV"];
    !line.is_first && usual_verb(line.bytes).is_some_and(|verb| !NOTABLE.contains(&verb))
}

/// Any other line of the client's.
#[inline(never)]
fn command(line: &Line<'_>, note: &mut u32) -> Found {
    let text = without_telnet(line.bytes);
    let start = line.bytes.len() - text.len();
    let verb_len = text.iter().position(|byte| !(byte.is_ascii_alphabetic() || byte.is_ascii_digit()));
    let verb_len = verb_len.unwrap_or(text.len());
    let (verb, rest) = text.split_at(verb_len);
    if verb.is_empty() && matches!(rest, [b'\r' | b'\n', ..]) && !line.is_first {
        return Found::Nothing;
    }
    let is = |word: &str| verb.eq_ignore_ascii_case(word.as_bytes());
    let is_command = matches!(rest, [b' ' | b'\r' | b'\n', ..])
        && (3..=LONGEST_VERB).contains(&verb_len)
        && verb[0].is_ascii_alphabetic();
    if !is_command || line.is_first && !OPENING_VERBS.into_iter().any(is) {
        return Found::Off(HelperEvent::OtherProtocol);
    }
    let announces = |parse: fn(&[u8]) -> Option<Parsed>, form| {
        // One space in front, and the end of the line as Telnet has it (RFC 959 section 5.3).
        let argument =
            rest.strip_prefix(b" ").and_then(|text| text.strip_suffix(b"\r\n")).unwrap_or_default();
        let is_all = |parsed: &Parsed| parsed.len == argument.len() && parsed.form == form;
        announced(parse(argument).filter(is_all), start + verb_len + 1)
    };
    if is("EPSV") && rest.trim_ascii().eq_ignore_ascii_case(b"ALL") {
        *note |= EPSV_ALL;
    } else if *note & EPSV_ALL != 0 {
        // All other ways to announce one are forbidden from then on (RFC 2428 section 4).
    } else if is("PORT") {
        return announces(numbers, Form::Numbers);
    } else if is("EPRT") {
        return announces(extended, Form::Extended);
    }
    Found::Nothing
}

/// A line of the server's.
#[inline(never)]
fn reply(line: &[u8], note: &mut u32) -> Found {
    let going_on = *note & CODE;
    let code = match *line {
        [a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9', ref rest @ ..]
            if matches!(rest, [b' ' | b'-' | b'\r' | b'\n', ..]) =>
        {
            [a, b, c].iter().fold(0, |code, digit| code * 10 + u32::from(digit - b'0'))
        }
        _ => 0,
    };
    let is_last = line.get(3) != Some(&b'-');
    match (going_on, code) {
        (0, 0) => return Found::Off(HelperEvent::OtherProtocol),
        (0, _) if !is_last => {
            *note |= code;
            return Found::Nothing;
        }
        (0, _) => {}
        // Only its own code without the hyphen ends it: all lines between are text (RFC 959 section 4.2).
        _ if going_on == code && is_last => *note &= !CODE,
        _ => return Found::Nothing,
    }
    let text = line.strip_suffix(b"\r\n").and_then(|line| line.get(4..));
    let parse = |parse: fn(&[u8]) -> Option<(usize, Parsed)>| match text.and_then(parse) {
        Some((start, parsed)) => announced(Some(parsed), 4 + start),
        None => announced(None, 0),
    };
    match code {
        227 if *note & EPSV_ALL == 0 => parse(passive),
        229 => parse(extended_passive),
        234 => Found::Off(HelperEvent::Encrypted),
        _ => Found::Nothing,
    }
}

/// An address that was parsed, from the start of what it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parsed {
    address: Option<IpAddr>,
    port: u16,
    form: Form,
    /// How many bytes it takes.
    len: usize,
}

fn announced(parsed: Option<Parsed>, start: usize) -> Found {
    match parsed {
        Some(Parsed { address, port, form, len }) => {
            Found::Announced(Announced { address, port, range: start..start + len, form })
        }
        None => Found::Off(HelperEvent::Malformed),
    }
}

/// Six numbers with commas between: address and port.
fn numbers(text: &[u8]) -> Option<Parsed> {
    let mut bytes = [0; 6];
    let mut len = 0;
    for (index, byte) in bytes.iter_mut().enumerate() {
        if index > 0 {
            len += text.get(len).filter(|byte| **byte == b',').map(|_| 1)?;
        }
        let (value, digits) = decimal(text.get(len..)?)?;
        *byte = u8::try_from(value).ok()?;
        len += digits;
    }
    let [a, b, c, d, high, low] = bytes;
    let address = Some(IpAddr::from([a, b, c, d]));
    Some(Parsed { address, port: u16::from_be_bytes([high, low]), form: Form::Numbers, len })
}

/// Protocol, address and port, with the same delimiter around each; protocol and address may both be left out.
fn extended(text: &[u8]) -> Option<Parsed> {
    let delimiter = *text.first().filter(|first| (33..=126).contains(*first) && !first.is_ascii_digit())?;
    let mut fields = text.split(|byte| *byte == delimiter);
    let mut next = || fields.next();
    let ([], protocol, address, port, Some(_)) = (next()?, next()?, next()?, next()?, next()) else {
        return None;
    };
    let len = 4 + protocol.len() + address.len() + port.len();
    let (address, form) = match (protocol, std::str::from_utf8(address).ok()?) {
        ([], "") => (None, Form::ExtendedPort),
        (b"1", address) => (Some(IpAddr::V4(address.parse().ok()?)), Form::Extended),
        (b"2", address) => (Some(IpAddr::V6(address.parse().ok()?)), Form::Extended),
        _ => return None,
    };
    let (value, digits) = decimal(port)?;
    let port = u16::try_from(value).ok().filter(|_| digits == port.len())?;
    Some(Parsed { address, port, form, len })
}

/// The numbers in a reply 227, which may stand anywhere in its text and need no parentheses (RFC 1123 section 4.1.2.6).
fn passive(text: &[u8]) -> Option<(usize, Parsed)> {
    let mut before = b' ';
    for (start, byte) in text.iter().enumerate() {
        let begins = byte.is_ascii_digit() && !before.is_ascii_digit() && before != b',';
        before = *byte;
        if begins
            && let Some(parsed) = numbers(&text[start..])
            && !matches!(text.get(start + parsed.len), Some(b',' | b'0'..=b'9'))
        {
            return Some((start, parsed));
        }
    }
    None
}

/// What stands in the parentheses of a reply 229.
fn extended_passive(text: &[u8]) -> Option<(usize, Parsed)> {
    let start = text.iter().position(|byte| *byte == b'(')? + 1;
    let parsed = extended(&text[start..])?;
    (text.get(start + parsed.len) == Some(&b')')).then_some((start, parsed))
}

/// A line without the Telnet commands in front of it, as clients send them before ABOR (RFC 959 section 4.1.3).
fn without_telnet(mut text: &[u8]) -> &[u8] {
    const INTERPRET_AS_COMMAND: u8 = 0xff;
    while let [INTERPRET_AS_COMMAND, _, rest @ ..] = text {
        text = rest;
    }
    text
}
