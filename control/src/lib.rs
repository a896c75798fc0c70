//! The control plane of Sluice.
#![forbid(unsafe_code)]
