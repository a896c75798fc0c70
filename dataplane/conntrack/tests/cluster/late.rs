//! Faults of one shard that must not become those of others: one that takes nothing in, and signposts that lead nowhere.

use crate::cluster::Cluster;
use crate::common::*;
use crate::{nat, numbered, seen};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::exchange::Message;
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::tuple::Tuple;
use sluice_conntrack::{DropReason, ShardId, Steering};
use std::collections::BTreeSet;
use std::net::IpAddr;

const SHARDS: u16 = 3;
const LATE: ShardId = ShardId(2);

fn cluster(nat: &Nat) -> Cluster {
    let settings = Settings::of(Preset::Linux, 60_000);
    Cluster::new(SHARDS, 20_000, &settings, &accept_all(), nat, ChaCha8Rng::seed_from_u64(1))
}

/// Which of many pings have left: with their numbers, the shards that are to know the answers.
fn pinged(late: Option<ShardId>) -> BTreeSet<(u32, ShardId)> {
    let steering = Steering::new(ShardId(0), SHARDS).unwrap();
    let mut cluster = cluster(&nat());
    cluster.late = late.map(|shard| usize::from(shard.0));
    for number in 0..8000_u32 {
        let client = IpAddr::from([10, 0, (number >> 8) as u8, number as u8]);
        let ping = Pair::of(client, 0, [198, 51, 100, 1].into(), 0).echo(number as u16, 1);
        let original = Tuple::new(client, [198, 51, 100, 1].into(), frame::ICMP, number as u16, 8 << 8);
        if steering.owner(&original) != LATE {
            cluster.receive(INSIDE, numbered(ping, number));
        }
        for _ in 0..10 {
            cluster.step();
        }
    }
    for _ in 0..1000 {
        cluster.step();
    }
    let left = cluster.outside.sent.iter().map(|(_, frame)| {
        let (packet, number) = seen(frame);
        let (client, server) = (packet.source, packet.destination);
        let sent = Tuple::new(client.0.into(), server.0.into(), frame::ICMP, client.1, 8 << 8);
        (number, steering.owner(&sent))
    });
    let left = left.collect();
    cluster.late = None;
    while !cluster.is_at_rest() {
        cluster.step();
    }
    cluster.check();
    left
}

#[test]
fn a_late_shard_keeps_the_others_from_nothing() {
    let all = pinged(None);
    let others: BTreeSet<_> = all.iter().copied().filter(|(_, answered)| *answered != LATE).collect();
    assert!(others.len() > 3000 && all.len() - others.len() > 1200, "{} of {}", others.len(), all.len());
    assert_eq!(pinged(Some(LATE)), others, "what the late shard has no part in leaves");
}

#[test]
fn a_packet_that_goes_in_circles_is_dropped() {
    let mut cluster = cluster(&Nat::default());
    let pair = Pair::of([10, 0, 0, 1].into(), 4000, [198, 51, 100, 1].into(), 53);
    let tuple = Tuple::new(pair.source.ip(), pair.destination.ip(), frame::UDP, 4000, 53);
    let owner = Steering::new(ShardId(0), SHARDS).unwrap().owner(&tuple);
    // A signpost to a shard that knows nothing of the connection, and never says so.
    let other = ShardId((owner.0 + 1) % SHARDS);
    let claim = EntryId { index: 7, generation: 7 };
    cluster.shard_mut(usize::from(owner.0)).receive(other, Message::Claim { tuple, claim });
    cluster.receive(INSIDE, pair.udp(8).frame());
    for _ in 0..5000 {
        cluster.step();
    }
    assert!(cluster.is_at_rest());
    assert_eq!(cluster.outside.drops, [DropReason::HandoffLoop]);
    let counted: u64 = cluster.shards().map(|s| s.counters().drops[DropReason::HandoffLoop as usize]).sum();
    assert_eq!(counted, 1);
}
