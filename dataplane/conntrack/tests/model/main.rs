//! The message rules under every order of events that shuttle tries: shards in threads, lanes between them, and a network
//! that answers as soon as a packet has left.
//!
//! No schedule may turn an answer into NEW, claim an expectation twice or when its master is over, lose a packet outside a counted drop, or leave a
//! signpost behind its entry. Threads do what workers do: take packets, then drain the lane, then decide.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod fragments;
mod replica;
mod worker;

use common::expecting::Announced;
use common::received::Received;
use common::*;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::mpsc::{Receiver, Sender, channel};
use shuttle::{Config, Runner, thread};
use sluice_conntrack::expectations::Claims;
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Prefix};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{Capacity, Instant, PortId, Shard, ShardId, State, Steering, Tuple};
use std::sync::Arc;
use worker::{Event, Outside, Worker};

/// Schedules that each test tries: at random, and with few changes of priority, which finds rare orders (Burckhardt et al.,
/// "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", 2010).
const SCHEDULES: usize = 2000;
const DEPTH: usize = 3;

/// Room for a thread that makes shards, which are some kilobytes each and are moved a few times.
const STACK_BYTES: usize = 256 << 10;

const WORKERS: u16 = 3;

/// Entries that each has room for.
const ENTRIES: u32 = 64;

/// The port that servers listen at.
const SERVICE: u16 = 53;

/// Payload of an answer by UDP.
const ANSWER_BYTES: usize = 20;

/// Where the server inside is reached from outside, where it is, and the address that clients share.
const PUBLIC: [u8; 4] = [203, 0, 113, 200];
const SERVER: [u8; 4] = [10, 0, 0, 5];
const SHARED: [u8; 4] = [203, 0, 113, 1];

fn pool(address: [u8; 4]) -> Target {
    Target::Pool(vec![Range { first: address.into(), last: address.into(), ports: PortChoice::Preserve }])
}

fn shard(own: u16, preset: Preset, claims: &Arc<Claims>) -> Shard {
    let out = Match { egress: vec![OUTSIDE], ..Match::default() };
    let public = Match { destination: vec![Prefix::new(PUBLIC.into(), 32)], ..Match::default() };
    let nat = Nat {
        source: vec![NatRule::new(out, pool(SHARED))],
        destination: vec![NatRule::new(public, pool(SERVER))],
    };
    let settings = Settings::of(preset, ENTRIES * u32::from(WORKERS));
    let configuration = configuration(settings, accept_all()).with_nat(nat);
    let capacity = Capacity { entries: ENTRIES, seed: SEED, pages: sluice_memory::Pages::Ordinary };
    let steering = Steering::new(ShardId(own), WORKERS).unwrap();
    Shard::new(capacity, configuration, Instant::default())
        .unwrap()
        .with_steering(steering)
        .unwrap()
        .with_claims(Arc::clone(claims))
        .unwrap()
}

/// A packet that answers one that has left.
fn answer(frame: &[u8]) -> Packet {
    let address = |at: usize| <[u8; 4]>::try_from(&frame[at..at + 4]).unwrap();
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let (source, destination) = (address(26).into(), address(30).into());
    match frame[23] {
        frame::ICMP => Pair::of(destination, 0, source, 0).echo_reply(word(38), 1),
        _ => Pair::of(destination, word(36), source, word(34)).udp(ANSWER_BYTES),
    }
}

/// Whether a frame is an answer: they are longer than what they answer.
fn is_answer(frame: &[u8]) -> bool {
    let length = u16::from_be_bytes([frame[16], frame[17]]);
    length == 28 + ANSWER_BYTES as u16
}

/// The workers of a box in threads, as the network sees them.
struct Middle {
    queues: Vec<Sender<worker::Parcel>>,
    events: Receiver<Event>,
    threads: Vec<thread::JoinHandle<Worker>>,
    under_way: usize,
}

impl Middle {
    fn start(preset: Preset) -> Self {
        let (outcome, events) = channel();
        let (queues, parcels): (Vec<_>, Vec<_>) = (0..WORKERS).map(|_| channel()).unzip();
        let claims = Arc::new(Claims::new(WORKERS, ENTRIES).unwrap());
        let mut lanes: Vec<Vec<_>> = (0..WORKERS).map(|_| Vec::new()).collect();
        let mut messages: Vec<Vec<_>> = (0..WORKERS).map(|_| Vec::new()).collect();
        for from in &mut lanes {
            for to in &mut messages {
                let (lane, heard) = channel();
                from.push(lane);
                to.push(heard);
            }
        }
        let mut threads = Vec::new();
        for (own, ((parcels, messages), lanes)) in (0..).zip(parcels.into_iter().zip(messages).zip(lanes)) {
            let (queues, events) = (queues.clone(), outcome.clone());
            let outside = Outside { parcels, messages, queues, lanes, events, announced: None };
            let worker = Worker::new(shard(own, preset, &claims), outside);
            threads.push(thread::spawn(move || worker.run()));
        }
        Self { queues, events, threads, under_way: 0 }
    }

    /// A frame reaches a worker, drawn by lot.
    fn receive(&mut self, port: PortId, bytes: Vec<u8>) {
        let worker = thread_rng().gen_range(0..self.queues.len());
        self.under_way += 1;
        self.queues[worker].send(worker::Parcel::Frame(Received::new(port, bytes))).unwrap();
    }

    /// A connection is to end, whichever worker has it.
    fn forget(&mut self, master: Tuple) {
        for queue in &self.queues {
            self.under_way += 1;
            queue.send(worker::Parcel::Forget(master)).unwrap();
        }
    }

    /// What next becomes of a packet; `None` when all there were have left or were dropped.
    fn next(&mut self) -> Option<Event> {
        self.under_way = self.under_way.checked_sub(1)?;
        Some(self.events.recv().unwrap())
    }

    /// Ends the threads, delivers what is still in the lanes, and looks at the signposts; then ends all entries and looks
    /// again.
    fn stop(self) {
        for queue in &self.queues {
            queue.send(worker::Parcel::Stop).unwrap();
        }
        let mut workers: Vec<Worker> =
            self.threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let run_until_silent = |workers: &mut Vec<Worker>| {
            while workers.iter_mut().map(Worker::exchange).sum::<usize>() > 0 {}
            let foreign: u32 = workers.iter().map(Worker::foreign).sum();
            assert_eq!(
                workers.iter().map(Worker::signposts).sum::<u32>(),
                foreign,
                "signposts are for entries"
            );
            foreign
        };
        run_until_silent(&mut workers);
        workers.iter_mut().for_each(Worker::forget);
        assert_eq!(run_until_silent(&mut workers), 0, "a signpost goes with its entry");
        assert_eq!(workers[0].expectations(), 0, "an expectation goes with its master");
    }
}

fn check(test: impl Fn() + Send + Sync + Clone + 'static) {
    let config = || {
        let mut config = Config::new();
        config.stack_size = STACK_BYTES;
        config
    };
    Runner::new(RandomScheduler::new(SCHEDULES), config()).run(test.clone());
    Runner::new(PctScheduler::new(DEPTH, SCHEDULES), config()).run(test);
}

/// Clients outside of the server inside, by its public address and by its own, whose reply tuples are the same; and clients
/// inside that ask by ICMP, whose identifiers steer nothing.
#[test]
fn an_answer_is_never_new() {
    check(|| {
        let mut it = Middle::start(Preset::Linux);
        // Few of them: what goes wrong in the midst of many is seldom come by.
        let clients = thread_rng().gen_range(1..3);
        for _ in 0..clients {
            let number = thread_rng().gen_range(0..=u8::MAX);
            let outside = [198, 51, 100, number].into();
            if number % 2 == 0 {
                it.receive(OUTSIDE, Pair::of(outside, 4000, PUBLIC.into(), SERVICE).udp(16).frame());
                it.receive(OUTSIDE, Pair::of(outside, 4000, SERVER.into(), SERVICE).udp(16).frame());
            } else {
                it.receive(INSIDE, Pair::of([10, 0, 1, number].into(), 0, outside, 0).echo(7, 1).frame());
            }
        }
        let begun = it.under_way;
        let mut answered = 0;
        while let Some(event) = it.next() {
            match event {
                Event::Sent { port, bytes, state: State::New, .. } => {
                    assert!(!is_answer(&bytes), "an answer is NEW");
                    it.receive(port, answer(&bytes).frame());
                }
                Event::Sent { state, .. } => {
                    assert_eq!(state, State::Established);
                    answered += 1;
                }
                Event::Dropped(reason) => panic!("a packet is lost: {reason:?}"),
                Event::Forgotten => unreachable!("nobody ends anything"),
            }
        }
        assert_eq!(answered, begun, "each client has its answer");
        it.stop();
    });
}

/// One client after the other asks the same server by the same identifier. An answer ends its entry, so that the signpost is
/// on its way out while the next wants one.
#[test]
fn a_tuple_that_is_free_again_can_be_claimed_again() {
    check(|| {
        let mut it = Middle::start(Preset::Classic);
        let server = [198, 51, 100, thread_rng().gen_range(0..=u8::MAX)].into();
        let mut clients = 1..=3;
        let mut ask = |it: &mut Middle| {
            if let Some(number) = clients.next() {
                it.receive(INSIDE, Pair::of([10, 0, 0, number].into(), 0, server, 0).echo(7, 1).frame());
            }
        };
        ask(&mut it);
        let mut answered = 0;
        while let Some(event) = it.next() {
            match event {
                Event::Sent { port, bytes, state: State::New, .. } => {
                    it.receive(port, answer(&bytes).frame())
                }
                Event::Sent { state, .. } => {
                    assert_eq!(state, State::Established);
                    answered += 1;
                    ask(&mut it);
                }
                Event::Dropped(reason) => panic!("a packet is lost: {reason:?}"),
                Event::Forgotten => unreachable!("nobody ends anything"),
            }
        }
        assert_eq!(answered, 3);
        it.stop();
    });
}

/// A client that opens its connection, so that its next packet announces a port of its own.
fn opened(it: &mut Middle) -> Pair {
    let master = Pair::of([10, 0, 0, 2].into(), 4000, [198, 51, 100, 9].into(), worker::ANNOUNCES);
    it.receive(INSIDE, master.udp(16).frame());
    assert!(matches!(it.next(), Some(Event::Sent { state: State::New, .. })));
    it.receive(INSIDE, master.udp(worker::ANNOUNCING_BYTES).frame());
    master
}

/// The first packet of a child, from that port of the server.
fn child(Announced { from, to, .. }: &Announced, sport: u16) -> Vec<u8> {
    Pair::of(*from, sport, to.0, to.1).udp(12).frame()
}

/// A packet announces a connection, and leaves when all shards know; one or two, for different shards, want to be it.
#[test]
fn an_expectation_is_met_once() {
    check(|| {
        let mut it = Middle::start(Preset::Linux);
        let master = opened(&mut it);
        let mut related = 0;
        while let Some(event) = it.next() {
            let Event::Sent { bytes, state, announced, .. } = event else { panic!("nothing is dropped") };
            if state == State::Related {
                related += 1;
                assert_eq!(bytes[30..34], [10, 0, 0, 2], "it is translated to the client");
                assert_eq!(bytes[36..38], master.source.port().to_be_bytes());
            }
            if let Some(announced) = announced {
                for sport in 1001..=thread_rng().gen_range(1001..=1002) {
                    it.receive(OUTSIDE, child(&announced, sport));
                }
            }
        }
        assert_eq!(related, 1, "the first of them is RELATED, and no other");
        it.stop();
    });
}

/// The master of an expectation ends while its child is on its way, on whatever shards both are: what comes when that is done
/// finds nothing.
#[test]
fn an_expectation_ends_with_its_master() {
    check(|| {
        let mut it = Middle::start(Preset::Linux);
        opened(&mut it);
        let (mut related, mut forgotten, mut last) = (0, 0, None);
        while let Some(event) = it.next() {
            match event {
                Event::Sent { bytes, state, announced, .. } => {
                    if state == State::Related {
                        related += 1;
                        let sport = u16::from_be_bytes([bytes[34], bytes[35]]);
                        assert_eq!(sport, 1001, "a child of a master that is over");
                    }
                    if let Some(announced) = announced {
                        it.receive(OUTSIDE, child(&announced, 1001));
                        it.forget(announced.master);
                        last = Some(announced);
                    }
                }
                Event::Forgotten => {
                    forgotten += 1;
                    if let Some(announced) = last.filter(|_| forgotten == WORKERS) {
                        it.receive(OUTSIDE, child(&announced, 1002));
                    }
                }
                Event::Dropped(reason) => panic!("a packet is lost: {reason:?}"),
            }
        }
        assert!(related <= 1 && forgotten == WORKERS);
        it.stop();
    });
}
