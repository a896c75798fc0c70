//! A configuration that somebody considers: the file was read, nothing of it is in force, and it is asked page by page what it would do to
//! open connections.
//!
//! One is kept, for as long as somebody asks about it. Whoever comes with the number of another one begins anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_conntrack::Configuration;
use sluice_conntrack::cut::{Change, Fate};
use sluice_engine::command::Unanswered;

use super::aftermath::changed;
use super::lines::Lines;
use super::workers::Workers;
use crate::socket::protocol::{Cursor, CutConnection, CutPage, Cuts, Response};

/// Nobody considers what was not asked about for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The configuration that is considered, if one is.
#[derive(Debug, Default)]
pub struct Considering {
    /// The number of the last one.
    number: u64,
    change: Option<(Arc<Change>, Instant)>,
}

impl Considering {
    /// Somebody considers putting another configuration in force; gives the number to ask about it by.
    pub fn begin(&mut self, before: &Arc<Configuration>, after: Arc<Configuration>, now: Instant) -> u64 {
        self.number += 1;
        let change = Change::new(Arc::clone(before), after).with_stale_nat();
        self.change = Some((Arc::new(change), now));
        self.number
    }

    /// What the one of that number cuts, and whose translation it makes stale, from a position on; the connections themselves where `lines` says how to write them.
    pub fn answer(
        &mut self,
        workers: &mut Workers,
        number: u64,
        lines: Option<&Lines>,
        from: Cursor,
        now: Instant,
    ) -> Result<Response, Unanswered> {
        let Some((change, asked)) = self.change.as_mut().filter(|_| number == self.number) else {
            let message = "another configuration is in force or considered by now: ask anew".to_owned();
            return Ok(Response::Error { message });
        };
        *asked = now;
        let (mut cuts, mut stale_nat, mut connections) = (Cuts::default(), 0, Vec::new());
        let next = changed(workers, change, from, |shard, (fate, listed)| {
            match fate {
                Fate::Cut(cut) => cuts.count(*cut, 1),
                Fate::StaleNat => stale_nat += 1,
            }
            let connection = |lines: &Lines| CutConnection {
                reason: fate.label().to_owned(),
                line: lines.entry(shard, listed),
            };
            connections.extend(lines.map(connection));
        })?;
        Ok(Response::Cuts(CutPage { cuts, stale_nat, connections, next }))
    }

    /// What was considered is so no more: another configuration has come in force.
    pub fn end(&mut self) {
        self.change = None;
    }

    /// Forgets what nobody asks about any more.
    pub fn look_after(&mut self, now: Instant) {
        self.change.take_if(|(_, asked)| now.duration_since(*asked) > PATIENCE);
    }
}
