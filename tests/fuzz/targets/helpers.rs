//! A session of FTP, IRC, RTSP, SANE, PPTP, SIP or H.323 whose ends send in any pieces and order, requests of TFTP and their answers, or datagrams that announce
//! connections, through a box with helpers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sluice_fuzz::play_helpers(bytes));
