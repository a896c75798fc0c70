//! The configuration in force and one that is considered, as they are said on the control socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use super::cuts::Cuts;
use crate::listing::Format;

/// Which configuration is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationStatus {
    /// The file that it was read from, or that it stands in now.
    pub file: PathBuf,
    /// What its text hashes to, as sha256sum(1) prints it.
    pub sha256: String,
    /// Since when it is in force, in UTC.
    pub since: String,
}

/// The configuration in force waits for being confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStatus {
    /// Seconds until what was in force before comes back.
    pub left_s: u64,
    /// What that is.
    pub before: ConfigurationStatus,
}

/// The configuration in force, and what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningConfiguration {
    /// How many configurations have been in force since the start.
    pub revision: u64,
    /// Which it is.
    #[serde(flatten)]
    pub status: ConfigurationStatus,
    /// Where it waits for being confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialStatus>,
    /// The text, as somebody has written it.
    pub text: String,
    /// All that is in force, every default written out, with what was changed since (timeouts).
    pub yaml: String,
}

/// A configuration that was read, so that it can be asked what it would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Considered {
    /// By which it is asked about.
    pub number: u64,
    /// The keys that only a restart can change; where there are any, it cannot be put in force, and cuts nothing.
    pub needs_restart: Vec<String>,
    /// Connections beyond the limit that it has for them, which give way to new ones as these come.
    pub beyond_limit: u64,
}

/// What a client asks of a configuration that is considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutsRequest {
    /// Its number, as [`Considered::number`].
    pub number: u64,
    /// Whether connections are to be listed, not only counted.
    #[serde(default)]
    pub list: bool,
    /// How they are written; conntrack(8)'s way unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Where the page begins.
    #[serde(default)]
    pub from: Cursor,
}

/// Connections that a configuration which is considered would cut or make stale, of a part of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutPage {
    /// How many it would cut.
    pub cuts: Cuts,
    /// How many go on, but would be translated otherwise if they began by it.
    #[serde(default)]
    pub stale_nat: u64,
    /// The connections themselves, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<CutConnection>,
    /// Where the next page begins; left out at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// A connection that is cut, or whose translation gets stale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutConnection {
    /// Why it is cut, as [`CutCount::reason`](super::protocol::CutCount::reason), or `stale-nat`.
    pub reason: String,
    /// The connection, as a listing shows it.
    pub line: String,
}
