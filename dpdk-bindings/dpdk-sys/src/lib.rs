//! Raw bindings to the DPDK of the system.
