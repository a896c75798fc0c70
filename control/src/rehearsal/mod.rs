//! What would happen: a box without devices, whose clock its caller moves.
//!
//! The shard and the dispatcher are those that a worker runs, with one rule more: the first of the policy logs every packet, so that it is
//! known what the rules saw of each. What comes in is frames; what comes of one is a [`Came`].

mod conversations;
mod names;
mod outcome;
mod outside;
mod subject;

use std::sync::Arc;
use std::time::Duration;

use sluice_conntrack::dispatch::Dispatcher;
use sluice_conntrack::facts::Facts;
use sluice_conntrack::groups::{GroupSet, Role};
use sluice_conntrack::ids::RuleId;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::policy::{Match, Rule, RuleAction};
use sluice_conntrack::replica::{Connection, Installing, Origin, Record};
use sluice_conntrack::{
    Capacity, Configuration, DropReason, Instant, PortId, RuleCounters, Shard, State, Verdict,
};
use sluice_memory::Pages;

use crate::packet::{self, Content, Spoken};
use conversations::Conversations;
pub use names::{Named, Names};
pub use outcome::{Ends, Outcome, Word, end};
use outside::Outside;
pub use outside::Sent;
pub use subject::Subject;

/// Room for entries, where the configuration allows more.
const ENTRIES: u32 = 1 << 13;

/// The key of index and NAT: always the same, so that runs repeat.
const SEED: [u64; 4] = [1, 2, 3, 4];

/// The rule that is in front of those of the configuration.
const PROBE: RuleId = RuleId(0);

/// A box, its table and its time.
#[derive(Debug)]
pub struct Rehearsal {
    shard: Shard,
    dispatcher: Dispatcher<(PortId, Vec<u8>)>,
    now: Instant,
    conversations: Conversations,
}

/// What has come of a packet.
#[derive(Clone, Debug)]
pub struct Came {
    /// The frame that came in, or the first of them.
    pub frame: Vec<u8>,
    /// The port that it came in by.
    pub ingress: PortId,
    /// In how many fragments, 1 where it is whole.
    pub fragments: usize,
    /// Whether it was taken for the first packet of a connection.
    pub is_first: bool,
    /// What was decided, the rule by its number in the configuration; of a datagram that came in fragments, with the last of them.
    pub verdict: Verdict,
    /// What the policy saw; `None` where it was not asked.
    pub facts: Option<Facts>,
    /// The rules of NAT, by number, that its connection was bound by with this packet.
    pub bound: Bound,
    /// What has left: the packet, its fragments, or what the box has answered.
    pub sent: Vec<Sent>,
    /// The entry that it belongs to, as it is now.
    pub entry: Option<EntrySnapshot>,
}

/// By which rules a connection was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// The one that its destination was.
    pub destination: Option<usize>,
    /// The one that its source was, or would have been had it had a port left.
    pub source: Option<usize>,
}

impl Rehearsal {
    /// A box with this configuration, an empty table, and the time `now`, which has long been active for all of its groups.
    ///
    /// # Errors
    /// The host has no memory for it.
    pub fn new(configuration: &Configuration, now: Instant) -> std::io::Result<Self> {
        let mut configuration = configuration.clone();
        let probe = Rule { name: None, matches: Match::default(), action: RuleAction::Log };
        let mut policy = configuration.policy.into_policy();
        policy.rules.insert(usize::from(PROBE.0), probe);
        configuration.policy = policy.into();
        configuration.groups.takeover.resets = Duration::ZERO;
        let mut groups = configuration.groups.all();
        let entries = configuration.settings.max_entries.min(ENTRIES);
        let capacity = Capacity { entries, seed: SEED, pages: Pages::Ordinary };
        let mut shard = Shard::new(capacity, Arc::new(configuration), now)?;
        while let Some(group) = groups.first() {
            shard.set_role(group, Role::Active);
            groups = groups.without(GroupSet::of(group));
        }
        shard.log().keep_all();
        let dispatcher = Dispatcher::new(&shard);
        Ok(Self { shard, dispatcher, now, conversations: Conversations::default() })
    }

    /// Lets time pass: what expires meanwhile ends.
    pub fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        while !self.shard.expire(self.now, u32::MAX) {}
        let mut outside = Outside::default();
        while !self.dispatcher.expire(self.now, &mut self.shard, &mut outside, u32::MAX) {}
    }

    /// Has the table know a connection of another box's, as that tells of it; says whether it does.
    pub fn install(&mut self, connection: Connection) -> bool {
        let record = Record::State(connection);
        let installing = Installing { record, origin: Origin::Own, is_delegated: false };
        self.shard.install(&installing).is_ok()
    }

    /// The frame of a packet in words, whole.
    pub fn frame(&self, spoken: &Spoken) -> Vec<u8> {
        match &spoken.content {
            Content::Frame(frame) => frame.clone(),
            Content::Packet(packet) => packet::frame(packet, self.conversations.numbers(packet)),
        }
    }

    /// What comes of a packet in words. Numbers of TCP that were not given are those that its sender would have.
    pub fn say(&mut self, ingress: PortId, spoken: &Spoken) -> Came {
        match &spoken.content {
            Content::Frame(frame) => self.send(ingress, vec![frame.clone()]),
            Content::Packet(packet) => {
                let frame = self.frame(spoken);
                let came = self.send(ingress, packet::fragments(frame, spoken.fragment));
                self.conversations.note(packet, &came.sent);
                came
            }
        }
    }

    /// What comes of a frame, or of a datagram's fragments, that come in by a port.
    pub fn send(&mut self, ingress: PortId, frames: Vec<Vec<u8>>) -> Came {
        let before = self.shard.rule_counters().clone();
        let inserts = self.shard.counters().inserts;
        let frame = frames.first().cloned().unwrap_or_default();
        let fragments = frames.len();
        let mut frames: Vec<_> = frames.into_iter().map(|frame| (ingress, frame)).collect();
        let mut verdicts = vec![Verdict::dropped(DropReason::Truncated); frames.len()];
        self.shard.process(self.now, &mut frames, &mut verdicts);
        let mut outside = Outside::default();
        let packets = frames.into_iter().zip(&mut verdicts);
        self.dispatcher.apply_burst(self.now, &mut self.shard, &mut outside, packets);
        let facts = self.take_probe();
        let mut verdict = verdicts.pop().unwrap_or(Verdict::dropped(DropReason::Truncated));
        let entry = verdict.entry.and_then(|wanted| {
            let mut found = None;
            let mut next = Some(0);
            while let Some(cursor) = next {
                next = self.shard.list(cursor, u32::MAX, |id, entry| {
                    found = if id == wanted { Some(entry) } else { found };
                });
            }
            found
        });
        let probe = PROBE.0 + 1;
        verdict.rule = verdict.rule.map(|RuleId(number)| RuleId(number.saturating_sub(probe)));
        let bound = bound(&before, self.shard.rule_counters());
        let has_none = verdict.entry.is_none() && matches!(verdict.state, Some(State::New | State::Related));
        let is_first = self.shard.counters().inserts > inserts || has_none;
        Came { frame, ingress, fragments, is_first, verdict, facts, bound, sent: outside.sent, entry }
    }

    /// The time.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Entries in the table.
    pub fn entries(&self) -> u32 {
        self.shard.len()
    }

    /// What the rule in front of all others has logged.
    fn take_probe(&mut self) -> Option<Facts> {
        let mut facts = None;
        while let Some(record) = self.shard.log().pop() {
            facts = facts.or_else(|| (record.rule == PROBE).then_some(record.facts));
        }
        facts
    }
}

/// Which rules have bound a connection, or have had no port for it, since then.
fn bound(before: &RuleCounters, now: &RuleCounters) -> Bound {
    let destination = before.destination.iter().zip(&now.destination).position(|(was, is)| was != is);
    let source = before.source.iter().zip(&now.source).position(|(was, is)| was != is);
    Bound { destination, source }
}
