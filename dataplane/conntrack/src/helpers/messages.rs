//! Messages of a start line, headers and a body whose length a header says, line by line: RTSP (RFC 2326 section 4) and SIP over
//! streams (RFC 3261 section 18.3).

use super::text::number;
use crate::helper_event::HelperEvent;
use std::ops::Range;
use zerocopy::FromZeros;

/// Bytes of the longest body that is passed over. No session description comes near.
const MAX_BODY_BYTES: u32 = 1 << 16;

/// Where in its messages one direction of a connection is.
#[derive(Clone, Copy, Debug, Default, FromZeros)]
#[repr(C)]
pub(crate) struct Framing {
    /// The length of the body plus one; 0 where none was said yet.
    body: u32,
    is_in_headers: bool,
    /// What the helper remembers of the message.
    pub(crate) note: u8,
}

/// What can be told of a message by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Nothing yet.
    Unknown,
    /// It has so many bytes.
    Bytes(usize),
    /// It is none that can be read.
    None(HelperEvent),
}

/// How far a message was looked at to find its end.
#[derive(Clone, Copy, Debug, Default, FromZeros)]
#[repr(C)]
pub(crate) struct Measured {
    /// Where in it that has come, of one whose headers say its length.
    pub(crate) framing: Framing,
    /// Bytes that were looked at.
    pub(crate) bytes: u32,
    /// How many it has; 0 where that is not known.
    pub(crate) total: u32,
}

/// Tells how long the message is that begins so.
pub(crate) type Measure = fn(&mut Measured, &[u8]) -> Extent;

/// A line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// An empty line in front of a message.
    Blank,
    /// The first line of a message.
    Start,
    /// A header, by where its name and its value stand in the line.
    Header {
        /// Its name.
        name: Range<usize>,
        /// What it says, without spaces around it.
        value: Range<usize>,
    },
    /// More of the header before, or one that is longer than is kept.
    Continued,
    /// The end of the headers. So many bytes of a body follow.
    End(u32),
}

impl Framing {
    /// Whether the next line belongs to the headers of a message.
    pub(crate) const fn is_in_headers(&self) -> bool {
        self.is_in_headers
    }

    /// Whether a header has said how long the body is.
    pub(crate) const fn has_length(&self) -> bool {
        self.body != 0
    }

    /// What the next line is, of messages whose headers for the length of the body are called so; `None` where it is no line of a
    /// message.
    pub(crate) fn read(&mut self, line: &[u8], names_of_length: &[&str]) -> Option<Part> {
        let Some(text) = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")) else {
            return self.is_in_headers.then_some(Part::Continued);
        };
        if !self.is_in_headers {
            if text.is_empty() {
                return Some(Part::Blank);
            }
            *self = Self { is_in_headers: true, ..Self::default() };
            return Some(Part::Start);
        }
        if text.is_empty() {
            self.is_in_headers = false;
            return Some(Part::End(self.body.saturating_sub(1)));
        }
        if matches!(text, [b' ' | b'\t', ..]) {
            return Some(Part::Continued);
        }
        let colon = text.iter().position(|byte| *byte == b':')?;
        let name = 0..text[..colon].trim_ascii_end().len();
        let value = &text[colon + 1..];
        let start = text.len() - value.trim_ascii_start().len();
        let value = start..start + text[start..].trim_ascii_end().len();
        let is_length = |known: &&str| text[name.clone()].eq_ignore_ascii_case(known.as_bytes());
        if names_of_length.iter().any(is_length) {
            let bytes = number::<u32>(&text[value.clone()]).filter(|bytes| *bytes <= MAX_BODY_BYTES)?;
            let body = bytes + 1;
            if self.body != 0 && self.body != body {
                return None;
            }
            self.body = body;
        }
        (!name.is_empty()).then_some(Part::Header { name, value })
    }
}

/// How long the message is that begins so, if its first line may be one. An empty line in front of a message is one by itself.
pub(crate) fn measure(
    measured: &mut Measured,
    bytes: &[u8],
    names_of_length: &[&str],
    is_start: impl Fn(&[u8]) -> bool,
) -> Extent {
    while measured.total == 0 {
        let rest = bytes.get(measured.bytes as usize..).unwrap_or_default();
        let Some(newline) = rest.iter().position(|byte| *byte == b'\n') else { return Extent::Unknown };
        let line = &rest[..=newline];
        measured.bytes += line.len() as u32;
        match measured.framing.read(line, names_of_length) {
            None => return Extent::None(HelperEvent::Malformed),
            Some(Part::Start) if !is_start(line) => return Extent::None(HelperEvent::OtherProtocol),
            Some(Part::Blank) => measured.total = measured.bytes,
            Some(Part::End(body)) => measured.total = measured.bytes + body,
            Some(Part::Start | Part::Header { .. } | Part::Continued) => {}
        }
    }
    Extent::Bytes(measured.total as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: [&str; 2] = ["Content-Length", "l"];

    fn parts(text: &str) -> Vec<Option<Part>> {
        let mut framing = Framing::default();
        text.split_inclusive('\n').map(|line| framing.read(line.as_bytes(), &LENGTH)).collect()
    }

    fn header(name: Range<usize>, value: Range<usize>) -> Option<Part> {
        Some(Part::Header { name, value })
    }

    #[test]
    fn a_message_is_a_start_headers_and_a_body() {
        let text = "\r\nPLAY x RTSP/1.0\r\nCSeq: 1\r\nA:b\n  more\r\nC :  d \r\ncontent-length: 12\r\n\r\nNEXT\r\n\r\n";
        let expected = [
            Some(Part::Blank),
            Some(Part::Start),
            header(0..4, 6..7),
            header(0..1, 2..3),
            Some(Part::Continued),
            header(0..1, 5..6),
            header(0..14, 16..18),
            Some(Part::End(12)),
            Some(Part::Start),
            Some(Part::End(0)),
        ];
        assert_eq!(parts(text), expected);
    }

    #[test]
    fn a_length_is_digits_and_bounded_and_said_once() {
        for (headers, body) in [
            ("l: 0\r\n", Some(0)),
            ("Content-Length: 65536\r\n", Some(65_536)),
            ("l: 7\r\nContent-Length: 7\r\n", Some(7)),
            ("l: 7\r\nContent-Length: 8\r\n", None),
            ("l: 65537\r\n", None),
            ("l: 4294967328\r\n", None),
            ("l: 99999999999999999999999\r\n", None),
            ("l: -1\r\n", None),
            ("l: +1\r\n", None),
            ("l: 1 2\r\n", None),
            ("l: 0x10\r\n", None),
            ("l:\r\n", None),
            ("no colon\r\n", None),
            (": x\r\n", None),
        ] {
            let parts = parts(&format!("A b c\r\n{headers}\r\n"));
            let is_bad = parts.contains(&None);
            assert_eq!(is_bad, body.is_none(), "{headers:?}");
            if let Some(body) = body {
                assert_eq!(parts.last(), Some(&Some(Part::End(body))), "{headers:?}");
            }
        }
        assert_eq!(Framing::default().read(b"a start that was cut off", &LENGTH), None);
        assert_eq!(parts("A b c\r\nx: cut off")[1], Some(Part::Continued));
    }
}
