//! `sluice run` from outside: the real binary on DPDK's virtual devices, asked over its socket.

mod alarms;
mod box_under_test;
mod calls;
mod commands;
mod cores;
mod daemons;
mod devices;
mod entries;
mod events;
mod fallback;
mod floods;
mod follow;
mod fragments;
mod helpers;
mod host;
mod life;
mod linux;
mod metrics;
mod namespaces;
mod nat;
mod packets;
mod reload;
mod routed;
mod site;
mod translated;
mod vlans;
