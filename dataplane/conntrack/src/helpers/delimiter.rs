//! Where what a helper reads of a stream ends: a line with its newline, a binary message where the length in its header says.

/// Bytes of a line that are kept, the newline included; what a longer one says beyond is not read (RFC 2812 section 2.3 has
/// 512, FTP has no limit).
pub(crate) const LINE_BYTES: usize = 512;

/// Bytes of the longest header that says a length.
const MAX_HEADER_BYTES: usize = 16;

/// How a protocol delimits what it says over a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Delimiter {
    /// Lines, each with its newline.
    Newline,
    /// Messages with a header that says their length.
    Length(LengthPrefix),
}

/// The header of such messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LengthPrefix {
    /// How many bytes of it must be known, at most [`MAX_HEADER_BYTES`].
    pub(crate) header_bytes: usize,
    /// How many bytes the message has that begins with these, them included.
    pub(crate) length: fn(&[u8]) -> usize,
}

impl Delimiter {
    /// How many bytes of `rest` complete what came in part as `before`; `None` where more is to come.
    #[inline(always)]
    pub(crate) fn end(&self, before: &[u8], rest: &[u8]) -> Option<usize> {
        match self {
            Self::Newline => newline(rest).map(|newline| newline + 1),
            Self::Length(prefix) => prefix.end(before, rest),
        }
    }

    /// Where in `new`, which follows what came in part as `before`, that begins which is not complete yet; its end where all is.
    pub(crate) fn unfinished(&self, mut before: &[u8], new: &[u8]) -> usize {
        let Self::Length(prefix) = self else {
            return new.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        };
        let mut at = 0;
        while let Some(rest) = new.get(at..).filter(|rest| !rest.is_empty())
            && let Some(end) = prefix.end(before, rest)
        {
            at += end;
            before = &[];
        }
        at
    }

    /// Whether another one begins for certain behind a segment of which nothing else is known.
    pub(crate) fn ends(&self, segment: &[u8]) -> bool {
        matches!(self, Self::Newline) && segment.ends_with(b"\n")
    }
}

/// Where the first newline is, looked for in eight bytes at a time.
#[inline(always)]
fn newline(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        if let Some(at) = newline_in(u64::from_le_bytes(*word)) {
            return Some(number * 8 + at);
        }
    }
    // What is left, with zeros behind it. Of four bytes or more the first and the last four are all.
    let word = match (rest.first_chunk(), rest.last_chunk()) {
        (Some(first), Some(last)) => {
            let [first, last] = [first, last].map(|half| u64::from(u32::from_le_bytes(*half)));
            first | last << (8 * (rest.len() - 4))
        }
        _ => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    newline_in(word).map(|at| words.len() * 8 + at)
}

/// The first byte of a word that is a newline, the lowest being byte 0.
#[inline]
const fn newline_in(word: u64) -> Option<usize> {
    const LOWEST: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = LOWEST << 7;
    const NEWLINES: u64 = u64::from_ne_bytes([b'\n'; 8]);
    // Zero where there is one. The lowest byte that a borrow sets the highest bit of was zero.
    let zeros = word ^ NEWLINES;
    let found = zeros.wrapping_sub(LOWEST) & !zeros & HIGHEST;
    if found == 0 { None } else { Some(found.trailing_zeros() as usize / 8) }
}

impl LengthPrefix {
    fn end(&self, before: &[u8], rest: &[u8]) -> Option<usize> {
        let mut header = [0; MAX_HEADER_BYTES];
        let header = &mut header[..self.header_bytes];
        let mut known = 0;
        for (into, byte) in header.iter_mut().zip(before.iter().chain(rest)) {
            *into = *byte;
            known += 1;
        }
        if known < header.len() {
            return None;
        }
        // Of one that is longer than is kept, or shorter than its header, that is all there is to be read.
        let length = (self.length)(header);
        let length = if (header.len()..=LINE_BYTES).contains(&length) { length } else { header.len() };
        let missing = length.saturating_sub(before.len());
        (missing <= rest.len()).then_some(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_newline_is_found_wherever_it_is() {
        for len in 0..40 {
            let mut bytes = vec![b'\n' + 1; len];
            assert_eq!(newline(&bytes), None, "of {len}");
            for at in (0..len).rev() {
                bytes[at] = b'\n';
                assert_eq!(newline(&bytes), Some(at), "of {len}");
            }
        }
    }

    /// Two bytes of length, and two more of the header.
    const PREFIX: LengthPrefix = LengthPrefix {
        header_bytes: 4,
        length: |header| usize::from(u16::from_be_bytes([header[0], header[1]])),
    };

    #[test]
    fn a_message_ends_where_its_header_says() {
        let it = Delimiter::Length(PREFIX);
        for (before, rest, end) in [
            (&b""[..], &b"\x00\x06abcdNEXT"[..], Some(6)),
            (b"", b"\x00\x04ab", Some(4)),
            (b"\x00", b"\x06abcdN", Some(5)),
            (b"\x00\x06abc", b"dN", Some(1)),
            (b"", b"\x00\x06abc", None),
            (b"", b"\x00\x06a", None),
            (b"\x00", b"\x06a", None),
            (b"", b"\x00\x03abcd", Some(4)),
            (b"", b"\x02\x01abcd", Some(4)),
            (b"\xff\xff", b"abcd", Some(2)),
        ] {
            assert_eq!(it.end(before, rest), end, "{before:?} {rest:?}");
        }
    }

    #[test]
    fn what_is_not_complete_begins_behind_the_last_that_is() {
        let it = Delimiter::Length(PREFIX);
        assert_eq!(it.unfinished(b"", b"\x00\x05abc\x00\x04ab\x00"), 9);
        assert_eq!(it.unfinished(b"", b"\x00\x05abc\x00\x04ab"), 9);
        assert_eq!(it.unfinished(b"\x00\x05a", b"bc\x00\x05"), 2);
        assert_eq!(it.unfinished(b"\x00\x05a", b"b"), 0);
        assert_eq!(Delimiter::Newline.unfinished(b"US", b"ER\nPA"), 3);
        assert!(Delimiter::Newline.ends(b"x\n") && !it.ends(b"x\n"));
    }
}
