//! The control thread: serves requests and signals one by one, and once a second looks after the workers.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use sluice_conntrack::listing::ExpectationSnapshot;
use sluice_conntrack::nat::SPACES;
use sluice_conntrack::{Configuration, State};
use sluice_engine::Load;
use sluice_engine::command::Unanswered;
use sluice_engine::report::Stats;
use tracing::{error, info};

use super::alarms::ShardAlarms;
use super::background::Work;
use super::candidate::Candidate;
use super::dataplane::Dataplane;
use super::events::Journal;
use super::lines::Lines;
use super::nat_rules::NatRules;
use super::reload::{self, Reloads};
use super::rerouting::Rerouting;
use super::state::{LastGood, StateDirectory};
use super::totals::{busy_ratio, counted, drops, shard_counters, summary, total};
use super::{
    Event, RunError, entries, helpers, listings, log, pools, ports, routes, rules, service, timeouts,
};
use crate::config::{self, Config};
use crate::listing::Format;
use crate::metrics::{self, Sample};
use crate::socket::Call;
use crate::socket::protocol::{PoolStatistics, Request, Response, Statistics};

/// How often metrics are published, log records fetched and the watchdog fed.
const TICK: Duration = Duration::from_secs(1);

/// The daemon's state. What packets need is the workers' alone.
pub struct Daemon {
    file: PathBuf,
    config: Config,
    revision: u64,
    /// Whether the file was wrong at the start, and no reload has put another configuration in force than the last good one.
    fallback: bool,
    last_good: Option<LastGood>,
    reloads: Reloads,
    rerouting: Rerouting,
    started: Instant,
    dataplane: Dataplane,
    /// The configuration in force, as the workers have it.
    configuration: Arc<Configuration>,
    records: log::Records,
    /// The load of each worker when it was last looked at.
    loads: Vec<Load>,
    rules: rules::Published,
    pools: pools::Pools,
    nat_rules: NatRules,
    links: ports::LinkStates,
    port_alarms: ports::PortAlarms,
    shard_alarms: ShardAlarms,
    journal: Journal,
}

impl Daemon {
    /// Over a packet path that runs by this configuration. Each that comes in force is kept as `last_good`.
    pub fn new(
        file: PathBuf,
        candidate: Candidate,
        last_good: Option<LastGood>,
        dataplane: Dataplane,
        rerouting: Rerouting,
        events: SyncSender<Event>,
    ) -> Daemon {
        let mut daemon = Daemon {
            reloads: Reloads::new(file.clone(), events),
            rerouting,
            file,
            config: candidate.config,
            revision: 0,
            fallback: false,
            last_good,
            started: Instant::now(),
            dataplane,
            records: log::Records::default(),
            loads: Vec::new(),
            rules: rules::Published::default(),
            pools: pools::Pools::of(&candidate.configuration),
            nat_rules: NatRules::of(&candidate.configuration),
            configuration: candidate.configuration,
            links: ports::LinkStates::default(),
            port_alarms: ports::PortAlarms::default(),
            shard_alarms: ShardAlarms::default(),
            journal: Journal::default(),
        };
        daemon.applied(candidate.yaml, candidate.fallback);
        daemon
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// A worker has ended by itself.
    pub fn serve(&mut self, events: &Receiver<Event>) -> Result<(), RunError> {
        // The manager wants to hear twice within its time.
        let tick = service::watchdog().map_or(TICK, |watchdog| TICK.min(watchdog / 2));
        let mut due = Instant::now();
        loop {
            match events.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Event::Call(call)) => self.answer(call),
                Ok(Event::Reload) => self.reload(None),
                Ok(Event::Done(Work::Reload | Work::Start)) => self.finish_reload(),
                Ok(Event::Done(Work::Routes)) => self.finish_rerouting(),
                Ok(Event::Followed(at, what)) => self.rerouting.hear(at, what, &self.config, self.revision),
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= due {
                self.look_after_workers()?;
                due = Instant::now() + tick;
            }
        }
    }

    /// Stops the packet path, keeps its connections for the next start, and says what it did.
    pub fn stop(mut self, state: Option<&StateDirectory>) -> Result<(), RunError> {
        self.dataplane.workers.drain();
        super::snapshot::keep(state, &mut self.dataplane.workers);
        let summary = self.stats().map_or_else(|why| why.to_string(), |stats| summary(&stats));
        self.dataplane.stop()?;
        info!("stopped; {summary}");
        Ok(())
    }

    /// Answers a request, now or, where it takes long, later.
    fn answer(&mut self, Call { request, reply }: Call) {
        let preset = config::settings(&self.config.conntrack).preset;
        let lines = |format: Option<Format>| Lines::new(format, preset);
        let workers = &mut self.dataplane.workers;
        let answer = match request {
            Request::Entries { filter, format, from } => {
                listings::entries(workers, &filter, &lines(format), from)
            }
            Request::Entry { filter, format } => entries::get(workers, &filter, &lines(format)),
            Request::DeleteEntries { filter, format, from } => {
                entries::delete(workers, &filter, &lines(format), from)
            }
            Request::FlushEntries { from } => entries::flush(workers, from),
            Request::UpdateEntries { filter, update, format, from } => {
                entries::update(workers, &filter, update, &lines(format), from)
            }
            Request::CreateEntry(new) => entries::create(workers, &new),
            Request::Events { filter, format, from } => {
                self.journal.answer(workers, &filter, &lines(format), from)
            }
            Request::Expectations { filter, format, from } => {
                listings::expectations(workers, &filter, lines(format).layout(), from)
            }
            Request::Expect(new) => listings::expect(workers, &new),
            Request::DeleteExpectations { filter } => listings::delete_expectations(workers, &filter),
            Request::Count => self.stats().map(|stats| Response::Count { entries: u64::from(stats.entries) }),
            Request::Shards => self
                .shards()
                .map(|shards| Response::Shards { shards: (0..).zip(&shards).map(shard_counters).collect() }),
            Request::Statistics => self.statistics().map(Response::Statistics),
            Request::Ports => Ok(Response::Ports { ports: ports::describe(self.dataplane.ports()) }),
            Request::Neighbours => workers.neighbours().map(|neighbours| Response::Neighbours {
                neighbours: routes::neighbours(&neighbours, &self.config),
            }),
            Request::Routes { from } => {
                Ok(routes::list(&self.config, &self.rerouting.routes, &self.configuration.forwarding, from))
            }
            Request::Route { to } => Ok(routes::get(&self.config, &self.configuration.forwarding, to)),
            Request::Drops => self.stats().map(|stats| drops(&stats)),
            Request::NatRules => {
                self.stats().map(|stats| Response::NatRules { rules: self.nat_rules.list(&stats.rules) })
            }
            Request::Pools => self.pools().map(|pools| Response::Pools { pools }),
            Request::Helpers => self.helpers(),
            Request::SwitchHelper { name, on } => self.switch_helper(&name, on),
            // Its answer comes when the file has been read.
            Request::Reload => return self.reload(Some(reply)),
            Request::Timeouts => Ok(Response::Timeouts { timeouts: timeouts::list(&self.config) }),
            Request::SetTimeout { name, value } => {
                Ok(self.set_timeout(&name, &value).unwrap_or_else(|message| Response::Error { message }))
            }
        };
        let answer = answer.unwrap_or_else(|why: Unanswered| Response::Error { message: why.to_string() });
        // A client that has gone away wants no answer.
        let _ = reply.send(answer);
    }

    /// Each worker's counters, now.
    fn shards(&mut self) -> Result<Vec<Stats>, Unanswered> {
        self.dataplane.workers.stats(&self.configuration)
    }

    /// What all workers have counted, now.
    fn stats(&mut self) -> Result<Stats, Unanswered> {
        self.shards().map(|shards| total(&shards))
    }

    fn statistics(&mut self) -> Result<Statistics, Unanswered> {
        let stats = self.stats()?;
        Ok(Statistics {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            revision: self.revision,
            fallback: self.fallback,
            entries: u64::from(stats.entries),
            entries_limit: self.entries_limit(),
            packets: counted(State::ALL.map(State::name), &stats.counters.packets),
            ports: ports::statistics(self.dataplane.ports(), &stats.ports),
            rules: rules::list(&self.config.policy, &stats.rules.policy),
        })
    }

    /// The SNAT rules, as they stand.
    fn pools(&mut self) -> Result<Vec<PoolStatistics>, Unanswered> {
        let stats = self.stats()?;
        let used = self.dataplane.workers.ports(self.pools.blocks())?;
        Ok(self.pools.list(&used, &stats.rules.source))
    }

    fn entries_limit(&self) -> u64 {
        self.config.conntrack.max_entries.0.min(u64::from(self.dataplane.capacity()))
    }

    /// Has the file read anew; [`Daemon::finish_reload`] goes on from there.
    pub fn reload(&mut self, asker: Option<SyncSender<Response>>) {
        service::reloading();
        self.reloads.ask(asker);
        self.read_next();
    }

    fn read_next(&mut self) {
        match self.reloads.go_on(|| self.rerouting.latest()) {
            Ok(true) => {}
            Ok(false) => service::ready(),
            Err((why, askers)) => {
                self.reloaded(&Err(why), askers);
                service::ready();
            }
        }
    }

    /// Puts in force what was read, whole or not at all, and tells who waits for it.
    fn finish_reload(&mut self) {
        let Some((read, askers)) = self.reloads.read() else { return };
        let done = read.and_then(|candidate| self.put_in_force(candidate));
        self.reloaded(&done, askers);
        self.read_next();
    }

    fn reloaded(&self, done: &Result<u64, String>, askers: reload::Askers) {
        let answer = match done {
            Ok(revision) => {
                info!("{}: configuration {revision} is in force", self.file.display());
                Response::Reloaded { revision: *revision }
            }
            Err(why) => {
                metrics::refused();
                error!("reload: nothing was changed: {why}");
                Response::Error { message: why.clone() }
            }
        };
        for asker in askers {
            // A client that has gone away wants no answer.
            let _ = asker.send(answer.clone());
        }
    }

    /// Gives the new revision, or why this configuration cannot be put in force.
    fn put_in_force(&mut self, candidate: Candidate) -> Result<u64, String> {
        let Candidate { config, configuration, followed_routes, yaml, fallback } = candidate;
        let keys = reload::needs_restart(&self.config, &config, u64::from(self.dataplane.capacity()));
        if !keys.is_empty() {
            return Err(format!("{}: only a restart can change {}", self.file.display(), keys.join(", ")));
        }
        // The records that wait name rules by their position in the old file.
        let written = self.records.write_out(&mut self.dataplane.workers, &self.config);
        written.map_err(|why| why.to_string())?;
        let counted = self.dataplane.workers.configure(&configuration).map_err(|why| why.to_string())?;
        self.rules.publish(&self.config.policy, &counted.policy);
        self.rules = rules::Published::default();
        self.nat_rules.publish(&counted);
        self.nat_rules = NatRules::of(&configuration);
        self.pools.replace(pools::Pools::of(&configuration), &counted.source);
        self.configuration = configuration;
        self.dataplane.configure_hosts(&config);
        self.config = config;
        self.rerouting.configured(followed_routes);
        self.applied(yaml, fallback);
        self.rerouting.go_on(&self.config, self.revision);
        Ok(self.revision)
    }

    /// Puts in force what has been made of what is followed.
    fn finish_rerouting(&mut self) {
        let (made_for, workers) = ((&self.config, self.revision), &mut self.dataplane.workers);
        if let Some(next) = self.rerouting.finish(made_for, &self.configuration, workers) {
            self.pools.reroute(pools::Pools::of(&next));
            self.configuration = next;
        }
        self.rerouting.go_on(&self.config, self.revision);
    }

    /// A configuration has come in force.
    fn applied(&mut self, yaml: String, fallback: bool) {
        self.revision += 1;
        self.fallback = fallback;
        metrics::applied(self.revision, fallback);
        if let Some(last_good) = &self.last_good {
            last_good.keep(yaml);
        }
    }

    fn set_timeout(&mut self, name: &str, value: &str) -> Result<Response, String> {
        let config = timeouts::set(&self.config, name, value)?;
        let timeouts = config::settings(&config.conntrack).timeouts;
        let configuration = Arc::new(self.configuration.with_timeouts(timeouts));
        self.dataplane.workers.amend(&configuration).map_err(|why| why.to_string())?;
        (self.config, self.configuration) = (config, configuration);
        let mut timeouts = timeouts::list(&self.config);
        timeouts.retain(|timeout| timeout.name == name);
        info!("timeout {name} set to {value} until the next reload");
        Ok(Response::Timeouts { timeouts })
    }

    fn helpers(&mut self) -> Result<Response, Unanswered> {
        let stats = self.stats()?;
        let helpers = helpers::list(&self.configuration.helpers, &stats.counters);
        Ok(Response::Helpers { helpers, rules: helpers::rules(&self.config) })
    }

    /// Switches a helper; where it is off, nothing more is expected for it either.
    fn switch_helper(&mut self, name: &str, is_on: bool) -> Result<Response, Unanswered> {
        let helper = match helpers::named(&self.configuration.helpers, name) {
            Ok(helper) => helper,
            Err(message) => return Ok(Response::Error { message }),
        };
        let configuration = Arc::new(self.configuration.with_helper_switched(helper, is_on));
        self.dataplane.workers.amend(&configuration)?;
        self.configuration = configuration;
        if !is_on {
            let is_its = |shown: &ExpectationSnapshot| shown.expectation.helper() == Some(helper);
            listings::end_expectations(&mut self.dataplane.workers, is_its)?;
        }
        info!("helper {name} switched {} until the next reload", if is_on { "on" } else { "off" });
        self.helpers()
    }

    /// Publishes what the workers have counted and logged. An answer is a worker's heartbeat: without one of each the
    /// watchdog goes hungry.
    fn look_after_workers(&mut self) -> Result<(), RunError> {
        self.links.watch(self.dataplane.ports());
        self.journal.look_after(&mut self.dataplane.workers);
        let written = self.records.write_out(&mut self.dataplane.workers, &self.config);
        let counted =
            written.and_then(|()| Ok((self.shards()?, self.dataplane.workers.ports(self.pools.blocks())?)));
        match counted {
            Ok((shards, ports)) => {
                let entries = self.publish(&shards, &ports);
                let limit = self.entries_limit();
                let fallback = if self.fallback { ", a FALLBACK: the file was wrong" } else { "" };
                let revision = self.revision;
                service::alive(&format!("{entries} of {limit} entries; configuration {revision}{fallback}"));
                Ok(())
            }
            // Which worker, is in the log.
            Err(Unanswered::Late) => Ok(()),
            Err(Unanswered::Gone) => Err(RunError::Other(Unanswered::Gone.to_string())),
        }
    }

    /// Gives the number of entries.
    fn publish(&mut self, shards: &[Stats], ports_used: &[[u64; SPACES]]) -> u32 {
        let stats = total(shards);
        self.loads.resize(shards.len(), Load::default());
        let busy_ratios: Vec<f64> =
            self.loads.iter_mut().zip(shards).map(|(before, stats)| busy_ratio(before, stats.load)).collect();
        self.rules.publish(&self.config.policy, &stats.rules.policy);
        self.nat_rules.publish(&stats.rules);
        self.pools.publish(ports_used, &stats.rules.source);
        let now = Instant::now();
        self.shard_alarms.watch(&stats, self.entries_limit(), now);
        self.pools.watch(now);
        self.port_alarms.watch(&ports::samples(self.dataplane.ports(), &stats), now);
        metrics::publish(&Sample {
            shards,
            entries_limit: self.entries_limit(),
            busy_ratios: &busy_ratios,
            ports: &ports::samples(self.dataplane.ports(), &stats),
            mbufs: self.dataplane.mbufs(),
            logged: self.records.written,
            unlogged: self.records.left_out + stats.counters.log_lost,
        });
        stats.entries
    }
}
