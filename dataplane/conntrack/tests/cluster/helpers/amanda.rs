//! Amanda through a box of several shards that publishes a client: the backup server's connections come to it, whichever shards
//! its reply and they land on.

use crate::cluster::Cluster;
use crate::common::*;
use crate::fragments::pass;
use crate::helpers::with_helper;
use sluice_conntrack::helpers::HelperId;
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Prefix};
use sluice_conntrack::settings::Preset;

const SERVERS: u8 = 24;

const REQUEST: &[u8] = b"Amanda 2.4 REQ HANDLE 000-1 SEQ 1\nSERVICE sendbackup\n";
const REPLY: &[u8] = b"Amanda 2.4 REP HANDLE 000-1 SEQ 1\nCONNECT DATA 9997 MESG 9998 INDEX 9999\n";

/// Where a reply is cut.
const CUTS: [&[usize]; 2] = [&[0], &[0, 16, 48]];

fn cluster(shards: u16, preset: Preset) -> Cluster {
    let inside = [10, 0, 0, 5].into();
    let published =
        Match { destination: vec![Prefix::new([203, 0, 113, 10].into(), 32)], ..Match::default() };
    let to = Target::Pool(vec![Range { first: inside, last: inside, ports: PortChoice::Preserve }]);
    let nat = Nat { source: vec![], destination: vec![NatRule::new(published, to)] };
    with_helper(shards, preset, accept_all(), nat, HelperId::Amanda)
}

#[test]
fn amanda_g19_streams_come_to_the_client_on_any_shard() {
    for shards in [1, 2, 4] {
        for preset in PRESETS {
            let mut cluster = cluster(shards, preset);
            for server in 0..SERVERS {
                let asks = Pair::at(&format!("198.51.100.{}:900", server + 2), "203.0.113.10:10080");
                let asked =
                    pass(&mut cluster, OUTSIDE, vec![asks.datagram(REQUEST).frame()]).expect("it leaves");
                assert_eq!(asked.pair.destination, "10.0.0.5:10080".parse().unwrap());
                let left = pass(&mut cluster, INSIDE, vec![asked.pair.inverse().datagram(REPLY).frame()])
                    .expect("it leaves");
                assert_eq!(left.pair, asks.inverse());
                let text = String::from_utf8_lossy(&left.l4[8..]).into_owned();
                let ports = text.split_whitespace().filter_map(|word| word.parse::<u16>().ok());
                let ports: Vec<u16> = ports.filter(|port| *port > 1).collect();
                assert_eq!(ports.len(), 3, "{text}");
                for (outside, inside) in ports.into_iter().zip([9997, 9998, 9999]) {
                    let comes = Pair {
                        source: (asks.source.ip(), 901).into(),
                        destination: (asks.destination.ip(), outside).into(),
                    };
                    let reached =
                        pass(&mut cluster, OUTSIDE, vec![comes.tcp("S", 1, 0).frame()]).expect("it leaves");
                    assert_eq!(reached.pair.destination, ([10, 0, 0, 5], inside).into());
                }
            }
            cluster.check();
        }
    }
}

/// What came in fragments leaves as it came: ports that need not change are expected.
#[test]
fn amanda_a3_a_reply_in_fragments_is_read() {
    for shards in [1, 4] {
        for cuts in CUTS {
            let mut cluster = cluster(shards, Preset::Classic);
            let asks = Pair::at("10.0.0.2:900", "198.51.100.2:10080");
            pass(&mut cluster, INSIDE, vec![asks.datagram(REQUEST).frame()]).expect("it leaves");
            let reply = asks.inverse().datagram(REPLY);
            let frames = if cuts.len() > 1 { reply.fragments(7, cuts) } else { vec![reply.frame()] };
            let left = pass(&mut cluster, OUTSIDE, frames).expect("it leaves");
            assert_eq!(&left.l4[8..], REPLY);
            let mut expected = vec![];
            for shard in cluster.shards() {
                shard.list_expectations(0, u32::MAX, |_, snapshot| {
                    expected.push(snapshot.expectation.tuple.selector.dport());
                });
            }
            expected.sort_unstable();
            assert_eq!(expected, [9997, 9998, 9999]);
            cluster.check();
        }
    }
}
