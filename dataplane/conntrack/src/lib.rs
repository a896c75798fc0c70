//! Connection tracking: bytes and a time in, a verdict out.
//!
//! The crate knows no threads, no devices, no wall clock and no file formats. A worker, a test, a
//! fuzzer and a simulation are callers like any other: they hand a burst of [`Frame`]s and the
//! time to a [`Shard`] and get one [`Verdict`] for each frame.
//!
//! A packet's way through the crate is one file, [`pipeline`]; everything it calls is below.
#![forbid(unsafe_code)]

mod address_set;
mod admit;
pub mod answer;
mod check;
mod claim;
mod compiled_policy;
mod configuration;
pub mod connection_counts;
pub mod counters;
pub mod cut;
pub mod dispatch;
pub mod entries;
pub mod entry;
pub mod events;
mod evict;
pub mod exchange;
pub mod expectations;
mod extension;
pub mod facts;
mod family;
mod fast_path;
mod flows;
pub mod forward;
mod fragments;
pub mod frame;
mod generation;
pub mod groups;
pub mod headers;
mod helper_event;
pub mod helpers;
mod hold;
mod icmp_type;
pub mod ids;
pub mod index;
mod installation;
mod judge;
mod lifecycle;
pub mod limits;
pub mod listing;
pub mod log;
pub mod mss_clamp;
pub mod nat;
mod operator;
pub mod pipeline;
pub mod policy;
mod prefix;
pub mod replica;
mod rewritten;
mod rule_counters;
mod sample;
pub mod settings;
pub mod shard;
mod slow_path;
mod stale_nat;
mod standby;
pub mod steer;
mod sweep;
pub mod synproxy;
mod table;
#[cfg(test)]
mod testing;
pub mod time;
mod track;
pub mod tracker;
mod translate;
pub mod tuple;
mod tuple_map;
mod unconfirmed;
pub mod verdict;
pub mod wheel;
pub mod wire;

pub use compiled_policy::CompiledPolicy;
pub use configuration::{Configuration, Verify};
pub use forward::Forwarding;
pub use frame::{Checksum, Frame, Handed};
pub use ids::{PortId, ShardId};
pub use installation::Installation;
pub use operator::{EntryUpdate, NewEntry, NotInserted};
pub use rule_counters::{KeptRules, NatCounter, RuleCounter, RuleCounters};
pub use shard::{Capacity, Shard};
pub use steer::Steering;
pub use time::Instant;
pub use tuple::{Direction, Tuple};
pub use verdict::{DropReason, InvalidReason, State, Verdict};
