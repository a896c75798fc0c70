//! RTSP (RFC 2326, RFC 7826): a client has a server set up streams of RTP, and both name the ports for it in `Transport`.
//!
//! A request SETUP says at which ports the client listens, the reply to it from which ports the server sends and at which it listens
//! itself. RTP has one, RTCP another, mostly the next one. What comes over the session's own connection (interleaved), or to a group,
//! is not announced here; once media come in the connection itself, nothing of it is read any more.

use super::delimiter::Delimiter;
use super::found::{Announced, Form, Found, HelperMemory, Line, Mention, Mentions};
use super::messages::Part;
use super::text::{Text, number};
use super::{Descriptor, ExpectationClass, Reads, StreamReader};
use crate::expectations::SourceMask;
use crate::family::Family;
use crate::helper_event::HelperEvent;
use crate::tuple::{Direction, address, protocol};
use std::net::IpAddr;
use std::ops::Range;

/// Of each stream four connections are expected: RTP and RTCP, of either end. Servers are asked at port 554, some at 8554.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    protocols: &[protocol::TCP],
    ports: &[554],
    classes: &[ExpectationClass {
        loose_source: SourceMask::Any,
        ..ExpectationClass::only(protocol::UDP, 16, 300)
    }],
    reads: Reads::Stream(StreamReader {
        delimiter: Delimiter::Newline,
        inspect,
        linux: None,
        may_announce,
        rewrite,
    }),
};

/// What a message is, as is remembered until its headers end.
const SETS_UP: u8 = 1;

/// The header that says how a stream is transported.
const TRANSPORT: &[u8] = b"Transport";

/// RTP over UDP, encrypted or not (RFC 3550, 3711, 4585, 5124); without a name of it UDP is meant (RFC 2326 section 12.39).
const OVER_UDP: [&str; 8] = [
    "RTP/AVP",
    "RTP/AVP/UDP",
    "RTP/AVPF",
    "RTP/AVPF/UDP",
    "RTP/SAVP",
    "RTP/SAVP/UDP",
    "RTP/SAVPF",
    "RTP/SAVPF/UDP",
];

/// Whether a line that begins so may come to announce a connection.
fn may_announce(piece: &[u8], _: Direction) -> bool {
    let both = piece.len().min(TRANSPORT.len());
    piece[..both].eq_ignore_ascii_case(&TRANSPORT[..both])
}

/// What a line announces.
fn inspect(line: &Line<'_>, memory: &mut HelperMemory) -> Found {
    let framing = &mut memory.framings[line.direction as usize];
    if line.is_resumed {
        // Whether headers or a body come next is not known any more.
        return Found::Off(HelperEvent::Incomplete);
    }
    if !framing.is_in_headers() && line.bytes.starts_with(b"$") {
        return Found::Off(HelperEvent::Interleaved);
    }
    match framing.read(line.bytes, &["Content-Length"]) {
        Some(Part::Start) => match sets_up(line.bytes, line.direction) {
            Some(sets_up) => {
                framing.note = if sets_up { SETS_UP } else { 0 };
                Found::Nothing
            }
            None => Found::Off(HelperEvent::OtherProtocol),
        },
        Some(Part::Header { name, value }) => {
            let is_transport = line.bytes[name].eq_ignore_ascii_case(TRANSPORT);
            if framing.note == SETS_UP && is_transport {
                transports(line.bytes, value, line.direction)
            } else {
                Found::Nothing
            }
        }
        Some(Part::End(bytes)) if bytes > 0 => Found::Body(bytes),
        Some(Part::Blank | Part::Continued | Part::End(_)) => Found::Nothing,
        None => Found::Off(HelperEvent::Malformed),
    }
}

/// What stands where an address or ports do.
fn rewrite(form: Form, family: Family, to: u128, port: u16) -> Text {
    match form {
        Form::Ports { delimiter, distance } => {
            Text::of(format_args!("{port}{}{}", char::from(delimiter), port.wrapping_add(distance)))
        }
        Form::FirstPort => Text::of(format_args!("{port}")),
        _ => Text::of(format_args!("{}", address(family, to))),
    }
}

/// Whether the message that begins so sets a stream up: the client asks for that, or it is done. `None` where that is no message
/// of RTSP.
fn sets_up(start: &[u8], direction: Direction) -> Option<bool> {
    let mut words = start.trim_ascii_end().split(|byte| *byte == b' ');
    let [first, second, third] = [words.next()?, words.next()?, words.next().unwrap_or_default()];
    let is_version = |word: &[u8]| matches!(word, b"RTSP/1.0" | b"RTSP/2.0");
    if is_version(first) {
        return Some(direction == Direction::Reply && second == b"200");
    }
    let is_method = !first.is_empty() && first.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
    (is_method && is_version(third)).then_some(direction == Direction::Original && first == b"SETUP")
}

/// What a header announces that offers transports, or names the one that was chosen.
fn transports(line: &[u8], value: Range<usize>, direction: Direction) -> Found {
    let mut mentions = Mentions::default();
    for transport in parts(line, value, b',') {
        let Some(found) = transport_of(line, transport, direction) else {
            return Found::Off(HelperEvent::Malformed);
        };
        if !found.into_iter().flatten().all(|mention| mentions.push(mention)) {
            return Found::Off(HelperEvent::TooMany);
        }
    }
    if mentions.iter().next().is_none() { Found::Nothing } else { Found::Mentioned(mentions) }
}

/// What one transport mentions: `RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001`. `None` where it is malformed.
fn transport_of(line: &[u8], transport: Range<usize>, direction: Direction) -> Option<[Option<Mention>; 4]> {
    let mut found = [const { None }; 4];
    let mut parameters = parts(line, transport, b';').map(|part| trimmed(line, part));
    let name = &line[parameters.next()?];
    let is_over_udp = OVER_UDP.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    let [mut own_ports, mut others_ports, mut own_address, mut others_address] = [const { None }; 4];
    for parameter in parameters {
        let text = &line[parameter.clone()];
        let end = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
        let value = (parameter.start + end + 1).min(parameter.end)..parameter.end;
        let (own, other) = match direction {
            Direction::Original => (["client_port", "destination"], ["", ""]),
            Direction::Reply => (["server_port", "source"], ["client_port", "destination"]),
        };
        let is = |known: &str| text[..end].eq_ignore_ascii_case(known.as_bytes());
        if is("multicast") || is("interleaved") {
            return Some(found);
        } else if is(own[0]) {
            own_ports = Some(value);
        } else if is(own[1]) {
            own_address = Some(value);
        } else if is(other[0]) {
            others_ports = Some(value);
        } else if is(other[1]) {
            others_address = Some(value);
        }
    }
    if !is_over_udp {
        return Some(found);
    }
    let own_address = own_address.and_then(|range| host(line, range));
    if let Some(range) = own_ports {
        let (port, form) = ports(&line[range.clone()])?;
        let address = own_address.as_ref().map(|(address, _)| *address);
        found[0] = Some(Mention::Announced(Announced { address, port, range, form }));
    }
    if let Some(range) = others_ports {
        let (port, form) = ports(&line[range.clone()])?;
        found[1] = Some(Mention::Port(port, form, range));
    }
    found[2] = own_address.map(|(address, range)| Mention::Address(address, range));
    let others_address = others_address.and_then(|range| host(line, range));
    found[3] = others_address.map(|(address, range)| Mention::Address(address, range));
    Some(found)
}

/// The parts of a text between delimiters, each by where it stands in the line.
fn parts(line: &[u8], text: Range<usize>, delimiter: u8) -> impl Iterator<Item = Range<usize>> {
    let mut start = text.start;
    line[text].split(move |byte| *byte == delimiter).map(move |part| {
        let range = start..start + part.len();
        start = range.end + 1;
        range
    })
}

/// A part without the spaces around it.
fn trimmed(line: &[u8], part: Range<usize>) -> Range<usize> {
    let text = line[part.clone()].trim_ascii_start();
    let start = part.end - text.len();
    start..start + text.trim_ascii_end().len()
}

/// The ports of a pair, and how they stand there: `5000-5001`, `5000/5001`, or `5000` where the next one is meant, too. The second is
/// higher than the first.
fn ports(text: &[u8]) -> Option<(u16, Form)> {
    let end = text.iter().position(|byte| matches!(*byte, b'-' | b'/')).unwrap_or(text.len());
    let port = number(&text[..end])?;
    let Some((&delimiter, second)) = text[end..].split_first() else {
        return (port < u16::MAX).then_some((port, Form::FirstPort));
    };
    let distance = number::<u16>(second)?.checked_sub(port).filter(|distance| *distance > 0)?;
    Some((port, Form::Ports { delimiter, distance }))
}

/// The address in what says a host, perhaps with a port behind it: names are nobody's to translate.
fn host(line: &[u8], range: Range<usize>) -> Option<(IpAddr, Range<usize>)> {
    let text = std::str::from_utf8(&line[range.clone()]).ok()?;
    let written = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next()?,
        None if text.matches(':').count() == 1 => text.split(':').next()?,
        None => text,
    };
    let start = range.start + usize::from(text.starts_with('['));
    Some((written.parse().ok()?, start..start + written.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a header line mentions of a message that sets a stream up, each by its text.
    fn mentions(header: &str, direction: Direction) -> Result<Vec<String>, HelperEvent> {
        let value = header.find(':').unwrap() + 1..header.len();
        match transports(header.as_bytes(), value, direction) {
            Found::Nothing => Ok(vec![]),
            Found::Mentioned(mentions) => Ok(mentions.iter().map(|mention| said(header, mention)).collect()),
            Found::Off(event) => Err(event),
            other => panic!("{other:?}"),
        }
    }

    fn said(header: &str, mention: &Mention) -> String {
        let text = &header[mention.range().clone()];
        match mention {
            Mention::Announced(Announced { address, port, form, .. }) => {
                let address = address.map_or_else(String::new, |address| format!("{address} "));
                format!("{text}: {address}{port}+{}", form.distance().unwrap())
            }
            Mention::Address(address, _) => format!("{text}: is {address}"),
            Mention::Port(port, form, _) => format!("{text}: was {port}+{}", form.distance().unwrap()),
            Mention::OwnPort(port, _) => format!("{text}: is {port}"),
        }
    }

    #[test]
    fn transports_mention_ports_and_addresses() {
        for (transport, direction, expected) in [
            ("RTP/AVP;unicast;client_port=5000-5001", Direction::Original, &["5000-5001: 5000+1"][..]),
            ("rtp/avp/udp; Unicast; Client_Port=5000/5002", Direction::Original, &["5000/5002: 5000+2"]),
            ("RTP/SAVP;unicast;client_port=5000", Direction::Original, &["5000: 5000+1"]),
            (
                "RTP/AVP;unicast;client_port=5000-5001;destination=10.0.0.2",
                Direction::Original,
                &["5000-5001: 10.0.0.2 5000+1", "10.0.0.2: is 10.0.0.2"],
            ),
            (
                "RTP/AVP;destination=[fd00::2]:5000;client_port=5000-5001",
                Direction::Original,
                &["fd00::2: is fd00::2", "5000-5001: fd00::2 5000+1"],
            ),
            (
                "RTP/AVP;unicast;destination=10.0.0.2:5000;client_port=5000-5001",
                Direction::Original,
                &["10.0.0.2: is 10.0.0.2", "5000-5001: 10.0.0.2 5000+1"],
            ),
            (
                "RTP/AVP;unicast;destination=host.example;client_port=5000-5001",
                Direction::Original,
                &["5000-5001: 5000+1"],
            ),
            (
                "RTP/AVP/TCP;interleaved=0-1,RTP/AVP;unicast;client_port=5000-5001,RTP/SAVP;client_port=5000-5001",
                Direction::Original,
                &["5000-5001: 5000+1", "5000-5001: 5000+1"],
            ),
            (
                "RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001;source=1.2.3.4;destination=9.9.9.9",
                Direction::Reply,
                &[
                    "5000-5001: was 5000+1",
                    "6000-6001: 1.2.3.4 6000+1",
                    "1.2.3.4: is 1.2.3.4",
                    "9.9.9.9: is 9.9.9.9",
                ],
            ),
            ("RTP/AVP/TCP;unicast;client_port=5000-5001", Direction::Original, &[]),
            ("RTP/AVP;multicast;client_port=5000-5001", Direction::Original, &[]),
            ("RTP/AVP;unicast;client_port=5000-5001;interleaved=0-1", Direction::Original, &[]),
            ("RTP/AVP;unicast;server_port=6000-6001", Direction::Original, &[]),
            ("x-real-rdt/udp;client_port=5000", Direction::Original, &[]),
            ("", Direction::Original, &[]),
        ] {
            let header = format!("Transport: {transport}");
            assert_eq!(mentions(&header, direction).unwrap(), expected, "{transport}");
        }
    }

    #[test]
    fn ports_that_are_none_are_malformed() {
        for ports in [
            "",
            "x",
            "5000-",
            "-5001",
            "5001-5000",
            "5000-5000",
            "5000-70000",
            "65535",
            "5000-5001-5002",
            "+5000",
            "5000 5001",
        ] {
            let header = format!("Transport: RTP/AVP;unicast;client_port={ports}");
            assert_eq!(mentions(&header, Direction::Original), Err(HelperEvent::Malformed), "{ports}");
        }
        let many = format!("Transport: {}", "RTP/AVP;client_port=5000-5001,".repeat(9));
        assert_eq!(mentions(&many, Direction::Original), Err(HelperEvent::TooMany));
    }

    #[test]
    fn the_first_line_tells_what_a_message_is() {
        for (start, direction, expected) in [
            ("SETUP rtsp://x/a RTSP/1.0\r\n", Direction::Original, Some(true)),
            ("SETUP rtsp://x/a RTSP/2.0\r\n", Direction::Original, Some(true)),
            ("OPTIONS * RTSP/1.0\r\n", Direction::Original, Some(false)),
            ("GET_PARAMETER rtsp://x/a RTSP/1.0\r\n", Direction::Reply, Some(false)),
            ("SETUP rtsp://x/a RTSP/1.0\r\n", Direction::Reply, Some(false)),
            ("RTSP/1.0 200 OK\r\n", Direction::Reply, Some(true)),
            ("RTSP/1.0 200 OK\r\n", Direction::Original, Some(false)),
            ("RTSP/1.0 454 Session Not Found\r\n", Direction::Reply, Some(false)),
            ("POST / HTTP/1.1\r\n", Direction::Original, None),
            ("GET /x RTSP/9\r\n", Direction::Original, None),
            ("setup x RTSP/1.0\r\n", Direction::Original, None),
            ("RTSP/1.0\r\n", Direction::Reply, None),
            ("\x16\x03\x01\n", Direction::Original, None),
        ] {
            assert_eq!(sets_up(start.as_bytes(), direction), expected, "{start}");
        }
    }

    #[test]
    fn ports_and_addresses_are_written_as_they_were() {
        let v6 = 0x2001_0db8_0002_0000_0000_0000_0000_0001;
        for (form, family, expected) in [
            (Form::Ports { delimiter: b'-', distance: 1 }, Family::V4, "5000-5001"),
            (Form::Ports { delimiter: b'/', distance: 2 }, Family::V4, "5000/5002"),
            (Form::FirstPort, Family::V4, "5000"),
            (Form::Address, Family::V4, "0.0.0.1"),
            (Form::Address, Family::V6, "2001:db8:2::1"),
        ] {
            assert_eq!(rewrite(form, family, v6, 5000).as_bytes(), expected.as_bytes());
        }
    }
}
