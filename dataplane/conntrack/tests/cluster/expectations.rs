//! Connections that announce others, on whatever shards both are: each announcement that leaves is met by one of those who
//! come, whoever is first, and by none when its master is over.

use crate::cluster::Cluster;
use crate::common::expecting::{Announced, announce};
use crate::common::*;
use crate::{PUBLIC, nat, numbered, seen};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sluice_conntrack::policy::{Match, Policy, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{DropReason, PortId, Shard, State, Verdict};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

/// The servers' port.
const CONTROL: u16 = 21;

/// Payloads: of a connection's first packet, of one that announces, of a child's first packet and of the answer to that.
const OPENING: usize = 16;
const ANNOUNCING: usize = 24;
const CHILD: usize = 12;
const ANSWER: usize = 20;

/// Whether a frame of UDP has so much payload.
const fn has(frame: &[u8], payload: usize) -> bool {
    u16::from_be_bytes([frame[16], frame[17]]) as usize == 28 + payload
}

/// Does what a helper does where a packet announces something: gives the connection's number with that.
pub fn help(shard: &mut Shard, came: &[u8], verdict: &mut Verdict) -> Option<(u32, Announced)> {
    if !has(came, ANNOUNCING) {
        return None;
    }
    let (packet, number) = seen(came);
    announce(shard, packet.source.1, verdict).map(|announced| (number, announced))
}

/// Connections to servers pass, and what answers them or was announced.
fn policy() -> Policy {
    rules([
        (states([State::Established, State::Related]), RuleAction::Accept),
        (Match { destination_ports: vec![CONTROL..=CONTROL], ..states([State::New]) }, RuleAction::Accept),
    ])
}

struct World {
    cluster: Cluster,
    random: ChaCha8Rng,
    /// By number: where the client's packets come in, and the frame that opens its connection.
    masters: Vec<(PortId, Pair)>,
    announced: HashMap<u32, Announced>,
    /// Those whose master is over before the children come, with the port by which those do.
    ended: HashMap<u32, PortId>,
    met: HashMap<u32, u32>,
    answered: u32,
    /// Children that come for each announcement, at most, and how often the master ends before.
    children: u32,
    ends: f64,
}

impl World {
    fn new(seed: u64, shards: u16, masters: u32) -> Self {
        let settings = Settings::of(Preset::Linux, 8 * masters);
        let random = ChaCha8Rng::seed_from_u64(!seed);
        let cluster = Cluster::new(shards, 8 * masters, &settings, &policy(), &nat(), random);
        Self {
            cluster,
            random: ChaCha8Rng::seed_from_u64(seed),
            masters: Vec::new(),
            announced: HashMap::new(),
            ended: HashMap::new(),
            met: HashMap::new(),
            answered: 0,
            children: 3,
            ends: 0.2,
        }
    }

    /// A client connects, inside or outside.
    fn begin(&mut self) {
        let number = self.masters.len() as u32;
        let host = |net: u32| IpAddr::V4(Ipv4Addr::from(net | (number / 4)));
        let port = 2000 + (number % 4) as u16;
        let (ingress, pair) = match number % 3 {
            0 => (OUTSIDE, Pair::of(host(0x6440_0000), port, PUBLIC.into(), CONTROL)),
            _ => {
                // A server for each: what comes late to one client's port is not taken for another's.
                let server = IpAddr::V4(Ipv4Addr::from(0xc633_6400 + number));
                (INSIDE, Pair::of(host(0x0a00_0000), port, server, CONTROL))
            }
        };
        self.masters.push((ingress, pair));
        self.cluster.receive(ingress, numbered(pair.udp(OPENING), number));
    }

    /// What has left reaches its peer.
    fn deliver(&mut self) {
        self.announced.extend(std::mem::take(&mut self.cluster.outside.announced));
        for (egress, frame) in std::mem::take(&mut self.cluster.outside.sent) {
            let (packet, number) = seen(&frame);
            let (ingress, pair) = self.masters[number as usize];
            if has(&frame, OPENING) {
                self.cluster.receive(ingress, numbered(pair.udp(ANNOUNCING), number));
            } else if has(&frame, ANNOUNCING) {
                self.go_on(number, egress);
            } else if has(&frame, CHILD) {
                let (source, destination, port) = self.announced[&number].becomes;
                assert_eq!(
                    (IpAddr::V4(packet.source.0), IpAddr::V4(packet.destination.0)),
                    (source, destination)
                );
                assert_eq!((packet.destination.1, egress), (port, ingress), "child of {number}");
                *self.met.entry(number).or_default() += 1;
                let back = Pair::of(destination, port, source, packet.source.1).udp(ANSWER);
                self.cluster.receive(egress, numbered(back, number));
            } else {
                let Announced { from, to, .. } = self.announced[&number];
                assert_eq!(
                    (IpAddr::V4(packet.source.0), packet.source.1),
                    to,
                    "the answer of a child of {number}"
                );
                assert_eq!(IpAddr::V4(packet.destination.0), from);
                self.answered += 1;
            }
        }
    }

    /// Now and then a master ends when it has announced something; else the server comes.
    fn go_on(&mut self, number: u32, egress: PortId) {
        let Announced { master, .. } = self.announced[&number];
        if self.random.random_bool(self.ends) {
            self.cluster.delete_everywhere(|entry| entry.original == master);
            self.ended.insert(number, egress);
        } else {
            self.come(number, egress);
        }
    }

    /// The server comes to where it was told, from some ports at once.
    fn come(&mut self, number: u32, egress: PortId) {
        let Announced { from, to, .. } = self.announced[&number];
        let first = 1000 + 4 * number as u16;
        for sport in first..first + self.random.random_range(1..=self.children as u16) {
            let child = Pair::of(from, sport, to.0, to.1);
            self.cluster.receive(egress, numbered(child.udp(CHILD), number));
        }
    }

    fn rest(&mut self) {
        while !self.cluster.is_at_rest() || !self.cluster.outside.sent.is_empty() {
            self.cluster.step();
            self.deliver();
        }
        self.cluster.check();
    }

    /// Nothing is expected any more when all time is over.
    fn end(&mut self) {
        self.cluster.now = self.cluster.now.after(secs(400));
        self.cluster.expire();
        self.cluster.check();
        let left: u64 =
            self.cluster.shards().map(|shard| u64::from(shard.len()) + shard.counters().expectations).sum();
        assert_eq!(left, 0);
    }
}

fn play(seed: u64, shards: u16, masters: u32, lane: Option<usize>) -> World {
    let mut world = World::new(seed, shards, masters);
    world.cluster.outside.lane = lane.unwrap_or(world.cluster.outside.lane);
    for _ in 0..masters {
        world.begin();
        for _ in 0..world.random.random_range(0..3 * shards) {
            world.cluster.step();
            world.deliver();
        }
    }
    world.rest();
    // Others may have been given the ports of those that have ended, for as long as their own children have not come.
    for (number, egress) in world.ended.clone() {
        world.come(number, egress);
    }
    world.rest();
    for number in world.announced.keys() {
        let met = world.met.get(number).copied().unwrap_or_default();
        let expected = u32::from(!world.ended.contains_key(number));
        let may_be_lost = lane.is_some() && met == 0;
        assert!(met == expected || may_be_lost, "seed {seed}: {met} children of {number}");
    }
    assert!(world.answered == world.met.len() as u32 || lane.is_some());
    world
}

#[test]
fn each_announcement_is_met_by_one_and_by_none_when_its_master_is_over() {
    (0..60_u64).into_par_iter().for_each(|seed| {
        let shards = [1, 2, 4][seed as usize % 3];
        let mut world = play(seed, shards, 300, None);
        assert_eq!(world.announced.len(), 300, "seed {seed}: {:?}", world.cluster.outside.drops);
        assert!(world.ended.len() > 20 && world.met.len() > 200);
        assert!(world.cluster.outside.drops.iter().all(|reason| *reason == DropReason::Policy));
        world.end();
    });
}

/// A shard whose lane is full cannot be told: then nothing is expected, and what announces it does not leave. Other packets are
/// lost where lanes are full, too, but none is met by whom it should not be.
#[test]
fn what_cannot_be_told_to_all_does_not_leave() {
    let refused: usize = (0..20_u64)
        .into_par_iter()
        .map(|seed| {
            let mut world = play(seed, 4, 300, Some(2));
            let full = |reason: &&DropReason| **reason == DropReason::ExpectationFull;
            let refused = world.cluster.outside.drops.iter().filter(full).count();
            world.end();
            refused
        })
        .sum();
    assert!(refused > 0, "lanes are full at times");
}

/// Clients of one address outside announce the same port to the same server at once, on whatever shards.
#[test]
fn no_port_outside_is_announced_twice() {
    for seed in 0..10 {
        let mut world = World::new(seed, 4, 200);
        (world.children, world.ends) = (1, 0.0);
        for number in 0..200 {
            let client = IpAddr::from([10, 0, 0, number as u8]);
            let pair = Pair::of(client, 2000, [198, 51, 100, 1].into(), CONTROL);
            world.masters.push((INSIDE, pair));
            world.cluster.receive(INSIDE, numbered(pair.udp(OPENING), number));
        }
        world.rest();
        assert_eq!((world.announced.len(), world.met.len()), (200, 200));
        let to: HashSet<_> = world.announced.values().map(|it| it.to).collect();
        assert!(to.len() > 150, "each child has come to its own client, few of them to one port");
    }
}
