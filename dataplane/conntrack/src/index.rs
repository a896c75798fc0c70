//! The index: from a tuple to the number of its entry.
//!
//! A fixed array of buckets, one cache line each, with ten tags and ten entry numbers. A tuple has two
//! buckets; it goes to its first while that is fairly empty, else to the emptier of the two, and the first one
//! counts how many of its own overflowed, so that the second is looked at only when it may matter. With four
//! of ten slots taken when the table is full, one entry in a hundred lies in its second bucket, where no
//! prefetch has gone ahead for it, and both buckets full is a matter of one in many millions.
//!
//! A connection and its inverse have one hash, made from the lesser of the two tuples, so that one slot serves
//! both directions. The hash is keyed at random: nobody outside can aim at a bucket.

use crate::entries::NONE;
use crate::tuple::{Family, Selector, Tuple};
use ahash::RandomState;
use sluice_memory::{Arena, Pages};
use std::hash::{BuildHasher, Hasher};
use std::hint::select_unpredictable;
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Slots in a bucket: what fits into a cache line.
const SLOTS: usize = 10;

/// Slots per bucket that are taken, on average, when the table is full.
const LOAD: usize = 4;

/// From this many on, a bucket sends new entries to their other bucket if that is emptier.
const CROWDED: usize = 8;

/// Buckets that are searched for an entry to evict.
const NEIGHBOURHOOD: usize = 8;

/// One cache line of the index.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
struct Bucket {
    /// Sixteen bits of each entry's hash, never 0; 0 is a free slot.
    tags: [u16; SLOTS],
    /// How many entries have this as their first bucket and lie in their second.
    overflow: u16,
    spare: u16,
    entries: [u32; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64, "a bucket is a cache line");

/// A set of slots in a bucket, a bit each.
#[derive(Clone, Copy)]
struct Slots(u16);

impl Slots {
    const ALL: u16 = (1 << SLOTS) - 1;

    const fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

impl Iterator for Slots {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let slot = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (slot < SLOTS).then_some(slot)
    }
}

impl Bucket {
    /// The slots that have this tag: all are compared at once, and six numbers behind them.
    #[inline]
    fn slots_of(&self, tag: u16) -> Slots {
        let [row, _]: &[[u16; 16]; 2] = zerocopy::transmute_ref!(self);
        Slots(sluice_memory::positions_of(row, tag) & Slots::ALL)
    }

    fn free(&self) -> Slots {
        self.slots_of(0)
    }

    fn taken(&self) -> usize {
        SLOTS - self.free().count()
    }
}

/// The hash of a connection, the same for both of its directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hash(u64);

impl Hash {
    const fn tag(self) -> u16 {
        let tag = self.0 as u16;
        if tag == 0 { 1 } else { tag }
    }
}

/// The index of a shard.
#[derive(Debug)]
pub struct Index {
    buckets: Arena<Bucket>,
    key: RandomState,
}

impl Index {
    /// An index for `capacity` entries, keyed by `seed`.
    ///
    /// # Errors
    /// When the host has not enough memory.
    pub fn new(capacity: u32, seed: [u64; 4], pages: Pages) -> io::Result<Self> {
        Ok(Self { buckets: Arena::new(Self::buckets(capacity), pages)?, key: Self::key(seed) })
    }

    /// The same, which takes memory only where it is used.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub fn sparse(capacity: u32, seed: [u64; 4]) -> io::Result<Self> {
        Ok(Self { buckets: Arena::sparse(Self::buckets(capacity))?, key: Self::key(seed) })
    }

    /// Bytes of memory for each entry that there is room for.
    pub const BYTES_PER_ENTRY: usize = size_of::<Bucket>() / LOAD;

    /// Bytes of the arena.
    pub fn arena_bytes(capacity: u32) -> usize {
        Self::buckets(capacity) * size_of::<Bucket>()
    }

    fn buckets(capacity: u32) -> usize {
        (capacity as usize).div_ceil(LOAD).max(2)
    }

    const fn key([a, b, c, d]: [u64; 4]) -> RandomState {
        RandomState::with_seeds(a, b, c, d)
    }

    /// Bytes of memory that it takes.
    pub const fn memory_bytes(&self) -> usize {
        self.buckets.mapped_bytes()
    }

    /// Slots taken. Looks at every bucket.
    pub(crate) fn len(&self) -> usize {
        self.buckets.iter().map(Bucket::taken).sum()
    }

    /// The hash of a tuple and of its inverse, whose selector is `inverse`.
    #[inline(always)]
    pub fn hash(&self, tuple: &Tuple, inverse: Selector) -> Hash {
        let Tuple { src, dst, selector } = *tuple;
        // Directions come in no order that a branch could learn.
        let inverted = (src > dst) | (src == dst) & (selector > inverse);
        let selector = select_unpredictable(inverted, inverse, selector);
        let mut hasher = self.key.build_hasher();
        match selector.family() {
            Family::V4 => hasher.write_u64((src.min(dst) as u64) << 32 | src.max(dst) as u64),
            Family::V6 => {
                hasher.write_u128(src.min(dst));
                hasher.write_u128(src.max(dst));
            }
        }
        hasher.write_u64(selector.as_u64());
        Hash(hasher.finish())
    }

    fn scale(&self, bits: u32) -> usize {
        ((u64::from(bits) * self.buckets.len() as u64) >> 32) as usize
    }

    fn first(&self, hash: Hash) -> usize {
        self.scale((hash.0 >> 32) as u32)
    }

    fn second(&self, hash: Hash) -> usize {
        let second = self.scale((hash.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32);
        if second == self.first(hash) { (second + 1) % self.buckets.len() } else { second }
    }

    /// The secret key, for what else outsiders must not aim at.
    pub(crate) fn secret(&self) -> RandomState {
        self.key.clone()
    }

    /// A number that depends on `value` and on the secret key.
    pub fn keyed(&self, value: &impl std::hash::Hash) -> u64 {
        self.key.hash_one(value)
    }

    /// Fetches the bucket of a hash ahead of its use.
    #[inline]
    pub fn prefetch(&self, hash: Hash) {
        self.buckets.prefetch(self.first(hash));
    }

    /// The entry that a look-up of this hash will most probably find, or [`NONE`]: to be fetched ahead. Fetches the
    /// second bucket where the answer may lie there.
    #[inline]
    pub fn candidate(&self, hash: Hash) -> u32 {
        let bucket = &self.buckets[self.first(hash)];
        let mut slots = bucket.slots_of(hash.tag());
        if bucket.overflow != 0 {
            self.buckets.prefetch(self.second(hash));
        }
        slots.next().and_then(|slot| bucket.entries.get(slot)).copied().unwrap_or(NONE)
    }

    /// The first entry of this hash that `test` accepts, with what `test` made of it.
    #[inline]
    pub fn find<T>(&self, hash: Hash, mut test: impl FnMut(u32) -> Option<T>) -> Option<(u32, T)> {
        let first = &self.buckets[self.first(hash)];
        let found = Self::find_in(first, hash.tag(), &mut test);
        if found.is_some() || first.overflow == 0 {
            return found;
        }
        Self::find_in(&self.buckets[self.second(hash)], hash.tag(), &mut test)
    }

    #[inline(always)]
    fn find_in<T>(bucket: &Bucket, tag: u16, test: &mut impl FnMut(u32) -> Option<T>) -> Option<(u32, T)> {
        for slot in bucket.slots_of(tag) {
            let entry = bucket.entries[slot];
            if let Some(found) = test(entry) {
                return Some((entry, found));
            }
        }
        None
    }

    /// Adds an entry under a hash; false when both of its buckets are full.
    pub fn insert(&mut self, hash: Hash, entry: u32) -> bool {
        let first = self.first(hash);
        let (mut number, mut free) = (first, self.buckets[first].free());
        if free.count() <= SLOTS - CROWDED {
            let second = self.second(hash);
            let others = self.buckets[second].free();
            if others.count() > free.count() {
                (number, free) = (second, others);
            }
        }
        let Some(slot) = free.next() else { return false };
        let bucket = &mut self.buckets[number];
        bucket.tags[slot] = hash.tag();
        bucket.entries[slot] = entry;
        if number != first {
            self.buckets[first].overflow += 1;
        }
        true
    }

    /// Takes an entry out from under the hash it was added with.
    pub fn remove(&mut self, hash: Hash, entry: u32) {
        let (first, second) = (self.first(hash), self.second(hash));
        for (number, overflowed) in [(first, false), (second, true)] {
            let bucket = &mut self.buckets[number];
            let slot = bucket.slots_of(hash.tag()).find(|slot| bucket.entries[*slot] == entry);
            if let Some(slot) = slot {
                bucket.tags[slot] = 0;
                self.buckets[first].overflow -= u16::from(overflowed);
                return;
            }
        }
    }

    /// Whether both buckets of a hash are full.
    #[inline]
    pub fn is_full(&self, hash: Hash) -> bool {
        let is_full = |number: usize| self.buckets[number].free().count() == 0;
        is_full(self.first(hash)) && is_full(self.second(hash))
    }

    /// The entries in whose slots one of this hash can come, its own two buckets' first: where to look for one to
    /// evict. If those buckets are full, room elsewhere is of no use.
    pub fn neighbours(&self, hash: Hash) -> impl Iterator<Item = u32> + '_ {
        let (count, first) = (self.buckets.len(), self.first(hash));
        // Most searches end in the first bucket: no more is read before that is over.
        let bucket = move |step: usize| match step {
            0 => Some(first),
            1 => Some(self.second(hash)),
            2 if self.is_full(hash) => None,
            _ => (step <= NEIGHBOURHOOD.min(count)).then(|| (first + step - 1) % count),
        };
        (0..).map_while(bucket).flat_map(|number| self.entries_of(number))
    }

    fn entries_of(&self, number: usize) -> impl Iterator<Item = u32> + '_ {
        let bucket = &self.buckets[number];
        (0..SLOTS).filter(|slot| bucket.tags[*slot] != 0).map(|slot| bucket.entries[slot])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(capacity: u32) -> Index {
        Index::new(capacity, [1, 2, 3, 4], Pages::Ordinary).unwrap()
    }

    fn tuple(n: u32) -> Tuple {
        let host = std::net::Ipv4Addr::from(0x0a00_0000 | n);
        Tuple::new(host.into(), [198, 51, 100, 1].into(), 6, (n % 60_000) as u16, 80)
    }

    fn hash(index: &Index, n: u32) -> Hash {
        index.hash(&tuple(n), tuple(n).selector.invert())
    }

    #[test]
    fn both_directions_have_one_hash() {
        let index = index(10);
        let v6 = Tuple::new("fd00::1".parse().unwrap(), "2001:db8::1".parse().unwrap(), 17, 1, 2);
        for t in [tuple(1), v6] {
            assert_eq!(index.hash(&t, t.selector.invert()), index.hash(&t.invert(), t.selector));
        }
        assert_ne!(hash(&index, 1), hash(&index, 2));
    }

    #[test]
    fn a_full_table_finds_every_entry_and_loses_each_that_is_removed() {
        let mut index = index(60_000);
        for n in 0..60_000 {
            assert!(index.insert(hash(&index, n), n), "no room for entry {n}");
        }
        let overflow: u32 = index.buckets.iter().map(|bucket| u32::from(bucket.overflow)).sum();
        assert!(overflow > 100, "the second bucket was put to use");
        for n in 0..60_000 {
            assert_eq!(index.find(hash(&index, n), |e| (e == n).then_some(())), Some((n, ())));
        }
        for n in (0..60_000).step_by(2) {
            index.remove(hash(&index, n), n);
        }
        for n in 0..60_000 {
            let found = index.find(hash(&index, n), |e| (e == n).then_some(())).is_some();
            assert_eq!(found, n % 2 == 1);
        }
        for n in (1..60_000).step_by(2) {
            index.remove(hash(&index, n), n);
        }
        assert!(index.buckets.iter().all(|bucket| bucket.tags == [0; SLOTS] && bucket.overflow == 0));
    }

    #[test]
    fn two_full_buckets_refuse() {
        let mut index = index(1);
        let same = hash(&index, 1);
        let taken = (0..100).take_while(|n| index.insert(same, *n)).count();
        assert_eq!(taken, 2 * SLOTS);
    }

    #[test]
    fn neighbours_are_few_and_begin_at_home() {
        let mut index = index(1000);
        for n in 0..1000 {
            index.insert(hash(&index, n), n);
        }
        let around: Vec<_> = index.neighbours(hash(&index, 5)).collect();
        assert!(around.len() <= (NEIGHBOURHOOD + 1) * SLOTS && !around.is_empty());
        assert!(
            around[..SLOTS.min(around.len())].contains(&5)
                || index.buckets[index.first(hash(&index, 5))].overflow > 0
        );
    }
}
