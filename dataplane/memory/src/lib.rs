//! Memory of the packet path: arenas on huge pages, prefetch, and a row of memory compared at once.
//!
//! The only place outside the DPDK bindings with `unsafe` in it. An [`Arena`] is one anonymous mapping
//! that holds a fixed number of values, all zero at first; it never grows or moves. Huge pages are
//! worth 1.4 times the speed at ten million entries, so an arena takes the largest pages that the host
//! gives and that suit its size, and says which those were.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use zerocopy::FromZeros;

/// The kind of pages that an arena lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pages {
    /// The page size of the machine.
    Ordinary,
    /// Ordinary pages that the kernel was asked to join to huge ones (transparent huge pages).
    Transparent,
    /// Huge pages of 2 MiB, reserved by the operator.
    Huge2M,
    /// Huge pages of 1 GiB, reserved by the operator.
    Huge1G,
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ordinary => "ordinary pages",
            Self::Transparent => "ordinary pages, joined where the kernel can",
            Self::Huge2M => "huge pages of 2 MiB",
            Self::Huge1G => "huge pages of 1 GiB",
        })
    }
}

impl Pages {
    const fn map_flags(self) -> libc::c_int {
        match self {
            Self::Ordinary | Self::Transparent => 0,
            Self::Huge2M => libc::MAP_HUGETLB | libc::MAP_HUGE_2MB,
            Self::Huge1G => libc::MAP_HUGETLB | libc::MAP_HUGE_1GB,
        }
    }

    /// Size of a page in bytes; of transparent ones, that which they are joined to.
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::Ordinary => 4 << 10,
            Self::Transparent | Self::Huge2M => 2 << 20,
            Self::Huge1G => 1 << 30,
        }
    }

    /// Whether so many bytes leave little of these pages unused: at most an eighth, or less than 2 MiB.
    pub const fn suits(self, bytes: usize) -> bool {
        let rest = bytes % self.size_bytes();
        let unused = if rest == 0 { 0 } else { self.size_bytes() - rest };
        unused < Self::Huge2M.size_bytes() || unused <= (bytes + unused) / 8
    }
}

/// A fixed number of values in memory of its own.
#[derive(Debug)]
pub struct Arena<T> {
    start: NonNull<T>,
    len: usize,
    mapped_bytes: usize,
    pages: Pages,
}

// SAFETY: an arena owns its mapping alone, as a boxed slice owns its heap block.
unsafe impl<T: Send> Send for Arena<T> {}
// SAFETY: shared access hands out `&T` only.
unsafe impl<T: Sync> Sync for Arena<T> {}

impl<T: FromZeros> Arena<T> {
    /// `len` zeroed values on the largest pages up to `largest` that the host has and that [suit](Pages::suits)
    /// them, all of them touched now, so that no packet waits for a page fault.
    ///
    /// # Errors
    /// When the host has not enough memory even in ordinary pages.
    pub fn new(len: usize, largest: Pages) -> io::Result<Self> {
        let choices = [Pages::Huge1G, Pages::Huge2M, Pages::Transparent];
        choices
            .into_iter()
            .filter(|pages| *pages <= largest && pages.suits(len.saturating_mul(size_of::<T>())))
            .find_map(|pages| Self::map(len, pages, true).ok())
            .map_or_else(|| Self::map(len, Pages::Ordinary, true), Ok)
    }

    /// `len` zeroed values on ordinary pages that take memory only when they are first written.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub fn sparse(len: usize) -> io::Result<Self> {
        Self::map(len, Pages::Ordinary, false)
    }

    fn map(len: usize, pages: Pages, touch: bool) -> io::Result<Self> {
        const { assert!(align_of::<T>() <= 4096, "a mapping is aligned to pages and no further") };
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let bytes = len.checked_mul(size_of::<T>()).ok_or_else(too_large)?.max(1);
        let mapped_bytes = bytes.checked_next_multiple_of(pages.size_bytes()).ok_or_else(too_large)?;
        let populate = if touch && pages != Pages::Transparent { libc::MAP_POPULATE } else { 0 };
        let reserve = if touch { 0 } else { libc::MAP_NORESERVE };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | reserve;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory in use.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                flags | populate | pages.map_flags(),
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(address.cast::<T>()).ok_or_else(too_large)?;
        let arena = Self { start, len, mapped_bytes, pages };
        if pages == Pages::Transparent {
            // SAFETY: the range is the mapping made above. Advice never changes what the memory holds.
            let refused = unsafe { libc::madvise(address, mapped_bytes, libc::MADV_HUGEPAGE) } != 0;
            if refused {
                return Err(io::Error::last_os_error());
            }
            // Linux before 5.14 cannot do it: then each page comes as it is first written.
            // SAFETY: as above; populating writes nothing that a reader could see.
            unsafe { libc::madvise(address, mapped_bytes, libc::MADV_POPULATE_WRITE) };
        }
        Ok(arena)
    }
}

impl<T> Arena<T> {
    /// The pages it lies on.
    pub const fn pages(&self) -> Pages {
        self.pages
    }

    /// Address space it takes, in bytes.
    pub const fn mapped_bytes(&self) -> usize {
        self.mapped_bytes
    }

    /// Asks the processor to bring the value at `index` near, all its cache lines. An index beyond the end
    /// is no error, and does nothing.
    #[inline]
    pub fn prefetch(&self, index: usize) {
        if let Some(value) = self.get(index) {
            prefetch(value);
        }
    }
}

impl<T> Deref for Arena<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the mapping holds `len` values, zeroed by the kernel, which `FromZeros` makes valid; it lives
        // as long as the arena.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Arena<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`; the exclusive borrow of the arena makes the slice the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Arena<T> {
    fn drop(&mut self) {
        // SAFETY: the range is this arena's own mapping, and nothing borrows from a value being dropped.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped_bytes) };
    }
}

const LINE_BYTES: usize = 64;

/// Asks the processor to bring all cache lines of `value` near.
#[inline]
pub fn prefetch<T>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<i8>();
    for line in 0..size_of::<T>().div_ceil(LINE_BYTES) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch of any address is no access; this one lies within `value` besides.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
                start.add(line * LINE_BYTES),
            );
        }
        #[cfg(not(target_arch = "x86_64"))]
        std::hint::black_box((start, line));
    }
}

/// Asks the kernel to lay what a vector has room for, and that was not written before, on huge pages (transparent ones). Nothing
/// happens where it has none, or the vector is smaller than one.
pub fn advise_huge<T>(vector: &mut Vec<T>) {
    let room = vector.spare_capacity_mut();
    let bytes = size_of_val(room);
    let page_bytes = Pages::Transparent.size_bytes();
    let start = room.as_mut_ptr().cast::<u8>();
    let before = start.align_offset(page_bytes);
    let inside = bytes.saturating_sub(before) / page_bytes * page_bytes;
    if inside > 0 {
        // SAFETY: `before + inside` is at most the bytes of the room, which is one allocation.
        let first = unsafe { start.add(before) };
        // SAFETY: the range is memory of the vector's own. Advice never changes what memory holds.
        unsafe { libc::madvise(first.cast(), inside, libc::MADV_HUGEPAGE) };
    }
}

/// The positions in a row that have this value, a bit each.
#[inline(always)]
pub fn positions_of(row: &[u16; 16], value: u16) -> u16 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instructions are of SSE2, which every such processor has, and the two loads read what `row` holds.
    unsafe {
        use std::arch::x86_64::{
            _mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
        };
        let [low, high] = [0, 8].map(|half| _mm_loadu_si128(row.as_ptr().add(half).cast()));
        let wanted = _mm_set1_epi16(value.cast_signed());
        let equal = _mm_packs_epi16(_mm_cmpeq_epi16(low, wanted), _mm_cmpeq_epi16(high, wanted));
        _mm_movemask_epi8(equal) as u16
    }
    #[cfg(not(target_arch = "x86_64"))]
    row.iter().rev().fold(0, |positions, one| positions << 1 | u16::from(*one == value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_in_all_its_positions() {
        let mut row = [7; 16];
        assert_eq!([0, 7].map(|value| positions_of(&row, value)), [0, u16::MAX]);
        (row[0], row[9], row[15]) = (0, u16::MAX, 0x8000);
        assert_eq!([0, u16::MAX, 0x8000].map(|value| positions_of(&row, value)), [1, 1 << 9, 1 << 15]);
    }

    #[test]
    fn an_arena_begins_as_zeros_and_keeps_what_is_written() {
        let mut arena = Arena::<u64>::new(100_000, Pages::Huge1G).unwrap();
        assert_eq!(arena.len(), 100_000);
        assert!(arena.iter().all(|value| *value == 0));
        for (value, number) in arena.iter_mut().zip(0..) {
            *value = number;
        }
        assert!(arena.iter().zip(0..).all(|(value, number)| *value == number));
        assert!(arena.mapped_bytes() >= 800_000);
    }

    #[test]
    fn advice_leaves_a_vector_as_it_is() {
        for room in [0, 1, 100_000, 5 << 20] {
            let mut vector = Vec::with_capacity(room);
            vector.extend((0..room / 3).map(|n| n as u8));
            let before = vector.clone();
            advise_huge(&mut vector);
            vector.resize(room, 9);
            assert!(vector.starts_with(&before) && vector.iter().skip(before.len()).all(|byte| *byte == 9));
        }
    }

    #[test]
    fn an_empty_arena_is_no_special_case() {
        let arena = Arena::<[u64; 8]>::new(0, Pages::Ordinary).unwrap();
        assert!(arena.is_empty());
        arena.prefetch(0);
    }

    #[test]
    fn an_arena_that_cannot_be_is_an_error() {
        assert!(Arena::<u64>::new(usize::MAX, Pages::Ordinary).is_err());
        assert!(Arena::<u64>::new(usize::MAX / 16, Pages::Ordinary).is_err());
    }

    #[test]
    fn pages_no_larger_than_asked_for_are_taken() {
        for largest in [Pages::Ordinary, Pages::Transparent, Pages::Huge2M] {
            assert!(Arena::<u8>::new(1, largest).unwrap().pages() <= largest);
        }
    }

    #[test]
    fn pages_are_no_larger_than_suits_what_lies_on_them() {
        let gib = |eighths: usize| eighths << 27;
        for (bytes, suits) in [(1, false), (gib(6), false), (gib(7), true), (gib(8), true)] {
            assert_eq!(Pages::Huge1G.suits(bytes), suits, "{bytes} bytes");
        }
        // Of many pages the last may be all but empty.
        assert!(!Pages::Huge1G.suits(gib(48) + 1) && Pages::Huge1G.suits(gib(57)));
        assert!([0, 1, 2 << 20, (2 << 20) + 1].iter().all(|bytes| Pages::Huge2M.suits(*bytes)));
    }

    #[test]
    fn a_sparse_arena_reads_as_zeros_and_prefetches() {
        let mut arena = Arena::<[u8; 192]>::sparse(1 << 20).unwrap();
        arena[(1 << 20) - 1][191] = 7;
        assert_eq!(arena[(1 << 20) - 1][191], 7);
        assert_eq!(arena[12_345], [0; 192]);
        arena.prefetch(12_345);
        arena.prefetch(usize::MAX);
    }

    #[test]
    fn an_arena_moves_to_another_thread() {
        let mut arena = Arena::<u32>::new(16, Pages::Ordinary).unwrap();
        let sum = std::thread::spawn(move || {
            arena[3] = 5;
            arena.iter().sum::<u32>()
        });
        assert_eq!(sum.join().unwrap(), 5);
    }
}
