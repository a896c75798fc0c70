//! How other threads speak to a worker: two rings with one producer and one consumer each.
//!
//! A [`Controller`] puts a [`Command`] into the first ring; the worker takes at most one per round and puts its
//! [`Answer`] into the second. Neither side ever waits for a lock. Whatever needs memory is allocated by the
//! controller, filled by the worker and freed by the controller again, and no command is more work than a burst of
//! packets: a listing is asked for page by page.
//!
//! ```no_run
//! # fn main() -> Result<(), sluice_engine::command::Unanswered> {
//! use std::time::Duration;
//! use sluice_engine::command::{Answer, Command, channel};
//! use sluice_engine::report::Page;
//!
//! let (mut controller, _inbox) = channel(); // the inbox goes to Worker::run
//! let mut page = Box::new(Page::from_start());
//! loop {
//!     let answer = controller.ask(Command::List(page), Duration::from_secs(1))?;
//!     let Answer::Listed(listed) = answer else { break };
//!     for (_id, entry) in listed.items() {
//!         println!("{:?}", entry.original);
//!     }
//!     page = match listed.into_next() {
//!         Some(next) => next,
//!         None => break,
//!     };
//! }
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant as Monotonic};

use rtrb::{Consumer, Producer, PushError, RingBuffer};
use sluice_conntrack::cut::Change;
use sluice_conntrack::events::{EventSender, ExpectationSender};
use sluice_conntrack::expectations::{ExpectationId, Unexpected, Wanted};
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::replica::{Connection, Installed, Installing, NotInstalled, Record};
use sluice_conntrack::{Configuration, EntryUpdate, Installation, NewEntry, NotInserted, Tuple};
use thiserror::Error;

use crate::neighbour::NeighbourSnapshot;
use crate::report::{
    ListedChange, ListedEntry, ListedExpectation, LogPage, Page, PortsUsedPage, SourceSample, Stats,
};
pub use crate::role_change::RoleChange;
use crate::watch::Watch;

/// Commands that wait, at most.
const WAITING: usize = 16;

/// What a worker can be asked to do.
#[derive(Debug)]
pub enum Command {
    /// Fill the page with entries.
    List(Box<Page<ListedEntry>>),
    /// Fill the page with connections that a change does something to.
    ListChanged(Box<Page<ListedChange>>, Arc<Change>),
    /// Fill the page with records of connections.
    Export(Box<Page<Record>>),
    /// Tell of the connection of this tuple as it is told to others.
    ExportOne(Tuple),
    /// Put the entry of this tuple into the list, which has room for one.
    Get(Tuple, Vec<ListedEntry>),
    /// Delete these, a page at most.
    Delete(Vec<ListedEntry>),
    /// Change these, a page at most.
    Update(Vec<ListedEntry>, EntryUpdate),
    /// Make an entry, if its original tuple is this shard's.
    Insert(Box<NewEntry>),
    /// Do what these records say, a page of them at most.
    Install(Vec<ToInstall>),
    /// Fill the page with what the shard expects.
    ListExpectations(Box<Page<ListedExpectation>>),
    /// Expect something for the connection of this original tuple, if that is this shard's.
    Expect(Tuple, Wanted),
    /// Expect these no more.
    Unexpect(Vec<ExpectationId>),
    /// Tell this listener, or none, of connections that begin, change and end.
    Listen(Option<Box<EventSender>>),
    /// Tell this listener, or none, of expectations that begin and end.
    ListenToExpectations(Option<Box<ExpectationSender>>),
    /// Watch packets for whoever has this slot, or none any more.
    Watch(usize, Option<Box<Watch>>),
    /// Fill in what has been counted.
    Stats(Box<Stats>),
    /// Put this configuration in force.
    Configure(Box<Installation>),
    /// Put this configuration in force, which differs from the present one in routes, addresses and neighbours alone.
    Reroute(Box<Installation>),
    /// Put this configuration in force, which differs from the present one in its timeouts or in which helpers are on alone.
    Amend(Arc<Configuration>),
    /// Be this for a group.
    Role(Box<RoleChange>),
    /// Fill the page with how many ports of its blocks are in use.
    PortsUsed(Box<PortsUsedPage>),
    /// Fill the sample with who has made connections.
    SampleSources(Box<SourceSample>),
    /// Fill the page with neighbours.
    Neighbours(Box<Page<NeighbourSnapshot>>),
    /// Fill the page with records of `log` rules, which leave the shard.
    Log(Box<LogPage>),
    /// Receive what waits, then nothing more, and empty the rings from other workers.
    Drain,
    /// End.
    Stop,
}

/// A record on its way into the table, and what became of it, if it was tried.
pub type ToInstall = (Installing, Option<Result<Installed, NotInstalled>>);

/// What it says: the box of the command, filled.
#[derive(Debug)]
pub enum Answer {
    /// A page of entries.
    Listed(Box<Page<ListedEntry>>),
    /// A page of connections that the change does something to.
    ChangedListed(Box<Page<ListedChange>>, Arc<Change>),
    /// A page of records.
    Exported(Box<Page<Record>>),
    /// The connection, if the shard has one that can be told of.
    ExportedOne(Option<Connection>),
    /// Those of the list that were there: as they were at their end, or as they are now.
    Entries(Vec<ListedEntry>),
    /// What became of the entry that was to be made; `None` where it is another shard's.
    Inserted(Box<NewEntry>, Option<Result<EntryId, NotInserted>>),
    /// The list, with what became of each.
    Installed(Vec<ToInstall>),
    /// A page of expectations.
    ExpectationsListed(Box<Page<ListedExpectation>>),
    /// What became of it; `None` where the shard has no such connection.
    Expected(Option<Result<ExpectationId, Unexpected>>),
    /// Those of the list that had been expected until then.
    Unexpected(Vec<ExpectationId>),
    /// That is told. This is the listener before.
    Listening(Option<Box<EventSender>>),
    /// That is told. This is the listener before.
    ListeningToExpectations(Option<Box<ExpectationSender>>),
    /// They are watched. This is what was watched in the slot before.
    Watching(Option<Box<Watch>>),
    /// What has been counted.
    Stats(Box<Stats>),
    /// The configuration that was in force before, and what its rules have come to.
    Configured(Box<Installation>),
    /// They are in force. This is the configuration before.
    Rerouted(Box<Installation>),
    /// It is in force. This is the configuration before.
    Amended(Arc<Configuration>),
    /// The box is that for the group.
    RoleChanged(Box<RoleChange>),
    /// A page of ports in use.
    PortsUsed(Box<PortsUsedPage>),
    /// The sample is filled.
    SourcesSampled(Box<SourceSample>),
    /// A page of neighbours.
    Neighbours(Box<Page<NeighbourSnapshot>>),
    /// A page of records.
    Logged(Box<LogPage>),
    /// So many packets have moved since the last time this was asked. When no worker has moved any, all are drained.
    Drained(u64),
    /// This was the last answer.
    Stopped,
}

/// Two rings between a controller and a worker.
pub fn channel() -> (Controller, Inbox) {
    let (commands, inbox) = RingBuffer::new(WAITING);
    let (outbox, answers) = RingBuffer::new(WAITING);
    (Controller { commands, answers, overdue: 0 }, Inbox { commands: inbox, answers: outbox })
}

/// The end that asks. Answers come in the order of the commands.
#[derive(Debug)]
pub struct Controller {
    commands: Producer<Command>,
    answers: Consumer<Answer>,
    /// Answers that nobody waits for any more.
    overdue: usize,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// The worker has ended.
    #[error("the worker has ended")]
    Gone,
    /// The worker did not answer in time, or too many commands wait for it.
    #[error("the worker does not answer in time")]
    Late,
}

impl Controller {
    /// Gives a command to the worker and waits for its answer, at most `patience`. For control threads: it sleeps.
    ///
    /// # Errors
    /// The worker has ended, or is late. What the command carried is lost then.
    pub fn ask(&mut self, command: Command, patience: Duration) -> Result<Answer, Unanswered> {
        self.send(command)?;
        self.receive(patience)
    }

    /// Whether the next [`Controller::send`] succeeds.
    ///
    /// # Errors
    /// The worker has ended, or too many commands wait for it.
    pub fn ready(&self) -> Result<(), Unanswered> {
        if self.commands.is_full() || self.answers.is_abandoned() { Err(self.unanswered()) } else { Ok(()) }
    }

    /// Gives a command to the worker, which carries it out sooner or later. Its answer is to be [received](Self::receive).
    ///
    /// # Errors
    /// The worker has ended, or too many commands wait for it. What the command carried is lost then.
    pub fn send(&mut self, command: Command) -> Result<(), Unanswered> {
        self.commands.push(command).map_err(|PushError::Full(_)| self.unanswered())
    }

    /// Waits for the answer to the command that was sent, at most `patience`. For control threads: it sleeps.
    ///
    /// # Errors
    /// The worker has ended, or is late: its answer is lost then, but not the command.
    pub fn receive(&mut self, patience: Duration) -> Result<Answer, Unanswered> {
        let since = Monotonic::now();
        loop {
            match self.answers.pop() {
                Ok(_) if self.overdue > 0 => self.overdue -= 1,
                Ok(answer) => return Ok(answer),
                Err(_) if self.answers.is_abandoned() && self.answers.is_empty() => {
                    return Err(Unanswered::Gone);
                }
                Err(_) if since.elapsed() > patience => {
                    self.overdue += 1;
                    return Err(Unanswered::Late);
                }
                Err(_) => std::thread::sleep(Duration::from_micros(20)),
            }
        }
    }

    fn unanswered(&self) -> Unanswered {
        if self.answers.is_abandoned() { Unanswered::Gone } else { Unanswered::Late }
    }
}

/// The worker's end.
#[derive(Debug)]
pub struct Inbox {
    commands: Consumer<Command>,
    answers: Producer<Answer>,
}

impl Inbox {
    /// Has `answer` carry out one command, if one waits and there is room for its answer. False when that was the last:
    /// the worker is to stop, or nobody is left to ask it anything.
    pub fn serve(&mut self, answer: impl FnOnce(Command) -> Answer) -> bool {
        if self.commands.is_empty() {
            return !self.commands.is_abandoned();
        }
        if self.answers.is_full() {
            return true;
        }
        let Ok(command) = self.commands.pop() else { return true };
        let answer = answer(command);
        let last = matches!(answer, Answer::Stopped);
        // There is room, and this is the only producer.
        let pushed = self.answers.push(answer);
        debug_assert!(pushed.is_ok());
        !last
    }
}
