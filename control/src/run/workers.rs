//! The workers from the control thread's side: each command goes to all of them at once, and their answers are awaited
//! together.

use std::iter::repeat_with;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dpdk::Burst;
use dpdk::lcore::Lcore;
use sluice_conntrack::cut::Change;
use sluice_conntrack::events::{Receiver, Sender, ring};
use sluice_conntrack::expectations::{ExpectationId, Unexpected, Wanted};
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::nat::{PortBlock, SPACES};
use sluice_conntrack::replica::Connection;
use sluice_conntrack::{
    Configuration, EntryUpdate, Installation, KeptRules, NewEntry, NotInserted, RuleCounters, Tuple,
};
use sluice_engine::command::{Answer, Command, Controller, RoleChange, Unanswered};
use sluice_engine::report::{
    BLOCKS, ListedChange, ListedEntry, ListedExpectation, LogPage, Page, PortsUsedPage, Stats,
};
use sluice_engine::watch::{PacketReceiver, WatchFilter, watch};
use sluice_engine::{NeighbourSnapshot, Worker};
use tracing::warn;

use super::RunError;

/// A worker that has not answered for so long hangs: a round of it takes well below a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often workers are asked whether they have drained: each time empties every ring, so that what is still moving then
/// goes in circles.
const MAX_DRAINS: usize = 64;

/// How long a device has for what its transmit queues hold: a queue of 1024 full frames at 1 Gbit/s.
const LAST_FRAMES: Duration = Duration::from_millis(20);

/// A page that a worker has filled. `None` where there is no such worker.
pub type Filled<T> = Option<Result<Box<Page<T>>, Unanswered>>;

/// A command to tell something to this listener, or to none.
pub type Listen<T> = fn(Option<Box<Sender<T>>>) -> Command;

/// A worker on its core.
pub struct Handle {
    /// What commands go over.
    pub controller: Controller,
    /// Its thread.
    pub lcore: Lcore<Worker>,
}

/// The entries that a worker answers with.
fn entries(answer: Answer) -> Result<Vec<ListedEntry>, Unanswered> {
    if let Answer::Entries(entries) = answer { Ok(entries) } else { Err(Unanswered::Late) }
}

/// That all workers do it, be it later, unless one has ended.
fn unless_gone(answers: &[Result<Answer, Unanswered>]) -> Result<(), Unanswered> {
    let is_gone = answers.iter().any(|answer| matches!(answer, Err(Unanswered::Gone)));
    if is_gone { Err(Unanswered::Gone) } else { Ok(()) }
}

/// All workers, by the number of their shard.
pub struct Workers(pub Vec<Handle>);

impl Workers {
    /// How many there are.
    pub fn count(&self) -> u16 {
        self.0.len() as u16
    }

    /// Has a worker fill a page of entries.
    pub fn list(&mut self, shard: u16, page: Box<Page<ListedEntry>>) -> Filled<ListedEntry> {
        self.ask_one(shard, Command::List(page), |answer| match answer {
            Answer::Listed(page) => Some(page),
            _ => None,
        })
    }

    /// Has a worker fill a page of connections that a change does something to.
    pub fn list_changed(
        &mut self,
        shard: u16,
        page: Box<Page<ListedChange>>,
        change: &Arc<Change>,
    ) -> Filled<ListedChange> {
        self.ask_one(shard, Command::ListChanged(page, Arc::clone(change)), |answer| match answer {
            Answer::ChangedListed(page, _) => Some(page),
            _ => None,
        })
    }

    /// The connection of a tuple as a worker tells others of it, if it can.
    pub fn export_one(&mut self, shard: u16, tuple: &Tuple) -> Result<Option<Connection>, Unanswered> {
        let told = self.ask_one(shard, Command::ExportOne(*tuple), |answer| match answer {
            Answer::ExportedOne(connection) => Some(connection),
            _ => None,
        });
        told.unwrap_or(Ok(None))
    }

    /// The entry that packets of a tuple belong to, and the number of the worker that has it.
    pub fn get(&mut self, tuple: &Tuple) -> Result<Option<(u16, ListedEntry)>, Unanswered> {
        for (shard, worker) in (0..).zip(&mut self.0) {
            let found =
                entries(worker.controller.ask(Command::Get(*tuple, Vec::with_capacity(1)), PATIENCE)?)?;
            if let Some(found) = found.into_iter().next() {
                return Ok(Some((shard, found)));
            }
        }
        Ok(None)
    }

    /// Has a worker delete entries, a page of them at most; gives those that were there.
    pub fn delete(&mut self, shard: u16, listed: Vec<ListedEntry>) -> Result<Vec<ListedEntry>, Unanswered> {
        self.act_on(shard, listed, Command::Delete)
    }

    /// Has a worker change entries, a page of them at most; gives those that were there.
    pub fn update(
        &mut self,
        shard: u16,
        listed: Vec<ListedEntry>,
        update: EntryUpdate,
    ) -> Result<Vec<ListedEntry>, Unanswered> {
        self.act_on(shard, listed, |listed| Command::Update(listed, update))
    }

    fn act_on(
        &mut self,
        shard: u16,
        listed: Vec<ListedEntry>,
        command: impl FnOnce(Vec<ListedEntry>) -> Command,
    ) -> Result<Vec<ListedEntry>, Unanswered> {
        match self.0.get_mut(usize::from(shard)).filter(|_| !listed.is_empty()) {
            Some(worker) => entries(worker.controller.ask(command(listed), PATIENCE)?),
            None => Ok(Vec::new()),
        }
    }

    /// Makes an entry with the worker whose it is.
    pub fn insert(&mut self, new: &NewEntry) -> Result<Result<EntryId, NotInserted>, Unanswered> {
        for worker in &mut self.0 {
            match worker.controller.ask(Command::Insert(Box::new(*new)), PATIENCE)? {
                Answer::Inserted(_, None) => {}
                Answer::Inserted(_, Some(inserted)) => return Ok(inserted),
                _ => return Err(Unanswered::Late),
            }
        }
        Err(Unanswered::Late)
    }

    /// Has a worker fill a page of what it expects.
    pub fn list_expectations(
        &mut self,
        shard: u16,
        page: Box<Page<ListedExpectation>>,
    ) -> Filled<ListedExpectation> {
        self.ask_one(shard, Command::ListExpectations(page), |answer| match answer {
            Answer::ExpectationsListed(page) => Some(page),
            _ => None,
        })
    }

    /// Expects something for the connection of this original tuple, whosever that is; `None` where it is nobody's.
    pub fn expect(
        &mut self,
        master: &Tuple,
        wanted: &Wanted,
    ) -> Result<Option<Result<ExpectationId, Unexpected>>, Unanswered> {
        for worker in &mut self.0 {
            match worker.controller.ask(Command::Expect(*master, *wanted), PATIENCE)? {
                Answer::Expected(None) => {}
                Answer::Expected(expected) => return Ok(expected),
                _ => return Err(Unanswered::Late),
            }
        }
        Ok(None)
    }

    /// Has a worker expect these no more; gives how many it had expected until then.
    pub fn unexpect(&mut self, shard: u16, ids: Vec<ExpectationId>) -> Result<usize, Unanswered> {
        let Some(worker) = self.0.get_mut(usize::from(shard)) else { return Ok(0) };
        match worker.controller.ask(Command::Unexpect(ids), PATIENCE)? {
            Answer::Unexpected(ids) => Ok(ids.len()),
            _ => Err(Unanswered::Late),
        }
    }

    /// Has each worker tell, by this command, what becomes of its connections or expectations, into a ring with room for so many events.
    pub fn listen<T>(&mut self, listen: Listen<T>, room: usize) -> Result<Vec<Receiver<T>>, Unanswered> {
        let (senders, receivers): (Vec<_>, Vec<_>) = self.0.iter().map(|_| ring(room)).unzip();
        let commands = senders.into_iter().map(|sender| listen(Some(Box::new(sender))));
        self.send_to_all(commands).into_iter().collect::<Result<Vec<_>, _>>().map(|_| receivers)
    }

    /// Has none of them tell it any more.
    pub fn stop_listening<T>(&mut self, listen: Listen<T>) {
        self.send_to_all(repeat_with(|| listen(None)));
    }

    /// Has each worker watch packets, so many bytes of each, for a slot, into rings with room for so many and their bytes.
    pub fn watch(
        &mut self,
        slot: usize,
        (filter, snap_bytes): (&WatchFilter, usize),
        room: (usize, usize),
    ) -> Result<Vec<PacketReceiver>, Unanswered> {
        let pairs = self.0.iter().map(|_| watch(filter.clone(), snap_bytes, room, Burst::CAPACITY));
        let (watches, receivers): (Vec<_>, Vec<_>) = pairs.unzip();
        let commands = watches.into_iter().map(|watch| Command::Watch(slot, Some(Box::new(watch))));
        self.send_to_all(commands).into_iter().collect::<Result<Vec<_>, _>>().map(|_| receivers)
    }

    /// Has none of them watch anything for a slot any more.
    pub fn stop_watching(&mut self, slot: usize) {
        self.send_to_all(repeat_with(|| Command::Watch(slot, None)));
    }

    /// Has each worker copy its counters, those of the rules of a configuration among them.
    pub fn stats(&mut self, configuration: &Configuration) -> Result<Vec<Stats>, Unanswered> {
        let answers = self.ask_all(|| Command::Stats(Box::new(Stats::new(configuration))))?;
        let stats =
            |answer| if let Answer::Stats(stats) = answer { Ok(*stats) } else { Err(Unanswered::Late) };
        answers.into_iter().map(stats).collect()
    }

    /// How many ports of each block are in use, in each space: the sum of what the workers count.
    pub fn ports(&mut self, blocks: &[PortBlock]) -> Result<Vec<[u64; SPACES]>, Unanswered> {
        let mut all = vec![[0; SPACES]; blocks.len()];
        for (blocks, all) in blocks.chunks(BLOCKS).zip(all.chunks_mut(BLOCKS)) {
            for answer in self.ask_all(|| Command::PortsUsed(Box::new(PortsUsedPage::new(blocks))))? {
                let Answer::PortsUsed(page) = answer else { return Err(Unanswered::Late) };
                let spaces = all.iter_mut().flatten().zip(page.used().iter().flatten());
                spaces.for_each(|(all, used)| *all += u64::from(*used));
            }
        }
        Ok(all)
    }

    /// The neighbours that each worker knows, page by page.
    pub fn neighbours(&mut self) -> Result<Vec<NeighbourSnapshot>, Unanswered> {
        let mut all = Vec::new();
        for Handle { controller, .. } in &mut self.0 {
            let mut next = Some(Box::new(Page::from_start()));
            while let Some(page) = next {
                let answer = controller.ask(Command::Neighbours(page), PATIENCE)?;
                let Answer::Neighbours(page) = answer else { return Err(Unanswered::Late) };
                all.extend_from_slice(page.items());
                next = page.into_next();
            }
        }
        Ok(all)
    }

    /// Has each worker fill a page of log records.
    pub fn log(&mut self) -> Result<Vec<LogPage>, Unanswered> {
        let answers = self.ask_all(|| Command::Log(Box::new(LogPage::new())))?;
        let page = |answer| if let Answer::Logged(page) = answer { Ok(*page) } else { Err(Unanswered::Late) };
        answers.into_iter().map(page).collect()
    }

    /// Puts a configuration in force with every worker, between two bursts, or with none; what rules that it keeps have come to goes on.
    /// Gives what the rules of the old one have come to, with all workers together.
    ///
    /// A worker that does not answer in time has it all the same, and begins its next round by it.
    ///
    /// # Errors
    /// Some worker has ended, or takes no more commands: none was told.
    pub fn configure(
        &mut self,
        configuration: &Arc<Configuration>,
        kept: &Arc<KeptRules>,
    ) -> Result<RuleCounters, Unanswered> {
        self.ready()?;
        // All memory is there before the first worker hears of it.
        let install = |_| {
            let next = Installation::new(Arc::clone(configuration)).keeping(Arc::clone(kept));
            Command::Configure(Box::new(next))
        };
        let commands: Vec<Command> = self.0.iter().map(install).collect();
        let mut counted = RuleCounters::default();
        for answer in self.send_to_all(commands) {
            match answer {
                Ok(Answer::Configured(old)) => counted.add(&old.rule_counters),
                // It confirms the configuration later.
                Ok(_) | Err(Unanswered::Late) => {}
                Err(Unanswered::Gone) => return Err(Unanswered::Gone),
            }
        }
        Ok(counted)
    }

    /// Puts a configuration in force with every worker, between two bursts, or with none, that differs from the one they have in
    /// routes, addresses and neighbours, or in what its sets hold, alone. One that does not answer in time has it all the same.
    ///
    /// # Errors
    /// Some worker has ended, or takes no more commands: none was told.
    pub fn reroute(&mut self, configuration: &Arc<Configuration>) -> Result<(), Unanswered> {
        self.ready()?;
        let install = |_| Command::Reroute(Box::new(Installation::new(Arc::clone(configuration))));
        let commands: Vec<Command> = self.0.iter().map(install).collect();
        unless_gone(&self.send_to_all(commands))
    }

    /// Puts a configuration in force with every worker, or with none, that differs from the one they have in its timeouts or in
    /// which helpers are on alone. One that does not answer in time has it all the same.
    ///
    /// # Errors
    /// Some worker has ended, or takes no more commands: none was told.
    pub fn amend(&mut self, configuration: &Arc<Configuration>) -> Result<(), Unanswered> {
        self.ready()?;
        unless_gone(&self.send_to_all(repeat_with(|| Command::Amend(Arc::clone(configuration)))))
    }

    /// Has every worker, between two bursts, or none be something else for a group. One that does not answer in time is it all the same.
    ///
    /// # Errors
    /// Some worker has ended, or takes no more commands: none was told.
    pub fn change_role(&mut self, change: impl Fn() -> RoleChange) -> Result<(), Unanswered> {
        self.ready()?;
        unless_gone(&self.send_to_all(repeat_with(|| Command::Role(Box::new(change())))))
    }

    /// Whether each worker takes a command.
    fn ready(&self) -> Result<(), Unanswered> {
        self.0.iter().try_for_each(|worker| worker.controller.ready())
    }

    /// Has all workers send what they have received and receive nothing more.
    pub fn drain(&mut self) {
        for _ in 0..MAX_DRAINS {
            let moved = |answer: &Answer| if let Answer::Drained(moved) = answer { *moved } else { 0 };
            let moved = self.ask_all(|| Command::Drain).map(|answers| answers.iter().map(moved).sum());
            // With a worker that does not answer there is nothing to wait for.
            if moved.unwrap_or(0_u64) == 0 {
                break;
            }
        }
        thread::sleep(LAST_FRAMES);
    }

    /// Ends the workers. Their queues go with them.
    ///
    /// # Errors
    /// A worker has panicked. All others have ended in order.
    pub fn stop(mut self) -> Result<(), RunError> {
        // One that has ended by itself cannot answer; joining it says why.
        self.send_to_all(repeat_with(|| Command::Stop));
        let joined: Vec<bool> = self.0.into_iter().map(|worker| worker.lcore.join().is_ok()).collect();
        match joined.iter().position(|joined| !joined) {
            None => Ok(()),
            Some(number) => Err(RunError::Other(format!("worker {number} panicked"))),
        }
    }

    /// Asks one worker for what `take` takes from its answer. `None` where there is no such worker.
    pub fn ask_one<T>(
        &mut self,
        shard: u16,
        command: Command,
        take: impl FnOnce(Answer) -> Option<T>,
    ) -> Option<Result<T, Unanswered>> {
        let worker = self.0.get_mut(usize::from(shard))?;
        let answer = worker.controller.ask(command, PATIENCE);
        Some(answer.and_then(|answer| take(answer).ok_or(Unanswered::Late)))
    }

    /// Asks all workers; gives their answers, in order, if there are all of them.
    pub(super) fn ask_all(&mut self, command: impl FnMut() -> Command) -> Result<Vec<Answer>, Unanswered> {
        self.send_to_all(repeat_with(command)).into_iter().collect()
    }

    /// Sends each worker its command before it waits for the first, so that they work at the same time. Which of them do
    /// not answer is logged.
    fn send_to_all(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Vec<Result<Answer, Unanswered>> {
        let pairs = self.0.iter_mut().zip(commands);
        let sent: Vec<_> = pairs.map(|(worker, command)| worker.controller.send(command)).collect();
        let receive = |(worker, sent): (&mut Handle, Result<(), Unanswered>)| {
            sent.and_then(|()| worker.controller.receive(PATIENCE))
        };
        let answers: Vec<_> = self.0.iter_mut().zip(sent).map(receive).collect();
        for (number, answer) in answers.iter().enumerate() {
            if let Err(why) = answer {
                warn!("worker {number}: {why}");
            }
        }
        answers
    }
}
