//! What the SNAT rules have to give and what is taken of it: for `sluice nat pools`, and for Prometheus.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;
use std::time::Instant;

use sluice_conntrack::nat::{MAX_ADDRESSES, PortBlock, SPACES};
use sluice_conntrack::{Configuration, DropReason, NatCounter};

use super::alarms::Alarm;
use super::nat_rules;
use crate::metrics;
use crate::socket::protocol::{NatSide, PoolStatistics, PortCounts};

/// The SNAT rules of one configuration.
#[derive(Default)]
pub struct Pools {
    /// The rules that translate, in their order.
    pools: Vec<Pool>,
    /// The blocks of all of them, one behind the other.
    blocks: Vec<PortBlock>,
    /// What has been published of the rules' counters.
    published: Vec<NatCounter>,
    /// The connections that have found no port since that was last looked at, and what was made of it, by the rule's name.
    exhausted: BTreeMap<String, (u64, Alarm)>,
}

/// A rule that translates.
struct Pool {
    /// Its name, or `source-` and its position.
    name: String,
    /// Its index among the rules.
    index: usize,
    /// Its blocks.
    blocks: Range<usize>,
    /// How many ports they have.
    ports: [u64; SPACES],
}

impl Pools {
    /// Those of a configuration.
    pub fn of(configuration: &Configuration) -> Pools {
        let mut pools = Pools::default();
        let rules = configuration.nat.source().enumerate();
        for (index, rule) in rules.filter(|(_, rule)| rule.target.translates()) {
            let first = pools.blocks.len();
            pools.blocks.extend(PortBlock::all_of(rule, &configuration.forwarding));
            pools.blocks.truncate(MAX_ADDRESSES);
            let blocks = first..pools.blocks.len();
            let sizes = pools.blocks[blocks.clone()].iter().map(PortBlock::sizes);
            let name = nat_rules::name(NatSide::Source, index, rule);
            pools.pools.push(Pool { name, index, blocks, ports: sum(sizes) });
        }
        pools
    }

    /// What is to be counted.
    pub fn blocks(&self) -> &[PortBlock] {
        &self.blocks
    }

    /// Each rule as it stands, where so much of each block is used.
    pub fn list(&self, used: &[[u64; SPACES]], counters: &[NatCounter]) -> Vec<PoolStatistics> {
        let row = |pool: &Pool| {
            let counter = counters.get(pool.index).copied().unwrap_or_default();
            PoolStatistics {
                pool: pool.name.clone(),
                addresses: pool.blocks.len() as u64,
                ports: PortCounts::from(pool.ports),
                used: PortCounts::from(sum(used
                    .get(pool.blocks.clone())
                    .unwrap_or_default()
                    .iter()
                    .copied())),
                bound: counter.bound,
                exhausted: counter.exhausted,
            }
        };
        self.pools.iter().map(row).collect()
    }

    /// Publishes each rule as it stands.
    pub fn publish(&mut self, used: &[[u64; SPACES]], counters: &[NatCounter]) {
        for row in self.list(used, counters) {
            // A rule that keeps ports, as a 1:1 network does, has none to give.
            if row.addresses > 0 {
                metrics::pool(&row.pool, row.ports, row.used);
            }
        }
        self.publish_counters(counters);
    }

    /// Has `next`, of the same rules with other addresses, take over.
    pub fn reroute(&mut self, next: Pools) {
        let (published, exhausted) = (mem::take(&mut self.published), mem::take(&mut self.exhausted));
        *self = Pools { published, exhausted, ..next };
    }

    /// Publishes what has come to the counters, and that a rule which `next` lacks has nothing to give any more; `next`
    /// takes over, of whose counters so much goes on.
    pub fn replace(&mut self, next: Pools, counters: &[NatCounter], goes_on: &[NatCounter]) {
        self.publish_counters(counters);
        let gives = |pools: &Pools, name: &str| {
            pools.pools.iter().any(|pool| pool.name == name && !pool.blocks.is_empty())
        };
        for Pool { name, .. } in &self.pools {
            if gives(self, name) && !gives(&next, name) {
                metrics::pool(name, PortCounts::default(), PortCounts::default());
            }
        }
        let mut exhausted = mem::take(&mut self.exhausted);
        exhausted.retain(|name, _| next.pools.iter().any(|pool| pool.name == *name));
        *self = Pools { exhausted, published: goes_on.to_vec(), ..next };
    }

    /// Logs which rules have run out of ports, and which have some again.
    pub fn watch(&mut self, now: Instant) {
        for (name, (more, alarm)) in &mut self.exhausted {
            let what = format!("nat: pool {name}: ports exhausted, dropping packet");
            alarm.log(mem::take(more), now, &what, "`sluice nat pools` shows all", "connections refused");
        }
    }

    fn publish_counters(&mut self, counters: &[NatCounter]) {
        self.published.resize(counters.len(), NatCounter::default());
        for pool in &self.pools {
            if let (Some(now), Some(before)) = (counters.get(pool.index), self.published.get(pool.index)) {
                let failures = now.exhausted.saturating_sub(before.exhausted);
                metrics::pool_failures(&pool.name, DropReason::NatExhausted, failures);
                self.exhausted.entry(pool.name.clone()).or_default().0 += failures;
            }
        }
        self.published.copy_from_slice(counters);
    }
}

/// The sum of each space.
fn sum<N: Into<u64>>(parts: impl Iterator<Item = [N; SPACES]>) -> [u64; SPACES] {
    parts.fold([0; SPACES], |mut all, part| {
        all.iter_mut().zip(part).for_each(|(all, part)| *all += part.into());
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_go_by_name_or_place_and_add_up_their_addresses() {
        let rules = "[{out: b, source: 10.1.0.0/16, keep: true},
            {out: b, source: 10.2.0.0/16, masquerade: true},
            {name: guests, out: b, source: 10.3.0.0/16, to: 203.0.113.8-203.0.113.9, ports: 2000-2999},
            {name: twin, out: b, source: 10.4.0.0/24, prefix: 198.51.100.0/24}]";
        let text = format!(
            "{{version: 1, nat: {{source: {rules}}}, interfaces: {{
             a: {{device: 'vdev:net_null0', addresses: [10.0.0.1/8]}},
             b: {{device: 'vdev:net_null1', addresses: [203.0.113.1/24]}}}}}}"
        );
        let config = crate::config::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let pools = Pools::of(&crate::config::lower(&config).unwrap());
        assert_eq!(pools.blocks().len(), 3);
        let counters = [0, 5, 6, 7].map(|bound| NatCounter { bound, exhausted: 1 });
        let shown = pools.list(&[[1, 2, 3], [10, 0, 0], [20, 0, 1]], &counters);
        let row = |pool: &str, addresses, ports: [u64; 3], used: [u64; 3], bound| PoolStatistics {
            pool: pool.to_owned(),
            addresses,
            ports: ports.into(),
            used: used.into(),
            bound,
            exhausted: 1,
        };
        let expected = [
            row("source-1", 1, [64_512, 64_512, 65_536], [1, 2, 3], 5),
            row("guests", 2, [2000; 3], [30, 0, 1], 6),
            row("twin", 0, [0; 3], [0; 3], 7),
        ];
        assert_eq!(shown, expected);
    }
}
