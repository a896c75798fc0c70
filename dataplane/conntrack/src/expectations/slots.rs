//! The slots of a table of expectations: what lies in each, and what links it to others.

use super::expectation::Expectation;
use crate::time::Tick;
use crate::wheel::{Timer, Timers};
use sluice_memory::Arena;
use std::io;
use zerocopy::FromZeros;

/// One slot, free where nothing is chained in it.
#[derive(Clone, Copy, Debug, FromZeros)]
pub(super) struct Slot {
    pub(super) expectation: Expectation,
    pub(super) generation: u32,
    pub(super) timer: Timer,
    pub(super) is_chained: bool,
    /// The next in its bucket, or of the free slots.
    pub(super) next: u32,
    /// Of an own expectation: the number of the master's entry, and the neighbours among those of the same master.
    pub(super) master: u32,
    pub(super) older: u32,
    pub(super) newer: u32,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Slots(Arena<Slot>);

impl Slots {
    /// So many, all free.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(super) fn new(slots: u32) -> io::Result<Self> {
        Arena::sparse(slots as usize).map(Self)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Slot> {
        self.0.get(slot as usize)
    }

    pub(super) fn at(&self, slot: u32) -> &Slot {
        &self.0[slot as usize]
    }

    pub(super) fn at_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.0[slot as usize]
    }
}

impl Timers for Slots {
    fn deadline(&self, slot: u32) -> Tick {
        self.at(slot).expectation.deadline
    }

    fn deadline_mut(&mut self, slot: u32) -> &mut Tick {
        &mut self.at_mut(slot).expectation.deadline
    }

    fn timer(&self, slot: u32) -> &Timer {
        &self.at(slot).timer
    }

    fn timer_mut(&mut self, slot: u32) -> &mut Timer {
        &mut self.at_mut(slot).timer
    }
}
