//! What is said of a cluster over the control socket.

use serde::{Deserialize, Serialize};

use super::groups::{GroupState, GroupStatus};

/// A box of a cluster at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaStatus {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the box.
    #[serde(rename = "box")]
    pub name: String,
    /// Where it tells.
    pub engine: EngineStatus,
    /// What it tells of each group.
    pub streams: Vec<StreamStatus>,
    /// Connections that peers are yet to be told of.
    pub dirty_entries: u64,
    /// Ends of connections that peers could not be told of.
    pub ends_lost: u64,
    /// Connections of peers in the table.
    pub standby_entries: u64,
    /// Its groups, in the order of the configuration file.
    pub groups: Vec<GroupStatus>,
    /// What its peers tell of each group that they have a part in.
    pub peers: Vec<PeerStatus>,
    /// Who says which of two boxes may be active that do not hear each other; left out where there is nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<WitnessStatus>,
}

/// The witness on a third host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessStatus {
    /// Where it is.
    pub url: String,
    /// Whether it answers.
    pub up: bool,
    /// Whose the groups' leases are.
    pub leases: Vec<LeaseStatus>,
}

/// The lease of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// The group's name.
    pub group: String,
    /// Whether it is this box's.
    pub held: bool,
}

/// The box's own Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Where it is.
    pub url: String,
    /// Whether it takes what the box writes.
    pub up: bool,
}

/// What the box tells of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// The group's name; `all` where the box has no groups.
    pub group: String,
    /// The term that the box writes by; 0 before the first.
    pub term: u32,
    /// Stream entries written in it.
    pub sequence: u64,
    /// Records written.
    pub records_sent: u64,
    /// Times that a peer was told of all connections.
    pub bulks_sent: u64,
}

/// What a peer tells of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// The group's name; `all` where the box has no groups.
    pub group: String,
    /// Where its Redis is.
    pub url: String,
    /// Whether that answers.
    pub up: bool,
    /// Whether all is known that it has told.
    pub synced: bool,
    /// What it is for the group; left out where it has not said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<GroupState>,
    /// The term of the last stream entry that was read.
    pub term: u32,
    /// Its number.
    pub sequence: u64,
    /// How far the box is behind, microseconds; left out before the first entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_us: Option<u64>,
    /// Records that were installed.
    pub records_installed: u64,
    /// What could not be installed, by every reason there is.
    pub failures: Vec<InstallFailures>,
    /// Gaps in its stream.
    pub gaps: u64,
    /// Times that it has told of all its connections.
    pub bulks: u64,
}

/// How much could not be installed for a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallFailures {
    /// The reason.
    pub reason: String,
    /// Records; stream entries where the whole entry is damaged.
    pub count: u64,
}
