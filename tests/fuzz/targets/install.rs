//! Stream entries and records from elsewhere, to a small box that installs them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sluice_fuzz::play_install(bytes));
