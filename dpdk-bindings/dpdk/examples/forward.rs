//! Forwards packets from one device to another, as fast as one core can, and tells the rate:
//! the cost of the bindings and of nothing else.
//!
//! ```text
//! cargo run --release -p dpdk --example forward -- \
//!     net_pcap0,rx_pcap=in.pcap,infinite_rx=1 net_null0,no-rx=1 [SECONDS]
//! ```

use std::error::Error;
use std::process::ExitCode;

use dpdk::{Burst, Device, Eal, EalOptions, Mempool, MempoolOptions, Port, PortOptions, lcore};

fn main() -> ExitCode {
    match forward() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forward: {error}");
            ExitCode::FAILURE
        }
    }
}

fn forward() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, seconds @ ..] = &arguments[..] else {
        return Err("usage: forward FROM TO [SECONDS]".into());
    };
    let seconds: u64 = seconds.first().map_or(Ok(5), |seconds| seconds.parse())?;

    let eal = Eal::init(&EalOptions::default())?;
    if let Some(why) = eal.ordinary_pages() {
        eprintln!("Running on ordinary pages: {why}");
    }
    let pool = Mempool::new(&eal, "packets", &MempoolOptions { mbufs: 65_535, ..Default::default() })?;
    let (_input, mut rx, _) = Port::start(Device::attach(&eal, from)?, &PortOptions::default(), &pool)?;
    let (_output, _, mut tx) = Port::start(Device::attach(&eal, to)?, &PortOptions::default(), &pool)?;

    let core = lcore::allowed_cores()?.pop().ok_or("no core")?;
    let cycles = seconds * lcore::tsc_hz(&eal);
    let worker = lcore::launch(&eal, core, "forward", move || {
        let mut burst = Burst::new();
        let (mut packets, mut unsent) = (0, 0);
        let end = lcore::tsc() + cycles;
        while lcore::tsc() < end {
            packets += rx[0].receive(&mut burst);
            tx[0].transmit(&mut burst);
            unsent += burst.len();
            burst.clear();
        }
        (packets, unsent)
    })?;
    let (packets, unsent) = worker.join().map_err(|_| "the worker panicked")?;
    let rate = packets as f64 / seconds as f64 / 1e6;
    println!("{packets} packets in {seconds} s on core {core}: {rate:.1} Mpps, {unsent} unsent");
    Ok(())
}
