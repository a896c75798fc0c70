//! What is done with fragments, and with the datagrams that they make.

use super::messages::{announce, flush_messages_to};
use super::{Host, MAX_HOPS, end};
use crate::fragments::{self, DatagramId, Fragments, Leader, MAX_FRAME_BYTES, Whole, cut};
use crate::frame::{Frame, Handed};
use crate::ids::{PortId, ShardId};
use crate::pipeline::BURST;
use crate::settings::FragmentLimits;
use crate::shard::Shard;
use crate::time::Instant;
use crate::verdict::{Action, DropReason, FragmentOffsets, Handoff, Verdict};
use crate::wire::ethernet;
use arrayvec::ArrayVec;

/// Datagrams that are whole, each with where the verdict on it is to stand.
pub(super) type Completed<'a> = ArrayVec<(DatagramId, &'a mut Verdict), BURST>;

/// The datagrams that come in fragments, and those that leave in fragments.
#[derive(Debug)]
pub(super) struct Datagrams<P> {
    held: Fragments<P>,
    /// Where fragments are written before they are made.
    scratch: Box<[u8]>,
}

impl<P: Frame> Datagrams<P> {
    /// Those of a shard.
    pub(super) fn new(shard: &Shard) -> Self {
        Self { held: shard.room_for_fragments(), scratch: vec![0; MAX_FRAME_BYTES].into() }
    }

    /// Fragments that are held.
    pub(super) const fn fragments(&self) -> u32 {
        self.held.len()
    }

    /// Looks at all that is held. Gives how many datagrams are whole.
    ///
    /// # Errors
    /// What does not hold.
    pub(super) fn check_invariants(&self) -> Result<usize, String> {
        fragments::check(&self.held)
    }

    /// Has a datagram whose fragments have all come read as one frame.
    pub(super) fn read<T>(&mut self, id: DatagramId, read: impl FnOnce(&mut Whole<'_, P>) -> T) -> T {
        fragments::read(&mut self.held, id, read)
    }

    /// The same with several.
    pub(super) fn read_all(
        &mut self,
        ids: impl Iterator<Item = DatagramId> + Clone,
        read: impl FnOnce(&mut [Whole<'_, P>]),
    ) {
        fragments::read_all(&mut self.held, ids, read);
    }

    /// Ends what has expired of the datagrams whose fragments are held, at most `budget` steps of it. False when there is more to do.
    pub(super) fn expire<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        budget: u32,
    ) -> bool {
        let mut lose = |packet, reason| lose_fragment(now, shard, host, packet, reason);
        let is_done = self.held.expire(now, budget, &mut lose);
        shard.count_fragments_held(self.held.len());
        is_done
    }

    /// Holds a fragment. Gives the datagram that is whole with it; the verdict becomes that on a fragment that cannot be held.
    #[inline(always)]
    pub(super) fn add<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        (packet, offsets): (P, FragmentOffsets),
        limits: &FragmentLimits,
        verdict: &mut Verdict,
    ) -> Option<DatagramId> {
        let Some(piece) = shard.read_fragment(&packet, offsets) else {
            end(now, shard, host, packet, DropReason::Truncated);
            return None;
        };
        let mut lose = |packet, reason| lose_fragment(now, shard, host, packet, reason);
        self.held.add(now, limits, piece, packet, &mut lose).unwrap_or_else(|reason| {
            *verdict = Verdict::dropped(reason);
            None
        })
    }

    /// Does with the fragments of a datagram what the verdict on it says that is their last, in their order. An answer is to the
    /// first.
    pub(super) fn finish<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        id: DatagramId,
        verdict: &Verdict,
    ) {
        if verdict.action == Action::Deliver
            && fragments::read(&mut self.held, id, |whole| shard.answer_in_place(whole, verdict))
        {
            return self.reply(shard, host, id);
        }
        let mut chain = self.held.open(id);
        let Some((first, offsets)) = self.held.take(&mut chain) else { return };
        let leader = Leader::of(&first, offsets);
        if verdict.action == Action::Deliver {
            shard.count_delivery();
        }
        host.finish(now, shard, first, verdict);
        let of_later = match verdict.action {
            Action::Reject(reason, _) => Verdict { action: Action::Drop(reason), ..*verdict },
            _ => *verdict,
        };
        while let Some((mut later, offsets)) = self.held.take(&mut chain) {
            match of_later.action {
                Action::Forward(_) => {
                    if let Some(leader) = &leader {
                        leader.lead(&mut later, offsets, shard.is_routed());
                    }
                }
                Action::Deliver => shard.count_delivery(),
                Action::Drop(reason) => shard.count_drops(reason, 1),
                _ => {}
            }
            host.finish(now, shard, later, &of_later);
        }
    }

    /// Sends the fragments of a datagram, whose first says what they have become, back to where they came from: one answer, which
    /// leaves in fragments.
    fn reply<H: Host<Packet = P>>(&mut self, shard: &mut Shard, host: &mut H, id: DatagramId) {
        let mut leader = None;
        shard.count_fragmented(1);
        let mut chain = self.held.open(id);
        while let Some((mut packet, offsets)) = self.held.take(&mut chain) {
            shard.count_delivery();
            shard.count_created();
            match &leader {
                None => leader = Leader::of(&packet, offsets),
                Some(leader) => {
                    leader.lead(&mut packet, offsets, true);
                    ethernet::invert(packet.head_mut());
                }
            }
            host.reply(shard, packet);
        }
    }

    /// Sends a packet that is too large for its way out as fragments. The verdict becomes that on each of them.
    #[cold]
    #[inline(never)]
    pub(super) fn fragment_packet<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        packet: P,
        verdict: &mut Verdict,
        (egress, mtu): (PortId, u16),
    ) {
        announce(shard, host);
        verdict.action = Action::Forward(egress);
        if send_cut(now, shard, host, &packet, verdict, mtu, &mut self.scratch) {
            shard.count_fragmented(1);
        } else {
            verdict.action = Action::Drop(DropReason::NoBuffer);
            end(now, shard, host, packet, DropReason::NoBuffer);
        }
    }

    /// The same of a datagram that came in fragments, which is cut anew.
    pub(super) fn fragment<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        id: DatagramId,
        verdict: &mut Verdict,
        (egress, mtu): (PortId, u16),
    ) {
        announce(shard, host);
        verdict.action = Action::Forward(egress);
        let scratch = &mut self.scratch;
        let is_sent = fragments::read(&mut self.held, id, |whole| {
            send_cut(now, shard, host, whole, verdict, mtu, scratch)
        });
        if is_sent {
            shard.count_fragmented(self.held.count(id));
            let mut chain = self.held.open(id);
            while self.held.take(&mut chain).is_some() {}
        } else {
            verdict.action = Action::Drop(DropReason::NoBuffer);
            self.end(now, shard, host, id, DropReason::NoBuffer);
        }
    }

    /// Hands a datagram to another shard: all of its fragments or, where there is no room for them, none.
    pub(super) fn hand_off<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        id: DatagramId,
        to: ShardId,
        by: Handoff,
    ) {
        flush_messages_to(shard, host, to);
        let hops = fragments::read(&mut self.held, id, |whole| whole.hops()) + 1;
        let reason = if hops > MAX_HOPS {
            DropReason::HandoffLoop
        } else if shard.has_messages(to) || host.room(to) < self.held.count(id) {
            DropReason::HandoffFull
        } else {
            let handed = Handed { from: shard.steering().own(), by, hops };
            let mut chain = self.held.open(id);
            while let Some((packet, _)) = self.held.take(&mut chain) {
                if let Err(packet) = host.hand_off(to, handed, packet) {
                    end(now, shard, host, packet, DropReason::HandoffFull);
                }
            }
            return;
        };
        if let Handoff::Delegation(zone) = by {
            fragments::read(&mut self.held, id, |whole| shard.take_back(whole, to, zone));
        }
        self.end(now, shard, host, id, reason);
    }

    /// Drops a datagram that was on its way.
    pub(super) fn end<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        id: DatagramId,
        reason: DropReason,
    ) {
        shard.count_drops(reason, 1);
        self.finish(now, shard, host, id, &Verdict::dropped(reason));
    }
}

/// Sends a packet as fragments of an MTU. False where there is no memory for one of them, which and those behind it do not leave.
fn send_cut<H: Host, F: Frame>(
    now: Instant,
    shard: &mut Shard,
    host: &mut H,
    packet: &F,
    verdict: &Verdict,
    mtu: u16,
    scratch: &mut [u8],
) -> bool {
    let ingress = packet.port();
    cut(packet, mtu, scratch, |fragment| {
        let Some(fragment) = host.make(ingress, fragment) else { return false };
        shard.count_created();
        host.finish(now, shard, fragment, verdict);
        true
    })
}

/// Drops a fragment that is held, or cannot be. Where the rest of an IPv6 datagram does not come in time, whoever sent the first
/// one is told (RFC 8200 section 4.5); IPv4 leaves that to the destination (RFC 792), which may be the box itself.
fn lose_fragment<H: Host>(
    now: Instant,
    shard: &mut Shard,
    host: &mut H,
    packet: H::Packet,
    reason: DropReason,
) {
    shard.turn_away(&packet);
    shard.count_drops(reason, 1);
    let rejection = match reason {
        DropReason::FragmentTimeout => shard.overdue_rejection(&packet),
        _ => None,
    };
    let action = rejection.map_or(Action::Drop(reason), |rejection| Action::Reject(reason, rejection));
    host.finish(now, shard, packet, &Verdict::ended(action));
}
