//! A full table: who is evicted, who is refused, and what is counted.

use crate::common::*;
use sluice_conntrack::entry::Status;
use sluice_conntrack::index::Index;
use sluice_conntrack::policy::Policy;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::{Action, Rejection};
use sluice_conntrack::{DropReason, Instant, InvalidReason, State, Tuple};
use sluice_memory::Pages;

fn limited(preset: Preset, limit: u32) -> Middlebox {
    Middlebox::starting(Instant::from_ns(0), limit, configuration(Settings::of(preset, limit), accept_all()))
}

/// A UDP stream that both sides have kept up: assured.
fn assure(it: &mut Middlebox, pair: Pair) {
    it.inside(&pair.udp(1));
    it.outside(&pair.inverse().udp(1));
    it.pass(secs(3));
    it.inside(&pair.udp(1));
}

#[test]
fn a_new_connection_takes_the_place_of_an_unassured_entry() {
    for v6 in [false, true] {
        let mut it = limited(Preset::Linux, 10);
        for sport in 0..1000 {
            let pair = Pair::both(sport, 53)[usize::from(v6)];
            assert_eq!(it.inside(&pair.udp(1)).state, Some(State::New));
            assert!(it.shard.len() <= 10);
        }
        assert_eq!(it.shard.counters().early_drops, 990);
        assert_eq!(it.shard.counters().insert_failures, 0);
        it.check();
    }
}

/// In a flood each has the same time to be answered: as long as it takes to fill what is not assured once more.
#[test]
fn who_is_unassured_for_longest_gives_way_first() {
    let mut it = limited(Preset::Linux, 60);
    let is_assured = |sport: u16| sport.is_multiple_of(3);
    let pair = |sport: u16| Pair::both(sport, 53)[usize::from(sport % 2)];
    (0..60).filter(|sport| is_assured(*sport)).for_each(|sport| assure(&mut it, pair(sport)));
    for sport in (0..60).filter(|sport| !is_assured(*sport)) {
        it.inside(&pair(sport).udp(1));
    }
    let sports = |it: &Middlebox| -> Vec<u16> {
        let mut sports: Vec<_> =
            it.entries().iter().map(|(_, entry)| entry.original.selector.sport()).collect();
        sports.sort_unstable();
        sports
    };
    let mut others: Vec<u16> = (0..60).filter(|sport| !is_assured(*sport)).collect();
    // Those of IPv4 lie side by side, and behind them those of IPv6, the latest first.
    others.sort_by_key(|sport| (sport % 2, if sport % 2 == 0 { *sport } else { 60 - sport }));
    for (late, gone) in (100..140).zip(1..) {
        it.inside(&Pair::v4(late, 53).udp(1));
        let mut expected: Vec<u16> = (0..60).filter(|sport| !others[..gone].contains(sport)).collect();
        expected.extend(100..=late);
        assert_eq!(sports(&it), expected);
    }
    assert_eq!(it.shard.counters().early_drops, 40);
    it.check();
}

#[test]
fn assured_entries_are_spared() {
    for preset in [Preset::Classic, Preset::Linux] {
        let mut it = limited(preset, 8);
        for sport in 0..8 {
            assure(&mut it, Pair::both(sport, 53)[usize::from(sport % 2)]);
        }
        let names: Vec<_> = it.entries().iter().map(|(id, _)| *id).collect();
        assert!(it.entries().iter().all(|(_, entry)| entry.status.contains(Status::ASSURED)));
        for pair in Pair::both(1000, 53) {
            let verdict = it.inside(&pair.udp(1));
            assert_eq!(verdict.drop_reason(), Some(DropReason::TableFull));
            assert_eq!(verdict.entry, None);
            assert_eq!(verdict.state, (preset == Preset::Classic).then_some(State::Invalid));
        }
        assert_eq!(it.drops(DropReason::TableFull), 2);
        assert_eq!(it.shard.counters().insert_failures, 2);
        // Who is in goes on.
        assert_eq!(it.inside(&Pair::v4(0, 53).udp(1)).state, Some(State::Established));
        assert_eq!(it.entries().iter().map(|(id, _)| *id).collect::<Vec<_>>(), names);
        it.check();
    }
}

#[test]
fn who_finds_no_slot_is_told_where_that_is_wanted() {
    for preset in [Preset::Classic, Preset::Linux] {
        let mut it = limited(preset, 1);
        it.change(|configuration| configuration.settings.reject_when_full = true);
        assure(&mut it, Pair::v4(1, 53));
        let packet = Pair::v4(2, 53).udp(1);
        let verdict = it.inside(&packet);
        assert_eq!(verdict.action, Action::Reject(DropReason::TableFull, Rejection::Prohibited));
        let mut answer = [0; 2048];
        assert!(it.shard.answer(&(INSIDE, packet.frame()), &verdict, &mut answer).is_some());
        assert_eq!(it.drops(DropReason::TableFull), 1);
        it.check();
    }
}

/// UDP streams, one more than find a slot, that all share their two buckets in a box of `room`.
fn crowd(room: u32) -> Vec<Pair> {
    let mut index = Index::new(room, SEED, Pages::Ordinary).expect("memory for a test");
    let streams: Vec<_> = (0..60_000).map(|sport| Pair::v4(sport, 53)).collect();
    let hashes: Vec<_> = streams
        .iter()
        .map(|Pair { source: from, destination: to }| {
            let tuple = Tuple::new(from.ip(), to.ip(), frame::UDP, from.port(), to.port());
            index.hash(&tuple, tuple.selector.invert())
        })
        .collect();
    let slots = (0..room).take_while(|n| index.insert(hashes[0], *n)).count();
    // No other bucket has anything in it.
    let crowd = streams.iter().zip(&hashes).filter(|(_, hash)| index.is_full(**hash));
    crowd.map(|(pair, _)| *pair).take(slots + 1).collect()
}

#[test]
fn a_crowded_neighbourhood_evicts_below_the_limit() {
    let room = 100;
    let mut it = limited(Preset::Linux, room);
    let [streams @ .., late] = &crowd(room)[..] else { panic!("no crowd") };
    for pair in streams {
        it.inside(&pair.udp(1));
    }
    assert_eq!(it.shard.counters().early_drops, 0);
    assert!(it.shard.len() == streams.len() as u32 && it.shard.len() < room);
    assert_eq!(it.inside(&late.udp(1)).state, Some(State::New));
    assert_eq!(it.shard.counters().early_drops, 1);
    assert_eq!(it.shard.len(), streams.len() as u32);
    it.check();
}

#[test]
fn a_neighbourhood_of_assured_entries_refuses_below_the_limit() {
    let room = 100;
    let mut it = limited(Preset::Linux, room);
    let [streams @ .., late] = &crowd(room)[..] else { panic!("no crowd") };
    for pair in streams {
        assure(&mut it, *pair);
    }
    it.inside(&Pair::v6(1, 53).udp(1));
    assert_eq!(it.inside(&late.udp(1)).drop_reason(), Some(DropReason::TableFull));
    assert_eq!(it.shard.counters().insert_failures, 1);
    assert_eq!(it.shard.counters().early_drops, 0, "room elsewhere is of no use");
    it.check();
}

#[test]
fn a_full_table_refuses_what_the_rules_let_pass() {
    let mut it = limited(Preset::Linux, 0);
    it.inside(&Pair::v4(1, 53).udp(1));
    assert!(it.shard.rule_counters().policy.iter().all(|rule| rule.packets == 0));
    assert_eq!(it.drops(DropReason::TableFull), 1);
    assert_eq!(it.inside(&Pair::v4(1, 53).udp(1).spoilt()).invalid, Some(InvalidReason::BadChecksum));
}

#[test]
fn a_full_table_tells_nobody_what_the_rules_drop() {
    for preset in PRESETS {
        let mut it = limited(preset, 1);
        it.change(|configuration| configuration.settings.reject_when_full = true);
        assure(&mut it, Pair::v4(1, 53));
        it.change(|configuration| configuration.policy = Policy::default().into());
        let verdict = it.inside(&Pair::v4(2, 53).udp(1));
        assert_eq!((verdict.state, verdict.action), (Some(State::New), Action::Drop(DropReason::Policy)));
        assert_eq!(it.drops(DropReason::TableFull), 0);
        it.check();
    }
}

#[test]
fn who_is_dead_makes_room_assured_or_not() {
    for preset in PRESETS {
        let mut it = limited(preset, 8);
        for sport in 0..8 {
            assure(&mut it, Pair::v4(sport, 53));
        }
        // Their time passes, and no sweep has come by.
        it.now = it.now.after(secs(600));
        assert_eq!(it.inside(&Pair::v4(1000, 53).udp(1)).state, Some(State::New));
        let counters = it.shard.counters();
        assert_eq!((counters.early_drops, counters.insert_failures), (0, 0), "it was over");
        it.check();
    }
}

#[test]
fn a_packet_that_the_rules_drop_evicts_nobody() {
    let mut it = limited(Preset::Linux, 1);
    it.inside(&Pair::v4(1, 53).udp(1));
    let name = it.entries()[0].0;
    it.reload(Policy::default());
    assert_eq!(it.inside(&Pair::v4(2, 53).udp(1)).drop_reason(), Some(DropReason::Policy));
    assert!(it.shard.entry(name).is_some());
    it.check();
}

#[test]
fn a_lower_limit_counts_from_the_next_connection_on() {
    let mut it = limited(Preset::Linux, 20);
    for sport in 0..20 {
        it.inside(&Pair::v4(sport, 53).udp(1));
    }
    let lower = configuration(Settings::of(Preset::Linux, 5), accept_all());
    it.configure(lower);
    assert_eq!(it.shard.len(), 20, "a reload ends no entry");
    for sport in 100..200 {
        it.inside(&Pair::v4(sport, 53).udp(1));
        assert!(it.shard.len() <= 20);
    }
    assert_eq!(it.shard.len(), 5, "new connections take more slots than they need until it is kept");
    it.check();
}

/// Else it would be refused, and what it was to follow would be gone for nothing.
#[test]
fn a_connection_that_reopens_above_a_lower_limit_keeps_its_slot() {
    let mut it = limited(Preset::Linux, 20);
    for sport in 0..20 {
        let pair = Pair::v4(sport, 22);
        let back = pair.inverse();
        it.inside(&pair.tcp("S", 1000, 0));
        it.outside(&back.tcp("SA", 5000, 1001));
        it.inside(&pair.tcp("A", 1001, 5001));
        it.inside(&pair.tcp("FA", 1001, 5001));
        it.outside(&back.tcp("FA", 5001, 1002));
        it.inside(&pair.tcp("A", 1002, 5002));
    }
    assert!(it.entries().iter().all(|(_, entry)| entry.state == Some("TIME_WAIT")));
    it.configure(configuration(Settings::of(Preset::Linux, 5), accept_all()));
    assert_eq!(it.inside(&Pair::v4(99, 22).tcp("S", 1000, 0)).drop_reason(), Some(DropReason::TableFull));
    let again = it.inside(&Pair::v4(7, 22).tcp("S", 90_000, 0));
    assert_eq!((again.state, again.drop_reason()), (Some(State::New), None));
    assert_eq!(it.shard.len(), 20);
    it.check();
}

#[test]
fn a_limit_above_the_capacity_is_the_capacity() {
    let settings = Settings::of(Preset::Linux, 1_000_000);
    let mut it = Middlebox::starting(Instant::from_ns(0), 64, configuration(settings, accept_all()));
    for sport in 0..1000 {
        it.inside(&Pair::v4(sport, 53).udp(1));
        assert!(it.shard.len() <= 64);
    }
    it.check();
}

#[test]
fn slots_are_used_again() {
    let mut it = limited(Preset::Linux, 64);
    for round in 0..50 {
        for sport in 0..64 {
            let pair = Pair::both(sport, 1000 + round)[usize::from((sport + round) % 2)];
            it.inside(&pair.udp(1));
        }
        it.pass(secs(31));
        assert!(it.shard.is_empty());
        it.check();
    }
    assert_eq!(it.shard.counters().insert_failures, 0);
}

#[test]
fn memory_is_taken_once() {
    let mut it = Middlebox::of(Preset::Linux);
    let before = it.shard.memory_bytes();
    for sport in 0..5000 {
        it.inside(&Pair::v4(sport, 53).udp(1));
    }
    assert_eq!(it.shard.memory_bytes(), before);
}

#[test]
fn a_shard_without_slots_refuses_everything_politely() {
    let settings = Settings::of(Preset::Linux, 10);
    let mut it = Middlebox::starting(Instant::from_ns(0), 0, configuration(settings, accept_all()));
    assert_eq!(it.inside(&Pair::v4(1, 2).udp(1)).drop_reason(), Some(DropReason::TableFull));
    it.pass(secs(1));
    it.check();
}
