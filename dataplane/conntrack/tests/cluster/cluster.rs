//! Shards and the lanes between them, as workers drive them: a scheduler picks who does something next, and how much.

use crate::common::received::Received;
use crate::common::{SEED, configuration};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::entry::Status;
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::message::{Message, Settled};
use sluice_conntrack::nat::Nat;
use sluice_conntrack::policy::Policy;
use sluice_conntrack::settings::Settings;
use sluice_conntrack::tuple::Tuple;
use sluice_conntrack::verdict::{Action, Handoff};
use sluice_conntrack::{
    Capacity, Configuration, DropReason, Handed, Instant, PortId, Shard, ShardId, Steering, Verdict,
};
use std::collections::VecDeque;

/// Packets held for one shard, at most.
const MOST_HELD: usize = 512;

/// Most packets that one step takes.
const MOST: usize = 8;

/// A packet that waits for another shard's answer: the first of its connection with its verdict, or a later one.
struct Held {
    entry: EntryId,
    frame: Received,
    first: Option<(Verdict, u8)>,
}

/// One shard and what has come for it.
struct Node {
    shard: Shard,
    received: VecDeque<Received>,
    /// Packets and messages from each other shard, by its number.
    handed: Vec<VecDeque<Received>>,
    messages: Vec<VecDeque<Message>>,
    held: Vec<Held>,
    /// Configurations that it has not taken yet.
    coming: VecDeque<Configuration>,
}

/// The shards of a box.
pub struct Cluster {
    nodes: Vec<Node>,
    pub now: Instant,
    random: ChaCha8Rng,
    /// What has left the box.
    pub sent: Vec<(PortId, Vec<u8>)>,
    pub drops: Vec<DropReason>,
    /// Packets that were for the box itself.
    pub delivered: usize,
    /// How often the ring to another shard is full.
    pub congestion: f64,
}

impl Cluster {
    pub fn new(
        shards: u16,
        entries: u32,
        settings: &Settings,
        policy: &Policy,
        nat: &Nat,
        random: ChaCha8Rng,
    ) -> Self {
        let configuration = configuration(settings.clone(), policy.clone()).with_nat(nat.clone());
        Self::of(shards, entries, &configuration, random)
    }

    /// Shards with room for so many entries each.
    pub fn of(shards: u16, entries: u32, configuration: &Configuration, random: ChaCha8Rng) -> Self {
        let node = |own| {
            let capacity = Capacity { entries, seed: SEED, pages: sluice_memory::Pages::Ordinary };
            let shard = Shard::new(capacity, Box::new(configuration.clone()), Instant::default()).unwrap();
            let steering = Steering::new(ShardId(own), shards).unwrap();
            Node {
                shard: shard.with_steering(steering).unwrap(),
                received: VecDeque::new(),
                handed: (0..shards).map(|_| VecDeque::new()).collect(),
                messages: vec![VecDeque::new(); usize::from(shards)],
                held: Vec::new(),
                coming: VecDeque::new(),
            }
        };
        Self {
            nodes: (0..shards).map(node).collect(),
            now: Instant::default(),
            random,
            sent: Vec::new(),
            drops: Vec::new(),
            delivered: 0,
            congestion: 0.0,
        }
    }

    /// A configuration that each shard puts in force sooner or later.
    pub fn configure(&mut self, configuration: &Configuration) {
        self.nodes.iter_mut().for_each(|node| node.coming.push_back(configuration.clone()));
    }

    /// Deletes entries of some shard.
    pub fn delete(&mut self, wanted: impl Fn(&EntrySnapshot) -> bool) {
        let own = self.random.random_range(0..self.nodes.len());
        self.nodes[own].shard.delete(wanted);
        self.flush(own);
    }

    /// A frame comes in by a port, on whatever shard's queue.
    pub fn receive(&mut self, port: PortId, bytes: Vec<u8>) {
        let node = self.random.random_range(0..self.nodes.len());
        self.nodes[node].received.push_back(Received::new(port, bytes));
    }

    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.nodes.iter().map(|node| &node.shard)
    }

    /// Packets and messages that are somewhere in the box.
    pub fn is_at_rest(&self) -> bool {
        self.nodes.iter().all(|node| {
            node.received.is_empty()
                && node.held.is_empty()
                && node.coming.is_empty()
                && node.handed.iter().all(VecDeque::is_empty)
                && node.messages.iter().all(VecDeque::is_empty)
        })
    }

    /// A shard, drawn by lot, takes some packets from one place, then drains its messages, then decides. Now and then it
    /// puts a configuration in force before.
    pub fn step(&mut self) {
        let own = self.random.random_range(0..self.nodes.len());
        if !self.nodes[own].coming.is_empty() && self.random.random_bool(0.2) {
            let node = &mut self.nodes[own];
            node.coming.pop_front().map(|new| node.shard.configure(Box::new(new)));
        }
        let lane = self.random.random_range(0..=self.nodes.len());
        let most = self.random.random_range(0..=MOST);
        let node = &mut self.nodes[own];
        let queue = node.handed.get_mut(lane).unwrap_or(&mut node.received);
        let taken: Vec<Received> = queue.drain(..most.min(queue.len())).collect();
        self.drain(own);
        for mut frame in taken {
            let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
            let frames = std::slice::from_mut(&mut frame);
            self.nodes[own].shard.process(self.now, frames, &mut verdicts);
            self.conclude(own, frame, verdicts[0], 0);
        }
        self.nodes[own].shard.expire(self.now, 4);
        self.flush(own);
    }

    fn drain(&mut self, own: usize) {
        for from in 0..self.nodes.len() {
            while let Some(message) = self.nodes[own].messages[from].pop_front() {
                if let Some(settled) = self.nodes[own].shard.receive(ShardId(from as u16), message) {
                    self.settle(own, settled);
                }
            }
        }
    }

    fn settle(&mut self, own: usize, settled: Settled) {
        let is_for = |held: &mut Held| held.entry == settled.entry;
        let waiting: Vec<Held> = self.nodes[own].held.extract_if(.., is_for).collect();
        for Held { mut frame, first, .. } in waiting {
            let shard = &mut self.nodes[own].shard;
            let (verdict, tries) = match first {
                Some((verdict, tries)) if settled.granted => (shard.release(&mut frame, &verdict), tries),
                Some((verdict, tries)) => {
                    (shard.bind_again(self.now, &mut frame, &verdict, tries + 1), tries + 1)
                }
                None => {
                    let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
                    shard.process(self.now, std::slice::from_mut(&mut frame), &mut verdicts);
                    (verdicts[0], 0)
                }
            };
            self.conclude(own, frame, verdict, tries);
        }
    }

    fn conclude(&mut self, own: usize, frame: Received, verdict: Verdict, tries: u8) {
        let node = &mut self.nodes[own];
        match (verdict.action, verdict.entry) {
            (Action::Forward(port), _) => self.sent.push((port, frame.bytes)),
            (Action::Handoff(_, by), _)
                if self.congestion > 0.0 && self.random.random_bool(self.congestion) =>
            {
                self.drops.push(DropReason::HandoffFull);
                if let Handoff::Delegation(zone) = by {
                    node.shard.take_back(&frame, zone);
                }
            }
            (Action::Handoff(to, by), _) => {
                let handed = Some(Handed { from: ShardId(own as u16), by });
                self.flush(own);
                self.nodes[usize::from(to.0)].handed[own].push_back(Received { handed, ..frame });
            }
            (Action::Hold(_), Some(entry)) if node.held.len() == MOST_HELD => {
                node.shard.abandon(entry);
                self.drops.push(DropReason::HoldFull);
            }
            (Action::Hold(_), Some(entry)) => {
                node.held.push(Held { entry, frame, first: Some((verdict, tries)) });
            }
            (Action::Wait, Some(_)) if node.held.len() == MOST_HELD => {
                node.shard.turn_away(&frame);
                self.drops.push(DropReason::HoldFull);
            }
            (Action::Wait, Some(entry)) => node.held.push(Held { entry, frame, first: None }),
            (Action::Deliver, _) => self.delivered += 1,
            _ => self.drops.extend(verdict.drop_reason()),
        }
    }

    fn flush(&mut self, own: usize) {
        while let Some((to, message)) = self.nodes[own].shard.next_message() {
            self.nodes[usize::from(to.0)].messages[own].push_back(message);
        }
    }

    /// Ends what has come to its time.
    pub fn expire(&mut self) {
        for own in 0..self.nodes.len() {
            assert!(self.nodes[own].shard.expire(self.now, u32::MAX));
            self.flush(own);
        }
        while !self.is_at_rest() {
            self.step();
        }
    }

    /// What must hold when the box is at rest.
    pub fn check(&self) {
        let mut foreign = 0;
        for node in &self.nodes {
            node.shard.check_invariants().unwrap();
            let mut next = Some(0);
            while let Some(cursor) = next {
                next = node.shard.list(cursor, u32::MAX, |_, entry| {
                    let steering = node.shard.steering();
                    for tuple in claimed(&entry) {
                        let owner = steering.owner(&tuple);
                        if owner != steering.own() {
                            let shard = &self.nodes[usize::from(owner.0)].shard;
                            assert_eq!(
                                shard.signpost(&tuple),
                                Some(steering.own()),
                                "{tuple:?} of {entry:?}"
                            );
                            foreign += 1;
                        }
                    }
                });
            }
        }
        let signposts: u32 = self.shards().map(Shard::signposts).sum();
        assert_eq!(
            signposts, foreign,
            "each entry whose answers go elsewhere has a signpost there, and none else"
        );
        assert!(self.is_at_rest());
    }
}

/// The tuples that no other entry has, whichever shard it is in. What the box is told itself it answers where that came: the
/// shard of the answers is asked for nothing.
pub fn claimed(entry: &EntrySnapshot) -> impl Iterator<Item = Tuple> + use<> {
    let is_local = entry.reply == entry.original.invert() && !entry.status.has(Status::SIGNPOSTED);
    let is_foreign = is_local && entry.status.has(Status::DELEGATED);
    [Some(entry.original), (!is_foreign).then_some(entry.reply)].into_iter().flatten()
}
