//! A worker as the model has it: a shard, a queue, a lane.

use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::sync::mpsc::{Receiver, Sender};
use sluice_conntrack::entry::EntryId;
use sluice_conntrack::message::{Message, Settled};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, Frame, Handed, Instant, PortId, Shard, ShardId, State, Verdict};

/// A datagram to this port announces one to the other.
pub const ANNOUNCES: u16 = 21;
pub const EXPECTED: u16 = 20;

/// What waits in a queue.
pub enum Parcel {
    Frame { port: PortId, bytes: Vec<u8>, handed: Option<Handed> },
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

/// A packet in a worker's hands.
struct Carried {
    port: PortId,
    bytes: Vec<u8>,
    handed: Option<Handed>,
    tries: u8,
}

impl Frame for Carried {
    fn port(&self) -> PortId {
        self.port
    }

    fn head(&self) -> &[u8] {
        &self.bytes
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }

    fn handed(&self) -> Option<Handed> {
        self.handed
    }
}

impl Carried {
    fn destination_port(&self) -> u16 {
        u16::from_be_bytes([self.bytes[36], self.bytes[37]])
    }
}

struct Held {
    entry: EntryId,
    packet: Carried,
    first: Option<Verdict>,
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
                Ok(Parcel::Frame { port, bytes, handed }) => {
                    self.exchange();
                    self.process(Carried { port, bytes, handed, tries: 0 });
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
            let Held { mut packet, first, .. } = self.held.remove(place);
            let verdict = match first {
                Some(verdict) if settled.granted => self.shard.release(&mut packet, &verdict),
                Some(verdict) => {
                    packet.tries += 1;
                    let tries = packet.tries;
                    self.shard.bind_again(Instant::default(), &mut packet, &verdict, tries)
                }
                None => {
                    self.process(packet);
                    continue;
                }
            };
            self.carry_out(packet, verdict);
        }
    }

    fn process(&mut self, mut packet: Carried) {
        let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
        let port = packet.destination_port();
        self.shard.process(Instant::default(), std::slice::from_mut(&mut packet), &mut verdicts);
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
        self.carry_out(packet, verdict);
    }

    fn carry_out(&mut self, packet: Carried, verdict: Verdict) {
        let Carried { port, bytes, .. } = packet;
        match (verdict.action, verdict.entry) {
            (Action::Forward(port), _) => {
                let state = verdict.state.unwrap();
                self.events.send(Event::Sent { port, bytes, state }).unwrap();
            }
            (Action::Handoff(to, by), _) => {
                self.speak();
                let handed = Some(Handed { from: self.shard.steering().own(), by });
                self.queues[usize::from(to.0)].send(Parcel::Frame { port, bytes, handed }).unwrap();
            }
            (Action::Hold(_), Some(entry)) => {
                self.held.push(Held {
                    entry,
                    packet: Carried { port, bytes, ..packet },
                    first: Some(verdict),
                });
            }
            (Action::Wait, Some(entry)) => {
                self.held.push(Held { entry, packet: Carried { port, bytes, ..packet }, first: None });
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
