//! A stream of packets, time and orders to a small shard.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sluice_fuzz::play(bytes));
