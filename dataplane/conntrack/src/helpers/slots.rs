//! A fixed number of slots, taken and given back in constant time, that take memory only once they are used.

use sluice_memory::Arena;
use std::io;
use zerocopy::FromZeros;

/// A slot that is taken: its number plus one, so that zeros are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(transparent)]
pub(crate) struct Slot(u32);

impl Slot {
    /// No slot.
    pub(crate) const NONE: Self = Self(0);

    /// Its number plus one, or 0.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }
}

/// The slots.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    arena: Arena<T>,
    /// Slots given back. It never grows beyond what it was made with.
    free: Vec<u32>,
    /// All from this one on were never taken.
    fresh: u32,
}

impl<T: FromZeros> Slots<T> {
    /// So many slots.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn new(slots: u32) -> io::Result<Self> {
        let arena = Arena::sparse(slots as usize)?;
        Ok(Self { arena, free: Vec::with_capacity(slots as usize), fresh: 0 })
    }

    /// Takes a slot, with zeros in it; [`Slot::NONE`] where all are taken.
    pub(crate) fn take(&mut self) -> Slot {
        let number = self.free.pop().or_else(|| {
            let is_left = (self.fresh as usize) < self.arena.len();
            self.fresh += u32::from(is_left);
            is_left.then(|| self.fresh - 1)
        });
        let Some(number) = number else { return Slot::NONE };
        self.arena[number as usize].zero();
        Slot(number + 1)
    }

    /// Gives a slot back, if it is one, and leaves none.
    pub(crate) fn give_back(&mut self, slot: &mut Slot) {
        if let Some(number) = std::mem::take(slot).0.checked_sub(1) {
            self.free.push(number);
        }
    }

    /// What is in a slot.
    pub(crate) fn get(&self, slot: Slot) -> Option<&T> {
        self.arena.get(slot.0.checked_sub(1)? as usize)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.arena.get_mut(slot.0.checked_sub(1)? as usize)
    }

    /// How many are taken.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.fresh as usize - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_one_owners_until_it_is_given_back() {
        let mut slots = Slots::<u64>::new(2).unwrap();
        let mut taken = [slots.take(), slots.take()];
        assert_eq!((slots.take(), slots.len()), (Slot::NONE, 2));
        for (value, slot) in taken.iter().enumerate() {
            *slots.get_mut(*slot).unwrap() = 7 + value as u64;
        }
        assert_eq!(taken.map(|slot| slots.get(slot).copied()), [Some(7), Some(8)]);
        slots.give_back(&mut taken[0]);
        slots.give_back(&mut taken[0]);
        assert_eq!((taken[0], slots.len()), (Slot::NONE, 1));
        let again = slots.take();
        assert_eq!((slots.get(again), slots.len()), (Some(&0), 2), "it begins with zeros");
        assert_eq!(slots.take(), Slot::NONE);
        assert_eq!(slots.get(Slot::NONE), None);
    }
}
