//! Foreseeing: what the translation of a new connection will look at is fetched some packets ahead of it.
//!
//! Nothing is decided here. Where the guess is wrong, the connection waits for memory, and that is all.

use crate::forward::Way;
use crate::frame::Frame;
use crate::headers::{Headers, Packet};
use crate::policy::Facts;
use crate::shard::Shard;
use crate::tuple::{Direction, Tuple};
use crate::verdict::State;

impl Shard {
    /// Fetches the index bucket of the reply tuple that the connection of a packet without an entry will most probably
    /// get, and what is known of its port.
    #[inline(never)]
    pub(crate) fn foresee<F: Frame>(&self, frame: &F, headers: &Headers) {
        let Way::Open(egress) = self.configuration.forwarding.way(frame, headers, None) else { return };
        let facts = Facts {
            state: Some(State::New),
            direction: Some(Direction::Original),
            egress: Some(egress.port),
            ..Facts::of_packet(Packet { headers, head: frame.head() }, frame.port())
        };
        let original = &headers.tuple;
        let (place, own) = self.source_rule(&facts, egress);
        let rule = place.and_then(|place| self.configuration.nat.source.get(place));
        let wish =
            rule.and_then(|rule| rule.wish(facts.family, original.src, own, self.choice(rule, original)));
        let Some(wish) = wish else { return };
        let reply = Tuple { dst: wish.address, ..original.invert() };
        self.index.prefetch(self.key(&reply).hash);
        self.configuration.pools.prefetch(reply.family(), reply.dst, reply.protocol(), reply.reply_port());
    }
}
