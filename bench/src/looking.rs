//! What it costs a worker to be looked at: the same worker, at work on established connections, asked and not asked in turn.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use sluice_conntrack::entry::Status;
use sluice_conntrack::events::{EventReceiver, ring};
use sluice_conntrack::policy::Prefix;
use sluice_conntrack::tracker::sctp::TagPair;
use sluice_conntrack::tracker::tcp::TcpState;
use sluice_conntrack::tuple::protocol;
use sluice_conntrack::{NewEntry, Shard, Tuple};
use sluice_engine::Clock;
use sluice_engine::command::{Answer, Command};
use sluice_engine::report::{ListedEntry, Page};
use sluice_engine::watch::{PacketReceiver, WatchFilter, watch};

use crate::connection::{Connection, Protocol};
use crate::figures::median;
use crate::interrupt::sleep;
use crate::opponent::WARM_UP;
use crate::traffic::{Captures, Traffic};
use crate::worker::{Bench, Running, close};

/// How often counters are asked for while all is looked at: as the daemon does it, whether somebody scrapes them or not.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

/// How long whoever dumps the table is busy with a page of 64 entries: to write a line of some 200 bytes takes a microsecond or so, and
/// to send it, read it and print it as long again.
const PAGE_TAKES: Duration = Duration::from_micros(130);

/// Room of the rings of events and of packets that are captured, as the daemon has it.
const EVENTS: usize = 1 << 14;
const PACKETS: (usize, usize) = (1 << 12, 2 << 20);
const SNAP_BYTES: usize = 9728;
const BURST: usize = 32;

/// What is done to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    /// Nothing.
    Away,
    /// The table is dumped.
    Dump,
    /// Packets are captured by a filter that fits none.
    Capture,
    /// Counters are asked for, the table is dumped, events are listened to, and packets captured.
    All,
}

impl Look {
    const EVERY: [Self; 4] = [Self::Away, Self::Dump, Self::Capture, Self::All];

    const fn dumps(self) -> bool {
        matches!(self, Self::Dump | Self::All)
    }

    const fn captures(self) -> bool {
        matches!(self, Self::Capture | Self::All)
    }
}

/// The parts of its rate that a worker loses, round by round.
#[derive(Debug, Default)]
pub struct LookingCosts {
    /// Packets a second that pass while nobody looks.
    pub pps: Vec<f64>,
    /// To a dump of the table.
    pub dump: Vec<f64>,
    /// To a capture that fits none of its packets.
    pub capture: Vec<f64>,
    /// To all of it together.
    pub all: Vec<f64>,
    /// Entries that were dumped a second.
    pub dumped_per_second: Vec<f64>,
}

/// Puts the connections behind those of the captures into a shard, up to so many, as an operator does.
fn fill(shard: &mut Shard, traffic: Traffic, entries: u32) {
    let assured = Status::SEEN_REPLY.union(Status::ASSURED);
    for number in traffic.connections..entries {
        let Connection { protocol, client, server, .. } =
            Connection::new(traffic.seed, number, traffic.udp_percent);
        let (protocol, state) = match protocol {
            Protocol::Tcp => (protocol::TCP, ESTABLISHED),
            Protocol::Udp => (protocol::UDP, 0),
        };
        let original =
            Tuple::new(client.address.into(), server.address.into(), protocol, client.port, server.port);
        let reply = original.invert();
        let tags = TagPair::default();
        let new = NewEntry { original, reply, state, status: assured, timeout_ms: DAY_MS, mark: 0, tags };
        // One whose tuple another one has is left out.
        let _ = shard.insert_entry(&new);
    }
}

/// When they end, if no packet comes.
const DAY_MS: u32 = 86_400_000;

/// The number of TCP's state.
const ESTABLISHED: u8 = TcpState::Established as u8;

/// A worker that is looked at, and what is needed for that.
struct Looked<'a> {
    running: &'a mut Running,
    events: Option<EventReceiver>,
    packets: Option<PacketReceiver>,
}

impl Bench {
    /// Measures a worker that has so many entries in its table, in turn for `duration` each, so often, while it passes packets of those
    /// connections that the captures are of.
    pub fn looking(
        &self,
        captures: &Captures,
        traffic: Traffic,
        entries: u32,
        (rounds, duration): (u32, Duration),
    ) -> anyhow::Result<LookingCosts> {
        let clock = Clock::new(&self.eal);
        let mut shard = self.opened(&clock, &captures.setup, traffic.connections, entries)?;
        fill(&mut shard, traffic, entries);
        ensure!(shard.len() > entries / 100 * 99, "only {} entries are there", shard.len());
        let (ports, queues) = self.both_directions(captures)?;
        let mut running = self.run(clock, shard, queues)?;
        sleep(WARM_UP)?;
        let mut looked = Looked { running: &mut running, events: None, packets: None };
        let mut costs = LookingCosts::default();
        for round in 0..rounds as usize {
            let mut rates = BTreeMap::new();
            // Whoever is first in a round is another one in the next.
            for place in 0..Look::EVERY.len() {
                let look = Look::EVERY[(place + round) % Look::EVERY.len()];
                let (rate, dumped) = looked.measure(look, duration)?;
                rates.insert(look, rate);
                if look == Look::Dump {
                    costs.dumped_per_second.push(dumped);
                }
            }
            let lost = |look| 1.0 - rates[&look] / rates[&Look::Away];
            costs.pps.push(rates[&Look::Away]);
            costs.dump.push(lost(Look::Dump));
            costs.capture.push(lost(Look::Capture));
            costs.all.push(lost(Look::All));
        }
        running.stop()?;
        close(ports)?;
        Ok(costs)
    }
}

impl Looked<'_> {
    /// Packets a second of the worker's time on its processor, and entries that were dumped a second.
    fn measure(&mut self, look: Look, duration: Duration) -> anyhow::Result<(f64, f64)> {
        self.begin(look)?;
        let begin = Instant::now();
        let (before, busy_before) = (self.running.passed()?.1, busy_time()?);
        let (mut page, mut dumped, mut scraped) = (Some(Box::new(Page::from_start())), 0, Instant::now());
        while begin.elapsed() < duration {
            if look == Look::All && scraped.elapsed() > SCRAPE_EVERY {
                self.running.passed()?;
                scraped = Instant::now();
            }
            if let Some(events) = &mut self.events {
                std::iter::from_fn(|| events.receive()).for_each(drop);
            }
            if let Some(packets) = &mut self.packets {
                std::iter::from_fn(|| packets.receive()).for_each(drop);
            }
            if look.dumps() {
                let filled =
                    self.running.list(page.take().unwrap_or_else(|| Box::new(Page::from_start())))?;
                dumped += filled.items().len();
                page = filled.into_next();
            }
            sleep(PAGE_TAKES)?;
        }
        let (after, busy_after) = (self.running.passed()?.1, busy_time()?);
        self.begin(Look::Away)?;
        let rate = (after - before) as f64 / (busy_after - busy_before).as_secs_f64();
        Ok((rate, dumped as f64 / begin.elapsed().as_secs_f64()))
    }

    /// Begins to listen to what is told, or ends it.
    fn begin(&mut self, look: Look) -> anyhow::Result<()> {
        let (sender, receiver) = ring(EVENTS);
        let is_heard = look == Look::All;
        self.running.ask(Command::Listen(is_heard.then(|| Box::new(sender))))?;
        self.events = is_heard.then_some(receiver);
        // A network that no connection is of (RFC 5737).
        let few = Some(Prefix::new([192, 0, 2, 0].into(), 24));
        let filter = WatchFilter { source: few, destination_port: Some(443), ..WatchFilter::default() };
        let (watch, receiver) = watch(filter, SNAP_BYTES, PACKETS, BURST);
        self.running.ask(Command::Watch(0, look.captures().then(|| Box::new(watch))))?;
        self.packets = look.captures().then_some(receiver);
        Ok(())
    }
}

impl Running {
    fn list(&mut self, page: Box<Page<ListedEntry>>) -> anyhow::Result<Box<Page<ListedEntry>>> {
        match self.ask(Command::List(page))? {
            Answer::Listed(page) => Ok(page),
            other => bail!("the worker answers {other:?}"),
        }
    }
}

/// How long the worker's thread has been on a processor.
fn busy_time() -> anyhow::Result<Duration> {
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if fs::read_to_string(path.join("comm"))?.trim() == "worker" {
            let text = fs::read_to_string(path.join("schedstat"))?;
            let ns = text.split_whitespace().next().context("no time in schedstat")?;
            return Ok(Duration::from_nanos(ns.parse()?));
        }
    }
    bail!("there is no worker")
}

impl LookingCosts {
    /// The figures, by name.
    pub fn figures(&self) -> Vec<(&'static str, Option<f64>, &[f64])> {
        [
            ("looking_away_pps", &self.pps),
            ("looking_cost", &self.all),
            ("dump_cost", &self.dump),
            ("capture_cost", &self.capture),
            ("dumped_per_second", &self.dumped_per_second),
        ]
        .map(|(name, rounds)| (name, median(rounds), &rounds[..]))
        .to_vec()
    }
}
