//! Sluice behind the oracle's pipe: `oracle.py run --dut 'oracle-box [--routed] [SYSCTL=VALUE ...]'`.
#![forbid(unsafe_code)]

use sluice_tests::oracle::Session;
use std::io::{self, BufRead as _, Write as _};

fn main() -> io::Result<()> {
    let mut session = Session::new(std::env::args().skip(1)).map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let (answer, last) = session.answer(&line?);
        writeln!(out, "{answer}")?;
        out.flush()?;
        if last {
            break;
        }
    }
    Ok(())
}
