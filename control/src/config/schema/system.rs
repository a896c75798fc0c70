//! The box itself: cores, memory, metrics, the control socket.

use std::net::SocketAddr;
use std::path::PathBuf;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::Size;

/// Most workers: each has an entry in the table by which NICs spread packets.
const MAX_WORKERS: usize = sluice_conntrack::steer::MAX_SHARDS as usize;

/// Processor cores and memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a mapping (cores, idle, memory)"
)]
pub struct System {
    /// Which cores do what.
    #[garde(dive)]
    pub cores: Cores,

    /// What workers do while nothing comes: `poll` goes on polling, `friendly` naps for 50 microseconds at a time. Left
    /// out: `poll` on a core that is isolated (`isolcpus`), `friendly` on any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(example = Idle::Poll)]
    pub idle: Option<Idle>,

    /// Memory for packets and connections.
    #[garde(dive)]
    pub memory: Memory,
}

/// What a worker does while nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Idle {
    /// Naps.
    Friendly,
    /// Polls.
    Poll,
}

/// Which cores do what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping (control, workers)")]
pub struct Cores {
    /// The core for everything but packets: control socket, metrics, log.
    #[garde(range(max = 1023))]
    pub control: u16,

    /// The cores that poll and do nothing else, a worker and its share of the connections on each.
    #[garde(length(min = 1, max = MAX_WORKERS), inner(range(max = 1023)))]
    pub workers: Vec<u16>,
}

impl Default for Cores {
    fn default() -> Cores {
        Cores { control: 0, workers: vec![1] }
    }
}

/// Memory for packets and connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a mapping (hugepages, neighbours)"
)]
pub struct Memory {
    /// How much to take, from huge pages; from ordinary pages, with a warning, where there are none.
    #[garde(custom(enough_memory))]
    pub hugepages: Size,

    /// Neighbours of each interface that packets go to, at most; beyond that the one gives way that was sent to longest ago. So many
    /// each worker knows. Those that are asked for, and those that nobody has sent to, have limits of their own: 512 and 1024.
    #[garde(range(min = 64, max = 65_536))]
    #[schemars(range(min = 64, max = 65_536))]
    pub neighbours: u32,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { hugepages: Size(1 << 30), neighbours: 4096 }
    }
}

/// DPDK and the packet buffers of two ports do not fit into less.
const LEAST_MEMORY: Size = Size(512 << 20);

fn enough_memory(size: &Size, _: &()) -> garde::Result {
    match *size >= LEAST_MEMORY {
        true => Ok(()),
        false => Err(garde::Error::new(format!("{size} is too little memory; the least is {LEAST_MEMORY}"))),
    }
}

/// Prometheus metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping (listen)")]
pub struct Metrics {
    /// Address and port the metrics are served on, under `/metrics`. Port 0 is one that is free, which the log names.
    pub listen: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}

/// The control socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping (socket)")]
pub struct Control {
    /// Path of the Unix socket.
    pub socket: PathBuf,
}

impl Default for Control {
    fn default() -> Control {
        Control { socket: PathBuf::from("/run/sluice/control.sock") }
    }
}
