//! Who listens to what becomes of expectations: one begins where it is announced, and ends once, on the shard that has announced it or on the
//! one whose packet has met it.

use super::expectation::Expectation;
use crate::events::{EventKind, ExpectationEvent, ExpectationSender};
use crate::listing::ExpectationSnapshot;
use crate::shard::Shard;
use std::mem;

impl Shard {
    /// Tells what becomes of expectations to another listener from now on, or to nobody. Gives the one before.
    pub const fn listen_to_expectations(
        &mut self,
        listener: Option<Box<ExpectationSender>>,
    ) -> Option<Box<ExpectationSender>> {
        mem::replace(&mut self.expectation_listener, listener)
    }

    /// Tells whoever listens what becomes of an expectation.
    #[cold]
    pub(super) fn tell_expectation(&mut self, kind: EventKind, expectation: &Expectation) {
        if let Some(listener) = &mut self.expectation_listener {
            let expectation = ExpectationSnapshot::of(expectation, self.now);
            listener.send(ExpectationEvent { at: self.now, kind, expectation });
        }
    }
}
