//! Measures fragments: what datagrams in two of them cost, what floods of them cost others, and what the smallest cost.
#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use serde_json::{Map, Value, json};
use sluice_bench::driver::BUFFERS;
use sluice_bench::figures::median;
use sluice_bench::fragments::{Flood, Order, Reassembly, TINY};
use sluice_bench::huge_pages::HugePages;
use sluice_bench::interrupt;

/// Take whole datagrams, fragments and floods through a shard in turn; print a JSON object.
#[derive(Parser)]
#[command(name = "fragments", version)]
struct Options {
    /// Open connections
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    /// How often to measure; the medians count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How often 4096 packets of each kind come in a round, in turn; of each kind the fastest count
    #[arg(long, default_value_t = 64)]
    batches: usize,
    /// Decides tuples and order
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One packet of a flood among so many others.
const OTHERS: usize = 100;

/// What has come of the rounds.
#[derive(Default)]
struct Rounds {
    rate_fraction: Vec<f64>,
    smack_cost: Vec<f64>,
    flood_loss: Vec<f64>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    interrupt::catch()?;
    let _huge_pages = HugePages::reserve(u64::from(options.connections) * 160);
    let mut honest = Reassembly::new(options.connections, options.seed)?;
    // The memory of each is full, so that a fragment that comes takes the place of another.
    let mut flooded = Vec::new();
    for flood in Flood::ALL {
        let mut reassembly = Reassembly::new(options.connections, options.seed)?;
        let fragments = reassembly.traffic().flood(flood, 4 * BUFFERS);
        reassembly.time(&fragments);
        flooded.push((flood, reassembly));
    }
    let mut rounds = Rounds::default();
    for _ in 0..options.rounds {
        interrupt::sleep(Duration::ZERO)?;
        options.honest(&mut honest, &mut rounds)?;
        let losses = flooded.iter_mut().map(|(flood, reassembly)| options.loss(*flood, reassembly));
        let losses: Vec<f64> = losses.collect::<anyhow::Result<_>>()?;
        // The flood that costs most counts.
        rounds.flood_loss.extend(losses.into_iter().reduce(f64::max));
    }
    let memory = flooded.iter().map(|(_, reassembly)| reassembly.memory_fraction()).fold(0.0, f64::max);
    ensure!(memory <= 1.0, "fragments take {memory} of the memory that they may");
    let mut figures = Map::new();
    for (name, rounds) in [
        ("fragment_rate_fraction", rounds.rate_fraction),
        ("fragment_flood_loss", rounds.flood_loss),
        ("fragment_smack_cost", rounds.smack_cost),
    ] {
        figures.insert(name.into(), json!(median(&rounds)));
        figures.insert(format!("{name}_rounds"), json!(rounds));
    }
    figures.insert("fragment_memory_fraction".into(), json!(memory));
    println!("{:#}", Value::from(figures));
    Ok(())
}

/// The least time that batches of one kind have taken: what else the machine does only ever adds to it, and batches are short
/// enough that some go through without.
#[derive(Clone, Copy)]
struct Least(f64);

impl Least {
    const NONE: Self = Self(f64::INFINITY);

    const fn note(&mut self, seconds: f64) {
        self.0 = self.0.min(seconds);
    }
}

impl Options {
    /// The packet rate of datagrams in two fragments as a part of that of whole ones, and what a tiny fragment costs as a multiple
    /// of what a whole packet does, in the order in which it costs most.
    fn honest(&self, reassembly: &mut Reassembly, rounds: &mut Rounds) -> anyhow::Result<()> {
        let [mut whole, mut in_two] = [Least::NONE; 2];
        let mut tiny = Order::ALL.map(|order| (order, Least::NONE));
        for _ in 0..self.batches {
            let packets = reassembly.traffic().whole(BUFFERS);
            whole.note(all_pass(reassembly, &packets)?);
            let fragments = reassembly.traffic().in_two(BUFFERS);
            in_two.note(all_pass(reassembly, &fragments)?);
            for (order, least) in &mut tiny {
                let fragments = reassembly.traffic().tiny(*order, BUFFERS / TINY);
                least.note(all_pass(reassembly, &fragments)?);
            }
        }
        rounds.rate_fraction.push(whole.0 / in_two.0);
        rounds.smack_cost.extend(tiny.iter().map(|(_, least)| least.0 / whole.0).reduce(f64::max));
        Ok(())
    }

    /// The part of the rate of established packets that a flood takes.
    fn loss(&self, flood: Flood, reassembly: &mut Reassembly) -> anyhow::Result<f64> {
        let [mut alone, mut beside] = [Least::NONE; 2];
        for _ in 0..self.batches {
            let packets = reassembly.traffic().whole(BUFFERS);
            alone.note(all_pass(reassembly, &packets)?);
            let packets = reassembly.traffic().whole(BUFFERS);
            let fragments = reassembly.traffic().flood(flood, BUFFERS / OTHERS);
            let mixed = reassembly.traffic().mix(packets, fragments);
            let (time, forwarded) = reassembly.time(&mixed);
            ensure!(forwarded == BUFFERS, "{forwarded} packets of {BUFFERS} have passed a flood");
            beside.note(time.as_secs_f64());
        }
        Ok(1.0 - alone.0 / beside.0)
    }
}

/// The seconds that packets take, all of which are forwarded.
fn all_pass(
    reassembly: &mut Reassembly,
    packets: &[sluice_bench::fragments::Arrival],
) -> anyhow::Result<f64> {
    let (time, forwarded) = reassembly.time(packets);
    ensure!(forwarded == packets.len(), "{forwarded} packets of {} have passed", packets.len());
    Ok(time.as_secs_f64())
}
