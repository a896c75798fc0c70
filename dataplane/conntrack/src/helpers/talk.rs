//! talk and ntalk: two users write to each other's terminals (4.2BSD and 4.3BSD, `<protocols/talkd.h>`).
//!
//! The caller's client has the daemon of the callee's host announce him (ANNOUNCE), and leaves an invitation with the daemon of its
//! own host. The callee's client looks that up there (LOOK_UP), and is told the TCP port at which the caller's client waits:
//!
//! ```text
//!   caller's daemon <--- LOOK_UP ---.   .--- ANNOUNCE ---> callee's daemon
//!                                    \ /
//!                                     X
//!                                    / \
//!   caller's client ----------------'   '---------------- callee's client
//!          ^------------------ TCP ---------------------------'
//! ```
//!
//! Both daemons have the same port. A daemon that says it has announced somebody will have its host's client come for the invitation;
//! what answers that announces the conversation. Requests say where to answer (`ctl_addr`).

use super::found::{Announced, Announcements, Form, InDatagram, Mention, Mentions};
use super::text::Text;
use super::{DatagramReader, Descriptor, ExpectationClass, HelperId, Reads};
use crate::family::Family;
use crate::helper_event::HelperEvent;
use crate::tuple::{Direction, address, protocol};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

/// Who is called has some minutes: the caller's client has him announced anew every half a minute.
const TIMEOUT_S: u32 = 240;

/// talk, at port 517.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    protocols: &[protocol::UDP],
    ports: &[517],
    classes: &classes(HelperId::Talk),
    reads: Reads::Datagrams(DatagramReader { inspect: inspect_talk, ..READER }),
};

/// ntalk, at port 518.
pub(super) const NTALK_DESCRIPTOR: Descriptor = Descriptor {
    ports: &[518],
    classes: &classes(HelperId::Ntalk),
    reads: Reads::Datagrams(DatagramReader { inspect: inspect_ntalk, ..READER }),
    ..DESCRIPTOR
};

/// The conversation, and who comes for an invitation.
const fn classes(helper: HelperId) -> [ExpectationClass; 2] {
    let conversation = ExpectationClass::only(protocol::TCP, 1, TIMEOUT_S);
    let invitation = ExpectationClass::only(protocol::UDP, 1, TIMEOUT_S);
    [
        ExpectationClass { name: "conversation", ..conversation },
        ExpectationClass { name: "invitation", read_by: Some(helper), ..invitation },
    ]
}

const READER: DatagramReader = DatagramReader {
    inspect: inspect_talk,
    inspect_as_linux: None,
    rewrite,
    master_timeout_s: [TIMEOUT_S; 2],
};

/// Types of messages.
const LOOK_UP: u8 = 1;
const ANNOUNCE: u8 = 3;
/// The answer that what was asked for is done.
const SUCCESS: u8 = 0;

/// The family of a `sockaddr_in`, which some clients write in the byte order of their host.
const AF_INET: [[u8; 2]; 2] = [[0, 2], [2, 0]];

/// How messages of a version are laid out. An address is a `sockaddr_in` of 16 bytes.
struct Version {
    /// What they begin with, if that is their version.
    number: Option<u8>,
    /// Bytes of a request and of a response.
    request_bytes: usize,
    response_bytes: usize,
    /// Whether they may be longer.
    is_extensible: bool,
    /// The greatest type and the greatest answer.
    last_type: u8,
    last_answer: u8,
    /// The names of the caller and of the callee in a request, with NUL behind them where they are shorter.
    names: [Range<usize>; 2],
    /// Where the conversation is to be, in a request.
    addr: usize,
    /// Where to answer to.
    ctl_addr: usize,
}

/// Where the conversation is to be, in a response of any version.
const RESPONSE_ADDR: usize = 8;

const TALK: Version = Version {
    number: None,
    request_bytes: 76,
    response_bytes: 24,
    is_extensible: false,
    last_type: 3,
    last_answer: 8,
    names: [1..10, 10..19],
    addr: 44,
    ctl_addr: 60,
};

const NTALK: Version =
    Version { number: Some(1), request_bytes: 84, names: [44..56, 56..68], addr: 8, ctl_addr: 24, ..TALK };

/// That of KTalk.
const NTALK2: Version = Version {
    number: Some(2),
    response_bytes: 36,
    is_extensible: true,
    last_type: 4,
    last_answer: 11,
    ..NTALK
};

fn inspect_talk(payload: &[u8], direction: Direction) -> InDatagram {
    inspect(&[TALK], payload, direction)
}

fn inspect_ntalk(payload: &[u8], direction: Direction) -> InDatagram {
    inspect(&[NTALK, NTALK2], payload, direction)
}

/// What a datagram says. Clients ask, and daemons answer.
fn inspect(versions: &[Version], payload: &[u8], direction: Direction) -> InDatagram {
    let found = versions.iter().find_map(|version| match direction {
        Direction::Original => version.request(payload),
        Direction::Reply => version.response(payload),
    });
    found.unwrap_or(InDatagram::Off(HelperEvent::OtherProtocol))
}

impl Version {
    /// The type of a message of so many bytes, and what is behind it; `None` where it is none of this version.
    fn message<'a>(&self, payload: &'a [u8], len: usize) -> Option<(u8, &'a [u8])> {
        let is_of_length = payload.len() == len || self.is_extensible && payload.len() > len;
        let rest = match self.number {
            Some(number) => payload.strip_prefix(&[number])?,
            None => payload,
        };
        let (kind, rest) = rest.split_first()?;
        (is_of_length && *kind <= self.last_type).then_some((*kind, rest))
    }

    /// What a request says: the addresses of its sender.
    fn request(&self, payload: &[u8]) -> Option<InDatagram> {
        self.message(payload, self.request_bytes)?;
        if !self.names.iter().all(|name| is_name(&payload[name.clone()])) {
            return None;
        }
        let mut mentions = Mentions::default();
        for at in [self.addr, self.ctl_addr] {
            if let Some((_, address)) = endpoint(payload, at) {
                mentions.push(Mention::Address(address, at + 4..at + 8));
            }
        }
        if let Some((port, _)) = endpoint(payload, self.ctl_addr) {
            mentions.push(Mention::OwnPort(port, self.ctl_addr + 2..self.ctl_addr + 4));
        }
        Some(InDatagram::Mentioned(mentions))
    }

    /// What a response says.
    fn response(&self, payload: &[u8]) -> Option<InDatagram> {
        let (kind, rest) = self.message(payload, self.response_bytes)?;
        let answer = *rest.first().filter(|answer| **answer <= self.last_answer)?;
        Some(match (kind, answer) {
            (ANNOUNCE, SUCCESS) => InDatagram::Invitation,
            (LOOK_UP, SUCCESS) => match endpoint(payload, RESPONSE_ADDR) {
                Some((port, address)) => {
                    let mut announcements = Announcements::default();
                    let range = RESPONSE_ADDR + 2..RESPONSE_ADDR + 8;
                    let form = Form::Endpoint;
                    announcements.push(Announced { address: Some(address), port, range, form });
                    InDatagram::Announced(announcements)
                }
                None => InDatagram::Off(HelperEvent::Malformed),
            },
            _ => InDatagram::Nothing,
        })
    }
}

/// Whether that is a user's name: printable, and not empty.
fn is_name(field: &[u8]) -> bool {
    let name = field.split(|byte| *byte == 0).next().unwrap_or_default();
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

/// The port and the address of the `sockaddr_in` that begins there, if it is one.
fn endpoint(payload: &[u8], at: usize) -> Option<(u16, IpAddr)> {
    let (family, rest) = payload.get(at..)?.split_first_chunk()?;
    let (port, rest) = rest.split_first_chunk()?;
    let octets: [u8; 4] = *rest.first_chunk()?;
    AF_INET.contains(family).then(|| (u16::from_be_bytes(*port), Ipv4Addr::from(octets).into()))
}

fn rewrite(form: Form, family: Family, number: u128, port: u16) -> Text {
    match (form, address(family, number)) {
        (Form::Address, IpAddr::V4(address)) => Text::of_bytes(address.octets()),
        (Form::Endpoint, IpAddr::V4(address)) => {
            let [high, low] = port.to_be_bytes();
            let [a, b, c, d] = address.octets();
            Text::of_bytes([high, low, a, b, c, d])
        }
        _ => Text::of_port(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};

    const OFF: InDatagram = InDatagram::Off(HelperEvent::OtherProtocol);
    /// 10.0.0.2, port 5001.
    const ADDR: [u8; 16] = [0, 2, 0x13, 0x89, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
    const CTL_ADDR: [u8; 16] = [0, 2, 0x9c, 0x40, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];

    fn padded<const N: usize>(text: &str) -> [u8; N] {
        let mut field = [0; N];
        field[..text.len()].copy_from_slice(text.as_bytes());
        field
    }

    fn talk_request(kind: u8, caller: &str) -> Vec<u8> {
        let names = [padded::<9>(caller), padded::<9>("bob")].concat();
        [&[kind][..], &names, &[0; 9], &padded::<16>("tty1"), &ADDR, &CTL_ADDR].concat()
    }

    fn ntalk_request(kind: u8, caller: &str) -> Vec<u8> {
        let names = [padded::<12>(caller), padded::<12>("bob")].concat();
        [&[1, kind, 0, 0, 0, 0, 0, 7][..], &ADDR, &CTL_ADDR, &[0; 4], &names, &padded::<16>("")].concat()
    }

    fn response(begin: &[u8]) -> Vec<u8> {
        [begin, &vec![0; 8 - begin.len()], &ADDR].concat()
    }

    #[test]
    fn requests_mention_where_their_sender_is() {
        for (found, [addr, ctl_addr]) in [
            (inspect_talk(&talk_request(ANNOUNCE, "alice"), Original), [44, 60]),
            (inspect_ntalk(&ntalk_request(LOOK_UP, "alice"), Original), [8, 24]),
        ] {
            let InDatagram::Mentioned(mentions) = found else { panic!("{found:?}") };
            let own: IpAddr = [10, 0, 0, 2].into();
            let expected = [
                Mention::Address(own, addr + 4..addr + 8),
                Mention::OwnPort(40_000, ctl_addr + 2..ctl_addr + 4),
                Mention::Address(own, ctl_addr + 4..ctl_addr + 8),
            ];
            assert_eq!(mentions.iter().cloned().collect::<Vec<_>>(), expected);
        }
        let mut request = ntalk_request(LOOK_UP, "alice");
        request[8..10].copy_from_slice(&[2, 0]);
        request[24..26].copy_from_slice(&[0, 10]);
        let InDatagram::Mentioned(mentions) = inspect_ntalk(&request, Original) else { panic!() };
        assert_eq!(mentions.iter().count(), 1, "what has another family is no address of IPv4");
    }

    #[test]
    fn a_response_that_something_is_done_announces_a_connection() {
        for (inspect, at) in [(inspect_talk as fn(&[u8], Direction) -> InDatagram, 0), (inspect_ntalk, 1)] {
            let respond = |kind, answer| inspect(&response(&[1, kind, answer][1 - at..]), Reply);
            assert_eq!(respond(ANNOUNCE, SUCCESS), InDatagram::Invitation);
            let InDatagram::Announced(announced) = respond(LOOK_UP, SUCCESS) else { panic!() };
            let range = 10..16;
            let expected =
                Announced { address: Some([10, 0, 0, 2].into()), port: 5001, range, form: Form::Endpoint };
            assert_eq!(announced.iter().collect::<Vec<_>>(), [&expected]);
            for (kind, answer) in [(ANNOUNCE, 1), (LOOK_UP, 1), (LOOK_UP, 8), (0, SUCCESS), (2, SUCCESS)] {
                assert_eq!(respond(kind, answer), InDatagram::Nothing);
            }
            for (kind, answer) in [(4, SUCCESS), (LOOK_UP, 9)] {
                assert_eq!(respond(kind, answer), OFF);
            }
        }
        let mut other_family = response(&[1, LOOK_UP, SUCCESS]);
        other_family[9] = 10;
        assert_eq!(inspect_ntalk(&other_family, Reply), InDatagram::Off(HelperEvent::Malformed));
    }

    #[test]
    fn messages_of_version_2_may_be_longer() {
        let mut request = ntalk_request(ANNOUNCE, "alice");
        request[0] = 2;
        request.extend(b"more");
        assert!(matches!(inspect_ntalk(&request, Original), InDatagram::Mentioned(_)));
        let response = [response(&[2, ANNOUNCE, SUCCESS]), vec![0; 12]].concat();
        assert_eq!(inspect_ntalk(&response, Reply), InDatagram::Invitation);
        assert_eq!(inspect_ntalk(&response[..24], Reply), OFF);
    }

    #[test]
    fn what_has_another_length_version_or_name_is_something_else() {
        let [talk, ntalk] = [talk_request(ANNOUNCE, "alice"), ntalk_request(ANNOUNCE, "alice")];
        assert_eq!(inspect_talk(&ntalk, Original), OFF);
        assert_eq!(inspect_ntalk(&talk, Original), OFF);
        for len in (0..talk.len()).chain([talk.len() + 1]) {
            let mut request = talk.clone();
            request.resize(len, 0);
            assert_eq!(inspect_talk(&request, Original), OFF);
        }
        for request in
            [ntalk_request(4, "alice"), ntalk_request(ANNOUNCE, ""), ntalk_request(ANNOUNCE, "\x01")]
        {
            assert_eq!(inspect_ntalk(&request, Original), OFF);
        }
        for other in [&b""[..], b"\x01", b"GET / HTTP/1.1\r\n\r\n", &[0; 23]] {
            for direction in [Original, Reply] {
                assert_eq!([inspect_talk(other, direction), inspect_ntalk(other, direction)], [OFF, OFF]);
            }
        }
    }

    /// A browser can be had to send one to any port, of any length.
    #[test]
    fn g4_a_stun_binding_request_is_none() {
        let header = b"\0\x01\0\x38\x21\x12\xa4\x42transactions";
        for len in [76, 84] {
            let mut request = header.to_vec();
            request.resize(len, b'a');
            assert_eq!([inspect_talk(&request, Original), inspect_ntalk(&request, Original)], [OFF, OFF]);
        }
    }

    #[test]
    fn what_is_rewritten_keeps_its_length() {
        let number = u128::from(u32::from(Ipv4Addr::new(203, 0, 113, 1)));
        for (form, expected) in [
            (Form::Address, &[203, 0, 113, 1][..]),
            (Form::Port, &[0x13, 0x89]),
            (Form::Endpoint, &[0x13, 0x89, 203, 0, 113, 1]),
        ] {
            assert_eq!(rewrite(form, Family::V4, number, 5001).as_bytes(), expected);
        }
    }
}
