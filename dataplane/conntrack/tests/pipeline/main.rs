//! The shard from outside: packets and time in, verdicts, entries and counters out.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

mod connections;
mod entries;
mod events;
mod expectations;
mod fragments;
mod helpers;
mod host;
mod listing;
mod mss_clamp;
mod nat;
mod operator;
mod options;
mod pressure;
mod reload;
mod rules;
mod sctp;
mod sets;
mod states;
mod steering;
mod synproxy;
mod timers;
