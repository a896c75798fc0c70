//! A worker as the model has it: a shard, a queue, a lane from each other.

use crate::common::received::Received;
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::sync::mpsc::{Receiver, Sender};
use sluice_conntrack::dispatch::{self, Dispatcher, Host};
use sluice_conntrack::exchange::Message;
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

/// What lies outside of one shard: queues and lanes to all, by number.
pub struct Outside {
    pub parcels: Receiver<Parcel>,
    /// From each shard.
    pub messages: Vec<Receiver<Lane>>,
    pub queues: Vec<Sender<Parcel>>,
    pub lanes: Vec<Sender<Lane>>,
    pub events: Sender<Event>,
    pub expected: Option<Expectation>,
}

impl Outside {
    /// Makes known to all what a packet announces, and sees whether it is what was announced.
    fn help(&mut self, packet: &Received, state: State) -> State {
        let port = u16::from_be_bytes([packet.bytes[36], packet.bytes[37]]);
        match port {
            _ if state != State::New => state,
            EXPECTED if self.expected.take().is_some_and(|expected| expected.claim()) => State::Related,
            ANNOUNCES => {
                let expectation = Expectation(Arc::new(AtomicBool::new(false)));
                for lane in &self.lanes {
                    lane.send(Lane::Expect(expectation.clone())).unwrap();
                }
                state
            }
            _ => state,
        }
    }
}

impl Host for Outside {
    type Packet = Received;

    const LANE: usize = 1024;

    fn finish(&mut self, _: Instant, _: &mut Shard, packet: Received, verdict: &Verdict) {
        let event = match verdict.action {
            Action::Forward(port) => {
                let state = self.help(&packet, verdict.state.unwrap());
                Event::Sent { port, bytes: packet.bytes, state }
            }
            _ => Event::Dropped(verdict.drop_reason().unwrap()),
        };
        self.events.send(event).unwrap();
    }

    fn make(&mut self, ingress: PortId, frame: &[u8]) -> Option<Received> {
        Some(Received::new(ingress, frame.to_vec()))
    }

    fn hand_off(&mut self, to: ShardId, handed: Handed, packet: Received) -> Result<(), Received> {
        let packet = Received { handed: Some(handed), ..packet };
        self.queues[usize::from(to.0)].send(Parcel::Frame(packet)).unwrap();
        Ok(())
    }

    fn room(&self, _: ShardId) -> usize {
        usize::MAX
    }

    fn lane_room(&self, _: ShardId) -> usize {
        usize::MAX
    }

    fn send(&mut self, to: ShardId, message: Message) {
        self.lanes[usize::from(to.0)].send(Lane::Message(message)).unwrap();
    }

    fn receive(&mut self, from: ShardId) -> Option<Message> {
        loop {
            match self.messages[usize::from(from.0)].try_recv().ok()? {
                Lane::Message(message) => return Some(message),
                Lane::Expect(expectation) => self.expected = Some(expectation),
            }
        }
    }
}

pub struct Worker {
    shard: Shard,
    dispatcher: Dispatcher<Received>,
    outside: Outside,
}

impl Worker {
    pub fn new(shard: Shard, outside: Outside) -> Self {
        Self { dispatcher: Dispatcher::new(&shard), shard, outside }
    }

    /// Works until told to stop. Between two packets it looks at its lanes again and again, as a polling worker does.
    pub fn run(mut self) -> Self {
        loop {
            match self.outside.parcels.try_recv() {
                Ok(Parcel::Frame(frame)) => {
                    self.exchange();
                    self.process(frame);
                    dispatch::flush_messages(&mut self.shard, &mut self.outside);
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
        let (messages, _) = self.dispatcher.receive(Instant::default(), &mut self.shard, &mut self.outside);
        dispatch::flush_messages(&mut self.shard, &mut self.outside);
        messages
    }

    fn process(&mut self, mut frame: Received) {
        let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
        let now = Instant::default();
        self.shard.process(now, std::slice::from_mut(&mut frame), &mut verdicts);
        self.dispatcher.apply(now, &mut self.shard, &mut self.outside, frame, &mut verdicts[0]);
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
        dispatch::flush_messages(&mut self.shard, &mut self.outside);
    }
}
