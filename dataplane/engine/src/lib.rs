//! Worker lcores: what stands between DPDK's queues and a shard.
//!
//! A [`Worker`] owns one shard and its queues of each port, and takes every burst from reception to transmission before
//! it looks for the next. Nothing of it is shared: workers hand packets to one another over rings ([`Queues`]), and other
//! threads reach them through the rings of [`command`].
#![forbid(unsafe_code)]

mod acts;
mod announcements;
mod clock;
pub mod command;
mod dispatch;
mod frame;
mod handoff;
pub mod host;
mod icmpv6;
mod idle;
mod link;
mod mld;
mod neighbour;
mod own_addresses;
mod port;
mod ports;
mod queues;
pub mod replica;
pub mod report;
mod role_change;
mod tag;
pub mod watch;
mod worker;

pub use clock::Clock;
pub use command::{Answer, Command, Controller, Inbox, channel};
pub use host::HostCounters;
pub use idle::Idle;
pub use neighbour::{AddressConflicts, NeighbourCounters, NeighbourSnapshot, State as NeighbourState};
pub use port::PortCounters;
pub use queues::{OpenPort, Queues};
pub use report::Load;
pub use tag::Vlan;
pub use worker::{EXPIRY_BUDGET, Worker};
