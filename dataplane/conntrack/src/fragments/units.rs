//! Which units of eight bytes are there of a datagram whose many fragments come out of order, a bit each: how a fragment relates to all
//! others is seen at once, in whatever order they come (FragmentSmack, CVE-2018-5391), and so is their order when all are there.

use super::NONE;
use super::slots::Slots;
use crate::verdict::DropReason;

/// Fragments from which on a datagram has a map. Fewer are looked at one by one.
pub(super) const MANY: u16 = 16;

/// The map of a datagram that has none.
pub(super) const NO_MAP: u32 = u32::MAX;

/// Bytes of a word's units.
const WORD_BYTES: u32 = 512;

/// Words of the longest datagram.
const WORDS: usize = 128;

/// Units of the longest datagram, and the most fragments that it can have.
const MOST: usize = 64 * WORDS;

/// Sixty-four units.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    /// Those that are there.
    there: u64,
    /// Those of them that a fragment begins with.
    begins: u64,
}

/// The units of one datagram.
#[derive(Clone, Debug)]
struct Map {
    words: [Word; WORDS],
    /// How many of the words have anything.
    used: usize,
}

impl Map {
    const EMPTY: Self = Self { words: [Word { there: 0, begins: 0 }; WORDS], used: 0 };

    /// Which words these bytes are in, and which of the units of each.
    fn spans(start: u32, end: u32) -> impl Iterator<Item = (usize, u64)> {
        let (first, last) = (word_of(start), word_of(end - 1));
        (first..last + 1).map(move |word| {
            let from = if word == first { !(bit(start) - 1) } else { u64::MAX };
            let to = if word == last { bit(end - 1) | (bit(end - 1) - 1) } else { u64::MAX };
            (word, from & to)
        })
    }

    /// Takes a fragment in, unless it meets others.
    #[inline(always)]
    fn admit(&mut self, start: u32, end: u32) -> Result<(), DropReason> {
        let (mut known, mut new) = (0, 0);
        for (index, units) in Self::spans(start, end) {
            let Word { there, begins } = self.words[index];
            let begins = if index == word_of(start) { begins & !bit(start) } else { begins };
            known |= there & units;
            new |= (!there | begins) & units;
        }
        match (known, new) {
            (0, _) => {
                self.insert(start, end);
                Ok(())
            }
            (_, 0) => Err(DropReason::FragmentDuplicate),
            _ => Err(DropReason::FragmentOverlap),
        }
    }

    #[inline(always)]
    fn insert(&mut self, start: u32, end: u32) {
        Self::spans(start, end).for_each(|(index, units)| self.words[index].there |= units);
        self.words[word_of(start)].begins |= bit(start);
        self.used = self.used.max(word_of(end - 1) + 1);
    }
}

/// The word of a byte.
const fn word_of(byte: u32) -> usize {
    (byte / WORD_BYTES) as usize
}

/// The unit of a byte among those of its word.
const fn bit(byte: u32) -> u64 {
    1 << (byte % WORD_BYTES / 8)
}

/// The maps of all datagrams that have one.
#[derive(Debug)]
pub(super) struct Maps {
    maps: Vec<Map>,
    /// Those that no datagram has.
    free: Vec<u32>,
    /// Where the fragments of a datagram are put in order.
    order: Box<[u32]>,
}

impl Maps {
    /// Those of datagrams that have so many fragments together, and of one more.
    pub(super) fn new(room: u32) -> Self {
        let most = room as usize / usize::from(MANY) + 1;
        Self {
            maps: Vec::with_capacity(most),
            free: Vec::with_capacity(most),
            order: vec![NONE; MOST].into(),
        }
    }

    /// A map of the fragments of a chain.
    #[cold]
    #[inline(never)]
    pub(super) fn of_chain<P>(&mut self, slots: &Slots<P>, first: u32) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.maps.push(Map::EMPTY);
            self.maps.len() as u32 - 1
        });
        let map = &mut self.maps[number as usize];
        slots.chain(first).for_each(|(_, slot)| map.insert(slot.start, slot.end));
        number
    }

    /// Takes a map back, if it is one.
    #[inline]
    pub(super) fn free(&mut self, number: u32) {
        if let Some(Map { words, used }) = self.maps.get_mut(number as usize) {
            words[..*used].fill(Word::default());
            *used = 0;
            self.free.push(number);
        }
    }

    /// Takes a fragment into a map, unless it meets others there.
    ///
    /// # Errors
    /// [`DropReason::FragmentDuplicate`] where it is all within one of them, or else [`DropReason::FragmentOverlap`].
    #[inline(always)]
    pub(super) fn admit(&mut self, number: u32, start: u32, end: u32) -> Result<(), DropReason> {
        self.maps[number as usize].admit(start, end)
    }

    /// Puts the fragments of a chain in order, of all of which there is a map. Gives the first and the last.
    #[inline(never)]
    pub(super) fn sort<P>(&mut self, number: u32, slots: &mut Slots<P>, first: u32) -> [u32; 2] {
        let Map { words, used } = &self.maps[number as usize];
        // How many begin before each word.
        let (mut before, mut count) = ([0; WORDS], 0);
        for (before, word) in before.iter_mut().zip(&words[..*used]) {
            *before = count;
            count += word.begins.count_ones();
        }
        for (slot, it) in slots.chain(first) {
            let index = word_of(it.start);
            let rank = before[index] + (words[index].begins & (bit(it.start) - 1)).count_ones();
            self.order[rank as usize] = slot;
        }
        let order = &self.order[..count as usize];
        let following = order.iter().skip(1).chain(&[NONE]);
        order.iter().zip(following).for_each(|(slot, next)| slots.at_mut(*slot).next = *next);
        [order[0], order[order.len() - 1]]
    }
}
