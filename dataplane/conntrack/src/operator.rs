//! What an operator does to connections: conntrack(8)'s `-G`, `-D`, `-U` and `-I`.
//!
//! Each call is about one connection, so that a worker does a few between two bursts. Which connections fit a filter is
//! found by listing them ([`Shard::list`]).

use crate::entry::Status;
use crate::events::End;
use crate::groups::Role;
use crate::ids::EntryId;
use crate::listing::EntrySnapshot;
use crate::shard::Shard;
use crate::time::{MAX_TIMEOUT, Tick};
use crate::tracker::sctp::TagPair;
use crate::tracker::{self, Context};
use crate::tuple::{Direction, Tuple};
use crate::unconfirmed::Unconfirmed;

/// What of an entry is changed. What is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryUpdate {
    /// A value of the connection mark, and the bits that are cleared before its own are flipped, as by Linux's
    /// `CTA_MARK_MASK`.
    pub mark: Option<(u32, u32)>,
    /// Milliseconds from now to the entry's end, unless a packet puts that off; at most [`MAX_TIMEOUT`].
    pub timeout_ms: Option<u32>,
}

/// A connection that an operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// Original tuple.
    pub original: Tuple,
    /// Reply tuple: the inverse of the original one unless the connection is translated.
    pub reply: Tuple,
    /// The tracker's number of its state; 0 for protocols without states.
    pub state: u8,
    /// Of [`Status::SEEN_REPLY`] and [`Status::ASSURED`] those that it has.
    pub status: Status,
    /// Milliseconds to its end, at most [`MAX_TIMEOUT`].
    pub timeout_ms: u32,
    /// Connection mark.
    pub mark: u32,
    /// Verification tags of SCTP.
    pub tags: TagPair,
}

/// Why a connection was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInserted {
    /// Packets of one of its tuples belong to another connection.
    Exists,
    /// The table is full of assured entries.
    Full,
    /// No packet has tuples and a state like these.
    Malformed,
    /// This box stands by for its group: another one has such connections.
    Standby,
    /// Another worker, which is to be asked for the reply tuple, has too much to answer.
    Busy,
}

impl NewEntry {
    /// Whether packets have tuples like these, and the status is one that may be asked for.
    fn is_well_formed(&self) -> bool {
        self.original.may_be_answered_by(&self.reply)
            && Status::SEEN_REPLY.union(Status::ASSURED).contains(self.status)
    }
}

impl Shard {
    /// The entry that packets of a tuple belong to, in either direction.
    pub fn get(&self, tuple: &Tuple) -> Option<(EntryId, EntrySnapshot)> {
        let (index, _) = self.table.search(&self.table.key(tuple), tuple)?;
        let id = self.living(self.table.entries.id(index))?;
        Some((id, self.snapshot(index)))
    }

    /// The entry of a name, if it lives.
    pub fn snapshot_of(&self, id: EntryId) -> Option<EntrySnapshot> {
        self.living(id).map(|id| self.snapshot(id.index))
    }

    /// The original tuple of the entry of a name, if it lives.
    pub fn original_of(&self, id: EntryId) -> Option<Tuple> {
        self.living(id).map(|id| self.table.entries.tuple(id.index, Direction::Original))
    }

    /// Deletes an entry, if it lives; gives it as it was.
    pub fn delete_entry(&mut self, id: EntryId) -> Option<EntrySnapshot> {
        let EntryId { index, .. } = self.living(id)?;
        let last = self.snapshot(index);
        self.end(index, End::Deleted);
        Some(last)
    }

    /// Changes an entry, if it lives; gives it as it is then. Rules may look at its mark, so that its packets are judged anew.
    pub fn update_entry(&mut self, id: EntryId, update: &EntryUpdate) -> Option<EntrySnapshot> {
        let EntryId { index, .. } = self.living(id)?;
        if let Some(timeout_ms) = update.timeout_ms {
            let timeout_ms = timeout_ms.min(MAX_TIMEOUT.as_millis() as u32);
            self.refresh(index, Tick::at(self.now).after_ms(timeout_ms));
        }
        match update.mark {
            Some((value, mask)) => {
                let mark = self.table.entries.at(index).mark;
                self.set_mark(index, (mark & !mask) ^ value);
            }
            None => self.tell_update(index),
        }
        Some(self.snapshot(index))
    }

    /// Makes a connection of which no packet was seen; `None` where it is another shard's. One whose answers come to another
    /// shard is [`Status::PENDING`] until that has agreed, and gone if it does not.
    ///
    /// # Errors
    /// Why it is not made.
    pub fn insert_entry(&mut self, new: &NewEntry) -> Option<Result<EntryId, NotInserted>> {
        let is_own = self.steering().owner(&new.original) == self.steering().own();
        is_own.then(|| self.insert_own(new))
    }

    fn insert_own(&mut self, new: &NewEntry) -> Result<EntryId, NotInserted> {
        let mut unconfirmed = Unconfirmed::new(new.original, None);
        let entry = &mut unconfirmed.entry;
        let now = Tick::at(self.now);
        (entry.state, entry.status, entry.mark) = (new.state, new.status, new.mark);
        entry.deadline = now.after_ms(new.timeout_ms.min(MAX_TIMEOUT.as_millis() as u32));
        let context = Context { settings: &self.configuration.settings, now };
        if !new.is_well_formed() || !tracker::begin_unseen(context, entry, new.tags) {
            return Err(NotInserted::Malformed);
        }
        let group = self.configuration.group_of(&[new.original, new.reply]);
        if group.is_some_and(|group| self.role(group) == Role::Standby) {
            return Err(NotInserted::Standby);
        }
        if self.is_known(&new.original) || self.is_known(&new.reply) {
            return Err(NotInserted::Exists);
        }
        let claims = self.exchange.needs_signpost(&new.reply);
        if claims && !self.exchange.may_claim(&new.reply) {
            return Err(NotInserted::Busy);
        }
        if new.reply != new.original.invert() {
            unconfirmed.commit(&new.reply, self.table.key(&new.reply).hash);
        }
        let key = self.table.key(&new.original);
        let index = self.confirm(&key, &mut unconfirmed).ok_or(NotInserted::Full)?;
        if claims {
            self.claim(index, &unconfirmed);
        }
        Ok(self.table.entries.id(index))
    }

    /// Whether packets of a tuple belong to a connection, as far as this shard knows.
    fn is_known(&mut self, tuple: &Tuple) -> bool {
        self.exchange.signpost(tuple).is_some() || self.is_taken(tuple)
    }

    /// The name of an entry whose time is not over.
    fn living(&self, id: EntryId) -> Option<EntryId> {
        let entry = self.entry(id)?;
        (!entry.deadline.is_due(Tick::at(self.now))).then_some(id)
    }
}
