//! The places of a table of expectations: what lies in each, and what links it to others.

use super::expectation::Expectation;
use crate::time::Tick;
use crate::wheel::{Timer, Timers};
use sluice_memory::Arena;
use std::io;
use zerocopy::FromZeros;

/// One place, free where nothing is chained in it.
#[derive(Clone, Copy, Debug, FromZeros)]
pub(super) struct Place {
    pub(super) expectation: Expectation,
    pub(super) generation: u32,
    pub(super) timer: Timer,
    pub(super) is_chained: bool,
    /// The next in its bucket, or of the free places.
    pub(super) next: u32,
    /// Of an own expectation: the number of the master's entry, and the neighbours among those of the same master.
    pub(super) master: u32,
    pub(super) older: u32,
    pub(super) newer: u32,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Places(Arena<Place>);

impl Places {
    /// So many, all free.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(super) fn new(places: u32) -> io::Result<Self> {
        Arena::sparse(places as usize).map(Self)
    }

    pub(super) fn get(&self, place: u32) -> Option<&Place> {
        self.0.get(place as usize)
    }

    pub(super) fn at(&self, place: u32) -> &Place {
        &self.0[place as usize]
    }

    pub(super) fn at_mut(&mut self, place: u32) -> &mut Place {
        &mut self.0[place as usize]
    }
}

impl Timers for Places {
    fn deadline(&self, place: u32) -> Tick {
        self.at(place).expectation.deadline
    }

    fn deadline_mut(&mut self, place: u32) -> &mut Tick {
        &mut self.at_mut(place).expectation.deadline
    }

    fn timer(&self, place: u32) -> &Timer {
        &self.at(place).timer
    }

    fn timer_mut(&mut self, place: u32) -> &mut Timer {
        &mut self.at_mut(place).timer
    }
}
