//! What meets an expectation, and what becomes of it.

use super::*;
use sluice_conntrack::entry::Status;
use sluice_conntrack::forward::MAX_PORTS;
use sluice_conntrack::helpers::HelperId;
use sluice_conntrack::policy::{Policy, RuleAction};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Forwarding, Instant, PortId, Tuple};

#[test]
fn a_child_is_related_until_it_is_answered() {
    for preset in PRESETS {
        let mut it = open(Middlebox::with(Settings::of(preset, ROOM), firewall()), control(2));
        expect(&mut it, &wanted(data(0, 5001)));
        let child = data(20, 5001);
        let states = [
            (OUTSIDE, child.tcp("S", 70_000, 0)),
            (OUTSIDE, child.tcp("S", 70_000, 0)),
            (INSIDE, child.inverse().tcp("SA", 80_000, 70_001)),
            (OUTSIDE, child.tcp("A", 70_001, 80_001)),
        ]
        .map(|(port, packet)| state(it.burst(&mut [(port, packet.frame())])[0]));
        assert_eq!(states, [State::Related, State::Related, State::Established, State::Established]);
        assert!(expected(&it).is_empty());
        let entries = it.entries();
        let [(_, master), (_, child)] = entries.as_slice() else { panic!("{entries:?}") };
        assert!(child.status.contains(Status::EXPECTED) && !master.status.contains(Status::EXPECTED));
        assert_eq!((child.master, master.master), (Some(master.original), None));
        assert_eq!((master.uses, child.uses), (2, 1), "the child holds its master");
        it.check();
    }
}

#[test]
fn it_is_met_once() {
    let mut it = with_master();
    expect(&mut it, &wanted(data(0, 5001)));
    let states = states_of(&mut it, [data(20, 5001), data(21, 5001)]);
    assert_eq!(states, [State::Related, State::New]);
    let counters = it.shard.counters();
    assert_eq!((counters.expectations_created, counters.expectations_met), (1, 1));
    assert_eq!(counters.helper_event(HelperEvent::Met), 1);
    assert_eq!(it.drops(DropReason::Policy), 1);
}

#[test]
fn a_permanent_one_is_met_until_its_time_is_over() {
    let mut it = with_master();
    expect(&mut it, &Wanted { one_shot: false, ..wanted(data(0, 5001)) });
    for sport in 20..25 {
        assert_eq!(states_of(&mut it, [data(sport, 5001)]), [State::Related]);
    }
    assert_eq!(expected(&it).len(), 1);
    it.pass(secs(301));
    assert_eq!(states_of(&mut it, [data(30, 5001)]), [State::New]);
    assert_eq!(it.shard.counters().expectations_met, 5);
}

#[test]
fn as_much_of_the_source_counts_as_was_said() {
    let stranger = Pair::at("192.0.2.9:20", "10.0.0.2:5001");
    for (source, states) in [
        (SourceMask::Exact, [State::New, State::New, State::Related]),
        (SourceMask::AnyPort, [State::New, State::Related, State::Related]),
        (SourceMask::Any, [State::Related; 3]),
    ] {
        let mut it = with_master();
        expect(&mut it, &Wanted { source, one_shot: false, ..wanted(data(20, 5001)) });
        assert_eq!(states_of(&mut it, [stranger, data(21, 5001), data(20, 5001)]), states, "{source:?}");
        assert_eq!(states_of(&mut it, [data(20, 5002)]), [State::New], "the destination is exact");
    }
}

#[test]
fn g18_one_that_the_policy_drops_uses_it_up() {
    let policy = rules([
        (states([State::Established]), RuleAction::Accept),
        (Match { ingress: vec![INSIDE], ..states([State::New]) }, RuleAction::Accept),
    ]);
    let mut it = open(Middlebox::with(Settings::of(Preset::Linux, ROOM), policy), control(2));
    expect(&mut it, &wanted(data(0, 5001)));
    let verdict = it.outside(&data(20, 5001).tcp("S", 1, 0));
    assert_eq!((verdict.state, verdict.action), (Some(State::Related), Action::Drop(DropReason::Policy)));
    assert!(expected(&it).is_empty());
    it.reload(firewall());
    assert_eq!(states_of(&mut it, [data(20, 5001)]), [State::New]);
    it.check();
}

#[test]
fn an_entry_that_is_there_wins() {
    let mut it = with_master();
    let other = data(20, 5001);
    it.inside(&other.inverse().udp(1));
    expect(
        &mut it,
        &Wanted {
            tuple: Tuple::new(other.source.ip(), other.destination.ip(), 17, 20, 5001),
            ..wanted(other)
        },
    );
    assert_eq!(state(it.outside(&other.udp(1))), State::Established);
    assert_eq!(expected(&it).len(), 1);
}

#[test]
fn what_opens_no_connection_meets_nothing() {
    let mut it = with_master();
    expect(&mut it, &wanted(data(0, 5001)));
    let child = data(20, 5001);
    assert_eq!(state(it.outside(&child.tcp("SF", 1, 0))), State::Invalid);
    assert_eq!(state(it.outside(&child.tcp("S", 1, 0).spoilt())), State::Invalid);
    assert_eq!(expected(&it).len(), 1);
    let untracked = Match { source_ports: vec![20..=20], ..Match::default() };
    it.reload(Policy { untracked: vec![untracked], ..firewall() });
    assert_eq!(states_of(&mut it, [child]), [State::Untracked]);
    assert_eq!(expected(&it).len(), 1);
}

#[test]
fn a_full_table_uses_it_up() {
    let settings = Settings::of(Preset::Linux, 1);
    let mut it = open(Middlebox::with(settings, firewall()), control(2));
    expect(&mut it, &wanted(data(0, 5001)));
    let verdict = it.outside(&data(20, 5001).tcp("S", 1, 0));
    assert_eq!(verdict.drop_reason(), Some(DropReason::TableFull));
    assert!(expected(&it).is_empty());
    it.check();
}

#[test]
fn it_ends_with_its_master_and_a_child_does_not() {
    for end in 0..3 {
        let mut it = with_master();
        for port in [5001, 5002, 5003] {
            expect(&mut it, &wanted(data(0, port)));
        }
        assert_eq!(states_of(&mut it, [data(20, 5001)]), [State::Related]);
        assert_eq!(expected(&it).len(), 2);
        match end {
            0 => assert_eq!(it.shard.delete(|entry| entry.master.is_none()), 1),
            1 => {
                it.inside(&control(2).tcp("R", 1001, 0));
                it.pass(secs(11));
            }
            _ => {
                // A connection in its place.
                it.inside(&control(2).tcp("R", 1001, 0));
                it.inside(&control(2).tcp("S", 90_000, 0));
            }
        }
        assert!(expected(&it).is_empty());
        assert_eq!(states_of(&mut it, [data(20, 5002)]), [State::New]);
        let child = data(20, 5001);
        assert_eq!(state(it.inside(&child.inverse().tcp("SA", 80_000, 70_001))), State::Established);
        let children: Vec<_> = it.entries().into_iter().filter_map(|(_, entry)| entry.master).collect();
        assert_eq!(children, [tuple(control(2))], "it names its master still");
        it.check();
    }
}

#[test]
fn a_child_has_the_mark_and_the_zone_of_its_master() {
    let policy = rules([
        (Match { ingress: vec![PortId(2)], ..states([State::New]) }, RuleAction::Mark(0x42)),
        (Match { mark: Some((0x42, u32::MAX)), ..states([State::Related]) }, RuleAction::Accept),
        (Match { ingress: vec![PortId(0), PortId(2)], ..states([State::New]) }, RuleAction::Accept),
        (states([State::Established]), RuleAction::Accept),
    ]);
    let mut configuration = configuration(Settings::of(Preset::Linux, ROOM), policy);
    let mut peers = [PortId(0); MAX_PORTS];
    peers[..4].copy_from_slice(&[1, 0, 3, 2].map(PortId));
    configuration.forwarding = Forwarding::Wire { peers };
    configuration.zones[2..4].fill(7);
    let mut it = Middlebox::starting(Instant::from_ns(0), ROOM, configuration);
    let master = control(2);
    it.burst(&mut [(PortId(2), master.tcp("S", 1000, 0).frame())]);
    let mut original = tuple(master);
    original.selector = original.selector.with_zone(7);
    // Whatever zone a helper says: it is the master's.
    it.shard.expect_for(&original, &wanted(data(0, 5001)), Limits::default()).unwrap().unwrap();
    let child = data(20, 5001).tcp("S", 1, 0);
    let verdict = it.burst(&mut [(PortId(1), child.frame())])[0];
    assert_eq!(verdict.state, Some(State::New), "the same addresses in another zone");
    let verdict = it.burst(&mut [(PortId(3), child.frame())])[0];
    assert_eq!((verdict.state, verdict.action), (Some(State::Related), Action::Forward(PortId(2))));
    let (_, entry) = it.entries()[1];
    assert_eq!((entry.mark, entry.zone()), (0x42, 7));
    it.check();
}

#[test]
fn a_child_has_the_mark_that_its_master_has_when_it_comes() {
    let policy = rules([
        (Match { ingress: vec![OUTSIDE], ..states([State::Established]) }, RuleAction::Mark(7)),
        (states([State::New, State::Established, State::Related]), RuleAction::Accept),
    ]);
    let mut it = Middlebox::with(Settings::of(Preset::Linux, ROOM), policy);
    it.inside(&control(2).tcp("S", 1000, 0));
    expect(&mut it, &wanted(data(0, 5001)));
    it.outside(&control(2).inverse().tcp("SA", 5000, 1001));
    assert_eq!(states_of(&mut it, [data(20, 5001)]), [State::Related]);
    assert_eq!(it.entries()[1].1.mark, 7);
}

#[test]
fn ipv6_alike() {
    let master = Pair::at("[fd00::2]:40000", "[2001:db8:9::2]:21");
    let mut it = open(Middlebox::with(Settings::of(Preset::Linux, ROOM), firewall()), master);
    let child = Pair::at("[2001:db8:9::2]:20", "[fd00::2]:5001");
    try_to_expect(&mut it, master, &wanted(child), Limits::default()).unwrap();
    let stranger = Pair::at("[2001:db8:9::3]:20", "[fd00::2]:5001");
    assert_eq!(states_of(&mut it, [stranger, child]), [State::New, State::Related]);
    it.check();
}

/// A firewall that lets in of what is RELATED only what this helper expected has a match for that: the child's packets, not
/// the master's, also where the decision about them is remembered.
#[test]
fn rules_see_the_helper_that_expected_a_child() {
    let ftp = Match { helpers: vec![HelperId::Ftp], ..Match::default() };
    let policy = || {
        rules([
            (ftp.clone(), RuleAction::Accept),
            (Match { ingress: vec![INSIDE], protocols: vec![6], ..states([State::New]) }, RuleAction::Accept),
            (
                Match { ingress: vec![OUTSIDE], source_ports: vec![21..=21], ..Match::default() },
                RuleAction::Accept,
            ),
        ])
    };
    for (helper, passes) in [(Some(HelperId::Ftp), true), (None, false)] {
        let mut it = open(Middlebox::with(Settings::of(Preset::Linux, ROOM), policy()), control(2));
        expect(&mut it, &Wanted { helper, ..wanted(data(0, 5001)) });
        let child = data(20, 5001);
        let forwarded = [
            (OUTSIDE, child.tcp("S", 70_000, 0)),
            (INSIDE, child.inverse().tcp("SA", 80_000, 70_001)),
            (OUTSIDE, child.tcp("A", 70_001, 80_001)),
            (OUTSIDE, child.tcp("A", 70_001, 80_001)),
        ]
        .map(|(port, packet)| {
            matches!(it.burst(&mut [(port, packet.frame())])[0].action, Action::Forward(_))
        });
        assert_eq!(forwarded, [passes; 4]);
        // An established packet of the master is nobody's child.
        let [verdict] = it.burst(&mut [(INSIDE, control(2).tcp("A", 1001, 5001).frame())])[..] else {
            panic!()
        };
        assert!(!matches!(verdict.action, Action::Forward(_)));
    }
}
