//! The replay itself: prepared captures through net_pcap devices and the workers, in the order of their stamps.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dpdk::{Burst, Device, Eal, EalOptions, Mbuf, Mempool, MempoolOptions, Port, PortOptions};
use sluice_conntrack::answer::Pace;
use sluice_conntrack::connection_counts::ConnectionCounts;
use sluice_conntrack::counters::Counters;
use sluice_conntrack::expectations::Claims;
use sluice_conntrack::forward::MacAddress;
use sluice_conntrack::limits::Limits;
use sluice_conntrack::{Capacity, Configuration, Instant, PortId, Shard, ShardId, Steering};
use sluice_engine::{OpenPort, Vlan};
use sluice_memory::Pages;

use super::helped::Helped;
use super::input::{Input, Stamp};
use super::trace::{Packet, Trace};
use super::workers::Workers;
use super::{Failure, progress};

/// The longest frame of several segments that net_pcap writes whole (`RTE_ETH_PCAP_SNAPLEN`).
const MAX_CHAIN_BYTES: usize = 16_128;

/// Segments for longer frames: the longest there can be.
const LARGE_SEGMENT_BYTES: u16 = u16::MAX - 128;

/// The key of the index, always the same, so that runs repeat.
const SEED: [u64; 4] = [1, 2, 3, 4];

/// Slots for entries, at least, so that few entries do not crowd a tiny index.
const MIN_ENTRIES: u32 = 1 << 16;

/// What packets of an interface come and go by.
#[derive(Debug)]
pub enum Interface {
    /// By captures of its own: this comes in.
    Capture(Input),
    /// By those of another interface, with tags.
    Vlan(Vlan),
}

impl Interface {
    /// What comes in by captures of its own.
    const fn input(&self) -> Option<&Input> {
        match self {
            Self::Capture(input) => Some(input),
            Self::Vlan(_) => None,
        }
    }
}

/// What came of a replay.
#[derive(Debug)]
pub struct Played {
    /// The shards as of the last packet.
    pub shards: Vec<Shard>,
    /// Packets that came in, by port that has captures.
    pub received: Vec<u64>,
    /// Packets that had not come to their end when the last had been received.
    pub held: usize,
    /// The stamps of the packets that went out, by port that has captures, answers of the box among them.
    pub sent_ns: Vec<Vec<u64>>,
    /// Nanoseconds from the first packet to the last.
    pub span_ns: u64,
}

impl Played {
    /// Entries as of the last packet. A shard's own number may count some that have expired and are not yet swept.
    pub fn entries(&self) -> u64 {
        let mut entries = 0;
        for shard in &self.shards {
            let mut next = Some(0);
            while let Some(cursor) = next {
                next = shard.list(cursor, u32::MAX, |_, _| entries += 1);
            }
        }
        entries
    }

    /// What all shards have counted.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        self.shards.iter().for_each(|shard| counters.add(&shard.counters()));
        counters
    }
}

/// Replays what comes in by these interfaces, and leaves what goes out in `work` ([`output`]).
pub fn play(
    interfaces: Vec<Interface>,
    configuration: &Arc<Configuration>,
    workers: u16,
    work: &Path,
    mut trace: Option<Trace>,
) -> Result<Played, Failure> {
    let inputs = || interfaces.iter().filter_map(Interface::input);
    let packets: u64 = inputs().map(|input| input.stamps.len() as u64).sum();
    let first_ns = inputs().flat_map(|input| input.stamps.first()).map(|stamp| stamp.time_ns).min();
    let first_ns = first_ns.unwrap_or_default();
    let (pace, limits) = (Arc::<Pace>::default(), Arc::<Limits>::default());
    let entries = entries(configuration, &Steering::single(), packets);
    let no_memory = |error| Failure::new(format!("no memory for expectations and counts: {error}"));
    let claims = Arc::new(Claims::new(workers, entries).map_err(no_memory)?);
    let counts = Arc::new(ConnectionCounts::new(entries, [1, 2, 3, 4]).map_err(no_memory)?);
    let shard = |number| {
        let shard = shard(configuration, number, workers, packets, first_ns)?;
        let shard = shard.with_pace(Arc::clone(&pace), Arc::clone(&limits));
        let shard = shard.with_connection_counts(Arc::clone(&counts));
        shard.with_claims(Arc::clone(&claims)).map_err(no_memory)
    };
    let shards = (0..workers).map(shard).collect::<Result<_, _>>()?;
    // A replay needs no huge pages, and so no rights and no set-up.
    let eal = Eal::init(&EalOptions { huge_pages: false, ..EalOptions::default() })?;
    let (ports, open, pool) = open(&eal, &interfaces, work)?;
    let mut all = Workers::new(shards, open, pool);

    let has_captures: Vec<bool> = interfaces.iter().map(|interface| interface.input().is_some()).collect();
    let mut received = vec![0; interfaces.len()];
    let mut sent_ns: Vec<Vec<u64>> = vec![Vec::new(); interfaces.len()];
    let mut feeds: Vec<Feed> = (0..).map(PortId).zip(interfaces).filter_map(Feed::new).collect();
    let mut last_ns = first_ns;
    let mut helped = Helped::default();
    let bar = progress("Replaying", packets, "{pos} of {len} packets");
    for number in 1..=packets {
        let Some(feed) = earliest(&mut feeds) else { break };
        let Some(stamp) = feed.take_stamp() else { break };
        last_ns = last_ns.max(stamp.time_ns);
        let port = feed.port;
        received[usize::from(port.0)] += 1;
        let now = Instant::from_ns(last_ns);
        // What has expired is gone before the packet comes.
        all.expire(now);
        if trace.is_some() {
            helped.begin(&all);
        }
        let (shard, verdict) = if stamp.cut {
            all.refuse_truncated()
        } else {
            let mbuf = feed.take_mbuf(&mut all)?;
            // A NIC that spreads packets by something else than steering does.
            let first = ShardId((number % u64::from(workers)) as u16);
            all.process(now, port, first, mbuf)
        };
        for (sent_ns, sent) in sent_ns.iter_mut().zip(all.sent()) {
            sent_ns.resize(*sent as usize, stamp.time_ns);
        }
        if let Some(trace) = &mut trace {
            let (helpers, expects) = helped.end(&all);
            trace.write(&Packet { number, port, stamp, shard, verdict, helpers, expects })?;
        }
        if number % 4096 == 0 {
            bar.set_position(number);
        }
    }
    bar.finish_and_clear();
    if let Some(trace) = trace {
        trace.finish()?;
    }
    // net_pcap writes the rest of its files as it closes.
    let held = all.held();
    let shards = all.into_shards();
    for port in ports {
        port.close()?;
    }
    let (received, sent_ns) = (of_captures(received, &has_captures), of_captures(sent_ns, &has_captures));
    Ok(Played { shards, received, held, sent_ns, span_ns: last_ns - first_ns })
}

/// What there is of each port, of those that have captures.
fn of_captures<T>(by_port: Vec<T>, has_captures: &[bool]) -> Vec<T> {
    by_port.into_iter().zip(has_captures).filter(|(_, has)| **has).map(|(of_port, _)| of_port).collect()
}

/// Where the device of a port writes what goes out: by its number among those that have captures.
pub fn output(work: &Path, port: usize) -> PathBuf {
    work.join(format!("{port}.out.pcap"))
}

/// One shard of so many, as large as these packets can make it, within its share of the configuration's limit.
fn shard(
    configuration: &Arc<Configuration>,
    number: u16,
    workers: u16,
    packets: u64,
    first_ns: u64,
) -> Result<Shard, Failure> {
    let steering = Steering::new(ShardId(number), workers).ok_or_else(|| Failure::new("too many workers"))?;
    let entries = entries(configuration, &steering, packets);
    let capacity = Capacity { entries, seed: SEED, pages: Pages::Transparent };
    Shard::new(capacity, Arc::clone(configuration), Instant::from_ns(first_ns))
        .and_then(|shard| shard.with_steering(steering))
        .map_err(|error| Failure::new(format!("no memory for {entries} entries: {error}")))
}

/// Room for all entries that so many packets can make, within the shard's share of the configuration's limit.
fn entries(configuration: &Configuration, steering: &Steering, packets: u64) -> u32 {
    let enough = u32::try_from(packets.saturating_mul(2)).unwrap_or(u32::MAX).max(MIN_ENTRIES);
    steering.share(configuration.settings.max_entries).min(enough)
}

/// A running port and its queues, for each port.
type OpenPorts = (Vec<Port>, Vec<OpenPort>, Mempool);

/// Starts a net_pcap device for each port that has captures.
fn open(eal: &Eal, interfaces: &[Interface], work: &Path) -> Result<OpenPorts, Failure> {
    let mut inputs = interfaces.iter().filter_map(Interface::input);
    let pool_options = match inputs.any(|input| input.longest > MAX_CHAIN_BYTES) {
        false => MempoolOptions::default(),
        true => MempoolOptions {
            mbufs: 2047,
            cache: 0,
            segment_bytes: LARGE_SEGMENT_BYTES,
            ..MempoolOptions::default()
        },
    };
    let pool = Mempool::new(eal, "packets", &pool_options)?;
    let mut ports = Vec::new();
    let mut open = Vec::new();
    for interface in interfaces {
        let input = match interface {
            Interface::Capture(input) => input,
            // Nobody asks for the link-layer address of a box that is no host on its links.
            Interface::Vlan(vlan) => {
                open.push(OpenPort::of_vlan(*vlan, MacAddress::default()));
                continue;
            }
        };
        let number = ports.len();
        let (rx, tx) = (input.path.display(), output(work, number));
        let arguments = format!("vdev:net_pcap{number},rx_pcap={rx},tx_pcap={}", tx.display());
        let (port, rx, tx) = Port::start(Device::attach(eal, &arguments)?, &PortOptions::default(), &pool)?;
        open.push(OpenPort::of_port(&port, rx, tx));
        ports.push(port);
    }
    Ok((ports, open, pool))
}

/// The packets of one port on their way in.
struct Feed {
    port: PortId,
    source: usize,
    stamps: std::iter::Peekable<std::vec::IntoIter<Stamp>>,
    waiting: VecDeque<Mbuf>,
}

impl Feed {
    fn new((port, interface): (PortId, Interface)) -> Option<Self> {
        let Interface::Capture(Input { source, stamps, .. }) = interface else { return None };
        Some(Self {
            port,
            source,
            stamps: stamps.into_iter().peekable(),
            waiting: VecDeque::with_capacity(Burst::CAPACITY),
        })
    }

    fn take_stamp(&mut self) -> Option<Stamp> {
        self.stamps.next()
    }

    fn take_mbuf(&mut self, workers: &mut Workers) -> Result<Mbuf, Failure> {
        if self.waiting.is_empty() {
            self.waiting.extend(workers.receive(self.port).drain());
        }
        self.waiting.pop_front().ok_or_else(|| Failure::new("net_pcap has read less than the captures hold"))
    }
}

/// The feed whose packet is next: the earliest; of two at the same time, the one named first on the command line. Two
/// sides of one capture keep its order.
fn earliest(feeds: &mut [Feed]) -> Option<&mut Feed> {
    let split = feeds.iter().filter(|feed| feed.source == 0).count() > 1;
    let waiting = feeds.iter_mut().filter_map(|feed| {
        let stamp = *feed.stamps.peek()?;
        let key = if split { (0, u64::from(stamp.record)) } else { (stamp.time_ns, feed.source as u64) };
        Some((key, feed))
    });
    waiting.min_by_key(|(key, _)| *key).map(|(_, feed)| feed)
}
