//! The NAT journal: who had which address and port when.
//!
//! A directory of segments, each a file of blocks with a checksum ([`format`]) under the time at which it begins ([`segment`]).
//! [`writer`] appends to the newest and removes the oldest; a segment that is complete has an index beside it ([`index`]), by which
//! [`search`] reads only what it is asked about. Where events are missing, a gap says so.

pub mod format;
pub mod index;
pub mod search;
pub mod segment;
pub mod writer;

#[cfg(test)]
mod tests;

use std::time::Duration;

/// How often all translated connections that there are get into the journal, beside their begins and ends.
pub const ROLL_CALL: Duration = Duration::from_secs(3600);

/// How far from a time a search reads: a connection that lives at that time is in the journal at least once in so long a time before
/// it. A roll call of ten million connections takes some minutes.
pub const LOOK_BACK: Duration = Duration::from_secs(3600 + 1800);
