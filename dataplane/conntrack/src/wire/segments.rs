//! Reading a packet that lies in several segments of its frame.

use crate::frame::Frame;

/// `length` bytes from `offset` in the first segment on, piece by piece; less where the frame ends before.
pub(crate) fn slices<F: Frame>(frame: &F, offset: u16, length: usize) -> impl Iterator<Item = &[u8]> {
    let head = frame.head().get(usize::from(offset)..).unwrap_or_default();
    std::iter::once(head).chain(frame.tail()).scan(length, |left, segment| {
        let segment = segment.get(..*left).unwrap_or(segment);
        *left -= segment.len();
        Some(segment)
    })
}

/// Copies `length` bytes from `offset` in the first segment on to the start of `out`; gives how many those were, or
/// `None` where `out` is too small.
pub(crate) fn copy<F: Frame>(frame: &F, offset: u16, length: usize, out: &mut [u8]) -> Option<usize> {
    slices(frame, offset, length).try_fold(0, |at, slice| {
        out.get_mut(at..at + slice.len())?.copy_from_slice(slice);
        Some(at + slice.len())
    })
}

/// Bytes of a frame that are read one behind the other.
pub(crate) struct Reader<'a, I> {
    slices: I,
    slice: &'a [u8],
}

impl<'a> Reader<'a, std::iter::Empty<&'a [u8]>> {
    /// `length` bytes from `offset` in the first segment on.
    pub(crate) fn new<F: Frame>(
        frame: &'a F,
        offset: u16,
        length: usize,
    ) -> Reader<'a, impl Iterator<Item = &'a [u8]>> {
        Reader { slices: slices(frame, offset, length), slice: &[] }
    }
}

impl<'a, I: Iterator<Item = &'a [u8]>> Reader<'a, I> {
    /// Fills `out` with the next bytes, as far as there are any.
    pub(crate) fn read(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.slice.is_empty() {
                let Some(next) = self.slices.next() else { return };
                self.slice = next;
            }
            let bytes = out.len().min(self.slice.len());
            let (now, later) = self.slice.split_at(bytes);
            let (filled, rest) = out.split_at_mut(bytes);
            filled.copy_from_slice(now);
            (self.slice, out) = (later, rest);
        }
    }
}
