//! Shortcuts into the chains of datagrams with many fragments: where one belongs is found in a few steps, in whatever order
//! they come (FragmentSmack, CVE-2018-5391).
//!
//! A datagram gets a row of them when a walk along its chain was long: one to each fragment that was passed, and to each that comes
//! between two others from then on.

use super::NONE;
use super::slots::Slots;

/// How many a datagram has at most: one to each of 128 fragments. Beyond, walks become longer.
const MOST: usize = 128;

/// Steps along a chain for which it gets shortcuts.
const LONG_WALK: usize = 8;

/// Where no fragment starts: they start at multiples of eight.
const NOWHERE: u16 = u16::MAX;

/// The row of a datagram that has none.
pub(super) const NO_ROW: u16 = u16::MAX;

/// Where a fragment belongs in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The fragments before and behind it: [`NONE`] at the ends.
    pub(super) before: u32,
    pub(super) after: u32,
    /// How many shortcuts lead to fragments before it, if it is between two others.
    rank: u8,
}

impl Place {
    /// At an end of a datagram, or in an empty one.
    pub(super) const fn at_end(before: u32, after: u32) -> Self {
        Self { before, after, rank: 0 }
    }

    const fn is_at_end(self) -> bool {
        self.before == NONE || self.after == NONE
    }
}

/// Those of one datagram.
#[derive(Clone, Debug)]
struct Row {
    /// Where the fragments that they lead to start, in ascending order; behind them [`NOWHERE`].
    starts: [u16; MOST],
    slots: [u32; MOST],
    len: usize,
}

impl Row {
    const EMPTY: Self = Self { starts: [NOWHERE; MOST], slots: [NONE; MOST], len: 0 };

    /// How many lead to fragments that start there or before.
    fn rank(&self, start: u32) -> u8 {
        // All are looked at, many at once, and none decides which is the next.
        let start = start as u16;
        self.starts.iter().map(|own| u16::from(*own <= start)).sum::<u16>() as u8
    }

    /// One more behind so many others, as far as there is room. Gives how many are before the next one.
    fn insert(&mut self, rank: u8, start: u32, slot: u32) -> u8 {
        let (index, end) = (usize::from(rank), self.len);
        if end == MOST {
            return rank;
        }
        self.starts.copy_within(index..end, index + 1);
        self.slots.copy_within(index..end, index + 1);
        (self.starts[index], self.slots[index]) = (start as u16, slot);
        self.len += 1;
        rank + 1
    }
}

/// Those of all datagrams.
#[derive(Debug)]
pub(super) struct Shortcuts {
    rows: Box<[Row]>,
    /// The rows that no datagram has.
    free: Vec<u16>,
}

impl Shortcuts {
    /// Those of datagrams that have so many fragments together. One with a row has had a long walk.
    pub(super) fn new(room: u32) -> Self {
        let rows = (room as usize / LONG_WALK).min(usize::from(NO_ROW));
        Self { rows: vec![Row::EMPTY; rows].into(), free: (0..rows as u16).rev().collect() }
    }

    /// Takes a row back, if it is one.
    #[inline]
    pub(super) fn free(&mut self, row: u16) {
        if row != NO_ROW {
            self.free.push(row);
        }
    }

    /// Where a fragment that starts there belongs, in a chain from `first` on that has others before and behind it.
    #[inline]
    pub(super) fn place<P>(&mut self, row: &mut u16, slots: &Slots<P>, first: u32, start: u32) -> Place {
        let (rank, from) = self.nearest(*row, first, start);
        let (mut before, mut after, mut steps) = (from, slots.at(from).next, 0);
        while slots.at(after).start <= start {
            (before, after) = (after, slots.at(after).next);
            steps += 1;
        }
        let rank = if steps < LONG_WALK { rank } else { self.shorten(row, slots, rank, from, steps) };
        Place { before, after, rank }
    }

    /// How many shortcuts lead to fragments that start there or before, and the last of these fragments.
    #[inline]
    fn nearest(&self, row: u16, first: u32, start: u32) -> (u8, u32) {
        let Some(row) = self.rows.get(usize::from(row)) else { return (0, first) };
        match row.rank(start) {
            0 => (0, first),
            rank => (rank, row.slots[usize::from(rank) - 1]),
        }
    }

    /// Makes a shortcut to a fragment that was put into its place.
    #[inline]
    pub(super) fn lead_to(&mut self, row: u16, place: Place, start: u32, slot: u32) {
        if !place.is_at_end()
            && let Some(row) = self.rows.get_mut(usize::from(row))
        {
            row.insert(place.rank, start, slot);
        }
    }

    /// Makes shortcuts to all fragments along so many steps that were taken from one on. Gives how many are before the next one.
    #[cold]
    #[inline(never)]
    fn shorten<P>(&mut self, row: &mut u16, slots: &Slots<P>, mut rank: u8, from: u32, steps: usize) -> u8 {
        if *row == NO_ROW {
            let Some(free) = self.free.pop() else { return rank };
            *row = free;
            self.rows[usize::from(free)] = Row::EMPTY;
        }
        let row = &mut self.rows[usize::from(*row)];
        let mut slot = from;
        for _ in 0..steps {
            slot = slots.at(slot).next;
            rank = row.insert(rank, slots.at(slot).start, slot);
        }
        rank
    }
}

#[cfg(test)]
mod tests {
    use super::super::piece::{Key, Piece};
    use super::*;
    use crate::verdict::FragmentOffsets;
    use rand::SeedableRng;
    use rand::seq::SliceRandom;
    use rand_chacha::ChaCha8Rng;

    /// A datagram whose fragments have eight bytes each.
    struct Chain {
        row: u16,
        first: u32,
        /// Where each starts, and its slot, in order.
        known: Vec<(u32, u32)>,
        /// Steps along it so far.
        steps: usize,
    }

    impl Chain {
        const fn new() -> Self {
            Self { row: NO_ROW, first: NONE, known: Vec::new(), steps: 0 }
        }

        /// A fragment comes: it is to belong between those that start before and behind it.
        fn add(&mut self, shortcuts: &mut Shortcuts, slots: &mut Slots<()>, number: u32) {
            let start = 8 * number;
            let index = self.known.partition_point(|(own, _)| *own < start);
            let slot_at =
                |index: Option<usize>| index.and_then(|it| self.known.get(it)).map_or(NONE, |it| it.1);
            let [before, after] = [slot_at(index.checked_sub(1)), slot_at(Some(index))];
            let mut place = Place::at_end(before, after);
            if !place.is_at_end() {
                let (_, from) = shortcuts.nearest(self.row, self.first, start);
                let passed = self.known.iter().position(|(_, slot)| *slot == from).unwrap();
                self.steps += index - 1 - passed;
                place = shortcuts.place(&mut self.row, slots, self.first, start);
                assert_eq!([place.before, place.after], [before, after], "{start} in {:?}", self.known);
            }
            let piece = Piece {
                key: Key::none(),
                start,
                end: start + 8,
                is_last: false,
                offsets: FragmentOffsets { l3: 0, payload: 0 },
                header_bytes: 0,
                packet_bytes: 28,
                is_fixed: false,
                ecn: 0,
            };
            let slot = slots.insert(&piece, (), 1, [before, after]);
            shortcuts.lead_to(self.row, place, start, slot);
            self.known.insert(index, (start, slot));
            self.first = self.known[0].1;
        }
    }

    /// Fragments of one datagram come in this order, by their numbers. Each takes few steps, all told.
    fn come(order: &[u32]) {
        let (mut slots, mut shortcuts) = (Slots::new(512), Shortcuts::new(512));
        let mut chain = Chain::new();
        order.iter().for_each(|number| chain.add(&mut shortcuts, &mut slots, *number));
        if order.len() <= MOST {
            assert!(chain.steps <= LONG_WALK * order.len(), "{} steps in {order:?}", chain.steps);
        }
    }

    #[test]
    fn where_fragments_belong_is_found_in_all_orders() {
        // Twelve have come, with a gap behind each; six others come between them and before them in all orders.
        for permutation in 0..720 {
            let (mut left, mut rest) = (vec![0, 2, 8, 14, 22, 24], permutation);
            let mut order: Vec<u32> = (0..12).map(|number| 2 * number + 1).collect();
            while !left.is_empty() {
                order.push(left.swap_remove(rest % left.len()));
                rest /= left.len() + 1;
            }
            come(&order);
        }
    }

    #[test]
    fn many_fragments_are_found_in_few_steps() {
        for many in [128_u32, 256] {
            // Every third, every fifth and so on, round and round; from both ends; of both halves in turn.
            for stride in (1..many).step_by(2) {
                come(&(0..many).map(|number| number * stride % many).collect::<Vec<_>>());
            }
            come(&(0..many / 2).flat_map(|number| [number, many - 1 - number]).collect::<Vec<_>>());
            come(&(0..many / 2).flat_map(|number| [number, number + many / 2]).collect::<Vec<_>>());
            let mut random = ChaCha8Rng::seed_from_u64(1);
            for _ in 0..200 {
                let mut order: Vec<u32> = (0..many).collect();
                order.shuffle(&mut random);
                come(&order);
            }
        }
    }

    #[test]
    fn a_row_is_taken_back_and_given_away_empty() {
        let (mut slots, mut shortcuts) = (Slots::new(64), Shortcuts::new(LONG_WALK as u32));
        let order = || (0..12).map(|number| 2 * number + 1).chain([22, 8, 2]);
        for _ in 0..3 {
            let mut chain = Chain::new();
            order().for_each(|number| chain.add(&mut shortcuts, &mut slots, number));
            assert_ne!(chain.row, NO_ROW);
            let mut other = Chain::new();
            order().for_each(|number| other.add(&mut shortcuts, &mut slots, number));
            assert_eq!(other.row, NO_ROW, "there is one row only, and its way is found without");
            for mut slot in [chain.first, other.first] {
                while slot != NONE {
                    slot = slots.take(slot).1;
                }
            }
            shortcuts.free(chain.row);
            shortcuts.free(other.row);
        }
    }
}
