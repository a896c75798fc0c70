//! A fuzzer's bytes, read as orders.

pub(crate) struct Orders<'a>(pub(crate) &'a [u8]);

impl Orders<'_> {
    /// The next order, if there is one.
    pub(crate) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next byte, or zero behind the last.
    pub(crate) fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// A frame: one byte of length, and so many bytes.
    pub(crate) fn frame(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (frame, rest) = self.0.split_at(length);
        self.0 = rest;
        frame.to_vec()
    }
}
