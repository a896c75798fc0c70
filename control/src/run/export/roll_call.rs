//! Calls the roll: all translated connections that there are get into the journal once in [`ROLL_CALL`], so that a search need not
//! go back to the begin of one that goes on for days; and at the start, and when the box becomes active for a group, since it goes on with
//! connections then that were another's.

use std::sync::mpsc::Receiver;
use std::time::Instant;

use sluice_conntrack::entry::Status;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_engine::command::Unanswered;

use super::walk::Walk;
use crate::export::journal::ROLL_CALL;
use crate::run::workers::Workers;

/// The roll call.
pub struct RollCall {
    walk: Walk,
    /// When the next one begins.
    next: Instant,
}

impl RollCall {
    /// The first begins at once; what is called comes out at the other end.
    pub fn start() -> (RollCall, Receiver<Vec<EntrySnapshot>>) {
        let (walk, called) = Walk::new();
        (RollCall { walk, next: Instant::now() }, called)
    }

    /// Begins with the next ones, whatever was called so far.
    pub const fn begin(&mut self) {
        self.walk.begin();
    }

    /// Calls the next ones, for as long as it may take.
    ///
    /// # Errors
    /// A worker does not answer.
    pub fn go_on(&mut self, workers: &mut Workers) -> Result<(), Unanswered> {
        if self.walk.is_over() {
            if Instant::now() < self.next {
                return Ok(());
            }
            self.begin();
        }
        self.walk.go_on(workers, usize::MAX, |entry| entry.status.intersects(Status::TRANSLATED))?;
        if self.walk.is_over() {
            self.next = Instant::now() + ROLL_CALL;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_over_calls_the_roll_at_once() {
        let (mut roll_call, _called) = RollCall::start();
        let mut nobody = Workers(Vec::new());
        for _ in 0..2 {
            roll_call.go_on(&mut nobody).unwrap();
            assert!(roll_call.walk.is_over() && roll_call.next > Instant::now());
            roll_call.go_on(&mut nobody).unwrap();
            assert!(roll_call.walk.is_over(), "it has an hour");
            roll_call.begin();
            assert!(!roll_call.walk.is_over());
        }
    }
}
