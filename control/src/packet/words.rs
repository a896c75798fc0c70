//! From words to a packet. What is wrong is said of the very word.

use std::net::IpAddr;
use std::ops::Range;

use sluice_conntrack::tuple::protocol;

use super::given::{Given, Kind, did_you_mean, wrong};
use super::{Content, HELP, Packet, Segment, Spoken, Transport, Wrong, flag};
use crate::config::{Protocol, nearest};

/// The port of a source that is given without one: the first of the dynamic ones (RFC 6335 section 6).
const SOURCE_PORT: u16 = 49_152;

/// The TTL of a packet that is given without one, as Linux sends.
const TTL: u8 = 64;

/// As large as a segment's window is without an option that scales it.
const WINDOW: u16 = u16::MAX;

const GRE_HEADER_BYTES: u16 = 4;

/// Reads a packet in words.
///
/// # Errors
/// What is wrong, and with which word.
pub fn parse(text: &str) -> Result<Spoken, Wrong> {
    let mut words = Words::new(text);
    let mut ingress = None;
    if words.take_if("in") {
        ingress = Some(words.interface()?);
    }
    if words.take_if("hex") {
        return Ok(Spoken { ingress, content: Content::Frame(bytes(words.rest())?), fragment: None });
    }
    let (packet, given) = packet(&mut words, &mut ingress)?;
    let fragment = given.fragment()?;
    Ok(Spoken { ingress, content: Content::Packet(packet), fragment })
}

/// A packet from its protocol on, and the numbers that were given.
fn packet(
    words: &mut Words<'_>,
    ingress: &mut Option<(String, Range<usize>)>,
) -> Result<(Packet, Given), Wrong> {
    let (at, word) = words.next("a packet begins with its protocol, such as `tcp`")?;
    let Ok(Protocol(number)) = word.parse::<Protocol>() else {
        let help = nearest(word, &Protocol::names().collect::<Vec<_>>())
            .map_or_else(|| HELP.lines().nth(2).unwrap_or_default().trim().to_owned(), did_you_mean);
        return Err(Wrong { help: Some(help), ..wrong(at, format!("`{word}` is not a protocol")) });
    };
    let kind = Kind::of(number);
    if kind == Kind::Other && protocol::has_ports(number) {
        let help = Some("give it as `hex` and its bytes".to_owned());
        return Err(Wrong { help, ..wrong(at, format!("there are no words for a packet of {word}")) });
    }
    let (source_at, source) = words.end("the source", kind)?;
    let (arrow, sign) = words.next("`->` and the destination are missing")?;
    if sign != "->" {
        return Err(wrong(arrow, format!("`->` and the destination are missing in front of `{sign}`")));
    }
    let (destination_at, destination) = words.end("the destination", kind)?;
    if source.address.is_ipv4() != destination.address.is_ipv4() {
        let message = "source and destination are not of one family, IPv4 or IPv6";
        return Err(wrong(source_at.start..destination_at.end, message));
    }
    match (number, source.address.is_ipv4()) {
        (protocol::ICMP, false) => return Err(wrong(at, "between IPv6 addresses it is icmpv6")),
        (protocol::ICMPV6, true) => return Err(wrong(at, "between IPv4 addresses it is icmp")),
        _ => {}
    }
    let dport = match (kind.has_ports(), destination.port) {
        (true, None) => {
            let help = Some(format!("such as {}", with_port(destination.address, 80)));
            return Err(Wrong { help, ..wrong(destination_at, "the destination has no port") });
        }
        (_, port) => port.unwrap_or_default(),
    };
    let sport = source.port.unwrap_or(SOURCE_PORT);
    let mut given = Given::default();
    let mut about = None;
    while let Some((at, word)) = words.peek() {
        words.skip();
        if word == "in" && ingress.is_none() {
            *ingress = Some(words.interface()?);
        } else if word == "about" && kind == Kind::Icmp {
            let (quoted, _) = packet(words, ingress)?;
            about = Some(Box::new(quoted));
        } else {
            given.take(at, word, kind)?;
        }
    }
    let transport = match kind {
        Kind::Tcp => Transport::Tcp(Segment {
            sport,
            dport,
            flags: given.flags.unwrap_or(flag::ACK),
            seq: given.number("seq"),
            ack: given.number("ack"),
            window: given.number("window").map_or(WINDOW, |window| window as u16),
            mss: given.number("mss").map(|mss| mss as u16),
        }),
        Kind::Udp => Transport::Udp { sport, dport },
        Kind::Icmp => given.icmp(source.address.is_ipv4(), about)?,
        Kind::Other => Transport::Other(number),
    };
    let least = if number == protocol::GRE { GRE_HEADER_BYTES } else { 0 };
    let packet = Packet {
        source: source.address,
        destination: destination.address,
        ttl: given.number("ttl").map_or(TTL, |ttl| ttl as u8),
        tos: given.number("tos").unwrap_or_default() as u8,
        length: given.number("length").map_or(0, |length| length as u16).max(least),
        transport,
    };
    Ok((packet, given))
}

/// An address with the port that was given with it.
struct End {
    address: IpAddr,
    port: Option<u16>,
}

/// The words of a text, one by one.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next word, and where it stands.
    fn peek(&self) -> Option<(Range<usize>, &'a str)> {
        let rest = &self.text[self.at..];
        let start = self.at + (rest.len() - rest.trim_start().len());
        let word = self.text[start..].split_whitespace().next()?;
        Some((start..start + word.len(), word))
    }

    fn skip(&mut self) {
        self.at = self.peek().map_or(self.text.len(), |(at, _)| at.end);
    }

    fn take_if(&mut self, word: &str) -> bool {
        let is_it = self.peek().is_some_and(|(_, next)| next == word);
        if is_it {
            self.skip();
        }
        is_it
    }

    /// The next word, which there must be.
    fn next(&mut self, missing: &str) -> Result<(Range<usize>, &'a str), Wrong> {
        let next = self.peek();
        self.skip();
        next.ok_or_else(|| wrong(self.end_of_text(), missing))
    }

    /// What stands behind `in`.
    fn interface(&mut self) -> Result<(String, Range<usize>), Wrong> {
        let (at, name) = self.next("`in` is followed by the name of an interface")?;
        Ok((name.to_owned(), at))
    }

    /// The sender or the receiver.
    fn end(&mut self, which: &str, kind: Kind) -> Result<(Range<usize>, End), Wrong> {
        let (at, word) = self.next(&format!("{which} is missing"))?;
        let end = end(word).ok_or_else(|| {
            let with_ports = if kind.has_ports() { "10.0.0.2:80 or [2001:db8::2]:80" } else { "10.0.0.2" };
            let help = Some(format!("an address such as {with_ports}"));
            Wrong { help, ..wrong(at.clone(), format!("`{word}` is not {which}")) }
        })?;
        match (kind.has_ports(), end.port) {
            (false, Some(_)) => Err(wrong(at, "this protocol has no ports")),
            _ => Ok((at, end)),
        }
    }

    /// All that is left, and where it begins.
    fn rest(&mut self) -> (usize, &'a str) {
        let rest = (self.at, &self.text[self.at..]);
        self.at = self.text.len();
        rest
    }

    /// The last character, where something is missing behind it.
    fn end_of_text(&self) -> Range<usize> {
        let end = self.text.trim_end().len();
        end.saturating_sub(1)..end
    }
}

fn end(word: &str) -> Option<End> {
    if let Some((address, port)) = word.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let port = match port {
            "" => None,
            _ => Some(port.strip_prefix(':')?.parse().ok()?),
        };
        return Some(End { address: IpAddr::V6(address.parse().ok()?), port });
    }
    if let Ok(address) = word.parse() {
        return Some(End { address, port: None });
    }
    let (address, port) = word.rsplit_once(':')?;
    Some(End { address: IpAddr::V4(address.parse().ok()?), port: Some(port.parse().ok()?) })
}

/// An address and port as words have them.
pub(super) fn with_port(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

/// Bytes in hexadecimal, however they are grouped: an Ethernet frame, which a datagram is put into.
fn bytes((start, text): (usize, &str)) -> Result<Vec<u8>, Wrong> {
    let all = start..start + text.trim_end().len().max(1);
    let mut digits = Vec::new();
    for (offset, character) in text.char_indices() {
        match character.to_digit(16) {
            Some(digit) => digits.push(digit as u8),
            None if character.is_whitespace() || character == ':' => {}
            None => {
                let at = start + offset..start + offset + character.len_utf8();
                return Err(wrong(at, format!("`{character}` is not a hexadecimal digit")));
            }
        }
    }
    if digits.is_empty() || digits.len() % 2 == 1 {
        return Err(wrong(all, format!("{} hexadecimal digits, which are no bytes", digits.len())));
    }
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    Ok(match is_datagram(&bytes) {
        true => super::build::ethernet(&bytes),
        false => bytes,
    })
}

/// Whether an IP header stands in front, that says how many bytes there are.
fn is_datagram(bytes: &[u8]) -> bool {
    match bytes {
        [first, _, high, low, ..] if first >> 4 == 4 => {
            usize::from(u16::from_be_bytes([*high, *low])) == bytes.len()
        }
        [first, _, _, _, high, low, ..] if first >> 4 == 6 => {
            usize::from(u16::from_be_bytes([*high, *low])) + 40 == bytes.len()
        }
        _ => false,
    }
}
