//! Connections of a box with one number of workers go on in a box with another.

use crate::cluster::{Cluster, claimed};
use crate::common::*;
use crate::{GAMERS, PUBLIC, answer, nat, numbered, seen};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::groups::Role;
use sluice_conntrack::ids::GroupId;
use sluice_conntrack::nat::PortBlock;
use sluice_conntrack::replica::{
    Connection, Installed, Installing, NotInstalled, Origin, Record, RecordStatus, Replicate, Teller,
};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{PortId, Shard};
use std::collections::HashSet;

const ENTRIES: u32 = 2048;
const CONNECTIONS: u32 = 300;

/// What peers tell of.
const GROUP: GroupId = GroupId(0);
const PEER: Origin = Origin::Peer(GROUP);

/// What a connection has that uses no mapping.
const PLAIN: RecordStatus = RecordStatus::SEEN_REPLY
    .union(RecordStatus::ASSURED)
    .union(RecordStatus::SRC_NAT)
    .union(RecordStatus::DST_NAT)
    .union(RecordStatus::MASQUERADED);

fn cluster(shards: u16, seed: u64) -> Cluster {
    let settings = Settings::of(Preset::Linux, ENTRIES * u32::from(shards));
    let random = ChaCha8Rng::seed_from_u64(seed);
    Cluster::new(shards, ENTRIES, &settings, &accept_all(), &nat(), random)
}

/// The first packet of a connection: from inside, over UDP or ICMP, with a mapping or without; or to the server inside.
fn first(number: u32) -> (PortId, Vec<u8>) {
    let [_, _, high, low] = number.to_be_bytes();
    let (server, port) = ([198, 51, 100, low % 7].into(), 4000 + (number % 5) as u16);
    let (at, packet) = match number % 4 {
        0 => (INSIDE, Pair::of([10, 1, high, low].into(), 0, server, 0).echo(port, 1)),
        1 => (INSIDE, Pair::of([GAMERS[0], GAMERS[1], 0, low % 16].into(), port, server, 53).udp(16)),
        2 => (INSIDE, Pair::of([10, 1, high, low].into(), port, server, 53).udp(16)),
        _ => (OUTSIDE, Pair::of([192, 0, high, low].into(), port, PUBLIC.into(), 53).udp(16)),
    };
    (at, numbered(packet, number))
}

fn settle(cluster: &mut Cluster) -> Vec<(PortId, Vec<u8>)> {
    cluster.expire();
    std::mem::take(&mut cluster.outside.sent)
}

/// Begins all connections; gives their answers, as they come from the other end, and what these become.
fn begin(cluster: &mut Cluster) -> Vec<[(PortId, Vec<u8>); 2]> {
    let mut answers = vec![];
    for number in 0..CONNECTIONS {
        let (port, frame) = first(number);
        cluster.receive(port, frame);
        let [(egress, left)] = &settle(cluster)[..] else { panic!("{number} has not left") };
        let back = (*egress, answer(left));
        cluster.receive(back.0, back.1.clone());
        let [became] = &settle(cluster)[..] else { panic!("the answer to {number} has not left") };
        answers.push([back, became.clone()]);
    }
    answers
}

/// What a box's shards tell.
fn told(cluster: &mut Cluster, shards: u16) -> Vec<Record> {
    (0..shards)
        .flat_map(|own| {
            let shard = cluster.shard_mut(usize::from(own));
            std::iter::from_fn(|| shard.export()).collect::<Vec<_>>()
        })
        .collect()
}

/// Gives a record to the shards that it is for.
fn install(cluster: &mut Cluster, record: Record, origin: Origin) -> Result<(), NotInstalled> {
    let [original, _] = record.tuples();
    let mut shard = cluster.shards().next().unwrap().steering().owner(&original);
    let mut installing = Installing { record, origin, is_delegated: false };
    while let Installed::Delegated(home) = cluster.shard_mut(usize::from(shard.0)).install(&installing)? {
        assert!(!installing.is_delegated, "to one other shard");
        (shard, installing.is_delegated) = (home, true);
    }
    Ok(())
}

#[test]
fn connections_go_on_by_any_number_of_workers() {
    for (from, to) in [(1, 1), (1, 3), (2, 2), (3, 1), (3, 4)] {
        for origin in [Origin::Own, PEER] {
            let (mut first_box, mut second) = (cluster(from, 1), cluster(to, 2));
            for own in 0..usize::from(from) {
                let teller = Teller::new(Replicate::All, ENTRIES).unwrap();
                first_box.shard_mut(own).tell_by(Some(Box::new(teller)));
            }
            for own in 0..usize::from(to) {
                second.shard_mut(own).set_quota(GROUP, ENTRIES / 2);
            }
            let answers = begin(&mut first_box);
            let records = told(&mut first_box, from);
            // Told twice, as by a refresh or a bulk.
            for round in 0..if origin == PEER { 2 } else { 1 } {
                for record in &records {
                    let done = install(&mut second, *record, origin);
                    assert_eq!(done, Ok(()), "{round} {record:?}");
                }
                settle(&mut second);
                second.check();
                assert_eq!(second.shards().map(Shard::len).sum::<u32>(), records.len() as u32);
            }
            for own in 0..usize::from(to) {
                second.shard_mut(own).set_role(GROUP, Role::Active);
            }
            for [back, became] in &answers {
                second.receive(back.0, back.1.clone());
                let sent = settle(&mut second);
                assert_eq!(sent, std::slice::from_ref(became), "{:?}", seen(&back.1));
            }
            for number in 0..CONNECTIONS {
                let (port, frame) = first(number);
                for it in [&mut first_box, &mut second] {
                    it.receive(port, frame.clone());
                }
                assert_eq!(settle(&mut second), settle(&mut first_box));
            }
            second.check();
            is_unique(&second);
        }
    }
}

#[test]
fn what_a_peer_ends_is_gone_from_all_workers() {
    for (from, to) in [(1, 3), (3, 2)] {
        let (mut first, mut second) = (cluster(from, 3), cluster(to, 4));
        for own in 0..usize::from(from) {
            let teller = Teller::new(Replicate::All, ENTRIES).unwrap();
            first.shard_mut(own).tell_by(Some(Box::new(teller)));
        }
        (0..usize::from(to)).for_each(|own| second.shard_mut(own).set_quota(GROUP, ENTRIES / 2));
        begin(&mut first);
        for record in told(&mut first, from) {
            install(&mut second, record, PEER).unwrap();
        }
        settle(&mut second);
        first.delete_everywhere(|_| true);
        settle(&mut first);
        for record in told(&mut first, from) {
            install(&mut second, record, PEER).unwrap();
        }
        settle(&mut second);
        assert_eq!(
            second.shards().map(|shard| shard.len() + shard.foreign() + shard.signposts()).sum::<u32>(),
            0
        );
        let block = PortBlock::whole([203, 0, 113, 1].into());
        assert_eq!(second.shards().map(|shard| shard.ports_used(&block).iter().sum::<u32>()).sum::<u32>(), 0);
        second.check();
    }
}

/// No tuple is two entries'.
fn is_unique(cluster: &Cluster) {
    let mut tuples = HashSet::new();
    for shard in cluster.shards() {
        let mut next = Some(0);
        while let Some(cursor) = next {
            next = shard.list(cursor, u32::MAX, |_, entry| {
                for tuple in claimed(&entry).collect::<HashSet<_>>() {
                    assert!(tuples.insert(tuple), "{tuple:?} is taken twice");
                }
            });
        }
    }
}

#[test]
fn who_is_refused_its_answers_leaves_no_signpost() {
    let (mut first, mut second) = (cluster(2, 5), cluster(2, 6));
    for own in 0..2 {
        first.shard_mut(own).tell_by(Some(Box::new(Teller::new(Replicate::All, ENTRIES).unwrap())));
        second.shard_mut(own).set_quota(GROUP, ENTRIES / 2);
    }
    begin(&mut first);
    // Connections of the second box's own stand in the way of some, on whatever shard.
    let records = told(&mut first, 2);
    for record in &records {
        let Record::State(connection) = record else { continue };
        let mut rival = *connection;
        rival.original.src += 1 << 16;
        let rival = Record::State(Connection { status: rival.status.intersection(PLAIN), ..rival });
        let _ = install(&mut second, rival, Origin::Own);
    }
    settle(&mut second);
    for record in records {
        let _ = install(&mut second, record, PEER);
    }
    settle(&mut second);
    second.check();
    is_unique(&second);
    second.delete_everywhere(|_| true);
    settle(&mut second);
    assert_eq!(second.shards().map(Shard::signposts).sum::<u32>(), 0);
}
