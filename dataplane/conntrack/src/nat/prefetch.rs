//! Prefetching: what the translation of a new connection will look at is fetched some packets ahead of it.
//!
//! Nothing is decided here. Where the guess is wrong, the connection waits for memory, and that is all.

use crate::headers::Headers;
use crate::shard::Shard;
use crate::tuple::Tuple;
use std::net::IpAddr;

/// What the last connection whose source was translated was bound by: most probably the next is, too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastBound {
    /// The place of its rule.
    pub(super) place: usize,
    /// The box's own address that the rule may mean.
    pub(super) own: Option<IpAddr>,
}

impl Shard {
    /// Fetches the index bucket of the reply tuple that the connection of a packet without an entry will most probably
    /// get, and what is known of its port.
    #[inline(never)]
    pub(crate) fn prefetch_translation(&self, headers: &Headers) {
        let LastBound { place, own } = self.last_bound;
        let Some(binder) = self.configuration.binders.source.get(place) else { return };
        let original = &headers.tuple;
        let wish = binder.wish(original.family(), original.src, own, self.choice(binder, original));
        let Some(wish) = wish else { return };
        let reply = Tuple { dst: wish.address, ..original.invert() };
        self.table.index.prefetch(self.table.key(&reply).hash);
        self.configuration.pools.prefetch(reply.family(), reply.dst, reply.protocol(), reply.reply_port());
    }
}
