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
    /// Connections in the setup and established captures
    #[arg(long, default_value_t = 65_536)]
    connections: u32,
    /// Connections in the new capture
    #[arg(long, default_value_t = 200_000)]
    new_connections: u32,
    /// How many connections in a hundred are UDP
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u8).range(..=100))]
    udp_percent: u8,
    /// The same seed makes the same captures
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Let servers see all clients at 203.0.113.0
    #[arg(long)]
    snat: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let directory = &options.directory;
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let traffic = Traffic {
        connections: options.connections,
        new_connections: options.new_connections,
        udp_percent: options.udp_percent,
        seed: options.seed,
        snat: options.snat,
    };
    traffic
        .write(directory)
        .with_context(|| format!("cannot write captures into {}", directory.display()))?;
    Ok(())
}
