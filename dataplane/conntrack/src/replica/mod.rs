//! Replication: what a shard tells of its connections, so that another box, or the same one after a restart, goes on with them.
//!
//! A [`Record`] is the whole state of a connection and no change of one, so that the last one wins and any may be told again. Records
//! travel in [stream entries](Header): over a log between two boxes, or one behind the other in a file, a snapshot.

mod record;
mod stream;

pub use record::{Connection, Record, RecordError, RecordStatus};
pub use stream::{EntryKind, Followed, Follower, HEADER_BYTES, Header, Records, StreamError, decode, encode};
