//! What a packet of a replay came to with helpers: what all shards have counted after it and not before it.

use std::collections::{BTreeMap, HashSet};

use sluice_conntrack::counters::Counters;
use sluice_conntrack::expectations::ExpectationId;
use sluice_conntrack::helpers::{HelperEvent, HelperId};
use sluice_conntrack::listing::Layout;

use super::workers::Workers;

/// How often each event came of each helper.
type Events = [[u64; HelperEvent::ALL.len()]; HelperId::ALL.len()];

/// Those that a packet brought, by helper.
pub type Came = BTreeMap<&'static str, Vec<&'static str>>;

/// What came of helpers up to the last packet.
#[derive(Default)]
pub struct Helped {
    before: Events,
    seen: HashSet<ExpectationId>,
}

impl Helped {
    /// What happens up to here is no packet's.
    pub fn begin(&mut self, workers: &Workers) {
        self.before = events(workers);
    }

    /// What has happened since then, and lines of what is expected anew.
    pub fn end(&mut self, workers: &Workers) -> (Came, Vec<String>) {
        let after = events(workers);
        if after == self.before {
            return Default::default();
        }
        let mut came = Came::new();
        for (helper, (before, after)) in HelperId::ALL.iter().zip(self.before.iter().zip(&after)) {
            for (event, (before, after)) in HelperEvent::ALL.iter().zip(before.iter().zip(after)) {
                let times = after.saturating_sub(*before) as usize;
                came.entry(helper.name()).or_default().extend(vec![event.label(); times]);
            }
        }
        came.retain(|_, events| !events.is_empty());
        (came, self.expected(workers))
    }

    fn expected(&mut self, workers: &Workers) -> Vec<String> {
        let mut lines = Vec::new();
        for shard in workers.shards() {
            let mut next = Some(0);
            while let Some(cursor) = next {
                next = shard.list_expectations(cursor, u32::MAX, |id, expectation| {
                    if self.seen.insert(id) {
                        let mut line = String::new();
                        // Writing to a String cannot fail.
                        let _ = expectation.write(Layout::Conntrack, &mut line);
                        lines.push(line);
                    }
                });
            }
        }
        lines.sort();
        lines
    }
}

fn events(workers: &Workers) -> Events {
    let mut all = Counters::default();
    workers.shards().for_each(|shard| all.add(&shard.counters()));
    all.helper_events
}
