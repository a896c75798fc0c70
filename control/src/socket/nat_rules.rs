//! What is said about the rules of NAT over the control socket.

use serde::{Deserialize, Serialize};

/// A rule of NAT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatRuleStatistics {
    /// Its name, or its side and its position among the rules of that, from 0.
    pub rule: String,
    /// What it translates.
    pub side: NatSide,
    /// Connections that it has bound; since a configuration has the rule as it is.
    pub bound: u64,
}

/// What a rule of NAT translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NatSide {
    /// The source of connections.
    Source,
    /// Their destination.
    Destination,
}

impl NatSide {
    /// Its name, which is that of the list in the configuration file, too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}
