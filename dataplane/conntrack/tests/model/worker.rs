//! A worker as the model has it: a shard, a queue, a lane.

use crate::common::received::Received;
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::sync::mpsc::{Receiver, Sender};
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::message::{Message, Settled};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, Handed, Instant, PortId, Shard, ShardId, State, Verdict};

/// A datagram to this port announces one to the other.
pub const ANNOUNCES: u16 = 21;
pub const EXPECTED: u16 = 20;

/// What waits in a queue.
pub enum Parcel {
    Frame(Received),
    Stop,
}

/// What shards say to one another: their own messages, and the announcement of an expectation, which helpers will make.
#[derive(Clone)]
pub enum Lane {
    Message(Message),
    Expect(Expectation),
}

/// A datagram that is expected once. All shards hold the same flag.
#[derive(Clone)]
pub struct Expectation(Arc<AtomicBool>);

impl Expectation {
    /// Whether the caller is the one that meets it.
    fn claim(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// What became of a packet.
pub enum Event {
    Sent { port: PortId, bytes: Vec<u8>, state: State },
    Dropped(DropReason),
}

/// A packet that waits for another shard's answer: the first of its connection with its verdict, or a later one.
struct Held {
    entry: EntryId,
    frame: Received,
    first: Option<(Verdict, u8)>,
}

pub struct Worker {
    shard: Shard,
    parcels: Receiver<Parcel>,
    messages: Receiver<(ShardId, Lane)>,
    queues: Vec<Sender<Parcel>>,
    lanes: Vec<Sender<(ShardId, Lane)>>,
    events: Sender<Event>,
    held: Vec<Held>,
    expected: Option<Expectation>,
}

impl Worker {
    pub fn new(
        shard: Shard,
        parcels: Receiver<Parcel>,
        messages: Receiver<(ShardId, Lane)>,
        queues: Vec<Sender<Parcel>>,
        lanes: Vec<Sender<(ShardId, Lane)>>,
        events: Sender<Event>,
    ) -> Self {
        Self { shard, parcels, messages, queues, lanes, events, held: Vec::new(), expected: None }
    }

    /// Works until told to stop. Between two packets it looks at its lane again and again, as a polling worker does.
    pub fn run(mut self) -> Self {
        loop {
            match self.parcels.try_recv() {
                Ok(Parcel::Frame(frame)) => {
                    self.exchange();
                    self.process(frame);
                    self.speak();
                }
                Ok(Parcel::Stop) => return self,
                Err(_) => {
                    self.exchange();
                    shuttle::thread::yield_now();
                }
            }
        }
    }

    /// Takes in what others say, and says what there is to say. Gives the number of messages.
    pub fn exchange(&mut self) -> usize {
        let mut count = 0;
        while let Ok((from, message)) = self.messages.try_recv() {
            count += 1;
            match message {
                Lane::Message(message) => {
                    if let Some(settled) = self.shard.receive(from, message) {
                        self.settle(settled);
                    }
                }
                Lane::Expect(expectation) => self.expected = Some(expectation),
            }
        }
        self.speak();
        count
    }

    fn settle(&mut self, settled: Settled) {
        while let Some(place) = self.held.iter().position(|held| held.entry == settled.entry) {
            let Held { mut frame, first, .. } = self.held.remove(place);
            match first {
                Some((verdict, tries)) if settled.granted => {
                    let verdict = self.shard.release(&mut frame, &verdict);
                    self.carry_out(frame, verdict, tries);
                }
                Some((verdict, tries)) => {
                    let tries = tries + 1;
                    let verdict = self.shard.bind_again(Instant::default(), &mut frame, &verdict, tries);
                    self.carry_out(frame, verdict, tries);
                }
                None => self.process(frame),
            }
        }
    }

    fn process(&mut self, mut frame: Received) {
        let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
        let port = u16::from_be_bytes([frame.bytes[36], frame.bytes[37]]);
        self.shard.process(Instant::default(), std::slice::from_mut(&mut frame), &mut verdicts);
        let [mut verdict] = verdicts;
        let is_new = verdict.state == Some(State::New);
        if is_new && port == EXPECTED && self.expected.take().is_some_and(|expected| expected.claim()) {
            verdict.state = Some(State::Related);
        }
        if is_new && port == ANNOUNCES {
            let expectation = Expectation(Arc::new(AtomicBool::new(false)));
            let own = self.shard.steering().own();
            for lane in &self.lanes {
                lane.send((own, Lane::Expect(expectation.clone()))).unwrap();
            }
        }
        self.carry_out(frame, verdict, 0);
    }

    fn carry_out(&mut self, frame: Received, verdict: Verdict, tries: u8) {
        match (verdict.action, verdict.entry) {
            (Action::Forward(port), _) => {
                let state = verdict.state.unwrap();
                self.events.send(Event::Sent { port, bytes: frame.bytes, state }).unwrap();
            }
            (Action::Handoff(to, by), _) => {
                self.speak();
                let handed = Some(Handed { from: self.shard.steering().own(), by });
                self.queues[usize::from(to.0)].send(Parcel::Frame(Received { handed, ..frame })).unwrap();
            }
            (Action::Hold(_), Some(entry)) => {
                self.held.push(Held { entry, frame, first: Some((verdict, tries)) });
            }
            (Action::Wait, Some(entry)) => {
                self.held.push(Held { entry, frame, first: None });
            }
            _ => self.events.send(Event::Dropped(verdict.drop_reason().unwrap())).unwrap(),
        }
    }

    fn speak(&mut self) {
        let own = self.shard.steering().own();
        while let Some((to, message)) = self.shard.next_message() {
            self.lanes[usize::from(to.0)].send((own, Lane::Message(message))).unwrap();
        }
    }

    pub fn signposts(&self) -> u32 {
        self.shard.signposts()
    }

    /// How many of its entries' tuples are steered elsewhere.
    pub fn foreign(&self) -> u32 {
        let steering = self.shard.steering();
        let mut foreign = 0;
        self.shard.check_invariants().unwrap();
        let mut next = Some(0);
        while let Some(cursor) = next {
            next = self.shard.list(cursor, u32::MAX, |_, entry| {
                foreign += u32::from(steering.owner(&entry.reply) != steering.own());
            });
        }
        foreign
    }

    /// Ends all entries.
    pub fn forget(&mut self) {
        self.shard.delete(|_| true);
        self.speak();
    }
}
