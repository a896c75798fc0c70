//! A shard under orders: each byte says what happens next, and the bytes behind it say how.

use crate::orders::Orders;
use sluice_conntrack::forward::{Interface, Route, Router};
use sluice_conntrack::headers::PacketKind;
use sluice_conntrack::ids::StackId;
use sluice_conntrack::nat::{self, Nat};
use sluice_conntrack::policy::{Match, Outcome, Policy, Prefix, Rule, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::synproxy::Synproxy;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{
    Capacity, Checksum, Configuration, DropReason, Forwarding, Frame, Installation, Instant, PortId, Shard,
    State, Verdict, wire,
};
use std::net::IpAddr;
use std::time::Duration;

/// Slots of the table: few, so that it is full soon.
pub(crate) const ROOM: u32 = 24;

/// Time runs for some years and never to where it could not be added to.
pub(crate) const END_OF_TIME: Instant = Instant::from_ns(1 << 62);

/// Orders: below, a packet comes in by one of two ports or their host sides.
const PACKET: u8 = 0x80;
const WAIT: u8 = 0xa0;
const EXPIRE: u8 = 0xb0;
const RELOAD: u8 = 0xc0;
const DELETE: u8 = 0xd0;
const LIST: u8 = 0xe0;
/// Somebody brings the last SYN cookie of the box back.
const BRING: u8 = 0xf8;

/// A frame whose checksums a device has found good, so that a fuzzer need not.
#[derive(Clone, Debug)]
pub(crate) struct Verified(pub(crate) PortId, pub(crate) Vec<u8>);

impl Frame for Verified {
    fn port(&self) -> PortId {
        self.0
    }

    fn head(&self) -> &[u8] {
        &self.1
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.1
    }

    fn splice(&mut self, at: usize, removed: usize, inserted: &[u8]) -> bool {
        let has = at <= self.1.len() && removed <= self.1.len() - at;
        if has {
            self.1.splice(at..at + removed, inserted.iter().copied());
        }
        has
    }

    fn l3_checksum(&self) -> Checksum {
        Checksum::Good
    }

    fn l4_checksum(&self) -> Checksum {
        Checksum::Good
    }
}

/// The port that a packet comes in by, or its host side.
pub(crate) fn port(order: u8) -> PortId {
    let port = PortId(order & 1);
    if order & 2 == 0 { port } else { port.host_side() }
}

/// Carries out all orders, and looks at every slot of the shard after each.
pub fn play(bytes: &[u8]) {
    let mut orders = Orders(bytes);
    let capacity = Capacity { entries: ROOM, seed: [1, 2, 3, 4], pages: sluice_memory::Pages::Ordinary };
    let mut now = Instant::from_ns(0);
    let mut shard = Shard::new(capacity, configuration(orders.byte()), now).expect("memory");
    let mut brought = None;
    while let Some(order) = orders.next() {
        match order {
            0..PACKET => {
                // Packets that follow each other at once are one burst.
                let mut frames = vec![Verified(port(order), orders.frame())];
                while frames.len() < 40 && orders.0.first().is_some_and(|next| *next < PACKET / 2) {
                    let port = port(orders.byte());
                    frames.push(Verified(port, orders.frame()));
                }
                brought = packets(&mut shard, now, &mut frames).or(brought);
            }
            PACKET..WAIT => {
                let wait = Duration::from_millis(u64::from(order) << (orders.byte() % 32));
                now = now.after(wait).min(END_OF_TIME);
            }
            WAIT..EXPIRE => {
                now = now.after(Duration::from_secs(u64::from(order - WAIT) * 10));
                assert!(shard.expire(now, u32::MAX));
            }
            EXPIRE..RELOAD => {
                shard.expire(now, u32::from(order - EXPIRE));
            }
            RELOAD..DELETE => {
                shard.configure(&mut Installation::new(configuration(orders.byte())));
            }
            DELETE..LIST => {
                let port = u16::from(orders.byte());
                shard.delete(|entry| entry.original.selector.dport() == port);
            }
            BRING.. => {
                if let Some(ack) = brought.clone() {
                    packets(&mut shard, now, &mut [ack]);
                }
            }
            LIST.. => {
                let mut listed = 0;
                shard.list(u32::from(order - LIST), 5, |id, _| {
                    assert!(shard.entry(id).is_some());
                    listed += 1;
                });
                assert!(listed <= 5);
            }
        }
        check(&shard);
    }
    shard.expire(now.after(Duration::from_secs(30 * 24 * 3600)), u32::MAX);
    assert!(shard.is_empty(), "an entry without a timer");
    check(&shard);
}

/// Passes packets through a shard. Gives the ACK that brings back the last SYN cookie, if one was sent.
pub(crate) fn packets(shard: &mut Shard, now: Instant, frames: &mut [Verified]) -> Option<Verified> {
    let mut brought = None;
    let mut verdicts = vec![Verdict::dropped(DropReason::Truncated); frames.len()];
    shard.process(now, frames, &mut verdicts);
    for (frame, verdict) in frames.iter().zip(&verdicts) {
        let waits = matches!(verdict.action, Action::Reassemble(_));
        assert!(verdict.state.is_some() || verdict.drop_reason().is_some() || waits);
        let reason = verdict.invalid.is_some() || verdict.drop_reason() == Some(DropReason::TableFull);
        assert!(verdict.state != Some(State::Invalid) || reason);
        let mut out = [0; 1514];
        if let Some(length) = shard.answer(frame, verdict, &mut out) {
            let answer = (frame.0, out[..length].to_vec());
            let headers = wire::parse(&answer).expect("the box's own packets are sound");
            let sound =
                matches!(headers.kind, PacketKind::Tracked | PacketKind::Error | PacketKind::Invalid(_));
            assert!(sound && wire::verify_checksum(&answer, &headers), "{headers:?}");
            if verdict.drop_reason() == Some(DropReason::SynCookie) {
                brought = Some(bring(frame, &answer.1, usize::from(headers.l4_offset)));
            }
        }
    }
    brought
}

/// The ACK of whoever has sent a SYN, for the SYN/ACK that it was answered with, whose header of TCP begins where that of the SYN does, unless
/// the SYN has options of IP.
fn bring(syn: &Verified, syn_ack: &[u8], l4: usize) -> Verified {
    let mut ack = syn.1.clone();
    let number =
        |at: usize| syn_ack.get(at..at + 4).map_or(0, |at| u32::from_be_bytes([at[0], at[1], at[2], at[3]]));
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = ack.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(l4 + 4, &number(l4 + 8).to_be_bytes());
    put(l4 + 8, &number(l4 + 4).wrapping_add(1).to_be_bytes());
    put(l4 + 13, &[0x10]);
    Verified(syn.0, ack)
}

pub(crate) fn check(shard: &Shard) {
    assert!(shard.len() <= ROOM);
    shard.check_invariants().unwrap();
    let counters = shard.counters();
    let sum = |table: &sluice_conntrack::counters::ByState| table.iter().flatten().sum::<u64>();
    assert_eq!(sum(&counters.entries), u64::from(shard.len()));
    let ended = sum(&counters.expired) + counters.early_drops + counters.deletes + counters.closed;
    assert_eq!(counters.inserts - ended, u64::from(shard.len()));
}

/// A configuration for each byte.
pub(crate) fn configuration(choice: u8) -> Configuration {
    let bit = |number: u8| choice & 1 << number != 0;
    let preset = if bit(0) { Preset::Linux } else { Preset::Classic };
    let mut settings = Settings::of(preset, if bit(1) { ROOM } else { ROOM / 4 });
    settings.tcp.loose = bit(2);
    settings.tcp.be_liberal = bit(3);
    settings.tcp.window_tracking = bit(4);
    settings.quote_checksum = bit(2);
    settings.reject_when_full = bit(4);
    let of_port = |port| Match { destination_ports: vec![port..=port], ..Match::default() };
    let rule = |matches, action| Rule { name: None, matches, action };
    let policy = Policy {
        untracked: if bit(5) { vec![of_port(69)] } else { vec![] },
        zones: vec![(of_port(53), u16::from(bit(5)))],
        rules: vec![
            rule(of_port(21), RuleAction::Mark(u32::from(bit(1)))),
            rule(Match { mark: Some((1, 1)), ..Match::default() }, RuleAction::Log),
            rule(of_port(6667), RuleAction::Drop),
            rule(
                of_port(8080),
                RuleAction::Synproxy(Synproxy { mss: 1460, wscale: bit(3).then_some(7), sack_perm: bit(0) }),
            ),
        ],
        default: if bit(6) { Outcome::Reject } else { Outcome::Accept },
    };
    let forwarding = if bit(7) { Forwarding::Routed(Box::new(router())) } else { Forwarding::wire() };
    // Every other configuration translates, in one of four ways.
    let configuration =
        Configuration { renumbers: bit(4), ..Configuration::new(settings, policy, forwarding) };
    if bit(2) == bit(5) { configuration.with_nat(nat(bit(3), bit(6))) } else { configuration }
}

/// What goes out by port 1 gets an address of its own, with ports that are soon used up or of its own choice; what is sent to
/// a public address goes inside.
fn nat(few: bool, random: bool) -> Nat {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let pool = |text: &str, ports| {
        nat::Target::Pool(vec![nat::Range { first: address(text), last: address(text), ports }])
    };
    let outwards = || Match { egress: vec![PortId(1)], ..Match::default() };
    let towards =
        |text: &str| Match { destination: vec![Prefix::new(address(text), 24)], ..Match::default() };
    let own = nat::Target::Masquerade(nat::PortChoice::Preserve);
    let one_to_one = nat::Target::Prefix(Prefix::new(address("203.0.113.0"), 24));
    let of_network = Match { source: vec![Prefix::new(address("10.0.1.0"), 24)], ..outwards() };
    let target = if few { pool("203.0.113.9", nat::PortChoice::Among(2000..=2007)) } else { own };
    let mut nat = Nat {
        source: vec![
            nat::NatRule { errors: true, ..nat::NatRule::new(of_network, one_to_one) },
            nat::NatRule { random, ..nat::NatRule::new(outwards(), target) },
            nat::NatRule {
                mapping: nat::Mapping::EndpointIndependent,
                ..nat::NatRule::new(outwards(), pool("2001:db8::9", nat::PortChoice::Preserve))
            },
        ],
        destination: vec![
            nat::NatRule::new(towards("198.51.100.0"), pool("10.0.0.5", nat::PortChoice::Among(80..=81))),
            nat::NatRule::new(
                towards("10.0.0.0"),
                nat::Target::Prefix(Prefix::new(address("192.0.2.0"), 24)),
            ),
        ],
    };
    nat.destination[0].hairpin = true;
    nat
}

/// The router of the sample capture's networks.
fn router() -> Router {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let inside = Interface {
        addresses: vec![(ip("10.0.0.1"), 8), (ip("fd00:1::1"), 64)],
        mtu: 1500,
        ..Interface::default()
    };
    let outside = Interface {
        addresses: vec![(ip("198.51.100.1"), 24)],
        mtu: 100,
        host: Some(StackId(0)),
        ..Interface::default()
    };
    let default = Route::by(Prefix::new(ip("0.0.0.0"), 0), PortId(1), Some(ip("198.51.100.2")));
    Router::new(vec![inside, outside], [default])
}
