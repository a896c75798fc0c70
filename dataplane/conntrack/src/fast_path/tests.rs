//! The fast path and the slow one come to the same, whatever comes.

use super::*;
use crate::configuration::Configuration;
use crate::forward::{Forwarding, Interface, MAX_PORTS, MacAddress, Route, Router};
use crate::frame::Checksum;
use crate::helpers::{Assignment, HelperId, Helpers};
use crate::ids::{PortId, ShardId};
use crate::nat::{Nat, NatRule, PortChoice, Range, Target};
use crate::pipeline::BURST;
use crate::policy::{Match, Outcome, Policy, Prefix, Rule, RuleAction};
use crate::settings::{Preset, Settings};
use crate::shard::Capacity;
use crate::steer::Steering;
use crate::time::Instant;
use crate::tuple::protocol::UDP;
use crate::verdict::{DropReason, Handoff};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sluice_memory::Pages;
use std::net::IpAddr;
use zerocopy::IntoBytes;

mod sent;

use sent::{ACK, CONNECTIONS, CONTROL, FIN, LINES, OPTIONS, Oddity, PUBLIC, Received, SYN, Sent};

const INSIDE: PortId = PortId(0);
const OUTSIDE: PortId = PortId(1);
const BOX_MAC: MacAddress = [2, 0, 0, 0, 0, 1];
/// What a configuration has.
#[derive(Clone, Copy, Debug, Default)]
struct Traits {
    routed: bool,
    translates: bool,
    renumbers: bool,
    zones: bool,
    untracked: bool,
    rules: bool,
    helper: bool,
    several_shards: bool,
    classic: bool,
    trusts_checksums: bool,
    without_windows: bool,
    without_accounting: bool,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn forwarding(is_routed: bool) -> Forwarding {
    if !is_routed {
        return Forwarding::wire();
    }
    let interface = |v4: &str, v6: &str, mtu| Interface {
        addresses: vec![(ip(v4), 24), (ip(v6), 64)],
        mtu,
        ..Interface::default()
    };
    let interfaces =
        vec![interface("10.0.0.1", "fd00:1::1", 1500), interface("203.0.113.1", "2001:db8:2::1", 100)];
    let routes = [("198.51.0.0", 16, "203.0.113.254"), ("2001:db8::", 32, "2001:db8:2::fe")];
    let routes =
        routes.map(|(to, length, via)| Route::by(Prefix::new(ip(to), length), OUTSIDE, Some(ip(via))));
    Forwarding::Routed(Box::new(Router::new(interfaces, routes)))
}

fn policy(traits: Traits) -> Policy {
    let rule = |matches, action| Rule { name: None, matches, action };
    let port_99 = || Match { destination_ports: vec![99..=99], ..Match::default() };
    let in_states =
        |states: &[State]| Match { states: Some(states.iter().copied().collect()), ..Match::default() };
    let reply =
        Match { direction: Some(Direction::Reply), source_ports: vec![123..=123], ..Match::default() };
    let special = [
        rule(port_99(), RuleAction::Log),
        rule(Match { protocols: vec![UDP], ..port_99() }, RuleAction::Mark(7)),
        rule(reply, RuleAction::Reject),
    ];
    let plain = [
        rule(in_states(&[State::Established, State::Related]), RuleAction::Accept),
        rule(in_states(&[State::Invalid]), RuleAction::Drop),
        rule(Match { ingress: vec![INSIDE], ..in_states(&[State::New]) }, RuleAction::Accept),
    ];
    let special = special.into_iter().filter(|_| traits.rules);
    let udp = Match { protocols: vec![UDP], ..Match::default() };
    Policy {
        rules: special.chain(plain).collect(),
        untracked: if traits.untracked { vec![port_99()] } else { vec![] },
        zones: if traits.zones { vec![(udp, 5)] } else { vec![] },
        default: Outcome::Drop,
    }
}

fn shard(traits: Traits) -> Shard {
    let mut settings = Settings::of(if traits.classic { Preset::Classic } else { Preset::Linux }, 100);
    settings.checksum = !traits.trusts_checksums;
    settings.tcp.window_tracking = !traits.without_windows;
    settings.accounting = !traits.without_accounting;
    let mut configuration = Configuration::new(settings, policy(traits), forwarding(traits.routed));
    if traits.helper {
        let on = Match { destination_ports: vec![21..=21], ..Match::default() };
        configuration.helpers = Helpers::new(vec![Assignment { helper: HelperId::Ftp, on, loose: false }]);
    }
    if traits.translates {
        let range =
            |address: &str| Range { first: ip(address), last: ip(address), ports: PortChoice::Preserve };
        let outgoing = || Match { ingress: vec![INSIDE], ..Match::default() };
        let of = |family, address| {
            NatRule::new(Match { family: Some(family), ..outgoing() }, Target::Pool(vec![range(address)]))
        };
        let source = vec![of(Family::V4, PUBLIC[0]), of(Family::V6, PUBLIC[1])];
        configuration = configuration.with_nat(Nat { source, destination: Vec::new() });
    }
    configuration.renumbers = traits.renumbers;
    if traits.zones {
        configuration.zones = [3; MAX_PORTS];
    }
    let capacity = Capacity { entries: 64, seed: [1, 2, 3, 4], pages: Pages::Ordinary };
    let mut shard = Shard::new(capacity, configuration, Instant::from_ns(0)).unwrap();
    if traits.several_shards {
        let first = Sent::of(0, false).tuple(traits.translates);
        let owner = Steering::new(ShardId(0), 4).unwrap().owner(&first);
        shard = shard.with_steering(Steering::new(owner, 4).unwrap()).unwrap();
    }
    shard.join_link(INSIDE, BOX_MAC);
    shard
}

fn traits() -> impl Strategy<Value = Traits> {
    any::<[bool; 12]>().prop_map(|[a, b, c, d, e, f, g, h, i, j, k, l]| Traits {
        routed: a,
        translates: b,
        renumbers: c,
        zones: d,
        untracked: e,
        rules: f,
        helper: g,
        several_shards: h,
        classic: i,
        // Rarer: all goes the slow path then, or less is looked at.
        trusts_checksums: j && k,
        without_windows: k && l,
        without_accounting: l && j,
    })
}

fn oddity() -> impl Strategy<Value = Oddity> {
    let checksum = || prop::sample::select(vec![Checksum::Good, Checksum::Bad]);
    let by = vec![
        Handoff::Steering,
        Handoff::Signpost(0),
        Handoff::Signpost(5),
        Handoff::Delegation(0),
        Handoff::Return,
    ];
    prop_oneof![
        20 => Just(Oddity::Nothing),
        3 => (0usize..120, 1u8..).prop_map(|(at, bits)| Oddity::Damage(at, bits)),
        1 => (0usize..90).prop_map(Oddity::Cut),
        1 => (1usize..30).prop_map(Oddity::Padded),
        1 => Just(Oddity::Tagged),
        1 => Just(Oddity::IpOptions),
        1 => prop::sample::select(vec![0x2000, 0x4000, 1, 0x8000]).prop_map(Oddity::Fragment),
        1 => (0u8..4).prop_map(Oddity::Ttl),
        1 => Just(Oddity::ForeignMac),
        1 => Just(Oddity::OtherPort),
        1 => (14usize..110).prop_map(Oddity::Split),
        1 => checksum().prop_map(Oddity::L3),
        1 => checksum().prop_map(Oddity::L4),
        1 => prop::sample::select(by).prop_map(Oddity::Handed),
        1 => Just(Oddity::WithoutChecksum),
        3 => (1usize..6).prop_map(Oddity::InFragments),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let flags = prop_oneof![
        12 => Just(ACK),
        2 => Just(ACK | 8),
        1 => Just(ACK | FIN),
        1 => Just(SYN),
        1 => any::<u8>(),
    ];
    // From a little before what was said in the handshake to a little behind it, mostly.
    let offset = || prop_oneof![12 => 0u32..40, 1 => any::<u32>(), 1 => 0u32..20_000];
    let window = prop_oneof![6 => Just(10_000u16), 1 => 0u16..50, 1 => any::<u16>()];
    let options = prop_oneof![4 => Just(0usize), 4 => 0usize..OPTIONS.len()];
    let packet =
        (0..CONNECTIONS.len(), any::<bool>(), flags, offset(), offset(), window, options, 0usize..60);
    (packet, oddity()).prop_map(|(packet, oddity)| {
        let (connection, is_reply, flags, seq, ack, window, options, payload_len) = packet;
        let begun = Sent::of(connection, is_reply);
        let (seq, ack) = (begun.seq.wrapping_add(seq), begun.ack.wrapping_add(ack));
        let options = OPTIONS[options];
        Sent { flags, seq, ack, window, options, payload_len, oddity, ..begun }
    })
}

/// What is said on the control connection, in some bursts: in order mostly, and sometimes again.
fn dialogue() -> impl Strategy<Value = Vec<Vec<Sent>>> {
    let again = prop::sample::select(vec![false, false, false, false, true]);
    // The client's own lines and the server's, mostly.
    let line = prop_oneof![4 => (Just(false), 0usize..6), 4 => (Just(true), 6usize..11), 1 => (any::<bool>(), 0..LINES.len())];
    let lines = prop::collection::vec((line, again), 0..12);
    let lines = lines
        .prop_map(|lines| lines.into_iter().map(|((is_reply, number), again)| (is_reply, number, again)));
    let odd = prop::collection::vec(prop_oneof![12 => Just(Oddity::Nothing), 1 => oddity()], 12);
    (lines, odd, 1usize..4).prop_map(|(lines, odd, size)| {
        let opening = [(false, 0, false), (true, 6, false)];
        let said = Sent::said(&opening.into_iter().chain(lines).collect::<Vec<_>>());
        let said: Vec<_> = said.into_iter().zip(odd).map(|(sent, oddity)| Sent { oddity, ..sent }).collect();
        said.chunks(size).map(<[Sent]>::to_vec).collect()
    })
}

/// What a shard makes of a burst, which takes the fast path where that is allowed.
fn process(shard: &mut Shard, now: Instant, frames: &mut [Received], is_fast: bool) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::dropped(DropReason::Truncated); frames.len()];
    shard.expire(now, 1000);
    if is_fast {
        shard.process(now, frames, &mut verdicts);
    } else {
        for (frames, verdicts) in frames.chunks_mut(BURST).zip(verdicts.chunks_mut(BURST)) {
            shard.process_burst(frames, verdicts, |_, _, _| false);
        }
    }
    verdicts
}

/// All that a shard keeps of its connections and has counted.
fn kept(shard: &Shard) -> impl PartialEq + std::fmt::Debug + use<> {
    let entries = (0..shard.table.entries.capacity()).map(|index| {
        let tuples = shard.table.entries.tuples(index);
        (tuples, shard.table.entries.at(index).as_bytes().to_vec())
    });
    (entries.collect::<Vec<_>>(), shard.counters(), shard.rule_counters().clone())
}

/// Has both ways come to the same on these bursts, each with the time since the one before.
fn compare(traits: Traits, bursts: &[(u32, Vec<Sent>)]) {
    let mut shards = [shard(traits), shard(traits)];
    let mut now = Instant::from_ns(1_000_000_000);
    let opening: Vec<Sent> = (0..CONNECTIONS.len()).flat_map(Sent::opening).collect();
    let old = (3000, (0..CONNECTIONS.len()).map(|connection| Sent::of(connection, true)).collect());
    for (ms, burst) in [(0, opening), old].iter().chain(bursts) {
        now = now.after(std::time::Duration::from_millis((*ms).into()));
        let received: Vec<_> = burst.iter().map(|sent| sent.received(traits)).collect();
        let [fast, slow] = [true, false].map(|is_fast| {
            let mut frames = received.clone();
            let verdicts = process(&mut shards[usize::from(!is_fast)], now, &mut frames, is_fast);
            (verdicts, frames)
        });
        for ((sent, fast), slow) in burst.iter().zip(&fast.0).zip(&slow.0) {
            assert_eq!(fast, slow, "{sent:?}");
        }
        assert_eq!(fast.1, slow.1, "{burst:?}");
        assert_eq!(kept(&shards[0]), kept(&shards[1]), "{burst:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        cases: 400,
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_paths_come_to_the_same(
        traits in traits(),
        dialogue in dialogue(),
        bursts in prop::collection::vec((prop_oneof![5 => 0u32..10, 1 => 0u32..200_000], prop::collection::vec(sent(), 1..40)), 1..6),
    ) {
        let dialogue = dialogue.into_iter().map(|burst| (1, burst));
        compare(traits, &dialogue.chain(bursts).collect::<Vec<_>>());
    }
}

/// Whether a packet of a connection that is open takes the fast path.
fn takes_fast_path(traits: Traits, sent: &Sent) -> bool {
    let mut shard = shard(traits);
    let mut now = Instant::from_ns(1_000_000_000);
    for sent in Sent::opening(sent.connection).iter().chain(&[sent.clone(), sent.clone()]) {
        process(&mut shard, now, &mut [sent.received(traits)], true);
        now = now.after(std::time::Duration::from_secs(1));
    }
    let mut frame = sent.received(traits);
    let mut slot = Slot::default();
    if !shard.recognise(&frame, &mut slot) {
        return false;
    }
    let Slot::Usual(usual, mut key) = slot else { return false };
    shard.fetch_entry(&mut key, usual.family());
    let mut verdict = Verdict::dropped(DropReason::Truncated);
    shard.take_fast_path(&mut frame, &usual, &key, &mut verdict).is_ok()
}

#[test]
fn packets_of_open_connections_take_the_fast_path() {
    let plain = Traits::default();
    for traits in [
        plain,
        Traits { routed: true, ..plain },
        Traits { translates: true, ..plain },
        Traits { routed: true, translates: true, renumbers: true, ..plain },
        Traits { zones: true, untracked: true, rules: true, helper: true, ..plain },
        Traits { trusts_checksums: true, without_accounting: true, classic: true, ..plain },
    ] {
        for (connection, is_reply) in (0..4).flat_map(|connection| [(connection, false), (connection, true)])
        {
            for payload_len in [0, 1, 40] {
                let sent = Sent { payload_len, ..Sent::of(connection, is_reply) };
                assert!(takes_fast_path(traits, &sent), "{traits:?} {sent:?}");
            }
        }
    }
    let in_fragments = Sent { payload_len: 40, oddity: Oddity::InFragments(2), ..Sent::of(1, true) };
    assert!(takes_fast_path(Traits { routed: true, translates: true, ..plain }, &in_fragments));
    let several = Traits { several_shards: true, routed: true, ..plain };
    assert!(takes_fast_path(several, &Sent::of(0, true)));
    assert!(takes_fast_path(
        several,
        &Sent { oddity: Oddity::Handed(Handoff::Steering), ..Sent::of(0, true) }
    ));
}

#[test]
fn what_is_unusual_takes_the_slow_path() {
    let plain = Traits::default();
    for sent in [
        Sent { flags: ACK | FIN, ..Sent::of(0, false) },
        Sent { seq: 77_777_777, ..Sent::of(0, false) },
        Sent { oddity: Oddity::Damage(40, 1), ..Sent::of(0, false) },
        Sent { oddity: Oddity::IpOptions, ..Sent::of(3, false) },
        Sent { oddity: Oddity::Tagged, ..Sent::of(1, false) },
        Sent { payload_len: 40, oddity: Oddity::InFragments(3), ..Sent::of(0, false) },
    ] {
        assert!(!takes_fast_path(plain, &sent), "{sent:?}");
    }
}

#[test]
fn packets_that_a_helper_reads_take_the_fast_path() {
    let helper = Traits { helper: true, ..Traits::default() };
    for traits in [helper, Traits { translates: true, ..helper }, Traits { routed: true, ..helper }] {
        for line in ["", LINES[0]] {
            assert!(takes_fast_path(traits, &Sent { line, ..Sent::of(CONTROL, false) }), "{traits:?} {line}");
        }
    }
}
