//! Expectations: connections that another one has announced, Linux's `nf_conntrack_expect`.
//!
//! A helper that reads an announcement in the stream of a connection, the *master*, expects the *child*: a tuple, with or without
//! its source. The first packet that meets it is RELATED, and its connection inherits the master's mark and translation.
//!
//! The child can come to any shard, so each has a table with what it expects itself and copies of what others do. What shards
//! say about it is little:
//!
//! ```text
//!   the master's shard                                each other shard
//!     | a packet announces a child: it is expected            |
//!     |------------------ Announce(id, expectation) --------->| puts a copy in the same slot
//!     | the packet leaves, once all lanes have that           |
//!     |                                                       |<== the child: claims the expectation
//!     |        (one atomic word for each, in `Claims`)        |    by compare-and-exchange
//! ```
//!
//! A shard hears what was said before it decides about a packet, so that there is a copy before there can be a child. Whether
//! an expectation is still to be met is in one word that all shards see: whoever ends it, the master's shard or the one to
//! which the child comes, ends it everywhere in one step. A copy whose word says otherwise is found no more, and gives way to
//! the next one of its slot, or goes when it expires: nobody has to be told.

mod calls;
mod child;
mod claims;
mod expectation;
mod listener;
mod revision;
mod slots;
mod stage;
mod table;

pub(crate) use child::Child;
pub use claims::Claims;
pub use expectation::{ChildNat, Expectation, ExpectationId, Limits, SourceMask, Unexpected, Wanted};
pub(crate) use table::Expectations;
