//! Wire formats: one file per protocol, each reads a header from bytes without copying them.

pub mod icmp;
