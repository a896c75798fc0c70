//! TFTP through a masquerading box of several shards: the answer comes to whoever asked for it, whichever shards it and the request
//! land on, and whether or not the request comes in fragments.

use crate::cluster::Cluster;
use crate::common::*;
use crate::fragments::pass;
use crate::helpers::{cluster_of, helped, with_helper};
use crate::masquerade;
use sluice_conntrack::Forwarding;
use sluice_conntrack::helpers::HelperId;
use sluice_conntrack::settings::Preset;

const CLIENTS: u16 = 24;

const REQUEST: &[u8] = b"\0\x01a name that is long enough to be cut\0octet\0tsize\x000\0";
const DATA: &[u8] = b"\0\x03\0\x01data";

/// Where a request is cut.
const CUTS: [&[usize]; 3] = [&[0], &[0, 8], &[0, 16, 24, 48]];

fn cluster(shards: u16, preset: Preset) -> Cluster {
    with_helper(shards, preset, firewall(), masquerade(), HelperId::Tftp)
}

#[test]
fn answers_come_to_whoever_asked_for_them_on_any_shard() {
    for shards in [1, 2, 4] {
        for preset in PRESETS {
            let mut cluster = cluster(shards, preset);
            let mut answers = vec![];
            for client in 0..CLIENTS {
                // All ask from the same port, which only one of them can have outside.
                let [high, low] = (client + 2).to_be_bytes();
                let sent = Pair::at(&format!("10.0.{high}.{low}:40000"), "198.51.100.2:69");
                let cuts = CUTS[usize::from(client) % CUTS.len()];
                let packet = sent.datagram(REQUEST);
                let frames =
                    if cuts.len() > 1 { packet.fragments(client, cuts) } else { vec![packet.frame()] };
                let left = pass(&mut cluster, INSIDE, frames).expect("a request leaves");
                assert_eq!((left.pair.destination, &left.l4[8..]), (sent.destination, REQUEST));
                let server = "198.51.100.2:3000".parse().unwrap();
                answers.push((Pair { source: server, destination: left.pair.source }, sent.source));
            }
            for (answer, client) in answers {
                let arrived =
                    pass(&mut cluster, OUTSIDE, vec![answer.datagram(DATA).frame()]).expect("it is RELATED");
                assert_eq!(arrived.pair, Pair { destination: client, ..answer });
                let back = vec![arrived.pair.inverse().datagram(b"\0\x04\0\x01").frame()];
                let back = pass(&mut cluster, INSIDE, back).expect("and so is what the client says");
                assert_eq!(back.pair, answer.inverse());
                let other = Pair { source: "198.51.100.2:3001".parse().unwrap(), ..answer };
                let other = pass(&mut cluster, OUTSIDE, vec![other.datagram(DATA).frame()]);
                assert!(other.is_none(), "it was expected once");
            }
            cluster.check();
        }
    }
}

/// A request that is cut on its way out leaves as one that is not: when all shards expect the answer.
#[test]
fn a_request_that_is_cut_leaves_when_its_answer_is_expected() {
    for shards in [1, 2, 4] {
        let mut configuration = helped(Preset::Linux, firewall(), masquerade(), HelperId::Tftp);
        configuration.forwarding = Forwarding::Routed(Box::new(router_of(68)));
        let mut cluster = cluster_of(shards, &configuration);
        for (number, cuts) in (0..CLIENTS).zip(CUTS.iter().cycle()) {
            let sent = Pair::at(&format!("10.0.0.{}:40000", number + 2), "198.51.100.2:69");
            let packet = sent.datagram(REQUEST);
            let frames = if cuts.len() > 1 { packet.fragments(number, cuts) } else { vec![packet.frame()] };
            let left = pass(&mut cluster, INSIDE, frames).expect("a request leaves");
            assert!(left.offsets.len() > 1 && left.l4[8..] == *REQUEST);
            assert_eq!(cluster.outside.hasty, 0, "{cuts:?}");
        }
    }
}

/// A request begins where its datagram does: not where a fragment of another does that has been cut to look like one
/// (slipstreaming).
#[test]
fn a_fragment_that_looks_like_a_request_is_none() {
    for shards in [1, 2, 4] {
        let mut cluster = cluster(shards, Preset::Linux);
        // What a page may send to a port of its choice, so that a later fragment begins with the header of a request.
        let forged = Pair::at("10.0.0.2:40000", "198.51.100.2:69").datagram(REQUEST).l4;
        let sent = Pair::at("10.0.0.2:40001", "198.51.100.2:5060").datagram(&[&[0; 8][..], &forged].concat());
        for frames in [sent.fragments(7, &[0, 16]), sent.fragments(8, &[0, 8, 16])] {
            pass(&mut cluster, INSIDE, frames).expect("it leaves");
            let answer = Pair::at("198.51.100.2:3000", "203.0.113.1:40000").datagram(DATA).frame();
            assert!(pass(&mut cluster, OUTSIDE, vec![answer]).is_none());
            let expected: u64 = cluster.shards().map(|shard| shard.counters().expectations_created).sum();
            assert_eq!(expected, 0);
        }
    }
}
