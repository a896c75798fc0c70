//! FTP as Linux's `nf_conntrack_ftp` reads it: a segment at a time, of which only the first line counts.
//!
//! What begins like an announcement and does not go on like one *matches partially*: Linux drops that segment. Numbers wrap
//! around, and those of a port may be 0.

use crate::family::Family;
use crate::helpers::found::{Announced, Form, Match};
use crate::tuple::Direction;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and port, how they stand there, and in how many bytes.
type Parsed = (Option<IpAddr>, u16, Form, usize);

/// How a kind of announcement is read.
struct Pattern {
    word: &'static [u8; 4],
    /// Where behind the word the address begins.
    find: fn(&[u8]) -> Option<usize>,
    parse: fn(&[u8], Family) -> Option<Parsed>,
}

const PATTERNS: [[Pattern; 2]; 2] = [
    [
        Pattern {
            word: b"PORT",
            find: |text| behind(text, b' '),
            parse: |text, _| numbers(text, Some(b'\r')),
        },
        Pattern { word: b"EPRT", find: |text| behind(text, b' '), parse: extended },
    ],
    [
        Pattern {
            word: b"227 ",
            find: |text| text.iter().position(u8::is_ascii_digit),
            parse: |text, _| numbers(text, None),
        },
        Pattern { word: b"229 ", find: |text| behind(text, b'('), parse: |text, _| extended_passive(text) },
    ],
];

/// Matches the payload of a segment, which begins a line, of a connection of this family.
pub(in crate::helpers) fn inspect(payload: &[u8], direction: Direction, family: Family) -> Match {
    for Pattern { word, find, parse } in &PATTERNS[direction as usize] {
        let both = payload.len().min(word.len());
        if both == 0 || !payload[..both].eq_ignore_ascii_case(&word[..both]) {
            continue;
        }
        let text = &payload[both..];
        let parsed = find(text).and_then(|start| Some((both + start, parse(&text[start..], family)?)));
        return match parsed {
            Some((start, (address, port, form, len))) => {
                Match::Full(Announced { address, port, range: start..start + len, form })
            }
            None => Match::Partial,
        };
    }
    Match::None
}

fn behind(text: &[u8], byte: u8) -> Option<usize> {
    text.iter().position(|other| *other == byte).map(|at| at + 1)
}

/// As many numbers as `out` holds, with a separator between, and how many bytes those take: what comes behind must be `end`, or
/// anything where that is `None`. A number without digits is 0.
fn decimals(text: &[u8], out: &mut [u32], separator: u8, end: Option<u8>) -> Option<usize> {
    let mut index = 0;
    for (len, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => out[index] = out[index].wrapping_mul(10).wrapping_add(u32::from(byte - b'0')),
            _ if *byte == separator => index += 1,
            _ => return (index + 1 == out.len() && end.is_none_or(|end| end == *byte)).then_some(len),
        }
        if index == out.len() {
            return None;
        }
    }
    None
}

/// The address of four numbers, of which larger ones run into those in front of them.
fn address(numbers: [u32; 4]) -> IpAddr {
    let bits = numbers.into_iter().fold(0, |bits: u32, number| bits.wrapping_shl(8) | number);
    Ipv4Addr::from_bits(bits).into()
}

fn numbers(text: &[u8], end: Option<u8>) -> Option<Parsed> {
    let mut out = [0; 6];
    let len = decimals(text, &mut out, b',', end)?;
    let [a, b, c, d, high, low] = out;
    Some((Some(address([a, b, c, d])), (high << 8 | low) as u16, Form::Numbers, len))
}

/// A byte that may stand around each part.
fn delimiter(text: &[u8]) -> Option<u8> {
    text.first().copied().filter(|byte| (33..=126).contains(byte) && !byte.is_ascii_digit())
}

/// A port that is not 0, and how many bytes it takes with the delimiter behind it.
fn port(text: &[u8], delimiter: u8) -> Option<(u16, usize)> {
    let len = text.iter().position(|byte| *byte == delimiter)?;
    let digits = &text[..len];
    let add = |port: u16, digit: &u8| port.wrapping_mul(10).wrapping_add(u16::from(digit - b'0'));
    let port = digits.iter().all(u8::is_ascii_digit).then(|| digits.iter().fold(0, add))?;
    (port != 0).then_some((port, len + 1))
}

fn extended(text: &[u8], family: Family) -> Option<Parsed> {
    let around = delimiter(text)?;
    let (protocol, rest) = (*text.get(1)?, text.get(3..)?);
    if text[2] != around || rest.is_empty() {
        return None;
    }
    let (address, len) = match (family, protocol) {
        (Family::V4, b'1') => {
            let mut out = [0; 4];
            let len = decimals(rest, &mut out, b'.', Some(around))?;
            (address(out), len)
        }
        (Family::V6, b'2') => {
            let len = rest.iter().position(|byte| *byte == around)?;
            let address: Ipv6Addr = std::str::from_utf8(&rest[..len]).ok()?.parse().ok()?;
            (address.into(), len)
        }
        _ => return None,
    };
    let (port, port_len) = port(rest.get(len + 1..)?, around)?;
    Some((Some(address), port, Form::Extended, 3 + len + 1 + port_len))
}

fn extended_passive(text: &[u8]) -> Option<Parsed> {
    let around = delimiter(text)?;
    let rest = text.strip_prefix(&[around; 3])?;
    let (port, len) = port(rest, around)?;
    Some((None, port, Form::ExtendedPort, 3 + len))
}
