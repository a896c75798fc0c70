//! Things that are found by a key: a fixed number of slots, and a table of their hashes, in which each has the first bucket that is
//! free from its own on (linear probing). Half of the buckets are free, so that one look at a cache line mostly tells whether a key
//! is there.

use super::NONE;

/// What can be found.
pub(super) trait Item {
    /// What it is found by.
    type Key: Eq;

    fn key(&self) -> &Self::Key;

    /// The hash of its key.
    fn hash(&self) -> u32;
}

/// A bucket of the table.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    hash: u32,
    /// The item; [`NONE`] where it is free.
    number: u32,
}

#[derive(Debug)]
pub(super) struct Directory<T> {
    slots: Box<[T]>,
    buckets: Box<[Bucket]>,
    /// The slots that are free.
    free: Vec<u32>,
    /// Items that can be found.
    linked: usize,
}

impl<T: Item> Directory<T> {
    /// Room for so many items; in all slots there is `vacant`.
    pub(super) fn new(room: u32, vacant: T) -> Self
    where
        T: Copy,
    {
        Self {
            slots: vec![vacant; room as usize].into(),
            buckets: vec![Bucket { hash: 0, number: NONE }; (2 * room as usize).next_power_of_two()].into(),
            free: (0..room).rev().collect(),
            linked: 0,
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Items that there are, found or not.
    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn at(&self, number: u32) -> &T {
        &self.slots[number as usize]
    }

    pub(super) fn at_mut(&mut self, number: u32) -> &mut T {
        &mut self.slots[number as usize]
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.slots.get(number as usize)
    }

    /// Fetches where a hash is looked for.
    pub(super) fn prefetch(&self, hash: u32) {
        self.buckets.get(self.home(hash)).into_iter().for_each(sluice_memory::prefetch);
    }

    /// Fetches an item, if there is one of this number.
    pub(super) fn prefetch_item(&self, number: u32) {
        self.get(number).into_iter().for_each(sluice_memory::prefetch);
    }

    /// The number of the item of a key, which has this hash.
    pub(super) fn find(&self, key: &T::Key, hash: u32) -> Option<u32> {
        if self.linked == 0 {
            return None;
        }
        let mut index = self.home(hash);
        loop {
            let bucket = self.buckets[index];
            if bucket.number == NONE {
                return None;
            }
            if bucket.hash == hash && self.at(bucket.number).key() == key {
                return Some(bucket.number);
            }
            index = self.next(index);
        }
    }

    /// Takes an item in, which is not found yet. `None` where there is no room.
    pub(super) fn add(&mut self, item: T) -> Option<u32> {
        let number = self.free.pop()?;
        *self.at_mut(number) = item;
        Some(number)
    }

    /// Has an item be found.
    pub(super) fn link(&mut self, number: u32) {
        let hash = self.at(number).hash();
        let mut index = self.home(hash);
        while self.buckets[index].number != NONE {
            index = self.next(index);
        }
        self.buckets[index] = Bucket { hash, number };
        self.linked += 1;
    }

    /// Lets an item be found no more. Its slot stays its own.
    pub(super) fn unlink(&mut self, number: u32) {
        let mut hole = self.home(self.at(number).hash());
        while self.buckets[hole].number != number {
            hole = self.next(hole);
        }
        // What stands behind it and would rather have stood here moves up.
        let mut index = self.next(hole);
        while self.buckets[index].number != NONE {
            let own = self.home(self.buckets[index].hash);
            if self.distance(own, index) >= self.distance(hole, index) {
                self.buckets[hole] = self.buckets[index];
                hole = index;
            }
            index = self.next(index);
        }
        self.buckets[hole].number = NONE;
        self.linked -= 1;
    }

    /// Gives the slot of an item that is found no more to the next one.
    pub(super) fn free(&mut self, number: u32) {
        self.free.push(number);
    }

    /// What is in all slots, be they free or not.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.slots.iter()
    }

    const fn mask(&self) -> usize {
        self.buckets.len() - 1
    }

    /// Where an item of this hash would stand if nobody else did.
    const fn home(&self, hash: u32) -> usize {
        hash as usize & self.mask()
    }

    const fn next(&self, index: usize) -> usize {
        (index + 1) & self.mask()
    }

    const fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key whose hash is its last digit.
    #[derive(Clone, Copy)]
    struct Number(u32);

    impl Item for Number {
        type Key = u32;

        fn key(&self) -> &u32 {
            &self.0
        }

        fn hash(&self) -> u32 {
            self.0 % 10
        }
    }

    fn find(directory: &Directory<Number>, key: u32) -> Option<u32> {
        let found = directory.find(&key, key % 10)?;
        assert_eq!(*directory.at(found).key(), key);
        Some(found)
    }

    #[test]
    fn whatever_goes_the_others_are_found() {
        // All orders of going, of keys that crowd at the end of the table and beyond.
        let keys = [6, 7, 16, 5, 17, 8];
        for order in 0..720 {
            let mut directory = Directory::new(4 + 2, Number(0));
            for key in keys {
                assert!(find(&directory, key).is_none());
                let number = directory.add(Number(key)).unwrap();
                assert!(find(&directory, key).is_none());
                directory.link(number);
            }
            assert!(directory.is_full() && directory.add(Number(1)).is_none());
            let (mut left, mut order) = (keys.to_vec(), order);
            while !left.is_empty() {
                let gone = left.swap_remove(order % left.len());
                order /= left.len() + 1;
                let number = find(&directory, gone).unwrap();
                directory.unlink(number);
                directory.free(number);
                assert!(find(&directory, gone).is_none());
                assert!(left.iter().all(|key| find(&directory, *key).is_some()), "{left:?} without {gone}");
            }
        }
    }
}
