//! Connections of all kinds through one box, and on through another that was told of them.

use super::*;
use sluice_conntrack::ids::GroupId;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Prefix};
use sluice_conntrack::replica::{Installed, Installing, Origin, Record, Replicate, Teller};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{PortId, State};

/// What peers tell of.
pub const GROUP: GroupId = GroupId(0);
pub const PEER: Origin = Origin::Peer(GROUP);

/// The tag that both ends of an association ask for.
const TAG: u32 = 9;

/// A packet of a connection, by its addresses.
type Step = fn(Pair) -> Packet;

/// A connection: its client's port, and its addresses as the client and as the server has them.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    pub protocol: u8,
    pub port: PortId,
    pub sent: Pair,
    pub seen: Pair,
}

pub fn masquerade() -> Nat {
    let out = Match { egress: vec![OUTSIDE], ..Match::default() };
    Nat { source: vec![NatRule::new(out, Target::Masquerade(PortChoice::Preserve))], destination: vec![] }
}

/// What leaves has other ports, too; servers inside are reached by the box's addresses, one of each family.
fn both() -> Nat {
    let pool = |address: &str, ports| {
        let address = address.parse().unwrap();
        Target::Pool(vec![Range { first: address, last: address, ports }])
    };
    let rule = |address: &str, target| {
        let destination = vec![Prefix::new(address.parse().unwrap(), u8::MAX)];
        NatRule::new(Match { destination, ..Match::default() }, target)
    };
    let out = |family: &str| Match {
        egress: vec![OUTSIDE],
        source: vec![Prefix::new(family.parse().unwrap(), if family.contains(':') { 64 } else { 8 })],
        ..Match::default()
    };
    let ports = || PortChoice::Among(5000..=5999);
    Nat {
        source: vec![
            NatRule::new(out("10.0.0.0"), pool("203.0.113.9", ports())),
            NatRule::new(out("fd00::"), pool("2001:db8:2::9", ports())),
        ],
        destination: vec![
            rule("203.0.113.1", pool("10.0.0.8", PortChoice::Preserve)),
            rule("2001:db8:2::1", pool("fd00::8", PortChoice::Preserve)),
        ],
    }
}

/// All that is tried: boxes without and with translation, and connections through them, whose translated source port is not known yet
/// where it is 0.
pub fn all() -> impl Iterator<Item = (Nat, Talk)> {
    let at = Pair::at;
    let talks = [
        (
            Nat::default(),
            INSIDE,
            at("10.0.0.5:4000", "198.51.100.2:80"),
            at("10.0.0.5:4000", "198.51.100.2:80"),
        ),
        (
            Nat::default(),
            OUTSIDE,
            at("[2001:db8::2]:4000", "[fd00::5]:80"),
            at("[2001:db8::2]:4000", "[fd00::5]:80"),
        ),
        (
            masquerade(),
            INSIDE,
            at("10.0.0.5:4000", "198.51.100.2:80"),
            at("203.0.113.1:4000", "198.51.100.2:80"),
        ),
        (
            masquerade(),
            INSIDE,
            at("[fd00::5]:4000", "[2001:db8::2]:80"),
            at("[2001:db8:2::1]:4000", "[2001:db8::2]:80"),
        ),
        (both(), INSIDE, at("10.0.0.5:4000", "198.51.100.2:80"), at("203.0.113.9:0", "198.51.100.2:80")),
        (
            both(),
            INSIDE,
            at("[fd00::5]:4000", "[2001:db8::2]:80"),
            at("[2001:db8:2::9]:0", "[2001:db8::2]:80"),
        ),
        (both(), OUTSIDE, at("192.0.2.9:4000", "203.0.113.1:80"), at("192.0.2.9:4000", "10.0.0.8:80")),
        (
            both(),
            OUTSIDE,
            at("[2001:db8::9]:4000", "[2001:db8:2::1]:80"),
            at("[2001:db8::9]:4000", "[fd00::8]:80"),
        ),
    ];
    talks.into_iter().flat_map(|(nat, port, sent, seen)| {
        [frame::TCP, frame::UDP, frame::SCTP]
            .map(|protocol| (nat.clone(), Talk { protocol, port, sent, seen }))
    })
}

impl Talk {
    /// The way of a packet from the client or from the server: its port, and its addresses as it comes in.
    fn way(&self, from_client: bool) -> (PortId, Pair) {
        let other = if self.port == INSIDE { OUTSIDE } else { INSIDE };
        if from_client { (self.port, self.sent) } else { (other, self.seen.inverse()) }
    }

    /// Passes a packet; gives what left.
    fn pass(
        &self,
        it: &mut Middlebox,
        from_client: bool,
        packet: impl Fn(Pair) -> Packet,
    ) -> (Option<State>, Vec<u8>) {
        let (port, pair) = self.way(from_client);
        let mut frames = [(port, packet(pair).frame())];
        let verdict = it.burst(&mut frames)[0];
        let [(_, frame)] = frames;
        (verdict.state, frame)
    }

    /// Opens it, so that it is assured; the source port that the server sees is known from then on.
    pub fn open(&mut self, it: &mut Middlebox) {
        let steps: Vec<(bool, Step)> = match self.protocol {
            frame::TCP => vec![
                (true, |pair| pair.tcp("S", 1000, 0)),
                (false, |pair| pair.tcp("SA", 5000, 1001)),
                (true, |pair| pair.tcp("A", 1001, 5001)),
            ],
            frame::SCTP => vec![
                (true, |pair| pair.sctp(0, &frame::init(1))),
                (false, |pair| pair.sctp(TAG, &frame::init(2))),
                (true, |pair| pair.sctp(TAG, &[10, 0, 0, 8, 1, 2, 3, 4])),
                (false, |pair| pair.sctp(TAG, &[11, 0, 0, 4])),
            ],
            _ => [true, false, true, true].map(|way| (way, (|pair| pair.udp(1)) as Step)).into(),
        };
        for (from_client, packet) in steps {
            let (_, left) = self.pass(it, from_client, packet);
            if from_client && self.seen.source.port() == 0 {
                let l4 = if self.seen.source.is_ipv4() { 34 } else { 54 };
                self.seen.source.set_port(u16::from_be_bytes([left[l4], left[l4 + 1]]));
            }
            it.pass(ms(1100));
        }
    }

    /// Packets both ways, and where they come in.
    pub fn sent_frames(&self) -> [(PortId, Vec<u8>); 4] {
        [true, false, true, false].map(|from_client| {
            let (seq, ack) = if from_client { (1001, 5001) } else { (5001, 1001) };
            let (port, pair) = self.way(from_client);
            let packet = match self.protocol {
                frame::TCP => pair.tcp("A", seq, ack),
                frame::SCTP => pair.sctp(TAG, &[3, 0, 0, 16, 0, 0, 0, 1, 0, 0, 128, 0, 0, 0, 0, 0]),
                _ => pair.udp(1),
            };
            (port, packet.frame())
        })
    }

    /// Passes them: their states, and what left.
    pub fn go_on(&self, it: &mut Middlebox) -> Vec<(Option<State>, Vec<u8>)> {
        let pass = |sent| {
            let mut frames = [sent];
            let state = it.burst(&mut frames)[0].state;
            let [(_, frame)] = frames;
            (state, frame)
        };
        self.sent_frames().into_iter().map(pass).collect()
    }
}

/// A router with this translation that tells of connections.
pub fn telling(nat: Nat, replicate: Replicate) -> Middlebox {
    let mut it = Middlebox::routed(nat);
    it.shard.tell_by(Some(Box::new(Teller::new(replicate, ROOM).unwrap())));
    it
}

/// A router that goes on with the connections of peers.
pub fn standby(nat: Nat) -> Middlebox {
    let mut it = Middlebox::routed(nat);
    it.shard.set_quota(GROUP, ROOM / 2);
    it
}

/// All that a box has to tell now.
pub fn told(it: &mut Middlebox) -> Vec<Record> {
    std::iter::from_fn(|| it.shard.export()).collect()
}

/// Has a box told of a connection.
pub fn install(it: &mut Middlebox, record: Record, origin: Origin) {
    let done = it.shard.install(&Installing { record, origin, is_delegated: false });
    assert_eq!(done, Ok(Installed::Here), "{record:?}");
}

/// What a listing shows but for counters, and but for what is known of the windows.
pub fn shown(it: &Middlebox) -> Vec<EntrySnapshot> {
    let status = sluice_conntrack::entry::Status::INSTALLED;
    let mut all: Vec<_> = it
        .entries()
        .into_iter()
        .map(|(_, entry)| EntrySnapshot { traffic: None, status: entry.status.difference(status), ..entry })
        .collect();
    all.sort_by_key(|entry| entry.original);
    all
}

/// A wire that tells of connections, by a preset.
pub fn wire(preset: Preset, replicate: Replicate) -> Middlebox {
    let settings = Settings { timestamp: true, ..Settings::of(preset, ROOM) };
    let mut it = Middlebox::with(settings, accept_all());
    it.shard.tell_by(Some(Box::new(Teller::new(replicate, ROOM).unwrap())));
    it
}
