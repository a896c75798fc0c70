//! While the daemon starts, which takes long where tables are large: a signal ends it all the same, and whoever asks hears
//! that it is not there yet.

use std::sync::mpsc::{Receiver, SyncSender};

use super::background::{Background, Work};
use super::{Event, RunError};
use crate::socket::protocol::Response;

/// The events of a daemon that starts.
pub struct Startup<'a> {
    events: SyncSender<Event>,
    received: &'a Receiver<Event>,
    /// Whether the configuration is to be read anew as soon as the daemon runs.
    pub reload: bool,
}

impl<'a> Startup<'a> {
    /// Over the channel that signals and clients send to.
    pub fn new(events: SyncSender<Event>, received: &'a Receiver<Event>) -> Startup<'a> {
        Startup { events, received, reload: false }
    }

    /// Has something done that may take long and cannot be interrupted, and waits for it or for the signal to stop, in which
    /// case it ends with the process.
    ///
    /// # Errors
    /// [`RunError::Stopped`] by a signal; there is no thread; the work has panicked.
    pub fn wait_for<T: Send + 'static>(
        &mut self,
        what: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RunError> {
        let failed = |why: String| RunError::Other(format!("{what}: {why}"));
        let work = Background::start(what, self.events.clone(), Work::Start, work)
            .map_err(|why| failed(why.to_string()))?;
        while let Ok(event) = self.received.recv() {
            if matches!(event, Event::Done(_)) {
                return work.join().ok_or_else(|| failed("the thread panicked".to_owned()));
            }
            self.receive(event)?;
        }
        Err(RunError::Stopped)
    }

    /// Goes on, unless a signal says to stop: between two steps that take no long time.
    ///
    /// # Errors
    /// [`RunError::Stopped`].
    pub fn go_on(&mut self) -> Result<(), RunError> {
        while let Ok(event) = self.received.try_recv() {
            self.receive(event)?;
        }
        Ok(())
    }

    fn receive(&mut self, event: Event) -> Result<(), RunError> {
        match event {
            Event::Stop => return Err(RunError::Stopped),
            Event::Reload => self.reload = true,
            Event::Call(call) => {
                let message = "the daemon is starting; try again".to_owned();
                // A client that has gone away wants no answer.
                let _ = call.reply.send(Response::Error { message });
            }
            // Nothing is followed yet.
            Event::Done(_) | Event::Followed(..) | Event::Peer => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::socket::Call;
    use crate::socket::protocol::Request;

    #[test]
    fn a_signal_ends_what_cannot_be_interrupted() {
        let (events, received) = mpsc::sync_channel(4);
        let mut startup = Startup::new(events.clone(), &received);
        let (_never, forever) = mpsc::channel::<()>();
        events.send(Event::Stop).unwrap();
        let ended = startup.wait_for("tables", move || forever.recv());
        assert!(matches!(ended, Err(RunError::Stopped)), "{ended:?}");
        events.send(Event::Stop).unwrap();
        assert!(matches!(startup.go_on(), Err(RunError::Stopped)));
    }

    #[test]
    fn who_asks_meanwhile_is_told_so_and_a_reload_is_kept() {
        let (events, received) = mpsc::sync_channel(4);
        let mut startup = Startup::new(events.clone(), &received);
        let (reply, answers) = mpsc::sync_channel(1);
        events.send(Event::Call(Call { request: Request::Count, reply })).unwrap();
        events.send(Event::Reload).unwrap();
        assert_eq!(startup.wait_for("tables", || 7).unwrap(), 7);
        assert!(matches!(answers.recv(), Ok(Response::Error { message }) if message.contains("starting")));
        assert!(startup.reload && startup.go_on().is_ok());
        let panicked = startup.wait_for("tables", || -> u8 { panic!("as it is meant to") });
        assert!(panicked.unwrap_err().to_string().contains("tables: the thread panicked"));
    }
}
