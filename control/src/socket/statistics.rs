//! What the daemon has counted and what it works by, as it is said on the control socket.

use serde::{Deserialize, Serialize};

use super::configuration::{ConfigurationStatus, TrialStatus};
use super::ports::PortStatistics;

/// Counters of one shard, named as `conntrack -S` names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardCounters {
    /// The shard.
    pub shard: u16,
    /// Look-ups that found an entry.
    pub found: u64,
    /// INVALID packets.
    pub invalid: u64,
    /// Entries put into the table.
    pub insert: u64,
    /// Entries refused because the table was full of assured ones.
    pub insert_failed: u64,
    /// Packets dropped because tracking could not take them.
    pub drop: u64,
    /// Entries evicted for a new one.
    pub early_drop: u64,
}

/// A name and how often it was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// A state, a reason, a rule.
    pub name: String,
    /// Packets.
    pub packets: u64,
}

/// The daemon at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Its version.
    pub version: String,
    /// Seconds since its start.
    pub uptime_s: u64,
    /// How many configurations have been in force since the start.
    pub revision: u64,
    /// Which one is in force.
    #[serde(default)]
    pub configuration: ConfigurationStatus,
    /// Where that waits for being confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialStatus>,
    /// Whether the file was wrong at the start, so that the last good configuration is in force.
    #[serde(default)]
    pub fallback: bool,
    /// Entries in the table.
    pub entries: u64,
    /// Most entries allowed.
    pub entries_limit: u64,
    /// Packets by state.
    pub packets: Vec<Counted>,
    /// Where all packets have gone.
    #[serde(default)]
    pub balance: Balance,
    /// The ports, in the order of their names.
    pub ports: Vec<PortStatistics>,
    /// The rules that decide, in their order, and the default; since a configuration has them as they are.
    pub rules: Vec<RuleStatistics>,
    /// The workers, in the order of their numbers.
    #[serde(default)]
    pub workers: Vec<WorkerStatistics>,
    /// The memory of packets.
    #[serde(default)]
    pub mbufs: Mbufs,
}

/// A worker, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatistics {
    /// Entries of its share of the table.
    pub entries: u64,
    /// Connections that it has put into the table.
    pub inserts: u64,
    /// Packets that wait with it: fragments for the rest of their datagram, others for another worker or a neighbour.
    pub held: u64,
    /// Packets that it has handed to other workers.
    pub handed_off: u64,
    /// Nanoseconds in rounds that had packets.
    pub busy_ns: u64,
    /// Nanoseconds in rounds that had none.
    pub idle_ns: u64,
}

/// Packets that there is memory for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mbufs {
    /// How many are free.
    pub available: u64,
    /// How many there are.
    pub size: u64,
}

/// The packets of all ports and host sides since the start. Both sides come to the same sum, but for packets that are on their way between
/// workers, and those that come and go while these are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Packets that were received, and what the box has sent besides: its answers, its messages to links, and the fragments that it has
    /// made of packets.
    pub came: Vec<Counted>,
    /// Packets that were sent, dropped, delivered to the box itself, are held, or have left in fragments.
    pub went: Vec<Counted>,
}

impl Balance {
    /// The sums of both sides.
    pub fn sums(&self) -> [u64; 2] {
        [&self.came, &self.went].map(|side| side.iter().map(|counted| counted.packets).sum())
    }
}

/// What a rule has decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleStatistics {
    /// Its name, or `#` and its position among the rules, from 0; `default` where no rule decided.
    pub rule: String,
    /// Packets.
    pub packets: u64,
    /// Bytes of their IP datagrams.
    pub bytes: u64,
}

/// A timeout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeout {
    /// Its keys in the configuration file below `conntrack.timeouts`: `tcp.established`, `icmp`.
    pub name: String,
    /// Seconds.
    pub seconds: u32,
}
