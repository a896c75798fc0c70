//! Headers that name an end of the connection (RFC 3261 section 20): they get the names by which the other side knows it.
//!
//! Those are the URI of a request, the topmost Via with `maddr`, `received` and `rport` (RFC 3581), Contact, From and To, and, but in
//! Linux, Route and Record-Route. Names that are no addresses stay.

use super::message::{Message, Start, UriHeader};
use super::text::{self, HostPort, parameter};
use super::{Reading, Refused, address_text, endpoint_text, uri};
use crate::helpers::text::Text;
use crate::shard::Shard;
use crate::tuple::{self, Direction, protocol};
use std::ops::Range;

impl Shard {
    /// Takes note of the port at which the client of a connection waits for answers, if its Via says another than that which it
    /// sends from: some phones do not answer at the port that they send from.
    pub(super) fn note_where_answered(&mut self, reading: &Reading<'_>, message: &Message) {
        let Some(via) = via(reading.bytes, message) else { return };
        let Some((address, port)) = via.host.endpoint(reading.announcing.family()) else { return };
        let own = &reading.announcing;
        // Answers to what came over a stream go over the same one (RFC 3261 section 18.2.2).
        let is_datagram = own.protocol() == protocol::UDP;
        let is_client = reading.announcer.direction == Direction::Original && reading.announcer.is_translated;
        if is_datagram && is_client && address == own.src && port != own.selector.sport() {
            self.table.extend(reading.announcer.index).sip.answers_at = port;
        }
    }

    pub(super) fn translate_headers(
        &self,
        reading: &mut Reading<'_>,
        message: &Message,
    ) -> Result<(), Refused> {
        let bytes = reading.bytes;
        let answers_at = self.dialog(reading.announcer.index).answers_at;
        if let Start::Request(_, range) = &message.start
            && let Some(found) = uri::address_of(bytes, range.clone())
        {
            translate(reading, &found.host, answers_at)?;
        }
        if let Some(via) = via(bytes, message) {
            translate_via(reading, message, &via, answers_at)?;
        }
        for (header, value) in message.uris() {
            if header == UriHeader::Route && reading.is_linux {
                continue;
            }
            for found in uri::uris(bytes, value) {
                translate(reading, &found.host, answers_at)?;
            }
        }
        Ok(())
    }
}

/// Address and port of one of the connection's ends, as this side knows it, become those that the other side knows.
fn translated(reading: &Reading<'_>, end: (u128, u16), answers_at: u16) -> Option<(u128, u16)> {
    let [own, other] = [reading.announcing, reading.answering];
    if end == (own.src, own.selector.sport()) {
        Some((other.dst, other.selector.dport()))
    } else if end == (own.dst, own.selector.dport()) {
        let port = if answers_at != 0 { answers_at } else { other.selector.sport() };
        Some((other.src, port))
    } else {
        None
    }
}

/// Has a host of a message say what the other side knows, if it is an end of the connection.
fn translate(reading: &mut Reading<'_>, host: &HostPort, answers_at: u16) -> Result<(), Refused> {
    let Some(end) = host.endpoint(reading.announcing.family()) else { return Ok(()) };
    match translated(reading, end, answers_at) {
        Some(other) if other != end => {
            reading.edit(&host.range, endpoint_text(reading.announcing.family(), other))
        }
        _ => Ok(()),
    }
}

/// The topmost Via.
struct Via {
    host: HostPort,
    parameters: Range<usize>,
}

fn via(bytes: &[u8], message: &Message) -> Option<Via> {
    let value = message.via.clone()?;
    let topmost = bytes[value.clone()]
        .iter()
        .position(|byte| *byte == b',')
        .map_or(value.end, |comma| value.start + comma);
    let text = &bytes[value.start..topmost];
    // Behind protocol, version and transport, with blanks around the slashes or without.
    let mut slashes = text.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let transport = slashes.nth(1)? + 1;
    let blanks = |at: usize| text[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let transport = transport + blanks(transport);
    let transport_len = text[transport..].iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
    let at = transport + transport_len;
    let host = HostPort::read(bytes, value.start + at + blanks(at), topmost)?;
    let parameters = host.range.end..topmost;
    Some(Via { host, parameters })
}

/// Translates the topmost Via, if it is one of this connection.
fn translate_via(
    reading: &mut Reading<'_>,
    message: &Message,
    via: &Via,
    answers_at: u16,
) -> Result<(), Refused> {
    let (bytes, family) = (reading.bytes, reading.announcing.family());
    let [own, other] = [reading.announcing, reading.answering];
    let end = match message.start {
        Start::Request(..) => (own.src, own.selector.sport()),
        Start::Response(_) => (own.dst, own.selector.dport()),
    };
    if via.host.endpoint(family) != Some(end) {
        return Ok(());
    }
    translate(reading, &via.host, answers_at)?;
    let find = |name| parameter(bytes, via.parameters.clone(), name);
    for (name, from, to) in [("maddr", own.src, other.dst), ("received", own.dst, other.src)] {
        if let Some(range) = find(name)
            && text::address(&bytes[range.clone()]) == Some(tuple::address(family, from))
            && from != to
        {
            let text = if bytes[range.start] == b'[' {
                Text::of(format_args!("[{}]", tuple::address(family, to)))
            } else {
                address_text(family, to)
            };
            reading.edit(&range, text)?;
        }
    }
    let [from, to] = [own.selector.dport(), other.selector.sport()];
    if let Some(range) = find("rport")
        && text::number(&bytes[range.clone()]) == Some((from.into(), range.len()))
        && from != to
    {
        reading.edit(&range, Text::of(format_args!("{to}")))?;
    }
    Ok(())
}
