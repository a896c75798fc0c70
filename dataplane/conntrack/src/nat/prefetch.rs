//! Prefetching: what the translation of a new connection will look at is fetched some packets ahead of it.
//!
//! Nothing is decided here. Where the guess is wrong, the connection waits for memory, and that is all.

use super::compiled::CompiledRules;
use super::pools::Pools;
use crate::table::Table;
use crate::tuple::Tuple;
use ahash::RandomState;
use std::net::IpAddr;

/// What the last connection whose source was translated was bound by: most probably the next is, too.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastBound {
    /// The number of its rule.
    pub(super) rule: usize,
    /// The box's own address that the rule may mean.
    pub(super) own: Option<IpAddr>,
}

impl LastBound {
    /// Fetches the index bucket of the reply tuple that the connection of a packet without an entry will most probably
    /// get, and what is known of its port. Choices are drawn by `key`.
    #[inline]
    pub(super) fn prefetch(
        &self,
        (rules, pools, table): (&CompiledRules, &Pools, &Table),
        key: &RandomState,
        original: &Tuple,
    ) {
        let Some(compiled) = rules.source.get(self.rule) else { return };
        let candidate =
            compiled.candidate(original.family(), original.src, self.own, compiled.choice(key, original));
        let Some(candidate) = candidate else { return };
        let reply = Tuple { dst: candidate.address, ..original.invert() };
        table.index.prefetch(table.key(&reply).hash);
        pools.prefetch(reply.family(), reply.dst, reply.protocol(), reply.reply_port());
    }
}
