//! Who is told of connections, as clients hear it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Who is told, and how that goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExportStatus {
    /// All who are told.
    pub sinks: Vec<SinkStatus>,
    /// The NAT journal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalStatus>,
}

/// One who is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// What it is: `journal`, `syslog` or `ipfix`.
    pub sink: String,
    /// Where it is.
    pub to: String,
    /// Records that it was given.
    pub written: u64,
    /// Events that it was not told of.
    pub lost: u64,
}

/// What the NAT journal has come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Where it is.
    pub directory: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
    /// Seconds since 1970 at which its oldest segment begins.
    pub oldest_s: u64,
}
