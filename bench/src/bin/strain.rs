//! Measures what is hard for a table: whole lives of connections, a flood when it is full, a search for a port in vain, and a large one.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use serde_json::{Map, Value, json};
use sluice_bench::connection::Step;
use sluice_bench::driver::{Driver, Planned, Setup, random_packets};
use sluice_bench::figures::median;
use sluice_bench::huge_pages::HugePages;
use sluice_bench::interrupt;
use sluice_bench::refused::{Refused, SERVERS};
use sluice_conntrack::State;

/// Measure them, and print a JSON object.
#[derive(Parser)]
#[command(name = "strain", version)]
struct Options {
    /// Connections that live at one time, and that are open in a flood
    #[arg(long, default_value_t = 200_000)]
    connections: u32,
    /// Entries of a large table, of which the line is drawn
    #[arg(long, default_value_t = 20_000_000)]
    entries: u32,
    /// How often; the medians count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// The packets of a TCP connection: handshake, a segment each way, and both its ends.
const LIFE: [Step; 8] = [
    Step::Open,
    Step::Answer,
    Step::Original,
    Step::Original,
    Step::Reply,
    Step::Close,
    Step::CloseReply,
    Step::Last,
];

/// Longer than Linux keeps what is closed (TIME_WAIT).
const TIME_WAIT: Duration = Duration::from_secs(121);

/// One in so many packets is of an open connection, the rest are a flood of SYNs.
const FLOOD: u32 = 10;

/// Entries that the line is drawn to.
const LARGE: f64 = 120e6;

const BYTES_PER_ENTRY: u64 = 192;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    interrupt::catch()?;
    let mut figures = Map::new();
    options.lives(&mut figures)?;
    options.flood(&mut figures)?;
    options.refused(&mut figures)?;
    options.large(&mut figures)?;
    println!("{:#}", json!(figures));
    Ok(())
}

impl Options {
    const fn setup(&self) -> Setup {
        Setup::new(self.connections, 1, 0)
    }

    fn measure(&self, mut round: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<Option<f64>> {
        let round = |_| interrupt::sleep(Duration::ZERO).and_then(|()| round());
        let rounds = (0..self.rounds).map(round).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(median(&rounds))
    }

    /// Whole connections a second, from the SYN until the wheel has taken the entry out.
    fn lives(&self, figures: &mut Map<String, Value>) -> anyhow::Result<()> {
        let _huge_pages = HugePages::reserve(2 * u64::from(self.connections) * BYTES_PER_ENTRY);
        for (name, setup) in
            [("life_per_second", self.setup()), ("nat_life_per_second", self.setup().with_snat())]
        {
            let mut driver = Driver::new(setup)?;
            let rate = self.measure(|| {
                let mut time = Duration::ZERO;
                for step in LIFE {
                    time += driver.drive((0..self.connections).map(|number| (number, step)))?;
                }
                driver.wait(TIME_WAIT);
                time += driver.expire_all();
                ensure!(driver.shard().is_empty(), "{} entries are left", driver.shard().len());
                Ok(f64::from(self.connections) / time.as_secs_f64())
            })?;
            figures.insert(name.into(), json!(rate));
        }
        Ok(())
    }

    /// How fast a shard is in a flood when its table is full, as a part of how fast it is when half of that is free.
    fn flood(&self, figures: &mut Map<String, Value>) -> anyhow::Result<()> {
        let _huge_pages = HugePages::reserve(4 * u64::from(self.connections) * BYTES_PER_ENTRY);
        // The open ones are half of the table, and a flood comes from eight times as many as it has room for.
        let [open, room] = [self.connections, 2 * self.connections];
        let setup = Setup::new(open + 8 * room, 1, 0).with_room(room);
        let packets = (open / 2) as usize;
        let mut lost = 0;
        let fraction = self.measure(|| {
            let mut driver = Driver::new(setup)?;
            driver.open_first(open)?;
            let mut flood = (open..setup.connections).cycle();
            let mut established = random_packets(1, open);
            let mut mixed = |count: usize| -> Vec<Planned> {
                let next = |number: usize| match number as u32 % FLOOD {
                    0 => established.next(),
                    _ => flood.next().map(|number| (number, Step::Open)),
                };
                (0..count).filter_map(next).collect()
            };
            let seen = |driver: &Driver| driver.shard().counters().packets[State::Established as usize];
            let before = seen(&driver);
            let half = driver.drive(mixed(packets))?;
            driver.drive(mixed(2 * room as usize))?;
            ensure!(driver.shard().len() == room, "the table is not full");
            let full = driver.drive(mixed(packets))?;
            let sent = 2 * packets.div_ceil(FLOOD as usize) + (2 * room as usize).div_ceil(FLOOD as usize);
            lost += sent as u64 - (seen(&driver) - before);
            Ok(half.as_secs_f64() / full.as_secs_f64())
        })?;
        figures.insert("flood_fraction".into(), json!(fraction));
        figures.insert("flood_lost".into(), json!(lost));
        Ok(())
    }

    /// What a first packet takes for which there is no port, of 16 addresses.
    fn refused(&self, figures: &mut Map<String, Value>) -> anyhow::Result<()> {
        // Before the connections that have the ports come to their time.
        const AGAIN: u32 = 100;
        let ns = self.measure(|| {
            let mut refused = Refused::new(16)?;
            let mut time = Duration::ZERO;
            for _ in 0..AGAIN {
                refused.forget();
                let begin = Instant::now();
                let count = refused.process();
                time += begin.elapsed();
                ensure!(count == SERVERS, "{count} of {SERVERS} packets were refused");
            }
            Ok(time.as_nanos() as f64 / f64::from(AGAIN) / SERVERS as f64)
        })?;
        figures.insert("refused_ns".into(), json!(ns));
        Ok(())
    }

    /// What a table of 120 million entries would take, by one of some millions and one half as large.
    fn large(&self, figures: &mut Map<String, Value>) -> anyhow::Result<()> {
        let _huge_pages = HugePages::reserve(u64::from(self.entries) * BYTES_PER_ENTRY);
        let [small, large] = [self.entries / 2, self.entries];
        let line = |at_small: f64, at_large: f64| {
            let slope = (at_large - at_small) / f64::from(large - small);
            at_large + slope * (LARGE - f64::from(large))
        };
        for (name, snat) in [("entries_120m", false), ("translated_entries_120m", true)] {
            let made = |entries| sluice_bench::driver::empty_shard(entries, snat);
            let ((small_bytes, small_s), (large_bytes, large_s)) = (made(small)?, made(large)?);
            let bytes = line(small_bytes as f64, large_bytes as f64) / LARGE;
            figures.insert(format!("{name}_bytes"), json!(bytes));
            figures
                .insert(format!("{name}_start_s"), json!(line(small_s.as_secs_f64(), large_s.as_secs_f64())));
        }
        Ok(())
    }
}
