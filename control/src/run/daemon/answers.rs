//! What clients ask, one by one, and what they are answered.

use std::time::{Duration, Instant};

use sluice_conntrack::State;
use sluice_conntrack::groups::Role;
use sluice_engine::command::Unanswered;
use sluice_engine::report::Stats;
use tracing::debug;

use super::super::events::Source;
use super::super::export::Export;
use super::super::groups::on_workers;
use super::super::lines::Lines;
use super::super::reload::Wanted;
use super::super::totals::{counted, drops, shard_counters, total, worker};
use super::super::{
    capture, entries, listings, log, ports, records, routes, rules, sets, sources, timeouts, trace,
};
use super::Daemon;
use super::trials::is_from_root;
use crate::config;
use crate::listing::Format;
use crate::rehearsal::Names;
use crate::socket::Call;
use crate::socket::protocol::{
    CutsRequest, ExportStatus, HaStatus, Mbufs, PoolStatistics, Request, Response, Statistics,
};

impl Daemon {
    /// Answers a request, now or, where it takes long, later.
    pub(super) fn answer(&mut self, Call { request, reply }: Call) {
        debug!("asked: {request:?}");
        let preset = config::settings(&self.config.conntrack).preset;
        let lines = |format: Option<Format>| Lines::new(format, preset);
        let workers = &mut self.dataplane.workers;
        let answer = match request {
            Request::Entries { filter, format, from } => {
                listings::entries(workers, &filter, &lines(format), from)
            }
            Request::Entry { filter, format } => entries::get(workers, &filter, &lines(format)),
            Request::Connection(tuple) => entries::connection(workers, &tuple, &lines(None)),
            Request::DeleteEntries { filter, format, from } => {
                entries::delete(workers, &filter, &lines(format), from)
            }
            Request::FlushEntries { from } => entries::flush(workers, from),
            Request::UpdateEntries { filter, update, format, from } => {
                entries::update(workers, &filter, update, &lines(format), from)
            }
            Request::Save { from } => records::save(workers, from),
            Request::Load { records } => {
                let (configuration, groups) = (&self.configuration, &self.groups);
                records::load(workers, &records, |tuples| {
                    configuration.group_of(tuples).is_some_and(|group| groups.is_standby(group))
                })
            }
            Request::CreateEntry(new) => entries::create(workers, &new),
            Request::Events { filter, format, from } => {
                let source = &mut Source(workers, self.export.as_ref());
                self.events.answer(source, &filter, &lines(format), from)
            }
            Request::ExpectationEvents { filter, format, from } => {
                self.expectation_events.answer(workers, &filter, &lines(format), from)
            }
            Request::Trace(request) => {
                let names = || Names::of(&self.config, &self.in_force.source);
                trace::answer(&mut self.watches, workers, &self.config, names, *request)
            }
            Request::Capture(request) => {
                let names = || Names::of(&self.config, &self.in_force.source);
                capture::answer(&mut self.watches, workers, &self.config, names, &request)
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
            Request::Statistics => {
                self.statistics().map(|statistics| Response::Statistics(Box::new(statistics)))
            }
            Request::Sources { phase } => sources::sample(workers, phase),
            Request::Ports => Ok(Response::Ports { ports: ports::describe(self.dataplane.ports()) }),
            Request::Neighbours => workers.neighbours().map(|neighbours| Response::Neighbours {
                neighbours: routes::neighbours(&neighbours, &self.config),
            }),
            Request::Routes { from } => {
                Ok(routes::list(&self.config, &self.rerouting.routes, &self.configuration.forwarding, from))
            }
            Request::Route { to } => Ok(routes::get(&self.config, &self.configuration.forwarding, to)),
            Request::Sets => Ok(sets::list(&self.config)),
            Request::Set { name, from } => Ok(sets::show(&self.config, &name, from)),
            // Its answer comes when it is in force.
            Request::ChangeSet { name, change } => return self.change_set(name, change, reply),
            Request::Drops => self.stats().map(|stats| drops(&stats)),
            Request::NatRules => {
                self.stats().map(|stats| Response::NatRules { rules: self.nat_rules.list(&stats.rules) })
            }
            Request::Pools => self.pools().map(|pools| Response::Pools { pools }),
            Request::Helpers => self.helpers(),
            Request::HaStatus => self.ha_status(),
            Request::ExportStatus => Ok(Response::ExportStatus(
                self.export.as_ref().map_or_else(ExportStatus::default, Export::status),
            )),
            Request::ChangeRole { group, active, force } => {
                let role = if active { Role::Active } else { Role::Standby };
                let change = &mut on_workers(&self.configuration, workers);
                let changed = self.groups.change(&group, role, force, Instant::now(), change);
                Ok(changed.unwrap_or_else(|message| Response::Error { message }))
            }
            Request::SwitchHelper { name, on } => self.switch_helper(&name, on),
            // Its answer comes when the file has been read.
            Request::Reload => return self.reload(Wanted::Configured, Some(reply)),
            Request::Apply { file, confirm_within_s } => {
                let confirm_within = confirm_within_s.map(|seconds| Duration::from_secs(seconds.into()));
                match self.may_apply(&file, confirm_within) {
                    Ok(()) => return self.reload(Wanted::Other { file, confirm_within }, Some(reply)),
                    Err(message) => Ok(Response::Error { message }),
                }
            }
            Request::Confirm => Ok(self.confirm()),
            Request::Configuration => Ok(Response::Configuration(Box::new(self.running_configuration()))),
            Request::Consider { file } => match is_from_root(&file) {
                Ok(()) => return self.read_to_consider(file, reply),
                Err(message) => Ok(Response::Error { message }),
            },
            Request::Cuts(CutsRequest { number, list, format, from }) => {
                let lines = list.then(|| lines(format));
                self.considering.answer(workers, number, lines.as_ref(), from, Instant::now())
            }
            Request::LogLevel { level } => Ok(Response::LogLevel { level: log::level(level) }),
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
    pub(super) fn shards(&mut self) -> Result<Vec<Stats>, Unanswered> {
        self.dataplane.workers.stats(&self.configuration)
    }

    /// What all workers have counted, now.
    pub(super) fn stats(&mut self) -> Result<Stats, Unanswered> {
        self.shards().map(|shards| total(&shards))
    }

    fn statistics(&mut self) -> Result<Statistics, Unanswered> {
        let shards = self.shards()?;
        let stats = total(&shards);
        let (available, size) = self.dataplane.mbufs();
        Ok(Statistics {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            revision: self.revision,
            configuration: self.in_force.status(),
            trial: self.trial_status(Instant::now()),
            fallback: self.fallback,
            entries: u64::from(stats.entries),
            entries_limit: self.entries_limit(),
            packets: counted(State::ALL.map(State::name), &stats.counters.packets),
            balance: ports::balance(self.dataplane.ports(), &stats),
            ports: ports::statistics(self.dataplane.ports(), &stats.ports),
            rules: rules::list(&self.config.policy, &stats.rules.policy),
            workers: shards.iter().map(worker).collect(),
            mbufs: Mbufs { available: available.into(), size: size.into() },
        })
    }

    fn ha_status(&mut self) -> Result<Response, Unanswered> {
        let counters = self.stats()?.counters;
        let message = "the box is of no cluster (ha)".to_owned();
        Ok(self.cluster.as_ref().map_or(Response::Error { message }, |cluster| {
            Response::HaStatus(Box::new(HaStatus {
                dirty_entries: counters.dirty_entries,
                ends_lost: counters.ends_lost,
                standby_entries: counters.standby_entries,
                groups: self.groups.status(),
                ..cluster.status()
            }))
        }))
    }

    /// The SNAT rules, as they stand.
    fn pools(&mut self) -> Result<Vec<PoolStatistics>, Unanswered> {
        let stats = self.stats()?;
        let used = self.dataplane.workers.ports(self.pools.blocks())?;
        Ok(self.pools.list(&used, &stats.rules.source))
    }

    pub(super) fn entries_limit(&self) -> u64 {
        self.config.conntrack.max_entries.0.min(u64::from(self.dataplane.capacity()))
    }
}
