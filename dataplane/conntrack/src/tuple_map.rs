//! A map from tuples to something small, with a fixed number of slots that take memory only where they are used.
//!
//! Two things are kept in one: *signposts*, the reply tuples that belong to connections of other shards
//! ([`crate::exchange`]), and *mappings*, the translations that hold for whatever a client sends from one port
//! ([`crate::nat`]). Neither has timers: they go with the connections that they are for.

use crate::entries::NONE;
use crate::index::{Hash, Index};
use crate::tuple::{Selector, Tuple};
use sluice_memory::Arena;
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One slot of the arena.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Slot<T> {
    addresses: [u128; 2],
    selector: Selector,
    /// The next of the slots given back.
    next: u32,
    value: T,
}

/// What a map can hold: plain numbers.
pub(crate) trait Value: Copy + FromBytes + IntoBytes + Immutable {}

impl<T: Copy + FromBytes + IntoBytes + Immutable> Value for T {}

/// The map.
#[derive(Debug)]
pub(crate) struct TupleMap<T> {
    index: Index,
    slots: Arena<Slot<T>>,
    /// First of the slots given back.
    free: u32,
    /// Slots from here on have never been taken.
    untouched: u32,
    len: u32,
}

impl<T: Value> TupleMap<T> {
    /// Room for `capacity` tuples; the index is keyed by `seed`.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn new(capacity: u32, seed: [u64; 4]) -> io::Result<Self> {
        Ok(Self {
            index: Index::sparse(capacity, seed)?,
            slots: Arena::sparse(capacity as usize)?,
            free: NONE,
            untouched: 0,
            len: 0,
        })
    }

    /// How many tuples there are.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// Bytes of memory behind it, about: the slots that were ever taken, and their part of the index.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.untouched as usize * (size_of::<Slot<T>>() + Index::BYTES_PER_ENTRY)
    }

    fn hash(&self, tuple: &Tuple) -> Hash {
        self.index.hash(tuple, tuple.selector.invert())
    }

    fn find(&self, hash: Hash, tuple: &Tuple) -> Option<u32> {
        let fits = |slot: u32| {
            let slot = self.slots.get(slot as usize)?;
            (slot.selector == tuple.selector && slot.addresses == [tuple.src, tuple.dst]).then_some(())
        };
        self.index.find(hash, fits).map(|(slot, ())| slot)
    }

    /// What is kept for a tuple.
    #[inline]
    pub(crate) fn get(&self, tuple: &Tuple) -> Option<T> {
        if self.len == 0 { None } else { self.look_up(tuple) }
    }

    fn look_up(&self, tuple: &Tuple) -> Option<T> {
        let slot = self.find(self.hash(tuple), tuple)?;
        self.slots.get(slot as usize).map(|slot| slot.value)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, tuple: &Tuple) -> Option<&mut T> {
        let slot = self.find(self.hash(tuple), tuple)?;
        self.slots.get_mut(slot as usize).map(|slot| &mut slot.value)
    }

    /// Keeps a value for a tuple. False where there is one already, or no room.
    #[must_use]
    pub(crate) fn insert(&mut self, tuple: &Tuple, value: T) -> bool {
        let hash = self.hash(tuple);
        if self.find(hash, tuple).is_some() {
            return false;
        }
        let number = if self.free != NONE { self.free } else { self.untouched };
        let Some(slot) = self.slots.get_mut(number as usize) else { return false };
        if !self.index.insert(hash, number) {
            return false;
        }
        if number == self.untouched {
            self.untouched += 1;
        } else {
            self.free = slot.next;
        }
        *slot = Slot { addresses: [tuple.src, tuple.dst], selector: tuple.selector, next: NONE, value };
        self.len += 1;
        true
    }

    /// Forgets a tuple.
    pub(crate) fn remove(&mut self, tuple: &Tuple) {
        let hash = self.hash(tuple);
        let Some(number) = self.find(hash, tuple) else { return };
        self.index.remove(hash, number);
        if let Some(slot) = self.slots.get_mut(number as usize) {
            slot.selector = Selector::default();
            slot.next = std::mem::replace(&mut self.free, number);
            self.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(port: u16) -> Tuple {
        Tuple::new([198, 51, 100, 2].into(), [203, 0, 113, 1].into(), 17, 53, port)
    }

    fn map(capacity: u32) -> TupleMap<u16> {
        TupleMap::new(capacity, [1, 2, 3, 4]).unwrap()
    }

    #[test]
    fn one_tuple_has_one_value_for_one_direction() {
        let mut map = map(10);
        assert!(map.insert(&tuple(1), 5));
        assert!(!map.insert(&tuple(1), 6));
        assert_eq!((map.get(&tuple(1)), map.get(&tuple(1).invert()), map.len()), (Some(5), None, 1));
        *map.get_mut(&tuple(1)).unwrap() = 7;
        assert_eq!(map.get(&tuple(1)), Some(7));
        map.remove(&tuple(1));
        assert_eq!((map.get(&tuple(1)), map.len()), (None, 0));
    }

    #[test]
    fn slots_are_used_again() {
        let mut map = map(3);
        for round in 0..5 {
            for port in 0..3 {
                assert!(map.insert(&tuple(round * 3 + port), port));
            }
            assert!(!map.insert(&tuple(99), 1), "all slots are taken");
            for port in 0..3 {
                assert_eq!(map.get(&tuple(round * 3 + port)), Some(port));
                map.remove(&tuple(round * 3 + port));
            }
        }
    }
}
