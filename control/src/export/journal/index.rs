//! The index of a segment: in which of its blocks an address and port occur, and where its gaps are.
//!
//! Sorted numbers, each the hash of an address and port in the upper half and the offset of a block in the lower, in pages with a
//! checksum (CRC-32 of what stands behind it), so that a look-up reads as many pages as a binary search takes.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileExt;

use super::format::Item;

const PAGE: usize = 4096;

/// Numbers on a page, behind the checksum.
const PER_PAGE: usize = PAGE / 8 - 1;

/// What gaps have in place of a hash.
pub const GAPS: u32 = 0;

/// The hash of an address and port: FNV-1a of 64 bits, folded. It is the same in all versions.
pub fn hash(public: SocketAddr) -> u32 {
    let address = match public.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let bytes = address.octets().into_iter().chain(public.port().to_be_bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    // Neither that of gaps nor what pages are filled up with.
    ((hash >> 32 ^ hash) as u32).clamp(GAPS + 1, u32::MAX - 1)
}

/// The index of a segment that is being written.
#[derive(Debug, Default)]
pub struct NewIndex(Vec<u64>);

impl NewIndex {
    /// Takes a record that is in the block at this offset.
    pub fn add(&mut self, item: &Item, block: u32) {
        let mut add = |hash: u32| self.0.push(u64::from(hash) << 32 | u64::from(block));
        match item {
            Item::Translation(translation) => translation.public().map(hash).for_each(add),
            Item::Gap(_) => add(GAPS),
        }
    }

    /// Its bytes; it is empty again.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let mut numbers = std::mem::take(&mut self.0);
        numbers.sort_unstable();
        numbers.dedup();
        let mut bytes = Vec::with_capacity(numbers.len().div_ceil(PER_PAGE) * PAGE);
        for page in numbers.chunks(PER_PAGE) {
            let begin = bytes.len();
            bytes.extend([0; 8]);
            page.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
            bytes.resize(begin + PAGE, 0xff);
            let sum = crc32fast::hash(&bytes[begin + 4..]);
            bytes[begin..begin + 4].copy_from_slice(&sum.to_le_bytes());
        }
        bytes
    }
}

/// The blocks in which something with this hash occurs, by their offsets; `None` where the index is damaged.
pub fn look_up(index: &File, hash: u32) -> Option<Vec<u32>> {
    let length = usize::try_from(index.metadata().ok()?.len()).ok()?;
    let pages = length / PAGE;
    if !length.is_multiple_of(PAGE) {
        return None;
    }
    let wanted = u64::from(hash) << 32;
    // The last page whose first number is not beyond what is wanted, or the first page.
    let (mut low, mut high) = (0, pages);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if *page(index, middle)?.first()? < wanted { low = middle } else { high = middle }
    }
    let mut blocks = Vec::new();
    for number in low..pages {
        let numbers = page(index, number)?;
        let last = *numbers.last()?;
        let begin = numbers.partition_point(|number| *number < wanted);
        let of_hash = numbers[begin..].iter().take_while(|number| **number >> 32 == u64::from(hash));
        blocks.extend(of_hash.map(|number| *number as u32));
        if last >> 32 > u64::from(hash) {
            break;
        }
    }
    Some(blocks)
}

/// The numbers of a page; the last of all is filled up with ones.
fn page(index: &File, number: usize) -> Option<Vec<u64>> {
    let mut bytes = [0; PAGE];
    index.read_exact_at(&mut bytes, (number * PAGE) as u64).ok()?;
    let (sum, rest) = bytes.split_first_chunk::<4>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*sum) {
        return None;
    }
    Some(bytes.as_chunks().0[1..].iter().map(|number| u64::from_le_bytes(*number)).collect())
}
