//! The states that a neighbour goes through, and how many may be in each.

use std::net::IpAddr;

use sluice_conntrack::PortId;
use sluice_conntrack::forward::MacAddress;

/// Neighbours of a port that are asked for, at most: those of half a second at the pace of questions.
pub(super) const MAX_INCOMPLETE: u32 = 512;
/// Neighbours of a port that are known though nobody has sent to them, at most.
pub(super) const MAX_UNUSED: u32 = 1024;
/// Neighbours that the operator sets, at most.
pub(super) const MAX_PERMANENT: u32 = 4096;

/// The state of a neighbour (RFC 4861 section 7.3.2). DELAY is PROBE without a question yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is asked for; packets wait.
    Incomplete,
    /// It has spoken not long ago.
    Reachable,
    /// It has spoken, and nobody has sent to it since.
    Stale,
    /// Packets go to where it was, and it is asked whether it still is there.
    Probe,
    /// Set by the operator: never asked for, never forgotten.
    Permanent,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Incomplete, Self::Reachable, Self::Stale, Self::Probe, Self::Permanent];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Reachable => "reachable",
            Self::Stale => "stale",
            Self::Probe => "probe",
            Self::Permanent => "permanent",
        }
    }

    /// The states that share a limit with this one, those first that give way first. So many neighbours of a port may be in use:
    /// those that packets go to.
    pub(super) const fn kind(self, max_in_use: u32) -> (&'static [Self], u32) {
        match self {
            Self::Incomplete => (&[Self::Incomplete], MAX_INCOMPLETE),
            Self::Stale => (&[Self::Stale], MAX_UNUSED),
            Self::Reachable | Self::Probe => (&[Self::Reachable, Self::Probe], max_in_use),
            Self::Permanent => (&[], MAX_PERMANENT),
        }
    }
}

/// A neighbour as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourSnapshot {
    /// The port whose link it is on.
    pub port: PortId,
    /// Its address.
    pub address: IpAddr,
    /// Its link-layer address, once that is known.
    pub mac: Option<MacAddress>,
    /// What is known of it.
    pub state: State,
}

/// The numbers of neighbours, and of those that had to give way, by [`State`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeighbourCounters {
    /// Neighbours now.
    pub entries: [u32; State::ALL.len()],
    /// Neighbours that gave way to others.
    pub evictions: [u64; State::ALL.len()],
    /// Packets that wait for neighbours now.
    pub waiting: u64,
}

impl NeighbourCounters {
    /// Adds those of another worker.
    pub fn add(&mut self, other: &Self) {
        for (sum, entries) in self.entries.iter_mut().zip(other.entries) {
            *sum += entries;
        }
        for (sum, evictions) in self.evictions.iter_mut().zip(other.evictions) {
            *sum += evictions;
        }
        self.waiting += other.waiting;
    }
}
