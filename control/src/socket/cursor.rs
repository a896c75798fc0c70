//! Where the next page of a listing begins.

use serde::{Deserialize, Serialize};

/// A place in the table. An entry that is there throughout a listing is listed exactly once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The shard.
    pub shard: u16,
    /// The place in its table.
    pub place: u32,
}
