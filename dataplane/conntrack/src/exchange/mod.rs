//! The exchange with other shards: who owns which tuple, and what shards say to one another about connections that are
//! steered to one shard and belong to another.
//!
//! Shards share nothing and speak only by messages, which arrive in the order they were sent. No packet leaves before every
//! shard that its answer could reach knows what to do with that answer. So a new connection whose reply tuple another shard
//! owns *claims* it there, and its first packet is held until the claim is granted:
//!
//! ```text
//!   the connection's shard                            the reply tuple's owner
//!     | first packet: bound, its entry confirmed, held        |
//!     |------------------ Claim(tuple, entry) --------------->| does not know the tuple: places a signpost
//!     |<----------------- Granted(entry) ---------------------|
//!     | the first packet leaves, and those behind it          |
//!     |<================= the answer, by the signpost ========|
//!     | the entry ends                                        |
//!     |------------------ Release(tuple) -------------------->| takes the signpost away
//!     |                                                       |
//!     |------------------ Claim(tuple, entry) --------------->| knows the tuple, or has no room
//!     |<----------------- Refused(entry) ---------------------|
//!     | the entry ends, the connection is bound again         |
//! ```
//!
//! A connection whose source is bound by a mapping of its client's port ([`crate::nat`]) belongs to the shard of that port,
//! whatever its server: the shard that its packets are steered to places a signpost of its own and *delegates* it. That goes
//! by a release, too:
//!
//! ```text
//!   the owner of the original tuple                   the shard of the client's port
//!     | places a signpost                                     |
//!     |================== the first packet ==================>| begins the connection
//!     |================== later ones, by the signpost =======>|
//!     |                                                       | the entry ends, or did not begin
//!     |<----------------- Release(tuple) ---------------------|
//!     | takes the signpost away                               |
//! ```
//!
//! So a connection can be on its way to a shard, delegated, that claims its tuple for the answers of another, which goes the
//! other way between the same two: a signpost counts how often it was placed, and goes with the last release.
//!
//! A packet that comes by a signpost to a shard without such a connection goes back: the release has been sent before it,
//! and the shard that handed it on learns of that before it looks the packet up again.
//!
//! A shard that does not listen keeps none from the others: each has a queue and a share of the claims of its own.

mod announcements;
pub(crate) mod message;
mod outbox;
mod shares;
mod signposts;

pub use message::{Answered, Message};
pub use outbox::MAX_CLAIMS;
pub(crate) use shares::Shares;

use crate::expectations::{Expectation, ExpectationId};
use crate::frame::Handed;
use crate::ids::{EntryId, ShardId};
use crate::steer::Steering;
use crate::tuple::Tuple;
use crate::verdict::Handoff;
use outbox::{CLAIMS_TO_ONE, Outbox};
use signposts::Signposts;
use std::io;

/// Signposts that a shard has room for where each other one has so many entries. An entry whose mapping is
/// endpoint-independent may have two, one for its answers and one for its client, and to one server all have both in the
/// same shard. Some more are for connections that are about to take the places of others.
const fn signpost_room(entries: u32) -> u32 {
    entries.saturating_add(CLAIMS_TO_ONE as u32).saturating_mul(2)
}

/// What one shard knows of the others.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) steering: Steering,
    signposts: Signposts,
    outbox: Outbox,
}

impl Exchange {
    /// That of the only shard, which has room for so many entries and finds signposts by an index keyed by `seed`.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn new(entries: u32, seed: [u64; 4]) -> io::Result<Self> {
        let steering = Steering::single();
        let signposts = Signposts::new(signpost_room(entries), seed)?;
        Ok(Self { steering, signposts, outbox: Outbox::new(&steering, 0)? })
    }

    /// Makes it one of several, each with room for so many entries, give or take one.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn join(&mut self, steering: Steering, entries: u32) -> io::Result<()> {
        self.outbox = Outbox::new(&steering, signpost_room(entries.saturating_add(1)))?;
        self.steering = steering;
        Ok(())
    }

    /// How many tuples of other shards' connections it knows.
    pub(crate) const fn signposts(&self) -> u32 {
        self.signposts.len()
    }

    /// The shard whose connection a tuple belongs to, where a signpost says so.
    #[inline]
    pub(crate) fn signpost(&self, tuple: &Tuple) -> Option<ShardId> {
        self.signposts.get(tuple)
    }

    /// Bytes of memory behind it, about.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.signposts.memory_bytes()
    }

    /// The next message to another shard. Those to one shard must arrive there in order.
    pub(crate) fn next_message(&mut self, to: ShardId) -> Option<Message> {
        self.outbox.next(to)
    }

    /// Whether there are messages to that shard which it was not told yet.
    pub(crate) fn has_messages(&self, to: ShardId) -> bool {
        self.outbox.has(to)
    }

    /// Whether nobody is to be told anything.
    pub(crate) const fn is_silent(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Whether all other shards can be told what is expected here.
    pub(crate) const fn may_announce(&self) -> bool {
        self.outbox.announcements.has_room()
    }

    /// Tells all other shards what is expected here.
    pub(crate) fn announce(&mut self, id: ExpectationId, expectation: &Expectation) {
        self.outbox.announcements.push(id, expectation);
    }

    /// Whether some shard does not know yet what is expected here: no packet that promises it leaves before.
    #[inline(always)]
    pub(crate) const fn is_announcing(&self) -> bool {
        !self.outbox.announcements.is_empty()
    }

    /// Whether it is time to look how much room lanes have.
    pub(crate) const fn wants_room(&self) -> bool {
        self.outbox.announcements.wants_room()
    }

    /// The fullest lane has room for so many messages.
    pub(crate) fn set_room(&mut self, room: usize) {
        self.outbox.announcements.set_room(room);
    }

    /// The lane to a shard has room for so many messages.
    pub(crate) fn note_room(&mut self, to: ShardId, room: usize) {
        self.outbox.announcements.note_room(to, room);
    }

    /// Whether the reply tuple of a connection belongs to another shard, which is to have a signpost.
    pub(crate) fn needs_signpost(&self, reply: &Tuple) -> bool {
        !self.steering.is_single() && self.steering.owner(reply) != self.steering.own()
    }

    /// Whether a reply tuple can be claimed now.
    pub(crate) fn may_claim(&self, reply: &Tuple) -> bool {
        self.outbox.may_claim(self.steering.owner(reply))
    }

    /// Claims the reply tuple of an entry from its owner.
    pub(crate) fn claim(&mut self, tuple: Tuple, entry: EntryId) {
        self.outbox.claim(self.steering.owner(&tuple), tuple, entry);
    }

    /// Answers the claim of another shard's entry: it gets the tuple and a signpost unless a connection `is_known` by it.
    pub(crate) fn answer_claim(&mut self, from: ShardId, tuple: &Tuple, entry: EntryId, is_known: bool) {
        let granted = !is_known && self.signposts.place(tuple, from);
        self.outbox.send(from, if granted { Message::Granted(entry) } else { Message::Refused(entry) });
    }

    /// Takes note of the answer to a claim.
    pub(crate) fn take_answer(&mut self, from: ShardId) {
        self.outbox.take_answer(from);
    }

    /// Tells the owner of a tuple that the connection to which it has a signpost has ended.
    pub(crate) fn release(&mut self, tuple: Tuple) {
        self.outbox.release(self.steering.owner(&tuple), tuple);
    }

    /// Takes a signpost to another shard away that was placed once, else counts one time less.
    pub(crate) fn drop_signpost(&mut self, tuple: &Tuple, to: ShardId) {
        if self.signposts.get(tuple) == Some(to) {
            self.signposts.drop(tuple);
        }
    }

    /// Gives the connection of a first packet to another shard. `None` where there is no room for a signpost.
    pub(crate) fn delegate(&mut self, tuple: &Tuple, to: ShardId) -> Option<Handoff> {
        self.signposts.place(tuple, to).then(|| Handoff::Delegation(tuple.selector.zone()))
    }

    /// The shard that a packet without an entry is handed on to: by a signpost, or back where it came from by one that is
    /// stale.
    #[inline]
    pub(crate) fn pointed(&self, tuple: &Tuple, handed: Option<Handed>) -> Option<(ShardId, Handoff)> {
        match handed {
            Some(Handed { from, by: Handoff::Signpost(_), .. }) => Some((from, Handoff::Return)),
            _ => self.signposts.get(tuple).map(|to| (to, Handoff::Signpost(tuple.selector.zone()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const ROOM: u32 = 10_000;

    fn exchange(own: u16, shards: u16) -> Exchange {
        let mut exchange = Exchange::new(ROOM, [1, 2, 3, 4]).unwrap();
        exchange.join(Steering::new(ShardId(own), shards).unwrap(), ROOM).unwrap();
        exchange
    }

    /// Tuples that a shard owns.
    fn owned(exchange: &Exchange, by: u16) -> impl Iterator<Item = Tuple> + use<> {
        let steering = exchange.steering;
        let tuple = |number: u32| {
            let client = Ipv4Addr::from(0x0a00_0000 + number).into();
            Tuple::new(client, [198, 51, 100, 2].into(), 17, 4000, 53)
        };
        (0..).map(tuple).filter(move |tuple| steering.owner(tuple) == ShardId(by))
    }

    const fn entry(index: u32) -> EntryId {
        EntryId { index, generation: 1 }
    }

    /// Delivers what the first has to say to the second.
    fn deliver(from: &mut Exchange, to: &mut Exchange) -> Vec<Message> {
        let (own, other) = (from.steering.own(), to.steering.own());
        let messages: Vec<_> = std::iter::from_fn(|| from.next_message(other)).collect();
        for message in &messages {
            match *message {
                Message::Claim { tuple, claim } => to.answer_claim(own, &tuple, claim, false),
                Message::Granted(_) | Message::Refused(_) => to.take_answer(own),
                Message::Release(tuple) => to.drop_signpost(&tuple, own),
                Message::Announce(..) => {}
            }
        }
        messages
    }

    #[test]
    fn a_claim_is_granted_and_released() {
        let (mut home, mut owner) = (exchange(0, 2), exchange(1, 2));
        let tuple = owned(&home, 1).next().unwrap();
        assert!(home.needs_signpost(&tuple) && !owner.needs_signpost(&tuple));
        home.claim(tuple, entry(5));
        deliver(&mut home, &mut owner);
        assert_eq!(owner.pointed(&tuple, None), Some((ShardId(0), Handoff::Signpost(0))));
        assert_eq!(deliver(&mut owner, &mut home), [Message::Granted(entry(5))]);
        home.release(tuple);
        deliver(&mut home, &mut owner);
        assert_eq!((owner.signposts(), owner.pointed(&tuple, None)), (0, None));
    }

    #[test]
    fn a_tuple_that_is_known_is_refused() {
        let (mut owner, tuple) = (exchange(1, 3), owned(&exchange(0, 3), 1).next().unwrap());
        owner.answer_claim(ShardId(0), &tuple, entry(1), true);
        assert_eq!(owner.next_message(ShardId(0)), Some(Message::Refused(entry(1))));
        owner.answer_claim(ShardId(0), &tuple, entry(2), false);
        assert_eq!(owner.next_message(ShardId(0)), Some(Message::Granted(entry(2))));
        // Another shard's, by now.
        owner.answer_claim(ShardId(2), &tuple, entry(3), false);
        assert_eq!(owner.next_message(ShardId(2)), Some(Message::Refused(entry(3))));
        owner.drop_signpost(&tuple, ShardId(2));
        assert_eq!(owner.signposts(), 1, "a shard releases what is its own");
    }

    #[test]
    fn a_signpost_goes_with_the_last_release() {
        let (mut home, mut owner) = (exchange(0, 2), exchange(1, 2));
        let tuple = owned(&home, 1).next().unwrap();
        assert_eq!(owner.delegate(&tuple, ShardId(0)), Some(Handoff::Delegation(0)));
        home.claim(tuple, entry(1));
        home.release(tuple);
        deliver(&mut home, &mut owner);
        assert_eq!(owner.signposts(), 1);
        home.release(tuple);
        deliver(&mut home, &mut owner);
        assert_eq!(owner.signposts(), 0);
    }

    #[test]
    fn one_that_does_not_listen_keeps_none_from_the_others() {
        let mut home = exchange(0, 3);
        let late: Vec<Tuple> = owned(&home, 1).take(ROOM as usize).collect();
        let mut claims = 0;
        for (tuple, index) in late.iter().zip(0..) {
            if home.may_claim(tuple) {
                home.claim(*tuple, entry(index));
                claims += 1;
            }
            home.release(*tuple);
        }
        assert_eq!(claims, CLAIMS_TO_ONE as u32);
        let mut swift = exchange(2, 3);
        let tuples: Vec<Tuple> = owned(&home, 2).take(ROOM as usize).collect();
        for (tuple, index) in tuples.iter().zip(0..) {
            assert!(home.may_claim(tuple), "the claims of one that answers");
            home.claim(*tuple, entry(index));
            deliver(&mut home, &mut swift);
            assert_eq!(deliver(&mut swift, &mut home), [Message::Granted(entry(index))]);
        }
        assert_eq!(swift.signposts(), ROOM);
    }

    #[test]
    fn what_is_released_while_nobody_listens_takes_no_room_and_is_said_in_the_end() {
        let (mut owner, mut home) = (exchange(0, 2), exchange(1, 2));
        let tuples: Vec<Tuple> = owned(&home, 0).take(ROOM as usize).collect();
        for tuple in &tuples {
            assert!(owner.delegate(tuple, ShardId(1)).is_some());
            home.release(*tuple);
        }
        assert_eq!(owner.signposts(), ROOM);
        assert!(!home.may_claim(&tuples[0]), "what is free again is said before what is wanted");
        deliver(&mut home, &mut owner);
        assert_eq!((owner.signposts(), home.may_claim(&tuples[0])), (0, true));
        assert!(home.is_silent());
    }
}
