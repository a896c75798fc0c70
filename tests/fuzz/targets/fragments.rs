//! Fragments of several datagrams, in any order, at a box of one or two shards.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sluice_fuzz::play_fragments(bytes));
