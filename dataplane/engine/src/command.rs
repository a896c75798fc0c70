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
//! use sluice_engine::command::{Answer, Command, Page, channel};
//!
//! let (mut controller, _inbox) = channel(); // the inbox goes to Worker::run
//! let mut page = Box::new(Page::from_start());
//! loop {
//!     let answer = controller.ask(Command::List(page), Duration::from_secs(1))?;
//!     let Answer::Listed(listed) = answer else { break };
//!     for (_id, entry) in listed.entries() {
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

use std::fmt;
use std::time::{Duration, Instant as Monotonic};

use rtrb::{Consumer, Producer, PushError, RingBuffer};
use sluice_conntrack::counters::{Counters, RuleCounter};
use sluice_conntrack::entry::EntryId;
use sluice_conntrack::forward::MAX_PORTS;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::log::LogRecord;
use sluice_conntrack::nat::{NatCounter, PortBlock, SPACES};
use sluice_conntrack::{Configuration, Instant};

use crate::port::PortCounters;
use crate::worker::{Load, Worker};

/// Entries on a page of a listing, and records on a page of the log: as many as a burst has packets.
pub const PAGE: usize = 64;

/// Blocks on a page of ports in use. Each is some ten cache lines from memory, so that a page takes a worker a few tens of
/// microseconds at most.
pub const BLOCKS: usize = 32;

/// Commands that wait, at most.
const WAITING: usize = 16;

/// What a worker can be asked to do.
#[derive(Debug)]
pub enum Command {
    /// Fill the page with entries.
    List(Box<Page>),
    /// Fill in what has been counted.
    Stats(Box<Stats>),
    /// Put this configuration in force.
    Configure(Box<Configuration>),
    /// Fill the page with how many ports of its blocks are in use.
    Ports(Box<PortsPage>),
    /// Fill the page with records of `log` rules, which leave the shard.
    Log(Box<LogPage>),
    /// Receive what waits, then nothing more, and empty the rings from other workers.
    Drain,
    /// End.
    Stop,
}

/// What it says: the box of the command, filled.
#[derive(Debug)]
pub enum Answer {
    /// A page of entries.
    Listed(Box<Page>),
    /// What has been counted.
    Stats(Box<Stats>),
    /// The configuration that was in force before.
    Configured(Box<Configuration>),
    /// A page of ports in use.
    Ports(Box<PortsPage>),
    /// A page of records.
    Logged(Box<LogPage>),
    /// So many packets have moved since the last time this was asked. When no worker has moved any, all are drained.
    Drained(u64),
    /// This was the last answer.
    Stopped,
}

/// One page of the listing of a shard's entries, which may have none and yet not be the last. An entry that is there
/// from the first page to the last is listed once; others may be missing.
#[derive(Debug)]
pub struct Page {
    cursor: u32,
    entries: Vec<(EntryId, EntrySnapshot)>,
    next: Option<u32>,
}

impl Page {
    /// The first page, to be filled.
    pub fn from_start() -> Self {
        Self::from(0)
    }

    /// The page that begins at a place of the table, to be filled.
    pub fn from(place: u32) -> Self {
        Self { cursor: place, entries: Vec::with_capacity(PAGE), next: None }
    }

    /// The entries.
    pub fn entries(&self) -> &[(EntryId, EntrySnapshot)] {
        &self.entries
    }

    /// The place where the page behind this one begins; `None` if this was the last.
    pub const fn next(&self) -> Option<u32> {
        self.next
    }

    /// The page behind this one, to be filled, in the same memory; `None` if this was the last.
    pub fn into_next(mut self: Box<Self>) -> Option<Box<Self>> {
        self.cursor = self.next.take()?;
        self.entries.clear();
        Some(self)
    }
}

/// What a worker has counted since it began.
#[derive(Debug)]
pub struct Stats {
    /// When this was.
    pub at: Instant,
    /// Entries in the table.
    pub entries: u32,
    /// What the shard has counted.
    pub counters: Counters,
    /// What each rule has decided; the last one is the policy's default.
    pub rules: Vec<RuleCounter>,
    /// What each rule for sources has come to.
    pub nat: Vec<NatCounter>,
    /// Tuples that belong to other shards and are steered to this one.
    pub signposts: u32,
    /// What passed each port, by number; zero where there is no port.
    pub ports: [PortCounters; MAX_PORTS],
    /// Packets handed off to other workers.
    pub handed_off: u64,
    /// What the worker's time went into.
    pub load: Load,
}

impl Stats {
    /// To be filled, with room for the counters of `rules` rules and the default, and of `sources` rules for sources.
    pub fn new(rules: usize, sources: usize) -> Self {
        Self {
            at: Instant::default(),
            entries: 0,
            counters: Counters::default(),
            rules: Vec::with_capacity(rules + 1),
            nat: Vec::with_capacity(sources),
            signposts: 0,
            ports: [PortCounters::default(); MAX_PORTS],
            handed_off: 0,
            load: Load::default(),
        }
    }

    /// Adds what another worker has counted under the same configuration.
    pub fn add(&mut self, other: &Self) {
        let Self { at, entries, counters, rules, nat, signposts, ports, handed_off, load } = other;
        self.at = self.at.max(*at);
        self.entries += entries;
        self.counters.add(counters);
        self.rules.resize(self.rules.len().max(rules.len()), RuleCounter::default());
        self.rules.iter_mut().zip(rules).for_each(|(own, more)| own.add(*more));
        self.nat.resize(self.nat.len().max(nat.len()), NatCounter::default());
        self.nat.iter_mut().zip(nat).for_each(|(own, more)| own.add(*more));
        self.signposts += signposts;
        self.ports.iter_mut().zip(ports).for_each(|(own, more)| own.add(*more));
        self.handed_off += handed_off;
        self.load.busy_ns += load.busy_ns;
        self.load.idle_ns += load.idle_ns;
    }
}

/// Blocks of ports, and how many of them a worker's connections use.
#[derive(Debug)]
pub struct PortsPage {
    blocks: Vec<PortBlock>,
    used: Vec<[u32; SPACES]>,
}

impl PortsPage {
    /// A page for these blocks, of which it takes [`BLOCKS`] at most, to be filled.
    pub fn new(blocks: &[PortBlock]) -> Self {
        let blocks: Vec<PortBlock> = blocks.iter().take(BLOCKS).cloned().collect();
        Self { used: Vec::with_capacity(blocks.len()), blocks }
    }

    /// How many ports of each block are in use, in each space.
    pub fn used(&self) -> &[[u32; SPACES]] {
        &self.used
    }
}

/// Records of `log` rules.
#[derive(Debug)]
pub struct LogPage {
    records: Vec<LogRecord>,
}

impl LogPage {
    /// An empty page, to be filled.
    pub fn new() -> Self {
        Self { records: Vec::with_capacity(PAGE) }
    }

    /// The records, oldest first. A full page ([`PAGE`]) has more behind it.
    pub fn records(&self) -> &[LogRecord] {
        &self.records
    }
}

impl Default for LogPage {
    fn default() -> Self {
        Self::new()
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The worker has ended.
    Gone,
    /// The worker did not answer in time, or too many commands wait for it.
    Late,
}

impl Controller {
    /// Gives a command to the worker and waits for its answer, at most `patience`. For control threads: it sleeps.
    ///
    /// # Errors
    /// The worker has ended, or is late. What the command carried is lost then.
    pub fn ask(&mut self, command: Command, patience: Duration) -> Result<Answer, Unanswered> {
        self.tell(command)?;
        self.hear(patience)
    }

    /// Whether the next [`Controller::tell`] succeeds.
    ///
    /// # Errors
    /// The worker has ended, or too many commands wait for it.
    pub fn ready(&self) -> Result<(), Unanswered> {
        if self.commands.is_full() || self.answers.is_abandoned() { Err(self.unanswered()) } else { Ok(()) }
    }

    /// Gives a command to the worker, which carries it out sooner or later. Its answer is to be [heard](Self::hear).
    ///
    /// # Errors
    /// The worker has ended, or too many commands wait for it. What the command carried is lost then.
    pub fn tell(&mut self, command: Command) -> Result<(), Unanswered> {
        self.commands.push(command).map_err(|PushError::Full(_)| self.unanswered())
    }

    /// Waits for the answer to the command that was told, at most `patience`. For control threads: it sleeps.
    ///
    /// # Errors
    /// The worker has ended, or is late: its answer is lost then, but not the command.
    pub fn hear(&mut self, patience: Duration) -> Result<Answer, Unanswered> {
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

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the worker has ended",
            Self::Late => "the worker does not answer",
        })
    }
}

impl std::error::Error for Unanswered {}

/// The worker's end.
#[derive(Debug)]
pub struct Inbox {
    commands: Consumer<Command>,
    answers: Producer<Answer>,
}

impl Inbox {
    /// Carries out one command, if one waits and there is room for its answer. False when that was the last: the
    /// worker is to stop, or nobody is left to ask it anything.
    pub fn serve(&mut self, worker: &mut Worker) -> bool {
        if self.commands.is_empty() {
            return !self.commands.is_abandoned();
        }
        if self.answers.is_full() {
            return true;
        }
        let Ok(command) = self.commands.pop() else { return true };
        let answer = worker.answer(command);
        let last = matches!(answer, Answer::Stopped);
        // There is room, and this is the only producer.
        let pushed = self.answers.push(answer);
        debug_assert!(pushed.is_ok());
        !last
    }
}

impl Worker {
    /// Carries out a command. Bounded work, no allocation, nothing freed.
    pub fn answer(&mut self, command: Command) -> Answer {
        match command {
            Command::List(mut page) => {
                let Page { cursor, entries, .. } = &mut *page;
                entries.clear();
                let most = entries.capacity().min(PAGE) as u32;
                page.next = self.shard().list(*cursor, most, |id, entry| entries.push((id, entry)));
                Answer::Listed(page)
            }
            Command::Stats(mut stats) => {
                self.fill(&mut stats);
                Answer::Stats(stats)
            }
            Command::Configure(configuration) => Answer::Configured(self.configure(configuration)),
            Command::Ports(mut page) => {
                let PortsPage { blocks, used } = &mut *page;
                let pools = &self.shard().configuration().pools;
                used.clear();
                used.extend(blocks.iter().map(|block| pools.used(block)));
                Answer::Ports(page)
            }
            Command::Log(mut page) => {
                let LogPage { records } = &mut *page;
                records.clear();
                let most = records.capacity().min(PAGE);
                let log = self.shard_mut().log();
                records.extend(std::iter::from_fn(|| log.pop()).take(most));
                Answer::Logged(page)
            }
            Command::Drain => Answer::Drained(self.drain()),
            Command::Stop => Answer::Stopped,
        }
    }

    fn fill(&self, stats: &mut Stats) {
        let shard = self.shard();
        stats.at = shard.now();
        stats.entries = shard.len();
        stats.counters.clone_from(shard.counters());
        stats.rules.clear();
        let room = stats.rules.capacity();
        stats.rules.extend(shard.configuration().rule_counters.iter().take(room));
        stats.nat.clear();
        let room = stats.nat.capacity();
        stats.nat.extend(shard.configuration().nat_counters.iter().take(room));
        stats.signposts = shard.signposts();
        for (place, counters) in stats.ports.iter_mut().zip(self.port_counters()) {
            *place = counters;
        }
        stats.handed_off = self.handed_off();
        stats.load = self.load();
    }
}
