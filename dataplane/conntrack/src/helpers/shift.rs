//! The shift of a stream whose text was rewritten: Linux's `nf_conntrack_seqadj`.
//!
//! Text that becomes longer or shorter moves all that comes behind it. The sender goes on counting what it has sent and the
//! receiver what it has got, so that from then on the sender's sequence numbers are moved forth on their way, and the
//! receiver's acknowledgements back. All numbers are modulo 2^32 (RFC 9293 section 3.4).

use super::slots::{Slot, Slots};
use super::text::Text;
use zerocopy::FromZeros;

/// Rewritten texts that a direction remembers, to write them again when they are sent again: those of a few messages of SIP, of which
/// each may have a dozen. One that was acknowledged gives way to another: the shift that it brought stays.
pub(crate) const MAX_CHANGES: usize = 128;

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

/// Those of one direction, the oldest first.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub(crate) struct ChangeList([Change; MAX_CHANGES]);

/// How one direction of a connection is shifted, as it is kept.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub(crate) struct Offsets {
    /// What is added to the numbers of all that was sent before the changes which are remembered.
    before: u32,
    /// How many changes are remembered, and where.
    len: u32,
    changes: Slot,
    /// The sender's number up to which the receiver has acknowledged, as far as that matters.
    acknowledged: u32,
}

/// How one direction of a connection is shifted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shift<'a> {
    before: u32,
    changes: &'a [Change],
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

impl Offsets {
    /// Whether nothing was ever changed.
    pub(crate) const fn is_none(&self) -> bool {
        self.before == 0 && self.len == 0
    }

    /// Begins with nothing remembered, but that all that was sent so far is moved by so much.
    pub(crate) fn begin(&mut self, before: u32, lists: &mut Slots<ChangeList>) {
        lists.give_back(&mut self.changes);
        (self.before, self.len) = (before, 0);
    }

    /// The changes whose text the receiver may not have yet, and by how much what comes before them is moved.
    pub(crate) fn unacknowledged<'a>(&self, lists: &'a Slots<ChangeList>) -> (u32, &'a [Change]) {
        let changes = self.shift(lists).changes;
        let has_come = |change: &&Change| !before(self.acknowledged, change.end());
        let (old, new) = changes.split_at(changes.iter().take_while(has_come).count());
        (old.iter().fold(self.before, |sum, change| sum.wrapping_add(change.shift())), new)
    }

    /// The shift.
    pub(crate) fn shift<'a>(&self, lists: &'a Slots<ChangeList>) -> Shift<'a> {
        let list = lists.get(self.changes);
        let changes = list.and_then(|list| list.0.get(..self.len as usize)).unwrap_or_default();
        Shift { before: self.before, changes }
    }

    /// How many changes may be noted.
    pub(crate) fn room(&self, lists: &Slots<ChangeList>) -> usize {
        let is_missing = |change: &&Change| before(self.acknowledged, change.end());
        MAX_CHANGES - self.shift(lists).changes.iter().filter(is_missing).count()
    }

    /// Takes note of a change behind all others. False where it is not behind them, or where there is no room for it: none that was not
    /// acknowledged gives way.
    pub(crate) fn note(&mut self, change: Change, lists: &mut Slots<ChangeList>) -> bool {
        if self.changes == Slot::NONE {
            self.changes = lists.take();
            self.acknowledged = change.at;
        }
        let changes = self.shift(lists).changes;
        let oldest_end = changes.first().map_or(change.at, Change::end);
        if changes.last().is_some_and(|last| before(change.at, last.end())) {
            return false;
        }
        if self.len as usize == MAX_CHANGES {
            if before(self.acknowledged, oldest_end) {
                return false;
            }
            self.forget_oldest(lists);
        }
        let Some(list) = lists.get_mut(self.changes) else { return false };
        list.0[self.len as usize] = change;
        self.len += 1;
        true
    }

    /// Takes note that the receiver has got all before this number of the sender's.
    pub(crate) const fn hear_ack(&mut self, acknowledged: u32) {
        if before(self.acknowledged, acknowledged) {
            self.acknowledged = acknowledged;
        }
    }

    /// Forgets what was changed so long ago that numbers soon wrap around to it: half of all there are lie behind each.
    pub(crate) fn forget_before(&mut self, seq: u32, lists: &mut Slots<ChangeList>) {
        const LONG_AGO: u32 = 1 << 30;
        let is_old = |oldest: &Change| before(oldest.at.wrapping_add(LONG_AGO), seq);
        while self.shift(lists).changes.first().is_some_and(is_old) {
            self.forget_oldest(lists);
        }
    }

    fn forget_oldest(&mut self, lists: &mut Slots<ChangeList>) {
        let Some(list) = lists.get_mut(self.changes) else { return };
        self.before = self.before.wrapping_add(list.0[0].shift());
        list.0.copy_within(1..self.len as usize, 0);
        self.len -= 1;
        if self.len == 0 {
            lists.give_back(&mut self.changes);
        }
    }

    /// Gives back what it holds.
    pub(crate) fn end(&mut self, lists: &mut Slots<ChangeList>) {
        lists.give_back(&mut self.changes);
    }
}

impl<'a> Shift<'a> {
    /// The changes that are remembered, the oldest first.
    const fn changes(&self) -> &'a [Change] {
        self.changes
    }

    /// Whether any number is changed at all.
    pub(crate) const fn is_none(&self) -> bool {
        self.before == 0 && self.changes.is_empty()
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
    pub(crate) fn changes_from(&self, seq: u32) -> &'a [Change] {
        let changes = self.changes();
        &changes[changes.iter().take_while(|change| before(change.at, seq)).count()..]
    }

    /// By how many bytes all that lies behind this number has become longer.
    pub(crate) fn grown_from(&self, seq: u32) -> i32 {
        self.changes_from(seq).iter().map(|change| change.shift().cast_signed()).sum()
    }

    /// The one whose text begins here.
    pub(crate) fn change_at(&self, seq: u32) -> Option<&'a Change> {
        self.changes_from(seq).first().filter(|change| change.at == seq)
    }

    /// Whether bytes from `seq` up to `end` have a part of a text that was changed, and not all of it.
    pub(crate) fn is_cut(&self, seq: u32, end: u32) -> bool {
        self.changes().iter().any(|change| {
            let overlaps = before(change.at, end) && before(seq, change.end());
            overlaps && (before(change.at, seq) || before(end, change.end()))
        })
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

    /// A direction by itself.
    struct Direction(Offsets, Slots<ChangeList>);

    impl Direction {
        fn of(changes: &[Change]) -> Self {
            let mut it = Self(Offsets::new_zeroed(), Slots::new(1).unwrap());
            assert!(changes.iter().all(|change| it.note(*change)));
            it
        }

        fn note(&mut self, change: Change) -> bool {
            self.0.note(change, &mut self.1)
        }

        fn forget_before(&mut self, seq: u32) {
            self.0.forget_before(seq, &mut self.1);
        }

        fn shift(&self) -> Shift<'_> {
            self.0.shift(&self.1)
        }
    }

    #[test]
    fn what_comes_behind_a_longer_text_is_moved_forth_and_acknowledged_back() {
        for start in [1000, u32::MAX - 7, u32::MAX - 20] {
            let at = |offset: u32| start.wrapping_add(offset);
            let it = Direction::of(&[change(at(5), 15, 18)]);
            let it = it.shift();
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
        let it = Direction::of(&[change(100, 10, 13), change(200, 10, 8), change(300, 5, 5)]);
        let it = it.shift();
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
        let mut it = Direction::of(&[change(100, 10, 13), change(200, 10, 4), change(300, 5, 5)]);
        assert_eq!(it.shift().seqadj(), seqadj(200, 3, -3));
        it.forget_before(300 + (1 << 30) + 1);
        assert_eq!(it.shift().seqadj(), seqadj(0, -3, -3));
        assert_eq!(Direction::of(&[change(300, 5, 5)]).shift().seqadj(), Seqadj::default());
    }

    #[test]
    fn thousands_of_changes_and_gigabytes_leave_no_trace_but_their_sum() {
        let mut it = Direction::of(&[]);
        let mut seq = 7_u32;
        let mut sum = 0_u32;
        for round in 0..10_000 {
            assert!(it.note(change(seq, 15, 18 - 6 * (round % 2))));
            sum = sum.wrapping_add(if round % 2 == 0 { 3 } else { 3_u32.wrapping_neg() });
            seq = seq.wrapping_add(1_000_003);
            it.forget_before(seq);
            it.0.hear_ack(seq);
            let shift = it.shift();
            assert_eq!(shift.forth(seq), seq.wrapping_add(sum));
            assert_eq!(shift.back(shift.forth(seq), Edge::End), seq);
        }
        assert!(it.note(change(seq, 15, 18)));
        for _ in 0..8 {
            seq = seq.wrapping_add(1 << 29);
            it.forget_before(seq);
            assert_eq!(
                it.shift().forth(seq),
                seq.wrapping_add(3),
                "nothing wraps around to before the change"
            );
        }
        assert!(it.shift().changes().is_empty() && !it.shift().is_none());
        assert_eq!(it.1.len(), 0, "what is forgotten is given back");
    }

    #[test]
    fn what_was_not_acknowledged_does_not_give_way() {
        let mut it = Direction::of(&[]);
        for number in 0..MAX_CHANGES as u32 {
            assert!(it.note(change(number * 100, 10, 13)));
        }
        let next = MAX_CHANGES as u32 * 100;
        assert!(!it.note(change(next, 10, 13)));
        it.0.hear_ack(9);
        assert!(!it.note(change(next, 10, 13)), "a part of it is missing");
        it.0.hear_ack(10);
        assert!(it.note(change(next, 10, 13)));
        assert_eq!(it.shift().forth(next), next + 3 * MAX_CHANGES as u32);
        assert!(!it.note(change(next, 10, 13)), "each is behind those before it");
    }

    proptest! {
        /// Whatever was rewritten: what the receiver has got is what was sent, and numbers that lie in no changed text go
        /// forth and back.
        #[test]
        fn numbers_go_forth_and_back(
            start in any::<u32>(),
            steps in prop::collection::vec((0_u32..40, 1_u16..30, 0_usize..50), 0..5),
            probe in 0_u32..400,
        ) {
            let mut it = Direction::of(&[]);
            let mut at = 0;
            let mut texts = vec![];
            for (gap, removed, inserted) in steps {
                at += gap;
                prop_assert!(it.note(change(start.wrapping_add(at), removed, inserted)));
                texts.push(at..at + u32::from(removed));
                at += u32::from(removed);
            }
            let it = it.shift();
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
