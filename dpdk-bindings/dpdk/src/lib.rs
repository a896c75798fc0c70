//! Safe access to DPDK.
