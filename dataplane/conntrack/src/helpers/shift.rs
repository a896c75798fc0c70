//! The shift of a stream whose text was rewritten: Linux's `nf_conntrack_seqadj`.
//!
//! Text that becomes longer or shorter moves all that comes behind it. The sender goes on counting what it has sent and the
//! receiver what it has got, so that from then on the sender's sequence numbers are moved forth on their way, and the
//! receiver's acknowledgements back. All numbers are modulo 2^32 (RFC 9293 section 3.4).

use super::text::Text;
use zerocopy::FromZeros;

/// Rewritten texts that a stream remembers, to write them again when they are sent again. An older one gives way: the shift
/// that it brought stays.
pub(crate) const MAX_CHANGES: usize = 4;

/// A text that has become another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(C)]
pub(crate) struct Change {
    /// The sender's number of its first byte.
    pub(crate) at: u32,
    /// The port that it says outside.
    pub(crate) port: u16,
    /// How many bytes the sender has sent.
    pub(crate) removed: u16,
    /// What the receiver has got instead.
    pub(crate) inserted: Text,
}

impl Change {
    /// Right behind it, in the sender's numbers.
    pub(crate) const fn end(&self) -> u32 {
        self.at.wrapping_add(self.removed as u32)
    }

    /// What it adds to the shift of all that comes behind it.
    pub(crate) const fn shift(&self) -> u32 {
        (self.inserted.len() as u32).wrapping_sub(self.removed as u32)
    }
}

/// Which end of a range of bytes a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Its first byte.
    Start,
    /// The byte behind it. An acknowledgement is one.
    End,
}

/// How one direction of a connection is shifted.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub(crate) struct Shift {
    /// What is added to the numbers of all that was sent before the changes which are remembered.
    before: u32,
    /// How many changes are remembered, the oldest first.
    len: u32,
    changes: [Change; MAX_CHANGES],
}

/// What a direction's shift is made of, as far as its last change tells: Linux's `nf_ct_seqadj`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seqadj {
    /// The sender's number of the last text that has become longer or shorter; 0 where it is no longer known.
    pub correction_pos: u32,
    /// What is added to the sender's numbers up to there, modulo 2^32.
    pub offset_before: i32,
    /// What is added to those behind it.
    pub offset_after: i32,
}

/// Whether number `a` comes before `b`.
const fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

impl Shift {
    /// The changes that are remembered, the oldest first.
    pub(crate) fn changes(&self) -> &[Change] {
        self.changes.get(..self.len as usize).unwrap_or_default()
    }

    /// Whether any number is changed at all.
    pub(crate) const fn is_none(&self) -> bool {
        self.before == 0 && self.len == 0
    }

    /// What it is made of, for listings.
    pub(crate) fn seqadj(&self) -> Seqadj {
        let offset = self.before.cast_signed();
        let mut seqadj = Seqadj { correction_pos: 0, offset_before: offset, offset_after: offset };
        for change in self.changes().iter().filter(|change| change.shift() != 0) {
            let offset_before = seqadj.offset_after;
            let offset_after = offset_before.wrapping_add_unsigned(change.shift());
            seqadj = Seqadj { correction_pos: change.at, offset_before, offset_after };
        }
        seqadj
    }

    /// Those of them that begin at this number or behind it.
    pub(crate) fn changes_from(&self, seq: u32) -> &[Change] {
        let changes = self.changes();
        &changes[changes.iter().take_while(|change| before(change.at, seq)).count()..]
    }

    /// The one whose text begins here.
    pub(crate) fn change_at(&self, seq: u32) -> Option<&Change> {
        self.changes_from(seq).first().filter(|change| change.at == seq)
    }

    /// Whether bytes from `seq` up to `end` have a part of a text that was changed, and not all of it.
    pub(crate) fn is_cut(&self, seq: u32, end: u32) -> bool {
        self.changes().iter().any(|change| {
            let overlaps = before(change.at, end) && before(seq, change.end());
            overlaps && (before(change.at, seq) || before(end, change.end()))
        })
    }

    /// Whether the oldest change would have to give way to another though it is one of a segment that begins with this number.
    pub(crate) fn is_full_from(&self, seq: u32) -> bool {
        self.changes_from(seq).len() == MAX_CHANGES
    }

    /// Takes note of a change, behind all that were before.
    pub(crate) fn note(&mut self, change: Change) {
        if self.len as usize == MAX_CHANGES {
            self.forget_oldest();
        }
        self.changes[self.len as usize] = change;
        self.len += 1;
    }

    /// Forgets what was changed so long ago that numbers soon wrap around to it: half of all there are lie behind each.
    pub(crate) fn forget_before(&mut self, seq: u32) {
        const LONG_AGO: u32 = 1 << 30;
        while self.changes().first().is_some_and(|oldest| before(oldest.at.wrapping_add(LONG_AGO), seq)) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        self.before = self.before.wrapping_add(self.changes[0].shift());
        self.changes.copy_within(1.., 0);
        self.len -= 1;
    }

    /// The number by which the receiver knows a byte that the sender numbers so.
    pub(crate) fn forth(&self, seq: u32) -> u32 {
        let mut shift = self.before;
        for change in self.changes() {
            if !before(change.at, seq) {
                break;
            }
            if before(seq, change.end()) {
                return change.at.wrapping_add(shift);
            }
            shift = shift.wrapping_add(change.shift());
        }
        seq.wrapping_add(shift)
    }

    /// The sender's number for one of the receiver's. What lies within a text that is not the sender's becomes the nearest
    /// number so that no byte counts as received of which only a part was.
    pub(crate) fn back(&self, number: u32, edge: Edge) -> u32 {
        let mut shift = self.before;
        for change in self.changes() {
            let start = change.at.wrapping_add(shift);
            if !before(start, number) {
                break;
            }
            if before(number, start.wrapping_add(change.inserted.len() as u32)) {
                return if edge == Edge::End { change.at } else { change.end() };
            }
            shift = shift.wrapping_add(change.shift());
        }
        number.wrapping_sub(shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change(at: u32, removed: u16, inserted: usize) -> Change {
        let inserted = Text::of(format_args!("{}", "x".repeat(inserted)));
        Change { at, port: 0, removed, inserted }
    }

    fn shift(changes: &[Change]) -> Shift {
        let mut shift = Shift::new_zeroed();
        changes.iter().for_each(|change| shift.note(*change));
        shift
    }

    #[test]
    fn what_comes_behind_a_longer_text_is_moved_forth_and_acknowledged_back() {
        for start in [1000, u32::MAX - 7, u32::MAX - 20] {
            let at = |place: u32| start.wrapping_add(place);
            let it = shift(&[change(at(5), 15, 18)]);
            for (sent, seen) in [(0, 0), (5, 5), (20, 23), (22, 25), (1_000_000, 1_000_003)] {
                assert_eq!((it.forth(at(sent)), it.back(at(seen), Edge::End)), (at(seen), at(sent)));
                assert_eq!(it.back(at(seen), Edge::Start), at(sent));
            }
            // Who has got part of the text has got nothing of it, and who sends from its midst sends from its start.
            assert_eq!((it.back(at(7), Edge::End), it.back(at(22), Edge::End)), (at(5), at(5)));
            assert_eq!((it.back(at(7), Edge::Start), it.forth(at(6))), (at(20), at(5)));
        }
    }

    #[test]
    fn several_changes_add_up_and_each_holds_from_its_place_on() {
        let it = shift(&[change(100, 10, 13), change(200, 10, 8), change(300, 5, 5)]);
        let seen = [50, 110, 200, 210, 310].map(|seq| it.forth(seq));
        assert_eq!(seen, [50, 113, 203, 211, 311]);
        assert_eq!(seen.map(|number| it.back(number, Edge::End)), [50, 110, 200, 210, 310]);
    }

    #[test]
    fn the_last_change_of_another_length_tells_the_offsets() {
        let seqadj = |correction_pos, offset_before, offset_after| Seqadj {
            correction_pos,
            offset_before,
            offset_after,
        };
        let mut it = shift(&[change(100, 10, 13), change(200, 10, 4), change(300, 5, 5)]);
        assert_eq!(it.seqadj(), seqadj(200, 3, -3));
        it.forget_before(300 + (1 << 30));
        assert_eq!(it.seqadj(), seqadj(0, -3, -3));
        assert_eq!(shift(&[change(300, 5, 5)]).seqadj(), Seqadj::default());
    }

    #[test]
    fn thousands_of_changes_and_gigabytes_leave_no_trace_but_their_sum() {
        let mut it = Shift::new_zeroed();
        let mut seq = 7_u32;
        let mut sum = 0_u32;
        for round in 0..10_000 {
            it.note(change(seq, 15, 18 - 6 * (round % 2)));
            sum = sum.wrapping_add(if round % 2 == 0 { 3 } else { 3_u32.wrapping_neg() });
            seq = seq.wrapping_add(1_000_003);
            it.forget_before(seq);
            assert_eq!(it.forth(seq), seq.wrapping_add(sum));
            assert_eq!(it.back(it.forth(seq), Edge::End), seq);
        }
        it.note(change(seq, 15, 18));
        for _ in 0..8 {
            seq = seq.wrapping_add(1 << 29);
            it.forget_before(seq);
            assert_eq!(it.forth(seq), seq.wrapping_add(3), "nothing wraps around to before the change");
        }
        assert!(it.changes().is_empty() && !it.is_none());
    }

    proptest! {
        /// Whatever was rewritten: what the receiver has got is what was sent, and numbers that lie in no changed text go
        /// forth and back.
        #[test]
        fn numbers_go_forth_and_back(
            start in any::<u32>(),
            steps in prop::collection::vec((0_u32..40, 1_u16..30, 0_usize..50), 0..MAX_CHANGES),
            probe in 0_u32..400,
        ) {
            let mut it = Shift::new_zeroed();
            let mut at = 0;
            let mut texts = vec![];
            for (gap, removed, inserted) in steps {
                at += gap;
                it.note(change(start.wrapping_add(at), removed, inserted));
                texts.push(at..at + u32::from(removed));
                at += u32::from(removed);
            }
            let seq = start.wrapping_add(probe);
            if texts.iter().all(|text| probe <= text.start || text.end <= probe) {
                let seen = it.forth(seq);
                let back = it.back(seen, Edge::End);
                // A text that became nothing has one number for both of its ends.
                let same = back == seq || texts.iter().any(|text| text.contains(&(back.wrapping_sub(start))));
                prop_assert!(same, "{seq} {seen} {back}");
            }
            let number = start.wrapping_add(probe);
            let (first, last) = (it.back(number, Edge::End), it.back(number, Edge::Start));
            prop_assert!(!before(last, first));
        }
    }
}
