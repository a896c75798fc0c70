//! Worker lcores: what stands between DPDK's queues and a shard.
//!
//! A [`Worker`] owns one shard and one queue pair of each port, and takes every burst from reception to transmission
//! before it looks for the next. Nothing of it is shared. Other threads reach it through the rings of [`command`].
#![forbid(unsafe_code)]

mod clock;
pub mod command;
mod frame;
mod link;
mod neighbour;
mod port;
mod worker;

pub use clock::Clock;
pub use command::{Answer, Command, Controller, Inbox, channel};
pub use port::{PortCounters, QueuePair};
pub use worker::{EXPIRY_BUDGET, Idle, Load, Worker};
