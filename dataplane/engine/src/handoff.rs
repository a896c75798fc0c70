//! Rings from worker to worker: for each ordered pair one of packets, one of messages, the lane of their shards, and one of
//! what is heard of neighbours.
//!
//! A ring is bounded, and one that is full loses the packet, counted: a worker never waits for another. Packets that one
//! worker hands to another arrive in their order, so a connection keeps its own. No message is ever lost: what finds no room
//! waits with its sender.

use rtrb::{Consumer, Producer, PushError, RingBuffer};
use sluice_conntrack::exchange::Message;
use sluice_conntrack::frame::Handed;
use sluice_conntrack::{PortId, ShardId};

use crate::neighbour::Heard;

/// Packets that wait in one ring, at most: as many as a receive queue holds, so that a worker that is late for a round
/// loses no more here than there.
pub(crate) const WAITING: usize = 1024;

/// What is heard of neighbours and waits in one ring, at most. What finds no room is missed, as any frame can be.
const HEARD: usize = 256;

/// A packet on its way to another worker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parcel<P> {
    /// The port it came in by.
    pub(crate) port: PortId,
    /// How it was handed over.
    pub(crate) handed: Handed,
    pub(crate) packet: P,
}

/// One worker's rings to and from all others.
#[derive(Debug)]
pub(crate) struct Peers<P> {
    /// By [`ShardId`]; none to itself.
    to: Vec<Option<Producer<Parcel<P>>>>,
    from: Vec<Consumer<Parcel<P>>>,
    /// By [`ShardId`], for messages.
    lanes_to: Vec<Option<Producer<Message>>>,
    lanes_from: Vec<Option<Consumer<Message>>>,
    /// For what is heard of neighbours.
    heard_to: Vec<Producer<Heard>>,
    heard_from: Vec<Consumer<Heard>>,
    /// Packets given away to be tracked.
    handed_off: u64,
}

/// The rings between so many workers: those of each, by its number.
pub(crate) fn mesh<P>(workers: usize) -> Vec<Peers<P>> {
    let alone = || Peers {
        to: Vec::new(),
        from: Vec::new(),
        lanes_to: Vec::new(),
        lanes_from: Vec::new(),
        heard_to: Vec::new(),
        heard_from: Vec::new(),
        handed_off: 0,
    };
    let mut mesh: Vec<Peers<P>> = (0..workers).map(|_| alone()).collect();
    for from in 0..workers {
        for to in 0..workers {
            let ring = (from != to).then(|| RingBuffer::new(WAITING));
            let (producer, consumer) = ring.unzip();
            let (speaker, hearer) = (from != to).then(|| RingBuffer::new(WAITING)).unzip();
            let (teller, learner) = (from != to).then(|| RingBuffer::new(HEARD)).unzip();
            mesh[from].heard_to.extend(teller);
            mesh[to].heard_from.extend(learner);
            mesh[from].lanes_to.push(speaker);
            mesh[to].lanes_from.push(hearer);
            mesh[from].to.push(producer);
            mesh[to].from.extend(consumer);
        }
    }
    mesh
}

impl<P> Peers<P> {
    /// Hands a packet over to be tracked; gives it back where the ring is full or there is no such shard.
    pub(crate) fn hand_off(&mut self, to: ShardId, handed: Handed, port: PortId, packet: P) -> Result<(), P> {
        let Some(ring) = self.to.get_mut(usize::from(to.0)).and_then(Option::as_mut) else {
            return Err(packet);
        };
        let parcel = Parcel { port, handed, packet };
        ring.push(parcel).map_err(|PushError::Full(parcel)| parcel.packet)?;
        self.handed_off += 1;
        Ok(())
    }

    /// Tells all others what is heard of a neighbour.
    pub(crate) fn broadcast(&mut self, heard: Heard) {
        for ring in &mut self.heard_to {
            // One whose ring is full misses it.
            let _ = ring.push(heard);
        }
    }

    /// The next of what another worker has heard of a neighbour, by the number of its ring.
    pub(crate) fn learn(&mut self, ring: usize) -> Option<Heard> {
        self.heard_from.get_mut(ring)?.pop().ok()
    }

    /// How many rings there are to take from.
    pub(crate) fn rings(&self) -> usize {
        self.from.len()
    }

    /// The next packet of one ring.
    pub(crate) fn take(&mut self, ring: usize) -> Option<Parcel<P>> {
        self.from.get_mut(ring)?.pop().ok()
    }

    /// How many packets can be handed to another shard now.
    pub(crate) fn room(&self, to: ShardId) -> usize {
        self.to.get(usize::from(to.0)).and_then(Option::as_ref).map_or(0, Producer::slots)
    }

    /// How much another shard can be told now, in messages.
    pub(crate) fn lane_room(&self, to: ShardId) -> usize {
        self.lanes_to.get(usize::from(to.0)).and_then(Option::as_ref).map_or(0, Producer::slots)
    }

    /// Says something to another shard, which has room for it.
    pub(crate) fn send(&mut self, to: ShardId, message: Message) {
        if let Some(lane) = self.lanes_to.get_mut(usize::from(to.0)).and_then(Option::as_mut) {
            let said = lane.push(message);
            debug_assert!(said.is_ok());
        }
    }

    /// The next message from another shard.
    pub(crate) fn receive(&mut self, from: ShardId) -> Option<Message> {
        self.lanes_from.get_mut(usize::from(from.0))?.as_mut()?.pop().ok()
    }

    /// Packets given away to be tracked.
    pub(crate) const fn handed_off(&self) -> u64 {
        self.handed_off
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbour::Speaker;
    use sluice_conntrack::verdict::Handoff;

    const PORT: PortId = PortId(3);

    fn handed(from: u16) -> Handed {
        Handed { from: ShardId(from), by: Handoff::Steering, hops: 1 }
    }

    #[test]
    fn each_pair_has_its_ring_in_order() {
        let mut mesh = mesh::<(u16, u32)>(4);
        for (from, peers) in (0..).zip(&mut mesh) {
            for to in (0..4).filter(|to| *to != from) {
                for number in 0..3 {
                    assert!(
                        peers.hand_off(ShardId(to), handed(from), PORT, (from * 10 + to, number)).is_ok()
                    );
                }
            }
            assert!(
                peers.hand_off(ShardId(from), handed(from), PORT, (0, 0)).is_err(),
                "nobody hands to itself"
            );
            assert!(
                peers.hand_off(ShardId(4), handed(from), PORT, (0, 0)).is_err(),
                "there is no such shard"
            );
            assert_eq!(peers.handed_off(), 9);
        }
        for (to, peers) in (0..).zip(&mut mesh) {
            let mut senders = Vec::new();
            for ring in 0..peers.rings() {
                let taken: Vec<_> = std::iter::from_fn(|| peers.take(ring)).collect();
                let ShardId(from) = taken[0].handed.from;
                let expected = (0..3).map(|number| (from * 10 + to, number));
                assert!(taken.iter().map(|parcel| parcel.packet).eq(expected));
                senders.push(from);
            }
            assert_eq!(senders, (0..4).filter(|from| *from != to).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_full_ring_refuses_and_keeps_what_it_has() {
        let mut mesh = mesh::<usize>(2);
        for number in 0..WAITING {
            assert!(mesh[0].hand_off(ShardId(1), handed(0), PORT, number).is_ok());
        }
        assert!(mesh[0].hand_off(ShardId(1), handed(0), PORT, WAITING).is_err());
        assert_eq!(mesh[0].handed_off(), WAITING as u64);
        assert_eq!(mesh[1].take(0).map(|parcel| parcel.packet), Some(0));
        assert!(mesh[0].hand_off(ShardId(1), handed(0), PORT, WAITING).is_ok());
    }

    #[test]
    fn what_is_heard_of_a_neighbour_reaches_all_others_and_takes_no_room_from_packets() {
        let mut mesh = mesh::<u8>(3);
        let speaker = Speaker { address: [10, 0, 0, 1].into(), mac: [2; 6] };
        let heard = Heard { ingress: PORT, speaker, to_us: false, overrides: true };
        for _ in 0..2 * WAITING {
            mesh[1].broadcast(heard);
        }
        assert_eq!((mesh[0].learn(0), mesh[0].learn(1)), (Some(heard), None));
        assert!(mesh[2].learn(1).is_some() && mesh[1].learn(0).is_none());
        assert!(mesh[1].hand_off(ShardId(0), handed(1), PORT, 7).is_ok());
        assert_eq!(mesh[0].take(0).map(|parcel| parcel.packet), Some(7));
    }
}
