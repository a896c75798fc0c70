//! Measures a router with a full table of the Internet: what it takes a packet more than a wire does, and the table itself.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use sluice_bench::driver::{BUFFERS, Driver, Setup, random_packets};
use sluice_bench::figures::median;
use sluice_bench::full_table::{FullTable, IPV4_ROUTES, IPV6_ROUTES};
use sluice_bench::huge_pages::HugePages;
use sluice_bench::interrupt;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::{Forwarding, Installation};

/// Take packets over a wire and through a router in turn; print a JSON object.
#[derive(Parser)]
#[command(name = "routes", version)]
struct Options {
    /// Open connections
    #[arg(long, default_value_t = 1_000_000)]
    connections: u32,
    /// How often 4096 packets take either way, in turn; the median of the differences counts
    #[arg(long, default_value_t = 512)]
    batches: usize,
    /// How often the table is made
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    tables: u32,
    /// Decides prefixes, tuples and order
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    interrupt::catch()?;
    let table = FullTable::new(options.seed);
    let mut load_ms = Vec::new();
    for _ in 0..options.tables {
        interrupt::sleep(Duration::ZERO)?;
        let begin = Instant::now();
        let router = table.router();
        load_ms.push(begin.elapsed().as_secs_f64() * 1e3);
        drop(router);
    }
    let router = table.router();
    let memory_bytes = router.memory_bytes();
    let begin = Instant::now();
    let found = table.ipv6_addresses().filter(|address| router.find(*address).is_some()).count();
    let ipv6_ns = begin.elapsed().as_nanos() as f64 / found as f64;

    let _huge_pages = HugePages::reserve(2 * u64::from(options.connections) * 160 + (16 << 20));
    let setup = Setup::new(options.connections, options.seed, 25);
    let place = |number, connection| table.connection(number, connection);
    let mut wire = Driver::between(setup, Forwarding::wire(), place)?;
    wire.open()?;
    let mut routed = Driver::between(setup, Forwarding::Routed(Box::new(router)), place)?;
    routed.open()?;
    let mut packets = random_packets(options.seed, options.connections);
    let (mut wire_ns, mut routed_ns, mut extra_ns) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.batches {
        interrupt::sleep(Duration::ZERO)?;
        let mut drive = |driver: &mut Driver| {
            let time = driver.drive(packets.by_ref().take(BUFFERS))?;
            anyhow::Ok(time.as_nanos() as f64 / BUFFERS as f64)
        };
        let (over_wire, through_router) = (drive(&mut wire)?, drive(&mut routed)?);
        wire_ns.push(over_wire);
        routed_ns.push(through_router);
        extra_ns.push(through_router - over_wire);
    }
    let mut swap_us = Vec::new();
    let other = routed.shard().configuration().with_router(table.router(), Nat::default());
    let mut other = Installation::new(other);
    for _ in 0..options.batches {
        let begin = Instant::now();
        routed.reroute(&mut other);
        swap_us.push(begin.elapsed().as_secs_f64() * 1e6);
        routed.drive(packets.by_ref().take(BUFFERS))?;
    }
    let figures: Value = json!({
        "routed_extra_ns": median(&extra_ns),
        "routed_ns": median(&routed_ns),
        "routed_wire_ns": median(&wire_ns),
        "routes_ipv4": IPV4_ROUTES,
        "routes_ipv6": IPV6_ROUTES,
        "routes_ipv6_look_up_ns": ipv6_ns,
        "routes_load_ms": median(&load_ms),
        "routes_memory_bytes": memory_bytes,
        "routes_swap_us": median(&swap_us),
    });
    println!("{figures:#}");
    Ok(())
}
