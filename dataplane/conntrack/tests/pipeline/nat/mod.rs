//! Translation from outside: a packet in, and byte for byte the packet that leaves, checksums and all.

mod cut;
mod destination;
mod errors;
mod expected;
mod filtering;
mod hairpin;
mod ip_ids;
mod lifetime;
mod local;
mod protocols;
mod reload;
mod search;
mod source;
mod stale;

use crate::common::*;
use sluice_conntrack::entry::Status;
use sluice_conntrack::forward::{Interface, Route, Router};
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::nat::{Filtering, Mapping, Nat, NatRule, PortBlock, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Outcome, Policy, Prefix, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Configuration, DropReason, Forwarding, Instant, PortId, State, Verdict};
use std::net::SocketAddr;

/// What leaves by the outside port.
fn outwards() -> Match {
    Match { egress: vec![OUTSIDE], ..Match::default() }
}

/// What was sent to an address.
fn towards(address: &str) -> Match {
    Match { destination: vec![Prefix::new(address.parse().unwrap(), u8::MAX)], ..Match::default() }
}

fn masquerade() -> Nat {
    source(Target::Masquerade(PortChoice::Preserve))
}

/// The same, with one port for each of a client's.
fn mapping_masquerade(filtering: Filtering) -> Nat {
    let mut nat = masquerade();
    nat.source[0].mapping = Mapping::EndpointIndependent;
    nat.source[0].filtering = filtering;
    nat
}

/// A source rule for all that leaves by the outside port.
fn source(target: Target) -> Nat {
    Nat { source: vec![NatRule::new(outwards(), target)], destination: vec![] }
}

fn destination(matches: Match, target: Target) -> Nat {
    Nat { source: vec![], destination: vec![NatRule::new(matches, target)] }
}

/// All addresses from the first to the last.
fn pool(first: &str, last: &str, ports: PortChoice) -> Target {
    Target::Pool(vec![Range { first: first.parse().unwrap(), last: last.parse().unwrap(), ports }])
}

/// One address, with or without a port.
fn to(address: &str) -> Target {
    match address.parse::<SocketAddr>() {
        Ok(to) => Target::Pool(vec![Range {
            first: to.ip(),
            last: to.ip(),
            ports: PortChoice::Among(to.port()..=to.port()),
        }]),
        Err(_) => pool(address, address, PortChoice::Preserve),
    }
}

/// A router with these addresses outside, whose default route is `via` there.
fn with_outside(addresses: &[&str], via: &str, nat: Nat) -> Configuration {
    let interface = |addresses: &[&str]| Interface {
        addresses: addresses.iter().map(|own| (own.parse().unwrap(), 24)).collect(),
        mtu: 1500,
        ..Interface::default()
    };
    let default = Route::by(Prefix::new("0.0.0.0".parse().unwrap(), 0), OUTSIDE, Some(via.parse().unwrap()));
    let router = Router::new(vec![interface(&["10.0.0.1"]), interface(addresses)], [default]);
    let settings = Settings::of(Preset::Linux, ROOM);
    Configuration::new(settings, accept_all(), Forwarding::Routed(Box::new(router))).with_nat(nat)
}

/// A source port of a packet that left.
fn source_port(frame: &[u8]) -> u16 {
    let l4 = if frame[12..14] == [8, 0] { 14 + 20 } else { 14 + 40 };
    u16::from_be_bytes([frame[l4], frame[l4 + 1]])
}

/// The source address of an IPv4 packet that left, as text.
fn source_address(frame: &[u8]) -> String {
    let [a, b, c, d] = *frame[26..].first_chunk().unwrap();
    std::net::Ipv4Addr::new(a, b, c, d).to_string()
}

impl Middlebox {
    fn of_configuration(configuration: Configuration) -> Self {
        Self::starting(Instant::from_ns(0), ROOM, configuration)
    }

    /// The verdict on a packet, and what became of it.
    fn pass_one(&mut self, port: PortId, packet: &Packet) -> (Verdict, Vec<u8>) {
        let mut frames = [(port, packet.frame())];
        let verdict = self.burst(&mut frames)[0];
        let [(_, frame)] = frames;
        (verdict, frame)
    }

    /// A packet that comes in by `port` leaves by the other one as `becomes`, its TTL one less.
    #[track_caller]
    pub fn crosses(&mut self, port: PortId, packet: &Packet, becomes: &Packet) -> Verdict {
        self.leaves(port, packet, PortId(1 - port.0), becomes)
    }

    /// A packet that comes in by `port` leaves by `egress` as `becomes`, its TTL one less.
    #[track_caller]
    fn leaves(&mut self, port: PortId, packet: &Packet, egress: PortId, becomes: &Packet) -> Verdict {
        let (verdict, frame) = self.pass_one(port, packet);
        assert_eq!(verdict.action, Action::Forward(egress), "{verdict:?}");
        let becomes = Packet { ttl: becomes.ttl - 1, ..becomes.clone() };
        assert_eq!(hex(&frame), hex(&becomes.frame()));
        verdict
    }

    /// What left when a packet from inside went out.
    #[track_caller]
    fn goes_out(&mut self, packet: &Packet) -> Vec<u8> {
        let (verdict, frame) = self.pass_one(INSIDE, packet);
        assert_eq!(verdict.action, Action::Forward(OUTSIDE), "{verdict:?}");
        frame
    }

    /// A packet from inside finds nothing to be translated to.
    #[track_caller]
    fn finds_no_port(&mut self, packet: &Packet) {
        let before = self.drops(DropReason::NatExhausted);
        let (verdict, frame) = self.pass_one(INSIDE, packet);
        assert_eq!(verdict.action, Action::Drop(DropReason::NatExhausted));
        assert_eq!((verdict.entry, verdict.state), (None, Some(State::New)));
        assert_eq!(hex(&frame), hex(&packet.frame()), "what is dropped is left alone");
        assert_eq!(self.drops(DropReason::NatExhausted), before + 1);
    }

    /// How many ports of an address are in use by all protocols.
    fn ports_in_use(&self, address: &str) -> u32 {
        self.shard.ports_used(&PortBlock::whole(address.parse().unwrap())).iter().sum()
    }
}

/// Bytes as text that can be compared by eye.
fn hex(bytes: &[u8]) -> String {
    let words: Vec<_> =
        bytes.chunks(2).map(|word| word.iter().map(|b| format!("{b:02x}")).collect::<String>()).collect();
    words.join(" ")
}

/// The wire has no addresses, and translates all the same.
#[test]
fn a_wire_translates_in_its_vlan_and_leaves_the_ttl() {
    let nat = Nat { source: vec![NatRule::new(outwards(), to("203.0.113.10"))], destination: vec![] };
    let configuration = configuration(Settings::of(Preset::Linux, ROOM), accept_all());
    let mut it = Middlebox::of_configuration(configuration.with_nat(nat));
    let pair = Pair::at("10.0.0.2:40000", "198.51.100.2:53");
    let seen = Pair::at("203.0.113.10:40000", "198.51.100.2:53");
    for (port, packet, becomes) in
        [(INSIDE, pair.udp(10), seen.udp(10)), (OUTSIDE, seen.inverse().udp(99), pair.inverse().udp(99))]
    {
        let mut frames = [(port, packet.vlan(7).frame())];
        assert!(matches!(it.burst(&mut frames)[0].action, Action::Forward(_)));
        assert_eq!(hex(&frames[0].1), hex(&becomes.vlan(7).frame()));
    }
    it.check();
}

#[test]
fn status_says_what_is_translated() {
    let bits = |entry: &EntrySnapshot| {
        [Status::SRC_NAT, Status::DST_NAT, Status::MASQUERADED].map(|bit| entry.status.contains(bit))
    };
    let packet = Pair::at("10.0.0.2:40000", "198.51.100.2:53").udp(1);
    for (nat, expected) in [
        (masquerade(), [true, false, true]),
        (source(to("203.0.113.10")), [true, false, false]),
        (destination(Match::default(), to("198.51.100.9:53")), [false, true, false]),
        (Nat::default(), [false; 3]),
    ] {
        let mut it = Middlebox::routed(nat);
        it.goes_out(&packet);
        assert_eq!(bits(&it.entry()), expected);
    }
}
