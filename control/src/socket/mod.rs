//! The control socket: how `sluice conntrack` and its like speak to a running daemon.
//!
//! A Unix socket, mode 0660; each request is one line of JSON, and so is its answer. `protocol` is what can be
//! asked and answered, `filter` and `expectation_filter` which entries and expectations are meant, `new_entry` and
//! `new_expectation` what an operator makes, `packed` records that are saved and loaded, `server` the daemon's end, `clients` who is connected to it, `client` the other end. To try it by hand: `echo '{"request":"count"}' | socat - UNIX:/run/sluice/control.sock`.

mod answer;
mod capture;
mod client;
mod clients;
mod configuration;
mod cursor;
mod cuts;
mod event_filter;
mod expectation_filter;
mod export;
mod filter;
mod filter_values;
mod groups;
mod ha;
mod helpers;
mod live;
mod log_level;
mod nat_rules;
mod new_entry;
mod new_expectation;
mod packed;
mod packet_filter;
mod pools;
mod ports;
pub mod protocol;
mod routes;
mod server;
mod sets;
mod sources;
mod statistics;
mod trace;

pub use client::{Client, ClientError};
pub use expectation_filter::ExpectationFilter;
pub use filter::Filter;
pub use filter_values::{EntryStatus, Family, NatPeer, Network};
pub use new_entry::{NewConnection, required, tuple};
pub use new_expectation::{Ends, NewExpectation, Source};
pub use packed::Packed;
pub use packet_filter::PacketFilter;
pub use server::{Call, Server, SocketError};

/// Longest request in bytes, the newline included.
pub const MAX_REQUEST_BYTES: usize = 16 << 10;

/// Clients connected at one time; for one more, that which has been idle for longest is sent away.
pub const MAX_CLIENTS: usize = 16;
