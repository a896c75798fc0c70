//! Who runs a shard: a worker over DPDK's queues and rings, the model checker, a simulation.

use crate::exchange::Message;
use crate::frame::{Frame, Handed};
use crate::ids::{PortId, ShardId};
use crate::shard::Shard;
use crate::time::Instant;
use crate::verdict::Verdict;

/// What only the owner of packets and rings can do. Who runs the only shard of a box has no need to say how others are reached: all that
/// goes there is refused, and nothing comes from there.
pub trait Host {
    /// A packet, with the port it came in by and how it came from another shard.
    type Packet: Frame;

    /// Messages that the lane from another shard holds, at most. So many are taken in at once: what others go on saying
    /// meanwhile is heard the next time.
    const LANE: usize = 0;

    /// Does with a packet what a verdict says that is its last: sends it, answers it, drops it.
    fn finish(&mut self, now: Instant, shard: &mut Shard, packet: Self::Packet, verdict: &Verdict);

    /// Sends a packet that has become the answer to itself back by the port that it came in by.
    fn reply(&mut self, shard: &mut Shard, packet: Self::Packet);

    /// A packet of the box's own making, as if it had come in by a port. `None` where there is no memory for it.
    fn make(&mut self, ingress: PortId, frame: &[u8]) -> Option<Self::Packet>;

    /// Hands a packet to another shard.
    ///
    /// # Errors
    /// The packet, where there is no room for it.
    fn hand_off(&mut self, _to: ShardId, _handed: Handed, packet: Self::Packet) -> Result<(), Self::Packet> {
        Err(packet)
    }

    /// How many packets can be handed to another shard now.
    fn room(&self, _to: ShardId) -> usize {
        0
    }

    /// How many messages the lane to another shard has room for.
    fn lane_room(&self, _to: ShardId) -> usize {
        0
    }

    /// Says something to another shard, in order. There is room.
    fn send(&mut self, _to: ShardId, _message: Message) {}

    /// The next message from another shard.
    fn receive(&mut self, _from: ShardId) -> Option<Message> {
        None
    }
}
