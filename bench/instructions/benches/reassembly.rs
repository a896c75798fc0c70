//! Instructions a packet of datagrams in fragments, counted by callgrind, from parsing until packets have left; limits as in
//! `instructions`. A program of its own, since what the compiler keeps in line of one kind of frame depends on how many others
//! there are.

#![allow(missing_docs, reason = "the macros make public items")]
#![forbid(unsafe_code)]

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use sluice_bench::driver::BUFFERS;
use sluice_bench::fragments::{Arrival, Flood, Order, Reassembly, TINY, Traffic};

const CONNECTIONS: u32 = 10_000;
const SEED: u64 = 1;

/// Allows so many instructions a packet, and 3% more.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let limit = BUFFERS as u64 * instructions * 103 / 100;
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, limit)]));
    config
}

/// Open connections, and these packets at hand. In a box, since moving it would count.
fn arrived(arrivals: impl FnOnce(&mut Traffic) -> Vec<Arrival>) -> Box<Reassembly> {
    arrive(Box::new(Reassembly::new(CONNECTIONS, SEED).expect("connections open")), arrivals)
}

fn arrive(
    mut reassembly: Box<Reassembly>,
    arrivals: impl FnOnce(&mut Traffic) -> Vec<Arrival>,
) -> Box<Reassembly> {
    let arrivals = arrivals(reassembly.traffic());
    reassembly.write(&arrivals);
    reassembly
}

fn whole() -> Box<Reassembly> {
    arrived(|traffic| traffic.whole(BUFFERS))
}

fn in_two() -> Box<Reassembly> {
    arrived(|traffic| traffic.in_two(BUFFERS))
}

fn tiny() -> Box<Reassembly> {
    arrived(|traffic| traffic.tiny(Order::EveryOther, BUFFERS / TINY))
}

/// The same where memory is full of fragments that no datagram is made of.
fn flood(flood: Flood) -> Box<Reassembly> {
    let mut reassembly = arrived(|traffic| traffic.flood(flood, 4 * BUFFERS));
    reassembly.process();
    arrive(reassembly, |traffic| traffic.flood(flood, BUFFERS))
}

#[library_benchmark]
#[bench::whole(setup = whole, config = at_most(572))]
#[bench::in_two(setup = in_two, config = at_most(1056))]
#[bench::tiny(setup = tiny, config = at_most(707))]
#[bench::flood_first(args = (Flood::First), setup = flood, config = at_most(1543))]
#[bench::flood_middle(args = (Flood::Middle), setup = flood, config = at_most(1520))]
fn fragments(mut reassembly: Box<Reassembly>) -> Box<Reassembly> {
    reassembly.process();
    reassembly
}

library_benchmark_group!(name = packets, benchmarks = [fragments]);
main!(library_benchmark_groups = packets);
