//! Traffic for the benchmarks.
#![forbid(unsafe_code)]
