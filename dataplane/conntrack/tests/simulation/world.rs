//! A world of peers, a line that loses, doubles and reorders, and one middlebox between them.

use crate::common::frame::Segment;
use crate::common::*;
use crate::peer::End;
use crate::sight;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Instant, PortId};
use std::collections::BTreeMap;

/// How long a peer waits before it sends again.
const RETRY_MS: u64 = 800;

/// A question is given up, and a connection has failed, after so many times.
const TRIES: u32 = 60;

/// What goes over the line: the frame, and what the receiving peer reads in it.
#[derive(Clone, Debug)]
struct Flight {
    conversation: usize,
    from: usize,
    frame: Vec<u8>,
    message: Message,
}

#[derive(Clone, Debug)]
enum Message {
    Segment(Segment),
    /// A question or an answer, by its number.
    Word(u32),
    /// Nothing that a peer would answer.
    Noise,
}

#[derive(Debug)]
enum Event {
    AtBox(Flight),
    AtPeer(Flight),
    Retry { conversation: usize, side: usize, tries: u32 },
}

/// Two peers: 0 is inside, 1 is outside.
#[derive(Debug)]
enum Talk {
    Tcp(Box<[End; 2]>),
    /// So many questions, each asked until it is answered.
    Questions {
        pair: Pair,
        ping: bool,
        asked: u32,
        left: u32,
    },
}

#[derive(Debug)]
pub struct World {
    pub it: Middlebox,
    pub rng: ChaCha8Rng,
    /// Percent of frames that are lost, and of those that come twice.
    pub lossy: u32,
    conversations: Vec<Talk>,
    /// How the outside peer of each conversation sees it: from the inside one to itself. It answers to that.
    views: Vec<Pair>,
    /// Frames that reached an inside peer with another address or port than it speaks from.
    pub misled: u32,
    events: BTreeMap<(Instant, u64), Event>,
    count: u64,
    /// A frame that went by, for others to tamper with.
    seen: Vec<u8>,
}

impl World {
    pub fn new(seed: u64, it: Middlebox, lossy: u32) -> Self {
        Self {
            it,
            rng: ChaCha8Rng::seed_from_u64(seed),
            lossy,
            conversations: vec![],
            views: vec![],
            misled: 0,
            events: BTreeMap::new(),
            count: 0,
            seen: vec![],
        }
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// A new conversation between the hosts of `pair`, which begins within `spread_ms`.
    pub fn talk(&mut self, pair: Pair, spread_ms: u64) {
        let talk = match self.rng.random_range(0..10) {
            0..6 => {
                let mut end = |pair| {
                    let bytes = self.rng.random_range(0..30_000);
                    let scale = self.rng.random_bool(0.7).then(|| self.rng.random_range(0..9));
                    End::new(pair, self.rng.next_u32(), bytes, scale)
                };
                Talk::Tcp(Box::new([end(pair), end(pair.inverse())]))
            }
            kind => Talk::Questions { pair, ping: kind > 8, asked: 0, left: self.rng.random_range(1..6) },
        };
        let conversation = self.conversations.len();
        self.conversations.push(talk);
        self.views.push(pair);
        let wait = self.rng.random_range(0..=spread_ms);
        self.later(wait, Event::Retry { conversation, side: 0, tries: 0 });
    }

    /// How many conversations have come to their end.
    pub fn finished(&self) -> usize {
        let done = |talk: &&Talk| match talk {
            Talk::Tcp(ends) => ends.iter().all(End::is_done),
            Talk::Questions { left, .. } => *left == 0,
        };
        self.conversations.iter().filter(done).count()
    }

    /// A frame that went by not long ago.
    pub fn overheard(&self) -> &[u8] {
        &self.seen
    }

    /// A frame of somebody's that is no part of a conversation comes to the box.
    pub fn inject(&mut self, port: PortId, frame: Vec<u8>) {
        let flight = Flight { conversation: 0, from: usize::from(port.0), frame, message: Message::Noise };
        self.later(0, Event::AtBox(flight));
    }

    fn later(&mut self, ms_ahead: u64, event: Event) {
        self.count += 1;
        self.events.insert((self.it.now.after(ms(ms_ahead)), self.count), event);
    }

    /// Lets the next thing happen; false when there is nothing more to come. Frames that reach the box within a
    /// few milliseconds are one burst.
    pub fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.events.pop_first() else { return false };
        self.it.now = self.it.now.max(at);
        match event {
            Event::Retry { conversation, side, tries } => self.retry(conversation, side, tries),
            Event::AtPeer(flight) => self.arrive(&flight),
            Event::AtBox(flight) => {
                let mut flights = vec![flight];
                let until = at.after(ms(2));
                while let Some(next) = self.events.first_entry()
                    && next.key().0 <= until
                    && flights.len() < 70
                    && matches!(next.get(), Event::AtBox(_))
                {
                    if let Event::AtBox(flight) = next.remove() {
                        flights.push(flight);
                    }
                }
                self.pass_box(flights);
            }
        }
        true
    }

    fn pass_box(&mut self, mut flights: Vec<Flight>) {
        let mut frames: Vec<_> = flights
            .iter_mut()
            .map(|flight| (PortId(flight.from as u8), std::mem::take(&mut flight.frame)))
            .collect();
        let verdicts = self.it.burst(&mut frames).to_vec();
        for ((mut flight, (_, frame)), verdict) in flights.into_iter().zip(frames).zip(verdicts) {
            if self.chance(10) {
                self.seen.clone_from(&frame);
            }
            flight.frame = frame;
            let crosses = verdict.action == Action::Forward(PortId(1 - flight.from as u8));
            if crosses && !matches!(flight.message, Message::Noise) {
                sight::assert_sound(&flight.frame);
                self.travel(flight, Event::AtPeer);
            }
        }
    }

    /// Puts a frame on the line.
    fn travel(&mut self, flight: Flight, arrival: fn(Flight) -> Event) {
        if self.chance(self.lossy) {
            return;
        }
        // A SYN that comes late or once more, when the connection is closing already, begins a new one, for Linux
        // as for us.
        let syn = matches!(&flight.message, Message::Segment(segment) if segment.flags & 2 != 0);
        let copies = 1 + u32::from(!syn && self.chance(self.lossy));
        for _ in 0..copies {
            // A line that loses nothing keeps the order, too.
            let late = if !syn && self.chance(self.lossy) { 60 } else { 5 };
            let delay = if self.lossy == 0 { 3 } else { self.rng.random_range(0..late) };
            self.later(delay, arrival(flight.clone()));
        }
    }

    fn retry(&mut self, conversation: usize, side: usize, tries: u32) {
        let sent = match &mut self.conversations[conversation] {
            Talk::Tcp(ends) if !ends[side].is_done() => {
                let segments = ends[side].retransmit();
                self.send_segments(conversation, side, segments);
                true
            }
            Talk::Questions { asked, left, .. } if *left > 0 => {
                *asked += u32::from(*asked == 0);
                let word = *asked;
                self.send_word(conversation, 0, word);
                true
            }
            _ => false,
        };
        if sent && tries < TRIES {
            let jitter = self.rng.random_range(0..200);
            self.later(RETRY_MS + jitter, Event::Retry { conversation, side, tries: tries + 1 });
        }
    }

    fn arrive(&mut self, flight: &Flight) {
        let (conversation, side) = (flight.conversation, 1 - flight.from);
        let seen = sight::pair_of(&flight.frame);
        if side == 1 {
            self.views[conversation] = seen;
        } else if seen.destination != self.own(conversation).source {
            self.misled += 1;
            return;
        }
        match (&mut self.conversations[conversation], &flight.message) {
            (Talk::Tcp(ends), Message::Segment(segment)) => {
                let was_silent = ends[side].is_silent();
                let answer = ends[side].receive(segment);
                if was_silent && side == 1 {
                    self.later(RETRY_MS, Event::Retry { conversation, side, tries: 0 });
                }
                self.send_segments(conversation, side, answer);
            }
            (Talk::Questions { .. }, Message::Word(word)) if side == 1 => {
                self.send_word(conversation, 1, *word);
            }
            (Talk::Questions { asked, left, .. }, Message::Word(word)) if word == asked && *left > 0 => {
                *asked += 1;
                *left -= 1;
            }
            _ => {}
        }
    }

    /// A conversation as its inside peer sees it.
    fn own(&self, conversation: usize) -> Pair {
        match &self.conversations[conversation] {
            Talk::Tcp(ends) => ends[0].pair(),
            Talk::Questions { pair, .. } => *pair,
        }
    }

    /// The addresses that a peer of a conversation sends with.
    fn pair_from(&self, conversation: usize, from: usize) -> Pair {
        match from {
            0 => self.own(conversation),
            _ => self.views[conversation].inverse(),
        }
    }

    fn send_segments(&mut self, conversation: usize, from: usize, segments: Vec<Segment>) {
        for segment in segments {
            let frame = self.pair_from(conversation, from).segment(&segment).frame();
            self.travel(
                Flight { conversation, from, frame, message: Message::Segment(segment) },
                Event::AtBox,
            );
        }
    }

    fn send_word(&mut self, conversation: usize, from: usize, word: u32) {
        let Talk::Questions { ping, .. } = &self.conversations[conversation] else { return };
        let (pair, seq) = (self.pair_from(conversation, from), word as u16);
        let packet = match (from, ping) {
            (0, true) => pair.echo(pair.source.port(), seq),
            (_, true) => pair.echo_reply(pair.destination.port(), seq),
            (0, false) => pair.udp(40),
            (_, false) => pair.udp(200),
        };
        let frame = packet.frame();
        self.travel(Flight { conversation, from, frame, message: Message::Word(word) }, Event::AtBox);
    }
}
