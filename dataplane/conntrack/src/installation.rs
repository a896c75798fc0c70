//! What a shard needs to work by a configuration.

use crate::configuration::Configuration;
use crate::nat::Pools;
use crate::rule_counters::{KeptRules, RuleCounters};
use std::sync::Arc;

/// A configuration, which all shards of a box share, with the memory for what one of them counts by it. Made by whoever may
/// allocate; a shard that puts it in force leaves what it had before in its place
/// ([`Shard::configure`](crate::Shard::configure)).
#[derive(Debug)]
pub struct Installation {
    /// The configuration.
    pub configuration: Arc<Configuration>,
    /// What its rules have come to.
    pub rule_counters: RuleCounters,
    /// Which of its rules the configuration before has, too.
    pub(crate) kept: Arc<KeptRules>,
    /// The ports of the addresses that sources are translated to.
    pub(crate) pools: Pools,
}

impl Installation {
    /// One by which nothing has been counted yet.
    pub fn new(configuration: impl Into<Arc<Configuration>>) -> Self {
        let configuration = configuration.into();
        Self {
            rule_counters: RuleCounters::new(&configuration),
            kept: Arc::default(),
            pools: Pools::new(configuration.source_addresses()),
            configuration,
        }
    }

    /// One in which what these rules have come to goes on.
    #[must_use]
    pub fn keeping(self, kept: Arc<KeptRules>) -> Self {
        Self { kept, ..self }
    }
}
