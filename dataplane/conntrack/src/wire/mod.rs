//! Wire formats: one file per protocol, each reads a header from bytes without copying them.

mod bytes;
pub mod icmp;
pub mod tcp;
