//! Starting the packet path: table, DPDK, ports, the worker's thread. And ending it again.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use dpdk::{
    Device, Eal, EalOptions, Mempool, MempoolOptions, Port, PortOptions, PortStats,
    lcore::{self, Lcore},
};
use sluice_conntrack::{Capacity, Configuration, Instant, Shard};
use sluice_engine::command::{Answer, Command, Controller, LogPage, Page, Stats, Unanswered, channel};
use sluice_engine::{Clock, Idle, QueuePair, Worker};
use sluice_memory::Pages;
use tracing::{info, warn};

use super::RunError;
use crate::config::Config;
use crate::host;

/// A worker that has not answered for so long hangs: a round of it takes well below a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);

/// DPDK does not start with less.
const LEAST_DPDK_MB: u64 = 512;

/// Mbufs of each port: what its two queues and the bursts of a round hold, and as much again on the way.
const MBUFS_PER_PORT: u32 = 4096;

/// A port by its name.
pub struct NamedPort {
    /// Name of the interface.
    pub name: String,
    port: Port,
}

impl NamedPort {
    /// What the device has counted; nothing where it does not say.
    pub fn stats(&self) -> PortStats {
        self.port.stats().unwrap_or_default()
    }
}

/// The running packet path, from the control thread's side.
pub struct Dataplane {
    controller: Controller,
    worker: Lcore<Worker>,
    ports: Vec<NamedPort>,
    pool: Mempool,
    pool_mbufs: u32,
    capacity: u32,
}

impl Dataplane {
    /// Takes the memory, attaches the devices and starts the worker.
    pub fn start(config: &Config) -> Result<Dataplane, RunError> {
        let configuration = config.configuration().map_err(|problem| RunError::Other(problem.message))?;
        let capacity = Capacity {
            entries: configuration.settings.max_entries,
            seed: secret_seed()?,
            pages: Pages::Huge1G,
        };
        let shard = Shard::new(capacity, Box::new(configuration), Instant::default()).map_err(|error| {
            RunError::Other(format!("no memory for {} entries: {error}", capacity.entries))
        })?;
        info!(
            "table: {} entries, {} MiB on {:?} pages",
            capacity.entries,
            shard.memory_bytes() >> 20,
            shard.pages()
        );

        let eal = start_eal(config, shard.memory_bytes() as u64)?;
        let devices = attach(&eal, config)?;
        let pool_mbufs = (devices.len() as u32 * MBUFS_PER_PORT).next_power_of_two() - 1;
        let socket = devices.first().and_then(|(_, device)| device.info().socket);
        let options = MempoolOptions { mbufs: pool_mbufs, socket, ..MempoolOptions::default() };
        let pool = Mempool::new(&eal, "packets", &options)?;

        let (mut ports, mut queues) = (Vec::new(), Vec::new());
        for (name, device) in devices {
            let mtu = config.interfaces.get(&name).map(|interface| interface.mtu);
            let (port, rx, tx) = device.start(&PortOptions { mtu, ..PortOptions::default() }, &pool)?;
            info!("port {name}: {} ({}), MTU {}", port.info().name, port.info().driver, port.mtu());
            let mac = port.info().mac;
            queues.extend(rx.into_iter().zip(tx).map(|(rx, tx)| QueuePair { rx, tx, mac }));
            ports.push(NamedPort { name, port });
        }

        let (controller, mut inbox) = channel();
        let (core, idle) = worker_core(config)?;
        let clock = Clock::new(&eal);
        let mut worker = Worker::new(shard, queues, pool);
        worker.join_links();
        let worker = lcore::launch(&eal, core, "worker-0", move || {
            worker.run(&clock, idle, &mut inbox);
            worker
        })?;
        Ok(Dataplane { controller, worker, ports, pool, pool_mbufs, capacity: capacity.entries })
    }

    /// The ports, by number.
    pub fn ports(&self) -> &[NamedPort] {
        &self.ports
    }

    /// Places for entries.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Free mbufs, and all there are.
    pub fn mbufs(&self) -> (u32, u32) {
        (self.pool.available(), self.pool_mbufs)
    }

    /// Has the worker fill a page of entries.
    pub fn list(&mut self, page: Box<Page>) -> Result<Box<Page>, Unanswered> {
        match self.controller.ask(Command::List(page), PATIENCE)? {
            Answer::Listed(page) => Ok(page),
            _ => Err(Unanswered::Late),
        }
    }

    /// Has the worker copy its counters.
    pub fn stats(&mut self, stats: Box<Stats>) -> Result<Box<Stats>, Unanswered> {
        match self.controller.ask(Command::Stats(stats), PATIENCE)? {
            Answer::Stats(stats) => Ok(stats),
            _ => Err(Unanswered::Late),
        }
    }

    /// Has the worker fill a page of log records.
    pub fn log(&mut self, page: Box<LogPage>) -> Result<Box<LogPage>, Unanswered> {
        match self.controller.ask(Command::Log(page), PATIENCE)? {
            Answer::Logged(page) => Ok(page),
            _ => Err(Unanswered::Late),
        }
    }

    /// Puts a configuration in force, between two bursts; gives the old one back.
    pub fn configure(&mut self, new: Box<Configuration>) -> Result<Box<Configuration>, Unanswered> {
        match self.controller.ask(Command::Configure(new), PATIENCE)? {
            Answer::Configured(old) => Ok(old),
            _ => Err(Unanswered::Late),
        }
    }

    /// Ends the worker, whose last round sends what it has received, then the ports.
    pub fn stop(mut self) -> Result<(), RunError> {
        // A worker that has ended by itself cannot answer; joining it says why.
        let _ = self.controller.ask(Command::Stop, PATIENCE);
        let worker = self.worker.join().map_err(|_| RunError::Other("the worker panicked".to_owned()))?;
        // The queues go first: a port closes when nobody can poll it any more.
        drop(worker);
        for NamedPort { port, .. } in self.ports {
            port.close()?;
        }
        Ok(())
    }
}

/// DPDK gets what the table has left of the memory.
fn start_eal(config: &Config, table_bytes: u64) -> Result<Eal, RunError> {
    let left = config.system.memory.hugepages.0.saturating_sub(table_bytes) >> 20;
    let options = EalOptions {
        memory_mb: left.max(LEAST_DPDK_MB) as u32,
        main_cores: vec![usize::from(config.system.cores.control)],
        ..EalOptions::default()
    };
    let eal = Eal::init(&options)?;
    if let Some(why) = eal.ordinary_pages() {
        warn!("{why}: running on ordinary pages, more slowly; `sluice check --host` shows what mends it");
    }
    Ok(eal)
}

fn attach(eal: &Eal, config: &Config) -> Result<Vec<(String, Device)>, RunError> {
    let attach = |(name, interface): (&String, &crate::config::Interface)| {
        let device = Device::attach(eal, &interface.device.to_string())
            .map_err(|error| RunError::Other(format!("interface {name}: {error}")))?;
        Ok((name.clone(), device))
    };
    config.interfaces.iter().map(attach).collect()
}

/// The core of the one worker there is, and how it waits: on a core that the kernel gives to nobody else it polls
/// without end, on another it naps while nothing comes.
fn worker_core(config: &Config) -> Result<(usize, Idle), RunError> {
    let [core] = config.system.cores.workers[..] else {
        return Err(RunError::Other("system.cores.workers: this version runs one worker".to_owned()));
    };
    let isolated = host::is_isolated(core, std::path::Path::new("/"));
    info!("worker 0: core {core}, {}", if isolated { "polling" } else { "shared, napping when idle" });
    Ok((usize::from(core), if isolated { Idle::Poll } else { Idle::Friendly }))
}

/// The key of the table's index: from the kernel's random numbers, so that nobody outside can aim at a bucket.
fn secret_seed() -> Result<[u64; 4], RunError> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| RunError::Other(format!("/dev/urandom: {error}")))?;
    let word = |place: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[place * 8..][..8]);
        u64::from_ne_bytes(word)
    };
    Ok(std::array::from_fn(word))
}
