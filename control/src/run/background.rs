//! Work on a thread of its own, so that the control thread goes on with its own: it hears an event when the work is done.

use std::io;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};

use super::Event;

/// Work that is under way.
pub struct Background<T>(JoinHandle<T>);

/// What a piece of work is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The start of the daemon.
    Start,
    /// A reload.
    Reload,
    /// A change of what is followed.
    Routes,
    /// Changes of sets.
    Sets,
}

/// Says that the work is done, whether it came to its end or panicked.
struct Bell(SyncSender<Event>, Work);

impl Drop for Bell {
    fn drop(&mut self) {
        // Where nobody listens any more, nobody waits for the work.
        let _ = self.0.send(Event::Done(self.1));
    }
}

impl<T: Send + 'static> Background<T> {
    /// Begins it; [`Event::Done`] comes behind its end.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        name: &str,
        events: SyncSender<Event>,
        what: Work,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Background<T>> {
        let run = move || {
            let _bell = Bell(events, what);
            work()
        };
        thread::Builder::new().name(name.to_owned()).spawn(run).map(Background)
    }

    /// What has come of it; waits for its end. `None` if it panicked.
    pub fn join(self) -> Option<T> {
        self.0.join().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn its_end_is_an_event_whichever_it_is() {
        let (events, received) = mpsc::sync_channel(4);
        let seven = Background::start("seven", events.clone(), Work::Reload, || 7).unwrap();
        assert!(matches!(received.recv(), Ok(Event::Done(Work::Reload))));
        assert_eq!(seven.join(), Some(7));
        let none = Background::start("none", events, Work::Routes, || -> u8 { panic!("as it is meant to") })
            .unwrap();
        assert!(matches!(received.recv(), Ok(Event::Done(Work::Routes))));
        assert_eq!(none.join(), None);
    }
}
