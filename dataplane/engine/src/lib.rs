//! Worker lcores and their run-to-completion loop.
#![forbid(unsafe_code)]
