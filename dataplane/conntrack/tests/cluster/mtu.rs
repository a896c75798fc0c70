//! Packets that are larger than the MTU of their way out: cut into fragments where that may be, and else refused.

use crate::cluster::Cluster;
use crate::common::*;
use crate::fragments::{is_sound, offsets, put_together};
use crate::nat;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::counters::Counters;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{Configuration, DropReason, Forwarding, wire};

const ROOM: u32 = 2000;

/// The MTU outside.
const MTU: u16 = 600;

/// Header and payload of fragments that fill it.
const HEADER_BYTES: usize = 20;
const FULL_BYTES: usize = (MTU as usize - HEADER_BYTES) / 8 * 8;

/// Where the header is in a frame.
const IP: usize = 14;

/// A router with NAT and a small MTU outside.
struct World {
    cluster: Cluster,
    random: ChaCha8Rng,
}

impl World {
    fn new(shards: u16) -> Self {
        let forwarding = Forwarding::Routed(Box::new(router_of(MTU)));
        let settings = Settings::of(Preset::Linux, ROOM);
        let configuration = Configuration::new(settings, accept_all(), forwarding).with_nat(nat());
        let random = ChaCha8Rng::seed_from_u64(u64::from(shards));
        Self { cluster: Cluster::of(shards, ROOM, &configuration, random.clone()), random }
    }

    /// Frames come in from inside in any order, and all that can leaves.
    fn pass(&mut self, mut frames: Vec<Vec<u8>>) {
        self.cluster.outside.sent.clear();
        self.cluster.outside.drops.clear();
        frames.shuffle(&mut self.random);
        frames.into_iter().for_each(|frame| self.cluster.receive(INSIDE, frame));
        while !self.cluster.is_at_rest() {
            self.cluster.step();
        }
    }

    fn sent(&self) -> Vec<&[u8]> {
        self.cluster.outside.sent.iter().map(|(_, frame)| &frame[IP..]).collect()
    }

    /// What has left is a datagram with such a payload in as few fragments as there can be, all sound.
    fn is_cut(&self, payload_len: usize) {
        let left = put_together(&self.cluster.outside.sent);
        assert!(is_sound(&left, payload_len) && left.egress == OUTSIDE, "{left:?}");
        // The last may end where no other could begin.
        let behind_first = payload_len + 8 - (usize::from(MTU) - HEADER_BYTES);
        let expected: Vec<usize> = (0..behind_first + FULL_BYTES).step_by(FULL_BYTES).collect();
        assert_eq!(left.offsets, expected);
        for packet in &self.cluster.outside.sent {
            let headers = wire::parse(packet).expect("a good header");
            assert!((headers.l3_len as usize, packet.1.len()) <= (MTU.into(), IP + usize::from(MTU)));
            assert_eq!((headers.ttl, &packet.1[18..20]), (63, &[0, 7][..]), "TTL and identification");
        }
        let more = self.sent().iter().map(|packet| packet[6] & 0x20 != 0).collect::<Vec<_>>();
        assert!(more.iter().rev().skip(1).all(|more| *more) && !more[more.len() - 1]);
    }

    fn count(&self, counter: impl Fn(&Counters) -> u64) -> u64 {
        self.cluster.shards().map(|shard| counter(&shard.counters())).sum()
    }
}

/// Changes the header of an IPv4 frame, whose checksum follows.
fn edit(frame: &mut [u8], change: impl FnOnce(&mut [u8])) {
    let header_bytes = usize::from(frame[IP] & 15) * 4;
    let header = &mut frame[IP..IP + header_bytes];
    change(header);
    header[10..12].fill(0);
    let sum = wire::checksum::Sum::default().bytes(header).checksum();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// With its identification as `fragments` has it.
fn whole(packet: &Packet) -> Vec<u8> {
    let mut frame = packet.frame();
    edit(&mut frame, |header| header[5] = 7);
    frame
}

/// A client whose source is translated.
fn client(port: u16) -> Pair {
    Pair::of([10, 1, 0, 9].into(), port, [198, 51, 100, 2].into(), 53)
}

#[test]
fn what_is_too_large_is_cut_to_the_mtu() {
    for shards in [1, 2, 4] {
        let mut world = World::new(shards);
        let (mut packets, mut created) = (0, 0);
        for number in 0..20 {
            let payload_len = world.random.random_range(700..1400);
            let packet = client(4000 + number).udp(payload_len);
            let frames = match number % 2 {
                0 => vec![whole(&packet)],
                // One of them is too large.
                _ => {
                    let mut offsets = offsets(&mut world.random, payload_len);
                    offsets.retain(|offset| *offset == 0 || *offset > MTU.into());
                    packet.fragments(7, &offsets)
                }
            };
            packets += frames.len();
            world.pass(frames);
            created += world.cluster.outside.sent.len();
            world.is_cut(payload_len);
        }
        assert!(world.cluster.outside.drops.is_empty());
        assert_eq!(world.count(|counters| counters.fragmented), packets as u64);
        assert_eq!(world.count(|counters| counters.fragments_created), created as u64);
        world.cluster.check();
    }
}

#[test]
fn a_datagram_whose_fragments_fit_leaves_as_it_came() {
    let mut world = World::new(2);
    world.pass(client(4000).udp(1300).fragments(7, &[0, 96, 600, 1152]));
    assert_eq!(put_together(&world.cluster.outside.sent).offsets, [0, 96, 600, 1152]);
    assert_eq!(world.count(|counters| counters.fragmented), 0);
}

#[test]
fn what_must_not_be_cut_is_refused() {
    let dont_fragment = |frame: &mut Vec<u8>| edit(frame, |header| header[6] |= 0x40);
    let mut world = World::new(2);
    let packet = client(4000).udp(1300);
    let mut frames = packet.fragments(7, &[0, 1000]);
    frames.iter_mut().for_each(dont_fragment);
    let mut frame = whole(&packet);
    dont_fragment(&mut frame);
    let v6 = Pair::at("[fd00::9]:4000", "[2001:db8:9::2]:53").udp(1300);
    for frames in [frames, vec![frame], vec![v6.frame()], v6.fragments(7, &[0, 1000])] {
        let came = frames.len();
        world.pass(frames);
        assert_eq!(world.cluster.outside.drops, vec![DropReason::TooBig; came]);
        assert!(world.sent().is_empty());
    }
    // Of several fragments the largest says whether it may be.
    for (index, may_be) in [(0, false), (1, true)] {
        let mut frames = packet.fragments(7, &[0, 1000]);
        dont_fragment(&mut frames[index]);
        world.pass(frames);
        assert_eq!(world.sent().is_empty(), !may_be);
        assert!(world.sent().iter().all(|packet| packet[6] & 0x40 == 0));
    }
}

#[test]
fn options_that_are_not_copied_are_in_the_first_fragment_alone() {
    const NO_OPERATION: u8 = 1;
    // A route to record, a router alert, the end of options.
    let options = [NO_OPERATION, 7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0];
    let copied = [NO_OPERATION, 1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0];
    let mut world = World::new(1);
    world.pass(vec![client(4000).udp(1300).frame_with_options(&options)]);
    let sent = world.sent();
    assert_eq!(sent.len(), 3);
    assert_eq!(sent.iter().map(|packet| &packet[20..32]).collect::<Vec<_>>(), [options, copied, copied]);
    assert!(world.cluster.outside.sent.iter().all(|packet| wire::parse(packet).is_ok()));
}

#[test]
fn a_datagram_that_has_seen_congestion_is_cut_into_fragments_that_have() {
    let mut world = World::new(1);
    let mut frames = client(4000).udp(1300).fragments(7, &[0, 1000]);
    edit(&mut frames[0], |header| header[1] = 2);
    edit(&mut frames[1], |header| header[1] = 3);
    world.pass(frames);
    assert!(world.sent().iter().all(|packet| packet[1] == 3));
    assert_eq!(world.sent().len(), 3);
}

#[test]
fn without_memory_for_all_fragments_a_packet_is_dropped() {
    for frames in [vec![whole(&client(4000).udp(1300))], client(4000).udp(1300).fragments(7, &[0, 1000])] {
        let mut world = World::new(1);
        world.cluster.outside.memory = 2;
        let came = frames.len();
        world.pass(frames);
        assert_eq!(world.cluster.outside.drops, vec![DropReason::NoBuffer; came]);
        let counted = world.count(|counters| counters.drops[DropReason::NoBuffer as usize]);
        assert_eq!(counted, came as u64);
        assert_eq!(world.count(|counters| counters.fragments_created), 2);
        assert_eq!(world.count(|counters| counters.fragmented), 0);
        assert_eq!(world.sent().len(), 2);
    }
}
