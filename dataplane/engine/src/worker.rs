//! The worker: receive, track, transmit, and again.

use std::mem;

use arrayvec::ArrayVec;
use dpdk::{Burst, Mempool};
use sluice_conntrack::dispatch::{self, Dispatcher};
use sluice_conntrack::frame::Handed;
use sluice_conntrack::{DropReason, Forwarding, Instant, PortId, Shard, Verdict};

use crate::acts;
use crate::clock::Clock;
use crate::command::{Answer, Command, Inbox};
use crate::dispatch::Io;
use crate::frame::{Carried, Received};
use crate::handoff::{self, Parcel};
use crate::idle::Idle;
use crate::link::Links;
use crate::port::PortCounters;
use crate::queues::Queues;
use crate::replica::Replica;
use crate::report::{Load, Stats};
use crate::watch::Watches;

/// Steps of expiry in one round: 20 us at most with ten million entries, as much as a burst is. A million entries that
/// expire at once are gone 0.7 s later on a worker that has 20 us of packets in each round (`bench`'s `expiry`).
pub const EXPIRY_BUDGET: u32 = 64;

/// Bursts that are received from each queue as a worker drains: four times what a queue of 1024 packets holds, and an end
/// where a device never runs dry.
const LAST_BURSTS: usize = 64;

/// One shard, its queues of each port, and its rings to other workers.
pub struct Worker {
    shard: Shard,
    dispatcher: Dispatcher<Carried>,
    io: Io,
    /// Those of the last burst, `decided` of them.
    verdicts: [Verdict; Burst::CAPACITY],
    decided: usize,
    load: Load,
    /// The rings to other boxes, where there are any.
    replica: Option<Box<Replica>>,
    /// Who is told what is decided about packets, while somebody is.
    watches: Watches,
    /// Whether ports are received from.
    receiving: bool,
    /// Packets received or taken over since the last drain.
    moved: u64,
}

impl Worker {
    /// A worker over these queues, which are those of its shard's number. What the box says itself comes from `pool`.
    pub fn new(shard: Shard, queues: Queues, pool: Mempool) -> Self {
        let workers = shard.steering().shards();
        Self {
            dispatcher: Dispatcher::new(&shard),
            shard,
            io: Io { links: Links::new(queues.ports, queues.hosts, pool, workers), peers: queues.peers },
            verdicts: [Verdict::dropped(DropReason::NoRoute); Burst::CAPACITY],
            decided: 0,
            load: Load::default(),
            replica: None,
            watches: Watches::default(),
            receiving: true,
            moved: 0,
        }
    }

    /// Makes a routed box a host on its links: it takes only what is sent to its ports' MAC addresses, answers ARP and
    /// neighbour discovery, and asks for its next hops. Without this, as in the replay of a capture, every frame is
    /// for the box, and leaves with the MAC addresses it came with. It sends to so many neighbours of each port at most.
    pub fn join_links(&mut self, max_neighbours: u32) {
        self.io.links.join(&mut self.shard, max_neighbours);
    }

    /// Has it tell other boxes of its connections, and know theirs.
    pub fn replicate(&mut self, replica: Replica) {
        self.replica = Some(Box::new(replica));
    }

    /// Carries out a command. Bounded work, no allocation, nothing freed.
    pub fn answer(&mut self, command: Command) -> Answer {
        match command {
            Command::List(page) => Answer::Listed(page.filled(self.shard())),
            Command::ListChanged(page, change) => {
                Answer::ChangedListed(page.filled(self.shard(), &change), change)
            }
            Command::Export(page) => Answer::Exported(page.filled(self.shard())),
            Command::ExportOne(tuple) => Answer::ExportedOne(self.shard.export_one(&tuple)),
            Command::Get(tuple, list) => Answer::Entries(acts::get(self.shard(), &tuple, list)),
            Command::Delete(list) => Answer::Entries(acts::delete(self.shard_mut(), list)),
            Command::Update(list, update) => Answer::Entries(acts::update(self.shard_mut(), list, &update)),
            Command::Insert(new) => {
                let inserted = self.shard.insert_entry(&new);
                dispatch::flush_messages(&mut self.shard, &mut self.io);
                Answer::Inserted(new, inserted)
            }
            Command::Install(list) => {
                let list = acts::install(self.shard_mut(), list);
                dispatch::flush_messages(&mut self.shard, &mut self.io);
                Answer::Installed(list)
            }
            Command::ListExpectations(page) => Answer::ExpectationsListed(page.filled(self.shard())),
            Command::Expect(master, wanted) => {
                let expected = self.shard.expect_for_operator(&master, &wanted);
                dispatch::flush_messages(&mut self.shard, &mut self.io);
                Answer::Expected(expected)
            }
            Command::Unexpect(mut ids) => {
                ids.retain(|id| self.shard_mut().unexpect(*id));
                Answer::Unexpected(ids)
            }
            Command::Listen(listener) => Answer::Listening(self.shard_mut().listen(listener)),
            Command::ListenToExpectations(listener) => {
                Answer::ListeningToExpectations(self.shard_mut().listen_to_expectations(listener))
            }
            Command::Watch(slot, watch) => Answer::Watching(self.watches.set(slot, watch)),
            Command::Stats(mut stats) => {
                self.report(&mut stats);
                Answer::Stats(stats)
            }
            Command::Configure(mut installation) => {
                self.io.links.configure(&self.shard, &installation.configuration);
                self.shard.configure(&mut installation);
                Answer::Configured(installation)
            }
            Command::Reroute(mut installation) => {
                self.io.links.configure(&self.shard, &installation.configuration);
                self.shard.reroute(&mut installation);
                Answer::Rerouted(installation)
            }
            Command::Amend(configuration) => Answer::Amended(self.shard_mut().amend(configuration)),
            Command::Role(mut change) => {
                self.shard.set_role(change.group, change.role);
                self.io.links.change_role(&self.shard, &mut change);
                Answer::RoleChanged(change)
            }
            Command::SampleSources(mut sample) => {
                sample.fill(self.shard());
                Answer::SourcesSampled(sample)
            }
            Command::PortsUsed(mut page) => {
                page.fill(self.shard());
                Answer::PortsUsed(page)
            }
            Command::Neighbours(mut page) => {
                page.fill(&self.io.links);
                Answer::Neighbours(page)
            }
            Command::Log(mut page) => {
                page.fill(self.shard_mut());
                Answer::Logged(page)
            }
            Command::Drain => Answer::Drained(self.drain()),
            Command::Stop => Answer::Stopped,
        }
    }

    /// Works until [`crate::Command::Stop`] comes or the controller is gone.
    pub fn run(&mut self, clock: &Clock, idle: Idle, inbox: &mut Inbox) {
        let mut empty_rounds = 0;
        let mut before = clock.now();
        while inbox.serve(|command| self.answer(command)) {
            let now = clock.now();
            let packets = self.poll(now);
            let after = clock.now();
            let round_ns = after.since(before).as_nanos() as u64;
            before = after;
            if packets > 0 {
                self.load.busy_ns += round_ns;
                empty_rounds = 0;
                continue;
            }
            self.load.idle_ns += round_ns;
            empty_rounds += 1;
            idle.rest(empty_rounds);
        }
    }

    /// One round at `now`: what other workers have handed over, a burst from each receive queue, and a share of expiry.
    /// Gives the number of packets.
    pub fn poll(&mut self, now: Instant) -> usize {
        let mut packets = self.take_over(now);
        if self.receiving {
            packets += self.receive_all(now);
            if !self.io.links.hosts.is_empty() {
                packets += self.receive_from_hosts(now);
            }
        }
        self.expire(now, EXPIRY_BUDGET);
        self.io.links.expire(now, &mut self.shard);
        if self.replica.as_mut().is_some_and(|replica| replica.exchange(&mut self.shard)) {
            dispatch::flush_messages(&mut self.shard, &mut self.io);
        }
        self.moved += packets as u64;
        packets
    }

    /// Ends the connections and the unfinished datagrams that have expired, of each at most `budget` steps of it. False when
    /// there is more to do.
    pub fn expire(&mut self, now: Instant, budget: u32) -> bool {
        let are_connections_done = self.shard.expire(now, budget);
        self.dispatcher.expire(now, &mut self.shard, &mut self.io, budget) && are_connections_done
    }

    /// A burst from each receive queue, from reception to transmission.
    fn receive_all(&mut self, now: Instant) -> usize {
        let mut burst = Burst::new();
        let mut packets = 0;
        for number in 0..self.io.links.ports.len() {
            let port = PortId(number as u8);
            for _ in 0..self.io.links.ports.get(port).map_or(0, |port| port.rx.len()) {
                packets += self.receive(port, &mut burst);
                self.process(now, port, &mut burst);
            }
        }
        packets
    }

    /// What the host sends, a few packets of each port, from reception to transmission.
    #[inline(never)]
    fn receive_from_hosts(&mut self, now: Instant) -> usize {
        let mut burst = Burst::new();
        let mut packets = 0;
        for number in 0..self.io.links.hosts.len() {
            let side = PortId(number as u8).host_side();
            self.io.links.receive_from_host(side, &mut burst);
            packets += burst.len();
            if !burst.is_empty() {
                self.decide(now, &mut burst, |_| (side, None), false);
            }
        }
        packets
    }

    /// Receives what waits in a queue of a port into `burst`, behind what is in it; gives the number of packets. None
    /// come from a port that there is not.
    pub fn receive(&mut self, port: PortId, burst: &mut Burst) -> usize {
        self.io.links.ports.receive(port, burst)
    }

    /// Takes packets that a device received as `port` through the shard at `now` and sends, hands off, holds or frees each. What
    /// has the tag of a VLAN that is an interface of a router came in by that. Leaves the burst empty and gives the verdicts, in
    /// order.
    pub fn process(&mut self, now: Instant, port: PortId, burst: &mut Burst) -> &[Verdict] {
        self.decided = 0;
        if !burst.is_empty() {
            let ports = &mut self.io.links.ports;
            let hashes = ports.get(port).is_some_and(|port| port.receives.hashes);
            let mut origins = [port; Burst::CAPACITY];
            if let Forwarding::Routed(_) = self.shard.configuration().forwarding {
                for (origin, mbuf) in origins.iter_mut().zip(burst.iter_mut()) {
                    *origin = ports.untag(port, mbuf);
                }
            }
            self.decide(now, burst, |index| (origins[index % Burst::CAPACITY], None), hashes);
        }
        self.verdicts()
    }

    /// Decides about a burst whose packets each came in by a port, some of them by way of another worker, and does with each
    /// what its verdict says.
    #[inline]
    fn decide(
        &mut self,
        now: Instant,
        burst: &mut Burst,
        origin: impl Fn(usize) -> (PortId, Option<Handed>),
        hashes: bool,
    ) {
        // What other shards have said before these packets came is known before they are looked up.
        self.receive_messages(now);
        let frames = burst.iter_mut().enumerate().map(|(index, mbuf)| {
            let (port, handed) = origin(index);
            Received { port, mbuf, hashes, handed }
        });
        let mut frames: ArrayVec<_, { Burst::CAPACITY }> = frames.collect();
        self.watches.note(&self.shard, &frames);
        self.shard.process(now, &mut frames, &mut self.verdicts);
        self.watches.tell(&self.shard, &self.io.links, &frames, &self.verdicts);
        drop(frames);
        self.decided = burst.len();
        let packets = burst.drain().enumerate().map(|(index, mbuf)| {
            let (port, handed) = origin(index);
            Carried { handed, ..Carried::of(port, mbuf) }
        });
        let packets = packets.zip(&mut self.verdicts);
        self.dispatcher.apply_burst(now, &mut self.shard, &mut self.io, packets);
        dispatch::flush_messages(&mut self.shard, &mut self.io);
        self.io.links.flush(&mut self.shard);
    }

    /// Takes in what other shards say, and does what packets have waited for. Gives the number of messages, and the
    /// verdict on the last packet that waits no more.
    fn receive_messages(&mut self, now: Instant) -> (usize, Option<Verdict>) {
        let heard = self.dispatcher.receive(now, &mut self.shard, &mut self.io);
        if heard.0 > 0 {
            self.io.links.flush(&mut self.shard);
        }
        heard
    }

    /// Takes in what other shards say, decides about packets that other workers have handed over, up to a burst from each,
    /// and transmits what workers without a queue have for this one's. Gives the number of packets and messages.
    pub fn take_over(&mut self, now: Instant) -> usize {
        let (mut taken, released) = self.receive_messages(now);
        self.decided = 0;
        if let Some(verdict) = released {
            self.verdicts[0] = verdict;
            self.decided = 1;
        }
        let mut burst = Burst::new();
        for ring in 0..self.io.peers.rings() {
            for _ in 0..Burst::CAPACITY {
                let Some(heard) = self.io.peers.learn(ring) else { break };
                self.io.links.learn(now, heard);
                taken += 1;
            }
            let mut origins = ArrayVec::<(PortId, Option<Handed>), { Burst::CAPACITY }>::new();
            for _ in 0..Burst::CAPACITY {
                let Some(Parcel { port, handed, packet }) = self.io.peers.take(ring) else { break };
                taken += 1;
                // No more are taken than fit.
                let pushed = burst.push(packet);
                debug_assert!(pushed.is_ok());
                origins.push((port, Some(handed)));
            }
            if !burst.is_empty() {
                self.decide(now, &mut burst, |index| origins[index], false);
            }
        }
        taken += self.io.links.collect();
        dispatch::flush_messages(&mut self.shard, &mut self.io);
        self.io.links.flush(&mut self.shard);
        taken
    }

    /// Receives what waits and from then on nothing more, and empties the rings from other workers. Gives the number of
    /// packets that have moved since it was last called.
    pub(crate) fn drain(&mut self) -> u64 {
        let now = self.shard.now();
        if mem::replace(&mut self.receiving, false) {
            let mut bursts = 0;
            while bursts < LAST_BURSTS && self.receive_all(now) > 0 {
                bursts += 1;
            }
            // Whoever asks is to ask again: packets have just come in.
            self.moved += 1;
        }
        let most = handoff::WAITING / Burst::CAPACITY;
        for _ in 0..most {
            match self.take_over(now) {
                0 => break,
                packets => self.moved += packets as u64,
            }
        }
        mem::take(&mut self.moved)
    }

    /// Fills in what has been counted.
    fn report(&self, stats: &mut Stats) {
        stats.fill(self.shard(), &self.io.links);
        stats.held = self.held() as u64 + stats.neighbours.waiting;
        stats.handed_off = self.io.peers.handed_off();
        stats.load = self.load;
    }

    /// The verdicts on the last burst, in order.
    pub fn verdicts(&self) -> &[Verdict] {
        self.verdicts.get(..self.decided).unwrap_or_default()
    }

    /// The shard.
    pub const fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The shard, between two bursts.
    pub const fn shard_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// Packets that wait for what other shards say.
    pub fn held(&self) -> usize {
        self.dispatcher.held()
    }

    /// Lets go of the queues and keeps the shard.
    pub fn into_shard(self) -> Shard {
        self.shard
    }

    /// What passed each port, by [`PortId`].
    pub fn port_counters(&self) -> impl ExactSizeIterator<Item = PortCounters> {
        self.io.links.ports.iter().map(|port| port.counters)
    }
}
