//! The unconfirmed connection: what its first packet has brought about so far.
//!
//! A value in the hands of whoever decides about that packet. [`Shard::open`](crate::shard::Shard::open) fills its entry, NAT completes
//! its reply tuple, the policy gives it its mark, and [`Shard::confirm`](crate::shard::Shard::confirm) puts it into the table
//! once the packet has passed. Dropped before, it leaves nothing behind.

use crate::entry::{Entry, Status};
use crate::expectations::{Child, ChildNat};
use crate::helpers::Assigned;
use crate::ids::EntryId;
use crate::index::Hash;
use crate::nat::{BoundBy, Destination, Filtering};
use crate::tuple::Tuple;
use zerocopy::FromZeros;

/// Whether, and how often, a first packet was decided about before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempt {
    /// Rules have counted and logged it.
    pub(crate) again: bool,
    /// How often its connection was refused its reply tuple by another shard.
    pub(crate) refusals: u8,
    /// The entry that it had then, which has ended.
    pub(crate) before: EntryId,
}

/// A connection that is not in the table yet.
#[derive(Debug)]
pub(crate) struct Unconfirmed {
    /// Its entry, but for tuples and what status says of those.
    pub(crate) entry: Entry,
    /// Its original tuple.
    pub(crate) original: Tuple,
    /// Its reply tuple.
    pub(crate) reply: Tuple,
    /// The hash of that, if it was searched for: else it is the inverse of the original one.
    pub(crate) reply_hash: Option<Hash>,
    /// The entry whose slot it takes, and whose tuples are free for it.
    pub(crate) replaces: Option<u32>,
    /// The closed entry whose reply tuple it takes.
    pub(crate) takes_over: Option<u32>,
    /// Whether its source is masqueraded if it leaves by the port it came by.
    pub(crate) hairpin: bool,
    /// Whether its source has become an address of the box.
    pub(crate) masqueraded: bool,
    /// The rules that its destination and source were bound by, or were to be.
    pub(crate) bound_by: BoundBy,
    /// Who may begin connections to its client's port, if its source was bound by a mapping of that.
    pub(crate) mapped: Option<Filtering>,
    /// Whether its destination was bound by one of its server's, as endpoint-independent filtering (EIF) has it.
    pub(crate) eif: bool,
    /// The helper that reads it.
    pub(crate) helper: Option<Assigned>,
    /// Whether its client has brought a SYN cookie.
    pub(crate) is_proven: bool,
    /// Whether another shard has delegated it to this one: then it stays.
    pub(crate) delegated: bool,
    /// Whether a peer has told of it, which has it.
    pub(crate) is_foreign: bool,
    /// What it has met, if it was expected.
    pub(crate) child: Option<Child>,
    /// What was tried for it before.
    pub(crate) attempt: Attempt,
}

impl Unconfirmed {
    /// A connection of which no more is known than the tuple of its first packet.
    #[inline]
    pub(crate) fn new(original: Tuple, replaces: Option<u32>) -> Self {
        let mut entry = Entry::new_zeroed();
        entry.selector = original.selector;
        Self {
            entry,
            original,
            reply: original.invert(),
            reply_hash: None,
            replaces,
            takes_over: None,
            hairpin: false,
            masqueraded: false,
            bound_by: BoundBy::default(),
            mapped: None,
            eif: false,
            helper: None,
            is_proven: false,
            delegated: false,
            is_foreign: false,
            child: None,
            attempt: Attempt::default(),
        }
    }

    /// Gives it a reply tuple that is nobody's, with its hash.
    pub(crate) const fn commit(&mut self, reply: &Tuple, hash: Hash) {
        self.reply = *reply;
        self.reply_hash = Some(hash);
    }

    /// Whether another connection ends for it.
    pub(crate) const fn takes_slot(&self) -> bool {
        self.replaces.is_some() || self.takes_over.is_some()
    }

    /// How it is translated, if not by rules.
    pub(crate) fn child_nat(&self) -> Option<ChildNat> {
        self.child.as_ref().and_then(|child| child.expectation.nat())
    }

    /// The tuple by which it is answered, if it is a call ([`crate::expectations`]).
    pub(crate) fn answer_to_call(&self) -> Option<Tuple> {
        self.child
            .as_ref()
            .filter(|child| child.expectation.is_call())
            .map(|child| child.expectation.answer())
    }

    /// The mark that it begins with.
    pub(crate) fn inherited_mark(&self) -> u32 {
        self.child.as_ref().map_or(0, |child| child.expectation.mark)
    }

    /// Where its first packet goes; `None` where its destination stays.
    pub(crate) fn destination(&self) -> Option<Destination> {
        let to = self.reply.invert();
        let stays = to.dst == self.original.dst && to.selector.dport() == self.original.selector.dport();
        (!stays).then(|| Destination::of(&to))
    }

    /// The status that its entry begins with: what it has already, what of it is translated, and how that came about.
    #[inline]
    pub(crate) fn status(&self) -> Status {
        let mut status = self.entry.status;
        if self.delegated {
            status.insert(Status::DELEGATED);
        }
        if self.helper.is_some() {
            status.insert(Status::HELPER);
        }
        if self.child.is_some() {
            status.insert(Status::EXPECTED);
        }
        if self.reply_hash.is_none() {
            return status;
        }
        let [has_source, has_destination] = self.original.translations(&self.reply);
        if has_source {
            status.insert(Status::SRC_NAT);
            if self.masqueraded {
                status.insert(Status::MASQUERADED);
            }
        }
        if has_destination {
            status.insert(Status::DST_NAT);
        }
        if self.mapped.is_some() {
            status.insert(Status::MAPPED);
        }
        if self.eif {
            status.insert(Status::EIF);
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unconfirmed() -> Unconfirmed {
        let original = Tuple::new([10, 0, 0, 1].into(), [198, 51, 100, 2].into(), 17, 4000, 53);
        Unconfirmed::new(original, None)
    }

    #[test]
    fn untranslated_it_is_answered_by_the_inverse_of_its_tuple() {
        let it = unconfirmed();
        assert_eq!((it.reply, it.status()), (it.original.invert(), Status::default()));
        assert!(it.destination().is_none());
    }

    #[test]
    fn its_status_says_what_is_translated() {
        let hash = Hash::default();
        let mut it = unconfirmed();
        it.commit(&it.reply.clone(), hash);
        assert_eq!(it.status(), Status::default(), "searched for, and kept");
        it.commit(&Tuple { dst: 7, ..it.reply }, hash);
        assert_eq!(it.status(), Status::SRC_NAT);
        it.masqueraded = true;
        assert_eq!(it.status(), [Status::SRC_NAT, Status::MASQUERADED].into_iter().collect());
        let elsewhere = Tuple { src: 8, ..it.original.invert() };
        it.commit(&elsewhere, hash);
        assert_eq!(it.status(), Status::DST_NAT, "what keeps its source is not masqueraded");
        assert_eq!(it.destination().map(|to| (to.address, to.port)), Some((8, Some(53))));
    }
}
