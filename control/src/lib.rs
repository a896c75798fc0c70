//! The control plane of Sluice.
#![forbid(unsafe_code)]

pub mod cli;
mod compare;
pub mod config;
mod diff;
mod explain;
mod export;
pub mod host;
mod http;
pub mod import;
mod listing;
pub mod metrics;
mod output;
mod packet;
mod rehearsal;
mod replace;
mod replay;
mod run;
mod snapshot;
pub mod socket;
mod test_file;
