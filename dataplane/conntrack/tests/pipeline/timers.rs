//! Time: when entries end, how much work that is at once, and clocks that leap or run backwards.

use crate::common::*;
use sluice_conntrack::settings::{Preset, Settings, Timeouts};
use sluice_conntrack::{Configuration, Instant, State};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn an_entry_ends_on_its_millisecond() {
    for start_ms in [0, 1, 255, 256, 123_456_789, u64::from(u32::MAX) - 15_000] {
        let configuration = configuration(Settings::of(Preset::Linux, ROOM), accept_all());
        let mut it = Middlebox::starting(Instant::from_ns(start_ms * 1_000_000), ROOM, configuration);
        for pair in Pair::both(4000, 53) {
            it.inside(&pair.udp(1));
        }
        it.pass(ms(29_999));
        assert_eq!(it.entries().len(), 2);
        it.pass(ms(1));
        assert_eq!(it.entries().len(), 0, "started at {start_ms} ms");
        // The wheel itself is a quarter of a second behind at most.
        it.pass(ms(256));
        assert!(it.shard.is_empty());
        it.check();
    }
}

#[test]
fn a_packet_does_not_find_an_entry_whose_time_is_over() {
    let mut it = Middlebox::of(Preset::Linux);
    let pair = Pair::v4(4000, 53);
    let first = it.inside(&pair.udp(1)).entry;
    it.outside(&pair.inverse().udp(1));
    it.now = it.now.after(secs(30));
    let verdict = it.inside(&pair.udp(1));
    assert_eq!(verdict.state, Some(State::New));
    assert_ne!(verdict.entry, first);
    it.check();
}

#[test]
fn refreshing_puts_the_end_off() {
    let mut it = Middlebox::of(Preset::Linux);
    let pair = Pair::v4(4000, 53);
    for _ in 0..100 {
        it.inside(&pair.udp(1));
        it.pass(secs(29));
        assert_eq!(it.shard.len(), 1);
    }
    it.pass(ms(1256));
    assert!(it.shard.is_empty());
    it.check();
}

#[test]
fn an_earlier_end_comes_in_time() {
    let mut it = Middlebox::of(Preset::Linux);
    let pair = Pair::v4(4000, 22);
    it.inside(&pair.tcp("S", 1000, 0));
    it.outside(&pair.inverse().tcp("SA", 5000, 1001));
    it.inside(&pair.tcp("A", 1001, 5001));
    it.pass(secs(100));
    it.inside(&pair.tcp("R", 1001, 0));
    assert_eq!(it.entry().remaining_s, 10, "five days have become ten seconds");
    it.pass(ms(10_256));
    assert!(it.shard.is_empty());
    it.check();
}

#[test]
fn expiry_does_no_more_than_its_budget_allows() {
    let mut it = Middlebox::of(Preset::Linux);
    for sport in 0..1000 {
        it.inside(&Pair::v4(sport, 53).udp(1));
    }
    it.now = it.now.after(secs(31));
    let mut calls = 0;
    while !it.shard.expire(it.now, 10) {
        calls += 1;
        it.check();
        assert!(u64::from(it.shard.len()) + calls * 10 >= 1000, "ten entries a call at most");
        assert_eq!(it.entries().len(), 0, "a listing does not wait for the wheel");
    }
    assert!(it.shard.is_empty());
    assert!(calls < 250, "the work is bounded: {calls} calls");
}

#[test]
fn packets_come_while_expiry_lags_behind() {
    let mut it = Middlebox::of(Preset::Linux);
    for sport in 0..500 {
        it.inside(&Pair::v4(sport, 53).udp(1));
    }
    for step in 0..200 {
        it.now = it.now.after(ms(997));
        it.shard.expire(it.now, 3);
        it.inside(&Pair::v4(step % 700, 53).udp(1));
        it.check();
    }
    it.pass(secs(31));
    assert!(it.shard.is_empty());
}

#[test]
fn a_wheel_that_nobody_has_turned_for_months_still_turns() {
    let mut it = Middlebox::of(Preset::Linux);
    for hour in 0..60 * 24 {
        it.inside(&Pair::v4(hour, 53).udp(1));
        it.now = it.now.after(secs(3600));
    }
    it.check();
    it.pass(secs(31));
    assert!(it.shard.is_empty());
    it.check();
}

#[test]
fn a_leap_of_years_ends_what_is_due_and_nothing_lasts() {
    const YEAR: Duration = secs(365 * 24 * 3600);
    for leap in [secs(24 * 3600), secs(25 * 24 * 3600), secs(50 * 24 * 3600), YEAR, YEAR * 30, YEAR * 500] {
        let mut it = Middlebox::of(Preset::Linux);
        for pair in Pair::both(4000, 22) {
            it.inside(&pair.tcp("S", 1000, 0));
            it.outside(&pair.inverse().tcp("SA", 5000, 1001));
            it.inside(&pair.tcp("A", 1001, 5001));
        }
        it.now = it.now.after(leap);
        // The packet itself brings the new time.
        let state = it.outside(&Pair::v4(4000, 22).inverse().tcp("A", 5001, 1001)).state;
        let alive = leap < secs(432_000);
        assert_eq!(state, Some(if alive { State::Established } else { State::New }));
        assert_eq!(it.entries().len(), if alive { 2 } else { 1 });
        it.check();
        it.pass(secs(432_001));
        assert!(it.shard.is_empty(), "after {leap:?}");
        it.check();
    }
}

#[test]
fn time_ends_without_harm() {
    let mut it = Middlebox::of(Preset::Linux);
    it.inside(&Pair::v4(4000, 53).udp(1));
    it.now = Instant::from_ns(u64::MAX);
    assert_eq!(it.inside(&Pair::v4(4000, 53).udp(1)).state, Some(State::New));
    it.pass(secs(1));
    it.check();
}

#[test]
fn a_clock_that_runs_backwards_stands_still() {
    let mut it = Middlebox::of(Preset::Linux);
    let pair = Pair::v4(4000, 53);
    it.pass(secs(1000));
    it.inside(&pair.udp(1));
    it.now = Instant::from_ns(0);
    assert_eq!(it.outside(&pair.inverse().udp(1)).state, Some(State::Established));
    it.pass(secs(900));
    assert_eq!(it.entry().remaining_s, 30);
    it.pass(secs(131));
    assert!(it.shard.is_empty());
    it.check();
}

fn set_timeouts(it: &mut Middlebox, timeouts: Timeouts) -> Arc<Configuration> {
    let changed = it.shard.configuration().with_timeouts(timeouts);
    it.shard.amend(Arc::new(changed))
}

#[test]
fn a_new_timeout_holds_from_the_next_packet_on() {
    let mut it = Middlebox::of(Preset::Linux);
    let pair = Pair::v4(4000, 53);
    it.inside(&pair.udp(1));
    let mut timeouts = Timeouts::of(Preset::Linux);
    timeouts.udp_unreplied_ms = 5000;
    set_timeouts(&mut it, timeouts);
    assert_eq!(it.entry().remaining_s, 30);
    it.inside(&pair.udp(1));
    assert_eq!(it.entry().remaining_s, 5);
    it.pass(ms(5256));
    assert!(it.shard.is_empty());
    it.check();
}

#[test]
fn a_new_timeout_changes_nothing_else() {
    let mut it = Middlebox::of(Preset::Linux);
    let pair = Pair::v4(4000, 53);
    it.inside(&pair.udp(1));
    let counted = it.shard.rule_counters().clone();
    let before = set_timeouts(&mut it, Timeouts { udp_unreplied_ms: 5000, ..Timeouts::of(Preset::Linux) });
    let after = it.shard.configuration();
    assert_eq!(*it.shard.rule_counters(), counted);
    assert_eq!(counted.policy[0].packets, 1);
    let settings = Settings { timeouts: before.settings.timeouts.clone(), ..after.settings.clone() };
    assert_eq!(settings, before.settings);
    it.inside(&pair.udp(1));
    assert_eq!(it.shard.rule_counters().policy[0].packets, 2);
    it.check();
}

#[test]
fn expired_entries_are_counted_by_protocol_and_state() {
    let mut it = Middlebox::of(Preset::Linux);
    it.inside(&Pair::v4(1, 2).tcp("S", 0, 0));
    it.inside(&Pair::v4(1, 2).udp(1));
    it.pass(secs(200));
    let expired = &it.shard.counters().expired;
    use sluice_conntrack::counters::ProtocolLabel::{Tcp, Udp};
    assert_eq!(expired[Tcp as usize].iter().sum::<u64>(), 1);
    assert_eq!(expired[Tcp as usize][sluice_conntrack::tracker::tcp::TcpState::SynSent as usize], 1);
    assert_eq!(expired[Udp as usize].iter().sum::<u64>(), 1);
}
