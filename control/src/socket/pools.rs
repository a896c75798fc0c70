//! What is said about the pools of SNAT rules over the control socket.

use serde::{Deserialize, Serialize};
use sluice_conntrack::nat::SPACES;

/// An SNAT rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatistics {
    /// Its name, or `source-` and its position among the rules, from 0.
    pub pool: String,
    /// Addresses that it gives with a port of its choice; none for a 1:1 network, which keeps ports.
    pub addresses: u64,
    /// Their ports, all told.
    pub ports: PortCounts,
    /// How many of these are in use. Each worker counts for itself: a port that two use, towards different servers, is two.
    pub used: PortCounts,
    /// Connections that it has found a source for; since a configuration has the rule as it is.
    pub bound: u64,
    /// Connections that were dropped because all ports were taken; since a configuration has the rule as it is.
    pub exhausted: u64,
}

/// A number for each space of ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortCounts {
    /// TCP.
    pub tcp: u64,
    /// UDP.
    pub udp: u64,
    /// All other protocols; an ICMP identifier counts as a port.
    pub other: u64,
}

impl PortCounts {
    /// Each space by its name.
    pub const fn named(self) -> [(&'static str, u64); SPACES] {
        [("tcp", self.tcp), ("udp", self.udp), ("other", self.other)]
    }
}

impl From<[u64; SPACES]> for PortCounts {
    fn from([tcp, udp, other]: [u64; SPACES]) -> PortCounts {
        PortCounts { tcp, udp, other }
    }
}
