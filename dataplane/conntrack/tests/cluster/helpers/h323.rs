//! Calls of H.323 through a masquerading box of several shards: the H.245 channel comes to whoever announced it and is read there, whichever shards
//! both connections land on.

use crate::common::h323::{OPEN_MEDIA, SETUP, encoded};
use crate::common::*;
use crate::fragments::pass;
use crate::helpers::{CLIENTS, World};
use sluice_conntrack::helpers::HelperId;
use std::net::SocketAddr;

const CALLED: &str = "198.51.100.2:1720";

/// The endpoint of the box's own address that a message says first.
fn outside(message: &[u8]) -> SocketAddr {
    let address = &encoded("203.0.113.1:0")[..4];
    let at = message.windows(4).position(|bytes| bytes == address).expect("the address outside");
    let port = u16::from_be_bytes([message[at + 4], message[at + 5]]);
    ([203, 0, 113, 1], port).into()
}

#[test]
fn h323_g19_channels_come_to_whoever_announced_them_on_any_shard() {
    for shards in [1, 2, 4] {
        for preset in PRESETS {
            let mut world = World::new(shards, preset, HelperId::Q931);
            let mut calls = vec![];
            for client in 0..CLIENTS {
                let [high, low] = (client + 2).to_be_bytes();
                let host = format!("10.0.{high}.{low}");
                let inside = Pair::at(&format!("{host}:40000"), CALLED);
                let seen = world.pass(INSIDE, &inside.tcp("S", 1000, 0)).expect("a SYN leaves");
                world.pass(OUTSIDE, &seen.pair.inverse().tcp("SA", 5000, 1001)).expect("so does its answer");
                // All announce the same port, which only one of them can have outside.
                let setup = SETUP.with([&format!("{host}:5000"), CALLED, &format!("{host}:40000")]);
                let said = world.says_bytes(INSIDE, inside, [1001, 5001], &setup).bytes();
                assert_eq!(said.len(), setup.len());
                calls.push((host, outside(&said)));
            }
            for (host, announced) in calls {
                let server = "198.51.100.2:6000".parse().unwrap();
                let channel = Pair { source: server, destination: announced };
                let seen = world.pass(OUTSIDE, &channel.tcp("S", 1, 0)).expect("it is RELATED");
                let there = Pair::at("198.51.100.2:6000", &format!("{host}:5000"));
                assert_eq!(seen.pair, there);
                let back = there.inverse();
                world.pass(INSIDE, &back.tcp("SA", 9, 2)).expect("and so is its answer");
                let open = OPEN_MEDIA.with([&format!("{host}:7000"), &format!("{host}:7001")]);
                let rtp = outside(&world.says_bytes(INSIDE, back, [10, 2], &open).bytes());
                let media = Pair { source: server, destination: rtp };
                let arrived = pass(&mut world.cluster, OUTSIDE, vec![media.datagram(b"rtp").frame()]);
                let to = arrived.expect("media is RELATED").pair.destination;
                assert_eq!(to.to_string(), format!("{host}:7000"));
            }
            world.cluster.check();
        }
    }
}
