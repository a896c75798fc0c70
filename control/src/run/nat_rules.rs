//! What the rules of NAT have bound: for `sluice nat rules`, and for Prometheus.

use sluice_conntrack::nat;
use sluice_conntrack::{Configuration, RuleCounters};

use crate::metrics;
use crate::socket::protocol::{NatRuleStatistics, NatSide};

/// The rules of one configuration that translate, in the order in which packets meet them.
pub struct NatRules {
    rules: Vec<NatRule>,
    /// How many connections of each have been published. What Prometheus gets of rules that the next configuration
    /// does not have goes on, too.
    published: Vec<u64>,
}

/// A rule that translates.
struct NatRule {
    side: NatSide,
    /// Its index among the rules of its side.
    index: usize,
    name: String,
}

/// The name of a rule, or its side and index.
pub fn name(side: NatSide, index: usize, rule: &nat::NatRule) -> String {
    rule.name.clone().unwrap_or_else(|| format!("{}-{index}", side.as_str()))
}

impl NatRules {
    /// Those of a configuration, of which so much was published before, as it goes on.
    pub fn of(configuration: &Configuration, counters: &RuleCounters) -> NatRules {
        let of_side = |side, (index, rule): (usize, &nat::NatRule)| {
            rule.target.translates().then(|| NatRule { side, index, name: name(side, index, rule) })
        };
        let destination = configuration.nat.destination().enumerate();
        let destination = destination.filter_map(|rule| of_side(NatSide::Destination, rule));
        let source = configuration.nat.source().enumerate();
        let rules: Vec<_> =
            destination.chain(source.filter_map(|rule| of_side(NatSide::Source, rule))).collect();
        let rules = NatRules { rules, published: Vec::new() };
        NatRules { published: rules.list(counters).iter().map(|row| row.bound).collect(), ..rules }
    }

    /// Each rule as it stands.
    pub fn list(&self, counters: &RuleCounters) -> Vec<NatRuleStatistics> {
        let row = |NatRule { side, index, name }: &NatRule| {
            let bound = match side {
                NatSide::Destination => counters.destination.get(*index).copied(),
                NatSide::Source => counters.source.get(*index).map(|counter| counter.bound),
            };
            NatRuleStatistics { rule: name.clone(), side: *side, bound: bound.unwrap_or_default() }
        };
        self.rules.iter().map(row).collect()
    }

    /// Publishes what has come to the counters.
    pub fn publish(&mut self, counters: &RuleCounters) {
        for (row, published) in self.list(counters).iter().zip(&mut self.published) {
            metrics::nat_rule(&row.rule, row.side.as_str(), row.bound.saturating_sub(*published));
            *published = row.bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::NatCounter;

    #[test]
    fn rules_go_by_name_or_place_in_the_order_that_packets_meet_them() {
        let nat = "{source: [{out: b, source: 10.1.0.0/16, keep: true}, {out: b, masquerade: true}],
            destination: [{in: b, protocol: tcp, destination: 203.0.113.1, to: 10.0.0.5},
            {name: web, in: b, protocol: udp, destination: 203.0.113.1, to: 10.0.0.6}]}";
        let text = format!(
            "{{version: 1, nat: {nat}, interfaces: {{
             a: {{device: 'vdev:net_null0', addresses: [10.0.0.1/8]}},
             b: {{device: 'vdev:net_null1', addresses: [203.0.113.1/24]}}}}}}"
        );
        let config = crate::config::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let rules = {
            let lowered = crate::config::lower(&config).unwrap();
            NatRules::of(&lowered, &RuleCounters::new(&lowered))
        };
        let counter = |bound| NatCounter { bound, exhausted: 0 };
        let counters = RuleCounters {
            source: vec![counter(0), counter(3)],
            destination: vec![1, 2],
            ..RuleCounters::default()
        };
        let shown = rules.list(&counters);
        let shown: Vec<_> =
            shown.iter().map(|row| (row.rule.as_str(), row.side.as_str(), row.bound)).collect();
        let expected =
            [("destination-0", "destination", 1), ("web", "destination", 2), ("source-1", "source", 3)];
        assert_eq!(shown, expected);
    }
}
