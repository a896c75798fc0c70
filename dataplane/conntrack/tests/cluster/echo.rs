//! Fragmented echo requests to the box itself: answered over the fragments that came, as fast as the box may speak.

use crate::cluster::Cluster;
use crate::common::*;
use crate::fragments::{Left, offsets, put_together};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::counters::Counters;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::wire;

const ROOM: u32 = 2000;

/// The answers that the box may give at once.
const BURST: u64 = 100;

fn cluster(shards: u16) -> (Cluster, ChaCha8Rng) {
    let random = ChaCha8Rng::seed_from_u64(u64::from(shards));
    let configuration = routed(Settings::of(Preset::Linux, ROOM), accept_all(), Nat::default());
    (Cluster::of(shards, ROOM, &configuration, random.clone()), random)
}

fn pass(cluster: &mut Cluster, random: &mut ChaCha8Rng, mut frames: Vec<Vec<u8>>) {
    cluster.outside.sent.clear();
    frames.shuffle(random);
    frames.into_iter().for_each(|frame| cluster.receive(INSIDE, frame));
    while !cluster.is_at_rest() {
        cluster.step();
    }
}

fn count(cluster: &Cluster, counter: impl Fn(&Counters) -> u64) -> u64 {
    cluster.shards().map(|shard| counter(&shard.counters())).sum()
}

/// A host that asks the box, by both families.
fn hosts() -> [Pair; 2] {
    [Pair::at("10.0.0.9:0", "10.0.0.1:0"), Pair::at("[fd00::9]:0", "[fd00::1]:0")]
}

fn echo(pair: Pair, is_reply: bool, data: &[u8]) -> Packet {
    let kind = match (pair.source.is_ipv4(), is_reply) {
        (true, false) => 8,
        (true, true) => 0,
        (false, is_reply) => 128 + u8::from(is_reply),
    };
    pair.icmp(kind, 0, [0, 9, 0, 1], data)
}

#[test]
fn a_fragmented_echo_request_to_the_box_is_answered_as_it_came() {
    for shards in [1, 2, 4] {
        let (mut cluster, mut random) = cluster(shards);
        for pair in hosts() {
            for bytes in [200, 1480, 20_000, 65_400] {
                let data: Vec<u8> = (0..bytes).map(|_| random.random()).collect();
                let request = echo(pair, false, &data);
                let offsets = offsets(&mut random, bytes);
                let mut frames = request.fragments(7, &offsets);
                frames.iter_mut().for_each(|frame| frame[6..12].fill(4));
                let came = frames.len();
                pass(&mut cluster, &mut random, frames);
                let sent = &cluster.outside.sent;
                let Left { egress, pair: left, l4, offsets: offsets_back } = put_together(sent);
                assert_eq!(
                    (egress, left.source.ip(), left.destination.ip(), &offsets_back),
                    (INSIDE, pair.destination.ip(), pair.source.ip(), &offsets)
                );
                let reply = echo(pair.inverse(), true, &data).datagram();
                assert!(reply.ends_with(&l4), "{shards} shards, {bytes} bytes: the checksum is right, too");
                for packet in sent {
                    let headers = wire::parse(packet).expect("a good header");
                    assert_eq!((headers.ttl, &packet.1[..12]), (64, &[[4; 6], [2; 6]].concat()[..]));
                }
                assert_eq!(sent.len(), came);
            }
        }
        assert_eq!(count(&cluster, |counters| counters.answers), 8);
        assert_eq!(count(&cluster, |counters| counters.fragmented), 8, "each answer leaves in fragments");
        assert_eq!(count(&cluster, |counters| counters.fragments_created), cluster.outside.replies as u64);
        assert!(cluster.outside.drops.is_empty() && cluster.outside.answers.is_empty());
        cluster.now = cluster.now.after(secs(1000));
        cluster.expire();
        cluster.check();
    }
}

#[test]
fn fragmented_echo_requests_are_answered_no_faster_than_the_box_may_speak() {
    let (mut cluster, mut random) = cluster(1);
    for number in 0..2 * BURST {
        let frames = echo(hosts()[number as usize % 2], false, &[5; 100]).fragments(number as u16, &[0, 48]);
        pass(&mut cluster, &mut random, frames);
        assert_eq!(cluster.outside.sent.len(), if number < BURST { 2 } else { 0 });
    }
    assert_eq!(count(&cluster, |counters| counters.answers), BURST);
    assert_eq!(count(&cluster, |counters| counters.answers_withheld), BURST);
    assert_eq!(count(&cluster, |counters| counters.delivered), 4 * BURST);
}

#[test]
fn what_is_damaged_or_no_request_is_not_answered() {
    let (mut cluster, mut random) = cluster(1);
    for pair in hosts() {
        let data = [5; 100];
        for packet in [echo(pair, false, &data).spoilt(), echo(pair, true, &data)] {
            pass(&mut cluster, &mut random, packet.fragments(7, &[0, 48]));
            assert!(cluster.outside.sent.is_empty());
        }
    }
    assert_eq!(count(&cluster, |counters| counters.answers + counters.answers_withheld), 0);
}
