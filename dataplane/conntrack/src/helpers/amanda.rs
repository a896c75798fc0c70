//! Amanda, the Advanced Maryland Automatic Network Disk Archiver, over UDP (its `bsd` and `bsdudp` authentication).
//!
//! The backup server asks a client for data. The client's reply names the ports at which it waits for the server's TCP
//! connections: `CONNECT DATA 50001 MESG 50002 INDEX 50003`. Who asks is the one whose packet opens the connection.
//! What goes over TCP from the start (`bsdtcp`, `ssh`) needs no helper.

use super::found::{Announced, Announcements, Form, InDatagram};
use super::text::{self, Text};
use super::{DatagramReader, Descriptor, ExpectationClass, Reads};
use crate::family::Family;
use crate::helper_event::HelperEvent;
use crate::tuple::{Direction, protocol};

/// A client may take minutes to find out how much there is to back up: each of its replies has the connection wait on.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    protocols: &[protocol::UDP],
    ports: &[10080],
    classes: &[ExpectationClass::only(protocol::TCP, 4, 180)],
    reads: Reads::Datagrams(DatagramReader {
        inspect,
        inspect_as_linux: Some(inspect_as_linux),
        rewrite,
        master_timeout_s: [0, 300],
    }),
};

/// How all datagrams begin.
const GREETING: &[u8] = b"Amanda ";
/// How the line begins that names ports.
const CONNECT: &[u8] = b"CONNECT ";
/// The streams that it names a port for.
const STREAMS: [&[u8]; 4] = [b"DATA ", b"MESG ", b"INDEX ", b"STATE "];

/// Digits of a port, at most.
const MAX_DIGITS: usize = 5;

fn rewrite(_: Form, _: Family, _: u128, port: u16) -> Text {
    Text::of(format_args!("{port}"))
}

/// What a datagram says. Clients of Amanda alone name ports, and answer.
fn inspect(payload: &[u8], direction: Direction) -> InDatagram {
    if !payload.starts_with(GREETING) {
        return InDatagram::Off(HelperEvent::OtherProtocol);
    }
    let mut start = 0;
    for line in payload.split_inclusive(|byte| *byte == b'\n') {
        if direction == Direction::Reply && line.starts_with(CONNECT) {
            return connect(line, start);
        }
        start += line.len();
    }
    InDatagram::Nothing
}

/// What a line says that begins with CONNECT and, itself, at `start` of the payload: names and ports in turn. Port 0 is none, and
/// there is nothing behind it.
fn connect(line: &[u8], start: usize) -> InDatagram {
    let mut announcements = Announcements::default();
    let mut at = CONNECT.len();
    loop {
        let rest = &line[at..];
        let Some(stream) = STREAMS.into_iter().find(|stream| rest.starts_with(stream)) else {
            return InDatagram::Off(HelperEvent::Malformed);
        };
        at += stream.len();
        let Some((port, digits)) = text::decimal(&line[at..]) else {
            return InDatagram::Off(HelperEvent::Malformed);
        };
        let range = start + at..start + at + digits;
        at += digits;
        let Ok(port) = u16::try_from(port) else { return InDatagram::Off(HelperEvent::Malformed) };
        if port == 0 {
            return InDatagram::Announced(announcements);
        }
        let is_more = announcements.push(Announced { address: None, port, range, form: Form::Port });
        match line[at..] {
            [b'\n'] | [b'\r' | b' ', b'\n'] if is_more => return InDatagram::Announced(announcements),
            [b' ', _, ..] if is_more => at += 1,
            _ => return InDatagram::Off(HelperEvent::Malformed),
        }
    }
}

/// Linux looks for CONNECT anywhere in what answers, and behind it for each of the streams, anywhere before the line ends.
fn inspect_as_linux(payload: &[u8], direction: Direction) -> InDatagram {
    let find = |text: &[u8], wanted: &[u8]| text.windows(wanted.len()).position(|window| window == wanted);
    let mut announcements = Announcements::default();
    let start = find(payload, CONNECT).map(|at| at + CONNECT.len());
    let Some(start) = start.filter(|_| direction == Direction::Reply) else { return InDatagram::Nothing };
    let Some(len) = find(&payload[start..], b"\n") else { return InDatagram::Nothing };
    let line = &payload[start..start + len];
    for stream in STREAMS {
        let Some(at) = find(line, stream).map(|at| at + stream.len()) else { continue };
        let digits = line[at..].iter().take(MAX_DIGITS).take_while(|byte| byte.is_ascii_digit());
        let (digits, port) =
            digits.fold((0, 0_u32), |(len, port), digit| (len + 1, port * 10 + u32::from(digit - b'0')));
        let range = start + at..start + at + digits;
        let port = port as u16;
        if port == 0 || !announcements.push(Announced { address: None, port, range, form: Form::Port }) {
            break;
        }
    }
    InDatagram::Announced(announcements)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = "Amanda 2.4 REP HANDLE 000-1 SEQ 1\n";

    /// The ports that are announced, and how each stands in the text.
    fn ports<'a>(found: &InDatagram, payload: &'a str) -> Option<Vec<(u16, &'a str)>> {
        let InDatagram::Announced(announcements) = found else { return None };
        Some(announcements.iter().map(|one| (one.port, &payload[one.range.clone()])).collect())
    }

    #[test]
    fn a_reply_names_ports_in_any_order() {
        for (line, expected) in [
            ("CONNECT DATA 50001 MESG 50002 INDEX 50003\n", &[50_001, 50_002, 50_003][..]),
            ("CONNECT MESG 1 INDEX 2 DATA 3 STATE 65535\n", &[1, 2, 3, 65_535]),
            ("CONNECT DATA 50001\nOPTIONS ;\n", &[50_001]),
            ("CONNECT DATA 50001 \n", &[50_001]),
            ("CONNECT DATA 50001\r\n", &[50_001]),
            ("OPTIONS x;\nCONNECT STATE 9\n", &[9]),
            ("CONNECT DATA 0 MESG 50012 INDEX 70000\n", &[]),
            ("CONNECT DATA 50001 MESG 0 INDEX 50003\n", &[50_001]),
        ] {
            let payload = format!("{REPLY}{line}");
            let found = inspect(payload.as_bytes(), Direction::Reply);
            let found = ports(&found, &payload).unwrap();
            assert!(found.iter().all(|(port, text)| port.to_string() == *text), "{line}");
            assert_eq!(found.iter().map(|(port, _)| *port).collect::<Vec<_>>(), expected, "{line}");
            assert_eq!(inspect(payload.as_bytes(), Direction::Original), InDatagram::Nothing);
        }
    }

    #[test]
    fn what_is_malformed_names_none() {
        for line in [
            "CONNECT \n",
            "CONNECT DATA \n",
            "CONNECT DATA 500010\n",
            "CONNECT DATA 70000\n",
            "CONNECT DATA 50001",
            "CONNECT DATA 50001 ",
            "CONNECT DATA 50001 MESG\n",
            "CONNECT DATA  50001\n",
            "CONNECT DATA 50001  MESG 50002\n",
            "CONNECT DATA 050001\n",
            "CONNECT DATA -1\n",
            "CONNECT OTHER 50001\n",
            "CONNECT DATA 1 MESG 2 INDEX 3 STATE 4 DATA 5\n",
            "CONNECT DATA ",
            "CONNECT ",
        ] {
            let payload = format!("{REPLY}{line}");
            let found = inspect(payload.as_bytes(), Direction::Reply);
            assert_eq!(found, InDatagram::Off(HelperEvent::Malformed), "{line}");
        }
        for other in ["", "Amanda", "CONNECT DATA 50001\n", "GET / HTTP/1.1\n"] {
            for direction in [Direction::Original, Direction::Reply] {
                let found = inspect(other.as_bytes(), direction);
                assert_eq!(found, InDatagram::Off(HelperEvent::OtherProtocol), "{other}");
            }
        }
        let quoted = format!("{REPLY}x CONNECT DATA 50001\n");
        assert_eq!(inspect(quoted.as_bytes(), Direction::Reply), InDatagram::Nothing);
    }

    #[test]
    fn linux_finds_streams_anywhere_in_the_line_and_its_ports_wrap_around() {
        for (payload, expected) in [
            ("CONNECT DATA 50001 MESG 50002 INDEX 50003\n", &[50_001, 50_002, 50_003][..]),
            ("x CONNECT INDEX 3 DATA 1\n", &[1, 3]),
            ("CONNECT DATA 0 MESG 50012\n", &[]),
            ("CONNECT DATA 70000 MESG x INDEX 3\n", &[4464]),
            ("CONNECT DATA 123456\n", &[12_345]),
            ("CONNECT DATA 50021 MESG\n", &[50_021]),
            ("CONNECT DATA\n", &[]),
        ] {
            let found = inspect_as_linux(payload.as_bytes(), Direction::Reply);
            let found: Vec<u16> = ports(&found, payload).unwrap().iter().map(|(port, _)| *port).collect();
            assert_eq!(found, expected, "{payload}");
            let found = inspect_as_linux(payload.as_bytes(), Direction::Original);
            assert_eq!(found, InDatagram::Nothing);
        }
        for payload in ["", "CONNECT DATA 1", "Amanda 2.4 ACK\n"] {
            assert_eq!(inspect_as_linux(payload.as_bytes(), Direction::Reply), InDatagram::Nothing);
        }
    }
}
