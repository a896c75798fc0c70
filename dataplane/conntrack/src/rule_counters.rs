//! What the rules of a configuration have come to in one shard.

use crate::configuration::Configuration;
use crate::ids::RuleId;
use crate::nat::BoundBy;

/// Packets and bytes that a rule has decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounter {
    /// Packets.
    pub packets: u64,
    /// Bytes of their IP datagrams.
    pub bytes: u64,
}

impl RuleCounter {
    /// Adds what the same rule has decided elsewhere.
    pub const fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// What a source rule has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatCounter {
    /// Connections it has bound.
    pub bound: u64,
    /// Connections that were dropped because all ports were taken.
    pub exhausted: u64,
}

impl NatCounter {
    /// Adds what the same rule has come to elsewhere.
    pub const fn add(&mut self, other: Self) {
        self.bound += other.bound;
        self.exhausted += other.exhausted;
    }
}

/// Which rules of a configuration were in the one before: the number of each there, and here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptRules {
    /// Rules of the policy; its default has the number behind the last.
    pub policy: Vec<(usize, usize)>,
    /// Source rules.
    pub source: Vec<(usize, usize)>,
    /// Destination rules.
    pub destination: Vec<(usize, usize)>,
}

/// The counters of all rules, by their numbers. Those of a rule go on in the next configuration that has it, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleCounters {
    /// What each rule of the policy has decided; the last one is its default.
    pub policy: Vec<RuleCounter>,
    /// What each source rule has come to.
    pub source: Vec<NatCounter>,
    /// The connections that each destination rule has bound.
    pub destination: Vec<u64>,
}

impl RuleCounters {
    /// Those of a configuration, all zero.
    pub fn new(configuration: &Configuration) -> Self {
        Self {
            policy: vec![RuleCounter::default(); configuration.policy.rules.len() + 1],
            source: vec![NatCounter::default(); configuration.nat.source().len()],
            destination: vec![0; configuration.nat.destination().len()],
        }
    }

    /// Counts a packet of so many bytes for the rule that has decided about it; `None` is the policy's default.
    #[inline(always)]
    pub(crate) fn count(&mut self, rule: Option<RuleId>, bytes: u32) {
        let last = self.policy.len().wrapping_sub(1);
        if let Some(counter) = self.policy.get_mut(rule.map_or(last, |RuleId(number)| usize::from(number))) {
            counter.packets += 1;
            counter.bytes += u64::from(bytes);
        }
    }

    /// Counts a connection for the rules that it was bound by, when it has all that it needs of this shard and of others.
    #[inline(always)]
    pub(crate) fn count_bound(&mut self, rules: BoundBy) {
        if let Some(counter) = rules.source().and_then(|rule| self.source.get_mut(rule)) {
            counter.bound += 1;
        }
        if let Some(bound) = rules.destination().and_then(|rule| self.destination.get_mut(rule)) {
            *bound += 1;
        }
    }

    /// Counts one that was dropped because its source rule has no port for it.
    pub(crate) fn count_exhausted(&mut self, rules: BoundBy) {
        if let Some(counter) = rules.source().and_then(|rule| self.source.get_mut(rule)) {
            counter.exhausted += 1;
        }
    }

    /// Goes on where those of rules that were kept have come to, and allocates nothing.
    pub fn go_on(&mut self, before: &Self, kept: &KeptRules) {
        fn list<T: Copy>(now: &mut [T], before: &[T], kept: &[(usize, usize)]) {
            for (old, new) in kept {
                if let (Some(now), Some(before)) = (now.get_mut(*new), before.get(*old)) {
                    *now = *before;
                }
            }
        }
        list(&mut self.policy, &before.policy, &kept.policy);
        list(&mut self.source, &before.source, &kept.source);
        list(&mut self.destination, &before.destination, &kept.destination);
    }

    /// Copies those of rules that both have, and allocates nothing.
    pub fn copy_from(&mut self, other: &Self) {
        let Self { policy, source, destination } = self;
        policy.iter_mut().zip(&other.policy).for_each(|(own, other)| *own = *other);
        source.iter_mut().zip(&other.source).for_each(|(own, other)| *own = *other);
        destination.iter_mut().zip(&other.destination).for_each(|(own, other)| *own = *other);
    }

    /// Adds what the same rules have come to in another shard.
    pub fn add(&mut self, other: &Self) {
        let Self { policy, source, destination } = self;
        policy.resize(policy.len().max(other.policy.len()), RuleCounter::default());
        policy.iter_mut().zip(&other.policy).for_each(|(own, more)| own.add(*more));
        source.resize(source.len().max(other.source.len()), NatCounter::default());
        source.iter_mut().zip(&other.source).for_each(|(own, more)| own.add(*more));
        destination.resize(destination.len().max(other.destination.len()), 0);
        destination.iter_mut().zip(&other.destination).for_each(|(own, more)| *own += more);
    }
}
