//! Connections that another shard has to do with: what a shard does about its entries as others claim, grant, refuse and
//! release ([`crate::exchange`]), and about the first packets that are held meanwhile.

use crate::entry::{Entry, Status};
use crate::events::End;
use crate::exchange::{Answered, Message};
use crate::frame::Frame;
use crate::headers::{Fragment, Headers};
use crate::ids::{EntryId, ShardId, Zone};
use crate::nat::MAX_BINDINGS;
use crate::shard::Shard;
use crate::time::Instant;
use crate::tuple::{Direction, Tuple, protocol};
use crate::unconfirmed::Unconfirmed;
use crate::verdict::{Action, DropReason, Handoff, Verdict};
use crate::wire;
use std::slice;

/// The zone in which another shard has given the connection of a packet to this one with it, if it has.
pub(crate) fn delegated_in<F: Frame>(frame: &F) -> Option<Zone> {
    match frame.handed()?.by {
        Handoff::Delegation(zone) => Some(zone),
        Handoff::Steering | Handoff::Fragment | Handoff::Signpost(_) | Handoff::Return => None,
    }
}

impl Shard {
    /// The next message to another shard. Those to one shard must arrive there in order.
    pub fn next_message(&mut self, to: ShardId) -> Option<Message> {
        self.exchange.next_message(to)
    }

    /// Whether there are messages to that shard which it was not told yet: no packet is handed on to it before.
    pub(crate) fn has_messages(&self, to: ShardId) -> bool {
        self.exchange.has_messages(to)
    }

    /// Whether nobody is to be told anything.
    pub const fn is_silent(&self) -> bool {
        self.exchange.is_silent()
    }

    /// Takes a message in. Gives the answer to a claim, for packets that wait for it: those are to be released or bound again
    /// before any other packet.
    pub fn receive(&mut self, from: ShardId, message: Message) -> Option<Answered> {
        match message {
            Message::Claim { tuple, claim } => {
                let is_known = self.exchange.signpost(&tuple).is_none() && self.is_taken(&tuple);
                self.exchange.answer_claim(from, &tuple, claim, is_known);
                None
            }
            Message::Release(tuple) => {
                if self.exchange.signpost(&tuple) == Some(from) {
                    self.exchange.drop_signpost(&tuple, from);
                } else {
                    self.end_call(&tuple);
                }
                None
            }
            Message::Announce(id, expectation) => {
                self.expectations.copy(id, &expectation);
                None
            }
            Message::Granted(entry) => {
                self.exchange.take_answer(from);
                if self.entry(entry).is_some() {
                    self.table.entries.at_mut(entry.index).status.remove(Status::PENDING);
                }
                Some(Answered { entry, granted: true })
            }
            Message::Refused(entry) => {
                self.exchange.take_answer(from);
                let lives = self.entry(entry).is_some();
                if lives {
                    self.foreign.refused += u64::from(self.is_foreign(entry.index));
                    // There is no signpost to be released, and one that has delegated is still of use to its first packet, if it had one.
                    let status = &mut self.table.entries.at_mut(entry.index).status;
                    status.remove(Status::SIGNPOSTED);
                    if !status.contains(Status::INSTALLED) {
                        status.remove(Status::DELEGATED);
                    }
                    let reply = self.table.entries.tuple(entry.index, Direction::Reply);
                    self.end(entry.index, End::Refused);
                    self.nat.note_refused(&reply, self.now);
                }
                Some(Answered { entry, granted: !lives })
            }
        }
    }

    /// How many tuples of other shards' connections it knows.
    pub const fn signposts(&self) -> u32 {
        self.exchange.signposts()
    }

    /// The shard whose connection a tuple belongs to, where a signpost says so.
    pub fn signpost(&self, tuple: &Tuple) -> Option<ShardId> {
        self.exchange.signpost(tuple)
    }

    /// Claims the reply tuple of the entry that a connection was given, which waits from now on.
    pub(crate) fn claim(&mut self, index: u32, unconfirmed: &Unconfirmed) {
        let claim = self.table.entries.id(index);
        let status = &mut self.table.entries.at_mut(index).status;
        status.insert(Status::SIGNPOSTED);
        status.insert(Status::PENDING);
        // What it was judged by: it is looked at again if that changes meanwhile.
        let extension = self.table.extend(index);
        extension.claimed_under = self.generation;
        extension.bound_by = unconfirmed.bound_by;
        self.exchange.claim(unconfirmed.reply, claim);
    }

    /// Tells the shards that have signposts to a connection that it has ended.
    pub(crate) fn release_signposts(&mut self, [original, reply]: &[Tuple; 2], status: Status) {
        for (bit, tuple) in [(Status::SIGNPOSTED, reply), (Status::DELEGATED, original)] {
            if status.contains(bit) {
                self.exchange.release(*tuple);
            }
        }
    }

    /// Gives the connection of a first packet to another shard. `None` where there is no room for a signpost.
    pub(crate) fn delegate(&mut self, tuple: &Tuple, to: ShardId) -> Option<Verdict> {
        self.exchange.delegate(tuple, to).map(|by| Verdict::ended(Action::Handoff(to, by)))
    }

    /// Whether the connection of a delegated packet has begun with it, or may yet.
    pub(crate) fn keeps_delegation(&self, verdict: &Verdict) -> bool {
        let begun = |entry: &Entry| {
            verdict.direction == Some(Direction::Original) && entry.status.contains(Status::DELEGATED)
        };
        matches!(verdict.action, Action::Wait | Action::Reassemble(_))
            || verdict.entry.and_then(|id| self.entry(id)).is_some_and(begun)
    }

    /// Lets the signpost go of a delegated connection that has not begun. It stands for the tuple in the zone of the other
    /// shard.
    pub(crate) fn decline(&mut self, mut tuple: Tuple, zone: Zone) {
        tuple.selector = tuple.selector.with_zone(zone);
        self.exchange.release(tuple);
    }

    /// Lets the signpost go of a packet that no longer waits for its connection to begin, if there is one. A datagram that came
    /// in fragments has one by its first.
    pub fn turn_away<F: Frame>(&mut self, frame: &F) {
        if let Some(zone) = delegated_in(frame)
            && let Ok(headers) = wire::parse(frame)
            && headers.fragment != Fragment::Later
        {
            self.decline(self.whole_tuple(frame, headers, zone), zone);
        }
    }

    /// Takes back what was delegated to a shard in a zone with a packet that did not get there.
    pub(crate) fn take_back<F: Frame>(&mut self, frame: &F, to: ShardId, zone: Zone) {
        if let Ok(headers) = wire::parse(frame) {
            let tuple = self.whole_tuple(frame, headers, zone);
            self.exchange.drop_signpost(&tuple, to);
        }
    }

    /// The tuple of a packet in a zone.
    fn whole_tuple<F: Frame>(&self, frame: &F, mut headers: Headers, zone: Zone) -> Tuple {
        headers.tuple.selector = headers.tuple.selector.with_zone(zone);
        if headers.protocol == protocol::GRE {
            self.complete_call(frame.head(), &mut headers);
        }
        headers.tuple
    }

    /// The shard that is to answer the claim of an entry.
    pub(crate) fn answers(&self, id: EntryId) -> Option<ShardId> {
        self.entry(id).map(|_| self.steering().owner(&self.table.entries.tuple(id.index, Direction::Reply)))
    }

    /// Completes the verdict on the first packet of a connection, which was [`Action::Hold`], when its claim was granted. The
    /// packet is dropped if its entry has ended meanwhile, and decided about again if another configuration is in force:
    /// rules and routes are others then.
    pub fn release<F: Frame>(&mut self, frame: &mut F, verdict: &Verdict) -> Verdict {
        let (Action::Hold(egress), Some(id)) = (verdict.action, verdict.entry) else { return *verdict };
        let (Ok(headers), Some(entry)) = (wire::parse(frame), self.entry(id)) else {
            self.count_drops(DropReason::HoldFull, 1);
            return Verdict { action: Action::Drop(DropReason::HoldFull), ..*verdict };
        };
        let extension = self.table.extension(id.index).filter(|it| it.claimed_under == self.generation);
        let Some(bound_by) = extension.map(|extension| extension.bound_by) else {
            // A signpost that has delegated the packet is still of use.
            self.table.entries.at_mut(id.index).status.remove(Status::DELEGATED);
            self.end(id.index, End::Closed);
            return self.decide_again(self.now, frame, 0, id);
        };
        if entry.is_translated() {
            let to = self.translated(id.index, Direction::Original);
            self.rewrite(frame, &headers, &to);
        }
        self.rule_counters.count_bound(bound_by);
        self.configuration.mss_clamp.apply(frame, &headers, egress);
        let action = self.configuration.forwarding.finish(frame, &headers, Action::Forward(egress));
        let mut verdict = Verdict { action, ..*verdict };
        self.hold_back(slice::from_mut(&mut verdict));
        verdict
    }

    /// Binds the connection of a first packet again whose claim was refused `tries` times.
    pub fn bind_again<F: Frame>(
        &mut self,
        now: Instant,
        frame: &mut F,
        verdict: &Verdict,
        tries: u8,
    ) -> Verdict {
        if tries >= MAX_BINDINGS {
            self.turn_away(frame);
            self.count_drops(DropReason::NatExhausted, 1);
            return Verdict { action: self.no_room(DropReason::NatExhausted), entry: None, ..*verdict };
        }
        self.decide_again(now, frame, tries, verdict.entry.unwrap_or_default())
    }

    /// Ends the entry of a first packet that could not be held.
    pub(crate) fn abandon(&mut self, id: EntryId) {
        if self.entry(id).is_some() {
            self.end(id.index, End::Closed);
        }
    }
}
