//! Limits of how many connections are open: what begins, and what gives its place back.

use crate::common::*;
use sluice_conntrack::connection_counts::{ConnectionCounts, ConnectionLimit};
use sluice_conntrack::limits::{Bits, LimitBy};
use sluice_conntrack::policy::{Match, Policy, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{DropReason, Instant, State, Verdict};
use std::sync::Arc;

const MOST: u32 = 3;

/// Of each /24 or /64 so many may be open.
fn limit(over: bool) -> ConnectionLimit {
    ConnectionLimit { id: 1, most: MOST, by: LimitBy::Source(Bits { v4: 24, v6: 64 }), over }
}

fn new(limit: ConnectionLimit) -> Match {
    Match { connections: Some(limit), ..states([State::New]) }
}

/// What is established passes, and of new connections those within.
fn within() -> Policy {
    rules([(states([State::Established]), RuleAction::Accept), (new(limit(false)), RuleAction::Accept)])
}

/// The same said otherwise.
fn over() -> Policy {
    rules([(new(limit(true)), RuleAction::Drop), (Match::default(), RuleAction::Accept)])
}

fn of(preset: Preset, policy: Policy) -> Middlebox {
    Middlebox::with(Settings::of(preset, ROOM), policy)
}

fn passes(verdict: Verdict) -> bool {
    match verdict.drop_reason() {
        None => true,
        Some(reason) => {
            assert_eq!(reason, DropReason::Policy);
            false
        }
    }
}

/// How many of ten more clients get through.
fn open(it: &mut Middlebox, pairs: impl Fn(u16) -> Pair, first: u16) -> usize {
    (first..first + 10).filter(|sport| passes(it.inside(&pairs(*sport).udp(9)))).count()
}

#[test]
fn so_many_are_open_at_one_time_of_each_network() {
    for policy in [within(), over()] {
        for pairs in [Pair::v4, Pair::v6] {
            let pairs = |sport| pairs(sport, 53);
            let mut it = of(Preset::Linux, policy.clone());
            assert_eq!(open(&mut it, pairs, 1000), MOST as usize);
            assert_eq!(it.entries().len(), MOST as usize);
            // Further packets of those, before and behind an answer, are no more connections.
            for _ in 0..3 {
                assert!((1000..1000 + MOST as u16).all(|sport| passes(it.inside(&pairs(sport).udp(9)))));
            }
            assert!(passes(it.outside(&pairs(1000).inverse().udp(9))));
            assert!(passes(it.inside(&pairs(1000).udp(9))));
            assert_eq!(open(&mut it, pairs, 2000), 0);
            let other = if pairs(1).source.is_ipv4() { "10.7.7.7" } else { "fd00::7" };
            let elsewhere = |sport| Pair::of(other.parse().unwrap(), sport, pairs(1).destination.ip(), 53);
            assert_eq!(open(&mut it, elsewhere, 3000), MOST as usize, "another network has its own");
            it.check();
        }
    }
}

#[test]
fn whatever_ends_gives_its_place_back() {
    let pairs = |sport| Pair::v4(sport, 53);
    let ends: [fn(&mut Middlebox); 2] = [
        |it| it.pass(secs(200)),
        |it| {
            it.shard.delete(|_| true);
        },
    ];
    for end in ends {
        let mut it = of(Preset::Linux, within());
        for round in 0..5 {
            assert_eq!(open(&mut it, pairs, 1000 + 100 * round), MOST as usize, "{round}");
            end(&mut it);
            assert_eq!(it.entries().len(), 0);
        }
    }
    // Evicted, as the table has room for no more.
    let other = Match { destination_ports: vec![99..=99], ..Match::default() };
    let mut policy = rules([(other, RuleAction::Accept)]);
    policy.rules.extend(within().rules);
    let mut it =
        Middlebox::starting(Instant::default(), 8, configuration(Settings::of(Preset::Linux, MOST), policy));
    assert_eq!(open(&mut it, pairs, 1000), MOST as usize);
    assert!(passes(it.inside(&Pair::v4(5000, 99).udp(9))));
    assert_eq!(it.shard.counters().early_drops, 1);
    assert!(passes(it.inside(&pairs(6000).udp(9))));
}

#[test]
fn a_connection_of_tcp_counts_until_it_is_closed() {
    for preset in PRESETS {
        let mut it = of(preset, over());
        let pairs = |sport| Pair::v4(sport, 80);
        let syn = |it: &mut Middlebox, sport| passes(it.inside(&pairs(sport).tcp("S", 1000, 0)));
        let answer = |it: &mut Middlebox, sport: u16, flags: &str, seq, ack| {
            assert!(passes(it.outside(&pairs(sport).inverse().tcp(flags, seq, ack))), "{flags}");
        };
        assert!((1..=3).all(|sport| syn(&mut it, sport)) && !syn(&mut it, 4));
        // One is refused by its server.
        answer(&mut it, 1, "RA", 0, 1001);
        assert!(syn(&mut it, 4) && !syn(&mut it, 5));
        // One is opened and closed by both sides, and still has an entry.
        answer(&mut it, 2, "SA", 5000, 1001);
        it.inside(&pairs(2).tcp("A", 1001, 5001));
        it.inside(&pairs(2).tcp("FA", 1001, 5001));
        assert!(!syn(&mut it, 5), "half of it is open");
        answer(&mut it, 2, "FA", 5001, 1002);
        it.inside(&pairs(2).tcp("A", 1002, 5002));
        assert!(syn(&mut it, 5) && !syn(&mut it, 6));
        it.shard.delete(|_| true);
        assert!((11..=13).all(|sport| syn(&mut it, sport)) && !syn(&mut it, 14), "each was given back once");
        it.check();
    }
}

#[test]
fn what_does_not_begin_is_not_counted() {
    // Behind the rule that counts, another one drops.
    let counted = ConnectionLimit { most: 5, ..limit(true) };
    let mut it = of(
        Preset::Linux,
        rules([
            (new(counted), RuleAction::Log),
            (Match { protocols: vec![6], ..Match::default() }, RuleAction::Accept),
        ]),
    );
    assert_eq!(open(&mut it, |sport| Pair::v4(sport, 53), 1000), 0);
    assert!(it.shard.log().pop().is_none(), "none was beyond the limit");
    for sport in 1..=6 {
        it.inside(&Pair::v4(sport, 80).tcp("S", 1000, 0));
    }
    assert_eq!(it.entries().len(), 6, "what is logged only passes");
    assert!(it.shard.log().pop().is_some() && it.shard.log().pop().is_none());
}

#[test]
fn a_reload_goes_on_counting_and_may_change_the_number() {
    let pairs = |sport| Pair::v4(sport, 53);
    let mut it = of(Preset::Linux, within());
    assert_eq!(open(&mut it, pairs, 1000), MOST as usize);
    it.reload(within());
    assert_eq!(open(&mut it, pairs, 2000), 0);
    let more = ConnectionLimit { most: MOST + 2, ..limit(false) };
    it.reload(rules([(states([State::Established]), RuleAction::Accept), (new(more), RuleAction::Accept)]));
    assert_eq!(open(&mut it, pairs, 3000), 2);
    // Two limits count one connection, each by itself; the second has heard of none yet.
    let other = ConnectionLimit { id: 2, most: 1, by: LimitBy::Rule, over: false };
    it.reload(rules([(new(other), RuleAction::Accept), (new(more), RuleAction::Accept)]));
    assert_eq!(open(&mut it, pairs, 4000), 1);
    it.shard.delete(|_| true);
    assert_eq!(open(&mut it, pairs, 5000), MOST as usize + 3);
}

#[test]
fn all_shards_of_a_box_count_together() {
    let counts = Arc::new(ConnectionCounts::new(ROOM, SEED).unwrap());
    let mut boxes = [(); 2].map(|()| of(Preset::Linux, within()));
    for it in &mut boxes {
        let shard = std::mem::replace(&mut it.shard, of(Preset::Linux, within()).shard);
        it.shard = shard.with_connection_counts(Arc::clone(&counts));
    }
    let pairs = |sport| Pair::v4(sport, 53);
    let [one, other] = &mut boxes;
    assert_eq!(open(one, pairs, 1000), MOST as usize);
    assert_eq!(open(other, pairs, 2000), 0);
    one.pass(secs(200));
    assert_eq!(open(other, pairs, 3000), MOST as usize);
}
