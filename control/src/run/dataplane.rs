//! Starting the packet path: tables, DPDK, ports, the workers' threads. And ending it again.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use dpdk::{Device, DeviceInfo, Eal, EalOptions, Mempool, MempoolOptions, Port, PortOptions, Rss, lcore};
use sluice_conntrack::answer::Pace;
use sluice_conntrack::connection_counts::ConnectionCounts;
use sluice_conntrack::expectations::Claims;
use sluice_conntrack::limits::Limits;
use sluice_conntrack::settings::FRAGMENT_BUFFER_BYTES;
use sluice_conntrack::{Capacity, Configuration, Instant, PortId, Shard, ShardId, Steering, steer};
use sluice_engine::command::channel;
use sluice_engine::host::host_sides;
use sluice_engine::{Clock, Idle, OpenPort, Queues, Vlan, Worker};
use sluice_memory::Pages;
use tracing::{info, warn};

use super::RunError;
use super::candidate::Candidate;
use super::ha::{self, Cluster, Ends, Wake};
use super::host::HostPort;
use super::named_port::{NamedPort, PortKind};
use super::snapshot;
use super::startup::Startup;
use super::state::StateDirectory;
use super::workers::{Handle, Workers};
use crate::config::{self, Config};
use crate::host::{self, memory::LEAST_DPDK_BYTES};

/// Mbufs of each queue: what it holds.
const MBUFS_PER_QUEUE: u32 = 1024;

/// Mbufs of each worker: what it keeps for itself, the bursts of a round, and the ring of another that fills.
const MBUFS_PER_WORKER: u32 = 4096;

/// The running packet path, from the control thread's side.
pub struct Dataplane {
    /// The workers.
    pub workers: Workers,
    /// Their clock.
    pub clock: Clock,
    ports: Vec<NamedPort>,
    mempools: Mempools,
    capacity: u32,
    /// The ends of the workers' rings to a cluster.
    ends: Ends,
}

impl Dataplane {
    /// Takes the memory, attaches the devices and starts the workers. Translated connections draw their ports by `nat_key`;
    /// without one, by a key that is forgotten in the end. It goes on with the connections that a state directory has kept.
    ///
    /// # Errors
    /// The memory or a device is not to be had, or a signal has ended the start.
    pub fn start(
        candidate: &Candidate,
        nat_key: Option<[u64; 4]>,
        state: Option<&StateDirectory>,
        startup: &mut Startup<'_>,
    ) -> Result<Dataplane, RunError> {
        let config = &candidate.config;
        let capacity = candidate.configuration.settings.max_entries;
        let cores = config.system.cores.workers.clone();
        let configuration = Arc::clone(&candidate.configuration);
        let ha = config.ha.clone();
        // The kernel clears gigabytes for large tables, and cannot be interrupted in that.
        let shards =
            startup.wait_for("tables", move || shards(&cores, &configuration, ha.as_ref(), nat_key))??;
        let state = state.cloned();
        // For the shards it is the begin of time when they get connections that go on, however long it takes until packets come.
        let begun = std::time::Instant::now();
        let shards = startup.wait_for("connections", move || snapshot::go_on(state.as_ref(), shards))?;
        let table_bytes: usize = shards.iter().map(Shard::memory_bytes).sum();
        let mut pages: Vec<String> = shards.iter().map(|shard| shard.pages().to_string()).collect();
        pages.dedup();
        info!("tables: {capacity} entries, {} MiB on {}", table_bytes >> 20, pages.join("; "));

        let eal = start_eal(config, table_bytes as u64)?;
        startup.go_on()?;
        let devices = attach(&eal, config)?;
        startup.go_on()?;
        let workers = shards.len() as u16;
        let mempools = Mempools::new(&eal, &devices, workers, config.conntrack.fragments.memory.0)?;
        startup.go_on()?;
        let (mut ports, open) = start_ports(config, devices, &mempools, workers)?;
        let mut queues = Queues::share_out(open, workers);
        start_hosts(config, &mut ports, &mut queues)?;
        let mut ends = Ends::default();
        let clock = Clock::since(&eal, begun);
        let workers = start_workers((&eal, clock), config, shards, queues, &mempools, &mut ends)?;
        Ok(Dataplane { workers, clock, ports, mempools, capacity, ends })
    }

    /// Joins the cluster, if the box is of one. `wake` is called when a peer has become something else.
    pub fn start_cluster(&mut self, config: &Config, wake: Wake) -> Result<Option<Cluster>, RunError> {
        let ends = std::mem::take(&mut self.ends);
        config.ha.as_ref().map(|ha| Cluster::start(ha, ends, wake)).transpose()
    }

    /// The ports, by number.
    pub fn ports(&self) -> &[NamedPort] {
        &self.ports
    }

    /// Has the host sides take over what a configuration says of their ports.
    pub fn configure_hosts(&self, config: &Config) {
        self.ports.iter().filter_map(|port| port.host.as_ref()).for_each(|host| host.configure(config));
    }

    /// Slots for entries, of all workers together.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Free mbufs, and all there are.
    pub fn mbufs(&self) -> (u32, u32) {
        (self.mempools.by_socket.iter().map(|(_, pool)| pool.available()).sum(), self.mempools.mbufs)
    }

    /// Ends the workers, which have been drained, then the ports.
    pub fn stop(self) -> Result<(), RunError> {
        // The queues go first: a port closes when nobody can poll it any more. With them the threads of the hosts end.
        self.workers.stop()?;
        for NamedPort { kind, .. } in self.ports {
            if let PortKind::Device { port, .. } = kind {
                port.close()?;
            }
        }
        Ok(())
    }
}

/// Addresses that rules with a limit remember, which have used some of it: 2 MiB.
const LIMITED: usize = 1 << 18;

/// The shards, each in memory near the core of its worker.
fn shards(
    cores: &[u16],
    configuration: &Arc<Configuration>,
    ha: Option<&config::Ha>,
    nat_key: Option<[u64; 4]>,
) -> Result<Vec<Shard>, RunError> {
    let seed = secret_seed()?;
    let nat_key = nat_key.unwrap_or(seed);
    let pace = Arc::<Pace>::default();
    let limits = Arc::new(Limits::new(LIMITED, seed));
    let workers = cores.len() as u16;
    let entries = configuration.settings.max_entries.div_ceil(u32::from(workers.max(1)));
    let claims = Claims::new(workers, entries)
        .map_err(|error| RunError::Other(format!("no memory for expectations: {error}")))?;
    let claims = Arc::new(claims);
    let counts = ConnectionCounts::new(configuration.settings.max_entries, seed)
        .map_err(|error| RunError::Other(format!("no memory for connection counts: {error}")))?;
    let counts = Arc::new(counts);
    let shard = |(number, core): (u16, &u16)| {
        let steering = Steering::new(ShardId(number), workers)
            .ok_or_else(|| RunError::Other(format!("system.cores.workers: {} are too many", cores.len())))?;
        let entries = steering.share(configuration.settings.max_entries);
        let capacity = Capacity { entries, seed, pages: Pages::Huge1G };
        let configuration = Arc::clone(configuration);
        let (pace, limits, claims) = (Arc::clone(&pace), Arc::clone(&limits), Arc::clone(&claims));
        let counts = Arc::clone(&counts);
        let shard = || -> io::Result<Shard> {
            let shard = Shard::new(capacity, configuration, Instant::default())?;
            let shard = shard.with_pace(pace, limits).with_connection_counts(counts).with_nat_key(nat_key);
            let mut shard = shard.with_steering(steering)?.with_claims(claims)?;
            ha.map(|ha| ha::prepare(ha, &mut shard, entries)).transpose()?;
            Ok(shard)
        };
        lcore::visit(usize::from(*core), shard)?
            .map_err(|error| RunError::Other(format!("no memory for {entries} entries: {error}")))
    };
    (0..).zip(cores).map(shard).collect()
}

/// Mempools near the devices.
struct Mempools {
    by_socket: Vec<(Option<u16>, Mempool)>,
    /// Of all pools together.
    mbufs: u32,
}

impl Mempools {
    /// A pool on each NUMA socket that has a device. All fragments that are held may be of one of them.
    fn new(
        eal: &Eal,
        devices: &[(String, Device)],
        workers: u16,
        fragment_bytes: u64,
    ) -> Result<Self, RunError> {
        let held = u32::try_from(fragment_bytes / u64::from(FRAGMENT_BUFFER_BYTES)).unwrap_or(u32::MAX);
        let mut sockets: Vec<Option<u16>> = devices.iter().map(|(_, device)| device.info().socket).collect();
        sockets.sort_unstable();
        sockets.dedup();
        let mut mempools = Self { by_socket: Vec::new(), mbufs: 0 };
        for (number, socket) in sockets.into_iter().enumerate() {
            let near = devices.iter().map(|(_, device)| device.info()).filter(|info| info.socket == socket);
            let queues =
                near.map(|info| info.queues_for(workers)).map(|(rx, tx)| u32::from(rx) + u32::from(tx));
            let moving = queues.sum::<u32>() * MBUFS_PER_QUEUE + u32::from(workers) * MBUFS_PER_WORKER;
            let mbufs = moving + held;
            let mbufs = mbufs.next_power_of_two() - 1;
            let options = MempoolOptions { mbufs, socket, ..MempoolOptions::default() };
            mempools.by_socket.push((socket, Mempool::new(eal, &format!("packets-{number}"), &options)?));
            mempools.mbufs += mbufs;
        }
        Ok(mempools)
    }

    /// The pool on a socket, or any.
    fn near(&self, socket: Option<u16>) -> Mempool {
        let here = self.by_socket.iter().find(|(of, _)| *of == socket);
        here.unwrap_or(&self.by_socket[0]).1
    }
}

/// How many queues a port gets, and how the device is to spread packets over them.
fn port_options(info: &DeviceInfo, workers: u16) -> PortOptions {
    let (rx_queues, tx_queues) = info.queues_for(workers);
    let queue = |index: usize| (index as u16 % workers) % rx_queues.max(1);
    let rss = Rss { key: steer::KEY.to_vec(), table: (0..steer::TABLE).map(queue).collect() };
    PortOptions { rx_queues, tx_queues, rss: (workers > 1).then_some(rss), ..PortOptions::default() }
}

/// Says what a port is, and what it leaves to software.
fn announce(name: &str, port: &Port, options: &PortOptions, workers: u16) {
    let PortOptions { rx_queues: rx, tx_queues: tx, .. } = options;
    let info = port.info();
    info!("port {name}: {} ({}), MTU {}, queues {rx} in, {tx} out", info.name, info.driver, port.mtu());
    if info.leaves_checksums() {
        info!(
            "port {name}: a virtual cable: completes the checksums that hosts leave to a NIC; their segmentation \
             offload (`ethtool -K IFACE tso off gso off` there) makes frames that it cuts off (`truncated`)"
        );
    }
    if info.driver == "net_af_packet" {
        info!("port {name}: the kernel joins IPv4 fragments before net_af_packet hands them up");
    }
    if workers > 1 && !port.rss_gaps().is_empty() {
        let gaps: Vec<String> = port.rss_gaps().iter().map(ToString::to_string).collect();
        info!("port {name}: {}: workers steer its packets themselves", gaps.join(", "));
    }
}

/// DPDK gets what the table has left of the memory.
fn start_eal(config: &Config, table_bytes: u64) -> Result<Eal, RunError> {
    let left = config.system.memory.hugepages.0.saturating_sub(table_bytes).max(LEAST_DPDK_BYTES);
    let options = EalOptions { memory_mb: (left >> 20) as u32, ..EalOptions::default() };
    let eal = Eal::init(&options)?;
    if let Some(why) = eal.ordinary_pages() {
        warn!("{why}: running on ordinary pages, more slowly; `sluice check --host` shows what mends it");
    }
    Ok(eal)
}

fn attach(eal: &Eal, config: &Config) -> Result<Vec<(String, Device)>, RunError> {
    let attach = |(name, interface): (&String, &crate::config::Interface)| {
        let device = Device::attach(eal, &interface.device.to_string())
            .map_err(|error| RunError::Other(format!("interface {name}: {error}; EAL says why above")))?;
        Ok((name.clone(), device))
    };
    config.interfaces.iter().filter(|(_, interface)| interface.device.vlan().is_none()).map(attach).collect()
}

/// Starts each device; gives the ports by number, and their queues.
fn start_ports(
    config: &Config,
    devices: Vec<(String, Device)>,
    mempools: &Mempools,
    workers: u16,
) -> Result<(Vec<NamedPort>, Vec<OpenPort>), RunError> {
    let mut started = BTreeMap::new();
    for (name, device) in devices {
        let mtu = config.interfaces.get(&name).map(|interface| interface.mtu);
        let options = PortOptions { mtu, ..port_options(device.info(), workers) };
        let pool = mempools.near(device.info().socket);
        let (port, rx, tx) = Port::start(device, &options, &pool)
            .map_err(|error| RunError::Other(format!("interface {name}: {error}")))?;
        announce(&name, &port, &options, workers);
        let partial_checksums = port.info().leaves_checksums();
        let open = OpenPort { partial_checksums, ..OpenPort::of_port(&port, rx, tx) };
        let PortOptions { rx_queues, tx_queues, .. } = options;
        let kind = PortKind::Device { port, rx_queues, tx_queues };
        started.insert(name.clone(), (NamedPort { name, kind, host: None }, open));
    }
    for (name, interface) in &config.interfaces {
        if let Some((parent, id)) = interface.device.vlan()
            && let (Some(port), Some((by, _))) = (config.port(parent), started.get(parent))
        {
            info!("port {name}: VLAN {id} of {parent}, MTU {}", interface.mtu);
            let (vlan, mac) = (Vlan { parent: port, id }, by.mac());
            let kind = PortKind::Vlan { vlan, mac, mtu: interface.mtu };
            let port = NamedPort { name: name.clone(), kind, host: None };
            started.insert(name.clone(), (port, OpenPort::of_vlan(vlan, mac)));
        }
    }
    // In the order of their names, which is that of their numbers.
    Ok(started.into_values().unzip())
}

/// Starts the host sides of the ports that are to have one, and gives each worker its part.
fn start_hosts(config: &Config, ports: &mut [NamedPort], queues: &mut [Queues]) -> Result<(), RunError> {
    let interfaces = &config.interfaces;
    let has_host = |name: &str| interfaces.get(name).is_some_and(|interface| interface.host.is_some());
    for (number, port) in (0..).zip(ports).filter(|(_, port)| has_host(&port.name)) {
        let mac = port.mac();
        let (sides, end) = host_sides(mac, port.mtu(), queues.len() as u16, number);
        for (queues, side) in queues.iter_mut().zip(sides) {
            queues.add_host(PortId(number as u8), side);
        }
        port.host = Some(HostPort::start(config, &port.name, mac, end)?);
    }
    Ok(())
}

/// Starts a worker for each shard, on its core. Where one cannot start, those before it have ended again.
fn start_workers(
    (eal, clock): (&Eal, Clock),
    config: &Config,
    shards: Vec<Shard>,
    queues: Vec<Queues>,
    mempools: &Mempools,
    ends: &mut Ends,
) -> Result<Workers, RunError> {
    let mut started = Workers(Vec::with_capacity(shards.len()));
    let cores = &config.system.cores.workers;
    for (number, ((shard, queues), core)) in shards.into_iter().zip(queues).zip(cores).enumerate() {
        let (controller, mut inbox) = channel();
        let idle = idle(config, *core);
        info!(
            "worker {number}: core {core}, {}",
            if idle == Idle::Poll { "polling" } else { "napping when idle" }
        );
        let mut worker = Worker::new(shard, queues, mempools.near(None));
        worker.join_links(config.system.memory.neighbours);
        if config.ha.is_some() {
            worker.replicate(ends.add());
        }
        let lcore = lcore::launch(eal, usize::from(*core), &format!("worker-{number}"), move || {
            worker.run(&clock, idle, &mut inbox);
            worker
        });
        match lcore {
            Ok(lcore) => started.0.push(Handle { controller, lcore }),
            Err(error) => {
                started.stop()?;
                return Err(error.into());
            }
        }
    }
    Ok(started)
}

/// How the worker of a core waits: as configured, else on a core that the kernel gives to nobody else it polls without
/// end, on another it naps while nothing comes.
fn idle(config: &Config, core: u16) -> Idle {
    match config.system.idle {
        Some(config::Idle::Poll) => Idle::Poll,
        Some(config::Idle::Friendly) => Idle::Friendly,
        None if host::is_isolated(core, std::path::Path::new("/")) => Idle::Poll,
        None => Idle::Friendly,
    }
}

/// The key of the table's index: from the kernel's random numbers, so that nobody outside can aim at a bucket.
fn secret_seed() -> Result<[u64; 4], RunError> {
    let mut seed = [0; 4];
    for word in &mut seed {
        *word = getrandom::u64().map_err(|error| RunError::Other(format!("random numbers: {error}")))?;
    }
    Ok(seed)
}
