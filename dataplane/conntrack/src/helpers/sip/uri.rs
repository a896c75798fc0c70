//! URIs in headers (RFC 3261 sections 19.1 and 20): `"Alice, A." <sip:alice@10.0.0.2:5060;transport=tcp>;expires=60, ...`.

use super::text::HostPort;
use std::ops::Range;

/// URIs of one header that are read, at most.
const MAX_URIS: usize = 8;

/// A URI with the host that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uri {
    pub(super) host: HostPort,
    /// What follows the host: parameters of the URI and of the header, up to the next URI.
    pub(super) parameters: Range<usize>,
}

/// The URIs of a header's value, in order.
pub(super) fn uris(bytes: &[u8], value: Range<usize>) -> impl Iterator<Item = Uri> {
    let mut at = value.start;
    std::iter::from_fn(move || {
        while at < value.end {
            let part = at..end_of_part(bytes, at..value.end);
            at = part.end + 1;
            if let Some(uri) = uri(bytes, part) {
                return Some(uri);
            }
        }
        None
    })
    .take(MAX_URIS)
}

/// Where the part that begins a range ends: before a comma that stands neither in quotes nor in angle brackets.
fn end_of_part(bytes: &[u8], range: Range<usize>) -> usize {
    let (mut in_quotes, mut in_brackets, mut is_escaped) = (false, false, false);
    let end = range.end;
    for at in range {
        let byte = bytes[at];
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_quotes => is_escaped = true,
            b'"' => in_quotes = !in_quotes,
            _ if in_quotes => {}
            b'<' => in_brackets = true,
            b'>' => in_brackets = false,
            b',' if !in_brackets => return at,
            _ => {}
        }
    }
    end
}

/// The URI of one part: in angle brackets, or all of it.
fn uri(bytes: &[u8], part: Range<usize>) -> Option<Uri> {
    let text = &bytes[part.clone()];
    let start = unquoted(text, b'<').map_or(part.start, |bracket| part.start + bracket + 1);
    address_of(bytes, start..part.end)
}

/// The first position of a byte outside of quotes.
fn unquoted(text: &[u8], wanted: u8) -> Option<usize> {
    let (mut in_quotes, mut is_escaped) = (false, false);
    text.iter().position(|byte| {
        let found = !in_quotes && *byte == wanted;
        (in_quotes, is_escaped) = match byte {
            _ if is_escaped => (in_quotes, false),
            b'\\' => (in_quotes, in_quotes),
            b'"' => (!in_quotes, false),
            _ => (in_quotes, false),
        };
        found
    })
}

/// The host of the URI that begins a range, behind `sip:` and the user.
pub(super) fn address_of(bytes: &[u8], range: Range<usize>) -> Option<Uri> {
    let text = &bytes[range.clone()];
    let blanks = text.len() - text.trim_ascii_start().len();
    let text = &text[blanks..];
    let scheme = ["sip:", "sips:"].into_iter().find(|scheme| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    })?;
    let start = range.start + blanks + scheme.len();
    let rest = &bytes[start..range.end];
    let uri_len = rest.iter().take_while(|byte| !b"> \t\r\n".contains(byte)).count();
    let user = rest[..uri_len].iter().position(|byte| *byte == b'@').map_or(0, |at| at + 1);
    let host = HostPort::read(bytes, start + user, start + uri_len)?;
    let parameters = host.range.end..range.end;
    Some(Uri { host, parameters })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Vec<(&str, &str)> {
        let all = uris(text.as_bytes(), 0..text.len());
        all.map(|uri| (&text[uri.host.range], &text[uri.parameters])).collect()
    }

    #[test]
    fn p4_a_header_names_one_or_several() {
        for (text, expected) in [
            ("<sip:alice@10.0.0.2>;tag=1", &[("10.0.0.2", ">;tag=1")][..]),
            ("sip:10.0.0.2:5070", &[("10.0.0.2:5070", "")]),
            ("  SIPS:a:b@[2001:db8::1]:5061;transport=tls", &[("[2001:db8::1]:5061", ";transport=tls")]),
            (
                "\"A, <sip:x@1.2.3.4>\\\" \" <sip:a@10.0.0.2> ; expires=60, <sip:b@h,c:7>,sip:c@[::1]",
                &[("10.0.0.2", "> ; expires=60"), ("h", ",c:7>"), ("[::1]", "")],
            ),
            ("<sip:a@h;maddr=10.0.0.9>", &[("h", ";maddr=10.0.0.9>")]),
            ("*", &[]),
            ("<tel:+1>", &[]),
            ("<sip:>", &[]),
            ("\"unterminated <sip:a@10.0.0.2>", &[]),
            ("", &[]),
        ] {
            assert_eq!(hosts(text), expected, "{text}");
        }
        assert_eq!(hosts(&"sip:h,".repeat(100)).len(), MAX_URIS);
    }
}
