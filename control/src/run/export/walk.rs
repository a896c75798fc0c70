//! A walk past all connections that there are, page by page: a little in each of the control thread's rounds.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use sluice_conntrack::listing::EntrySnapshot;
use sluice_engine::command::Unanswered;
use sluice_engine::report::Page;

use crate::run::workers::Workers;

/// How much of the control thread's second it may take.
const SHARE: Duration = Duration::from_millis(50);

/// Pages that wait for the thread that takes them, at most.
const WAITING: usize = 1024;

/// The walk.
pub struct Walk {
    /// The slot of a shard's where it goes on; `None` while it rests.
    at: Option<(u16, u32)>,
    pages: SyncSender<Vec<EntrySnapshot>>,
}

impl Walk {
    /// One that rests; what is called on it comes out at the other end.
    pub fn new() -> (Walk, Receiver<Vec<EntrySnapshot>>) {
        let (pages, called) = mpsc::sync_channel(WAITING);
        (Walk { at: None, pages }, called)
    }

    /// Begins with the first ones, wherever it is.
    pub const fn begin(&mut self) {
        self.at = Some((0, 0));
    }

    /// Whether it has come to the end.
    pub const fn is_over(&self) -> bool {
        self.at.is_none()
    }

    /// Calls the next ones, for as long as it may take and about as many as `most`.
    ///
    /// # Errors
    /// A worker does not answer.
    pub fn go_on(
        &mut self,
        workers: &mut Workers,
        most: usize,
        is_called: impl Fn(&EntrySnapshot) -> bool,
    ) -> Result<(), Unanswered> {
        let (began, mut count) = (Instant::now(), 0);
        while let Some((shard, cursor)) = self.at
            && began.elapsed() < SHARE
            && count < most
        {
            let Some(page) = workers.list(shard, Box::new(Page::from(cursor))) else {
                self.at = None;
                break;
            };
            let page = page?;
            let entries = page.items().iter().map(|(_, entry)| entry);
            let called: Vec<_> =
                entries.filter(|entry| !entry.is_standby && is_called(entry)).copied().collect();
            count += called.len();
            // Where the queue is full, this page is called again.
            if !called.is_empty() && self.pages.try_send(called).is_err() {
                break;
            }
            self.at = Some(page.next().map_or((shard + 1, 0), |next| (shard, next)));
        }
        Ok(())
    }
}
