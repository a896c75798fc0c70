//! The box's own network stack, whose packets come to any shard: what it sends and what it is sent is tracked by one of them.

use crate::cluster::Cluster;
use crate::common::*;
use crate::masquerade;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::entry::Status;
use sluice_conntrack::ids::StackId;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{Configuration, Forwarding, PortId};

const ROOM: u32 = 500;
const CONNECTIONS: u16 = 60;

/// The host sides of the ports.
const INNER: PortId = INSIDE.host_side();
const OUTER: PortId = OUTSIDE.host_side();

/// The box's own address outside and a server; a client inside and the box's own address there.
const FAMILIES: [[(&str, &str); 2]; 2] = [
    [("203.0.113.1", "198.51.100.2"), ("10.0.0.2", "10.0.0.1")],
    [("[2001:db8:2::1]", "[2001:db8:9::2]"), ("[fd00::2]", "[fd00::1]")],
];

fn cluster(shards: u16, nat: Nat) -> Cluster {
    let settings = Settings::of(Preset::Linux, ROOM * u32::from(shards));
    let forwarding = Forwarding::Routed(Box::new(router_with_hosts([Some(StackId(0)); 2])));
    let configuration = Configuration::new(settings, accept_all(), forwarding).with_nat(nat);
    Cluster::of(shards, ROOM, &configuration, ChaCha8Rng::seed_from_u64(shards.into()))
}

/// A packet passes by these two ports as it is.
#[track_caller]
fn passes(cluster: &mut Cluster, ingress: PortId, packet: &Packet, egress: PortId) {
    cluster.outside.sent.clear();
    cluster.receive(ingress, packet.frame());
    while !cluster.is_at_rest() {
        cluster.step();
    }
    assert_eq!(cluster.outside.sent, [(egress, packet.frame())], "{:?}", cluster.outside.drops);
}

#[test]
fn what_the_box_sends_and_is_sent_is_tracked_whichever_shard_it_comes_to() {
    for (shards, nat) in [(1, Nat::default()), (2, Nat::default()), (4, Nat::default()), (4, masquerade())] {
        let mut cluster = cluster(shards, nat);
        for [(own, server), (client, inner)] in FAMILIES {
            for number in 0..CONNECTIONS {
                for (from, to, came, leaves) in [
                    (format!("{own}:{}", 20_000 + number), format!("{server}:443"), OUTER, OUTSIDE),
                    (format!("{client}:{}", 20_000 + number), format!("{inner}:22"), INSIDE, INNER),
                ] {
                    let pair = Pair::at(&from, &to);
                    let back = pair.inverse();
                    passes(&mut cluster, came, &pair.tcp("S", 100, 0), leaves);
                    passes(&mut cluster, leaves, &back.tcp("SA", 500, 101), came);
                    passes(&mut cluster, came, &pair.tcp("A", 101, 501), leaves);
                    let error = pair.tcp("A", 101, 501).unreachable(pair.destination.ip());
                    passes(&mut cluster, leaves, &error, came);
                }
            }
        }
        let mut entries = 0;
        for shard in cluster.shards() {
            let left = shard.list(0, u32::MAX, |_, entry| {
                assert!(entry.status.contains(Status::ASSURED), "{entry:?}");
                entries += 1;
            });
            assert_eq!(left, None);
        }
        assert_eq!(entries, 4 * CONNECTIONS);
        let busy = cluster.shards().filter(|shard| !shard.is_empty()).count();
        assert_eq!(busy, usize::from(shards), "each has some");
        assert!(cluster.outside.drops.is_empty());
        cluster.check();
    }
}
