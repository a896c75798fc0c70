//! Things that are found by a key: a fixed number of places, of which those in use are chained in hashed buckets, and those that
//! are free in a list.

use super::NONE;

/// What can be found.
pub(super) trait Item {
    /// What it is found by.
    type Key: Copy + Eq;

    fn key(&self) -> Self::Key;

    fn chain(&self) -> &Chain;

    fn chain_mut(&mut self) -> &mut Chain;
}

/// The bucket of an item, and the next there; or the next of the free places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    bucket: usize,
    next: u32,
}

impl Chain {
    /// That of an item which is in no bucket yet.
    pub(super) const NONE: Self = Self { bucket: 0, next: NONE };
}

#[derive(Debug)]
pub(super) struct Directory<T> {
    places: Box<[T]>,
    buckets: Box<[u32]>,
    free: u32,
}

impl<T: Item> Directory<T> {
    /// Room for so many items; in all places there is `vacant`.
    pub(super) fn new(room: u32, vacant: T) -> Self
    where
        T: Copy,
    {
        let mut places = vec![vacant; room as usize];
        for (next, place) in (1..room).zip(&mut places) {
            place.chain_mut().next = next;
        }
        Self {
            places: places.into(),
            buckets: vec![NONE; room.next_power_of_two() as usize].into(),
            free: if room > 0 { 0 } else { NONE },
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.free == NONE
    }

    pub(super) fn at(&self, number: u32) -> &T {
        &self.places[number as usize]
    }

    pub(super) fn at_mut(&mut self, number: u32) -> &mut T {
        &mut self.places[number as usize]
    }

    /// The number of the item of a key, which has this hash.
    pub(super) fn find(&self, key: T::Key, hash: u64) -> Option<u32> {
        let mut number = self.buckets[self.bucket(hash)];
        while number != NONE && self.at(number).key() != key {
            number = self.at(number).chain().next;
        }
        (number != NONE).then_some(number)
    }

    /// Takes an item in, whose key has this hash. `None` where there is no room.
    pub(super) fn insert(&mut self, hash: u64, item: T) -> Option<u32> {
        let number = self.free;
        let bucket = self.bucket(hash);
        self.free = self.places.get(number as usize)?.chain().next;
        let next = std::mem::replace(&mut self.buckets[bucket], number);
        let place = self.at_mut(number);
        *place = item;
        *place.chain_mut() = Chain { bucket, next };
        Some(number)
    }

    /// Lets an item be found no more. Its place stays its own.
    pub(super) fn unlink(&mut self, number: u32) {
        let Chain { bucket, next } = *self.at(number).chain();
        let mut link = &mut self.buckets[bucket];
        while *link != number {
            link = &mut self.places[*link as usize].chain_mut().next;
        }
        *link = next;
    }

    /// Gives the place of an item that is found no more to the next one.
    pub(super) fn free(&mut self, number: u32) {
        let free = std::mem::replace(&mut self.free, number);
        self.at_mut(number).chain_mut().next = free;
    }

    /// What is in all places, be they free or not.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.places.iter()
    }

    const fn bucket(&self, hash: u64) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }
}
