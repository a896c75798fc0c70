//! Measures what it takes a worker to tell of connections, and to install those that another box tells of.
#![forbid(unsafe_code)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant as Clock};

use anyhow::ensure;
use clap::Parser;
use serde_json::json;
use sluice_bench::figures::median;
use sluice_bench::huge_pages::HugePages;
use sluice_bench::interrupt;
use sluice_conntrack::ids::{EntryId, GroupId};
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Outcome, Policy};
use sluice_conntrack::replica::{
    Connection, EntryKind, Header, Installing, Origin, Record, RecordStatus, Replicate, Teller, decode,
    encode,
};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::tuple::protocol;
use sluice_conntrack::{Capacity, Configuration, Forwarding, Instant, Shard, Tuple};
use sluice_memory::Pages;

/// Have one box tell another of all its connections; print a JSON object.
#[derive(Parser)]
#[command(name = "replica", version)]
struct Options {
    /// Connections
    #[arg(long, default_value_t = 1_000_000)]
    connections: u32,
    /// How often; the medians count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// Records of a stream entry.
const RECORDS: usize = 1024;

/// The first address outside.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 0);

/// Translated connections that share one.
const PER_ADDRESS: u32 = 50_000;

/// A connection of a client of its own, its source translated or not.
fn connection(number: u32, snat: bool) -> Connection {
    let server = [198, 51, 100, 2].into();
    let client = Ipv4Addr::from(0x0a00_0000 + number);
    let original = Tuple::new(client.into(), server, protocol::TCP, 40_000, 443);
    let port = 10_000 + (number % PER_ADDRESS) as u16;
    let outside = Ipv4Addr::from(u32::from(FIRST_ADDRESS) + number / PER_ADDRESS);
    let translated = Tuple::new(server, outside.into(), protocol::TCP, 443, port);
    let status = RecordStatus::SEEN_REPLY.union(RecordStatus::ASSURED);
    Connection {
        original,
        reply: if snat { translated } else { original.invert() },
        state: 3,
        status: if snat { status.union(RecordStatus::SRC_NAT) } else { status },
        remaining_ms: 432_000_000,
        age_s: 0,
        mark: 0,
        tracker: [7, 7, 3, 3, 0, 0, 0, 0],
        helper: None,
        entry: EntryId::default(),
    }
}

/// An empty box with room for all, and for a quarter more, as full buckets of the index take some.
fn shard(options: &Options, snat: bool, quota: u32) -> anyhow::Result<Shard> {
    let entries = options.connections + options.connections / 4;
    let policy = Policy { default: Outcome::Accept, ..Policy::default() };
    let settings = Settings::of(Preset::Linux, entries);
    let mut configuration = Configuration::new(settings, policy, Forwarding::wire());
    if snat {
        let range = Range {
            first: FIRST_ADDRESS.into(),
            last: Ipv4Addr::from(u32::from(FIRST_ADDRESS) + options.connections / PER_ADDRESS).into(),
            ports: PortChoice::Preserve,
        };
        let source = vec![NatRule::new(Match::default(), Target::Pool(vec![range]))];
        configuration = configuration.with_nat(Nat { source, destination: vec![] });
    }
    let capacity = Capacity { entries, seed: [1, 2, 3, 4], pages: Pages::Huge1G };
    let mut shard = Shard::new(capacity, configuration, Instant::default())?;
    shard.set_quota(GroupId(0), quota);
    Ok(shard)
}

/// Nanoseconds that each of some takes.
fn each_ns(begin: Clock, count: usize) -> f64 {
    begin.elapsed().as_nanos() as f64 / count as f64
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    interrupt::catch()?;
    let _huge_pages = HugePages::reserve(2 * u64::from(options.connections) * 200 + (16 << 20));
    let mut figures = serde_json::Map::new();
    for (snat, name) in [(false, ""), (true, "nat_")] {
        let (mut export_ns, mut encode_ns, mut decode_ns, mut install_ns) = (vec![], vec![], vec![], vec![]);
        for _ in 0..options.rounds {
            interrupt::sleep(Duration::ZERO)?;
            let mut first = shard(&options, snat, 0)?;
            let teller = Teller::new(Replicate::Assured, 2 * options.connections)?;
            first.tell_by(Some(Box::new(teller)));
            for number in 0..options.connections {
                let record = Record::State(connection(number, snat));
                first.install(&Installing { record, origin: Origin::Own, is_delegated: false })?;
            }
            let mut records = Vec::with_capacity(options.connections as usize);
            let begin = Clock::now();
            records.extend(std::iter::from_fn(|| first.export()));
            export_ns.push(each_ns(begin, records.len()));
            ensure!(records.len() == options.connections as usize, "{} were told of", records.len());

            let header = Header { term: 1, sequence: 1, sent_ns: 1, kind: EntryKind::Inline, role: None };
            let mut stream = Vec::with_capacity(records.len() * 65);
            let begin = Clock::now();
            records.chunks(RECORDS).for_each(|records| encode(&header, records, &mut stream));
            encode_ns.push(each_ns(begin, records.len()));
            let (mut rest, mut read) = (stream.as_slice(), Vec::with_capacity(records.len()));
            let begin = Clock::now();
            while !rest.is_empty() {
                let (_, found, behind) = decode(rest)?;
                read.extend(found.flatten());
                rest = behind;
            }
            decode_ns.push(each_ns(begin, read.len()));
            ensure!(read == records, "other connections were read");

            let mut second = shard(&options, snat, options.connections)?;
            let begin = Clock::now();
            for record in read {
                second.install(&Installing {
                    record,
                    origin: Origin::Peer(GroupId(0)),
                    is_delegated: false,
                })?;
            }
            install_ns.push(each_ns(begin, records.len()));
            ensure!(second.foreign() == options.connections, "{} were installed", second.foreign());
        }
        for (what, ns) in
            [("export", export_ns), ("encode", encode_ns), ("decode", decode_ns), ("install", install_ns)]
        {
            figures.insert(format!("ha_{name}{what}_ns"), json!(median(&ns)));
        }
    }
    println!("{:#}", json!(figures));
    Ok(())
}
