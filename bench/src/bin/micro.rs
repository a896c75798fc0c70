//! Measures connection tracking alone: parse to verdict, no devices.
#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Parser;
use serde_json::{Map, Value, json};
use sluice_bench::bare_table::BareTable;
use sluice_bench::connection::Step;
use sluice_bench::driver::{Driver, Setup, random_packets};
use sluice_bench::figures::median;
use sluice_bench::huge_pages::HugePages;
use sluice_bench::interrupt;
use sluice_conntrack::{ShardId, Tuple};

/// Measure packets in random flow order and new connections, plain and translated in turn; print a JSON object.
#[derive(Parser)]
#[command(name = "micro", version)]
struct Options {
    /// Open connections
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000,10000000")]
    connections: Vec<u32>,
    /// New connections; none skips them
    #[arg(long, default_value_t = 1_000_000)]
    new_connections: u32,
    /// Translated connections that one worker has, and two share; none skips them
    #[arg(long, default_value_t = 1_000_000)]
    shared_connections: u32,
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
        options.established(connections, &mut figures)?;
    }
    if options.new_connections > 0 {
        let _huge_pages = options.reserve(options.new_connections);
        let setup = options.setup(options.new_connections);
        let rounds = options.measure(|| Ok((open_new(setup)?, open_new(setup.with_snat())?)))?;
        insert_pair(&mut figures, ("new_ns", "nat_new_ns"), rounds);
    }
    if options.shared_connections > 0 {
        options.two_workers(&mut figures)?;
    }
    println!("{:#}", json!(figures));
    Ok(())
}

impl Options {
    const fn setup(&self, connections: u32) -> Setup {
        Setup::new(connections, self.seed, self.udp_percent)
    }

    /// Huge pages for two shards of that size, if they are to be had.
    fn reserve(&self, connections: u32) -> Option<HugePages> {
        const ENTRY_AND_INDEX_BYTES: u64 = 160;
        const TRANSLATED_BYTES: u64 = 176;
        const ROUNDING_BYTES: u64 = 16 << 20;
        let bytes = u64::from(connections) * (ENTRY_AND_INDEX_BYTES + TRANSLATED_BYTES) + ROUNDING_BYTES;
        if self.no_huge { None } else { HugePages::reserve(bytes) }
    }

    /// The pairs of figures of all rounds.
    fn measure(
        &self,
        mut round: impl FnMut() -> anyhow::Result<(f64, f64)>,
    ) -> anyhow::Result<Vec<(f64, f64)>> {
        let round = |_| interrupt::sleep(Duration::ZERO).and_then(|()| round());
        (0..self.rounds).map(round).collect()
    }

    /// Packets of open connections, plain and translated in turn.
    fn established(&self, connections: u32, figures: &mut Map<String, Value>) -> anyhow::Result<()> {
        let _huge_pages = self.reserve(connections);
        let setup = self.setup(connections);
        let mut plain = Driver::new(setup)?;
        plain.open()?;
        let mut nat = Driver::new(setup.with_snat())?;
        nat.open()?;
        let mut packets = random_packets(self.seed, connections);
        let mut drive = |driver: &mut Driver| {
            let time = driver.drive(packets.by_ref().take(self.packets))?;
            anyhow::Ok(ns_per(time, self.packets))
        };
        let rounds = self.measure(|| Ok((drive(&mut plain)?, drive(&mut nat)?)))?;
        let name = count_name(connections);
        let extra: Vec<f64> = rounds.iter().map(|(plain, nat)| nat - plain).collect();
        insert_pair(figures, (&format!("track_ns_{name}"), &format!("nat_ns_{name}")), rounds);
        figures.insert(format!("nat_extra_ns_{name}"), json!(median(&extra)));
        for (what, driver) in [("connection", &plain), ("translated_connection", &nat)] {
            let shard = driver.shard();
            ensure!(shard.len() == connections, "connections were lost");
            let bytes = shard.memory_bytes() as f64 / f64::from(connections);
            figures.insert(format!("bytes_per_{what}_{name}"), json!(bytes));
        }
        figures.insert(format!("pages_{name}"), json!(format!("{:?}", nat.shard().pages())));
        drop(nat);
        self.bound(&mut plain, &name, figures)
    }

    /// Packets of the same connections, beside those that a bare table counts.
    fn bound(&self, plain: &mut Driver, name: &str, figures: &mut Map<String, Value>) -> anyhow::Result<()> {
        let originals = plain.originals();
        let mut bare = BareTable::new(&originals)?;
        let connections = plain.shard().len();
        let mut packets = random_packets(self.seed, connections);
        let rounds = self.measure(|| {
            let planned: Vec<_> = packets.by_ref().take(self.packets).collect();
            let tuple = |&(number, step): &(u32, Step)| -> Tuple {
                let original = originals[number as usize];
                if step.from_inside() { original } else { original.invert() }
            };
            let tuples: Vec<_> = planned.iter().map(tuple).collect();
            let bound = ns_per(bare.count(&tuples)?, self.packets);
            let track = ns_per(plain.drive(planned)?, self.packets);
            Ok((bound, track / bound))
        })?;
        let names = (&*format!("bound_ns_{name}"), &*format!("track_to_bound_{name}"));
        insert_pair(figures, names, rounds);
        Ok(())
    }

    /// Translated connections on one worker, and on two at once.
    fn two_workers(&self, figures: &mut Map<String, Value>) -> anyhow::Result<()> {
        let _huge_pages = self.reserve(self.shared_connections);
        let of_one = self.setup(self.shared_connections).with_snat();
        let of_two = self.setup(self.shared_connections / 2).with_snat();
        let mut one = Driver::new(of_one)?;
        one.open()?;
        let mut two = [0, 1].map(|own| Driver::new(of_two.with_steering(ShardId(own), 2)));
        for driver in two.iter_mut().flatten() {
            driver.open()?;
        }
        let [first, second] = two;
        let (mut first, mut second) = (first?, second?);
        let before = first.handoffs() + second.handoffs();
        let rounds = self.measure(|| {
            let alone = self.rate(&mut one)?;
            let together = std::thread::scope(|scope| {
                let other = scope.spawn(|| self.rate(&mut second));
                let own = self.rate(&mut first);
                let other = other.join().unwrap_or_else(|_| bail!("a worker panicked"));
                anyhow::Ok(own? + other?)
            })?;
            Ok((alone, together))
        })?;
        let handoffs = (first.handoffs() + second.handoffs() - before) as f64;
        let packets = f64::from(self.rounds) * 2.0 * self.packets as f64;
        let ratios: Vec<f64> = rounds.iter().map(|(alone, together)| together / alone).collect();
        figures.insert("two_workers_vs_one".into(), json!(median(&ratios)));
        figures.insert("two_workers_vs_one_rounds".into(), json!(ratios));
        figures.insert("handoffs_per_packet_snat".into(), json!(handoffs / packets));
        Ok(())
    }

    /// Packets that a shard takes a second.
    fn rate(&self, driver: &mut Driver) -> anyhow::Result<f64> {
        let packets = random_packets(self.seed, driver.shard().len()).take(self.packets);
        Ok(self.packets as f64 / driver.drive(packets)?.as_secs_f64())
    }
}

/// Nanoseconds for the first packet of a connection, the table going from empty to full.
fn open_new(setup: Setup) -> anyhow::Result<f64> {
    let count = setup.connections;
    let mut driver = Driver::new(setup)?;
    let time = driver.drive((0..count).map(|number| (number, Step::Open)))?;
    ensure!(driver.shard().len() == count, "{} connections of {count}", driver.shard().len());
    Ok(ns_per(time, count as usize))
}

/// Adds two figures that were measured in turn.
fn insert_pair(figures: &mut Map<String, Value>, names: (&str, &str), rounds: Vec<(f64, f64)>) {
    let (first, second): (Vec<f64>, Vec<f64>) = rounds.into_iter().unzip();
    for (name, rounds) in [(names.0, first), (names.1, second)] {
        figures.insert(name.into(), json!(median(&rounds)));
        figures.insert(format!("{name}_rounds"), json!(rounds));
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
