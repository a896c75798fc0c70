//! Writes the captures of the macro-benchmark.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use sluice_bench::traffic::Traffic;

/// Write captures for net_pcap: 64-byte frames of seeded connections in random order.
///
/// setup.pcap opens every connection, established-inside.pcap and established-outside.pcap hold one packet
/// of each connection and direction that stays valid when replayed for ever, new-inside.pcap opens
/// connections that are in none of the others.
#[derive(Parser)]
#[command(name = "traffic", version)]
struct Options {
    /// Directory for the captures, made if need be
    directory: PathBuf,
    #[command(flatten)]
    traffic: Traffic,
    /// Let servers see all clients at 203.0.113.0
    #[arg(long)]
    snat: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let directory = &options.directory;
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let traffic = Traffic { snat: options.snat, ..options.traffic };
    traffic
        .write(directory)
        .with_context(|| format!("cannot write captures into {}", directory.display()))?;
    Ok(())
}
