//! A fixed number of places, taken and given back in constant time, that take memory only once they are used.

use sluice_memory::Arena;
use std::io;
use zerocopy::FromZeros;

/// A place that is taken: its number plus one, so that zeros are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(transparent)]
pub(crate) struct Place(u32);

impl Place {
    /// No place.
    pub(crate) const NONE: Self = Self(0);
}

/// The places.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    arena: Arena<T>,
    /// Places given back. It never grows beyond what it was made with.
    free: Vec<u32>,
    /// All from this one on were never taken.
    fresh: u32,
}

impl<T: FromZeros> Slots<T> {
    /// So many places.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn new(places: u32) -> io::Result<Self> {
        let arena = Arena::sparse(places as usize)?;
        Ok(Self { arena, free: Vec::with_capacity(places as usize), fresh: 0 })
    }

    /// Takes a place, with zeros in it; [`Place::NONE`] where all are taken.
    pub(crate) fn take(&mut self) -> Place {
        let number = self.free.pop().or_else(|| {
            let is_left = (self.fresh as usize) < self.arena.len();
            self.fresh += u32::from(is_left);
            is_left.then(|| self.fresh - 1)
        });
        let Some(number) = number else { return Place::NONE };
        self.arena[number as usize].zero();
        Place(number + 1)
    }

    /// Gives a place back, if it is one, and leaves none.
    pub(crate) fn give_back(&mut self, place: &mut Place) {
        if let Some(number) = std::mem::take(place).0.checked_sub(1) {
            self.free.push(number);
        }
    }

    /// What is in a place.
    pub(crate) fn get(&self, place: Place) -> Option<&T> {
        self.arena.get(place.0.checked_sub(1)? as usize)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.arena.get_mut(place.0.checked_sub(1)? as usize)
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
    fn each_place_is_one_owners_until_it_is_given_back() {
        let mut slots = Slots::<u64>::new(2).unwrap();
        let mut taken = [slots.take(), slots.take()];
        assert_eq!((slots.take(), slots.len()), (Place::NONE, 2));
        for (value, place) in taken.iter().enumerate() {
            *slots.get_mut(*place).unwrap() = 7 + value as u64;
        }
        assert_eq!(taken.map(|place| slots.get(place).copied()), [Some(7), Some(8)]);
        slots.give_back(&mut taken[0]);
        slots.give_back(&mut taken[0]);
        assert_eq!((taken[0], slots.len()), (Place::NONE, 1));
        let again = slots.take();
        assert_eq!((slots.get(again), slots.len()), (Some(&0), 2), "it begins with zeros");
        assert_eq!(slots.take(), Place::NONE);
        assert_eq!(slots.get(Place::NONE), None);
    }
}
