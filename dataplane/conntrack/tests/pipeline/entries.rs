//! Which packets keep an entry, change it and end it, and where the presets differ.

use crate::common::*;
use sluice_conntrack::entry::Status;
use sluice_conntrack::policy::{Match, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Direction, DropReason, State};

#[test]
fn an_error_is_related_to_the_entry_it_quotes() {
    for preset in PRESETS {
        for pair in Pair::both(4000, 33434) {
            let mut it = Middlebox::with(Settings::of(preset, ROOM), firewall());
            let first = it.inside(&pair.udp(20));
            it.pass(secs(5));
            let before = it.entry();
            let error = it.outside(&pair.udp(20).time_exceeded(pair.router()));
            assert_eq!((error.state, error.direction), (Some(State::Related), Some(Direction::Reply)));
            assert_eq!((error.entry, error.action), (first.entry, Action::Forward(INSIDE)));
            assert_eq!(it.entry(), before, "errors refresh and count nothing");
            it.check();
        }
    }
}

#[test]
fn an_unreachable_destination_ends_the_entry_of_classic_days() {
    for preset in PRESETS {
        for pair in Pair::both(4000, 53) {
            let mut it = Middlebox::of(preset);
            it.inside(&pair.udp(20));
            assert_eq!(state(it.outside(&pair.udp(20).unreachable(pair.router()))), State::Related);
            assert_eq!(it.shard.is_empty(), preset == Preset::Classic);
            it.check();
        }
    }
}

#[test]
fn a_narrow_link_on_the_way_ends_no_connection() {
    for preset in PRESETS {
        for pair in Pair::both(4000, 80) {
            let mut it = Middlebox::of(preset);
            it.inside(&pair.tcp("S", 1000, 0));
            it.outside(&pair.inverse().tcp("SA", 5000, 1001));
            let data = pair.tcp("A", 1001, 5001);
            it.inside(&data);
            let (kind, code) = if pair.source.is_ipv4() { (3, 4) } else { (2, 0) };
            assert_eq!(state(it.outside(&data.error(pair.router(), kind, code))), State::Related);
            assert_eq!(state(it.inside(&data)), State::Established);
            it.check();
        }
    }
}

#[test]
fn an_answered_ping_ends_in_classic_days() {
    for preset in PRESETS {
        for pair in Pair::both(0, 0) {
            let mut it = Middlebox::with(Settings::of(preset, ROOM), firewall());
            assert_eq!(state(it.inside(&pair.echo(77, 1))), State::New);
            let answer = it.outside(&pair.inverse().echo_reply(77, 1));
            assert_eq!((answer.state, answer.drop_reason()), (Some(State::Established), None));
            assert_eq!(it.shard.is_empty(), preset == Preset::Classic);
            let next = if preset == Preset::Classic { State::New } else { State::Established };
            assert_eq!(state(it.inside(&pair.echo(77, 2))), next);
            it.check();
        }
    }
}

#[test]
fn a_refused_connection_leaves_nothing() {
    for preset in PRESETS {
        for pair in Pair::both(4000, 22) {
            let mut it = Middlebox::of(preset);
            it.inside(&pair.tcp("S", 1000, 0));
            assert_eq!(state(it.outside(&pair.inverse().tcp("RA", 0, 1001))), State::Established);
            if preset == Preset::Linux {
                assert!(it.shard.is_empty());
                assert_eq!(it.shard.counters().closed, 1);
            }
            it.pass(secs(11));
            assert!(it.shard.is_empty());
            it.check();
        }
    }
}

#[test]
fn a_connection_reopens_in_time_wait() {
    for pair in Pair::both(4000, 22) {
        let mut it = Middlebox::of(Preset::Linux);
        let back = pair.inverse();
        it.inside(&pair.tcp("S", 1000, 0));
        it.outside(&back.tcp("SA", 5000, 1001));
        it.inside(&pair.tcp("A", 1001, 5001));
        it.inside(&pair.tcp("FA", 1001, 5001));
        it.outside(&back.tcp("FA", 5001, 1002));
        let old = it.inside(&pair.tcp("A", 1002, 5002)).entry.unwrap();
        assert_eq!(it.entry().state, Some("TIME_WAIT"));
        let new = it.inside(&pair.tcp("S", 90_000, 0));
        assert_eq!(new.state, Some(State::New));
        assert_ne!(new.entry, Some(old), "a name is of one connection");
        assert!(it.shard.entry(old).is_none());
        assert_eq!(it.entry().state, Some("SYN_SENT"));
        it.check();
    }
}

#[test]
fn presets_differ_in_who_is_assured() {
    let mut assured = vec![];
    for preset in PRESETS {
        let mut it = Middlebox::of(preset);
        let pair = Pair::v4(4000, 53);
        it.inside(&pair.udp(1));
        it.outside(&pair.inverse().udp(1));
        it.inside(&pair.udp(1));
        assured.push(it.entry().status.has(Status::ASSURED));
        it.pass(secs(3));
        it.inside(&pair.udp(1));
        assert!(it.entry().status.has(Status::ASSURED));
    }
    assert_eq!(assured, [true, false], "Linux waits until the exchange is two seconds old");
}

#[test]
fn a_mark_stays_with_its_connection() {
    let policy = rules([
        (Match { destination_ports: vec![53..=53], ..states([State::New]) }, RuleAction::Mark(0x42)),
        (Match { mark: Some((0x42, 0xff)), ..Match::default() }, RuleAction::Accept),
    ]);
    let mut it = Middlebox::with(Settings::of(Preset::Linux, ROOM), policy);
    for pair in Pair::both(4000, 53) {
        assert_eq!(it.inside(&pair.udp(1)).drop_reason(), None, "a mark is seen by the rules behind it");
        assert_eq!(it.outside(&pair.inverse().udp(1)).drop_reason(), None);
        assert_eq!(it.entries().last().unwrap().1.mark, 0x42);
    }
    assert_eq!(it.inside(&Pair::v4(4000, 54).udp(1)).drop_reason(), Some(DropReason::Policy));
}
