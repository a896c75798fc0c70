//! Replication: what a shard tells of its connections, so that another box, or the same one after a restart, goes on with them.
//!
//! A [`Record`] is the whole state of a connection and no change of one, so that the last one wins and any may be told again. Records
//! travel in [stream entries](Header): over a log between two boxes, or one behind the other in a file, a snapshot.
//!
//! A shard that has a [`Teller`] notes which connections begin, change, are alive when the timer wheel comes to them, and end
//! ([`Shard::export`](crate::Shard::export)). One that is to go on with connections installs their records
//! ([`Shard::install`](crate::Shard::install)).

mod adopt;
mod export;
mod foreign;
mod helped;
mod install;
mod layout;
mod record;
mod stream;
mod teller;
mod verify;

pub(crate) use foreign::{Adoption, Foreign};
pub use helped::{Changed, Expected};
pub use layout::RecordError;
pub use record::{Connection, Record, RecordStatus};
pub use stream::{
    EntryKind, Followed, Follower, HEADER_BYTES, Header, MAX_RECORDS, Records, StreamError, decode, encode,
    entry_bytes, entry_records,
};
pub use teller::{MAX_RECORDS_OF_ONE, Replicate, Teller};

use crate::ids::{GroupId, ShardId};
use thiserror::Error;

/// Whose connection a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This box's own, as it was before.
    Own,
    /// That of a peer, which is active for this group: it is foreign here.
    Peer(GroupId),
}

/// A record on its way into the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installing {
    /// What is to be done.
    pub record: Record,
    /// Whose connection it is.
    pub origin: Origin,
    /// Whether the owner of its original tuple has given it to this shard.
    pub is_delegated: bool,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// It is done.
    Here,
    /// That shard is to do it, to which it was delegated.
    Delegated(ShardId),
}

/// Why a record was not installed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[repr(u8)]
pub enum NotInstalled {
    /// Another shard owns its original tuple.
    #[error("another shard owns its original tuple")]
    Elsewhere,
    /// This box is active for its group: nobody else tells of it any more.
    #[error("this box is active for its group")]
    Active,
    /// It is of another group, or translated to an address that is in none.
    #[error("its addresses are not those of its group")]
    OtherGroup,
    /// The policy would not let it begin here.
    #[error("the policy would not let it begin")]
    Policy,
    /// What is told of beside a connection is of none that was told of.
    #[error("its connection is not there")]
    Unknown,
    /// Packets of one of its tuples, or to its mapping, belong to another connection.
    #[error("one of its tuples belongs to another connection")]
    Exists,
    /// It was translated to an address that this box no longer has.
    #[error("the box has lost the address that it was translated to")]
    LostAddress,
    /// The table is full of connections that make no room, or the quota is used up.
    #[error("the table is full")]
    Full,
    /// The owner of its reply tuple has too much to answer.
    #[error("too many connections wait for another worker")]
    Busy,
}

impl NotInstalled {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Elsewhere,
        Self::Exists,
        Self::LostAddress,
        Self::Full,
        Self::Busy,
        Self::Active,
        Self::OtherGroup,
        Self::Policy,
        Self::Unknown,
    ];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::Exists => "exists",
            Self::LostAddress => "lost-address",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Active => "active",
            Self::OtherGroup => "other-group",
            Self::Policy => "policy",
            Self::Unknown => "unknown",
        }
    }
}
