//! How many are expected, for how long, and for whom.

use super::*;
use sluice_conntrack::nat::Nat;

#[test]
fn it_is_waited_for_as_long_as_was_said() {
    let mut it = with_master();
    expect(&mut it, &wanted(data(0, 5001)));
    it.pass(secs(2));
    assert_eq!(expected(&it)[0].remaining_ms / 1000, 298);
    it.pass(secs(297));
    assert_eq!(expected(&it).len(), 1);
    it.now = it.now.after(secs(1));
    assert_eq!(states_of(&mut it, [data(20, 5001)]), [State::New], "its time is over, whatever timers do");
    it.pass(secs(1));
    assert!(expected(&it).is_empty());
    assert_eq!(it.shard.counters().expectations_expired, 1);
    assert_eq!(it.shard.counters().helper_event(HelperEvent::Expired), 1);
}

#[test]
fn years_end_it_as_well() {
    let mut it = with_master();
    expect(&mut it, &Wanted { timeout_ms: u32::MAX, ..wanted(data(0, 5001)) });
    it.pass(secs(400_000_000));
    assert!(expected(&it).is_empty() && it.shard.is_empty());
    it.check();
}

/// Under the same name, so that it is to be met all the while: another shard may hear later of it, and have the child before.
#[test]
fn what_is_announced_again_is_waited_for_anew() {
    let mut it = with_master();
    let first = expect(&mut it, &wanted(data(0, 5001)));
    it.pass(secs(200));
    assert_eq!(expect(&mut it, &wanted(data(0, 5001))), first);
    assert_eq!(expected(&it).len(), 1);
    it.pass(secs(200));
    assert_eq!(states_of(&mut it, [data(20, 5001), data(21, 5001)]), [State::Related, State::New]);
    assert_ne!(expect(&mut it, &wanted(data(0, 5001))), first, "that one was met");
    it.check();
}

#[test]
fn what_is_announced_again_in_another_way_takes_the_place_of_what_was() {
    let mut it = with_master();
    let first = expect(&mut it, &wanted(data(0, 5001)));
    let again = expect(&mut it, &Wanted { one_shot: false, ..wanted(data(0, 5001)) });
    assert!(again != first && !it.shard.unexpect(first));
    assert_eq!(states_of(&mut it, [data(20, 5001), data(21, 5001)]), [State::Related, State::Related]);
    assert_eq!(expected(&it).len(), 1);
}

#[test]
fn what_is_announced_again_is_the_newest_of_its_class() {
    let mut it = with_master();
    let limits = Limits { of_class: 3, ..Limits::default() };
    for port in [5001, 5002, 5003, 5001, 5002, 5004] {
        try_to_expect(&mut it, control(2), &wanted(data(0, port)), limits).unwrap();
        it.check();
    }
    let mut ports: Vec<_> = expected(&it).iter().map(|one| one.expectation.tuple.selector.dport()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [5001, 5002, 5004]);
}

#[test]
fn two_masters_cannot_want_the_same() {
    let mut it = open(with_master(), control(3));
    let first = expect(&mut it, &wanted(data(0, 5001)));
    let other = Limits::default();
    for clashing in [
        wanted(data(0, 5001)),
        Wanted { source: SourceMask::Any, ..wanted(data(0, 5001)) },
        Wanted { source: SourceMask::Exact, ..wanted(data(20, 5001)) },
    ] {
        assert_eq!(try_to_expect(&mut it, control(3), &clashing, other), Err(Unexpected::Clash));
    }
    let elsewhere = Pair::at("192.0.2.9:0", "10.0.0.2:5001");
    assert!(try_to_expect(&mut it, control(3), &wanted(elsewhere), other).is_ok(), "from another host");
    assert!(it.shard.unexpect(first));
    assert!(try_to_expect(&mut it, control(3), &wanted(data(0, 5001)), other).is_ok());
    assert_eq!(it.shard.counters().expectations_refused, 3);
}

#[test]
fn of_a_class_the_oldest_gives_way() {
    let mut it = with_master();
    let limits = Limits { of_class: 2, ..Limits::default() };
    let mut expect = |class, port| {
        try_to_expect(&mut it, control(2), &Wanted { class, ..wanted(data(0, port)) }, limits).unwrap()
    };
    expect(1, 6001);
    for port in 5001..=5003 {
        expect(0, port);
    }
    let ports: Vec<_> = expected(&it).iter().map(|one| one.expectation.tuple.selector.dport()).collect();
    assert_eq!((ports.len(), ports.contains(&5001)), (3, false), "{ports:?}");
    // One that is met makes room by itself.
    assert_eq!(states_of(&mut it, [data(20, 5003)]), [State::Related]);
    try_to_expect(&mut it, control(2), &wanted(data(0, 5004)), limits).unwrap();
    let ports = expected(&it).iter().map(|one| one.expectation.tuple.selector.dport()).max();
    assert_eq!((ports, expected(&it).len()), (Some(6001), 3));
    assert_eq!(states_of(&mut it, [data(20, 5002)]), [State::Related], "the other was not the oldest");
}

#[test]
fn of_all_and_of_a_helper_there_are_so_many_at_most() {
    let mut settings = Settings::of(Preset::Linux, ROOM);
    settings.max_expectations = 3;
    let mut it = open(Middlebox::with(settings, firewall()), control(2));
    let limits = Limits { of_helper: 2, ..Limits::default() };
    let mut by_helper = |port| try_to_expect(&mut it, control(2), &wanted(data(0, port)), limits);
    assert!(by_helper(5001).is_ok() && by_helper(5002).is_ok());
    assert_eq!(by_helper(5003), Err(Unexpected::Full));
    let mut by_operator = |port| {
        let wanted = Wanted { helper: None, ..wanted(data(0, port)) };
        try_to_expect(&mut it, control(2), &wanted, limits)
    };
    assert!(by_operator(5003).is_ok());
    assert_eq!(by_operator(5004), Err(Unexpected::Full));
    assert_eq!(states_of(&mut it, [data(20, 5001)]), [State::Related]);
    assert!(try_to_expect(&mut it, control(2), &wanted(data(0, 5001)), limits).is_ok(), "one was met");
    assert_eq!(expected(&it).len(), 3);
}

/// A slot serves again however often others are met or end.
#[test]
fn there_is_always_room_again() {
    let mut settings = Settings::of(Preset::Linux, ROOM);
    settings.max_expectations = 10;
    let mut it = open(Middlebox::with(settings, accept_all()), control(2));
    for round in 0..20_000_u16 {
        it.inside(&control(2).tcp("A", 1001, 5001));
        let port = 1024 + round;
        expect(&mut it, &wanted(data(0, port)));
        let sport = 1 + round % 1000;
        match round % 3 {
            0 => assert_eq!(states_of(&mut it, [data(sport, port)]), [State::Related]),
            1 => assert_eq!(it.shard.delete_expectations(|_| true), 1),
            _ => it.pass(secs(301)),
        }
    }
    assert!(expected(&it).is_empty());
}

#[test]
fn operators_delete_and_flush() {
    let mut it = with_master();
    for port in [5001, 5002, 5003] {
        expect(&mut it, &wanted(data(0, port)));
    }
    let is = |port| move |one: &ExpectationSnapshot| one.expectation.tuple.selector.dport() == port;
    assert_eq!(it.shard.delete_expectations(is(5002)), 1);
    assert_eq!(states_of(&mut it, [data(20, 5002)]), [State::New]);
    assert_eq!((it.shard.delete_expectations(|_| true), it.shard.len()), (2, 1), "the master stays");
    assert!(expected(&it).is_empty());
    it.check();
}

#[test]
fn a_listing_comes_in_pages() {
    let mut it = with_master();
    for port in 1..=5000 {
        let expected = try_to_expect(&mut it, control(2), &wanted(data(0, port)), Limits::default());
        assert_eq!(expected.is_ok(), port <= 4096, "as many as the settings allow");
    }
    let (mut next, mut seen, mut pages) = (Some(0), 0, 0);
    while let Some(cursor) = next {
        let before = seen;
        next = it.shard.list_expectations(cursor, 100, |_, _| seen += 1);
        assert!(seen - before <= 100);
        pages += 1;
    }
    assert_eq!((seen, pages), (4096, 41));
}

#[test]
fn nobody_expects_for_a_connection_that_is_not_there() {
    let mut it = Middlebox::routed(Nat::default());
    assert_eq!(it.shard.expect_for(&tuple(control(2)), &wanted(data(0, 5001)), Limits::default()), None);
}
