//! The section `export`: who else is told of connections that begin and end.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{Seconds, Size};

/// What is told of connections, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping (journal)")]
pub struct Export {
    /// The NAT journal: who had which address and port when, on the box's own disk. `sluice nat who-owned` asks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<Journal>,
}

/// The NAT journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a mapping (directory, size, keep)")]
pub struct Journal {
    /// Where it is written. The directory is made where there is none, and is for nothing else.
    #[schemars(example = &"/var/lib/sluice/journal")]
    pub directory: PathBuf,

    /// How much it takes on the disk, at most: the oldest gives way. A connection takes some 90 bytes, of IPv6 some 180.
    #[serde(default = "default_size")]
    pub size: Size,

    /// For how long it is kept, at most.
    #[serde(default = "default_keep")]
    pub keep: Seconds,
}

fn default_size() -> Size {
    Size(10 << 30)
}

fn default_keep() -> Seconds {
    Seconds(30 * 86_400)
}

impl Export {
    /// Whether anybody is told of anything.
    pub fn is_empty(&self) -> bool {
        *self == Export::default()
    }
}
