//! What is done with a packet once it is decided about: sent, answered, handed to another worker, or held until another
//! shard knows its connection ([`sluice_conntrack::message`]).

use dpdk::{Mbuf, Mempool};
use sluice_conntrack::frame::Handed;
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::message::{MOST_CLAIMS, Message, Settled};
use sluice_conntrack::verdict::{Action, Handoff};
use sluice_conntrack::{DropReason, Instant, PortId, Shard, ShardId, Verdict};

use crate::frame::Received;
use crate::handoff::Peers;
use crate::link::Links;

/// Packets that are held, at most: the first of each claim under way, and as many behind them.
const MOST_HELD: usize = 2 * MOST_CLAIMS;

/// A packet in a worker's hands.
pub(crate) struct Carried {
    pub(crate) mbuf: Mbuf,
    /// The port it came in by.
    pub(crate) port: PortId,
    /// How it came from another worker, if it did.
    pub(crate) handed: Option<Handed>,
    /// Claims for its connection that were refused.
    pub(crate) tries: u8,
}

/// A packet that waits for another shard's answer.
struct Held {
    entry: EntryId,
    packet: Carried,
    /// Of the first packet of a connection: what becomes of it when its claim is granted.
    first: Option<Verdict>,
}

/// The shard, and all ways that its packets and messages go.
pub(crate) struct Dispatch {
    pub(crate) shard: Shard,
    pub(crate) links: Links,
    pub(crate) peers: Peers<Mbuf>,
    held: Vec<Held>,
    /// A message that found the lane full. Those behind it wait, so that they arrive in order.
    stuck: Option<(ShardId, Message)>,
    pool: Mempool,
}

impl Dispatch {
    pub(crate) fn new(shard: Shard, links: Links, peers: Peers<Mbuf>, pool: Mempool) -> Self {
        Self { shard, links, peers, held: Vec::with_capacity(MOST_HELD), stuck: None, pool }
    }

    /// Does with a packet what its verdict says. One that does not leave is freed as it goes out of scope.
    #[inline]
    pub(crate) fn carry_out(&mut self, now: Instant, packet: Carried, verdict: &Verdict) {
        match (verdict.action, verdict.entry) {
            (Action::Forward(egress), _) => {
                self.links.forward(now, &mut self.shard, egress, packet.mbuf, verdict);
            }
            (Action::Deliver | Action::Reject(..), _) => {
                let heard = self.links.answer(now, &mut self.shard, packet.port, packet.mbuf, verdict);
                if let Some(mbuf) = heard {
                    self.peers.tell(packet.port, || self.pool.copy_from(mbuf.head()));
                }
            }
            (Action::Handoff(shard, by), _) => {
                // What the other worker is to know before it looks the packet up goes first.
                self.speak();
                let Carried { mbuf, port, .. } = packet;
                let given = match self.stuck {
                    None => self.peers.hand_off(shard, by, port, mbuf),
                    Some(_) => Err(mbuf),
                };
                let Err(mut mbuf) = given else { return };
                self.shard.count_drops(DropReason::HandoffFull, 1);
                if let Handoff::Delegation(zone) = by {
                    self.shard.take_back(&Received::of(port, &mut mbuf), zone);
                }
            }
            (Action::Hold(_), Some(entry)) if self.held.len() == MOST_HELD => self.shard.abandon(entry),
            (Action::Hold(_), Some(entry)) => {
                self.held.push(Held { entry, packet, first: Some(*verdict) });
            }
            (Action::Wait, Some(entry)) if self.held.len() < MOST_HELD => {
                self.held.push(Held { entry, packet, first: None });
            }
            (Action::Wait, _) => {
                let Carried { mut mbuf, port, handed, .. } = packet;
                self.shard.turn_away(&Received { handed, ..Received::of(port, &mut mbuf) });
            }
            (Action::Hold(_), None) => self.shard.count_drops(DropReason::HoldFull, 1),
            (Action::Drop(_), _) => {}
        }
    }

    /// Takes in what other shards say, and does what packets have waited for. Gives the number of messages, and the
    /// verdict on the last packet that waits no more.
    pub(crate) fn hear(&mut self, now: Instant) -> (usize, Option<Verdict>) {
        let (mut messages, mut verdict) = (0, None);
        for lane in 0..self.peers.rings() {
            while let Some((from, message)) = self.peers.hear(lane) {
                messages += 1;
                if let Some(settled) = self.shard.receive(from, message) {
                    verdict = self.settle(now, settled).or(verdict);
                }
            }
        }
        if messages > 0 {
            self.speak();
            self.links.flush(&mut self.shard);
        }
        (messages, verdict)
    }

    /// Tells other shards what this one has to say, as far as their lanes have room.
    pub(crate) fn speak(&mut self) {
        while let Some((to, message)) = self.stuck.take().or_else(|| self.shard.next_message()) {
            if !self.peers.say(to, message) {
                self.stuck = Some((to, message));
                return;
            }
        }
    }

    /// Takes up the packets that have waited for a claim, in order: the first of the connection and those behind it.
    fn settle(&mut self, now: Instant, settled: Settled) -> Option<Verdict> {
        let mut last = None;
        while let Some(place) = self.held.iter().position(|held| held.entry == settled.entry) {
            let Held { mut packet, first, .. } = self.held.remove(place);
            let handed = packet.handed;
            let mut frame = Received { handed, ..Received::of(packet.port, &mut packet.mbuf) };
            let verdict = match first {
                Some(verdict) if settled.granted => self.shard.release(&mut frame, &verdict),
                Some(verdict) => {
                    packet.tries += 1;
                    self.shard.bind_again(now, &mut frame, &verdict, packet.tries)
                }
                None => {
                    let mut verdict = [Verdict::dropped(DropReason::HoldFull)];
                    self.shard.process(now, &mut [frame], &mut verdict);
                    verdict[0]
                }
            };
            self.carry_out(now, packet, &verdict);
            last = Some(verdict);
        }
        last
    }
}
