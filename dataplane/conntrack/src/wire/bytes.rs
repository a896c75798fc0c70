//! Reading big-endian fields from headers whose length is known.

/// The 16-bit field at `offset`, which the header must reach beyond.
#[inline(always)]
pub(super) const fn u16_at<const N: usize>(header: &[u8; N], offset: usize) -> u16 {
    u16::from_be_bytes([header[offset], header[offset + 1]])
}

/// The 32-bit field at `offset`, which the header must reach beyond.
#[inline(always)]
pub(super) const fn u32_at<const N: usize>(header: &[u8; N], offset: usize) -> u32 {
    u32::from_be_bytes([header[offset], header[offset + 1], header[offset + 2], header[offset + 3]])
}

/// The 128-bit field at `offset`, which the header must reach beyond.
#[inline(always)]
pub(super) fn u128_at<const N: usize>(header: &[u8; N], offset: usize) -> u128 {
    u128::from_be_bytes(std::array::from_fn(|i| header[offset + i]))
}
