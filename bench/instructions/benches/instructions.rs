//! Instructions that connection tracking executes, counted by callgrind: they do not depend on what else the
//! machine does. The counts are of [`BUFFERS`] packets, of [`SERVERS`] where they are refused; everything between parsing and
//! verdict.
//!
//! The figure that stands beside most cases is what a packet executes today; 3% more of it fails. A change that costs more
//! and is worth it changes the figure, and says why.

#![allow(missing_docs, reason = "the macros make public items")]
#![forbid(unsafe_code)]

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use sluice_bench::configuration::{Helped, Topology};
use sluice_bench::connection::Step;
use sluice_bench::driver::{BUFFERS, Driver, Setup, random_packets};
use sluice_bench::refused::{Refused, SERVERS};
use sluice_conntrack::ShardId;
use sluice_conntrack::settings::Preset;

const CONNECTIONS: u32 = 10_000;
/// Control connections, each of which has some lines to say.
const CONTROL: u32 = 64;
const SEED: u64 = 1;
const PLAIN: Setup = Setup::new(CONNECTIONS, SEED, 25);

/// Allows so many instructions a packet, and 3% more.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    of_packets(BUFFERS, instructions)
}

/// The same, of so many packets.
fn of_packets(packets: usize, instructions: u64) -> LibraryBenchmarkConfig {
    let limit = packets as u64 * instructions * 103 / 100;
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, limit)]));
    config
}

/// The shard of a box of so many, its connections all translated.
const fn snat(shards: u16) -> Setup {
    PLAIN.with_snat().with_steering(ShardId(0), shards)
}

/// The shard of a router of so many.
const fn routed(shards: u16) -> Setup {
    PLAIN.with_topology(Topology::Routed).with_steering(ShardId(0), shards)
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
#[bench::plain(args = (PLAIN), config = at_most(637))]
#[bench::helpers_of_others(args = (PLAIN.with_helpers(Helped::Others)), config = at_most(637))]
#[bench::routed(args = (PLAIN.with_topology(Topology::Routed)), config = at_most(662))]
#[bench::host_port(args = (PLAIN.with_topology(Topology::RoutedBesideHost)), config = at_most(662))]
#[bench::routed_4_shards(args = (routed(4)), config = at_most(716))]
#[bench::snat_1_shard(args = (snat(1)), config = at_most(734))]
#[bench::snat_2_shards(args = (snat(2)), config = at_most(791))]
#[bench::snat_4_shards(args = (snat(4)), config = at_most(789))]
#[bench::snat_8_shards(args = (snat(8)), config = at_most(789))]
fn established(driver: Driver) -> Driver {
    process(driver)
}

/// Open control connections, and lines of theirs at hand.
fn control(helpers: Helped) -> Driver {
    let setup = Setup::new(CONTROL, SEED, 0).with_preset(Preset::Classic).with_helpers(helpers);
    let mut driver = Driver::new(setup).expect("memory for the table");
    driver.open().expect("connections open");
    driver.write_lines();
    driver
}

#[library_benchmark(setup = control)]
#[bench::plain(args = (Helped::Nobody), config = at_most(673))]
#[bench::helped(args = (Helped::All), config = at_most(1007))]
fn line(driver: Driver) -> Driver {
    process(driver)
}

#[library_benchmark(setup = empty)]
#[bench::plain(args = (PLAIN), config = at_most(1701))]
#[bench::helpers_of_others(args = (PLAIN.with_helpers(Helped::Others)), config = at_most(1701))]
#[bench::snat_1_shard(args = (snat(1)), config = at_most(2926))]
#[bench::snat_2_shards(args = (snat(2)), config = at_most(3118))]
#[bench::snat_4_shards(args = (snat(4)), config = at_most(3146))]
#[bench::snat_8_shards(args = (snat(8)), config = at_most(3161))]
fn new(driver: Driver) -> Driver {
    process(driver)
}

/// A shard without a free port. In a box, since moving it would count.
fn exhausted(addresses: u16) -> Box<Refused> {
    Box::new(Refused::new(addresses).expect("all ports are taken"))
}

/// One that remembers it.
fn remembered(addresses: u16) -> Box<Refused> {
    let mut refused = exhausted(addresses);
    assert_eq!(refused.process(), SERVERS);
    refused
}

#[library_benchmark]
#[bench::address_1(args = (1), setup = exhausted, config = of_packets(SERVERS, 40_536))]
#[bench::addresses_16(args = (16), setup = exhausted, config = of_packets(SERVERS, 52_513))]
#[bench::address_1_remembered(args = (1), setup = remembered, config = of_packets(SERVERS, 2_702))]
#[bench::addresses_16_remembered(args = (16), setup = remembered, config = of_packets(SERVERS, 15_326))]
fn refused(mut refused: Box<Refused>) -> Box<Refused> {
    assert_eq!(refused.process(), SERVERS);
    refused
}

library_benchmark_group!(name = packets, benchmarks = [established, line, new, refused]);
main!(library_benchmark_groups = packets);
