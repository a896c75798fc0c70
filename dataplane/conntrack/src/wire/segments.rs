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
