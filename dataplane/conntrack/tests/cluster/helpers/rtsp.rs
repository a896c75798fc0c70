//! RTSP through a masquerading box of several shards: media come to whoever set a stream up, RTP and RTCP, whichever shards they and
//! the session land on.

use crate::common::*;
use crate::fragments::{Left, pass};
use crate::helpers::{CLIENTS, World};
use sluice_conntrack::PortId;
use sluice_conntrack::helpers::HelperId;
use std::net::SocketAddr;

const SERVER: &str = "198.51.100.2:554";

fn setup(ports: &str) -> String {
    format!("SETUP rtsp://x/a RTSP/1.0\r\nTransport: RTP/AVP;unicast;client_port={ports}\r\n\r\n")
}

fn done(ports: &str) -> String {
    format!("RTSP/1.0 200 OK\r\nTransport: RTP/AVP;unicast;client_port={ports};server_port=6000-6001\r\n\r\n")
}

/// The ports that a message says.
fn client_ports(text: &str) -> &str {
    text.split("client_port=").nth(1).unwrap().split(['\r', ';']).next().unwrap()
}

/// What becomes of a datagram, if it leaves.
fn media(world: &mut World, port: PortId, pair: Pair) -> Option<Left> {
    pass(&mut world.cluster, port, vec![pair.udp(20).frame()])
}

#[test]
fn rtsp_g19_media_come_to_whoever_set_them_up_on_any_shard() {
    for shards in [1, 2, 4] {
        for preset in PRESETS {
            let mut world = World::new(shards, preset, HelperId::Rtsp);
            let mut children = vec![];
            for client in 0..CLIENTS {
                let [high, low] = (client + 2).to_be_bytes();
                let inside = Pair::at(&format!("10.0.{high}.{low}:40000"), SERVER);
                let outside =
                    world.pass(INSIDE, &inside.tcp("S", 1000, 0)).expect("a SYN leaves").pair.inverse();
                world.pass(OUTSIDE, &outside.tcp("SA", 5000, 1001)).expect("so does its answer");
                // All ask for the same ports, which only one of them can have outside.
                let said = world.says(INSIDE, inside, [1001, 5001], &setup("5000-5001"));
                let ports = client_ports(&said.text);
                let [first, second] =
                    [0, 1].map(|index| ports.split('-').nth(index).unwrap().parse::<u16>().unwrap());
                assert!(first % 2 == 0 && second == first + 1, "{ports}");
                let answer = [5001, said.seq + said.text.len() as u32];
                let replied = world.says(OUTSIDE, outside, answer, &done(ports));
                assert_eq!(replied.text, done("5000-5001"));
                children.push((inside.source.ip(), outside.destination.ip(), [first, second]));
            }
            for (client, public, ports) in children {
                for (index, port) in (0..).zip(ports) {
                    let server = SocketAddr::new([198, 51, 100, 2].into(), 6000 + index);
                    let child = Pair { source: server, destination: (public, port).into() };
                    let seen = media(&mut world, OUTSIDE, child).expect("it is RELATED").pair;
                    assert_eq!(seen, Pair { source: server, destination: (client, 5000 + index).into() });
                    let back = media(&mut world, INSIDE, seen.inverse()).expect("and so is its answer").pair;
                    assert_eq!(back, child.inverse());
                }
            }
            world.cluster.check();
        }
    }
}
