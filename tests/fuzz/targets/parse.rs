//! Any bytes at all, in one or two segments, parsed and verified.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::{Segments, parse};

fuzz_target!(|bytes: &[u8]| parse(&mut Segments::of(bytes)));
