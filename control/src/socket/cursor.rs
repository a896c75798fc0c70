//! Where the next page of a listing begins.

use serde::{Deserialize, Serialize};

/// A position in a listing. An entry that is there throughout a listing is listed exactly once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The shard.
    pub shard: u16,
    /// The index in its table.
    pub position: u32,
}
