//! `sluice run` from outside: the real binary on DPDK's virtual devices, asked over its socket.

mod box_under_test;
mod commands;
mod life;
mod metrics;
mod namespaces;
mod reload;
mod routed;
