//! Measures OVS-DPDK alone, on the captures of the macro-benchmark.
#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use serde_json::json;
use sluice_bench::figures::median;
use sluice_bench::huge_pages::HugePages;
use sluice_bench::interrupt;
use sluice_bench::opponent;
use sluice_bench::ovs::{self, Ovs};
use sluice_bench::traffic::Traffic;

/// Measure OVS-DPDK with ct(commit) flows on one PMD core; print the figures as a JSON object.
#[derive(Parser)]
#[command(name = "ovs", version)]
struct Options {
    #[command(flatten)]
    traffic: Traffic,
    /// Translate the sources of connections
    #[arg(long)]
    snat: bool,
    /// How often to measure; the medians count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of an established round, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Core of the PMD thread
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(..64))]
    core: u8,
    /// Use ordinary pages even where huge pages are to be had
    #[arg(long)]
    no_huge: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    interrupt::catch()?;
    let directory = tempfile::Builder::new().prefix("sluice-bench-captures-").tempdir()?;
    let traffic = Traffic { snat: options.snat, ..options.traffic };
    let captures = traffic.write(directory.path()).context("cannot write the captures")?;

    let huge_pages = if options.no_huge { None } else { HugePages::reserve(ovs::MEMORY_BYTES) };
    let mut ovs = Ovs::start(options.core.into(), huge_pages.is_some())?;
    let flows = &opponent::flows(options.snat);
    let (mut established, mut new) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let duration = Duration::from_secs(options.seconds);
        established.push(opponent::established(&mut ovs, flows, &captures, traffic.connections, duration)?);
        new.push(opponent::new_connections(&mut ovs, flows, &captures, traffic.new_connections)?);
    }
    drop(ovs); // before its huge pages go

    let figures = json!({
        "connections": traffic.connections,
        "huge_pages": huge_pages.is_some(),
        "ovs_established_pps": median(&established),
        "ovs_established_pps_rounds": established,
        "ovs_new_per_second": median(&new),
        "ovs_new_per_second_rounds": new,
    });
    println!("{figures:#}");
    Ok(())
}
