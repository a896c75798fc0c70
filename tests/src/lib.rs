//! What the end-to-end tests share.
#![forbid(unsafe_code)]

pub mod circles;
pub mod oracle;
