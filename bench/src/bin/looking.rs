//! Measures what it costs a worker to be looked at: counters, a dump of its table, events, a capture.
#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use dpdk::lcore;
use serde_json::{Map, json};
use sluice_bench::huge_pages::HugePages;
use sluice_bench::interrupt;
use sluice_bench::traffic::Traffic;
use sluice_bench::worker::{self, Bench};

/// Memory of an entry, its share of the index included.
const ENTRY_BYTES: u64 = 200;

/// Measure the parts of its rate that a worker loses while it is looked at; print them as a JSON object.
#[derive(Parser)]
#[command(name = "looking", version)]
struct Options {
    /// Entries in the table
    #[arg(long, default_value_t = 10_000_000)]
    entries: u32,
    /// How often each is measured, in turn; the medians count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of each, in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Core of the worker
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Core of whoever looks at it
    #[arg(long, default_value_t = 0)]
    control: usize,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    interrupt::catch()?;
    let directory = tempfile::Builder::new().prefix("sluice-bench-captures-").tempdir()?;
    let traffic = Traffic { connections: 65_536, new_connections: 0, udp_percent: 25, seed: 1, snat: false };
    let captures = traffic.write(directory.path()).context("cannot write the captures")?;
    let table_bytes = u64::from(options.entries) * ENTRY_BYTES;
    let huge_pages = HugePages::reserve(worker::MEMORY_BYTES + table_bytes);
    let bench = Bench::start(options.core, huge_pages.is_some(), false)?;
    let rounds = (options.rounds, Duration::from_secs(options.seconds));
    // As the daemon's control thread, whoever looks keeps off the worker's core.
    let costs =
        lcore::visit(options.control, || bench.looking(&captures, traffic, options.entries, rounds))??;
    let mut figures = Map::new();
    for (name, figure, rounds) in costs.figures() {
        figures.insert(name.into(), json!(figure));
        figures.insert(format!("{name}_rounds"), json!(rounds));
    }
    println!("{:#}", json!(figures));
    Ok(())
}
