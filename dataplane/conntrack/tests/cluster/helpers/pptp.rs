//! PPTP through a masquerading box of several shards: the packets of a call come to whoever made it, and end with it, whichever shards
//! they and the control connection land on.

use crate::common::pptp::*;
use crate::common::*;
use crate::fragments::pass;
use crate::helpers::{CLIENTS, World};
use sluice_conntrack::PortId;
use sluice_conntrack::helpers::HelperId;

const SERVER: &str = "198.51.100.2";
const PUBLIC: &str = "203.0.113.1";

struct Client {
    inside: Pair,
    outside: Pair,
    /// What each end sends next, as it counts itself.
    next: [u32; 2],
}

impl Client {
    fn open(world: &mut World, number: u16) -> Self {
        let [high, low] = (number + 2).to_be_bytes();
        let inside = Pair::at(&format!("10.0.{high}.{low}:40000"), "198.51.100.2:1723");
        let outside = world.pass(INSIDE, &inside.tcp("S", 1000, 0)).expect("a SYN leaves").pair.inverse();
        world.pass(OUTSIDE, &outside.tcp("SA", 5000, 1001)).expect("so does its answer");
        let mut client = Self { inside, outside, next: [1001, 5001] };
        client.says(world, &start());
        client.hears(world, &started());
        client
    }

    fn address(&self) -> String {
        self.inside.source.ip().to_string()
    }

    fn says(&mut self, world: &mut World, message: &[u8]) -> Vec<u8> {
        let [seq, ack] = self.next;
        self.next[0] += message.len() as u32;
        left(world, INSIDE, self.inside, [seq, ack], message)
    }

    fn hears(&mut self, world: &mut World, message: &[u8]) -> Vec<u8> {
        let [ack, seq] = self.next;
        self.next[1] += message.len() as u32;
        left(world, OUTSIDE, self.outside, [seq, ack], message)
    }

    /// Makes a call; gives what the server calls its id.
    fn calls(&mut self, world: &mut World, id: u16, server: u16) -> u16 {
        let asked = self.says(world, &out_call(id));
        let outside = crate::common::pptp::id(&asked);
        let granted = self.hears(world, &out_granted(server, outside));
        assert_eq!(peer(&granted), id);
        outside
    }
}

/// What a segment says as it leaves.
fn left(world: &mut World, port: PortId, pair: Pair, [seq, ack]: [u32; 2], message: &[u8]) -> Vec<u8> {
    let segment = frame::Segment { flags: 0x18, seq, ack, ..Default::default() };
    let mut packet = pair.segment(&segment);
    packet.l4.extend_from_slice(message);
    let l4 = pass(&mut world.cluster, port, vec![packet.frame()]).expect("it passes").l4;
    l4[usize::from(l4[12] >> 4) * 4..].to_vec()
}

/// What becomes of a packet of a call: whom it comes from and goes to, and by which id.
fn goes(world: &mut World, port: PortId, from: &str, to: &str, id: u16) -> Option<String> {
    let left = pass(&mut world.cluster, port, vec![gre(from, to, id).frame()])?;
    let id = u16::from_be_bytes([left.l4[6], left.l4[7]]);
    Some(format!("{} > {} {id}", left.pair.source.ip(), left.pair.destination.ip()))
}

/// In both orders, over and over: calls of equal ids come to whoever made them.
#[test]
fn pptp_q10_calls_come_to_whoever_made_them_on_any_shard_and_end_with_them() {
    for shards in [1, 2, 4] {
        for preset in PRESETS {
            let mut world = World::new(shards, preset, HelperId::Pptp);
            let mut clients: Vec<_> = (0..CLIENTS).map(|number| Client::open(&mut world, number)).collect();
            let mut outside = vec![];
            for (number, client) in (0..).zip(&mut clients) {
                outside.push(client.calls(&mut world, 5, 100 + number));
            }
            for (number, client) in (0..).zip(&clients) {
                let host = client.address();
                for place in 0..4 {
                    let seen = if (place + number) % 2 == 0 {
                        goes(&mut world, INSIDE, &host, SERVER, 100 + number)
                    } else {
                        goes(&mut world, OUTSIDE, SERVER, PUBLIC, outside[usize::from(number)])
                    };
                    let inwards = format!("{SERVER} > {host} 5");
                    let outwards = format!("{PUBLIC} > {SERVER} {}", 100 + number);
                    let expected = if (place + number) % 2 == 0 { outwards } else { inwards };
                    assert_eq!(seen, Some(expected), "{shards} shards");
                }
            }
            world.cluster.check();
            for (number, client) in (0..).zip(&mut clients) {
                client.hears(&mut world, &disconnected(100 + number));
                let gone = goes(&mut world, OUTSIDE, SERVER, PUBLIC, outside[usize::from(number)]);
                assert_eq!(gone, None, "it is over");
                let again = client.calls(&mut world, 5, 200 + number);
                let seen = goes(&mut world, OUTSIDE, SERVER, PUBLIC, again);
                assert_eq!(seen, Some(format!("{SERVER} > {} 5", client.address())));
            }
            world.cluster.check();
        }
    }
}
