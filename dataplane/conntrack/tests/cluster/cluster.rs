//! Shards and the lanes between them, as workers drive them: a scheduler picks who does something next, and how much.

use crate::common::expecting::Announced;
use crate::common::received::Received;
use crate::common::{SEED, configuration};
use crate::expectations::help;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::dispatch::{self, Dispatcher, Host};
use sluice_conntrack::entry::Status;
use sluice_conntrack::exchange::Message;
use sluice_conntrack::expectations::Claims;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::policy::Policy;
use sluice_conntrack::settings::Settings;
use sluice_conntrack::tuple::Tuple;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{
    Capacity, Configuration, DropReason, Handed, Installation, Instant, PortId, Shard, ShardId, Steering,
    Verdict,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// Most packets that one step takes.
const MOST: usize = 8;

/// Messages that a lane holds where it is not made shorter.
const LANE: usize = 1024;

/// Packets that a ring holds.
const MAX_HANDED: usize = 1024;

/// One shard and what has come for it.
struct Node {
    shard: Shard,
    dispatcher: Dispatcher<Received>,
    received: VecDeque<Received>,
    /// Configurations that it has not taken yet.
    coming: VecDeque<Arc<Configuration>>,
}

/// What lies outside of the shards: rings from one to another, and what has left the box.
pub struct Outside {
    /// Packets and messages, by who they are for and who they are from.
    handed: Vec<Vec<VecDeque<Received>>>,
    messages: Vec<Vec<VecDeque<Message>>>,
    random: ChaCha8Rng,
    /// What has left the box.
    pub sent: Vec<(PortId, Vec<u8>)>,
    pub drops: Vec<DropReason>,
    /// What the senders of refused packets were told.
    pub answers: Vec<(PortId, Vec<u8>)>,
    /// Packets that were for the box itself.
    pub delivered: usize,
    /// Packets that have left as the answers to themselves.
    pub replies: usize,
    /// Packets that the box has made itself, and how many there is memory for.
    made: usize,
    pub memory: usize,
    /// How often the rings to other shards are full during a step.
    pub congestion: f64,
    is_full: bool,
    /// Messages that a lane holds.
    pub lane: usize,
    /// Whether nobody outside of the box can be asked for its link-layer address.
    pub is_silent: bool,
    /// Packets that have left before other shards were told all that there was to say.
    pub hasty: usize,
    /// What packets have announced.
    pub announced: Vec<(u32, Announced)>,
}

/// What lies outside of one of them.
struct Around<'a> {
    own: usize,
    outside: &'a mut Outside,
}

impl Host for Around<'_> {
    type Packet = Received;

    const LANE: usize = LANE;

    fn finish(&mut self, _: Instant, shard: &mut Shard, mut packet: Received, verdict: &Verdict) {
        let mut answer = [0; 1500];
        let length = match verdict.action {
            Action::Reject(..) => shard.answer(&packet, verdict, &mut answer),
            Action::Forward(_) if self.outside.is_silent => {
                shard.answer_undeliverable(&mut packet, verdict, &mut answer)
            }
            _ => None,
        };
        self.outside.answers.extend(length.map(|length| (packet.port, answer[..length].to_vec())));
        match verdict.action {
            Action::Forward(_) if self.outside.is_silent => {}
            Action::Forward(port) => {
                self.outside.hasty += usize::from(!shard.is_silent());
                self.outside.sent.push((port, packet.bytes));
            }
            Action::Deliver => self.outside.delivered += 1,
            _ => self.outside.drops.extend(verdict.drop_reason()),
        }
    }

    fn reply(&mut self, _: &mut Shard, packet: Received) {
        self.outside.replies += 1;
        self.outside.sent.push((packet.port, packet.bytes));
    }

    fn make(&mut self, ingress: PortId, frame: &[u8]) -> Option<Received> {
        let has_memory = self.outside.made < self.outside.memory;
        self.outside.made += usize::from(has_memory);
        has_memory.then(|| Received::new(ingress, frame.to_vec()))
    }

    fn hand_off(&mut self, to: ShardId, handed: Handed, packet: Received) -> Result<(), Received> {
        if self.outside.is_full {
            return Err(packet);
        }
        let packet = Received { handed: Some(handed), ..packet };
        self.outside.handed[usize::from(to.0)][self.own].push_back(packet);
        Ok(())
    }

    fn room(&self, to: ShardId) -> usize {
        match self.outside.is_full {
            true => 0,
            false => MAX_HANDED.saturating_sub(self.outside.handed[usize::from(to.0)][self.own].len()),
        }
    }

    fn lane_room(&self, to: ShardId) -> usize {
        self.outside.lane.saturating_sub(self.outside.messages[usize::from(to.0)][self.own].len())
    }

    fn send(&mut self, to: ShardId, message: Message) {
        self.outside.messages[usize::from(to.0)][self.own].push_back(message);
    }

    fn receive(&mut self, from: ShardId) -> Option<Message> {
        self.outside.messages[self.own][usize::from(from.0)].pop_front()
    }
}

/// The shards of a box.
pub struct Cluster {
    nodes: Vec<Node>,
    pub outside: Outside,
    pub now: Instant,
    /// A shard that is late: it takes nothing in and does nothing.
    pub late: Option<usize>,
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
        let configuration = &Arc::new(configuration.clone());
        let claims = Arc::new(Claims::new(shards, entries).unwrap());
        let node = |own| {
            let capacity = Capacity { entries, seed: SEED, pages: sluice_memory::Pages::Ordinary };
            let shard = Shard::new(capacity, Arc::clone(configuration), Instant::default()).unwrap();
            let steering = Steering::new(ShardId(own), shards).unwrap();
            let shard = shard.with_steering(steering).unwrap().with_claims(Arc::clone(&claims)).unwrap();
            Node {
                dispatcher: Dispatcher::new(&shard),
                shard,
                received: VecDeque::new(),
                coming: VecDeque::new(),
            }
        };
        let count = usize::from(shards);
        let outside = Outside {
            handed: vec![vec![VecDeque::new(); count]; count],
            messages: vec![vec![VecDeque::new(); count]; count],
            random,
            sent: Vec::new(),
            drops: Vec::new(),
            answers: Vec::new(),
            delivered: 0,
            replies: 0,
            made: 0,
            memory: usize::MAX,
            congestion: 0.0,
            is_full: false,
            lane: LANE,
            is_silent: false,
            hasty: 0,
            announced: Vec::new(),
        };
        Self { nodes: (0..shards).map(node).collect(), outside, now: Instant::default(), late: None }
    }

    /// A shard, drawn by lot, that is not late.
    fn draw(&mut self) -> usize {
        loop {
            let own = self.outside.random.random_range(0..self.nodes.len());
            if Some(own) != self.late {
                return own;
            }
        }
    }

    /// Has a shard do something with what lies outside of it.
    fn at<T>(&mut self, own: usize, action: impl FnOnce(&mut Node, &mut Around<'_>) -> T) -> T {
        action(&mut self.nodes[own], &mut Around { own, outside: &mut self.outside })
    }

    /// A configuration that each shard puts in force sooner or later.
    pub fn configure(&mut self, configuration: &Configuration) {
        let configuration = &Arc::new(configuration.clone());
        self.nodes.iter_mut().for_each(|node| node.coming.push_back(Arc::clone(configuration)));
    }

    /// Deletes entries of some shard.
    pub fn delete(&mut self, wanted: impl Fn(&EntrySnapshot) -> bool) {
        let own = self.draw();
        self.at(own, |node, around| {
            node.shard.delete(wanted);
            dispatch::flush_messages(&mut node.shard, around);
        });
    }

    /// Deletes entries of all shards.
    pub fn delete_everywhere(&mut self, wanted: impl Fn(&EntrySnapshot) -> bool) {
        for own in 0..self.nodes.len() {
            self.at(own, |node, around| {
                node.shard.delete(&wanted);
                dispatch::flush_messages(&mut node.shard, around);
            });
        }
    }

    /// A frame comes in by a port, on whatever shard's queue.
    pub fn receive(&mut self, port: PortId, bytes: Vec<u8>) {
        let own = self.draw();
        self.nodes[own].received.push_back(Received::new(port, bytes));
    }

    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.nodes.iter().map(|node| &node.shard)
    }

    pub fn shard_mut(&mut self, own: usize) -> &mut Shard {
        &mut self.nodes[own].shard
    }

    /// Packets in the box: on queues, on their way from one shard to another, and those that are held.
    pub fn in_hand(&self) -> usize {
        let at = |node: &Node| node.received.len() + node.dispatcher.held();
        let handed = self.outside.handed.iter().flatten().map(VecDeque::len);
        self.nodes.iter().map(at).chain(handed).sum()
    }

    /// Whether there are no packets and messages anywhere in the box.
    pub fn is_at_rest(&self) -> bool {
        let is_idle = |node: &Node| {
            node.received.is_empty()
                && node.dispatcher.held() == 0
                && node.coming.is_empty()
                && node.shard.is_silent()
        };
        self.nodes.iter().all(is_idle)
            && self.outside.handed.iter().flatten().all(VecDeque::is_empty)
            && self.outside.messages.iter().flatten().all(VecDeque::is_empty)
    }

    /// A shard, drawn by lot, takes some packets from one port, then drains its messages, then decides. Now and then it
    /// puts a configuration in force before.
    pub fn step(&mut self) {
        let Outside { congestion, random, is_full, .. } = &mut self.outside;
        *is_full = *congestion > 0.0 && random.random_bool(*congestion);
        let own = self.draw();
        if !self.nodes[own].coming.is_empty() && self.outside.random.random_bool(0.2) {
            let node = &mut self.nodes[own];
            if let Some(new) = node.coming.pop_front() {
                node.shard.configure(&mut Installation::new(new));
            }
        }
        let lane = self.outside.random.random_range(0..=self.nodes.len());
        let most = self.outside.random.random_range(0..=MOST);
        let now = self.now;
        self.at(own, |node, around| {
            let Node { shard, dispatcher, received, .. } = node;
            let queue = around.outside.handed[own].get_mut(lane).unwrap_or(received);
            let taken: Vec<Received> = queue.drain(..most.min(queue.len())).collect();
            dispatcher.receive(now, shard, around);
            for mut frame in taken {
                let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
                let came = frame.bytes.clone();
                shard.process(now, std::slice::from_mut(&mut frame), &mut verdicts);
                around.outside.announced.extend(help(shard, &came, &mut verdicts[0]));
                dispatcher.apply(now, shard, around, frame, &mut verdicts[0]);
            }
            shard.expire(now, 4);
            dispatcher.expire(now, shard, around, 4);
            dispatch::flush_messages(shard, around);
        });
    }

    /// Ends what has come to its time.
    pub fn expire(&mut self) {
        let now = self.now;
        for own in 0..self.nodes.len() {
            self.at(own, |node, around| {
                assert!(node.shard.expire(now, u32::MAX));
                assert!(node.dispatcher.expire(now, &mut node.shard, around, u32::MAX));
                dispatch::flush_messages(&mut node.shard, around);
            });
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
        let counted: u64 = self.shards().flat_map(|shard| shard.counters().drops).sum();
        assert!(counted >= self.outside.drops.len() as u64, "each drop is counted");
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
    let is_local = entry.reply == entry.original.invert() && !entry.status.contains(Status::SIGNPOSTED);
    let is_foreign = is_local && entry.status.contains(Status::DELEGATED);
    [Some(entry.original), (!is_foreign).then_some(entry.reply)].into_iter().flatten()
}
