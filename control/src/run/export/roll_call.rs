//! Calls the roll: all translated connections that there are get into the journal once in [`ROLL_CALL`], so that a search need not
//! go back to the begin of one that goes on for days; and at the start, and when the box becomes active for a group, since it goes on with
//! connections then that were another's.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use sluice_conntrack::entry::Status;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_engine::command::Unanswered;
use sluice_engine::report::Page;

use crate::export::journal::ROLL_CALL;
use crate::run::workers::Workers;

/// How much of the control thread's second it may take.
const SHARE: Duration = Duration::from_millis(50);

/// Pages that wait for the thread that takes them, at most.
const WAITING: usize = 1024;

/// Where it is.
#[derive(Clone, Copy, Debug)]
enum Position {
    /// Until the next one begins.
    Waits(Instant),
    /// At this slot of a shard's.
    At(u16, u32),
}

/// The roll call.
pub struct RollCall {
    position: Position,
    pages: SyncSender<Vec<EntrySnapshot>>,
}

impl RollCall {
    /// The first begins at once; what is called comes out at the other end.
    pub fn start() -> (RollCall, Receiver<Vec<EntrySnapshot>>) {
        let (pages, called) = mpsc::sync_channel(WAITING);
        (RollCall { position: Position::At(0, 0), pages }, called)
    }

    /// Begins with the next ones, whatever was called so far.
    pub const fn begin(&mut self) {
        self.position = Position::At(0, 0);
    }

    /// Calls the next ones, for as long as it may take.
    ///
    /// # Errors
    /// A worker does not answer.
    pub fn go_on(&mut self, workers: &mut Workers) -> Result<(), Unanswered> {
        let began = Instant::now();
        if let Position::Waits(until) = self.position {
            if began < until {
                return Ok(());
            }
            self.begin();
        }
        while let Position::At(shard, cursor) = self.position
            && began.elapsed() < SHARE
        {
            let Some(page) = workers.list(shard, Box::new(Page::from(cursor))) else {
                self.position = Position::Waits(Instant::now() + ROLL_CALL);
                break;
            };
            let page = page?;
            let is_called =
                |entry: &&EntrySnapshot| entry.status.intersects(Status::TRANSLATED) && !entry.is_standby;
            let called: Vec<_> =
                page.items().iter().map(|(_, entry)| entry).filter(is_called).copied().collect();
            // Where the queue is full, this page is called again.
            if !called.is_empty() && self.pages.try_send(called).is_err() {
                break;
            }
            self.position = page.next().map_or(Position::At(shard + 1, 0), |next| Position::At(shard, next));
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
            assert!(matches!(roll_call.position, Position::Waits(until) if until > Instant::now()));
            roll_call.go_on(&mut nobody).unwrap();
            assert!(matches!(roll_call.position, Position::Waits(_)), "it has an hour");
            roll_call.begin();
            assert!(matches!(roll_call.position, Position::At(0, 0)));
        }
    }
}
