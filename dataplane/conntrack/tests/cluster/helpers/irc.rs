//! IRC through a masquerading box of several shards: whoever takes an offer of a client's comes to that client, whichever shards its
//! session and the connection that it offered land on.

use crate::common::*;
use crate::helpers::{CLIENTS, World};
use sluice_conntrack::helpers::HelperId;
use std::net::{Ipv4Addr, SocketAddr};

const REGISTER: &str = "NICK joe\r\n";

fn offer(address: Ipv4Addr, port: u16) -> String {
    format!("PRIVMSG bob :\x01DCC SEND file {} {port} 9\x01\r\n", u32::from(address))
}

/// The address and port that an offer says.
fn offered(text: &str) -> SocketAddr {
    let words: Vec<&str> = text.split(' ').collect();
    let [_, _, _, "SEND", "file", address, port, _] = words[..] else { panic!("{text}") };
    (Ipv4Addr::from(address.parse::<u32>().unwrap()), port.parse().unwrap()).into()
}

#[test]
fn irc_g19_offers_lead_to_whoever_made_them_on_any_shard() {
    for shards in [1, 2, 4] {
        for preset in PRESETS {
            let mut world = World::new(shards, preset, HelperId::Irc);
            let mut children = vec![];
            for client in 0..CLIENTS {
                let [high, low] = (client + 2).to_be_bytes();
                let address = Ipv4Addr::new(10, 0, high, low);
                let inside = Pair::at(&format!("{address}:40000"), "198.51.100.2:6667");
                let outside =
                    world.pass(INSIDE, &inside.tcp("S", 1000, 0)).expect("a SYN leaves").pair.inverse();
                world.pass(OUTSIDE, &outside.tcp("SA", 5000, 1001)).expect("so does its answer");
                world.says(INSIDE, inside, [1001, 5001], REGISTER);
                world.says(OUTSIDE, outside, [5001, 1011], ":srv 001 joe :hi\r\n");
                // All offer the same port, which only one of them can have outside.
                let said = world.says(INSIDE, inside, [1011, 5019], &offer(address, 5001));
                let to = offered(&said.text);
                assert_eq!(to.ip().to_string(), "203.0.113.1");
                let peer = format!("192.0.2.{}:30000", client + 1);
                children.push((Pair { source: peer.parse().unwrap(), destination: to }, inside));
            }
            for (child, master) in children {
                let seen = world.pass(OUTSIDE, &child.tcp("S", 1, 0)).expect("it is RELATED");
                assert_eq!(seen.pair.destination, SocketAddr::new(master.source.ip(), 5001));
                let back =
                    world.pass(INSIDE, &seen.pair.inverse().tcp("SA", 9, 2)).expect("and so is its answer");
                assert_eq!(back.pair, child.inverse());
                let other = Pair { source: "192.0.2.77:2020".parse().unwrap(), ..child };
                assert!(world.pass(OUTSIDE, &other.tcp("S", 1, 0)).is_none(), "it was expected once");
            }
            world.cluster.check();
        }
    }
}
