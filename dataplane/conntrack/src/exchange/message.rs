//! What one shard says to another: plain data that whoever runs shards carries between them, in order.

use crate::expectations::{Expectation, ExpectationId};
use crate::ids::EntryId;
use crate::tuple::Tuple;

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
    /// The connection with this tuple has ended: the signpost to it goes, or, where its control connection says so of a call that the
    /// receiver has, that itself.
    Release(Tuple),
    /// I expect this: it can come to you.
    Announce(ExpectationId, Expectation),
}

/// The answer to a claim, for whoever holds the packets that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The entry that the packets wait for.
    pub entry: EntryId,
    /// Whether nothing stands in its way any more: else its first packet is to be bound again.
    pub granted: bool,
}
