//! Checksums: the internet checksum (RFC 1071), its incremental update (RFC 1624), and the CRC32c of SCTP
//! (RFC 9260 appendix A).

use super::bytes::{get, put};
use super::field::Field;

/// A one's complement sum in the making. Bytes are added in memory order and 64 bits at a time, with the carries: the sum does
/// not care about the byte order as long as it is kept (RFC 1071 section 2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    total: u64,
    /// Whether an odd number of bytes has been added.
    odd: bool,
}

impl Sum {
    /// Adds bytes behind those already added, as if all stood in one row.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.row(bytes)
    }

    /// The same in place, for what most packets have.
    #[inline(always)]
    pub(super) fn row(self, bytes: &[u8]) -> Self {
        let (blocks, rest) = bytes.as_chunks::<64>();
        let mut sum = if blocks.is_empty() { 0 } else { Self::blocks(blocks) };
        let (words, rest) = rest.as_chunks::<8>();
        for word in words {
            sum = add_with_carry(sum, u64::from_ne_bytes(*word));
        }
        if !rest.is_empty() {
            // Of the last eight bytes those that are left, with zeros behind them.
            let last = match bytes.last_chunk::<8>() {
                Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
                None => rest.iter().rev().fold(0, |last, byte| last << 8 | u64::from(*byte)),
            };
            sum = add_with_carry(sum, u64::from_ne_bytes(last.to_le_bytes()));
        }
        if self.odd {
            sum = u64::from(fold(sum).swap_bytes());
        }
        Self { total: add_with_carry(self.total, sum), odd: self.odd ^ (bytes.len() % 2 == 1) }
    }

    /// The sum over long rows, of four words at once.
    #[inline(never)]
    fn blocks(blocks: &[[u8; 64]]) -> u64 {
        let mut lanes = [0; 4];
        for quarter in blocks.as_flattened().as_chunks::<16>().0 {
            let (words, _) = quarter.as_chunks();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        lanes.iter().sum()
    }

    /// The sum over a header of IPv4 or TCP without options.
    #[inline(always)]
    pub(super) fn of_header(header: &[u8; 20]) -> Self {
        let ([first, second], rest) = header.as_chunks::<8>() else { return Self::default() };
        let last = rest.first_chunk().map_or(0, |word| u64::from(u32::from_ne_bytes(*word)));
        Self { total: last, odd: false }.word(first).word(second)
    }

    /// Adds a word behind an even number of bytes.
    #[inline(always)]
    pub(super) const fn word(self, word: &[u8; 8]) -> Self {
        Self { total: add_with_carry(self.total, u64::from_ne_bytes(*word)), odd: self.odd }
    }

    /// Adds what stands in a row behind its first `read` bytes, an even number of them, behind an even number of others. The row has
    /// a word at least.
    #[inline(always)]
    pub(super) fn rest_of_row(self, row: &[u8], read: usize) -> Self {
        let rest = row.get(read..).unwrap_or_default();
        if rest.len() >= 64 {
            return self.row(rest);
        }
        let (words, rest) = rest.as_chunks::<8>();
        let sum = words.iter().fold(self, Self::word);
        // Of the last word the bytes that are left, with zeros behind them.
        let last = row.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
        sum.word(&(last >> (56 - 8 * rest.len()) >> 8).to_le_bytes())
    }

    /// The same as [`bytes`](Self::bytes) of what a fragment brings, which is most often short, or many segments.
    #[inline(always)]
    pub(super) fn segment(self, bytes: &[u8]) -> Self {
        if self.odd || !(8..64).contains(&bytes.len()) {
            return self.bytes(bytes);
        }
        Self { odd: bytes.len() % 2 == 1, ..self.rest_of_row(bytes, 0) }
    }

    /// The sum over whole words. A million of them do not overflow it.
    #[inline(always)]
    pub(super) fn words(words: &[[u8; 4]]) -> Self {
        let total = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
        Self { total, odd: false }
    }

    /// Adds the pseudo header: `addresses` are source and destination as they stand in the IP header. IPv4's
    /// (RFC 9293 section 3.1) and IPv6's (RFC 8200 section 8.1) differ only in zeros, which add nothing.
    #[must_use]
    #[inline]
    pub fn pseudo_header(self, addresses: &[u8], protocol: u8, length: u32) -> Self {
        let [a, b, c, d] = length.to_be_bytes();
        self.bytes(addresses).bytes(&[a, b, c, d, 0, 0, 0, protocol])
    }

    /// Whether the bytes added, with a checksum among them, are undamaged.
    ///
    /// They are if the sum folds to all ones: if it is a multiple of that, other than zero.
    #[inline(always)]
    pub const fn is_valid(self) -> bool {
        /// How many multiples of 16 ones there are, beside zero.
        const MULTIPLES: u64 = u64::MAX / u16::MAX as u64;
        /// By this the n-th of them becomes n, and anything else a number that is larger than all: 16 ones times it are 1.
        const INVERSE: u64 = MULTIPLES.wrapping_neg();
        self.total.wrapping_mul(INVERSE).wrapping_sub(1) < MULTIPLES
    }

    /// The checksum of the bytes added, in host order: what belongs in a checksum field that was added as zero.
    pub const fn checksum(self) -> u16 {
        !u16::from_be(fold(self.total))
    }
}

/// A one's complement sum of 64 bits: what goes out at one end comes in at the other.
#[inline(always)]
const fn add_with_carry(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u64
}

/// What replacing the 16-bit words of `old` by those of `new` adds to a sum over them (RFC 1624), not folded: several
/// changes can be added up.
#[inline(always)]
pub const fn change(old: u32, new: u32) -> u64 {
    !old as u64 + new as u64
}

/// The same of IPv6 addresses, or of any address as a number.
pub const fn change_wide(old: u128, new: u128) -> u64 {
    quarters(!old) + quarters(new)
}

/// The sum of the 32-bit words of a number. Folded, it is that of the 16-bit words.
const fn quarters(number: u128) -> u64 {
    let (low, high) = (number as u64, (number >> 64) as u64);
    (low & 0xffff_ffff) + (low >> 32) + (high & 0xffff_ffff) + (high >> 32)
}

/// The checksum after what it covers has grown by `change`, as [`change`] makes it.
#[inline(always)]
pub const fn add(checksum: u16, change: u64) -> u16 {
    !fold(!checksum as u64 + change)
}

/// The same of the checksum in a header, if that has one there.
#[inline(always)]
pub(crate) fn add_in(header: &mut [u8], field: Field, change: u64) {
    if let Some(sum) = get(header, field.clone()) {
        put(header, field, add(u16::from_be_bytes(sum), change).to_be_bytes());
    }
}

/// The 16-bit one's complement sum of a longer one.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let (sum, carry) = ((sum >> 32) as u32).overflowing_add(sum as u32);
    let sum = sum + carry as u32;
    // Both halves of this are the sum of both halves, and the carry of the lower one goes into the upper one.
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// The checksum after a 16-bit word that it covers has changed from `old` to `new` (RFC 1624, equation 3).
/// All in host order.
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

/// Tables for eight bytes at a time: entry `[n][b]` is the remainder of byte `b` with `n` zero bytes behind it.
static CRC32C: [[u32; 256]; 8] = crc32c_tables();

const fn crc32c_tables() -> [[u32; 256]; 8] {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = remainder >> 1 ^ if remainder & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[zeros - 1][byte];
            tables[zeros][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// A CRC32c in the making.
#[derive(Clone, Copy, Debug)]
pub struct Crc32c(u32);

impl Default for Crc32c {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc32c {
    /// Adds bytes behind those already added.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let (chunks, rest) = bytes.as_chunks::<8>();
        let crc = chunks.iter().fold(self.0, |crc, chunk| {
            let word = u64::from_le_bytes(*chunk) ^ u64::from(crc);
            word.to_le_bytes()
                .iter()
                .zip(CRC32C.iter().rev())
                .fold(0, |crc, (&byte, table)| crc ^ table[usize::from(byte)])
        });
        let crc = rest.iter().fold(crc, |crc, &byte| crc >> 8 ^ CRC32C[0][usize::from(crc as u8 ^ byte)]);
        Self(crc)
    }

    /// The CRC, as SCTP sends it: least significant byte first.
    pub const fn to_wire(self) -> [u8; 4] {
        (!self.0).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    /// RFC 1071 word by word.
    fn slow(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.checksum(), !0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn crc32c_of_the_examples_of_rfc_3720() {
        let crc = |bytes: &[u8]| Crc32c::default().bytes(bytes).to_wire();
        assert_eq!(crc(&[0; 32]), [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(crc(&[0xff; 32]), [0x43, 0xab, 0xa8, 0x62]);
        assert_eq!(crc(&(0..32).collect::<Vec<_>>()), [0x4e, 0x79, 0xdd, 0x46]);
        assert_eq!(crc(b"123456789"), 0xe306_9283u32.to_le_bytes());
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn slices_of_any_length_add_up(slices in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70), 0..6)) {
            let whole = slices.concat();
            let sum = slices.iter().fold(Sum::default(), |sum, slice| sum.bytes(slice));
            prop_assert_eq!(sum.checksum(), slow(&whole));
            let crc = slices.iter().fold(Crc32c::default(), |crc, slice| crc.bytes(slice));
            prop_assert_eq!(crc.to_wire(), Crc32c::default().bytes(&whole).to_wire());
        }

        #[test]
        fn an_update_is_the_checksum_of_the_changed_bytes(mut words in prop::collection::vec(any::<u16>(), 2..20), new: u16) {
            let bytes = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
            words[0] |= 1; // An all-zero header has two checksums.
            let before = slow(&bytes(&words));
            let last = words.len() - 1;
            let old = std::mem::replace(&mut words[last], new);
            prop_assert_eq!(update(before, old, new), slow(&bytes(&words)));
        }
    }
}
