//! What the rules of the policy have decided: for `sluice stats`, and for Prometheus.

use sluice_conntrack::RuleCounter;

use crate::config::{Action, DEFAULT_RULE, Policy};
use crate::metrics;
use crate::socket::protocol::RuleStatistics;

/// Each rule by its name, or `#` and its position, the default last. `mark` and `log` rules decide nothing and are left
/// out.
pub fn list(policy: &Policy, counters: &[RuleCounter]) -> Vec<RuleStatistics> {
    let rules = deciding(policy).zip(counters).enumerate();
    let shown = rules.filter(|(_, ((decides, _), _))| *decides);
    shown
        .map(|(index, ((_, name), counter))| RuleStatistics {
            rule: name.map_or_else(|| format!("#{index}"), str::to_owned),
            packets: counter.packets,
            bytes: counter.bytes,
        })
        .collect()
}

/// What has been published of the counters of one configuration. They begin anew with the next one, and what
/// Prometheus gets goes on.
#[derive(Debug, Default)]
pub struct Published(Vec<RuleCounter>);

impl Published {
    /// Publishes what has come to the counters of rules that have a name.
    pub fn publish(&mut self, policy: &Policy, counters: &[RuleCounter]) {
        self.0.resize(counters.len(), RuleCounter::default());
        for (((decides, name), now), before) in deciding(policy).zip(counters).zip(&self.0) {
            if let (true, Some(name)) = (decides, name) {
                let packets = now.packets.saturating_sub(before.packets);
                metrics::rule(name, packets, now.bytes.saturating_sub(before.bytes));
            }
        }
        self.0.copy_from_slice(counters);
    }
}

/// In the order of the counters: whether a rule decides, and its name.
fn deciding(policy: &Policy) -> impl Iterator<Item = (bool, Option<&str>)> {
    let decides = |action| !matches!(action, Some(Action::Mark(_) | Action::Log));
    let rules = policy.rules.iter().map(move |rule| (decides(rule.action), rule.name.as_deref()));
    rules.chain([(true, Some(DEFAULT_RULE))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_go_by_name_or_place() {
        let policy = "{rules: [{action: accept}, {action: log}, {name: web, action: drop}]}";
        let text = format!(
            "version: 1\npolicy: {policy}\ninterfaces: {{a: {{device: 'vdev:net_null0'}}, b: {{device: 'vdev:net_null1'}}}}"
        );
        let config = crate::config::parse("test", text.as_bytes()).unwrap();
        let counters: Vec<_> = (1..=4).map(|packets| RuleCounter { packets, bytes: packets * 100 }).collect();
        let shown: Vec<_> = list(&config.policy, &counters)
            .into_iter()
            .map(|RuleStatistics { rule, packets, bytes }| (rule, packets, bytes))
            .collect();
        let expected = [("#0", 1, 100), ("web", 3, 300), ("default", 4, 400)];
        assert_eq!(shown, expected.map(|(rule, packets, bytes)| (rule.to_owned(), packets, bytes)));
    }
}
