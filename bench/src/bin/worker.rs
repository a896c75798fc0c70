//! Measures Sluice's worker, or its loop without the stages, on captures that are there.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use sluice_bench::interrupt;
use sluice_bench::traffic::Captures;
use sluice_bench::worker::Bench;

/// Measure one thing once on net_pcap devices; print the rate a second.
#[derive(Parser)]
#[command(name = "worker", version)]
struct Options {
    /// What to measure
    what: What,
    /// Directory of the captures, as `traffic` writes them
    captures: PathBuf,
    /// Connections in the captures
    #[arg(long)]
    connections: u32,
    /// Length of the measurement, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Core of the worker
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Translate the sources of connections
    #[arg(long)]
    snat: bool,
    /// Use ordinary pages even where huge pages are to be had
    #[arg(long)]
    no_huge: bool,
}

/// What can be measured.
#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Packets from port to port, nothing done to them
    Roofline,
    /// Packets of established connections
    Established,
    /// New connections
    New,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    interrupt::catch()?;
    let captures = Captures::at(&options.captures);
    let duration = Duration::from_secs(options.seconds);
    let bench = Bench::start(options.core, !options.no_huge, options.snat)?;
    let rate = match options.what {
        What::Roofline => bench.roofline(&captures, duration)?,
        What::Established => bench.established(&captures, options.connections, duration)?,
        What::New => bench.new_connections(&captures, options.connections)?,
    };
    println!("{rate}");
    Ok(())
}
