//! Text that a helper puts where an address was, and numbers as text has them.

use std::fmt;
use std::str::FromStr;
use zerocopy::FromZeros;

/// Bytes of the longest: an IPv6 address written in full with its protocol and port, as in EPRT (RFC 2428), needs 49.
const MAX_BYTES: usize = 51;

/// A short text, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros)]
#[repr(C)]
pub(crate) struct Text {
    bytes: [u8; MAX_BYTES],
    len: u8,
}

impl Text {
    /// Bytes of the longest.
    pub(crate) const MAX_BYTES: usize = MAX_BYTES;

    /// What `arguments` come to. Nothing that is longer fits, and no helper writes anything longer.
    pub(crate) fn of(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Self { bytes: [0; MAX_BYTES], len: 0 };
        let written = fmt::Write::write_fmt(&mut text, arguments);
        debug_assert!(written.is_ok(), "{arguments} is too long");
        text
    }

    /// The bytes, which are no text, of a port or of the id of a call.
    pub(crate) fn of_port(port: u16) -> Self {
        Self::of_bytes(port.to_be_bytes())
    }

    /// Bytes which are no text, of those that fit.
    pub(crate) fn of_bytes(bytes: impl IntoIterator<Item = u8>) -> Self {
        let mut text = Self::default();
        let room = text.bytes.iter_mut().zip(bytes);
        text.len = room.map(|(place, byte)| *place = byte).count() as u8;
        text
    }

    /// Its bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// How many those are.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: [0; MAX_BYTES], len: 0 }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let end = self.len() + more.len();
        let room = self.bytes.get_mut(self.len as usize..end).ok_or(fmt::Error)?;
        room.copy_from_slice(more.as_bytes());
        self.len = end as u8;
        Ok(())
    }
}

/// Four letters in capitals, if that is what they are.
#[inline]
pub(crate) const fn capitals(letters: [u8; 4]) -> Option<[u8; 4]> {
    const HIGHEST: u32 = u32::from_ne_bytes([0x80; 4]);
    // All four bytes at once: a sum has its highest bit set from this letter on.
    const FROM_A: u32 = u32::from_ne_bytes([0x80 - b'A'; 4]);
    const BEHIND_Z: u32 = u32::from_ne_bytes([0x80 - b'Z' - 1; 4]);
    let word = u32::from_ne_bytes(letters) & !u32::from_ne_bytes([b' '; 4]);
    let are_letters = word.wrapping_add(FROM_A) & !word.wrapping_add(BEHIND_Z) & !word & HIGHEST == HIGHEST;
    if are_letters { Some(word.to_ne_bytes()) } else { None }
}

/// A number of up to five digits without leading zeros, and how many digits those are.
pub(crate) fn decimal(text: &[u8]) -> Option<(u32, usize)> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 5 || digits > 1 && text[0] == b'0' {
        return None;
    }
    Some((text[..digits].iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')), digits))
}

/// A number of digits alone, if the type holds it.
pub(crate) fn number<T: FromStr>(digits: &[u8]) -> Option<T> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_are_made_of_letters_alone() {
        for byte in 0..=u8::MAX {
            for at in 0..4 {
                let mut word = *b"aZzA";
                word[at] = byte;
                let expected = word
                    .iter()
                    .all(u8::is_ascii_alphabetic)
                    .then(|| word.map(|letter| letter.to_ascii_uppercase()));
                assert_eq!(capitals(word), expected, "{word:?}");
            }
        }
        assert_eq!(capitals([0xff; 4]), None);
    }

    #[test]
    fn it_holds_the_longest_address() {
        let longest = "|2|ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff|65535|";
        assert_eq!(Text::of(format_args!("{longest}")).as_bytes(), longest.as_bytes());
        assert_eq!((Text::default().len(), longest.len()), (0, 49));
    }
}
