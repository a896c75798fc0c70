//! Reading and writing the big-endian fields of headers.

use super::field::Field;

/// A field of 16 bits, which the header must reach beyond.
#[inline(always)]
pub(crate) const fn u16_at<const N: usize>(header: &[u8; N], field: Field) -> u16 {
    let at = field.start;
    u16::from_be_bytes([header[at], header[at + 1]])
}

/// A field of 32 bits, which the header must reach beyond.
#[inline(always)]
pub(crate) const fn u32_at<const N: usize>(header: &[u8; N], field: Field) -> u32 {
    let at = field.start;
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// A field of 128 bits, which the header must reach beyond.
#[inline(always)]
pub(crate) fn u128_at<const N: usize>(header: &[u8; N], field: Field) -> u128 {
    u128::from_be_bytes(std::array::from_fn(|i| header[field.start + i]))
}

/// The bytes of a field, if it is there and so long.
#[inline(always)]
pub fn get<const N: usize>(header: &[u8], field: Field) -> Option<[u8; N]> {
    header.get(field)?.first_chunk().copied()
}

/// Writes the bytes of a field, if it is there and so long.
#[inline(always)]
pub(crate) fn put<const N: usize>(header: &mut [u8], field: Field, bytes: [u8; N]) {
    if let Some(there) = header.get_mut(field).and_then(<[u8]>::first_chunk_mut) {
        *there = bytes;
    }
}
