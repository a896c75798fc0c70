//! What shards say to one another, and the packets that wait for an answer.
//!
//! Shards share nothing and speak only by messages, which arrive in the order they were sent. No packet leaves before every
//! shard that its answer could reach knows what to do with that answer: a new connection whose reply tuple another shard
//! owns *claims* it there, and its first packet is held until the claim is granted. The other shard may know the tuple
//! already; it refuses then, and the connection is bound again.
//!
//! | message | from | makes the receiver |
//! |---|---|---|
//! | claim | the connection's shard | place a signpost and grant, or refuse |
//! | granted, refused | the reply tuple's owner | release the packets held, or bind the connection again |
//! | release | the connection's shard | take the signpost away: the connection is over |
//!
//! Claims under way are few, and each has one answer; so answers always find room to wait. A release that finds none waits
//! in the place of its entry, that of a delegation that made none in a list of its own, and no claim is made before it has
//! gone, so that claims and releases of one tuple keep their order.
//!
//! A connection whose source is bound by a mapping of its client's port ([`crate::nat`]) belongs to the shard of that port,
//! whatever its server: the shard that its packets are steered to places a signpost of its own and *delegates* it. That
//! goes by a release, too.
//!
//! So a connection can be on its way to a shard, delegated, that claims its tuple for the answers of another, which goes the
//! other way between the same two: a signpost counts how often it was placed, and goes with the last release.
//!
//! A packet that comes by a signpost to a shard without such a connection goes back: the release has been sent before it,
//! and the shard that handed it on learns of that before it looks the packet up again.

use crate::entries::NONE;
use crate::entry::{Entry, Status};
use crate::frame::{Frame, Handed};
use crate::headers::Headers;
use crate::ids::{EntryId, ShardId, Zone};
use crate::shard::Shard;
use crate::steer::Steering;
use crate::table::End;
use crate::time::Instant;
use crate::tuple::{Direction, Tuple};
use crate::verdict::{Action, DropReason, Handoff, Verdict};
use crate::wire;
use sluice_memory::Arena;
use std::collections::VecDeque;
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Claims of one shard that are under way, at most: as many first packets are held.
pub const MOST_CLAIMS: usize = 256;

/// Signposts that a shard has room for where each other one has so many entries. An entry whose mapping is
/// endpoint-independent may have two, one for its answers and one for its client, and to one server all have both in the
/// same shard. Some more are for connections that are about to take the places of others.
pub(crate) const fn signpost_room(entries: u32) -> u32 {
    entries.saturating_add(MOST_CLAIMS as u32).saturating_mul(2)
}

/// How often a connection is bound before it is given up: each time another port, which is seldom taken.
const MOST_BINDINGS: u8 = 8;

/// The shard that a signpost points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Owner {
    shard: u16,
    /// How often it was placed.
    times: u16,
}

/// What one shard says to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Send what comes under this reply tuple to me, if you do not know it.
    Claim {
        /// The reply tuple, which the receiver owns.
        tuple: Tuple,
        /// Names the claim in its answer: the connection's entry.
        claim: EntryId,
    },
    /// The claim holds.
    Granted(EntryId),
    /// The claim does not hold: the tuple is known here, or there is no room for a signpost.
    Refused(EntryId),
    /// The connection with this tuple is over.
    Release(Tuple),
}

/// The answer to a claim, for whoever holds the packets that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The entry that the packets wait for.
    pub entry: EntryId,
    /// Whether nothing stands in its way any more: else its first packet is to be bound again.
    pub granted: bool,
}

/// The zone in which another shard has given the connection of a packet to this one with it, if it has.
pub(crate) fn delegated_in<F: Frame>(frame: &F) -> Option<Zone> {
    match frame.handed()?.by {
        Handoff::Delegation(zone) => Some(zone),
        Handoff::Steering | Handoff::Signpost(_) | Handoff::Return => None,
    }
}

/// Messages on their way out.
#[derive(Debug)]
pub(crate) struct Outbox {
    waiting: VecDeque<(ShardId, Message)>,
    /// Room for as many answers as there can be claims of others, and for as many claims.
    reserved: usize,
    /// Claims without an answer.
    claims: usize,
    /// First of the entries that are over, whose release found no room.
    leaving: u32,
    /// Tuples of declined delegations, whose release found no room: the first `late` of them. Each has a signpost, so that
    /// all others' room for signposts is enough.
    declined: Arena<Tuple>,
    late: usize,
}

impl Outbox {
    /// That of a shard with room for so many entries, and so has each other one, give or take one.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn new(steering: &Steering, entries: u32) -> io::Result<Self> {
        // The only shard has nobody to speak to.
        let others = usize::from(steering.shards()) - 1;
        let reserved = others * MOST_CLAIMS;
        let waiting = VecDeque::with_capacity(reserved * 4);
        let declined = Arena::sparse(others * signpost_room(entries + 1) as usize)?;
        Ok(Self { waiting, reserved, claims: 0, leaving: NONE, declined, late: 0 })
    }

    /// Whether a claim can be made.
    const fn may_claim(&self) -> bool {
        self.claims < MOST_CLAIMS && self.leaving == NONE && self.late == 0
    }

    /// Whether there is room for a release besides all claims and answers there can be.
    fn may_release(&self) -> bool {
        self.waiting.len() + 2 * self.reserved + 2 <= self.waiting.capacity()
    }
}

impl Shard {
    /// The next message to another shard. Those to one shard must arrive there in order.
    pub fn next_message(&mut self) -> Option<(ShardId, Message)> {
        while self.outbox.leaving != NONE && self.outbox.may_release() {
            let index = self.outbox.leaving;
            self.outbox.leaving = self.entries.cold(index).links.next;
            self.release_tuples(index);
            self.entries.remove_left(index);
        }
        while self.outbox.late > 0 && self.outbox.may_release() {
            self.outbox.late -= 1;
            self.release_tuple(self.outbox.declined[self.outbox.late]);
        }
        self.outbox.waiting.pop_front()
    }

    /// Takes a message in. Gives what it settles, for packets that wait for it: those are to be released or bound again
    /// before any other packet.
    pub fn receive(&mut self, from: ShardId, message: Message) -> Option<Settled> {
        match message {
            Message::Claim { tuple, claim } => {
                let granted = self.points_to(&tuple, from) || !self.is_taken(&tuple);
                let granted = granted && self.place_signpost(&tuple, from);
                let answer = if granted { Message::Granted(claim) } else { Message::Refused(claim) };
                self.outbox.waiting.push_back((from, answer));
                None
            }
            Message::Release(tuple) => {
                if self.points_to(&tuple, from) {
                    self.drop_signpost(&tuple);
                }
                None
            }
            Message::Granted(entry) => {
                self.outbox.claims = self.outbox.claims.saturating_sub(1);
                if self.entry(entry).is_some() {
                    self.entries.at_mut(entry.index).status.clear(Status::UNSETTLED);
                }
                Some(Settled { entry, granted: true })
            }
            Message::Refused(entry) => {
                self.outbox.claims = self.outbox.claims.saturating_sub(1);
                let lives = self.entry(entry).is_some();
                if lives {
                    // There is no signpost to be released, and one that has delegated is still of use.
                    let status = &mut self.entries.at_mut(entry.index).status;
                    status.clear(Status::SIGNPOSTED);
                    status.clear(Status::DELEGATED);
                    self.remove(entry.index, End::Closed);
                }
                Some(Settled { entry, granted: !lives })
            }
        }
    }

    /// How many tuples of other shards' connections it knows.
    pub const fn signposts(&self) -> u32 {
        self.signposts.len()
    }

    /// The shard whose connection a tuple belongs to, where a signpost says so.
    pub fn signpost(&self, tuple: &Tuple) -> Option<ShardId> {
        self.signposts.get(tuple).map(|owner| ShardId(owner.shard))
    }

    /// Whether the reply tuple of a connection belongs to another shard, which is to have a signpost.
    pub(crate) fn needs_signpost(&self, reply: &Tuple) -> bool {
        !self.steering.is_single() && self.steering.owner(reply) != self.steering.own()
    }

    /// Whether a claim can be made now.
    pub(crate) const fn may_claim(&self) -> bool {
        self.outbox.may_claim()
    }

    /// Claims the reply tuple of an entry, which waits from now on.
    pub(crate) fn claim(&mut self, index: u32, tuple: Tuple) {
        let claim = self.entries.id(index);
        let status = &mut self.entries.at_mut(index).status;
        status.set(Status::SIGNPOSTED);
        status.set(Status::UNSETTLED);
        // What it was judged by: it is looked at again if that changes meanwhile.
        self.entries.at_mut(index).judged.generation = self.generation;
        self.outbox.claims += 1;
        self.outbox.waiting.push_back((self.steering.owner(&tuple), Message::Claim { tuple, claim }));
    }

    /// Lets the place of an entry go that nothing leads to any more; before that, its signposts.
    pub(crate) fn free_place(&mut self, index: u32) {
        let status = self.entries.at(index).status;
        if !status.meets(Status::SIGNPOSTED) && !status.meets(Status::DELEGATED) {
            self.entries.remove(index);
        } else if self.outbox.leaving == NONE && self.outbox.may_release() {
            self.release_tuples(index);
            self.entries.remove(index);
        } else {
            self.entries.leave(index, self.outbox.leaving);
            self.outbox.leaving = index;
        }
    }

    /// Tells the shards that have signposts to an entry that it is over.
    fn release_tuples(&mut self, index: u32) {
        let status = self.entries.at(index).status;
        let pointed = [(Status::SIGNPOSTED, Direction::Reply), (Status::DELEGATED, Direction::Original)];
        for (_, direction) in pointed.into_iter().filter(|(bit, _)| status.has(*bit)) {
            self.release_tuple(self.entries.tuple(index, direction));
        }
    }

    fn release_tuple(&mut self, tuple: Tuple) {
        self.outbox.waiting.push_back((self.steering.owner(&tuple), Message::Release(tuple)));
    }

    /// Whether there is a signpost for a tuple to this shard.
    fn points_to(&self, tuple: &Tuple, to: ShardId) -> bool {
        self.signposts.get(tuple).is_some_and(|owner| owner.shard == to.0)
    }

    /// Places a signpost, or does so once more. False where there is no room.
    fn place_signpost(&mut self, tuple: &Tuple, to: ShardId) -> bool {
        if !self.points_to(tuple, to) {
            return self.signposts.insert(tuple, Owner { shard: to.0, times: 1 });
        }
        let times = self.signposts.get_mut(tuple).and_then(|owner| {
            owner.times = owner.times.checked_add(1)?;
            Some(owner.times)
        });
        times.is_some()
    }

    /// Takes a signpost away that was placed once, else counts one time less.
    pub(crate) fn drop_signpost(&mut self, tuple: &Tuple) {
        match self.signposts.get_mut(tuple) {
            Some(owner) if owner.times > 1 => owner.times -= 1,
            Some(_) => self.signposts.remove(tuple),
            None => {}
        }
    }

    /// Gives the connection of a first packet to another shard. `None` where there is no room for a signpost.
    pub(crate) fn delegate(&mut self, tuple: &Tuple, to: ShardId) -> Option<Verdict> {
        let handoff = || Verdict::ended(Action::Handoff(to, Handoff::Delegation(tuple.selector.zone())));
        self.place_signpost(tuple, to).then(handoff)
    }

    /// Whether the connection of a delegated packet has begun with it, or may yet.
    pub(crate) fn keeps_delegation(&self, verdict: &Verdict) -> bool {
        let begun = |entry: &Entry| {
            verdict.direction == Some(Direction::Original) && entry.status.has(Status::DELEGATED)
        };
        verdict.action == Action::Wait || verdict.entry.and_then(|id| self.entry(id)).is_some_and(begun)
    }

    /// Lets the signpost go of a delegated connection that has not begun. It stands for the tuple in the zone of the other
    /// shard.
    pub(crate) fn decline(&mut self, mut tuple: Tuple, zone: Zone) {
        tuple.selector = tuple.selector.with_zone(zone);
        if self.outbox.may_release() {
            self.release_tuple(tuple);
        } else if let Some(place) = self.outbox.declined.get_mut(self.outbox.late) {
            *place = tuple;
            self.outbox.late += 1;
        }
    }

    /// The shard that a packet without an entry is handed on to: by a signpost, or back where it came from by one that is
    /// stale.
    pub(crate) fn pointed(&self, tuple: &Tuple, handed: Option<Handed>) -> Option<(ShardId, Handoff)> {
        match handed {
            Some(Handed { from, by: Handoff::Signpost(_) }) => Some((from, Handoff::Return)),
            _ => {
                let by = Handoff::Signpost(tuple.selector.zone());
                self.signposts.get(tuple).map(|owner| (ShardId(owner.shard), by))
            }
        }
    }

    /// Lets the signpost go of a packet that no longer waits for its connection to begin, if there is one.
    fn decline_packet<F: Frame>(&mut self, frame: &F) {
        if let (Some(zone), Ok(headers)) = (delegated_in(frame), wire::parse(frame)) {
            self.decline(headers.tuple, zone);
        }
    }

    /// Takes back what was delegated in a zone with a packet that did not get there.
    pub fn take_back<F: Frame>(&mut self, frame: &F, zone: Zone) {
        if let Ok(Headers { mut tuple, .. }) = wire::parse(frame) {
            tuple.selector = tuple.selector.with_zone(zone);
            self.drop_signpost(&tuple);
        }
    }

    /// Drops a packet that was to wait, and finds no room for that.
    pub fn turn_away<F: Frame>(&mut self, frame: &F) {
        self.count_drops(DropReason::HoldFull, 1);
        self.decline_packet(frame);
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
        if entry.judged.generation != self.generation {
            // A signpost that has delegated the packet is still of use.
            self.entries.at_mut(id.index).status.clear(Status::DELEGATED);
            self.remove(id.index, End::Closed);
            return self.decide_again(self.now, frame, 0);
        }
        if entry.is_translated() {
            let to = self.translated(id.index, Direction::Original);
            self.rewrite(frame, &headers, &to);
        }
        let action = self.configuration.forwarding.finish(frame, &headers, Action::Forward(egress));
        Verdict { action, ..*verdict }
    }

    /// Binds the connection of a first packet again whose claim was refused `tries` times.
    pub fn bind_again<F: Frame>(
        &mut self,
        now: Instant,
        frame: &mut F,
        verdict: &Verdict,
        tries: u8,
    ) -> Verdict {
        if tries >= MOST_BINDINGS {
            self.decline_packet(frame);
            self.count_drops(DropReason::NatExhausted, 1);
            return Verdict { action: self.no_room(DropReason::NatExhausted), entry: None, ..*verdict };
        }
        self.decide_again(now, frame, tries)
    }

    /// Ends the entry of a first packet that could not be held.
    pub fn abandon(&mut self, id: EntryId) {
        if self.entry(id).is_some() {
            self.remove(id.index, End::Closed);
        }
        self.count_drops(DropReason::HoldFull, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::Forwarding;
    use crate::policy::Policy;
    use crate::settings::{Preset, Settings};
    use crate::shard::{Capacity, Configuration};
    use sluice_memory::Pages;

    const ROOM: u32 = 10_000;

    fn shard(own: ShardId) -> Shard {
        let settings = Settings::of(Preset::Linux, 2 * ROOM);
        let configuration = Configuration::new(settings, Policy::default(), Forwarding::wire());
        let capacity = Capacity { entries: ROOM, seed: [1, 2, 3, 4], pages: Pages::Ordinary };
        let shard = Shard::new(capacity, Box::new(configuration), Instant::default()).unwrap();
        shard.with_steering(Steering::new(own, 2).unwrap()).unwrap()
    }

    #[test]
    fn what_is_declined_while_nobody_listens_takes_no_room_and_is_said_in_the_end() {
        let (mut owner, mut home) = (shard(ShardId(0)), shard(ShardId(1)));
        let tuple = |number: u32| {
            let client = 0x0a00_0000 + number;
            Tuple::new(std::net::Ipv4Addr::from(client).into(), [198, 51, 100, 2].into(), 17, 4000, 53)
        };
        let room = home.outbox.waiting.capacity();
        let owned = |tuple: &Tuple| owner.steering.owner(tuple) == ShardId(0);
        let tuples: Vec<Tuple> = (0..).map(tuple).filter(owned).take(ROOM as usize).collect();
        for tuple in &tuples {
            assert!(owner.delegate(tuple, ShardId(1)).is_some());
            home.decline(*tuple, 0);
            // Answers to claims still find their room.
            assert!(home.outbox.waiting.len() + home.outbox.reserved < room);
        }
        assert_eq!((owner.signposts(), home.outbox.waiting.capacity()), (ROOM, room));
        assert!(!home.may_claim(), "what is free again is said before what is wanted");
        while let Some((to, message)) = home.next_message() {
            assert_eq!(to, ShardId(0));
            assert_eq!(owner.receive(ShardId(1), message), None);
        }
        assert_eq!((owner.signposts(), home.may_claim()), (0, true));
    }
}
