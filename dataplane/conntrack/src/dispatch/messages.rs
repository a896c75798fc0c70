//! What shards say to one another leaves before the packets that it is about.

use super::Host;
use crate::ids::ShardId;
use crate::shard::Shard;

/// Sends other shards the messages that wait for them, as far as their lanes have room.
pub fn flush_messages<H: Host>(shard: &mut Shard, host: &mut H) {
    if !shard.is_silent() {
        others(shard).for_each(|to| flush_messages_to(shard, host, to));
    }
}

/// The same with one shard.
pub(super) fn flush_messages_to<H: Host>(shard: &mut Shard, host: &mut H, to: ShardId) {
    let mut room = host.lane_room(to);
    while room > 0
        && let Some(message) = shard.next_message(to)
    {
        host.send(to, message);
        room -= 1;
    }
    shard.exchange.note_room(to, room);
}

/// Tells all other shards what a packet announces that is about to leave. They have room for it.
#[cold]
pub(super) fn announce<H: Host>(shard: &mut Shard, host: &mut H) {
    flush_messages(shard, host);
    debug_assert!(!shard.exchange.is_announcing(), "an expectation is not made where a lane is full");
}

/// All other shards.
pub(super) fn others(shard: &Shard) -> impl Iterator<Item = ShardId> + use<> {
    let (own, shards) = (shard.steering().own(), shard.steering().shards());
    (0..shards).map(ShardId).filter(move |other| *other != own)
}
