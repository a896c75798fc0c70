//! FTP through a masquerading box of several shards: what one announces comes to the right client, whichever shards its control
//! connection and its data connection land on.

mod amanda;
mod h323;
mod irc;
mod pptp;
mod rtsp;
mod sane;
mod sip;
mod talk;
mod tftp;

use crate::cluster::Cluster;
use crate::common::frame::Segment;
use crate::common::*;
use crate::masquerade;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::helpers::{Assignment, Descriptor, HelperId, Helpers};
use sluice_conntrack::nat::Nat;
use sluice_conntrack::policy::{Match, Policy};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{Configuration, Frame, PortId, wire};
use std::net::SocketAddr;

pub const CLIENTS: u16 = 24;
const ROOM: u32 = 1000;

/// A segment that has left: from, to, its numbers and its text, a character a byte.
#[derive(Debug)]
pub struct Seen {
    pub pair: Pair,
    pub seq: u32,
    pub ack: u32,
    pub text: String,
}

impl Seen {
    /// What it says, where that is no text.
    pub fn bytes(&self) -> Vec<u8> {
        self.text.chars().map(|byte| byte as u8).collect()
    }
}

/// A box with this policy and translation, and with a helper on its ports.
pub fn with_helper(shards: u16, preset: Preset, policy: Policy, nat: Nat, helper: HelperId) -> Cluster {
    cluster_of(shards, &helped(preset, policy, nat, helper))
}

/// The configuration of such a box.
pub fn helped(preset: Preset, policy: Policy, nat: Nat, helper: HelperId) -> Configuration {
    let mut configuration = routed(Settings::of(preset, ROOM), policy, nat);
    let ports = Descriptor::of(helper).ports.iter().map(|port| *port..=*port).collect();
    let on = Match { destination_ports: ports, ..Match::default() };
    configuration.helpers = Helpers::new(vec![Assignment { helper, on, loose: false }]);
    configuration
}

/// A box of so many shards.
pub fn cluster_of(shards: u16, configuration: &Configuration) -> Cluster {
    Cluster::of(shards, ROOM, configuration, ChaCha8Rng::seed_from_u64(u64::from(shards)))
}

/// The box, and a server outside.
pub struct World {
    pub cluster: Cluster,
}

impl World {
    /// A box with this helper on its port.
    pub fn new(shards: u16, preset: Preset, helper: HelperId) -> Self {
        Self { cluster: with_helper(shards, preset, firewall(), masquerade(), helper) }
    }

    /// What leaves when a packet comes in; `None` where nothing does.
    pub fn pass(&mut self, port: PortId, packet: &Packet) -> Option<Seen> {
        self.cluster.outside.sent.clear();
        self.cluster.receive(port, packet.frame());
        while !self.cluster.is_at_rest() {
            self.cluster.step();
        }
        let frame = self.cluster.outside.sent.pop()?;
        let headers = wire::parse(&frame).expect("what leaves is sound");
        assert!(wire::verify_checksum(&frame, &headers));
        let l4 = &frame.head()[usize::from(headers.l4_offset)..][..headers.l4_len as usize];
        let number = |at: usize| u32::from_be_bytes(*l4[at..].first_chunk().unwrap());
        let tuple = headers.tuple;
        let source = SocketAddr::new(tuple.source(), tuple.selector.sport());
        let destination = SocketAddr::new(tuple.destination(), tuple.selector.dport());
        let text = l4[usize::from(l4[12] >> 4) * 4..].iter().map(|byte| char::from(*byte)).collect();
        Some(Seen { pair: Pair { source, destination }, seq: number(4), ack: number(8), text })
    }

    pub fn says(&mut self, port: PortId, pair: Pair, numbers: [u32; 2], text: &str) -> Seen {
        self.says_bytes(port, pair, numbers, text.as_bytes())
    }

    /// The same of what need not be text.
    pub fn says_bytes(&mut self, port: PortId, pair: Pair, [seq, ack]: [u32; 2], text: &[u8]) -> Seen {
        let segment = Segment { flags: 0x18, seq, ack, ..Segment::default() };
        let mut packet = pair.segment(&segment);
        packet.l4.extend_from_slice(text);
        let seen = self.pass(port, &packet);
        seen.unwrap_or_else(|| panic!("{text:?} passes: {:?}", self.cluster.outside.drops))
    }
}

/// The address and port that a command says.
fn announced(text: &str) -> SocketAddr {
    let numbers = text.strip_prefix("PORT ").expect("a PORT").trim_end();
    let numbers: Vec<u8> = numbers.split(',').map(|number| number.parse().unwrap()).collect();
    let address: [u8; 4] = *numbers.first_chunk().unwrap();
    (address, u16::from_be_bytes([numbers[4], numbers[5]])).into()
}

#[test]
fn data_connections_come_to_whoever_announced_them_on_any_shard() {
    for shards in [1, 2, 4] {
        for preset in PRESETS {
            let mut world = World::new(shards, preset, HelperId::Ftp);
            let mut children = vec![];
            for client in 0..CLIENTS {
                let [high, low] = (client + 2).to_be_bytes();
                let inside = Pair::at(&format!("10.0.{high}.{low}:40000"), "198.51.100.2:21");
                let outside =
                    world.pass(INSIDE, &inside.tcp("S", 1000, 0)).expect("a SYN leaves").pair.inverse();
                world.pass(OUTSIDE, &outside.tcp("SA", 5000, 1001)).expect("so does its answer");
                world.says(INSIDE, inside, [1001, 5001], "USER me\r\n");
                world.says(OUTSIDE, outside, [5001, 1010], "230 ok\r\n");
                // All announce the same port, which only one of them can have outside.
                let said =
                    world.says(INSIDE, inside, [1010, 5009], &format!("PORT 10,0,{high},{low},19,137\r\n"));
                let sent = 1010 + format!("PORT 10,0,{high},{low},19,137\r\n").len() as u32;
                let answer = [5009, said.seq + said.text.len() as u32];
                let answered = world.says(OUTSIDE, outside, answer, "200 ok\r\n");
                assert_eq!((answered.pair, answered.ack), (inside.inverse(), sent));
                let port = announced(&said.text);
                assert_eq!(port.ip().to_string(), "203.0.113.1");
                children
                    .push((Pair { source: "198.51.100.2:20".parse().unwrap(), destination: port }, inside));
            }
            for (child, master) in children {
                let expected = SocketAddr::new(master.source.ip(), 5001);
                let seen = world.pass(OUTSIDE, &child.tcp("S", 1, 0)).expect("it is RELATED");
                assert_eq!(seen.pair, Pair { source: child.source, destination: expected });
                let back =
                    world.pass(INSIDE, &seen.pair.inverse().tcp("SA", 9, 2)).expect("and so is its answer");
                assert_eq!(back.pair, child.inverse());
                let other = Pair { source: "198.51.100.2:2020".parse().unwrap(), ..child };
                assert!(world.pass(OUTSIDE, &other.tcp("S", 1, 0)).is_none(), "it was expected once");
            }
            world.cluster.check();
        }
    }
}
