//! What becomes of connections and of expectations, for whoever asks. Workers tell events only while somebody does.

use sluice_conntrack::events::{Event, EventReceiver, ExpectationEvent, Receiver};
use sluice_engine::command::{Command, Unanswered};

use super::export::Export;
use super::host_time::HostTime;
use super::journal::{Journal, JournalPage};
use super::lines::Lines;
use super::workers::Workers;
use crate::socket::protocol::{EventFilter, ExpectationEventFilter, Response};

/// Events that wait in a worker's ring, at most: those of 50 ms at 300,000 events a second.
const RING: usize = 1 << 14;

/// Events that are kept for clients, at most.
const KEPT: usize = 1 << 15;

/// Where events come from: the workers, or, where those tell it, what exports them.
pub struct Source<'a>(pub &'a mut Workers, pub Option<&'a Export>);

impl Source<'_> {
    fn listen(&mut self) -> Result<Vec<EventReceiver>, Unanswered> {
        match self.1 {
            Some(export) => Ok(export.listen(self.0.count(), RING)),
            None => self.0.listen(Command::Listen, RING),
        }
    }

    fn stop_listening(&mut self) {
        match self.1 {
            Some(export) => export.stop_listening(),
            None => self.0.stop_listening(Command::Listen),
        }
    }
}

/// The events of all workers.
pub struct Events(Journal<EventReceiver>);

impl Events {
    /// None yet.
    pub const fn new(time: HostTime) -> Self {
        Self(Journal::new(KEPT, time))
    }

    /// The events that fit from a number on, as many as an answer has room for; without a number none, from when on there are some.
    pub fn answer(
        &mut self,
        source: &mut Source<'_>,
        filter: &EventFilter,
        lines: &Lines,
        from: Option<u64>,
    ) -> Result<Response, Unanswered> {
        if !self.0.listens() {
            self.0.listen(source.listen()?);
        }
        let line = |shard, event: &Event, at| filter.matches(event).then(|| lines.event(shard, event, at));
        let JournalPage { lines, lost, next } = self.0.page(from, line);
        Ok(Response::Events { lines, lost, next })
    }

    /// Stops listening if nobody has asked for long.
    pub fn look_after(&mut self, source: &mut Source<'_>) {
        if self.0.end_unasked() {
            source.stop_listening();
        }
    }
}

/// What becomes of the expectations of all workers.
pub struct ExpectationEvents(Journal<Receiver<ExpectationEvent>>);

impl ExpectationEvents {
    /// None yet.
    pub const fn new(time: HostTime) -> Self {
        Self(Journal::new(KEPT, time))
    }

    /// As [`Events::answer`].
    pub fn answer(
        &mut self,
        workers: &mut Workers,
        filter: &ExpectationEventFilter,
        lines: &Lines,
        from: Option<u64>,
    ) -> Result<Response, Unanswered> {
        if !self.0.listens() {
            self.0.listen(workers.listen(Command::ListenToExpectations, RING)?);
        }
        let line = |_, event: &ExpectationEvent, at| {
            filter.matches(event).then(|| lines.expectation_event(event, at))
        };
        let JournalPage { lines, lost, next } = self.0.page(from, line);
        Ok(Response::Events { lines, lost, next })
    }

    /// Stops listening if nobody has asked for long.
    pub fn look_after(&mut self, workers: &mut Workers) {
        if self.0.end_unasked() {
            workers.stop_listening(Command::ListenToExpectations);
        }
    }
}
