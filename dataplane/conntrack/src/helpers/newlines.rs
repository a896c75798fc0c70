//! Where lines begin, as Linux's FTP helper knows it: behind the last newlines that ended a segment. Only a segment that begins
//! there is looked at, so that the first of a stream is not, nor one that begins in the midst of a line.

use zerocopy::FromZeros;

/// The positions behind two newlines.
#[derive(Clone, Copy, Debug, Default, FromZeros)]
#[repr(C)]
pub(crate) struct Newlines {
    behind: [u32; 2],
    known: u32,
}

impl Newlines {
    fn known(&self) -> &[u32] {
        self.behind.get(..self.known as usize).unwrap_or_default()
    }

    /// Whether a line begins at this sequence number.
    pub(crate) fn begin_at(&self, seq: u32) -> bool {
        self.known().contains(&seq)
    }

    /// Takes note that a line begins at this number. Of three the oldest is forgotten.
    pub(crate) fn note(&mut self, seq: u32) {
        if self.begin_at(seq) {
            return;
        }
        let known = self.known().len();
        if known < self.behind.len() {
            self.behind[known] = seq;
            self.known += 1;
            return;
        }
        let is_before = |a: u32, b: u32| a.wrapping_sub(b).cast_signed() < 0;
        let [first, second] = self.behind;
        let oldest = usize::from(!is_before(first, second));
        if is_before(self.behind[oldest], seq) {
            self.behind[oldest] = seq;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_are_known() {
        for start in [1000, u32::MAX - 15] {
            let at = |offset: u32| start.wrapping_add(offset);
            let mut it = Newlines::default();
            assert!(!it.begin_at(0) && !it.begin_at(start));
            [10, 20, 20, 30].into_iter().for_each(|offset| it.note(at(offset)));
            assert_eq!([10, 20, 30].map(|offset| it.begin_at(at(offset))), [false, true, true]);
            it.note(at(15));
            assert!(!it.begin_at(at(15)) && it.begin_at(at(20)), "what is older changes nothing");
        }
    }
}
