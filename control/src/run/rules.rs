//! What the rules of the policy have decided: for `sluice stats`, and for Prometheus.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;

use sluice_conntrack::{KeptRules, RuleCounter};

use crate::config::{Action, Config, DEFAULT_RULE, Policy};
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

/// Which rules of a configuration were in the one before, by all that is written of them.
pub fn kept(before: &Config, now: &Config) -> KeptRules {
    let mut policy = same(&before.policy.rules, &now.policy.rules);
    if before.policy.default == now.policy.default {
        policy.push((before.policy.rules.len(), now.policy.rules.len()));
    }
    KeptRules {
        policy,
        source: same(&before.nat.source, &now.nat.source),
        destination: same(&before.nat.destination, &now.nat.destination),
    }
}

/// The numbers of what is in both lists; of what is in one several times, each time once.
fn same<T: Debug>(before: &[T], now: &[T]) -> Vec<(usize, usize)> {
    let mut known: HashMap<String, VecDeque<usize>> = HashMap::new();
    for (number, rule) in before.iter().enumerate() {
        known.entry(format!("{rule:?}")).or_default().push_back(number);
    }
    let find = |(number, rule): (usize, &T)| {
        let old = known.get_mut(&format!("{rule:?}"))?.pop_front()?;
        Some((old, number))
    };
    now.iter().enumerate().filter_map(find).collect()
}

/// What has been published of the counters of one configuration. What Prometheus gets of rules that the next one does not have goes on,
/// too.
#[derive(Debug, Default)]
pub struct Published(Vec<RuleCounter>);

impl Published {
    /// Of these counters all was published before.
    pub fn of(counters: Vec<RuleCounter>) -> Published {
        Published(counters)
    }

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
    fn rules_are_kept_wherever_they_stand() {
        let config = |policy: &str, nat: &str| {
            let interfaces = "{a: {device: 'vdev:net_null0'}, b: {device: 'vdev:net_null1'}}";
            let text = format!("version: 1\ninterfaces: {interfaces}\npolicy: {policy}\nnat: {nat}");
            crate::config::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
        };
        let before = config(
            "{rules: [{name: x, action: accept}, {action: log}, {action: log}, {name: y, action: drop}]}",
            "{source: [{out: b, keep: true}]}",
        );
        let now = config(
            "{rules: [{action: log}, {name: y, action: accept}, {name: x, action: accept}]}",
            "{source: [{out: a, keep: true}, {out: b, keep: true}]}",
        );
        let kept = kept(&before, &now);
        assert_eq!(kept.policy, [(1, 0), (0, 2), (4, 3)]);
        assert_eq!((kept.source, kept.destination), (vec![(0, 1)], vec![]));
        let other = super::kept(&before, &config("{default: accept}", "{}"));
        assert_eq!(other, KeptRules::default(), "another default counts anew");
    }

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
