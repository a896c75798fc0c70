//! A SIP message (RFC 3261 section 7): its first line, the headers that matter here, and where its body is.
//!
//! Names come in any case, some also as one letter (section 7.3.3); a value may go on in the next line, which then begins with a
//! blank (section 7.3.1).

use super::text::{number, trim};
use std::ops::Range;

/// Lines of a message that are read, at most. One with more is taken for malformed.
const MAX_LINES: usize = 256;

/// Headers that name URIs and are kept, at most.
const MAX_URI_HEADERS: usize = 16;

/// What a request asks for, as far as that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Invite,
    Update,
    Ack,
    Prack,
    Bye,
    Register,
    Other,
}

/// Their names.
const METHODS: [(&str, Method); 6] = [
    ("INVITE", Method::Invite),
    ("UPDATE", Method::Update),
    ("ACK", Method::Ack),
    ("PRACK", Method::Prack),
    ("BYE", Method::Bye),
    ("REGISTER", Method::Register),
];

impl Method {
    fn named(name: &[u8]) -> Self {
        let known = METHODS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        known.map_or(Self::Other, |(_, method)| *method)
    }

    /// Whether its messages may describe media.
    pub(super) const fn describes_media(self) -> bool {
        matches!(self, Self::Invite | Self::Update | Self::Ack | Self::Prack)
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A request, and where its URI is.
    Request(Method, Range<usize>),
    /// A response with its code.
    Response(u32),
}

/// A header that names URIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UriHeader {
    Contact,
    From,
    To,
    /// Route and Record-Route.
    Route,
}

/// Headers that matter.
#[derive(Clone, Copy)]
enum Name {
    Via,
    CSeq,
    Expires,
    ContentLength,
    ContentType,
    Uri(UriHeader),
}

/// Their names, long and short.
const NAMES: [(&str, &str, Name); 10] = [
    ("Via", "v", Name::Via),
    ("CSeq", "", Name::CSeq),
    ("Expires", "", Name::Expires),
    ("Content-Length", "l", Name::ContentLength),
    ("Content-Type", "c", Name::ContentType),
    ("Contact", "m", Name::Uri(UriHeader::Contact)),
    ("From", "f", Name::Uri(UriHeader::From)),
    ("To", "t", Name::Uri(UriHeader::To)),
    ("Route", "", Name::Uri(UriHeader::Route)),
    ("Record-Route", "", Name::Uri(UriHeader::Route)),
];

/// What does not begin like a message is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoMessage;

/// The number that a request and its responses have in common, and what they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CSeq {
    pub(super) number: u32,
    pub(super) method: Method,
}

/// A message. Ranges are of its bytes.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) start: Start,
    pub(super) cseq: Option<CSeq>,
    /// The value of the first header Via.
    pub(super) via: Option<Range<usize>>,
    uris: [Option<(UriHeader, Range<usize>)>; MAX_URI_HEADERS],
    pub(super) expires: Option<u32>,
    pub(super) content_type: Option<Range<usize>>,
    /// The digits of Content-Length, and what they say.
    pub(super) content_length: Option<(Range<usize>, usize)>,
    /// What is behind the empty line.
    pub(super) body: Range<usize>,
    /// Whether it does not go on as it has begun: what is said of it then is what could be read.
    pub(super) is_malformed: bool,
}

impl Message {
    /// Reads the message that `bytes` begin with.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NoMessage> {
        let mut lines = Lines { bytes, at: 0 };
        let first = lines.next().ok_or(NoMessage)?;
        let start = parse_start(bytes, &first).ok_or(NoMessage)?;
        let mut message = Self {
            start,
            cseq: None,
            via: None,
            uris: Default::default(),
            expires: None,
            content_type: None,
            content_length: None,
            body: bytes.len()..bytes.len(),
            is_malformed: false,
        };
        for _ in 0..MAX_LINES {
            match lines.next_folded() {
                Some(line) if line.is_empty() => {
                    message.body = lines.at..bytes.len();
                    return Ok(message);
                }
                Some(line) => message.is_malformed |= message.take(bytes, line).is_none(),
                None => break,
            }
        }
        message.is_malformed = true;
        Ok(message)
    }

    /// Takes in a header; `None` where it is malformed.
    fn take(&mut self, bytes: &[u8], line: Range<usize>) -> Option<()> {
        let text = &bytes[line.clone()];
        let colon = text.iter().position(|byte| *byte == b':')?;
        let name = text[..colon].trim_ascii_end();
        let known = NAMES.iter().find(|(long, short, _)| {
            name.eq_ignore_ascii_case(long.as_bytes())
                || !short.is_empty() && name.eq_ignore_ascii_case(short.as_bytes())
        });
        let Some((.., name)) = known else { return Some(()) };
        let value = trim(bytes, line.start + colon + 1..line.end);
        match name {
            Name::Via if self.via.is_none() => self.via = Some(value),
            Name::Via => {}
            Name::CSeq => {
                let (number, digits) = number(&bytes[value.clone()])?;
                let method = bytes[value.start + digits..value.end].trim_ascii();
                self.cseq = Some(CSeq { number, method: Method::named(method) });
            }
            Name::Expires => self.expires = number(&bytes[value]).map(|(seconds, _)| seconds),
            Name::ContentType => self.content_type = Some(value),
            Name::ContentLength => {
                let (length, digits) = number(&bytes[value.clone()])?;
                let known = self.content_length.as_ref().is_none_or(|(_, known)| *known == length as usize);
                if digits != value.len() || !known {
                    return None;
                }
                self.content_length = Some((value, length as usize));
            }
            Name::Uri(header) => {
                let free = self.uris.iter_mut().find(|slot| slot.is_none())?;
                *free = Some((*header, value));
            }
        }
        Some(())
    }

    /// The values of headers that name URIs, in order.
    pub(super) fn uris(&self) -> impl Iterator<Item = (UriHeader, Range<usize>)> {
        self.uris.iter().flatten().cloned()
    }

    /// The values of all headers Contact.
    pub(super) fn contacts(&self) -> impl Iterator<Item = Range<usize>> {
        self.uris().filter(|(header, _)| *header == UriHeader::Contact).map(|(_, value)| value)
    }
}

/// Whether a line is the first of a message.
pub(super) fn is_start(line: &[u8]) -> bool {
    parse_start(line, &(0..line.trim_ascii_end().len())).is_some()
}

/// The first line of a message, without its end.
fn parse_start(bytes: &[u8], line: &Range<usize>) -> Option<Start> {
    let text = &bytes[line.clone()];
    let mut words = text.split(|byte| *byte == b' ');
    let (first, second) = (words.next()?, words.next()?);
    if first.eq_ignore_ascii_case(b"SIP/2.0") {
        let (code, digits) = number(second)?;
        return (digits == 3 && second.len() == 3 && code >= 100).then_some(Start::Response(code));
    }
    let is_method = !first.is_empty()
        && first.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte));
    let is_last = words.next()?.eq_ignore_ascii_case(b"SIP/2.0") && words.next().is_none();
    let uri = line.start + first.len() + 1;
    let is_uri = second.contains(&b':');
    (is_method && is_last && is_uri).then(|| Start::Request(Method::named(first), uri..uri + second.len()))
}

/// The lines of a message, without their ends.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Lines<'_> {
    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let newline = self.bytes.get(start..)?.iter().position(|byte| *byte == b'\n')?;
        self.at = start + newline + 1;
        let end = start + newline;
        let end = if newline > 0 && self.bytes[end - 1] == b'\r' { end - 1 } else { end };
        Some(start..end)
    }

    /// The next line with all those by which it goes on.
    fn next_folded(&mut self) -> Option<Range<usize>> {
        let mut line = self.next()?;
        while !line.is_empty() && matches!(self.bytes.get(self.at), Some(b' ' | b'\t')) {
            line.end = self.next()?.end;
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:bob@198.51.100.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2\r\nCSeq: 7 INVITE\r\n\
        Content-Length: 4\r\n\r\nbody";

    fn parse(text: &str) -> Result<Message, NoMessage> {
        Message::parse(text.as_bytes())
    }

    #[test]
    fn a_message_is_its_first_line_headers_and_a_body() {
        let message = parse(INVITE).unwrap();
        assert_eq!(message.start, Start::Request(Method::Invite, 7..27));
        assert_eq!(message.cseq, Some(CSeq { number: 7, method: Method::Invite }));
        assert_eq!(&INVITE[message.via.unwrap()], "SIP/2.0/UDP 10.0.0.2");
        assert_eq!(message.content_length.map(|(range, length)| (&INVITE[range], length)), Some(("4", 4)));
        assert_eq!(&INVITE[message.body], "body");
        assert_eq!(parse("SIP/2.0 200 OK\r\n\r\n").unwrap().start, Start::Response(200));
    }

    #[test]
    fn p4_names_come_in_any_case_and_short_and_values_go_on_in_the_next_line() {
        let text = "BYE sip:b@h SIP/2.0\nv:SIP/2.0/UDP\n 10.0.0.2\nm : <sip:a@h>,\r\n\t<sip:b@h>\r\nCONTACT:*\r\nl: 0\r\n\r\n";
        let message = parse(text).unwrap();
        assert_eq!(&text[message.via.clone().unwrap()], "SIP/2.0/UDP\n 10.0.0.2");
        let contacts: Vec<&str> = message.contacts().map(|range| &text[range]).collect();
        assert_eq!(contacts, ["<sip:a@h>,\r\n\t<sip:b@h>", "*"]);
        assert_eq!(message.content_length.map(|(_, length)| length), Some(0));
    }

    #[test]
    fn p2_a_length_is_digits_and_one_number() {
        for (value, ok) in [
            ("Content-Length: 4", true),
            ("Content-Length: 4  ", true),
            ("Content-Length:4\r\nl: 4", true),
            ("Content-Length: 4\r\nl: 5", false),
            ("Content-Length: -4", false),
            ("Content-Length: 4x", false),
            ("Content-Length: ", false),
            ("Content-Length: 4294967328", false),
            ("Content-Length: 99999999999999999999", false),
        ] {
            assert_eq!(
                !parse(&INVITE.replace("Content-Length: 4", value)).unwrap().is_malformed,
                ok,
                "{value}"
            );
        }
    }

    #[test]
    fn what_is_no_message_is_told_from_what_is_malformed() {
        for text in [
            "",
            "hello",
            "hello\r\n\r\n",
            "POST / HTTP/1.1\r\n\r\n",
            "INVITE sip:b@h SIP/3.0\r\n\r\n",
            "INVITE b SIP/2.0\r\n\r\n",
            "SIP/2.0 20 OK\r\n\r\n",
            "SIP/2.0 x OK\r\n\r\n",
        ] {
            assert_eq!(parse(text).map(|_| ()), Err(NoMessage), "{text}");
        }
        let many = format!("BYE sip:b@h SIP/2.0\r\n{}\r\n", "X: y\r\n".repeat(300));
        for text in [
            "BYE sip:b@h SIP/2.0\r\n",
            "BYE sip:b@h SIP/2.0\r\nX: y\r\n",
            "BYE sip:b@h SIP/2.0\r\nno colon\r\n\r\n",
            "BYE sip:b@h SIP/2.0\r\nCSeq: x\r\n\r\n",
            &many,
        ] {
            assert!(parse(text).unwrap().is_malformed, "{text}");
        }
    }
}
