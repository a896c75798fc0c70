//! Who has made connections, as it is said on the control socket.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A sample of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCounts {
    /// Entries in the sample.
    pub sampled: u64,
    /// Their original sources, those of most entries first.
    pub sources: Vec<SourceCount>,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCount {
    /// Its address.
    pub source: IpAddr,
    /// Entries of the sample that it has made.
    pub entries: u64,
}
