//! The control thread: serves requests and signals one by one ([`answers`]), puts changes in force ([`changes`]), for a time only if that
//! is asked ([`trials`]), and once a second looks after the workers ([`rounds`]).

mod answers;
mod changes;
mod rounds;
mod trials;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use sluice_conntrack::{Configuration, RuleCounters};
use sluice_engine::Load;
use tracing::info;

use super::aftermath::Aftermath;
use super::alarms::ShardAlarms;
use super::background::Work;
use super::candidate::Candidate;
use super::considered::Considering;
use super::dataplane::Dataplane;
use super::events::{Events, ExpectationEvents};
use super::export::Export;
use super::group_routes::GroupRoutes;
use super::groups::{self, Groups};
use super::ha::Cluster;
use super::host_time::HostTime;
use super::in_force::InForce;
use super::nat_rules::NatRules;
use super::reload::{Reloads, Wanted};
use super::rerouting::Rerouting;
use super::sets::SetChanges;
use super::state::{LastGood, StateDirectory};
use super::totals::summary;
use super::track_file::TrackFiles;
use super::trial::Trial;
use super::watches::Watches;
use super::{Event, RunError, log, pools, ports, rules, service};
use crate::config::Config;

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
    in_force: InForce,
    considering: Considering,
    /// While what is in force waits for being confirmed.
    trial: Option<Trial>,
    reloads: Reloads,
    /// While it is not known what the configuration that has come in force has cut.
    aftermath: Option<Aftermath>,
    rerouting: Rerouting,
    set_changes: SetChanges,
    started: Instant,
    dataplane: Dataplane,
    groups: Groups,
    /// The box as one of its cluster, if it is of one.
    cluster: Option<Cluster>,
    track_files: TrackFiles,
    /// What routing daemons are to announce, if there are any.
    group_routes: Option<GroupRoutes>,
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
    events: Events,
    expectation_events: ExpectationEvents,
    watches: Watches,
    /// Who is told of connections, if anybody is.
    export: Option<Export>,
}

impl Daemon {
    /// Over a packet path that runs by this configuration. Each that comes in force is kept as `last_good`.
    pub fn new(
        file: PathBuf,
        candidate: Candidate,
        last_good: Option<LastGood>,
        (mut dataplane, export): (Dataplane, Option<Export>),
        (cluster, group_routes): (Option<Cluster>, Option<GroupRoutes>),
        rerouting: Rerouting,
        events: SyncSender<Event>,
    ) -> Daemon {
        let fencings = cluster.as_ref().map(Cluster::fencings).unwrap_or_default();
        let groups = Groups::start(
            &candidate.config,
            &fencings,
            &mut groups::on_workers(&candidate.configuration, &mut dataplane.workers),
        );
        let clock = dataplane.clock;
        let time = HostTime::new(move || clock.now());
        let mut daemon = Daemon {
            group_routes,
            track_files: TrackFiles::of(candidate.config.ha.as_ref(), Instant::now()),
            set_changes: SetChanges::new(events.clone()),
            reloads: Reloads::new(file.clone(), events),
            aftermath: None,
            rerouting,
            file,
            config: candidate.config,
            revision: 0,
            fallback: false,
            in_force: InForce::now(candidate.file, candidate.source),
            considering: Considering::default(),
            last_good,
            trial: None,
            started: Instant::now(),
            dataplane,
            groups,
            cluster,

            records: log::Records::default(),
            loads: Vec::new(),
            rules: rules::Published::default(),
            pools: pools::Pools::of(&candidate.configuration),
            nat_rules: NatRules::of(&candidate.configuration, &RuleCounters::new(&candidate.configuration)),
            configuration: candidate.configuration,
            links: ports::LinkStates::default(),
            port_alarms: ports::PortAlarms::default(),
            shard_alarms: ShardAlarms::default(),
            events: Events::new(time.clone()),
            watches: Watches::new(&time),
            expectation_events: ExpectationEvents::new(time),
            export,
        };
        daemon.applied(candidate.fallback);
        daemon.keep_last_good(daemon.config.clone());
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
            let wait = due.saturating_duration_since(Instant::now());
            let wait = if self.groups.is_waiting() { wait.min(groups::PAUSE) } else { wait };
            let wait = self.trial.as_ref().map_or(wait, |trial| wait.min(trial.left(Instant::now())));
            let wait = self.aftermath.as_ref().map_or(wait, |aftermath| wait.min(aftermath.pause()));
            match events.recv_timeout(wait) {
                Ok(Event::Call(call)) => self.answer(call),
                Ok(Event::Reload) => self.reload(Wanted::Configured, None),
                Ok(Event::Done(Work::Reload | Work::Start)) => self.finish_reload(),
                Ok(Event::Done(Work::Routes)) => self.finish_rerouting(),
                Ok(Event::Done(Work::Sets)) => self.finish_set_changes(),
                Ok(Event::Followed(at, what)) => self.rerouting.hear(at, what, &self.config, self.revision),
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Event::Peer) | Err(RecvTimeoutError::Timeout) => {}
            }
            self.end_trial(Instant::now());
            self.go_on_with_aftermath();
            let mut change = groups::on_workers(&self.configuration, &mut self.dataplane.workers);
            self.groups.heed_peer(Instant::now(), &mut change);
            drop(change);
            if let Some(cluster) = &self.cluster {
                let known = cluster.known();
                self.track_files.write(&known, Instant::now());
                if let Some(routes) = &mut self.group_routes {
                    routes.follow(&self.groups.status(), &known);
                }
            }
            if Instant::now() >= due {
                self.look_after_workers()?;
                due = Instant::now() + tick;
            }
        }
    }

    /// Hands over to another box where one stands by, stops the packet path, keeps its connections for the next start, and says what it did.
    pub fn stop(mut self, state: Option<&StateDirectory>) -> Result<(), RunError> {
        self.groups.hand_over(&mut groups::on_workers(&self.configuration, &mut self.dataplane.workers));
        drop(self.group_routes.take());
        self.dataplane.workers.drain();
        drop(self.export.take());
        // Peers are told the last.
        drop(self.cluster.take());
        super::snapshot::keep(state, &mut self.dataplane.workers);
        let summary = self.stats().map_or_else(|why| why.to_string(), |stats| summary(&stats));
        self.dataplane.stop()?;
        info!("stopped; {summary}");
        Ok(())
    }
}
