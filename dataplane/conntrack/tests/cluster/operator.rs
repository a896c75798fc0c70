//! Connections that an operator makes where another shard owns the reply tuple.

use crate::cluster::Cluster;
use crate::common::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::entry::Status;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{NewEntry, NotInserted, Shard, ShardId, Tuple};

const SHARDS: u16 = 3;

/// A connection from inside that is known outside by this port.
fn translated(port: u16) -> NewEntry {
    let original = Tuple::new([10, 0, 0, 2].into(), [198, 51, 100, 2].into(), 17, 40_000, 53);
    let outside = Tuple::new([203, 0, 113, 1].into(), [198, 51, 100, 2].into(), 17, port, 53);
    let status = Status::SEEN_REPLY.union(Status::ASSURED);
    NewEntry {
        original,
        reply: outside.invert(),
        state: 0,
        status,
        timeout_ms: 300_000,
        mark: 0,
        tags: [0; 2],
    }
}

#[test]
fn the_shard_of_the_answers_is_asked() {
    let random = ChaCha8Rng::seed_from_u64(1);
    let settings = Settings::of(Preset::Linux, 1024);
    let mut cluster = Cluster::new(SHARDS, 512, &settings, &accept_all(), &Nat::default(), random);
    let new = translated(5000);
    let home = cluster.shards().next().unwrap().steering().owner(&new.original);
    let is_abroad = |cluster: &Cluster, new: &NewEntry| {
        cluster.shards().next().unwrap().steering().owner(&new.reply) != home
    };
    let ports = (5000..).filter(|port| is_abroad(&cluster, &translated(*port))).take(2);
    let [first, second] = [ports].map(Iterator::collect::<Vec<u16>>)[0][..] else { panic!() };
    let insert = |cluster: &mut Cluster, new: &NewEntry| {
        let asked: Vec<_> =
            (0..usize::from(SHARDS)).map(|own| cluster.shard_mut(own).insert_entry(new)).collect();
        cluster.expire();
        assert!(asked.iter().zip(0..).all(|(answer, own)| answer.is_some() == (ShardId(own) == home)));
        asked.into_iter().flatten().next().unwrap()
    };
    let entries = |cluster: &Cluster| cluster.shards().map(Shard::len).sum::<u32>();

    let id = insert(&mut cluster, &translated(first)).unwrap();
    let shard = cluster.shard_mut(usize::from(home.0));
    let entry = shard.entry(id).expect("it was granted");
    assert!(entry.status.contains(Status::SIGNPOSTED) && !entry.is_pending());
    cluster.check();

    assert_eq!(insert(&mut cluster, &translated(second)), Err(NotInserted::Exists), "its original tuple");
    // Clients of whichever shard: one knows the tuple's owner, the others ask for it.
    for client in 1..20 {
        let mut rival = translated(first);
        rival.original.src += client;
        let home = cluster.shards().next().unwrap().steering().owner(&rival.original);
        let asked = cluster.shard_mut(usize::from(home.0)).insert_entry(&rival).unwrap();
        cluster.expire();
        assert_eq!(entries(&cluster), 1, "{asked:?}: its reply tuple is another's");
        cluster.check();
    }

    assert!(cluster.shard_mut(usize::from(home.0)).delete_entry(id).is_some());
    cluster.expire();
    assert_eq!(entries(&cluster), 0);
    cluster.check();
}
