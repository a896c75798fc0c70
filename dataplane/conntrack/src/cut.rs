//! Which open connections a configuration cuts that takes the place of another one, and why.
//!
//! That is found out without changing anything, by the rules that the packets themselves will meet: the sweep's
//! ([`crate::sweep`]) and the policy's. A connection that did not pass before is not cut. What stays open keeps its
//! translation, whatever the rules of NAT say now: which would get another one today is [`Fate::StaleNat`] (`stale_nat.rs`).

use crate::configuration::Configuration;
use crate::connection_counts::Counter;
use crate::entry::{Entry, Status};
use crate::facts::{Connection, Facts};
use crate::forward::{Egress, Forwarding, MAX_PORTS};
use crate::ids::{EntryId, PortId};
use crate::limits::Limiter;
use crate::listing::EntrySnapshot;
use crate::policy::Outcome;
use crate::shard::{LISTED_SLOTS, Shard};
use crate::time::Tick;
use crate::track::unanswered;
use crate::tuple::{Direction, Tuple, protocol};
use crate::verdict::State;
use crate::wire::tcp::Flags;
use arrayvec::ArrayVec;
use std::sync::Arc;

/// Rules that one call of [`Shard::list_changed`] walks past, about: as much work as a burst of new connections.
const WALKED_RULES: u32 = 2048;

/// Why packets of a connection do not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cut {
    /// It is masqueraded as an address that the box does not have any more, or came in by one: it ends at once.
    LostAddress,
    /// It is masqueraded and leaves by another interface than before: it ends with its next packet, as in Linux.
    RouteChanged,
    /// There is no route for its packets.
    NoRoute,
    /// Its packets are of another zone, where nothing is known of it.
    Zone,
    /// Its packets are not tracked any more, nor translated.
    Untracked,
    /// The policy drops its next packet.
    Policy,
}

impl Cut {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::LostAddress, Self::RouteChanged, Self::NoRoute, Self::Zone, Self::Untracked, Self::Policy];

    /// The label in listings and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::LostAddress => "lost-address",
            Self::RouteChanged => "route-changed",
            Self::NoRoute => "no-route",
            Self::Zone => "zone",
            Self::Untracked => "untracked",
            Self::Policy => "policy",
        }
    }
}

/// What a change does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It cuts it.
    Cut(Cut),
    /// It goes on with a translation, or without one, that it would not get if it began now.
    StaleNat,
}

impl Fate {
    /// The label in listings.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cut(cut) => cut.label(),
            Self::StaleNat => "stale-nat",
        }
    }
}

/// A configuration that takes the place of another one.
#[derive(Clone, Debug)]
pub struct Change {
    pub(crate) before: Arc<Configuration>,
    pub(crate) after: Arc<Configuration>,
    /// Whether packets may meet something else than before.
    may_cut: bool,
    /// Whether first packets may be translated otherwise than before, and anybody asks for that.
    may_translate_otherwise: bool,
}

impl Change {
    /// From one to another, whose ports are the same. Compares them, which takes a while where there are many routes.
    pub fn new(before: Arc<Configuration>, after: Arc<Configuration>) -> Self {
        let may_cut = before.forwarding != after.forwarding
            || before.policy != after.policy
            || before.zones != after.zones;
        Self { before, after, may_cut, may_translate_otherwise: false }
    }

    /// Has connections told, too, that would be translated otherwise if they began now.
    #[must_use]
    pub fn with_stale_nat(mut self) -> Self {
        let [before, after] = [&self.before.nat, &self.after.nat];
        let translates = !(before.is_empty() && after.is_empty());
        // Which rule a connection is for may depend on its way, and on the mark that the policy gives.
        self.may_translate_otherwise = translates && (self.may_cut || before != after);
        self
    }

    /// Whether a connection may get another translation than before, and anybody asks for that.
    pub(crate) const fn may_translate_otherwise(&self) -> bool {
        self.may_translate_otherwise
    }

    /// Whether it may cut anything. Where it does not, no entry needs to be looked at.
    pub const fn may_cut(&self) -> bool {
        self.may_cut
    }

    /// Entries that are looked at between two bursts, at most.
    fn entries_at_once(&self) -> u32 {
        let rules =
            |it: &Configuration| it.policy.rules.len() + it.nat.source().len() + it.nat.destination().len();
        let rules = rules(&self.before) + rules(&self.after);
        (WALKED_RULES / (rules as u32).max(1)).max(1)
    }
}

impl Shard {
    /// Looks for connections that a change does something to from the slot `cursor` on, at `most` entries and [`LISTED_SLOTS`] at most.
    /// Gives the slot to go on from, or `None` at the end.
    pub fn list_changed(
        &self,
        change: &Change,
        cursor: u32,
        most: u32,
        mut visit: impl FnMut(Fate, EntryId, EntrySnapshot),
    ) -> Option<u32> {
        if !(change.may_cut || change.may_translate_otherwise) {
            return None;
        }
        let (now, most) = (Tick::at(self.now), most.min(change.entries_at_once()));
        let mut next = self.table.entries.next_index(cursor);
        let mut looked_at = 0;
        for _ in 0..LISTED_SLOTS {
            let Some(index) = next.filter(|_| looked_at < most) else { break };
            let entry = self.table.entries.at(index);
            if entry.is_used() && !entry.deadline.is_due(now) {
                looked_at += 1;
                if let Some(fate) = self.fate(index, change) {
                    visit(fate, self.table.entries.id(index), self.snapshot(index));
                }
            }
            next = self.table.entries.next_index(index + 1);
        }
        next
    }

    fn fate(&self, index: u32, change: &Change) -> Option<Fate> {
        let is_stale = || self.gets_stale(index, change).then_some(Fate::StaleNat);
        self.cut(index, change).map(Fate::Cut).or_else(is_stale)
    }

    fn cut(&self, index: u32, change: &Change) -> Option<Cut> {
        if !change.may_cut {
            return None;
        }
        if self.has_lost_address(index, &change.after.forwarding) {
            return Some(Cut::LostAddress);
        }
        [Direction::Original, Direction::Reply].into_iter().find_map(|direction| {
            let by = |configuration, port| self.cut_by(configuration, index, direction, port);
            let ports = self.ways_in(index, direction, &change.before.forwarding);
            let mut cuts = ports.into_iter().filter(|port| by(&change.before, *port).is_none());
            let first = by(&change.after, cuts.next()?)?;
            cuts.all(|port| by(&change.after, port).is_some()).then_some(first)
        })
    }

    /// The ports by which packets of a direction may come in: that for which they were judged, else all that forwarding allows.
    pub(crate) fn ways_in(
        &self,
        index: u32,
        direction: Direction,
        forwarding: &Forwarding,
    ) -> ArrayVec<PortId, MAX_PORTS> {
        let judged = &self.table.entries.at(index).judged;
        let way = direction as usize;
        if judged.flow[way] != 0 {
            return ArrayVec::from_iter([PortId(judged.ingress[way])]);
        }
        let answer = self.table.entries.tuple(index, direction.invert());
        forwarding.ways_in(&answer, self.table.entries.tuple(index, direction).src)
    }

    /// Why the next packet of a direction does not pass by a configuration; `None` where it does.
    fn cut_by(
        &self,
        configuration: &Configuration,
        index: u32,
        direction: Direction,
        ingress: PortId,
    ) -> Option<Cut> {
        let tuple = self.table.entries.tuple(index, direction);
        let translated = self.table.entries.tuple(index, direction.invert()).invert();
        let mut facts = Self::facts_of_next(&tuple, ingress);
        let zone = configuration.policy.zone(&facts).unwrap_or(configuration.zone_of(ingress));
        if zone != tuple.selector.zone() {
            return Some(Cut::Zone);
        }
        facts.zone = zone;
        if configuration.policy.is_untracked(&facts) {
            return Some(Cut::Untracked);
        }
        let Some(Egress { port: egress, .. }) =
            configuration.forwarding.way_out(ingress, &tuple, translated.dst)
        else {
            return Some(Cut::NoRoute);
        };
        self.see_connection(index, direction, &mut facts);
        facts.egress = Some(egress);
        facts.set_destination(translated.dst, Some(translated.selector.dport()));
        let limiter = Limiter { limits: &self.limits, now: self.now, again: true };
        let mut counted = self.table.counted(index);
        let mut counter = Counter::looking(&self.connection_counts, &mut counted);
        let decision = configuration.policy.judge(&mut facts, &limiter, &mut counter).decision;
        if matches!(configuration.policy.outcome(decision).0, Outcome::Drop | Outcome::Reject) {
            return Some(Cut::Policy);
        }
        let is_elsewhere = direction == Direction::Original
            && !egress.is_local()
            && self.is_masqueraded_elsewhere(index, egress, &configuration.forwarding);
        is_elsewhere.then_some(Cut::RouteChanged)
    }

    /// What a direction's next packet shows before it is tracked, which is one in the midst of its connection.
    fn facts_of_next(tuple: &Tuple, ingress: PortId) -> Facts {
        let protocol = tuple.protocol();
        Facts {
            state: None,
            ingress,
            egress: None,
            family: tuple.family(),
            source: tuple.src,
            destination: tuple.dst,
            protocol,
            source_port: tuple.selector.sport(),
            destination_port: tuple.selector.dport(),
            tcp_flags: if protocol == protocol::TCP { Flags::ACK.bits() } else { 0 },
            zone: tuple.selector.zone(),
            connection: None,
        }
    }

    /// What is known of it when it is tracked.
    fn see_connection(&self, index: u32, direction: Direction, facts: &mut Facts) {
        let Entry { mark, status, .. } = *self.table.entries.at(index);
        let is_answered = direction == Direction::Reply || status.contains(Status::SEEN_REPLY);
        let helper = self.table.child(index).and_then(|child| child.expectation.helper());
        facts.state = Some(if is_answered { State::Established } else { unanswered(status) });
        facts.connection = Some(Connection { direction, mark, status, helper });
    }
}
