//! The shard: everything one worker knows, owned by nobody else.

use crate::answer::Pace;
use crate::configuration::Configuration;
use crate::connection_counts::ConnectionCounts;
use crate::counters::Counters;
use crate::entries::Entries;
use crate::entry::Entry;
use crate::events::{EventSender, ExpectationSender};
use crate::exchange::Exchange;
use crate::expectations::{Claims, Expectations};
use crate::flows::Flows;
use crate::forward::{MacAddress, MacAddresses};
use crate::groups::Takeovers;
use crate::helpers::HelpTable;
use crate::ids::{EntryId, HelperId, PortId, ShardId};
use crate::index::Index;
use crate::installation::Installation;
use crate::limits::Limits;
use crate::listing::EntrySnapshot;
use crate::log::Log;
use crate::nat::{NatState, PortBlock, SPACES};
use crate::replica::{Adoption, Foreign, Teller};
use crate::rule_counters::RuleCounters;
use crate::steer::Steering;
use crate::synproxy::Cookies;
use crate::table::Table;
use crate::time::{Instant, Tick};
use crate::verdict::DropReason;
use crate::wheel::{self, Wheel};
use sluice_memory::Pages;
use std::sync::Arc;
use std::{io, mem};

/// Slots that one call of [`Shard::list`] looks at. A table that was full and has emptied has long runs of free ones;
/// each is a cache line from memory, so that this many take a worker less time than a burst of new connections.
pub const LISTED_SLOTS: u32 = 1024;

/// What a shard is made with and keeps for life.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Slots for entries.
    pub entries: u32,
    /// Key of the index, which must be random and secret outside of tests.
    pub seed: [u64; 4],
    /// The largest pages to use.
    pub pages: Pages,
}

/// One worker's table, timers and counters.
#[derive(Debug)]
pub struct Shard {
    /// Which connections are its own, and what is said to the others.
    pub(crate) exchange: Exchange,
    pub(crate) configuration: Arc<Configuration>,
    /// What the rules of that have come to.
    pub(crate) rule_counters: RuleCounters,
    /// Tells judgements of this configuration from older ones; never 0.
    pub(crate) generation: u16,
    /// What they come to.
    pub(crate) flows: Flows,
    /// Where to go on forgetting judgements of older ones.
    pub(crate) forgetting: Option<u32>,
    /// Its connections.
    pub(crate) table: Table,
    pub(crate) counters: Counters,
    pub(crate) log: Log,
    /// Who is told of connections that begin, change and end.
    pub(crate) listener: Option<Box<EventSender>>,
    /// Who is told what becomes of expectations.
    pub(crate) expectation_listener: Option<Box<ExpectationSender>>,
    /// What other boxes are yet to be told.
    pub(crate) teller: Option<Box<Teller>>,
    /// Which connections were installed.
    pub(crate) foreign: Foreign,
    /// The groups that the box has become active for of late, and their connections which are yet to become its own.
    pub(crate) takeovers: Takeovers,
    pub(crate) adoption: Adoption,
    /// What it keeps of the connections that helpers read.
    pub(crate) help: HelpTable,
    /// What it keeps of translations.
    pub(crate) nat: NatState,
    /// What is expected, here and by others.
    pub(crate) expectations: Expectations,
    /// The link-layer addresses of the ports, as far as the box is a host on their links.
    pub(crate) macs: MacAddresses,
    /// The pace of the box's answers, and the SYN cookies that it gives out.
    pub(crate) pace: Arc<Pace>,
    pub(crate) cookies: Cookies,
    /// What has been taken of the limits of its rules.
    pub(crate) limits: Arc<Limits>,
    /// How many connections its rules count.
    pub(crate) connection_counts: Arc<ConnectionCounts>,
    /// The latest time seen: time never runs backwards here.
    pub(crate) now: Instant,
    /// All that was due by then has ended.
    expired_by: Instant,
}

impl Shard {
    /// An empty shard at `now`, the only one of its box.
    ///
    /// # Errors
    /// When the host has not enough memory for `capacity`, or when that is more than a shard can number.
    pub fn new(
        capacity: Capacity,
        configuration: impl Into<Arc<Configuration>>,
        now: Instant,
    ) -> io::Result<Self> {
        if capacity.entries >= wheel::MAX_TIMERS {
            let text = format!("a shard holds less than {} entries", wheel::MAX_TIMERS);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let Installation { configuration, rule_counters, pools, .. } = Installation::new(configuration);
        let slots = index_slots(capacity.entries, &configuration);
        let claims = Arc::new(Claims::new(1, capacity.entries)?);
        let expectations = Expectations::new(claims, &Steering::single(), capacity.seed, Tick::at(now))?;
        Ok(Self {
            exchange: Exchange::new(capacity.entries, capacity.seed)?,
            configuration,
            rule_counters,
            generation: 1,
            flows: Flows::new(capacity.seed),
            forgetting: None,
            table: Table::new(capacity.entries, slots, capacity.seed, capacity.pages, Tick::at(now))?,
            counters: Counters::default(),
            log: Log::default(),
            listener: None,
            expectation_listener: None,
            teller: None,
            foreign: Foreign::new(capacity.entries)?,
            takeovers: Takeovers::default(),
            adoption: Adoption::default(),
            help: HelpTable::new(capacity.entries)?,
            expectations,
            nat: NatState::new(capacity.entries, capacity.seed, pools)?,
            macs: MacAddresses::default(),
            pace: Arc::default(),
            cookies: Cookies::new(capacity.seed),
            limits: Arc::default(),
            connection_counts: Arc::new(ConnectionCounts::new(capacity.entries, capacity.seed)?),
            now,
            expired_by: now,
        })
    }

    /// Bytes of each arena that a shard with room for so many entries takes and touches when it is made.
    pub fn arena_bytes(entries: u32, configuration: &Configuration) -> [usize; 3] {
        let [hot, cold] = Entries::arena_bytes(entries);
        [hot, cold, Index::arena_bytes(index_slots(entries, configuration))]
    }

    /// Makes it one of several, all with as much room: what is another's is handed off, and limits of the box are shared.
    ///
    /// # Errors
    /// When the host refuses address space.
    pub fn with_steering(mut self, steering: Steering) -> io::Result<Self> {
        self.exchange.join(steering, self.table.entries.capacity())?;
        let claims = Claims::new(steering.shards(), self.table.entries.capacity())?;
        self.with_claims(Arc::new(claims))
    }

    /// Makes its expectations ones that are met once in the whole box, whose shards all have these claims, as it is made.
    ///
    /// # Errors
    /// When the host refuses address space.
    pub fn with_claims(mut self, claims: Arc<Claims>) -> io::Result<Self> {
        self.expectations.join(claims, &self.exchange.steering)?;
        Ok(self)
    }

    /// Makes its answers keep this pace, and its rules these limits: they are those of all shards of the box.
    #[must_use]
    pub fn with_pace(mut self, pace: Arc<Pace>, limits: Arc<Limits>) -> Self {
        (self.pace, self.limits) = (pace, limits);
        self
    }

    /// Has new connections draw addresses and ports by a secret key that the shards after it have, too, as all of its box do.
    #[must_use]
    pub fn with_nat_key(mut self, key: [u64; 4]) -> Self {
        self.nat.set_key(key);
        self
    }

    /// Makes a routed box a host on the link of a port: what is sent there to another link-layer address is not for the box.
    pub fn join_link(&mut self, port: PortId, mac: MacAddress) {
        self.macs.set(port, mac);
    }

    /// Which connections are its own.
    pub const fn steering(&self) -> &Steering {
        &self.exchange.steering
    }

    /// Puts a configuration in force and leaves the old one in its place, with what its rules have come to. Entries stay, and
    /// each connection is judged anew at its next packet; only masqueraded ones whose address the box has lost end, as
    /// [`Self::expire`] comes to them. It also comes to those that use ports of addresses which are new in the configuration,
    /// whose pools do not count them yet.
    pub fn configure(&mut self, next: &mut Installation) {
        next.rule_counters.go_on(&self.rule_counters, &next.kept);
        mem::swap(&mut self.rule_counters, &mut next.rule_counters);
        self.reroute(next);
    }

    /// The same with a configuration that differs from the present one in routes, addresses and neighbours, or in what its sets hold,
    /// alone: what its rules have come to goes on.
    pub fn reroute(&mut self, next: &mut Installation) {
        self.begin_generation();
        mem::swap(&mut self.configuration, &mut next.configuration);
        self.nat.replace_pools(&mut next.pools);
        self.sweep_after(&next.configuration.forwarding);
    }

    /// Puts a configuration in force that differs from the present one in its timeouts, or in which helpers are switched on, alone,
    /// and gives that back. They hold for an entry from its next packet on; counters go on, and what was judged stays judged.
    pub const fn amend(&mut self, configuration: Arc<Configuration>) -> Arc<Configuration> {
        mem::replace(&mut self.configuration, configuration)
    }

    /// The configuration in force.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// What its rules have come to.
    pub const fn rule_counters(&self) -> &RuleCounters {
        &self.rule_counters
    }

    /// How many ports of a block the shard's connections use, in each space.
    pub fn ports_used(&self, block: &PortBlock) -> [u32; SPACES] {
        self.nat.pools().used(block)
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        // Those of the box are counted together: its first shard tells how many they are.
        let is_first = self.steering().own() == ShardId(0);
        let claims = self.expectations.claims();
        let of_box = |count: u32| if is_first { u64::from(count) } else { 0 };
        Counters {
            entries: *self.table.gauges(),
            sweeps: u64::from(self.nat.sweep.is_some()),
            standby_entries: u64::from(self.foreign()),
            dirty_entries: self.teller().map_or(0, |teller| u64::from(teller.dirty())),
            ends_lost: self.teller().map_or(0, Teller::ends_lost),
            expectations: of_box(claims.len()),
            helper_expectations: HelperId::ALL.map(|helper| of_box(claims.len_of(helper))),
            ..self.counters.clone()
        }
    }

    /// Counts drops that a worker finds out about when the verdicts have been given: a full transmit queue, a port
    /// that there is not.
    pub const fn count_drops(&mut self, reason: DropReason, packets: u64) {
        self.counters.drops[reason as usize] += packets;
    }

    /// Counts a packet that was delivered to the box itself.
    pub(crate) const fn count_delivery(&mut self) {
        self.counters.delivered += 1;
    }

    /// The latest time that the shard was told.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The records of `log` rules.
    pub const fn log(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Entries in the table.
    pub const fn len(&self) -> u32 {
        self.table.entries.len()
    }

    /// Whether the table is empty.
    pub const fn is_empty(&self) -> bool {
        self.table.entries.is_empty()
    }

    /// Bytes of memory for entries, index, timers and ports, all told.
    pub fn memory_bytes(&self) -> usize {
        let maps = self.exchange.memory_bytes() + self.nat.memory_bytes();
        self.table.memory_bytes() + maps + size_of::<Self>()
    }

    /// The pages that the entries lie on.
    pub const fn pages(&self) -> Pages {
        self.table.entries.pages()
    }

    /// Most entries allowed now: its share of what the box may have.
    pub(crate) fn limit(&self) -> u32 {
        self.steering().share(self.configuration.settings.max_entries).min(self.table.entries.capacity())
    }

    /// Moves the clock and ends what has come to its time, at most `budget` steps of it: slots of the wheel and
    /// entries on them. Looks at as many entries for those that a lost address or a bulk ends or a
    /// takeover makes its own, and for old judgements. False when there is
    /// more to do.
    pub fn expire(&mut self, now: Instant, budget: u32) -> bool {
        self.advance(now);
        let swept = self.nat.sweep.is_none() || self.go_on_sweeping(budget);
        let forgotten = self.forgetting.is_none() || self.go_on_forgetting(budget);
        let faded = self.foreign.sweep.is_none() || self.go_on_fading(budget);
        let adopted = self.adoption.is_done() || self.go_on_adopting(budget);
        self.expire_until(self.now, budget) && swept && forgotten && faded && adopted
    }

    /// Ends what is due at `by`, at most `budget` steps of it. False when there is more to do.
    fn expire_until(&mut self, by: Instant, mut budget: u32) -> bool {
        let tick = Tick::at(by);
        while self.end_expired(tick, &mut budget) {}
        let done = self.end_expired_expectations(tick, &mut budget) && self.table.wheel.is_done(tick);
        if done {
            self.expired_by = by;
        }
        done
    }

    /// Moves the clock. The wheel must not fall behind further than the 32-bit tick can tell, be it that the clock
    /// leaps, as between two packets of an old capture, or that nobody has asked for expiry in a long time: it
    /// then catches up in steps, each of which ends what is due.
    pub(crate) fn advance(&mut self, now: Instant) {
        const STEP: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
        self.now = self.now.max(now);
        while self.now.since(self.expired_by) > STEP {
            if self.is_empty() && self.expectations.is_empty() {
                // Nothing can be due: cross the rest at once.
                self.expired_by = self.now;
                self.table.wheel = Wheel::new(Tick::at(self.now));
                self.expectations.skip_to(Tick::at(self.now));
            } else {
                self.expire_until(self.expired_by.after(STEP), u32::MAX);
            }
        }
    }

    /// The entry of that name, if it lives.
    pub fn entry(&self, id: EntryId) -> Option<&Entry> {
        self.table.entries.get(id)
    }

    /// Walks the table from the slot `cursor`, at most `most` entries and [`LISTED_SLOTS`]; gives the slot to go
    /// on from, which may come without any entry, or `None` at the end. Entries that have expired are passed over.
    pub fn list(&self, cursor: u32, most: u32, mut visit: impl FnMut(EntryId, EntrySnapshot)) -> Option<u32> {
        let now = Tick::at(self.now);
        let mut next = self.table.entries.next_index(cursor);
        let mut visited = 0;
        for _ in 0..LISTED_SLOTS {
            let Some(index) = next.filter(|_| visited < most) else { break };
            let entry = self.table.entries.at(index);
            if entry.is_used() && !entry.deadline.is_due(now) {
                visit(self.table.entries.id(index), self.snapshot(index));
                visited += 1;
            }
            next = self.table.entries.next_index(index + 1);
        }
        next
    }

    /// An entry as listings show it.
    #[inline]
    pub(crate) fn snapshot(&self, index: u32) -> EntrySnapshot {
        let entries = &self.table.entries;
        // It is large, and a listing makes many: it is made where it stays.
        let mut snapshot = EntrySnapshot::of(
            entries.at(index),
            entries.cold(index),
            entries.tuples(index),
            &self.configuration.settings,
            self.now,
        );
        if let Some(extension) = self.table.extension(index) {
            snapshot.helper = extension.assigned().map(|assigned| assigned.helper.name());
            snapshot.seqadj = self.help.seqadj(extension.help);
        }
        if let Some(child) = self.table.child(index) {
            snapshot.master = Some(child.expectation.master);
        }
        snapshot.uses += self.expectations.claims().children(self.steering().own(), entries.id(index));
        snapshot.is_standby = self.is_foreign(index);
        snapshot
    }
}

/// Slots of the index: a translated entry has two.
fn index_slots(entries: u32, configuration: &Configuration) -> u32 {
    if configuration.nat.is_empty() { entries } else { entries.saturating_mul(2) }
}
