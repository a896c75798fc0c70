//! A worker as the model has it: a shard, a queue, a lane from each other.

use crate::common::expecting::{Announced, announce};
use crate::common::frame::UDP;
use crate::common::received::Received;
use shuttle::sync::mpsc::{Receiver, Sender};
use sluice_conntrack::dispatch::{self, Dispatcher, Host};
use sluice_conntrack::exchange::Message;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, Handed, Instant, PortId, Shard, ShardId, State, Tuple, Verdict};

/// A datagram to this port announces one to its sender, if it has so much payload: it is not the first of its connection.
pub const ANNOUNCES: u16 = 21;
pub const ANNOUNCING_BYTES: usize = 24;

/// What waits in a queue.
pub enum Parcel {
    Frame(Received),
    /// Ends the connection with this original tuple, if it is there.
    Forget(Tuple),
    Stop,
}

/// What became of a packet, or of a connection that was to end.
pub enum Event {
    Sent { port: PortId, bytes: Vec<u8>, state: State, announced: Option<Announced> },
    Dropped(DropReason),
    Forgotten,
}

/// What lies outside of one shard: queues and lanes to all, by number.
pub struct Outside {
    pub parcels: Receiver<Parcel>,
    /// From each shard.
    pub messages: Vec<Receiver<Message>>,
    pub queues: Vec<Sender<Parcel>>,
    pub lanes: Vec<Sender<Message>>,
    pub events: Sender<Event>,
    /// What the packet announces that was decided about last.
    pub announced: Option<Announced>,
}

impl Host for Outside {
    type Packet = Received;

    const LANE: usize = 1024;

    fn finish(&mut self, _: Instant, _: &mut Shard, packet: Received, verdict: &Verdict) {
        let event = match verdict.action {
            Action::Forward(port) => {
                let (state, announced) = (verdict.state.unwrap(), self.announced.take());
                Event::Sent { port, bytes: packet.bytes, state, announced }
            }
            _ => Event::Dropped(verdict.drop_reason().unwrap()),
        };
        self.events.send(event).unwrap();
    }

    fn reply(&mut self, _: &mut Shard, packet: Received) {
        unreachable!("a wire answers no echo: {packet:?}");
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
        self.lanes[usize::from(to.0)].send(message).unwrap();
    }

    fn receive(&mut self, from: ShardId) -> Option<Message> {
        self.messages[usize::from(from.0)].try_recv().ok()
    }
}

/// The port that a frame announces, that of its sender.
fn announces(frame: &[u8]) -> Option<u16> {
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let is_it = frame[23] == UDP && word(36) == ANNOUNCES && usize::from(word(16)) == 28 + ANNOUNCING_BYTES;
    is_it.then(|| word(34))
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
                Ok(Parcel::Forget(master)) => {
                    self.shard.delete(|entry| entry.original == master);
                    dispatch::flush_messages(&mut self.shard, &mut self.outside);
                    self.outside.events.send(Event::Forgotten).unwrap();
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
        let announces = announces(&frame.bytes);
        self.shard.process(now, std::slice::from_mut(&mut frame), &mut verdicts);
        self.outside.announced = announces.and_then(|port| announce(&mut self.shard, port, &mut verdicts[0]));
        self.dispatcher.apply(now, &mut self.shard, &mut self.outside, frame, &mut verdicts[0]);
    }

    pub fn signposts(&self) -> u32 {
        self.shard.signposts()
    }

    /// What is expected in the whole box, as the first shard tells.
    pub fn expectations(&self) -> u64 {
        self.shard.counters().expectations
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
