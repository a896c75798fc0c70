//! What is told, and when.

use super::talk::*;
use super::*;
use sluice_conntrack::EntryUpdate;
use sluice_conntrack::replica::{Record, Replicate};
use sluice_conntrack::settings::Preset;

/// The tracker's states of all that is told, ends being `None`.
fn states(it: &mut Middlebox) -> Vec<Option<u8>> {
    let state = |record| match record {
        Record::State(connection) => Some(connection.state),
        Record::End(_) | Record::Expected(_) | Record::Changed(_) => None,
    };
    told(it).into_iter().map(state).collect()
}

#[test]
fn a_connection_is_told_of_when_it_is_assured_at_each_change_and_at_its_end() {
    for pair in Pair::both(4000, 80) {
        let mut it = wire(Preset::Linux, Replicate::Assured);
        it.inside(&pair.tcp("S", 1000, 0));
        it.outside(&pair.inverse().tcp("SA", 5000, 1001));
        assert_eq!(states(&mut it), [], "it may come to nothing");
        it.inside(&pair.tcp("A", 1001, 5001));
        assert_eq!(states(&mut it), [Some(3)]);
        for _ in 0..5 {
            it.inside(&pair.tcp("A", 1001, 5001));
            it.outside(&pair.inverse().tcp("A", 5001, 1001));
        }
        assert_eq!(states(&mut it), [], "nothing has changed");
        it.inside(&pair.tcp("FA", 1001, 5001));
        it.outside(&pair.inverse().tcp("FA", 5001, 1002));
        assert_eq!(states(&mut it), [Some(6)], "once, as it is now");
        it.inside(&pair.tcp("A", 1002, 5002));
        it.pass(secs(119));
        assert_eq!(states(&mut it), [Some(7)]);
        it.pass(secs(2));
        assert_eq!(states(&mut it), [None]);
        assert_eq!(states(&mut it), []);
        it.check();
    }
}

#[test]
fn who_has_not_been_told_of_a_connection_is_not_told_of_its_end() {
    let mut it = wire(Preset::Linux, Replicate::Assured);
    it.inside(&Pair::v4(4000, 53).udp(1));
    it.shard.delete(|_| true);
    // One that has begun and ended between two looks.
    let pair = Pair::v4(4000, 80);
    it.inside(&pair.tcp("S", 1000, 0));
    it.outside(&pair.inverse().tcp("SA", 5000, 1001));
    it.inside(&pair.tcp("A", 1001, 5001));
    it.shard.delete(|_| true);
    assert_eq!(told(&mut it), []);
}

#[test]
fn all_connections_are_told_of_where_that_is_wanted() {
    let mut it = wire(Preset::Linux, Replicate::All);
    it.inside(&Pair::v4(4000, 53).udp(1));
    it.inside(&Pair::v6(4000, 53).echo(7, 1));
    assert_eq!(states(&mut it), [Some(0), Some(0)]);
    it.pass(secs(32));
    assert_eq!(states(&mut it), [None, None]);
}

#[test]
fn what_is_assured_without_another_state_is_told_of() {
    for preset in PRESETS {
        let mut it = wire(preset, Replicate::Assured);
        let pair = Pair::v4(4000, 53);
        it.inside(&pair.udp(1));
        it.outside(&pair.inverse().udp(1));
        it.pass(secs(3));
        assert_eq!(states(&mut it), []);
        it.inside(&pair.udp(1));
        assert_eq!(states(&mut it), [Some(0)]);
        // In mid-stream the second direction alone assures.
        let pair = Pair::v4(4001, 80);
        it.inside(&pair.tcp("A", 1001, 5001));
        it.outside(&pair.inverse().tcp("A", 5001, 1001));
        it.inside(&pair.tcp("A", 1001, 5001));
        assert_eq!(states(&mut it), [Some(3)]);
    }
}

#[test]
fn what_lives_on_is_told_of_before_a_copy_would_end() {
    let mut it = wire(Preset::Linux, Replicate::Assured);
    let mut talk = all().map(|(_, talk)| talk).find(|talk| talk.protocol == frame::UDP).unwrap();
    talk.open(&mut it);
    let Record::State(first) = told(&mut it)[0] else { panic!() };
    let (mut waited_ms, mut longest_ms) = (0, 0);
    for _ in 0..600 {
        talk.go_on(&mut it);
        it.pass(secs(1));
        waited_ms += 1000;
        if !told(&mut it).is_empty() {
            longest_ms = longest_ms.max(waited_ms);
            waited_ms = 0;
        }
    }
    assert!(longest_ms < 2 * first.remaining_ms, "{longest_ms} of {}", first.remaining_ms);
}

#[test]
fn a_mark_is_told_of() {
    let mut it = wire(Preset::Linux, Replicate::Assured);
    let (_, mut talk) = all().next().unwrap();
    talk.open(&mut it);
    told(&mut it);
    let (id, _) = it.entries()[0];
    it.shard.update_entry(id, &EntryUpdate { mark: Some((7, u32::MAX)), timeout_ms: None });
    let [Record::State(connection)] = told(&mut it)[..] else { panic!() };
    assert_eq!(connection.mark, 7);
}

#[test]
fn ends_beyond_those_that_wait_are_lost_and_counted() {
    let configuration =
        configuration(sluice_conntrack::settings::Settings::of(Preset::Linux, 5000), accept_all());
    let mut it = Middlebox::starting(sluice_conntrack::Instant::from_ns(0), 5000, configuration);
    let teller = sluice_conntrack::replica::Teller::new(Replicate::All, 5000).unwrap();
    it.shard.tell_by(Some(Box::new(teller)));
    for port in 0..5000 {
        it.inside(&Pair::v4(port, 53).udp(1));
    }
    assert_eq!(it.shard.teller().unwrap().dirty(), 5000);
    told(&mut it);
    it.shard.delete(|_| true);
    assert_eq!(it.shard.teller().unwrap().ends_lost(), 5000 - 4096);
    assert_eq!(told(&mut it).len(), 4096);
}

#[test]
fn who_takes_the_slot_of_another_is_told_of_as_itself() {
    let mut it = wire(Preset::Linux, Replicate::All);
    for port in [4000, 4001, 4002] {
        it.inside(&Pair::v4(port, 53).udp(1));
        it.shard.delete(|_| true);
    }
    it.inside(&Pair::v4(4003, 53).udp(1));
    let [Record::State(connection)] = told(&mut it)[..] else { panic!("the slot is told of once") };
    assert_eq!(connection.original.selector.sport(), 4003);
    it.shard.delete(|_| true);
    it.inside(&Pair::v4(4004, 53).udp(1));
    let told = told(&mut it);
    assert_eq!(told[0].tuples(), [connection.original, connection.reply], "its end comes first");
    assert!(matches!(told[..], [Record::End(_), Record::State(_)]));
}

/// Connections that were there before anybody was to be told of them, or whose records were lost.
#[test]
fn who_is_told_of_the_table_is_told_of_the_ends_of_what_it_has() {
    let mut it = wire(Preset::Linux, Replicate::Assured);
    for port in 4000..4010 {
        let pair = Pair::v4(port, 80);
        it.inside(&pair.tcp("S", 1000, 0));
        it.outside(&pair.inverse().tcp("SA", 5000, 1001));
        it.inside(&pair.tcp("A", 1001, 5001));
    }
    it.inside(&Pair::v4(4000, 53).udp(1));
    let teller = sluice_conntrack::replica::Teller::new(Replicate::Assured, 16).unwrap();
    it.shard.tell_by(Some(Box::new(teller)));
    let (mut shown, mut next) = (vec![], Some(0));
    while let Some(cursor) = next {
        next = it.shard.tell_page(GROUP, cursor, 4, |connection| shown.push(connection.original));
    }
    assert_eq!(shown.len(), 10, "those that are assured, each once");
    assert_eq!(told(&mut it), [], "nothing has happened since");
    it.shard.delete(|_| true);
    let ended: Vec<_> = told(&mut it).iter().map(|record| record.tuples()[0]).collect();
    assert_eq!(ended, shown);
}
