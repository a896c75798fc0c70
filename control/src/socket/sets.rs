//! Named sets, as the control socket tells of them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Prefix;

/// What is in a set, by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSummary {
    /// Its name.
    pub set: String,
    /// Prefixes of IPv4, and addresses.
    pub ipv4: u64,
    /// Those of IPv6.
    pub ipv6: u64,
    /// Bytes of memory that it takes.
    pub memory_bytes: u64,
    /// The file that a reload reads, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// What is done to a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetChange {
    /// These come into it. What is in it already stays.
    Add(Vec<Prefix>),
    /// These leave it: all of them, or none where one is not in it.
    Delete(Vec<Prefix>),
    /// What a file says takes the place of all that is in it.
    Replace(PathBuf),
    /// All leave it.
    Flush,
}
