//! Sluice's own worker on the captures of the benchmark, and the same loop with its stages removed. Devices,
//! captures and core are those of the opponent.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use dpdk::lcore::{self, Lcore};
use dpdk::{Burst, Device, Eal, EalOptions, Mempool, MempoolOptions, Port, PortOptions};
use sluice_conntrack::{Capacity, Configuration, Installation, PortId, Shard};
use sluice_engine::command::{Answer, Command, Controller, channel};
use sluice_engine::report::Stats;
use sluice_engine::{Clock, Idle, OpenPort, Queues, Worker};
use sluice_memory::Pages;

use crate::configuration::configuration;
use crate::figures::rate_of_growth;
use crate::interrupt::sleep;
use crate::opponent::{PATIENCE, SAMPLE_EVERY, WARM_UP};
use crate::traffic::Captures;

/// Memory of DPDK for the packets of two captures, and of the table.
pub const MEMORY_BYTES: u64 = (MEMORY_MB as u64 + 128) << 20;
const MEMORY_MB: u32 = 2048;

/// As many as the opponent has.
const MBUFS: u32 = 262_143;

/// DPDK, running in this process.
pub struct Bench {
    pub(crate) eal: Eal,
    pool: Mempool,
    core: usize,
    snat: bool,
}

/// A running worker, from the control thread's side.
pub(crate) struct Running {
    controller: Controller,
    worker: Lcore<Worker>,
    stats: Option<Box<Stats>>,
}

/// Ports and their queues.
pub(crate) type OpenPorts = (Vec<Port>, Vec<OpenPort>);

impl Bench {
    /// Starts DPDK for one poll-mode thread on `core`, which translates the sources of connections or not.
    pub fn start(core: usize, huge_pages: bool, snat: bool) -> anyhow::Result<Self> {
        let eal = Eal::init(&EalOptions { memory_mb: MEMORY_MB, huge_pages })?;
        let pool = Mempool::new(&eal, "packets", &MempoolOptions { mbufs: MBUFS, ..Default::default() })?;
        Ok(Self { eal, pool, core, snat })
    }

    /// Packets a second from either port to the other, with nothing done to them.
    pub fn roofline(&self, captures: &Captures, duration: Duration) -> anyhow::Result<f64> {
        let (ports, mut queues) = self.both_directions(captures)?;
        let [warm_up, measured] =
            [WARM_UP, duration].map(|time| (time.as_secs_f64() * lcore::tsc_hz(&self.eal) as f64) as u64);
        let worker = lcore::launch(&self.eal, self.core, "roofline", move || {
            let [inside, outside] = &mut queues[..] else { return 0 };
            pass_for(warm_up, inside, outside);
            pass_for(measured, inside, outside)
        })?;
        let packets = worker.join().ok().context("the roofline panicked")?;
        close(ports)?;
        Ok(packets as f64 / duration.as_secs_f64())
    }

    /// Packets a second that leave on the other port, all of them of established connections: opens
    /// `connections` by their handshakes, then replays both directions for ever and counts for `duration`.
    pub fn established(
        &self,
        captures: &Captures,
        connections: u32,
        duration: Duration,
    ) -> anyhow::Result<f64> {
        let clock = Clock::new(&self.eal);
        let shard = self.opened(&clock, &captures.setup, connections, connections)?;
        let (ports, queues) = self.both_directions(captures)?;
        let mut running = self.run(clock, shard, queues)?;
        sleep(WARM_UP)?;
        let (before, begin) = (running.passed()?, Instant::now());
        sleep(duration)?;
        let (after, elapsed) = (running.passed()?, begin.elapsed());
        let entries = running.stop()?.shard().len();
        close(ports)?;
        let (received, forwarded) = (after.0 - before.0, after.1 - before.1);
        ensure!(entries == connections, "{entries} connections of {connections} are left");
        ensure!(forwarded == received, "the worker has forwarded only {forwarded} packets of {received}");
        Ok(forwarded as f64 / elapsed.as_secs_f64())
    }

    /// Connections a second that come into the table from a capture of `connections` first packets. The limit
    /// of the table is the gate: no connection while the port begins, then all of them in one pass.
    pub fn new_connections(&self, captures: &Captures, connections: u32) -> anyhow::Result<f64> {
        let clock = Clock::new(&self.eal);
        let mut shard = self.shard(&clock, connections)?;
        shard.configure(&mut Installation::new(self.configuration(0)));
        let inside = format!("net_pcap_inside,rx_pcap={},infinite_rx=1", captures.new_inside.display());
        let (ports, queues) = self.attach(&[&inside, "net_null_outside,no-rx=1"])?;
        let mut running = self.run(clock, shard, queues)?;
        sleep(WARM_UP)?;

        let mut samples = Vec::new();
        let begin = Instant::now();
        let next = Box::new(Installation::new(self.configuration(connections)));
        running.ask(Command::Configure(next))?;
        while samples.last().is_none_or(|&(_, count)| count < u64::from(connections)) {
            ensure!(begin.elapsed() < PATIENCE, "the worker has not taken {connections} connections");
            let stats = running.stats()?;
            samples.push((begin.elapsed().as_secs_f64(), u64::from(stats.entries)));
            sleep(SAMPLE_EVERY)?;
        }
        running.stop()?;
        close(ports)?;
        rate_of_growth(&samples, connections.into())
    }

    /// A shard with room for so many entries that has seen the handshakes of a capture.
    pub(crate) fn opened(
        &self,
        clock: &Clock,
        setup: &Path,
        connections: u32,
        entries: u32,
    ) -> anyhow::Result<Shard> {
        let (ports, queues) = self.attach(&[&format!("net_pcap_setup,rx_pcap={}", setup.display())])?;
        let mut worker = Worker::new(self.shard(clock, entries)?, Queues::single(queues), self.pool);
        let mut burst = Burst::new();
        let mut left = u64::from(connections) * 3;
        let begin = Instant::now();
        while left > 0 {
            ensure!(begin.elapsed() < PATIENCE, "{left} packets of {} have not come", setup.display());
            left -= worker.receive(PortId(0), &mut burst) as u64;
            worker.process(clock.now(), PortId(0), &mut burst);
        }
        let shard = std::mem::replace(worker.shard_mut(), self.shard(clock, 1)?);
        drop(worker);
        close(ports)?;
        ensure!(shard.len() == connections, "{} connections of {connections} are open", shard.len());
        Ok(shard)
    }

    fn shard(&self, clock: &Clock, connections: u32) -> anyhow::Result<Shard> {
        let capacity = Capacity { entries: connections, seed: [1, 2, 3, 4], pages: Pages::Huge2M };
        Ok(Shard::new(capacity, self.configuration(connections), clock.now())?)
    }

    fn configuration(&self, limit: u32) -> Configuration {
        configuration(limit, self.snat.into())
    }

    pub(crate) fn both_directions(&self, captures: &Captures) -> anyhow::Result<OpenPorts> {
        let [inside, outside] =
            [("inside", &captures.established_inside), ("outside", &captures.established_outside)].map(
                |(name, capture)| format!("net_pcap_{name},rx_pcap={},infinite_rx=1", capture.display()),
            );
        self.attach(&[&inside, &outside])
    }

    fn attach(&self, devices: &[&str]) -> anyhow::Result<OpenPorts> {
        let (mut ports, mut queues) = (Vec::new(), Vec::new());
        for device in devices {
            let (port, rx, tx) =
                Port::start(Device::attach(&self.eal, device)?, &PortOptions::default(), &self.pool)?;
            queues.push(OpenPort::of_port(&port, rx, tx));
            ports.push(port);
        }
        Ok((ports, queues))
    }

    pub(crate) fn run(&self, clock: Clock, shard: Shard, queues: Vec<OpenPort>) -> anyhow::Result<Running> {
        let (controller, mut inbox) = channel();
        let stats = Some(Box::new(Stats::new(shard.configuration())));
        let mut worker = Worker::new(shard, Queues::single(queues), self.pool);
        let worker = lcore::launch(&self.eal, self.core, "worker", move || {
            worker.run(&clock, Idle::Poll, &mut inbox);
            worker
        })?;
        Ok(Running { controller, worker, stats })
    }
}

impl Running {
    pub(crate) fn ask(&mut self, command: Command) -> anyhow::Result<Answer> {
        self.controller.ask(command, PATIENCE).context("the worker does not answer")
    }

    fn stats(&mut self) -> anyhow::Result<&Stats> {
        let Some(stats) = self.stats.take() else { bail!("the worker has kept its counters") };
        match self.ask(Command::Stats(stats))? {
            Answer::Stats(stats) => Ok(self.stats.insert(stats)),
            other => bail!("the worker answers {other:?}"),
        }
    }

    /// Packets that it has received and transmitted.
    pub(crate) fn passed(&mut self) -> anyhow::Result<(u64, u64)> {
        let ports = &self.stats()?.ports;
        Ok((ports.iter().map(|port| port.rx_packets).sum(), ports.iter().map(|port| port.tx_packets).sum()))
    }

    pub(crate) fn stop(mut self) -> anyhow::Result<Worker> {
        self.ask(Command::Stop)?;
        self.worker.join().ok().context("the worker panicked")
    }
}

/// Passes packets between two ports for so many cycles; gives their number.
fn pass_for(cycles: u64, inside: &mut OpenPort, outside: &mut OpenPort) -> u64 {
    let mut burst = Burst::new();
    let mut packets = 0;
    let end = lcore::tsc() + cycles;
    while lcore::tsc() < end {
        for (from, to) in [(&mut inside.rx, &mut outside.tx), (&mut outside.rx, &mut inside.tx)] {
            let ([from], [to]) = (&mut from[..], &mut to[..]) else { return packets };
            from.receive(&mut burst);
            packets += to.transmit(&mut burst) as u64;
            burst.clear();
        }
    }
    packets
}

pub(crate) fn close(ports: Vec<Port>) -> anyhow::Result<()> {
    ports.into_iter().try_for_each(Port::close).context("a port does not close")
}
