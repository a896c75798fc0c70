//! Connection tracking: bytes and a time in, a verdict out.
#![forbid(unsafe_code)]
