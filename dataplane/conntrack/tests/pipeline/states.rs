//! What state a packet gets, and which packets make an entry.

use crate::common::*;
use sluice_conntrack::forward::MAX_PORTS;
use sluice_conntrack::policy::{Match, Outcome, Policy, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Direction, DropReason, Forwarding, Instant, InvalidReason, PortId, State, Verdict};

#[test]
fn a_question_is_new_until_it_is_answered() {
    for preset in PRESETS {
        for pair in Pair::both(4000, 53) {
            let mut it = Middlebox::of(preset);
            let first = it.inside(&pair.udp(20));
            assert_eq!((first.state, first.direction), (Some(State::New), Some(Direction::Original)));
            assert_eq!(first.action, Action::Forward(OUTSIDE));
            assert_eq!(state(it.inside(&pair.udp(20))), State::New, "nobody has answered");
            let answer = it.outside(&pair.inverse().udp(20));
            assert_eq!((answer.state, answer.direction), (Some(State::Established), Some(Direction::Reply)));
            assert_eq!(answer.action, Action::Forward(INSIDE));
            assert_eq!(answer.entry, first.entry);
            assert_eq!(state(it.inside(&pair.udp(20))), State::Established);
            it.check();
        }
    }
}

#[test]
fn two_packets_of_one_new_connection_in_one_burst_are_one_entry() {
    for pair in Pair::both(4000, 53) {
        let mut it = Middlebox::of(Preset::Linux);
        let packets = [(INSIDE, pair), (INSIDE, pair), (OUTSIDE, pair.inverse()), (INSIDE, pair)];
        let mut frames = packets.map(|(port, pair)| (port, pair.udp(1).frame()));
        let verdicts = it.burst(&mut frames).to_vec();
        let states: Vec<_> = verdicts.iter().copied().map(state).collect();
        assert_eq!(states, [State::New, State::New, State::Established, State::Established]);
        assert!(verdicts.iter().all(|verdict| verdict.entry == verdicts[0].entry));
        assert_eq!(it.entry().traffic.unwrap().map(|way| way.packets), [3, 1]);
        it.check();
    }
}

#[test]
fn a_burst_may_be_of_any_length() {
    let mut it = Middlebox::of(Preset::Linux);
    assert!(it.burst(&mut []).is_empty());
    let mut frames: Vec<_> = (0..500).map(|sport| (INSIDE, Pair::v4(sport, 53).udp(1).frame())).collect();
    assert!(it.burst(&mut frames).iter().all(|verdict| verdict.state == Some(State::New)));
    assert_eq!(it.shard.len(), 500);
    it.check();
}

#[test]
fn a_new_packet_that_is_dropped_leaves_no_entry() {
    let mut it = Middlebox::with(Settings::of(Preset::Linux, ROOM), firewall());
    for pair in Pair::both(4000, 53) {
        let verdict = it.outside(&pair.udp(20));
        assert_eq!(verdict.action, Action::Drop(DropReason::Policy));
        assert_eq!((verdict.state, verdict.entry), (Some(State::New), None));
        assert!(it.shard.is_empty());
        // What would be its answer is just as new.
        assert_eq!(state(it.outside(&pair.inverse().udp(20))), State::New);
    }
    assert_eq!(it.drops(DropReason::Policy), 4);
    assert_eq!(it.shard.counters().inserts, 0);
    it.check();
}

#[test]
fn a_packet_of_an_entry_is_counted_even_if_it_is_dropped() {
    let policy = rules([(Match { ingress: vec![INSIDE], ..Match::default() }, RuleAction::Accept)]);
    let mut it = Middlebox::with(Settings::of(Preset::Linux, ROOM), policy);
    let pair = Pair::v4(4000, 53);
    it.inside(&pair.udp(20));
    let answer = it.outside(&pair.inverse().udp(20));
    assert_eq!((answer.state, answer.drop_reason()), (Some(State::Established), Some(DropReason::Policy)));
    assert_eq!(it.entry().traffic.unwrap()[1].packets, 1);
    assert_eq!(answer.entry, Some(it.entries()[0].0));
}

#[test]
fn each_invalid_packet_says_why() {
    let pair = Pair::v4(4000, 80);
    let cases = [
        (pair.udp(10).spoilt(), InvalidReason::BadChecksum),
        (pair.tcp("S", 1, 0).spoilt(), InvalidReason::BadChecksum),
        (
            Packet { l4: pair.udp(0).l4[..4].to_vec(), checksum_at: None, ..pair.udp(0) },
            InvalidReason::ShortHeader,
        ),
        (pair.tcp("SF", 1, 0), InvalidReason::TcpFlags),
        (pair.tcp("R", 1, 0), InvalidReason::TcpNotNew),
        (pair.tcp("SA", 1, 1), InvalidReason::TcpNotNew),
        (pair.echo_reply(1, 1), InvalidReason::IcmpUnsolicited),
        (pair.icmp(42, 0, [0; 4], &[]), InvalidReason::IcmpType),
        (pair.udp(4).unreachable([10, 9, 9, 9].into()), InvalidReason::IcmpQuote),
    ];
    let mut it = Middlebox::of(Preset::Linux);
    for (packet, reason) in &cases {
        let verdict = it.inside(packet);
        assert_eq!((verdict.state, verdict.invalid), (Some(State::Invalid), Some(*reason)), "{packet:?}");
        assert_eq!((verdict.entry, verdict.direction), (None, None));
        assert_eq!(verdict.action, Action::Forward(OUTSIDE), "a rule decides, not the tracker");
    }
    assert!(it.shard.is_empty());
    let counters = it.shard.counters();
    assert_eq!(counters.invalid[InvalidReason::BadChecksum as usize], 2);
    assert_eq!(counters.packets[State::Invalid as usize], cases.len() as u64);
    it.check();
}

#[test]
fn an_invalid_packet_touches_no_entry() {
    for pair in Pair::both(4000, 80) {
        let mut it = Middlebox::of(Preset::Linux);
        it.inside(&pair.tcp("S", 1000, 0));
        it.outside(&pair.inverse().tcp("SA", 5000, 1001));
        it.inside(&pair.tcp("A", 1001, 5001));
        it.pass(secs(10));
        let before = it.entry();
        for packet in [pair.tcp("A", 1001, 5001).spoilt(), pair.tcp("R", 90_000, 0), pair.tcp("SF", 1001, 0)]
        {
            assert_eq!(state(it.inside(&packet)), State::Invalid);
            assert_eq!(it.entry(), before);
        }
    }
}

#[test]
fn checksums_can_go_unverified() {
    let settings = Settings { checksum: false, ..Settings::of(Preset::Linux, ROOM) };
    let mut it = Middlebox::with(settings, accept_all());
    assert_eq!(state(it.inside(&Pair::v4(4000, 80).udp(1).spoilt())), State::New);
}

#[test]
fn damage_below_l4_ends_before_tracking() {
    let mut it = Middlebox::of(Preset::Linux);
    let good = Pair::v4(4000, 53).udp(20).frame();
    let mut wrong_checksum = good.clone();
    wrong_checksum[24] ^= 1;
    let mut wrong_version = good.clone();
    wrong_version[14] = 0x55;
    for (frame, reason) in [
        (good[..30].to_vec(), DropReason::Truncated),
        (wrong_checksum, DropReason::IpChecksum),
        (wrong_version, DropReason::IpHeader),
    ] {
        let verdict = it.burst(&mut [(INSIDE, frame)])[0];
        assert_eq!(verdict, Verdict::dropped(reason));
        assert_eq!(it.drops(reason), 1);
    }
    assert_eq!(it.shard.counters().packets, [0; 5]);
    it.check();
}

#[test]
fn what_is_not_ip_passes_a_wire_untracked() {
    let mut it = Middlebox::with(Settings::of(Preset::Linux, ROOM), Policy::default());
    let arp = [&[0xff; 6][..], &[2; 6], &[8, 6], &[0; 46]].concat();
    let verdict = it.burst(&mut [(OUTSIDE, arp.clone())])[0];
    assert_eq!((verdict.action, verdict.state), (Action::Forward(INSIDE), Some(State::Untracked)));
    it.check();
}

#[test]
fn untracked_rules_leave_packets_alone() {
    let exempt = Match { protocols: vec![17], destination_ports: vec![53..=53], ..Match::default() };
    let policy = Policy { untracked: vec![exempt], ..accept_all() };
    let mut it = Middlebox::with(Settings::of(Preset::Linux, ROOM), policy);
    for pair in Pair::both(4000, 53) {
        let verdict = it.inside(&pair.udp(20));
        assert_eq!((verdict.state, verdict.entry, verdict.direction), (Some(State::Untracked), None, None));
        assert_eq!(state(it.inside(&pair.udp(20).spoilt())), State::Untracked, "nor is it verified");
        assert!(it.shard.is_empty());
        // An error about it belongs to no entry.
        let error = it.outside(&pair.udp(20).unreachable(pair.router()));
        assert_eq!(error.invalid, Some(InvalidReason::IcmpQuote));
        // The answer comes from port 53 and not to it.
        assert_eq!(state(it.outside(&pair.inverse().udp(20))), State::New);
        it.shard.delete(|_| true);
    }
    it.check();
}

#[test]
fn neighbour_discovery_is_never_tracked() {
    let mut it = Middlebox::of(Preset::Linux);
    let solicitation = Pair::v6(0, 0).icmp(135, 0, [0; 4], &[0; 16]);
    assert_eq!(state(it.inside(&solicitation)), State::Untracked);
    assert!(it.shard.is_empty());
}

#[test]
fn zones_keep_the_same_addresses_apart() {
    for pair in Pair::both(4000, 53) {
        let mut configuration = configuration(Settings::of(Preset::Linux, ROOM), accept_all());
        // Two customers on one box: ports 0 and 1, ports 2 and 3.
        let mut peers = [PortId(0); MAX_PORTS];
        peers[..4].copy_from_slice(&[1, 0, 3, 2].map(PortId));
        configuration.forwarding = Forwarding::Wire { peers };
        configuration.zones[2..4].fill(7);
        let mut it = Middlebox::starting(Instant::from_ns(0), ROOM, configuration);
        let [first, second] = [0, 2].map(|port| {
            let verdict = it.burst(&mut [(PortId(port), pair.udp(1).frame())])[0];
            assert_eq!(verdict.state, Some(State::New));
            verdict.entry.unwrap()
        });
        assert_ne!(first, second);
        let answer = it.burst(&mut [(PortId(3), pair.inverse().udp(1).frame())])[0];
        assert_eq!((answer.state, answer.entry), (Some(State::Established), Some(second)));
        let error = pair.udp(1).time_exceeded(pair.router()).frame();
        assert_eq!(it.burst(&mut [(PortId(1), error)])[0].entry, Some(first));
        let zones: Vec<_> = it.entries().iter().map(|(_, entry)| entry.zone()).collect();
        assert!(zones.contains(&0) && zones.contains(&7));
        it.check();
    }
}

#[test]
fn a_rule_may_give_the_zone() {
    let by_address = Match { source_ports: vec![4000..=4000], ..Match::default() };
    let policy = Policy { zones: vec![(by_address, 9)], ..accept_all() };
    let mut it = Middlebox::with(Settings::of(Preset::Linux, ROOM), policy);
    let pair = Pair::v4(4000, 53);
    it.inside(&pair.udp(1));
    assert_eq!(it.entry().zone(), 9);
    assert_eq!(state(it.outside(&pair.inverse().udp(1))), State::New, "the answer is in zone 0");
}

#[test]
fn tags_are_looked_through() {
    for pair in Pair::both(4000, 53) {
        let mut it = Middlebox::of(Preset::Linux);
        it.inside(&pair.udp(1).vlan(5));
        assert_eq!(state(it.outside(&pair.inverse().udp(1).vlan(5).vlan(6))), State::Established);
        let mut service_tag = pair.udp(1).vlan(6);
        service_tag.tags.insert(0, (0x88a8, 5));
        assert_eq!(state(it.inside(&service_tag)), State::Established);
        assert_eq!(it.entry().traffic.unwrap().map(|way| way.packets), [2, 1]);
    }
}

#[test]
fn the_default_may_be_reject() {
    let policy = Policy { default: Outcome::Reject, ..Policy::default() };
    let mut it = Middlebox::with(Settings::of(Preset::Linux, ROOM), policy);
    let verdict = it.inside(&Pair::v4(1, 2).tcp("S", 0, 0));
    let reset = sluice_conntrack::verdict::Rejection::TcpReset;
    assert_eq!(verdict.action, Action::Reject(DropReason::Reject, reset));
    assert!(it.shard.is_empty());
    it.check();
}
