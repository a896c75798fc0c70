//! What a worker reports when it is asked: entries, counters, ports in use, neighbours, log records.
//!
//! Whoever asks has made the memory, and the worker fills it as far as it goes: it neither allocates nor frees.

use std::net::IpAddr;

use sluice_conntrack::counters::Counters;
use sluice_conntrack::cut::{Change, Fate};
use sluice_conntrack::expectations::ExpectationId;
use sluice_conntrack::forward::MAX_PORTS;
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::listing::{EntrySnapshot, ExpectationSnapshot};
use sluice_conntrack::log::LogRecord;
use sluice_conntrack::nat::{PortBlock, SPACES};
use sluice_conntrack::replica::{MAX_RECORDS_OF_ONE, Record};
use sluice_conntrack::{Configuration, Instant, RuleCounters, Shard};

use crate::host::HostCounters;
use crate::link::Links;
use crate::neighbour::{AddressConflicts, NeighbourCounters, NeighbourSnapshot};
use crate::port::PortCounters;

/// Entries on a page of a listing, and records on a page of the log: as many as a burst has packets.
pub const PAGE: usize = 64;

/// Blocks on a page of ports in use. Each is some ten cache lines from memory, so that a page takes a worker a few tens of
/// microseconds at most.
pub const BLOCKS: usize = 32;

/// Slots of the table that are looked at for a sample of sources: each is some cache lines from memory, all together some tens of
/// microseconds.
pub const SAMPLED: usize = 256;

/// Slots of the neighbour cache on a page of neighbours: each is some cache lines from memory, too.
pub const NEIGHBOURS: usize = 256;

/// One page of a listing that a worker fills, which may have nothing on it and yet not be the last. What is there from
/// the first page to the last is listed once; what comes or goes meanwhile may be missing.
#[derive(Debug)]
pub struct Page<T> {
    cursor: u32,
    items: Vec<T>,
    next: Option<u32>,
}

/// What is listed page by page.
pub trait Listed {
    /// How many are on a page.
    const PAGE: usize;
    /// How many it has room for: what is listed by several is listed by all of them.
    const ROOM: usize = Self::PAGE;
}

/// An entry, and how others name it.
pub type ListedEntry = (EntryId, EntrySnapshot);

impl Listed for ListedEntry {
    const PAGE: usize = PAGE;
}

/// An entry that a change does something to, and what.
pub type ListedChange = (Fate, ListedEntry);

impl Listed for ListedChange {
    const PAGE: usize = PAGE;
}

/// An expectation, and how others name it.
pub type ListedExpectation = (ExpectationId, ExpectationSnapshot);

impl Listed for ListedExpectation {
    const PAGE: usize = PAGE;
}

/// A page of them is full when there are as many as on one of entries, and all of its last connection.
impl Listed for Record {
    const PAGE: usize = PAGE;
    const ROOM: usize = PAGE + MAX_RECORDS_OF_ONE;
}

impl Listed for NeighbourSnapshot {
    const PAGE: usize = NEIGHBOURS;
}

impl<T: Listed> Page<T> {
    /// The first page, to be filled.
    pub fn from_start() -> Self {
        Self::from(0)
    }

    /// The page that begins at a position of what is listed, to be filled.
    pub fn from(cursor: u32) -> Self {
        Self { cursor, items: Vec::with_capacity(T::ROOM), next: None }
    }

    /// Fills the page by `list`, which begins at a position, looks at so many at most, and says where to go on.
    fn fill_by(&mut self, list: impl FnOnce(u32, u32, &mut dyn FnMut(T)) -> Option<u32>) {
        let Self { cursor, items, next } = self;
        items.clear();
        let most = items.capacity().min(T::PAGE) as u32;
        *next = list(*cursor, most, &mut |item| items.push(item));
    }

    /// What is on the page.
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// The position where the page behind this one begins; `None` if this was the last.
    pub const fn next(&self) -> Option<u32> {
        self.next
    }

    /// The page behind this one, to be filled, in the same memory; `None` if this was the last.
    pub fn into_next(mut self: Box<Self>) -> Option<Box<Self>> {
        self.cursor = self.next.take()?;
        self.items.clear();
        Some(self)
    }
}

impl Page<ListedEntry> {
    pub(crate) fn filled(mut self: Box<Self>, shard: &Shard) -> Box<Self> {
        self.fill_by(|cursor, most, visit| shard.list(cursor, most, |id, entry| visit((id, entry))));
        self
    }
}

impl Page<ListedChange> {
    pub(crate) fn filled(mut self: Box<Self>, shard: &Shard, change: &Change) -> Box<Self> {
        self.fill_by(|cursor, most, visit| {
            shard.list_changed(change, cursor, most, |fate, id, entry| visit((fate, (id, entry))))
        });
        self
    }
}

impl Page<ListedExpectation> {
    pub(crate) fn filled(mut self: Box<Self>, shard: &Shard) -> Box<Self> {
        self.fill_by(|cursor, most, visit| {
            shard.list_expectations(cursor, most, |id, expectation| visit((id, expectation)))
        });
        self
    }
}

impl Page<Record> {
    pub(crate) fn filled(mut self: Box<Self>, shard: &Shard) -> Box<Self> {
        self.fill_by(|cursor, most, visit| shard.export_page(cursor, most, visit));
        self
    }
}

impl Page<NeighbourSnapshot> {
    pub(crate) fn fill(&mut self, links: &Links) {
        self.fill_by(|cursor, most, visit| links.list_neighbours(cursor, most, visit));
    }
}

/// What a worker's time went into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Nanoseconds in rounds that had packets.
    pub busy_ns: u64,
    /// Nanoseconds in rounds that had none.
    pub idle_ns: u64,
}

/// What a worker has counted since it began.
#[derive(Debug, Default)]
pub struct Stats {
    /// When this was.
    pub at: Instant,
    /// Entries in the table.
    pub entries: u32,
    /// What the shard has counted.
    pub counters: Counters,
    /// What each rule has come to.
    pub rules: RuleCounters,
    /// Tuples that belong to other shards and are steered to this one.
    pub signposts: u32,
    /// The worker's neighbour cache.
    pub neighbours: NeighbourCounters,
    /// Who else has an address of the box's, by the number of the port.
    pub conflicts: [AddressConflicts; MAX_PORTS],
    /// What passed each port, by number; zero where there is no port.
    pub ports: [PortCounters; MAX_PORTS],
    /// What passed the host side of each port, by number; zero where it has none.
    pub hosts: [HostCounters; MAX_PORTS],
    /// Packets that wait now: fragments for the rest of their datagram, others for an answer of another shard or a neighbour.
    pub held: u64,
    /// Packets handed off to other workers.
    pub handed_off: u64,
    /// What the worker's time went into.
    pub load: Load,
}

impl Stats {
    /// To be filled, with room for the counters of the rules of a configuration.
    pub fn new(configuration: &Configuration) -> Self {
        Self { rules: RuleCounters::new(configuration), ..Self::default() }
    }

    /// Fills in what the shard and its links have counted. The rest is the worker's.
    pub(crate) fn fill(&mut self, shard: &Shard, links: &Links) {
        self.at = shard.now();
        self.entries = shard.len();
        self.counters = shard.counters();
        self.rules.copy_from(shard.rule_counters());
        self.signposts = shard.signposts();
        for (counted, port) in self.ports.iter_mut().zip(links.ports.iter()) {
            *counted = port.counters;
        }
        for (counted, side) in self.hosts.iter_mut().zip(&links.hosts) {
            *counted = side.as_ref().map(|side| side.counters).unwrap_or_default();
        }
        self.neighbours = links.neighbours();
        self.conflicts = links.conflicts;
    }

    /// Adds what another worker has counted under the same configuration.
    pub fn add(&mut self, other: &Self) {
        let Self {
            at,
            entries,
            counters,
            rules,
            signposts,
            neighbours,
            conflicts,
            ports,
            hosts,
            held,
            handed_off,
            load,
        } = other;
        self.at = self.at.max(*at);
        self.entries += entries;
        self.counters.add(counters);
        self.rules.add(rules);
        self.signposts += signposts;
        self.neighbours.add(neighbours);
        self.conflicts.iter_mut().zip(conflicts).for_each(|(own, more)| own.add(more));
        self.ports.iter_mut().zip(ports).for_each(|(own, more)| own.add(*more));
        self.hosts.iter_mut().zip(hosts).for_each(|(own, more)| own.add(*more));
        self.held += held;
        self.handed_off += handed_off;
        self.load.busy_ns += load.busy_ns;
        self.load.idle_ns += load.idle_ns;
    }
}

/// Who has made some of the connections.
#[derive(Debug)]
pub struct SourceSample {
    phase: u32,
    sources: Vec<IpAddr>,
}

impl SourceSample {
    /// To be filled; another phase is a sample of others.
    pub fn new(phase: u32) -> Self {
        Self { phase, sources: Vec::with_capacity(SAMPLED) }
    }

    pub(crate) fn fill(&mut self, shard: &Shard) {
        let Self { phase, sources } = self;
        sources.clear();
        shard.sample_sources(SAMPLED as u32, *phase, |source| sources.push(source));
    }

    /// The original source of each.
    pub fn sources(&self) -> &[IpAddr] {
        &self.sources
    }
}

/// Blocks of ports, and how many of them a worker's connections use.
#[derive(Debug)]
pub struct PortsUsedPage {
    blocks: Vec<PortBlock>,
    used: Vec<[u32; SPACES]>,
}

impl PortsUsedPage {
    /// A page for these blocks, of which it takes [`BLOCKS`] at most, to be filled.
    pub fn new(blocks: &[PortBlock]) -> Self {
        let blocks: Vec<PortBlock> = blocks.iter().take(BLOCKS).cloned().collect();
        Self { used: Vec::with_capacity(blocks.len()), blocks }
    }

    pub(crate) fn fill(&mut self, shard: &Shard) {
        self.used.clear();
        self.used.extend(self.blocks.iter().map(|block| shard.ports_used(block)));
    }

    /// How many ports of each block are in use, in each space.
    pub fn used(&self) -> &[[u32; SPACES]] {
        &self.used
    }
}

/// Records of `log` rules.
#[derive(Debug)]
pub struct LogPage {
    records: Vec<LogRecord>,
}

impl LogPage {
    /// An empty page, to be filled.
    pub fn new() -> Self {
        Self { records: Vec::with_capacity(PAGE) }
    }

    pub(crate) fn fill(&mut self, shard: &mut Shard) {
        self.records.clear();
        let most = self.records.capacity().min(PAGE);
        let log = shard.log();
        self.records.extend(std::iter::from_fn(|| log.pop()).take(most));
    }

    /// The records, oldest first. A full page ([`PAGE`]) has more behind it.
    pub fn records(&self) -> &[LogRecord] {
        &self.records
    }
}

impl Default for LogPage {
    fn default() -> Self {
        Self::new()
    }
}
