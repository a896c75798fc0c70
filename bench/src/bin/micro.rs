//! Measures connection tracking alone: parse to verdict, no devices.
#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use serde_json::{Map, json};
use sluice_bench::connection::Step;
use sluice_bench::driver::{Driver, random_packets};
use sluice_bench::figures::median;
use sluice_bench::huge_pages::HugePages;
use sluice_bench::interrupt;

/// Measure the tracking of packets in random flow order, and of new connections; print a JSON object.
#[derive(Parser)]
#[command(name = "micro", version)]
struct Options {
    /// Open connections
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000,10000000")]
    connections: Vec<u32>,
    /// New connections; none skips them
    #[arg(long, default_value_t = 1_000_000)]
    new_connections: u32,
    /// How many connections in a hundred are UDP
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u8).range(..=100))]
    udp_percent: u8,
    /// Decides tuples and order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often to measure; the medians count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Packets of an established round
    #[arg(long, default_value_t = 1 << 20)]
    packets: usize,
    /// Use ordinary pages even where huge pages are to be had
    #[arg(long)]
    no_huge: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    interrupt::catch()?;
    let mut figures = Map::new();
    for &connections in &options.connections {
        let _huge_pages = options.reserve(connections);
        let mut driver = Driver::new(connections, options.seed, options.udp_percent)?;
        driver.open(connections)?;
        let mut packets = random_packets(options.seed, connections);
        let rounds = options.measure(|| {
            let time = driver.drive(packets.by_ref().take(options.packets))?;
            Ok(ns_per(time, options.packets))
        })?;
        let name = count_name(connections);
        let shard = driver.shard();
        ensure!(shard.len() == connections, "connections were lost");
        let bytes = shard.memory_bytes() as f64 / f64::from(connections);
        figures.insert(format!("track_ns_{name}"), json!(median(&rounds)));
        figures.insert(format!("track_ns_{name}_rounds"), json!(rounds));
        figures.insert(format!("bytes_per_connection_{name}"), json!(bytes));
        figures.insert(format!("pages_{name}"), json!(format!("{:?}", shard.pages())));
    }
    if options.new_connections > 0 {
        let _huge_pages = options.reserve(options.new_connections);
        let rounds = options.measure(|| options.open_new())?;
        figures.insert("new_ns".into(), json!(median(&rounds)));
        figures.insert("new_ns_rounds".into(), json!(rounds));
    }
    println!("{:#}", json!(figures));
    Ok(())
}

impl Options {
    /// Huge pages for a shard of that size, if they are to be had.
    fn reserve(&self, connections: u32) -> Option<HugePages> {
        const ENTRY_AND_INDEX_BYTES: u64 = 144;
        const ROUNDING_BYTES: u64 = 8 << 20;
        let bytes = u64::from(connections) * ENTRY_AND_INDEX_BYTES + ROUNDING_BYTES;
        if self.no_huge { None } else { HugePages::reserve(bytes) }
    }

    /// The figures of all rounds.
    fn measure(&self, mut round: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<Vec<f64>> {
        let round = |_| interrupt::sleep(Duration::ZERO).and_then(|()| round());
        (0..self.rounds).map(round).collect()
    }

    /// Nanoseconds for the first packet of a connection, the table going from empty to full.
    fn open_new(&self) -> anyhow::Result<f64> {
        let count = self.new_connections;
        let mut driver = Driver::new(count, self.seed, self.udp_percent)?;
        let time = driver.drive((0..count).map(|number| (number, Step::Open)))?;
        ensure!(driver.shard().len() == count, "{} connections of {count}", driver.shard().len());
        Ok(ns_per(time, count as usize))
    }
}

fn ns_per(time: Duration, packets: usize) -> f64 {
    time.as_nanos() as f64 / packets as f64
}

/// As figures are named: 10k, 1m.
fn count_name(count: u32) -> String {
    match count {
        0..1000 => count.to_string(),
        1000..1_000_000 => format!("{}k", count / 1000),
        _ => format!("{}m", count / 1_000_000),
    }
}
