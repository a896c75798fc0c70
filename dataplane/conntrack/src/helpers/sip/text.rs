//! Pieces of text that headers and session descriptions have in common: numbers, addresses and parameters.

use crate::family::Family;
use crate::tuple;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Characters of the longest address, without brackets.
const LONGEST_ADDRESS: usize = 45;

/// The number that a text begins with, and how many digits it has; `None` where it has none or is too large.
pub(super) fn number(text: &[u8]) -> Option<(u32, usize)> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let add = |value: u32, digit: &u8| value.checked_mul(10)?.checked_add(u32::from(digit - b'0'));
    let value = text[..digits].iter().try_fold(0, add)?;
    (digits > 0).then_some((value, digits))
}

/// A range without the blanks at its ends.
pub(super) fn trim(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let text = bytes[range.clone()].trim_ascii_start();
    let start = range.end - text.len();
    start..start + text.trim_ascii_end().len()
}

/// The address that a text is. An IPv6 address may be in brackets.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    let text = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).unwrap_or(text);
    let text = std::str::from_utf8(text.get(..text.len().min(LONGEST_ADDRESS + 1))?).ok()?;
    if text.contains(':') {
        text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    } else {
        text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    }
}

/// Host and port as they stand in a URI or in Via.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPort {
    /// `None` where it is a name.
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<u16>,
    /// Where both stand.
    pub(super) range: Range<usize>,
}

/// The port of SIP where none is said (RFC 3261 section 19.1.2).
const DEFAULT_PORT: u16 = 5060;

impl HostPort {
    /// Reads it at `start` of a text; it ends before `end`. `None` where there is none.
    pub(super) fn read(bytes: &[u8], start: usize, end: usize) -> Option<Self> {
        let text = bytes.get(start..end)?;
        let host = match text.first()? {
            b'[' => text.iter().position(|byte| *byte == b']')? + 1,
            _ => text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(byte)).count(),
        };
        if host == 0 {
            return None;
        }
        let mut len = host;
        let mut port = None;
        if text.get(host) == Some(&b':') {
            let (value, digits) = number(&text[host + 1..])?;
            port = Some(u16::try_from(value).ok()?);
            len += 1 + digits;
        }
        Some(Self { address: address(&text[..host]), port, range: start..start + len })
    }

    /// The address, if it is of this family, as tuples have it, and the port.
    pub(super) fn endpoint(&self, family: Family) -> Option<(u128, u16)> {
        let address = self.address.filter(|address| Family::of(*address) == family)?;
        Some((tuple::number(address), self.port.unwrap_or(DEFAULT_PORT)))
    }
}

/// Where the value of a parameter stands that begins with `name` (`;received=`), in what follows a URI or a host, up to `end`.
pub(super) fn parameter(bytes: &[u8], range: Range<usize>, name: &str) -> Option<Range<usize>> {
    let mut at = range.start;
    for part in bytes.get(range)?.split(|byte| *byte == b';') {
        let start = at + part.len() - part.trim_ascii_start().len();
        let text = part.trim_ascii();
        at += part.len() + 1;
        let Some(equals) = text.iter().position(|byte| *byte == b'=') else { continue };
        if text[..equals].trim_ascii_end().eq_ignore_ascii_case(name.as_bytes()) {
            return Some(trim(bytes, start + equals + 1..start + text.len()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_or_a_name_with_a_port_or_without() {
        for (text, address, port, len) in [
            ("10.0.0.2:5062;x", Some("10.0.0.2"), Some(5062), 13),
            ("10.0.0.2>", Some("10.0.0.2"), None, 8),
            ("[2001:db8::1]:7;x", Some("2001:db8::1"), Some(7), 15),
            ("[2001:db8::1]", Some("2001:db8::1"), None, 13),
            ("example.org:5060", None, Some(5060), 16),
            ("999.1.1.1", None, None, 9),
        ] {
            let found = HostPort::read(text.as_bytes(), 0, text.len()).unwrap();
            let address = address.map(|address| address.parse().unwrap());
            assert_eq!(found, HostPort { address, port, range: 0..len }, "{text}");
        }
        for text in ["", ":5060", "[2001:db8::1", "h:70000", "h:", "h:x"] {
            assert_eq!(HostPort::read(text.as_bytes(), 0, text.len()), None, "{text}");
        }
    }

    #[test]
    fn parameters_are_found_by_their_whole_name_in_any_case() {
        let text = "x;rport;Received = 10.0.0.2 ;expires=7";
        let find = |name| parameter(text.as_bytes(), 1..text.len(), name).map(|range| &text[range]);
        assert_eq!(
            ["rport", "received", "expires", "ires", "x"].map(find),
            [None, Some("10.0.0.2"), Some("7"), None, None]
        );
    }

    #[test]
    fn a_number_that_is_too_large_is_none() {
        assert_eq!(number(b"4294967295x"), Some((u32::MAX, 10)));
        assert_eq!([&b"4294967296"[..], b"", b"-1", b"x"].map(number), [None; 4]);
    }
}
