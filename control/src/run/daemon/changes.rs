//! What changes while packets flow: reloads, routes that are followed, sets, timeouts and helpers. Each is put in force whole or not at all.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use sluice_conntrack::RuleCounters;
use sluice_conntrack::cut::Change;
use sluice_conntrack::listing::ExpectationSnapshot;
use sluice_engine::command::Unanswered;
use tracing::{error, info};

use super::super::aftermath::{Aftermath, Ended};
use super::super::candidate::Candidate;
use super::super::in_force::InForce;
use super::super::nat_rules::NatRules;
use super::super::reload::{Reading, Wanted};
use super::super::sets::Made;
use super::super::totals::total;
use super::super::workers::Workers;
use super::super::{helpers, listings, pools, reload, rules, service, timeouts};
use super::Daemon;
use crate::config::{self, Config};
use crate::metrics;
use crate::socket::protocol::{Considered, Response, RunningConfiguration, SetChange};

impl Daemon {
    /// Has a file read; [`Daemon::finish_reload`] goes on from there.
    pub fn reload(&mut self, wanted: Wanted, asker: Option<SyncSender<Response>>) {
        service::reloading();
        self.reloads.ask(wanted, asker);
        self.read_next();
    }

    fn read_next(&mut self) {
        match self.reloads.go_on(|| self.rerouting.latest()) {
            Ok(true) => {}
            Ok(false) => service::ready(),
            Err((why, askers)) => {
                self.refuse(why, askers);
                service::ready();
            }
        }
    }

    /// Puts in force what was read, whole or not at all, and tells who waits for it.
    pub(super) fn finish_reload(&mut self) {
        let Some(Reading { wanted, read, askers }) = self.reloads.read() else { return };
        let done = match wanted {
            Wanted::Configured => read.and_then(|candidate| self.put_in_force_for_good(candidate)),
            Wanted::Other { confirm_within, .. } => {
                read.and_then(|candidate| self.apply(candidate, confirm_within, Instant::now()))
            }
            Wanted::Considered { .. } => {
                tell(askers, &self.consider(read));
                return self.read_next();
            }
        };
        match done {
            Ok(answer) => {
                if let Some(aftermath) = &mut self.aftermath {
                    aftermath.tell(answer, askers);
                }
            }
            Err(message) => self.refuse(message, askers),
        }
        self.read_next();
    }

    fn refuse(&self, message: String, askers: reload::Askers) {
        metrics::refused();
        error!("reload: nothing was changed: {message}");
        tell(askers, &Response::Error { message });
    }

    /// Has a file read that is only looked at.
    pub(super) fn read_to_consider(&mut self, file: PathBuf, asker: SyncSender<Response>) {
        self.reloads.ask(Wanted::Considered { file }, Some(asker));
        self.read_next();
    }

    /// What was read is considered.
    fn consider(&mut self, read: Result<Candidate, String>) -> Response {
        let considered = read.and_then(|Candidate { config, configuration, .. }| {
            let entries = u64::from(self.stats().map_err(|why| why.to_string())?.entries);
            let needs_restart = self.needs_restart(&config);
            // Between other ports nothing can be compared.
            let number = match needs_restart.is_empty() {
                true => self.considering.begin(&self.configuration, configuration, Instant::now()),
                false => 0,
            };
            let beyond_limit = entries.saturating_sub(config.conntrack.max_entries.0);
            Ok(Considered { number, needs_restart, beyond_limit })
        });
        considered.map_or_else(|message| Response::Error { message }, Response::Considered)
    }

    /// The keys that only a restart can change.
    fn needs_restart(&self, wanted: &Config) -> Vec<String> {
        reload::needs_restart(&self.config, wanted, u64::from(self.dataplane.capacity()))
    }

    /// Goes on finding out what the last configuration that came in force has cut, and answers those who wait for that.
    pub(super) fn go_on_with_aftermath(&mut self) {
        let Some(aftermath) = &mut self.aftermath else { return };
        let count =
            |workers: &mut Workers| workers.stats(&self.configuration).map(|all| total(&all).counters);
        match aftermath.go_on(&mut self.dataplane.workers, count, Instant::now()) {
            Ok(false) => {}
            // Which worker does not answer is in the log.
            Ok(true) | Err(_) => self.end_aftermath(),
        }
    }

    fn end_aftermath(&mut self) {
        if let Some(aftermath) = self.aftermath.take() {
            aftermath.end();
        }
    }

    /// What the configured file says ends a trial, too.
    fn put_in_force_for_good(&mut self, candidate: Candidate) -> Result<Response, String> {
        let config = candidate.config.clone();
        let revision = self.put_in_force(candidate)?;
        self.trial = None;
        self.keep_last_good(config);
        info!("{}: configuration {revision} is in force", self.file.display());
        Ok(Response::Reloaded { revision, cuts: None })
    }

    /// Gives the new revision, or why this configuration cannot be put in force.
    pub(super) fn put_in_force(&mut self, candidate: Candidate) -> Result<u64, String> {
        let Candidate { config, configuration, followed_routes, file, source, fallback, .. } = candidate;
        let keys = self.needs_restart(&config);
        if !keys.is_empty() {
            return Err(format!("only a restart can change {}", keys.join(", ")));
        }
        // The records that wait name rules by their position in the old file.
        self.write_out_records().map_err(|why| why.to_string())?;
        let ended = Ended::of(&self.stats().map_err(|why| why.to_string())?.counters);
        let change = Change::new(Arc::clone(&self.configuration), Arc::clone(&configuration));
        self.end_aftermath();
        let kept = Arc::new(rules::kept(&self.config, &config));
        let workers = &mut self.dataplane.workers;
        let counted = workers.configure(&configuration, &kept).map_err(|why| why.to_string())?;
        let mut goes_on = RuleCounters::new(&configuration);
        goes_on.go_on(&counted, &kept);
        self.rules.publish(&self.config.policy, &counted.policy);
        self.nat_rules.publish(&counted);
        self.nat_rules = NatRules::of(&configuration, &goes_on);
        self.pools.replace(pools::Pools::of(&configuration), &counted.source, &goes_on.source);
        self.rules = rules::Published::of(goes_on.policy);
        self.configuration = configuration;
        self.dataplane.configure_hosts(&config);
        metrics::forget_sets(self.config.sets.keys().filter(|name| !config.sets.contains_key(*name)));
        self.config = config;
        self.rerouting.configured(followed_routes);
        self.in_force = InForce::now(file, source);
        self.considering.end();
        self.watches.rename();
        self.applied(fallback);
        self.aftermath = Some(Aftermath::begin(change, self.revision, ended, Instant::now()));
        self.rerouting.go_on(&self.config, self.revision);
        Ok(self.revision)
    }

    /// Puts in force what has been made of what is followed.
    pub(super) fn finish_rerouting(&mut self) {
        let (made_for, workers) = ((&self.config, self.revision), &mut self.dataplane.workers);
        if let Some(next) = self.rerouting.finish(made_for, &self.configuration, workers) {
            self.pools.reroute(pools::Pools::of(&next));
            self.configuration = next;
        }
        self.rerouting.go_on(&self.config, self.revision);
    }

    /// Changes what is in a set; [`Daemon::finish_set_changes`] goes on from there.
    pub(super) fn change_set(&mut self, name: String, change: SetChange, asker: SyncSender<Response>) {
        self.set_changes.ask(name, change, asker);
        self.set_changes.go_on(&self.config, self.revision);
    }

    /// Puts in force what has been made of changes of sets.
    pub(super) fn finish_set_changes(&mut self) {
        let Daemon { set_changes, config, configuration, dataplane, pools, .. } = self;
        set_changes.finish(self.revision, |Made { sets, rules, .. }| {
            let next = Arc::new(rules.put_in(configuration));
            dataplane.workers.reroute(&next).map_err(|why| why.to_string())?;
            pools.reroute(pools::Pools::of(&next));
            (config.sets, *configuration) = (sets, next);
            info!("sets were changed until the next reload");
            Ok(())
        });
        self.set_changes.go_on(&self.config, self.revision);
    }

    /// A configuration has come in force.
    pub(super) fn applied(&mut self, fallback: bool) {
        self.revision += 1;
        self.fallback = fallback;
        metrics::applied(self.revision, fallback);
    }

    /// A start with a file that is wrong is to go on with this.
    pub(super) fn keep_last_good(&self, config: Config) {
        if let Some(last_good) = &self.last_good {
            last_good.keep(config);
        }
    }

    pub(super) fn set_timeout(&mut self, name: &str, value: &str) -> Result<Response, String> {
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

    /// The configuration in force, and what it says.
    pub(super) fn running_configuration(&self) -> RunningConfiguration {
        RunningConfiguration {
            revision: self.revision,
            status: self.in_force.status(),
            trial: self.trial_status(Instant::now()),
            text: self.in_force.source.text().to_owned(),
            yaml: config::to_yaml(&self.config),
        }
    }

    pub(super) fn helpers(&mut self) -> Result<Response, Unanswered> {
        let stats = self.stats()?;
        let helpers = helpers::list(&self.configuration.helpers, &stats.counters);
        Ok(Response::Helpers { helpers, rules: helpers::rules(&self.config) })
    }

    /// Switches a helper; where it is off, nothing more is expected for it either.
    pub(super) fn switch_helper(&mut self, name: &str, is_on: bool) -> Result<Response, Unanswered> {
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
}

/// Answers who waits.
fn tell(askers: reload::Askers, answer: &Response) {
    for asker in askers {
        // A client that has gone away wants no answer.
        let _ = asker.send(answer.clone());
    }
}
