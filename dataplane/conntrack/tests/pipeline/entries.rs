//! Which packets keep an entry, change it and end it, and where the presets differ.

use crate::common::*;
use sluice_conntrack::entry::Status;
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::policy::{Match, Policy, RuleAction};
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

/// A policy by which packets in that state are dropped, and all others pass.
fn drops(state: State) -> Policy {
    rules([(states([state]), RuleAction::Drop), (Match::default(), RuleAction::Accept)])
}

#[test]
fn an_unreachable_destination_ends_an_attempt_by_its_sequence_number_alone() {
    for pair in Pair::both(4000, 80) {
        let mut it = Middlebox::of(Preset::Classic);
        let name = it.inside(&pair.tcp("S", 1000, 0)).entry.unwrap();
        for invented in [999, 1001, 0, 0x8000_03e8] {
            let error = it.outside(&pair.tcp("S", invented, 0).unreachable(pair.router()));
            assert_eq!((error.state, error.entry), (Some(State::Related), Some(name)));
            assert!(it.shard.entry(name).is_some(), "a SYN {invented} was never sent");
        }
        it.outside(&pair.tcp("S", 1000, 0).unreachable(pair.router()));
        assert!(it.shard.is_empty(), "the attempt is refused");
        it.check();
    }
}

#[test]
fn an_unreachable_client_ends_the_answer_to_its_attempt() {
    for pair in Pair::both(4000, 80) {
        let mut it = Middlebox::of(Preset::Classic);
        it.inside(&pair.tcp("S", 1000, 0));
        let answer = pair.inverse().tcp("SA", 5000, 1001);
        it.outside(&answer);
        it.outside(&pair.tcp("S", 1000, 0).unreachable(pair.router()));
        assert!(!it.shard.is_empty(), "the SYN has been acknowledged");
        it.inside(&answer.unreachable(pair.inverse().router()));
        assert!(it.shard.is_empty());
        it.check();
    }
}

#[test]
fn no_error_ends_an_assured_connection() {
    for preset in PRESETS {
        for pair in Pair::both(4000, 80) {
            let mut it = Middlebox::of(preset);
            let [syn, data] = [pair.tcp("S", 1000, 0), pair.tcp("A", 1001, 5001)];
            it.inside(&syn);
            it.outside(&pair.inverse().tcp("SA", 5000, 1001));
            it.inside(&data);
            it.inside(&pair.udp(20));
            it.outside(&pair.inverse().udp(20));
            it.pass(secs(3));
            it.inside(&pair.udp(20));
            assert!(it.entries().iter().all(|(_, entry)| entry.status.contains(Status::ASSURED)));
            for packet in [&syn, &data, &pair.udp(20)] {
                assert_eq!(state(it.outside(&packet.unreachable(pair.router()))), State::Related);
            }
            assert_eq!(it.shard.len(), 2);
            assert_eq!(state(it.inside(&data)), State::Established);
            it.check();
        }
    }
}

#[test]
fn an_error_that_is_dropped_ends_nothing() {
    for pair in Pair::both(4000, 53) {
        let mut it = Middlebox::with(Settings::of(Preset::Classic, ROOM), drops(State::Related));
        let packets = [pair.udp(20), pair.tcp("S", 1000, 0)];
        for packet in &packets {
            it.inside(packet);
        }
        let before = it.entries();
        for packet in &packets {
            let error = it.outside(&packet.unreachable(pair.router()));
            assert_eq!((error.state, error.drop_reason()), (Some(State::Related), Some(DropReason::Policy)));
        }
        assert_eq!(it.entries(), before);
        it.check();
    }
}

#[test]
fn an_answer_that_is_dropped_ends_nothing() {
    for preset in PRESETS {
        for pair in Pair::both(4000, 22) {
            let mut it = Middlebox::with(Settings::of(preset, ROOM), drops(State::Established));
            it.inside(&pair.echo(77, 1));
            it.inside(&pair.tcp("S", 1000, 0));
            let before = it.entries();
            for answer in [pair.inverse().echo_reply(77, 1), pair.inverse().tcp("RA", 0, 1001)] {
                assert_eq!(it.outside(&answer).drop_reason(), Some(DropReason::Policy));
            }
            // A ping goes on in Linux: its answer ends nothing there, and refreshes.
            let ends = |entry: &EntrySnapshot| preset == Preset::Classic || entry.state.is_some();
            let kept = before.iter().filter(|(_, entry)| ends(entry));
            assert!(kept.clone().count() > 0 && kept.clone().all(|entry| it.entries().contains(entry)));
            assert_eq!(it.shard.len(), 2);
            it.check();
        }
    }
}

#[test]
fn an_invalid_packet_changes_no_entry_whether_it_passes_or_not() {
    for policy in [accept_all(), drops(State::Invalid)] {
        let mut it = Middlebox::with(Settings::of(Preset::Linux, ROOM), policy);
        let pair = Pair::v4(4000, 22);
        it.inside(&pair.tcp("S", 1000, 0));
        it.outside(&pair.inverse().tcp("SA", 5000, 1001));
        it.inside(&pair.tcp("A", 1001, 5001));
        let before = it.entries();
        let far = 3_000_000;
        assert_eq!(state(it.inside(&pair.tcp("FA", far, 5001))), State::Invalid);
        assert_eq!(state(it.outside(&pair.inverse().tcp("FA", far, 1001))), State::Invalid);
        assert_eq!(it.entries(), before);
        it.check();
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

/// Opens a connection and closes it from both sides; gives its entry, which is in TIME_WAIT.
fn open_and_close(it: &mut Middlebox, pair: Pair) -> EntryId {
    let back = pair.inverse();
    it.inside(&pair.tcp("S", 1000, 0));
    it.outside(&back.tcp("SA", 5000, 1001));
    it.inside(&pair.tcp("A", 1001, 5001));
    it.inside(&pair.tcp("FA", 1001, 5001));
    it.outside(&back.tcp("FA", 5001, 1002));
    let entry = it.inside(&pair.tcp("A", 1002, 5002)).entry.unwrap();
    assert_eq!(it.entry().state, Some("TIME_WAIT"));
    entry
}

#[test]
fn a_connection_reopens_in_time_wait() {
    for pair in Pair::both(4000, 22) {
        let mut it = Middlebox::of(Preset::Linux);
        let old = open_and_close(&mut it, pair);
        let new = it.inside(&pair.tcp("S", 90_000, 0));
        assert_eq!(new.state, Some(State::New));
        assert_ne!(new.entry, Some(old), "a name is of one connection");
        assert!(it.shard.entry(old).is_none());
        assert_eq!(it.entry().state, Some("SYN_SENT"));
        it.check();
    }
}

#[test]
fn a_connection_that_would_reopen_stays_if_that_is_dropped() {
    for pair in Pair::both(4000, 22) {
        let mut it = Middlebox::of(Preset::Linux);
        open_and_close(&mut it, pair);
        let before = it.entries();
        it.reload(drops(State::New));
        let again = it.inside(&pair.tcp("S", 90_000, 0));
        assert_eq!((again.state, again.drop_reason()), (Some(State::New), Some(DropReason::Policy)));
        assert_eq!(it.entries(), before);
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
        assured.push(it.entry().status.contains(Status::ASSURED));
        it.pass(secs(3));
        it.inside(&pair.udp(1));
        assert!(it.entry().status.contains(Status::ASSURED));
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
