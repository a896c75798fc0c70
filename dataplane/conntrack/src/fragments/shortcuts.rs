//! Shortcuts into the chains of datagrams with many fragments: where one belongs is found in a few steps, in whatever order
//! they come (FragmentSmack, CVE-2018-5391).

use super::slots::Slots;
use std::hint::select_unpredictable;

/// How many a datagram has at most. So many are enough for 128 fragments: each has at least four to itself.
const MOST: usize = 32;

/// Steps along a chain that make a shortcut half-way.
const STRIDE: usize = 8;

/// Those of one datagram, which knows how many they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Where the fragments that they lead to start, in ascending order.
    starts: [u16; MOST],
    slots: [u32; MOST],
}

/// Those of all datagrams. Apart from them, since most datagrams have none.
#[derive(Debug)]
pub(super) struct Shortcuts(Box<[Row]>);

impl Shortcuts {
    /// Room for those of so many datagrams.
    pub(super) fn new(room: u32) -> Self {
        Self(vec![Row { starts: [0; MOST], slots: [0; MOST] }; room as usize].into())
    }

    /// Those of a datagram.
    pub(super) fn of(&mut self, number: u32) -> &mut Row {
        &mut self.0[number as usize]
    }
}

impl Row {
    /// The last fragment before a position, or at it, that one of `len` shortcuts leads to.
    fn before(&self, len: u8, start: u32) -> Option<u32> {
        if len == 0 {
            return None;
        }
        let (len, start) = (u16::from(len), start as u16);
        let is_before = |(index, own): (u16, &u16)| u16::from(index < len && *own <= start);
        let before: u16 = (0..).zip(&self.starts).map(is_before).sum();
        self.slots.get(usize::from(before.checked_sub(1)?)).copied()
    }

    /// The fragments before and behind which one that starts there belongs, in a chain from `first` on that has both. `latest` is
    /// the one that came last: the next one often belongs behind it.
    #[inline(always)]
    pub(super) fn neighbours<P>(
        &mut self,
        len: &mut u8,
        slots: &Slots<P>,
        [first, latest]: [u32; 2],
        start: u32,
    ) -> [u32; 2] {
        let start_of = |number: u32| slots.at(number).start;
        let from = self.before(*len, start).unwrap_or(first);
        let is_nearer = (start_of(from)..=start).contains(&start_of(latest));
        let from = select_unpredictable(is_nearer, latest, from);
        let (mut before, mut after, mut steps) = (from, slots.at(from).next, 0);
        while start_of(after) <= start {
            (before, after) = (after, slots.at(after).next);
            steps += 1;
        }
        if steps >= STRIDE {
            self.shorten(len, slots, from, steps);
        }
        [before, after]
    }

    /// Makes shortcuts along so many steps that it has taken from a fragment on.
    #[cold]
    #[inline(never)]
    fn shorten<P>(&mut self, len: &mut u8, slots: &Slots<P>, from: u32, steps: usize) {
        let mut slot = from;
        for step in 1..=steps - STRIDE / 2 {
            slot = slots.at(slot).next;
            if step % STRIDE == STRIDE / 2 {
                self.insert(len, slots.at(slot).start as u16, slot);
            }
        }
    }

    /// One more, to a fragment that starts there, as far as there is room.
    fn insert(&mut self, len: &mut u8, start: u16, slot: u32) {
        let end = usize::from(*len);
        let index = self.starts[..end].partition_point(|own| *own < start);
        if end < MOST {
            self.starts.copy_within(index..end, index + 1);
            self.slots.copy_within(index..end, index + 1);
            (self.starts[index], self.slots[index]) = (start, slot);
            *len += 1;
        }
    }
}
