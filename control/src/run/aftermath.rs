//! What a configuration that has come in force has cut. Whoever has asked for it is answered when that is known: when the workers have
//! looked for connections which end at once, and all others have been looked at for what becomes of their next packet.
//!
//! That goes page by page, between all else that the control thread has to do, and has an end in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_conntrack::counters::Counters;
use sluice_conntrack::cut::{Change, Cut, Fate};
use sluice_engine::command::Unanswered;
use sluice_engine::report::{ListedChange, Page};
use tracing::info;

use super::listings::pages;
use super::reload::Askers;
use super::workers::Workers;
use crate::socket::protocol::{Cursor, Cuts, Response};

/// How long whoever has asked waits at most. A table of a million connections takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long workers that look through their tables are left alone.
const PAUSE: Duration = Duration::from_millis(5);

/// What is not known yet of a change that has come in force.
#[derive(Debug)]
pub struct Aftermath {
    change: Arc<Change>,
    revision: u64,
    /// What configurations had ended before.
    before: Ended,
    stage: Stage,
    cuts: Cuts,
    began: Instant,
    askers: Askers,
    answer: Option<Response>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Workers end what is to end at once.
    Sweeps,
    /// All others are looked at, from here on.
    Looks(Cursor),
    Over,
}

/// Connections that configurations have ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    addresses_lost: u64,
    routes_changed: u64,
}

impl Ended {
    /// As far as workers have counted them.
    pub const fn of(counters: &Counters) -> Ended {
        Ended { addresses_lost: counters.addresses_lost, routes_changed: counters.routes_changed }
    }
}

impl Aftermath {
    /// Of a change that has come in force now as this revision, before which configurations had ended so many.
    pub fn begin(change: Change, revision: u64, before: Ended, now: Instant) -> Aftermath {
        let stage = if change.may_cut() { Stage::Sweeps } else { Stage::Over };
        Aftermath {
            change: Arc::new(change),
            revision,
            before,
            stage,
            cuts: Cuts::default(),
            began: now,
            askers: Askers::new(),
            answer: None,
        }
    }

    /// Who waits for it gets this answer, and what was cut with it.
    pub fn tell(&mut self, answer: Response, askers: Askers) {
        (self.answer, self.askers) = (Some(answer), askers);
    }

    /// How long it has time until it goes on.
    pub const fn pause(&self) -> Duration {
        match self.stage {
            Stage::Sweeps => PAUSE,
            Stage::Looks(_) | Stage::Over => Duration::ZERO,
        }
    }

    /// Goes on a little; says whether that was all.
    ///
    /// # Errors
    /// Some worker does not answer.
    pub fn go_on(
        &mut self,
        workers: &mut Workers,
        count: impl FnOnce(&mut Workers) -> Result<Counters, Unanswered>,
        now: Instant,
    ) -> Result<bool, Unanswered> {
        if self.stage != Stage::Over && now.duration_since(self.began) > PATIENCE {
            self.cuts.incomplete = true;
            self.stage = Stage::Over;
        }
        match self.stage {
            Stage::Sweeps => {
                let counters = count(workers)?;
                if counters.sweeps == 0 {
                    // What ends from now on is still open when it is looked at, or is missed if it was not yet.
                    let Ended { addresses_lost, routes_changed } = Ended::of(&counters);
                    self.cuts.count(Cut::LostAddress, addresses_lost - self.before.addresses_lost);
                    self.cuts.count(Cut::RouteChanged, routes_changed - self.before.routes_changed);
                    self.stage = Stage::Looks(Cursor::default());
                }
            }
            Stage::Looks(from) => {
                let next = changed(workers, &self.change, from, |_, (fate, _)| {
                    if let Fate::Cut(cut) = fate {
                        self.cuts.count(*cut, 1);
                    }
                })?;
                self.stage = next.map_or(Stage::Over, Stage::Looks);
            }
            Stage::Over => {}
        }
        Ok(self.stage == Stage::Over)
    }

    /// Says what is known, in the log and to those who wait.
    pub fn end(mut self) {
        self.cuts.incomplete |= self.stage != Stage::Over;
        info!("configuration {}: {}", self.revision, self.cuts);
        let Some(answer) = self.answer else { return };
        let answer = answer.with_cuts(self.cuts);
        for asker in self.askers {
            // A client that has gone away wants no answer.
            let _ = asker.send(answer.clone());
        }
    }
}

/// Visits the connections that a change does something to on the next pages from a position on; gives the position behind them.
pub fn changed(
    workers: &mut Workers,
    change: &Arc<Change>,
    from: Cursor,
    mut visit: impl FnMut(u16, &ListedChange),
) -> Result<Option<Cursor>, Unanswered> {
    let list = |workers: &mut Workers, shard, page: Box<Page<ListedChange>>| {
        workers.list_changed(shard, page, change)
    };
    pages(workers, list, from, |_, listed| {
        listed.iter().for_each(|listed| visit(from.shard, listed));
        Ok(())
    })
}
