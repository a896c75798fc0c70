//! A box of one or two shards, the dispatcher of each, and all that is on its way between them.

use crate::shard::{END_OF_TIME, ROOM};
use sluice_conntrack::dispatch::{self, Dispatcher, Host};
use sluice_conntrack::exchange::Message;
use sluice_conntrack::headers::Fragment;
use sluice_conntrack::verdict::{Action, InvalidReason};
use sluice_conntrack::{
    Capacity, Checksum, Configuration, DropReason, Frame, Handed, Installation, Instant, PortId, Shard,
    ShardId, Steering, Verdict, wire,
};
use std::collections::VecDeque;
use std::time::Duration;

/// Messages and packets that wait between two shards, at most.
const LANE: usize = 64;

/// A frame, with what its device or another shard says about it.
#[derive(Clone, Debug)]
struct Received {
    port: PortId,
    bytes: Vec<u8>,
    handed: Option<Handed>,
}

impl Frame for Received {
    fn port(&self) -> PortId {
        self.port
    }

    fn head(&self) -> &[u8] {
        &self.bytes
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// A device has found it good, so that a fuzzer need not. Those of L4 are for the datagram.
    fn l3_checksum(&self) -> Checksum {
        Checksum::Good
    }

    fn handed(&self) -> Option<Handed> {
        self.handed
    }
}

/// What lies outside of the shards: what is on its way to each of them, and what has become of packets.
struct Outside {
    packets: [VecDeque<Received>; 2],
    messages: [VecDeque<Message>; 2],
    /// Whether the rings of packets take none.
    is_full: bool,
    came: usize,
    /// Fragments that have left, but for those that no datagram can be made of.
    fragments: Vec<Received>,
    left: usize,
    /// Fragments whose datagram the box has taken and replied to, and its other answers.
    delivered: usize,
    answers: usize,
    drops: [u64; DropReason::ALL.len()],
}

/// What lies outside of one of them.
struct Around<'a> {
    own: usize,
    outside: &'a mut Outside,
}

impl Host for Around<'_> {
    type Packet = Received;

    const LANE: usize = LANE;

    fn finish(&mut self, _: Instant, shard: &mut Shard, packet: Received, verdict: &Verdict) {
        match verdict.action {
            Action::Forward(_) => {
                self.outside.left += 1;
                if verdict.invalid != Some(InvalidReason::Fragment) {
                    self.outside.fragments.push(packet);
                }
                return;
            }
            Action::Deliver => self.outside.left += 1,
            Action::Drop(reason) | Action::Reject(reason, _) => self.outside.drops[reason as usize] += 1,
            other => panic!("{other:?} is not the last of a packet"),
        }
        let mut out = [0; 1514];
        if let Some(length) = shard.answer(&packet, verdict, &mut out) {
            let answer = (packet.port, out[..length].to_vec());
            let headers = wire::parse(&answer).expect("the box's own packets are sound");
            assert!(wire::verify_checksum(&answer, &headers), "{headers:?}");
            self.outside.answers += 1;
        }
    }

    fn reply(&mut self, _: &mut Shard, packet: Received) {
        self.outside.delivered += 1;
        self.outside.left += 1;
        self.outside.fragments.push(packet);
    }

    fn make(&mut self, ingress: PortId, frame: &[u8]) -> Option<Received> {
        Some(Received { port: ingress, bytes: frame.to_vec(), handed: None })
    }

    fn hand_off(&mut self, to: ShardId, handed: Handed, packet: Received) -> Result<(), Received> {
        if self.room(to) == 0 {
            return Err(packet);
        }
        let packet = Received { handed: Some(handed), ..packet };
        self.outside.packets[usize::from(to.0)].push_back(packet);
        Ok(())
    }

    fn room(&self, to: ShardId) -> usize {
        if self.outside.is_full { 0 } else { LANE - self.outside.packets[usize::from(to.0)].len() }
    }

    fn lane_room(&self, to: ShardId) -> usize {
        LANE.saturating_sub(self.outside.messages[usize::from(to.0)].len())
    }

    fn send(&mut self, to: ShardId, message: Message) {
        self.outside.messages[usize::from(to.0)].push_back(message);
    }

    fn receive(&mut self, _: ShardId) -> Option<Message> {
        self.outside.messages[self.own].pop_front()
    }
}

/// The box.
pub(crate) struct Middlebox {
    nodes: Vec<(Shard, Dispatcher<Received>)>,
    outside: Outside,
    now: Instant,
}

impl Middlebox {
    pub(crate) fn new(shards: u16, configuration: &Configuration) -> Self {
        let now = Instant::from_ns(0);
        let node = |own| {
            let capacity =
                Capacity { entries: ROOM, seed: [1, 2, 3, 4], pages: sluice_memory::Pages::Ordinary };
            let shard = Shard::new(capacity, configuration.clone(), now).expect("memory");
            let steering = Steering::new(ShardId(own), shards).expect("few shards");
            let shard = shard.with_steering(steering).expect("memory");
            let dispatcher = Dispatcher::new(&shard);
            (shard, dispatcher)
        };
        let outside = Outside {
            packets: Default::default(),
            messages: Default::default(),
            is_full: false,
            came: 0,
            fragments: Vec::new(),
            left: 0,
            delivered: 0,
            answers: 0,
            drops: [0; DropReason::ALL.len()],
        };
        Self { nodes: (0..shards).map(node).collect(), outside, now }
    }

    /// A frame comes in at one of the shards.
    pub(crate) fn receive(&mut self, own: u8, port: PortId, bytes: Vec<u8>) {
        self.outside.came += 1;
        self.process(usize::from(own) % self.nodes.len(), Received { port, bytes, handed: None });
    }

    /// A shard takes in what the other says, and the next packet that it hands over.
    pub(crate) fn step(&mut self, own: u8) {
        let own = usize::from(own) % self.nodes.len();
        match self.outside.packets[own].pop_front() {
            Some(packet) => self.process(own, packet),
            None => self.exchange(own),
        }
    }

    fn exchange(&mut self, own: usize) {
        let (shard, dispatcher) = &mut self.nodes[own];
        let around = &mut Around { own, outside: &mut self.outside };
        dispatcher.receive(self.now, shard, around);
        dispatch::flush_messages(shard, around);
    }

    fn process(&mut self, own: usize, mut packet: Received) {
        self.exchange(own);
        let (shard, dispatcher) = &mut self.nodes[own];
        let around = &mut Around { own, outside: &mut self.outside };
        let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
        shard.process(self.now, std::slice::from_mut(&mut packet), &mut verdicts);
        dispatcher.apply(self.now, shard, around, packet, &mut verdicts[0]);
        dispatch::flush_messages(shard, around);
    }

    /// From now on the rings of packets between shards have room, or none.
    pub(crate) const fn set_full(&mut self, is_full: bool) {
        self.outside.is_full = is_full;
    }

    /// Time passes, and nobody does anything yet.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time).min(END_OF_TIME);
    }

    /// A shard ends what has expired, at most so many steps of it.
    pub(crate) fn expire(&mut self, own: u8, budget: u32) {
        let own = usize::from(own) % self.nodes.len();
        let (shard, dispatcher) = &mut self.nodes[own];
        let around = &mut Around { own, outside: &mut self.outside };
        shard.expire(self.now, budget);
        dispatcher.expire(self.now, shard, around, budget);
        dispatch::flush_messages(shard, around);
    }

    /// A shard puts a configuration in force.
    pub(crate) fn configure(&mut self, own: u8, configuration: Configuration) {
        let own = usize::from(own) % self.nodes.len();
        self.nodes[own].0.configure(&mut Installation::new(configuration));
    }

    /// Lets all time pass, looks at what is left of packets, and then of connections.
    pub(crate) fn end(mut self, timeout: Duration) {
        self.set_full(false);
        self.rest();
        self.wait(timeout);
        self.expire_all();
        let held: usize = self.nodes.iter().map(|(_, dispatcher)| dispatcher.held()).sum();
        assert_eq!(held, 0, "nothing is held after its timeout");
        self.wait(Duration::from_secs(30 * 24 * 3600));
        self.expire_all();
        for (shard, _) in &self.nodes {
            assert_eq!((shard.len(), shard.signposts(), shard.counters().fragments_held), (0, 0, 0));
        }
    }

    fn expire_all(&mut self) {
        for own in 0..self.nodes.len() {
            self.expire(own as u8, u32::MAX);
        }
        self.rest();
        self.check();
        self.nodes.iter().for_each(|(shard, _)| shard.check_invariants().unwrap());
    }

    /// Everything that can move has moved.
    fn rest(&mut self) {
        let is_silent = |it: &Self| {
            it.nodes.iter().all(|(shard, _)| shard.is_silent())
                && it.outside.packets.iter().all(VecDeque::is_empty)
                && it.outside.messages.iter().all(VecDeque::is_empty)
        };
        for round in 0.. {
            if is_silent(self) {
                return;
            }
            assert!(round < 10_000, "packets or messages go round for ever");
            (0..self.nodes.len()).for_each(|own| self.step(own as u8));
        }
    }

    /// What must hold between two orders.
    pub(crate) fn check(&mut self) {
        let Outside { packets, came, fragments, left, delivered, answers, drops, .. } = &mut self.outside;
        let mut held: usize = packets.iter().map(VecDeque::len).sum();
        let (mut created, mut fragmented, mut answered) = (0, 0, 0);
        for (shard, dispatcher) in &self.nodes {
            dispatcher.check_invariants().unwrap();
            let here = dispatcher.held();
            assert!(shard.counters().fragments_held <= here as u64);
            held += here;
            created += shard.counters().fragments_created as usize;
            fragmented += shard.counters().fragmented as usize;
            answered += shard.counters().answers as usize;
        }
        let dropped = drops.iter().sum::<u64>() as usize;
        let replies = answered - *answers;
        assert_eq!(
            *came + replies + created,
            *left + dropped + *delivered + held + fragmented,
            "each packet is out, dropped, delivered, held, or was cut into others"
        );
        for reason in DropReason::ALL {
            let counted = self.nodes.iter().map(|(shard, _)| shard.counters().drops[*reason as usize]);
            assert_eq!(counted.sum::<u64>(), drops[*reason as usize], "{reason:?}");
        }
        check_datagrams(fragments);
        fragments.clear();
    }
}

/// The fragments that leave are those of whole datagrams, in their order.
fn check_datagrams(fragments: &[Received]) {
    let mut next = 0;
    for packet in fragments {
        let headers = wire::parse(packet).expect("what leaves is sound");
        if headers.fragment == Fragment::Whole {
            assert_eq!(next, 0, "a datagram leaves at once");
            continue;
        }
        let (start, end, is_last) = position(&packet.bytes[usize::from(headers.l3_offset)..]);
        assert_eq!(start, next, "a datagram leaves whole and in order");
        next = if is_last { 0 } else { end };
    }
    assert_eq!(next, 0, "a datagram leaves with its last fragment");
}

/// The position of a fragment in its datagram, in bytes, and whether it is the last: read anew, as a second opinion.
fn position(l3: &[u8]) -> (usize, usize, bool) {
    let word = |at: usize| usize::from(u16::from_be_bytes([l3[at], l3[at + 1]]));
    if l3[0] >> 4 == 4 {
        let (field, bytes) = (word(6), word(2) - usize::from(l3[0] & 15) * 4);
        let start = (field & 0x1fff) * 8;
        return (start, start + bytes, field & 0x2000 == 0);
    }
    let (mut next, mut at) = (l3[6], 40);
    while next != 44 {
        // The authentication header counts in words, all others in units of eight bytes.
        let length =
            if next == 51 { (usize::from(l3[at + 1]) + 2) * 4 } else { (usize::from(l3[at + 1]) + 1) * 8 };
        (next, at) = (l3[at], at + length);
    }
    let start = word(at + 2) & !7;
    (start, start + 40 + word(4) - at - 8, word(at + 2) & 1 == 0)
}
