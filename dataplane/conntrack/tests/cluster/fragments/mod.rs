//! Datagrams in fragments, which come to any shard in any order: each leaves whole or not at all, as from a box of one shard.

mod host;
mod odd;

use crate::cluster::Cluster;
use crate::common::frame::init;
use crate::common::{INSIDE, OUTSIDE, Pair, accept_all, configuration, firewall, routed, secs};
use crate::{PUBLIC, masquerade, nat};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::InvalidReason;
use sluice_conntrack::{DropReason, PortId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Boxes that are tried.
const SEEDS: u64 = 40;

const ROOM: u32 = 2000;

/// Steps in which everything that can move has moved.
const MANY_STEPS: usize = 3000;

/// A datagram as it has left: from whom to whom, its L4 bytes, and how those were cut.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    pub egress: PortId,
    pub pair: Pair,
    pub l4: Vec<u8>,
    pub offsets: Vec<usize>,
}

/// What leaves when these frames come in; `None` where nothing does.
pub fn pass(cluster: &mut Cluster, port: PortId, frames: Vec<Vec<u8>>) -> Option<Left> {
    cluster.outside.sent.clear();
    frames.into_iter().for_each(|frame| cluster.receive(port, frame));
    while !cluster.is_at_rest() {
        cluster.step();
    }
    let sent = &cluster.outside.sent;
    (!sent.is_empty()).then(|| put_together(sent))
}

/// Puts the fragments of a datagram together that have left one behind the other.
pub fn put_together(sent: &[(PortId, Vec<u8>)]) -> Left {
    let mut left: Option<Left> = None;
    for (egress, frame) in sent {
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let (source, destination, start, bytes): (IpAddr, IpAddr, usize, &[u8]) = if frame[12] == 8 {
            let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap());
            let bytes = &frame[34..14 + usize::from(word(16))];
            (address(26).into(), address(30).into(), usize::from(word(20) & 0x1fff) * 8, bytes)
        } else {
            let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap());
            let bytes = &frame[62..54 + usize::from(word(18))];
            (address(22).into(), address(38).into(), usize::from(word(56) & !7), bytes)
        };
        let it = left.get_or_insert_with(|| {
            let pair = Pair::of(source, 0, destination, 0);
            Left { egress: *egress, pair, l4: Vec::new(), offsets: Vec::new() }
        });
        assert_eq!((it.egress, it.pair.source.ip(), it.l4.len()), (*egress, source, start), "in order");
        it.l4.extend(bytes);
        it.offsets.push(start);
    }
    let mut left = left.expect("something has left");
    left.pair.source.set_port(u16::from_be_bytes([left.l4[0], left.l4[1]]));
    left.pair.destination.set_port(u16::from_be_bytes([left.l4[2], left.l4[3]]));
    left
}

struct World {
    cluster: Cluster,
    random: ChaCha8Rng,
    came: usize,
}

impl World {
    fn new(shards: u16, seed: u64) -> Self {
        Self::with(shards, seed, nat())
    }

    fn with(shards: u16, seed: u64, nat: Nat) -> Self {
        let settings = Settings::of(Preset::Linux, ROOM);
        let configuration = configuration(settings, accept_all()).with_nat(nat);
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { cluster: Cluster::of(shards, ROOM, &configuration, random.clone()), random, came: 0 }
    }

    /// The fragments of a datagram come, and all that can leaves.
    fn pass(&mut self, port: PortId, mut frames: Vec<Vec<u8>>) {
        self.cluster.outside.sent.clear();
        frames.shuffle(&mut self.random);
        self.came += frames.len();
        frames.into_iter().for_each(|frame| self.cluster.receive(port, frame));
        for _ in 0..MANY_STEPS {
            self.cluster.step();
        }
    }
}

/// Offsets to cut so many bytes at.
pub fn offsets(random: &mut ChaCha8Rng, len: usize) -> Vec<usize> {
    let mut offsets: Vec<usize> =
        (0..random.random_range(1..9)).map(|_| random.random_range(1..len / 8) * 8).chain([0]).collect();
    offsets.sort_unstable();
    offsets.dedup();
    offsets
}

fn pairs(random: &mut ChaCha8Rng) -> (PortId, Pair) {
    let host = random.random_range(1..200);
    let port = random.random_range(4000..60_000);
    match random.random_range(0..4) {
        0 => (OUTSIDE, Pair::of([198, 51, 100, host].into(), port, PUBLIC.into(), 80)),
        1 => (INSIDE, Pair::v6(port, 53)),
        2 => (INSIDE, Pair::of([10, 129, 0, host].into(), port, [198, 51, 100, 2].into(), 53)),
        _ => (INSIDE, Pair::of([10, 1, 0, host].into(), port, [198, 51, 100, 2].into(), 53)),
    }
}

/// Whether a datagram says of itself what it carries between these two.
pub fn is_sound(left: &Left, payload_len: usize) -> bool {
    let rebuilt = left.pair.udp(payload_len).datagram();
    rebuilt.ends_with(&left.l4)
}

fn exchange(seed: u64) {
    for shards in [1, 2, 4] {
        let mut world = World::new(shards, seed);
        for number in 0..8 {
            let (ingress, pair) = pairs(&mut world.random);
            let payload_len = world.random.random_range(100..3000);
            let offsets_there = offsets(&mut world.random, payload_len);
            world.pass(ingress, pair.udp(payload_len).fragments(number, &offsets_there));
            let there = put_together(&world.cluster.outside.sent);
            assert_eq!(there.offsets, offsets_there, "seed {seed}, {shards} shards");
            assert!(is_sound(&there, payload_len), "seed {seed}, {shards} shards: {:?}", there.pair);
            let is_plain = ingress == OUTSIDE || pair.source.is_ipv6();
            assert_eq!(there.pair.source == pair.source, is_plain);

            let answer = there.pair.inverse();
            let offsets_back = offsets(&mut world.random, payload_len);
            world.pass(there.egress, answer.udp(payload_len).fragments(number, &offsets_back));
            let back = put_together(&world.cluster.outside.sent);
            assert_eq!((back.egress, back.pair, &back.offsets), (ingress, pair.inverse(), &offsets_back));
            assert!(is_sound(&back, payload_len));
        }
        world.cluster.now = world.cluster.now.after(secs(1_000_000));
        world.cluster.expire();
        world.cluster.check();
        let left = world.cluster.shards().map(|shard| shard.len() + shard.signposts());
        assert_eq!(left.sum::<u32>(), 0, "seed {seed}");
        assert!(world.cluster.outside.drops.is_empty());
    }
}

#[test]
fn datagrams_pass_both_ways_whatever_order_their_fragments_come_in() {
    (0..SEEDS).into_par_iter().for_each(exchange);
}

/// Rings to other shards are full now and then, fragments are lost and come twice: none leaves without the others.
fn lose(seed: u64) {
    for shards in [1, 2, 4] {
        let mut world = World::new(shards, seed);
        world.cluster.outside.congestion = 0.2;
        let mut sent = 0;
        for number in 0..30 {
            let (ingress, pair) = pairs(&mut world.random);
            let payload_len = world.random.random_range(100..1000);
            let offsets = offsets(&mut world.random, payload_len);
            let mut frames = pair.udp(payload_len).fragments(number, &offsets);
            match world.random.random_range(0..3) {
                0 => drop(frames.pop()),
                1 => frames.push(frames[0].clone()),
                _ => {}
            }
            world.pass(ingress, frames);
            sent += world.cluster.outside.sent.len();
            if !world.cluster.outside.sent.is_empty() {
                let left = put_together(&world.cluster.outside.sent);
                assert!(left.offsets == offsets && is_sound(&left, payload_len), "seed {seed}");
            }
        }
        world.cluster.now = world.cluster.now.after(secs(1_000_000));
        world.cluster.expire();
        world.cluster.check();
        let drops = &world.cluster.outside.drops;
        assert_eq!(
            sent + drops.len(),
            world.came,
            "seed {seed}, {shards} shards: each has left or was dropped"
        );
        assert!(drops.contains(&DropReason::FragmentTimeout));
        let left = world.cluster.shards().map(|shard| shard.len() + shard.signposts());
        assert_eq!(left.sum::<u32>(), 0, "seed {seed}");
    }
}

#[test]
fn a_datagram_leaves_whole_or_not_at_all() {
    (0..SEEDS).into_par_iter().for_each(lose);
}

/// Whoever sent the first fragment is told where the rest does not come: of IPv6 always, of IPv4 by the host that the datagram is
/// for (RFC 8200 section 4.5, RFC 792).
#[test]
fn who_sent_the_first_fragment_is_told_that_the_rest_has_not_come() {
    let configuration = routed(Settings::of(Preset::Linux, ROOM), accept_all(), Nat::default());
    let v6 = ("[fd00::9]:4000", "[2001:db8:9::2]:53");
    for ((from, to), index, told) in [
        (v6, 0, Some((62, [3, 1]))),
        (v6, 1, None),
        (("[fd00::9]:4000", "[fd00::1]:53"), 0, Some((62, [3, 1]))),
        (("10.0.0.9:4000", "198.51.100.2:53"), 0, None),
        (("10.0.0.9:4000", "10.0.0.1:53"), 0, Some((34, [11, 1]))),
        (("10.0.0.9:4000", "10.0.0.1:53"), 1, None),
    ] {
        let mut cluster = Cluster::of(2, ROOM, &configuration, ChaCha8Rng::seed_from_u64(1));
        let frames = Pair::at(from, to).udp(1000).fragments(7, &[0, 400]);
        cluster.receive(INSIDE, frames[index].clone());
        for _ in 0..MANY_STEPS {
            cluster.step();
        }
        cluster.now = cluster.now.after(secs(61));
        cluster.expire();
        assert_eq!(cluster.outside.drops, [DropReason::FragmentTimeout]);
        let answers = &cluster.outside.answers;
        assert_eq!(answers.len(), usize::from(told.is_some()), "{from} to {to}");
        if let (Some((at, expected)), [(port, frame)]) = (told, &answers[..]) {
            // Behind an IPv6 header without extensions, or an IPv4 header without options.
            let at = if frame[12] == 8 { at } else { at - 8 };
            assert_eq!((*port, &frame[at..at + 2]), (INSIDE, &expected[..]));
            let quote = &frame[at + 8..];
            assert_eq!(quote, &frames[0][14..14 + quote.len()], "it quotes the fragment as it came");
        }
    }
}

/// Of several next headers the first fragment's counts, and all leave with that (RFC 8200 section 4.5).
#[test]
fn later_fragments_leave_with_the_next_header_of_the_first() {
    const NEXT_HEADER: usize = 54;
    let mut world = World::new(2, 1);
    let mut frames = Pair::v6(4000, 53).udp(1000).fragments(7, &[0, 400, 800]);
    frames[1][NEXT_HEADER] = 6;
    frames[2][NEXT_HEADER] = 50;
    world.pass(INSIDE, frames);
    let sent = &world.cluster.outside.sent;
    assert!(is_sound(&put_together(sent), 1000));
    assert!(sent.iter().all(|(_, frame)| frame[NEXT_HEADER] == 17));
}

#[test]
fn a_source_has_its_unfinished_datagrams_at_all_workers_together() {
    for shards in [1, 2, 4] {
        let mut settings = Settings::of(Preset::Linux, ROOM);
        settings.fragments.datagrams = 8;
        let configuration = configuration(settings, accept_all());
        let mut cluster = Cluster::of(shards, ROOM, &configuration, ChaCha8Rng::seed_from_u64(1));
        for number in 1..200 {
            let pair = Pair::of([192, 168, 1, 6].into(), 4000, [198, 51, 100, number].into(), 53);
            cluster.receive(INSIDE, pair.udp(1000).fragments(7, &[0, 400]).remove(0));
        }
        for _ in 0..MANY_STEPS {
            cluster.step();
        }
        let held: u64 = cluster.shards().map(|shard| shard.counters().fragments_held).sum();
        assert_eq!(held, 8, "{shards} shards");
    }
}

/// Protocols that have no ports go by their addresses, and what SCTP's CRC covers is the datagram.
#[test]
fn datagrams_of_every_protocol_leave_as_they_came() {
    const GRE: u8 = 47;
    const ESP: u8 = 50;
    const EXPERIMENTAL: u8 = 253;
    // INIT with a parameter that is skipped: 400 bytes of its own.
    let mut chunk = init(1);
    chunk[2..4].copy_from_slice(&420_u16.to_be_bytes());
    chunk.extend([0xc0, 1, 1, 144]);
    chunk.resize(420, 0x55);
    for shards in [1, 2, 4] {
        for pair in Pair::both(4000, 5000) {
            let of = |protocol| pair.packet(protocol, vec![0x10; 444], None);
            let gre = pair.packet(GRE, [&[0, 0, 8, 0][..], &[0x55; 440]].concat(), None);
            let sctp = pair.sctp(0, &chunk);
            for (packet, protocol) in
                [(gre, GRE), (of(ESP), ESP), (of(EXPERIMENTAL), EXPERIMENTAL), (sctp.clone(), 132)]
            {
                let mut world = World::with(shards, 1, Nat::default());
                let frames = packet.fragments(7, &[0, 80, 400]);
                world.pass(INSIDE, frames.clone());
                let sent: Vec<_> =
                    world.cluster.outside.sent.iter().map(|(_, frame)| frame.clone()).collect();
                assert_eq!(sent, frames, "protocol {protocol} by {shards} shards");
                let entries: u32 = world.cluster.shards().map(|shard| shard.len()).sum();
                assert_eq!(entries, 1);
            }
            // The last byte, which only the last fragment has.
            let mut spoilt = sctp.fragments(7, &[0, 80, 400]);
            *spoilt[2].last_mut().unwrap() ^= 1;
            let mut world = World::with(shards, 1, Nat::default());
            world.pass(INSIDE, spoilt);
            assert_eq!(invalid(&world.cluster, InvalidReason::BadChecksum), 1);
        }
    }
}

fn invalid(cluster: &Cluster, reason: InvalidReason) -> u64 {
    cluster.shards().map(|shard| shard.counters().invalid[reason as usize]).sum()
}
