//! A worker as the host of its shard ([`sluice_conntrack::dispatch`]): mbufs, and where they go.

use dpdk::Mbuf;
use sluice_conntrack::dispatch::Host;
use sluice_conntrack::exchange::Message;
use sluice_conntrack::frame::Handed;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Instant, PortId, Shard, ShardId, Verdict};

use crate::frame::Carried;
use crate::handoff::{self, Peers};
use crate::link::Links;

/// All ways that a worker's packets and messages go.
pub(crate) struct Io {
    pub(crate) links: Links,
    pub(crate) peers: Peers<Mbuf>,
}

impl Host for Io {
    type Packet = Carried;

    const LANE: usize = handoff::WAITING;

    fn room(&self, to: ShardId) -> usize {
        self.peers.room(to)
    }

    /// One that does not leave is freed as it goes out of scope.
    #[inline]
    fn finish(&mut self, now: Instant, shard: &mut Shard, packet: Carried, verdict: &Verdict) {
        match verdict.action {
            Action::Forward(egress) => self.links.forward(now, shard, egress, packet, verdict),
            Action::Deliver | Action::Reject(..) => {
                let Carried { port, mbuf, .. } = packet;
                if let Some(heard) = self.links.answer(now, shard, port, mbuf, verdict) {
                    self.peers.broadcast(heard);
                }
            }
            Action::Fragment(..)
            | Action::Drop(_)
            | Action::Handoff(..)
            | Action::Hold(_)
            | Action::Announce(_)
            | Action::Acknowledge(_)
            | Action::Wait
            | Action::Reassemble(_) => {}
        }
    }

    fn reply(&mut self, shard: &mut Shard, Carried { port, mbuf, .. }: Carried) {
        self.links.reply(shard, port, mbuf);
    }

    fn make(&mut self, ingress: PortId, frame: &[u8]) -> Option<Carried> {
        self.links.pool.copy_from(frame).map(|mbuf| Carried::of(ingress, mbuf))
    }

    fn hand_off(&mut self, to: ShardId, handed: Handed, packet: Carried) -> Result<(), Carried> {
        let Carried { port, mbuf, .. } = packet;
        self.peers.hand_off(to, handed, port, mbuf).map_err(|mbuf| Carried::of(port, mbuf))
    }

    fn lane_room(&self, to: ShardId) -> usize {
        self.peers.lane_room(to)
    }

    fn send(&mut self, to: ShardId, message: Message) {
        self.peers.send(to, message);
    }

    fn receive(&mut self, from: ShardId) -> Option<Message> {
        self.peers.receive(from)
    }
}
