//! What is said about helpers over the control socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A helper that the configuration assigns, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelperStatistics {
    /// Its name.
    pub helper: String,
    /// Whether it is switched on.
    pub on: bool,
    /// Connections in the table that have it.
    pub connections: u64,
    /// Connections that got it since the start.
    pub assigned: u64,
    /// Connections that are expected now.
    pub expectations: u64,
    /// Announcements since the start after which a connection was expected.
    pub promised: u64,
    /// Of what was expected: what has come.
    pub met: u64,
    /// What has not come in time.
    pub expired: u64,
    /// Announcements after which nothing was expected, as too many were, or another connection had the same.
    pub refused: u64,
    /// Connections that it reads no more, since it cannot, or must not.
    pub turned_off: u64,
    /// All that came of it, by the label of `sluice_helper_events_total`.
    pub events: BTreeMap<String, u64>,
}
