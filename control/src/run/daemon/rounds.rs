//! What is done once a second: what workers have counted and logged is published, and alarms are raised.

use std::time::Instant;

use sluice_conntrack::nat::SPACES;
use sluice_engine::Load;
use sluice_engine::command::Unanswered;
use sluice_engine::report::Stats;

use super::super::events::Source;
use super::super::export::Export;
use super::super::totals::{busy_ratio, total};
use super::super::{RunError, ports, service};
use super::Daemon;
use crate::metrics::{self, Sample};

impl Daemon {
    /// Publishes what the workers have counted and logged. An answer is a worker's heartbeat: without one of each the
    /// watchdog goes hungry.
    pub(super) fn look_after_workers(&mut self) -> Result<(), RunError> {
        self.links.watch(self.dataplane.ports());
        self.considering.look_after(Instant::now());
        self.events.look_after(&mut Source(&mut self.dataplane.workers, self.export.as_ref()));
        self.expectation_events.look_after(&mut self.dataplane.workers);
        self.watches.look_after(&mut self.dataplane.workers);
        let has_taken_over = self.groups.has_become_active();
        let told = self.export.as_mut().map(|export| {
            if has_taken_over {
                export.has_taken_over();
            }
            export.look_after(&mut self.dataplane.workers)
        });
        let written = told.unwrap_or(Ok(())).and_then(|()| self.write_out_records());
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

    /// Has written, and told to those who hear of it, what `log` rules have said.
    pub(super) fn write_out_records(&mut self) -> Result<(), Unanswered> {
        let others = self.export.as_ref().is_some_and(Export::hears_lines);
        let lines = self.records.write_out(&mut self.dataplane.workers, &self.config, others)?;
        if let Some(export) = &mut self.export {
            export.tell_lines(lines);
        }
        Ok(())
    }

    /// Gives the number of entries.
    fn publish(&mut self, shards: &[Stats], ports_used: &[[u64; SPACES]]) -> u32 {
        let stats = total(shards);
        self.loads.resize(shards.len(), Load::default());
        let busy_ratios: Vec<f64> =
            self.loads.iter_mut().zip(shards).map(|(before, stats)| busy_ratio(before, stats.load)).collect();
        self.rules.publish(&self.config.policy, &stats.rules.policy);
        self.nat_rules.publish(&stats.rules);
        metrics::sets(&self.config.sets);
        self.pools.publish(ports_used, &stats.rules.source);
        let now = Instant::now();
        self.shard_alarms.watch(&stats, self.entries_limit(), now);
        self.pools.watch(now);
        self.groups.publish();
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
        if let Some(cluster) = &self.cluster {
            metrics::cluster(&cluster.status());
        }
        stats.entries
    }
}
