//! An FTP control connection whose ends send in any pieces and order, through a box with a helper.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sluice_fuzz::play_control(bytes));
