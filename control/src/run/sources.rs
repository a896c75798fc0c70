//! Who has made how many of the connections in the table, by a sample of it: for `sluice top`.

use std::collections::HashMap;
use std::net::IpAddr;

use sluice_engine::command::{Answer, Command, Unanswered};
use sluice_engine::report::SourceSample;

use super::workers::Workers;
use crate::socket::protocol::{Response, SourceCount, SourceCounts};

/// A sample of all workers, whose slots another phase makes others.
pub fn sample(workers: &mut Workers, phase: u32) -> Result<Response, Unanswered> {
    let mut counts = HashMap::<IpAddr, u64>::new();
    let mut sampled = 0;
    for answer in workers.ask_all(|| Command::SampleSources(Box::new(SourceSample::new(phase))))? {
        let Answer::SourcesSampled(sample) = answer else { return Err(Unanswered::Late) };
        sampled += sample.sources().len() as u64;
        sample.sources().iter().for_each(|source| *counts.entry(*source).or_default() += 1);
    }
    let mut sources: Vec<SourceCount> =
        counts.into_iter().map(|(source, entries)| SourceCount { source, entries }).collect();
    sources.sort_by_key(|count| (u64::MAX - count.entries, count.source));
    Ok(Response::Sources(SourceCounts { sampled, sources }))
}
