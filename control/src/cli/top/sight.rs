//! What there is to see: two answers of a daemon beside each other, and a sample of its table.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use super::super::ask::{Failure, unexpected};
use super::super::rates::{PerSecond, Rates};
use super::super::stats::statistics;
use crate::socket::Client;
use crate::socket::protocol::{
    Counted, PoolStatistics, Request, Response, SourceCount, SourceCounts, Statistics,
};

/// How many samples of the table count: the last ones.
const SAMPLES: usize = 10;

/// What the slots of the next sample are moved by: a prime, so that it is long until they come again.
const STRIDE: u32 = 7919;

/// What lists are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// What goes fastest, or is fullest.
    #[default]
    Rate,
    /// What was counted most often.
    Total,
    /// The name.
    Name,
}

impl Sort {
    /// That of a key.
    pub(super) const fn by_key(letter: char) -> Option<Self> {
        match letter {
            'r' => Some(Self::Rate),
            't' => Some(Self::Total),
            'n' => Some(Self::Name),
            _ => None,
        }
    }

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Total => "total",
            Self::Name => "name",
        }
    }
}

/// Why packets were dropped.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Drops {
    pub reason: String,
    pub rate: f64,
    pub total: u64,
}

/// All that is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sight {
    pub statistics: Statistics,
    pub rates: Rates,
    pub drops: Vec<Drops>,
    pub pools: Vec<PoolStatistics>,
    pub sources: SourceCounts,
}

impl Sight {
    /// Drops, those first that `sort` says.
    pub(super) fn sorted_drops(&self, sort: Sort) -> Vec<&Drops> {
        let mut all: Vec<_> = self.drops.iter().collect();
        all.sort_by(|one, other| match sort {
            Sort::Rate => other.rate.total_cmp(&one.rate).then(other.total.cmp(&one.total)),
            Sort::Total => other.total.cmp(&one.total),
            Sort::Name => one.reason.cmp(&other.reason),
        });
        all
    }

    /// Pools, likewise: those first of which most of some protocol's ports are in use, or that have bound most.
    pub(super) fn sorted_pools(&self, sort: Sort) -> Vec<&PoolStatistics> {
        let mut all: Vec<_> = self.pools.iter().collect();
        all.sort_by(|one, other| match sort {
            Sort::Rate => fullness(other).total_cmp(&fullness(one)),
            Sort::Total => other.bound.cmp(&one.bound),
            Sort::Name => one.pool.cmp(&other.pool),
        });
        all
    }

    /// Sources, by name or by entries.
    pub(super) fn sorted_sources(&self, sort: Sort) -> Vec<&SourceCount> {
        let mut all: Vec<_> = self.sources.sources.iter().collect();
        if sort == Sort::Name {
            // The busiest of them only.
            all.truncate(16);
            all.sort_by_key(|count| count.source);
        }
        all
    }
}

/// The part of the ports that are in use, of the protocol with the fewest left.
pub(super) fn fullness(pool: &PoolStatistics) -> f64 {
    let used = pool.used.named().into_iter().zip(pool.ports.named());
    used.map(|((_, used), (_, all))| used as f64 / all.max(1) as f64).fold(0.0, f64::max)
}

/// A daemon that is looked at again and again.
pub(super) struct Watch {
    client: Client,
    before: (Instant, Statistics, Vec<Counted>),
    samples: VecDeque<SourceCounts>,
    phase: u32,
}

impl Watch {
    pub(super) fn begin(mut client: Client) -> Result<Self, Failure> {
        let before = (Instant::now(), statistics(&mut client)?, drops(&mut client)?);
        Ok(Self { client, before, samples: VecDeque::new(), phase: 0 })
    }

    /// What has been since the last look.
    pub(super) fn look(&mut self) -> Result<Sight, Failure> {
        let client = &mut self.client;
        let now = (Instant::now(), statistics(client)?, drops(client)?);
        let pools = match client.ask(&Request::Pools)? {
            Response::Pools { pools } => pools,
            _ => return Err(unexpected()),
        };
        match client.ask(&Request::Sources { phase: self.phase })? {
            Response::Sources(sample) => self.samples.push_back(sample),
            _ => return Err(unexpected()),
        }
        self.phase = self.phase.wrapping_add(STRIDE);
        let surplus = self.samples.len().saturating_sub(SAMPLES);
        self.samples.drain(..surplus);
        let (asked, before, dropped) = &self.before;
        let time = now.0.duration_since(*asked);
        let sight = Sight {
            rates: Rates::between(before, &now.1, time),
            drops: rates_of(&PerSecond(time), dropped, &now.2),
            statistics: now.1.clone(),
            pools,
            sources: sum(&self.samples),
        };
        self.before = now;
        Ok(sight)
    }
}

fn drops(client: &mut Client) -> Result<Vec<Counted>, Failure> {
    match client.ask(&Request::Drops)? {
        Response::Drops { drops, .. } => Ok(drops),
        _ => Err(unexpected()),
    }
}

/// Reasons for which packets have been dropped at all.
fn rates_of(per_second: &PerSecond, before: &[Counted], after: &[Counted]) -> Vec<Drops> {
    let rates = per_second.counted(before, after);
    let rate = |reason: &str| rates.iter().find(|(name, _)| name == reason).map_or(0.0, |(_, rate)| *rate);
    let all = after.iter().filter(|counted| counted.packets > 0);
    all.map(|counted| Drops {
        reason: counted.name.clone(),
        rate: rate(&counted.name),
        total: counted.packets,
    })
    .collect()
}

/// What several samples have come to.
fn sum(samples: &VecDeque<SourceCounts>) -> SourceCounts {
    let mut counts = HashMap::<IpAddr, u64>::new();
    for count in samples.iter().flat_map(|sample| &sample.sources) {
        *counts.entry(count.source).or_default() += count.entries;
    }
    let mut sources: Vec<_> =
        counts.into_iter().map(|(source, entries)| SourceCount { source, entries }).collect();
    sources.sort_by_key(|count| (u64::MAX - count.entries, count.source));
    SourceCounts { sampled: samples.iter().map(|sample| sample.sampled).sum(), sources }
}
