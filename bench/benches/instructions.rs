//! Instructions that connection tracking executes, counted by callgrind: they do not depend on what else the
//! machine does. The counts are of [`BUFFERS`] packets, everything between parsing and verdict.

#![allow(missing_docs, reason = "the macros make public items")]
#![forbid(unsafe_code)]

use gungraun::{library_benchmark, library_benchmark_group, main};
use sluice_bench::connection::Step;
use sluice_bench::driver::{BUFFERS, Driver, random_packets};

const CONNECTIONS: u32 = 10_000;
const SEED: u64 = 1;
const UDP_PERCENT: u8 = 25;

/// A full table of open connections, and packets of them at hand.
fn open() -> Driver {
    let mut driver = Driver::new(CONNECTIONS, SEED, UDP_PERCENT).expect("memory for the table");
    driver.open(CONNECTIONS).expect("connections open");
    driver.write(&mut random_packets(SEED, CONNECTIONS));
    driver
}

/// An empty table, and first packets at hand.
fn empty() -> Driver {
    let mut driver = Driver::new(CONNECTIONS, SEED, UDP_PERCENT).expect("memory for the table");
    driver.write(&mut (0..CONNECTIONS).map(|number| (number, Step::Open)));
    driver
}

fn process(mut driver: Driver) -> Driver {
    let refused = driver.process();
    assert_eq!(refused, 0, "of {BUFFERS} packets");
    driver
}

#[library_benchmark(setup = open)]
#[bench::connections()]
fn established(driver: Driver) -> Driver {
    process(driver)
}

#[library_benchmark(setup = empty)]
#[bench::connections()]
fn new(driver: Driver) -> Driver {
    process(driver)
}

library_benchmark_group!(name = packets, benchmarks = [established, new]);
main!(library_benchmark_groups = packets);
