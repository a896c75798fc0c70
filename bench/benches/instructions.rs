//! Instructions that connection tracking executes, counted by callgrind: they do not depend on what else the
//! machine does. The counts are of [`BUFFERS`] packets, everything between parsing and verdict.

#![allow(missing_docs, reason = "the macros make public items")]
#![forbid(unsafe_code)]

use gungraun::{library_benchmark, library_benchmark_group, main};
use sluice_bench::connection::Step;
use sluice_bench::driver::{BUFFERS, Driver, Setup, random_packets};
use sluice_conntrack::ShardId;

const CONNECTIONS: u32 = 10_000;
const SEED: u64 = 1;
const PLAIN: Setup = Setup::new(CONNECTIONS, SEED, 25);

/// The shard of a box of so many, its connections all translated.
const fn snat(shards: u16) -> Setup {
    PLAIN.with_snat().with_steering(ShardId(0), shards)
}

/// A full table of open connections, and packets of them at hand.
fn open(setup: Setup) -> Driver {
    let mut driver = Driver::new(setup).expect("memory for the table");
    driver.open().expect("connections open");
    driver.write(&mut random_packets(SEED, CONNECTIONS));
    driver
}

/// An empty table, and first packets at hand.
fn empty(setup: Setup) -> Driver {
    let mut driver = Driver::new(setup).expect("memory for the table");
    driver.write(&mut (0..CONNECTIONS).map(|number| (number, Step::Open)));
    driver
}

fn process(mut driver: Driver) -> Driver {
    let refused = driver.process();
    assert_eq!((refused, driver.handoffs()), (0, 0), "of {BUFFERS} packets");
    driver
}

#[library_benchmark(setup = open)]
#[bench::plain(PLAIN)]
#[bench::snat_1_shard(snat(1))]
#[bench::snat_2_shards(snat(2))]
#[bench::snat_4_shards(snat(4))]
#[bench::snat_8_shards(snat(8))]
fn established(driver: Driver) -> Driver {
    process(driver)
}

#[library_benchmark(setup = empty)]
#[bench::plain(PLAIN)]
#[bench::snat_1_shard(snat(1))]
#[bench::snat_2_shards(snat(2))]
#[bench::snat_4_shards(snat(4))]
#[bench::snat_8_shards(snat(8))]
fn new(driver: Driver) -> Driver {
    process(driver)
}

library_benchmark_group!(name = packets, benchmarks = [established, new]);
main!(library_benchmark_groups = packets);
