//! Shards and the lanes between them, as workers drive them: a scheduler picks who does something next, and how much.

use crate::common::received::Received;
use crate::common::{SEED, configuration};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::entry::EntryId;
use sluice_conntrack::message::{Message, Settled};
use sluice_conntrack::nat::Nat;
use sluice_conntrack::policy::Policy;
use sluice_conntrack::settings::Settings;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Capacity, DropReason, Handed, Instant, PortId, Shard, ShardId, Steering, Verdict};
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
}

/// The shards of a box.
pub struct Cluster {
    nodes: Vec<Node>,
    pub now: Instant,
    random: ChaCha8Rng,
    /// What has left the box.
    pub sent: Vec<(PortId, Vec<u8>)>,
    pub drops: Vec<DropReason>,
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
        let node = |own| {
            let capacity = Capacity { entries, seed: SEED, pages: sluice_memory::Pages::Ordinary };
            let configuration = configuration(settings.clone(), policy.clone()).with_nat(nat.clone());
            let shard = Shard::new(capacity, Box::new(configuration), Instant::default()).unwrap();
            let steering = Steering::new(ShardId(own), shards).unwrap();
            Node {
                shard: shard.with_steering(steering).unwrap(),
                received: VecDeque::new(),
                handed: (0..shards).map(|_| VecDeque::new()).collect(),
                messages: vec![VecDeque::new(); usize::from(shards)],
                held: Vec::new(),
            }
        };
        let nodes = (0..shards).map(node).collect();
        Self { nodes, now: Instant::default(), random, sent: Vec::new(), drops: Vec::new() }
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
                && node.handed.iter().all(VecDeque::is_empty)
                && node.messages.iter().all(VecDeque::is_empty)
        })
    }

    /// A shard, drawn by lot, takes some packets from one place, then drains its messages, then decides.
    pub fn step(&mut self) {
        let own = self.random.random_range(0..self.nodes.len());
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
            (Action::Wait, Some(entry)) => node.held.push(Held { entry, frame, first: None }),
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
                    foreign += u32::from(steering.owner(&entry.original) != steering.own());
                    foreign += u32::from(steering.owner(&entry.reply) != steering.own());
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
