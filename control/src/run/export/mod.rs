//! Tells others of connections that begin and end: the [journal], [syslog], and collectors of [ipfix].
//!
//! Workers tell events over their rings. A thread of the control core, [`pump`], takes them out, makes records of them by the host's
//! clock and gives them to the sinks, each of which has a thread and a queue of its own: what a queue has no room for is lost to that
//! sink, which is told how much. Where nothing is exported, there is none of this, and workers tell nothing.

mod active_timeout;
mod ipfix;
mod journal;
mod link;
mod pump;
mod roll_call;
mod sink;
mod syslog;
mod walk;

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use sluice_conntrack::Instant as PacketTime;
use sluice_conntrack::events::{EventReceiver, Interest, ring};
use sluice_engine::Clock;
use sluice_engine::command::{Command, Unanswered};

use super::RunError;
use super::alarms::Alarm;
use super::dataplane::Dataplane;
use super::host_time::HostTime;
use super::workers::Workers;
use crate::config::{self, Config};
use crate::export::record::{LogLine, micros};
use crate::metrics;
use crate::socket::protocol::ExportStatus;
use active_timeout::ActiveTimeout;
use pump::{Pump, Taps};
use roll_call::RollCall;
use sink::{Called, Sink};

/// Events that wait in a worker's ring, at most: those of 50 ms at 300,000 events a second.
const RING: usize = 1 << 14;

/// Seconds of what `log` rules have said that wait for the thread that takes it to the sinks, at most.
const SECONDS_OF_LINES: usize = 16;

/// Those who are told, and what takes it to them.
pub struct Export {
    sinks: Vec<Sink>,
    journal: Option<Arc<journal::Shared>>,
    roll_call: RollCall,
    active_timeout: Option<ActiveTimeout>,
    clock: Clock,
    /// What the stamps of what `log` rules say go by.
    time: HostTime,
    /// What `log` rules say, where somebody hears of it; and how many lines were lost since the last that were not.
    lines: Option<SyncSender<(Vec<LogLine>, u64)>>,
    lost_lines: u64,
    /// Of losses, and how many there were when it was last looked at.
    alarm: (Alarm, u64),
    taps: Taps,
    is_over: Arc<AtomicBool>,
    pump: Option<JoinHandle<()>>,
}

impl Export {
    /// Begins, if anything is to be exported.
    ///
    /// # Errors
    /// The journal cannot be written, the system gives no thread, or a worker does not answer.
    pub fn start(config: &Config, dataplane: &mut Dataplane) -> Result<Option<Export>, RunError> {
        let config::Export { journal, syslog, ipfix } = &config.export;
        if config.export.is_empty() {
            return Ok(None);
        }
        let mut sinks = Vec::new();
        let journal = journal.as_ref().map(journal::start).transpose()?.map(|(sink, shared)| {
            sinks.push(sink);
            shared
        });
        for it in syslog {
            sinks.push(syslog::start(it)?);
        }
        let timeout_s = config.export.active_timeout();
        for it in ipfix {
            sinks.push(ipfix::start(it, timeout_s.map_or(0, active_timeout::round_s))?);
        }
        let clock = dataplane.clock;
        let interest = Interest { updates: false, untranslated: config.export.wants_untranslated() };
        let receivers = dataplane
            .workers
            .listen(Command::Listen, RING)
            .map_err(|why| RunError::Other(format!("export: {why}")))?;
        receivers.iter().for_each(|receiver| receiver.want(interest));
        let (to_pump, lines) = mpsc::sync_channel(SECONDS_OF_LINES);
        let (taps, is_over) = (Taps::default(), Arc::<AtomicBool>::default());
        let (roll_call, called) = RollCall::start();
        let mut called = vec![(Called::ByRollCall, called)];
        let active_timeout = timeout_s.map(|timeout_s| {
            let (it, received) =
                ActiveTimeout::start(timeout_s, interest.untranslated, clock.now().as_secs());
            called.push((Called::ByActiveTimeout, received));
            it
        });
        let time = HostTime::new(move || clock.now());
        let pump = Pump {
            receivers,
            time: time.clone(),
            interest,
            taps: taps.clone(),
            called,
            lines,
            sinks: sinks.iter().map(Sink::sender).collect(),
            is_over: Arc::clone(&is_over),
        };
        let run = thread::Builder::new().name("export".to_owned()).spawn(move || pump.run());
        let pump = run.map_err(|error: io::Error| RunError::Other(format!("export: {error}")))?;
        Ok(Some(Export {
            sinks,
            journal,
            roll_call,
            active_timeout,
            clock,
            time,
            lines: syslog.iter().any(|it| it.log_rules).then_some(to_pump),
            lost_lines: 0,
            alarm: Default::default(),
            taps,
            is_over,
            pump: Some(pump),
        }))
    }

    /// What `conntrack -E` listens to, in the place of the workers' rings: all events.
    pub fn listen(&self, workers: u16, room: usize) -> Vec<EventReceiver> {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| ring(room)).unzip();
        self.taps.set(senders);
        receivers
    }

    /// Nobody listens any more.
    pub fn stop_listening(&self) {
        self.taps.set(Vec::new());
    }

    /// Whether somebody hears of what `log` rules say.
    pub const fn hears_lines(&self) -> bool {
        self.lines.is_some()
    }

    /// Has what `log` rules have said told.
    pub fn tell_lines(&mut self, lines: Vec<(PacketTime, String)>) {
        let Some(sender) = self.lines.as_ref().filter(|_| !lines.is_empty()) else { return };
        let count = lines.len() as u64;
        self.time.follow();
        let line = |(at, text)| LogLine { at_us: micros(self.time.at(at)), text };
        let lines = lines.into_iter().map(line).collect();
        match sender.try_send((lines, self.lost_lines)) {
            Ok(()) => self.lost_lines = 0,
            Err(_) => self.lost_lines += count,
        }
    }

    /// Has connections that there are told as such, when it is time to, and publishes what sinks have come to.
    pub fn look_after(&mut self, workers: &mut Workers) -> Result<(), Unanswered> {
        let ExportStatus { sinks, journal } = self.status();
        metrics::exported(&sinks);
        let lost = sinks.iter().map(|sink| sink.lost).sum::<u64>();
        let (alarm, seen) = &mut self.alarm;
        let more = lost.saturating_sub(mem::replace(seen, lost));
        alarm.log(more, Instant::now(), "export", "`sluice export` shows to whom", "events lost");
        if let Some(journal) = journal {
            metrics::journal(&journal);
        }
        if let Some(active_timeout) = &mut self.active_timeout {
            active_timeout.go_on(workers, self.clock.now().as_secs())?;
        }
        self.roll_call.go_on(workers)
    }

    /// The box has become active for connections that another one had: all that there are are told as such now.
    pub fn has_taken_over(&mut self) {
        self.roll_call.begin();
    }

    /// Those who are told, and what they have come to.
    pub fn status(&self) -> ExportStatus {
        ExportStatus {
            sinks: self.sinks.iter().map(Sink::status).collect(),
            journal: self.journal.as_ref().map(|journal| journal.status()),
        }
    }
}

impl Drop for Export {
    /// What has happened so far is told.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(pump) = self.pump.take() {
            let _ = pump.join();
        }
        self.sinks.drain(..).for_each(Sink::join);
    }
}
