//! TFTP through a masquerading box of several shards: the answer comes to whoever asked for it, whichever shards it and the request
//! land on, and whether or not the request comes in fragments.

use crate::cluster::Cluster;
use crate::common::*;
use crate::fragments::pass;
use crate::helpers::with_helper;
use crate::masquerade;
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
