//! The search for a port: ranges, exhaustion, what is taken over, what is drawn at random, and bystanders.

use super::*;
use sluice_conntrack::Tuple;
use sluice_conntrack::index::Index;
use sluice_conntrack::verdict::Rejection;
use sluice_memory::Pages;
use std::collections::BTreeSet;

const ALL_PORTS: std::ops::RangeInclusive<u16> = 1024..=65535;

fn from(host: u8, port: u16) -> Pair {
    Pair::of([10, 0, 0, host].into(), port, [198, 51, 100, 2].into(), 80)
}

fn range(ports: std::ops::RangeInclusive<u16>) -> Target {
    pool("203.0.113.10", "203.0.113.10", PortChoice::Among(ports))
}

#[test]
fn a_range_of_one_port_serves_one_client_for_each_server() {
    let mut it = Middlebox::routed(source(range(5555..=5555)));
    assert_eq!(source_port(&it.goes_out(&from(2, 40000).udp(1))), 5555);
    it.finds_no_port(&from(3, 40000).udp(1));
    let elsewhere = Pair { destination: "198.51.100.3:80".parse().unwrap(), ..from(3, 40000) };
    assert_eq!(source_port(&it.goes_out(&elsewhere.udp(1))), 5555);
    assert_eq!(it.ports_in_use("203.0.113.10"), 1);
    assert_eq!(it.shard.rule_counters().source[0].exhausted, 1);
    it.pass(secs(31));
    assert_eq!(source_port(&it.goes_out(&from(3, 40000).udp(1))), 5555, "free again");
    it.check();
}

#[test]
fn a_range_of_three_ports_serves_three() {
    for protocol_is_tcp in [false, true] {
        let packet = |pair: Pair| if protocol_is_tcp { pair.tcp("S", 1, 0) } else { pair.udp(1) };
        let mut it = Middlebox::routed(source(range(6000..=6002)));
        let got: BTreeSet<_> =
            (2..5).map(|host| source_port(&it.goes_out(&packet(from(host, 40000))))).collect();
        assert_eq!(got, BTreeSet::from([6000, 6001, 6002]));
        it.finds_no_port(&packet(from(5, 40000)));
        it.check();
    }
}

/// RFC 5508 section 6.
#[test]
fn the_sender_is_told_of_exhaustion_where_that_is_wanted() {
    let mut it = Middlebox::routed(source(range(5555..=5555)));
    it.change(|configuration| configuration.settings.reject_when_full = true);
    it.goes_out(&from(2, 40000).udp(1));
    let packet = from(3, 40000).tcp("S", 1, 0);
    it.goes_out(&packet);
    for packet in [from(4, 40000).udp(9), from(4, 40000).tcp("S", 1, 0)] {
        let (verdict, frame) = it.pass_one(INSIDE, &packet);
        assert_eq!(verdict.action, Action::Reject(DropReason::NatExhausted, Rejection::Prohibited));
        assert_eq!((verdict.entry, verdict.state), (None, Some(State::New)));
        let mut answer = [0; 2048];
        let length = it.shard.answer(&(INSIDE, frame), &verdict, &mut answer).expect("an answer");
        let told = packet.error([10, 0, 0, 1].into(), 3, 13);
        assert_eq!(hex(&answer[14 + 12..length]), hex(&told.frame()[14 + 12..length]));
    }
    assert_eq!(it.drops(DropReason::NatExhausted), 2);
    it.check();
}

#[test]
fn a_port_in_the_range_is_kept() {
    let mut it = Middlebox::routed(source(range(6000..=6999)));
    assert_eq!(source_port(&it.goes_out(&from(2, 6123).udp(1))), 6123);
    let other = source_port(&it.goes_out(&from(3, 6123).udp(1)));
    assert!((6000..=6999).contains(&other) && other != 6123);
}

#[test]
fn the_last_port_is_found_however_many_are_taken() {
    let mut it = Middlebox::routed(source(range(2000..=2299)));
    let ports: BTreeSet<_> = (0..300).map(|n| source_port(&it.goes_out(&from(2, 3000 + n).udp(1)))).collect();
    assert_eq!(ports, (2000..=2299).collect());
    it.finds_no_port(&from(2, 2000).udp(1));
    it.check();
}

#[test]
fn a_pool_goes_on_with_another_address_and_a_persistent_one_does_not() {
    for (persistent, served) in [(false, 4), (true, 1)] {
        let mut nat = source(pool("203.0.113.10", "203.0.113.13", PortChoice::Among(7000..=7000)));
        nat.source[0].persistent = persistent;
        let mut it = Middlebox::routed(nat);
        let mut got = BTreeSet::new();
        for n in 0..8 {
            let (verdict, frame) = it.pass_one(INSIDE, &from(2, 4000 + n).udp(1));
            if verdict.drop_reason().is_none() {
                got.insert((source_address(&frame), source_port(&frame)));
            }
        }
        assert_eq!(got.len(), served, "{got:?}");
        assert_eq!(it.drops(DropReason::NatExhausted), 8 - served as u64);
        it.check();
    }
}

/// Opens a connection and closes it to TIME_WAIT.
fn open_and_close(it: &mut Middlebox, pair: Pair, isn: u32) {
    let frame = it.goes_out(&pair.tcp("S", isn, 0));
    let seen =
        Pair::of([203, 0, 113, 10].into(), source_port(&frame), [198, 51, 100, 2].into(), 80).inverse();
    it.outside(&seen.tcp("SA", 500, isn + 1));
    it.inside(&pair.tcp("FA", isn + 1, 501));
    it.outside(&seen.tcp("FA", 501, isn + 2));
    it.inside(&pair.tcp("A", isn + 2, 502));
}

#[test]
fn a_connection_that_is_over_gives_way_to_one_whose_numbers_lie_beyond() {
    let mut it = Middlebox::routed(source(range(6000..=6001)));
    it.goes_out(&from(2, 40000).tcp("S", 1000, 0));
    open_and_close(&mut it, from(3, 40000), 1000);
    it.finds_no_port(&from(4, 40000).tcp("S", 900, 0));
    it.finds_no_port(&from(4, 40000).tcp("A", 900_000, 7));
    it.goes_out(&from(4, 40000).tcp("S", 900_000, 0));
    assert_eq!(it.shard.len(), 2);
    it.check();
}

#[test]
fn a_range_of_one_port_is_taken_over_as_well() {
    for own in [40001, 6000] {
        let mut it = Middlebox::routed(source(range(6000..=6000)));
        open_and_close(&mut it, from(2, 40000), 1000);
        it.finds_no_port(&from(3, own).tcp("S", 900, 0));
        assert_eq!(source_port(&it.goes_out(&from(3, own).tcp("S", 900_000, 0))), 6000);
        assert_eq!(it.shard.len(), 1);
        it.check();
    }
}

/// Its own buckets are full of connections that are assured, though there is room elsewhere.
#[test]
fn a_connection_that_is_over_does_not_end_for_one_that_finds_no_room() {
    let room = 50;
    let settings = Settings::of(Preset::Linux, room);
    let nat = source(range(6000..=6000));
    let mut it = Middlebox::starting(Instant::from_ns(0), room, routed(settings, accept_all(), nat));
    open_and_close(&mut it, from(2, 40000), 1000);

    let mut index = Index::new(2 * room, SEED, Pages::Ordinary).expect("memory for a test");
    let hash = |index: &Index, Pair { source: from, destination: to }: Pair, protocol| {
        let tuple = Tuple::new(from.ip(), to.ip(), protocol, from.port(), to.port());
        index.hash(&tuple, tuple.selector.invert())
    };
    let late = from(3, 40000);
    let own = hash(&index, late, frame::TCP);
    let slots = (0..room).take_while(|n| index.insert(own, *n)).count();
    let strangers =
        (0..60_000).map(|port| Pair::of([198, 51, 100, 9].into(), port, [10, 0, 0, 9].into(), 53));
    let crowd: Vec<_> =
        strangers.filter(|pair| index.is_full(hash(&index, *pair, frame::UDP))).take(slots).collect();
    for pair in &crowd {
        for _ in 0..2 {
            it.outside(&pair.udp(1));
            it.inside(&pair.inverse().udp(1));
            it.now = it.now.after(secs(2));
        }
    }
    let before = it.entries();
    assert_eq!(before.len(), slots + 1);
    let (verdict, _) = it.pass_one(INSIDE, &late.tcp("S", 900_000, 0));
    assert_eq!(verdict.action, Action::Drop(DropReason::TableFull));
    assert_eq!(it.entries().len(), before.len(), "the closed one is still there");
    it.check();
}

#[test]
fn what_is_opened_from_both_ends_gives_way_to_nobody() {
    let mut it = Middlebox::routed(source(range(6000..=6000)));
    it.goes_out(&from(2, 40000).tcp("S", 1000, 0));
    it.outside(&Pair::at("198.51.100.2:80", "203.0.113.10:6000").tcp("S", 500, 0));
    assert_eq!(it.entry().state, Some("SYN_SENT2"));
    it.finds_no_port(&from(3, 40001).tcp("S", 900_000, 0));
    it.check();
}

#[test]
fn random_ports_are_not_kept_and_differ() {
    let mut nat = masquerade();
    nat.source[0].random = true;
    let mut it = Middlebox::routed(nat);
    let ports: Vec<_> = (0..200).map(|n| source_port(&it.goes_out(&from(2, 2000 + n).udp(1)))).collect();
    let kept = (2000..2200).zip(&ports).filter(|(own, port)| own == *port).count();
    assert!(kept < 5, "{kept} of 200 kept");
    assert!(ports.iter().all(|port| ALL_PORTS.contains(port)));
    assert!(ports.iter().collect::<BTreeSet<_>>().len() == 200);
    assert!(ports.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 100).count() < 10, "{ports:?}");
    it.check();
}

#[test]
fn shifted_ports_keep_their_distance() {
    let mut it = Middlebox::routed(source(pool(
        "203.0.113.10",
        "203.0.113.10",
        PortChoice::Shift { from: 40000, to: 50000 },
    )));
    for port in [40000, 40001, 47777] {
        assert_eq!(source_port(&it.goes_out(&from(2, port).udp(1))), port + 10_000);
    }
    it.finds_no_port(&from(3, 40000).udp(1));
}

#[test]
fn who_is_not_translated_gets_another_port_where_a_translated_one_has_the_tuple() {
    // 10.0.0.77 is a host of its own.
    let of = |address: &str| Match { source: vec![Prefix::new(address.parse().unwrap(), 32)], ..outwards() };
    let mut it = Middlebox::routed(Nat {
        source: vec![NatRule::new(of("10.0.0.2"), to("10.0.0.77"))],
        destination: vec![],
    });
    let pair = Pair::at("10.0.0.2:4000", "198.51.100.2:80");
    let seen = Pair::at("10.0.0.77:4000", "198.51.100.2:80");
    it.crosses(INSIDE, &pair.udp(1), &seen.udp(1));
    let port = source_port(&it.goes_out(&seen.udp(1)));
    assert!(port != 4000 && ALL_PORTS.contains(&port));
    let moved = Pair { source: (seen.source.ip(), port).into(), ..seen };
    it.crosses(OUTSIDE, &moved.inverse().udp(1), &seen.inverse().udp(1));
    it.crosses(OUTSIDE, &seen.inverse().udp(1), &pair.inverse().udp(1));
    it.check();
}

#[test]
fn who_is_not_translated_keeps_its_port_otherwise() {
    let mut it = Middlebox::routed(masquerade());
    it.goes_out(&from(2, 4000).udp(1));
    for port in [0, 1, 550, 4000, 65535] {
        let pair = Pair::of([198, 51, 100, 2].into(), port, [10, 0, 0, 9].into(), 80);
        it.crosses(OUTSIDE, &pair.udp(1), &pair.udp(1));
        it.crosses(INSIDE, &pair.inverse().udp(1), &pair.inverse().udp(1));
    }
    let untouched = it.entries().iter().filter(|(_, entry)| entry.reply == entry.original.invert()).count();
    assert_eq!(untouched, 5);
    it.check();
}

#[test]
fn two_ways_to_one_server_do_not_meet() {
    let mut it = Middlebox::routed(destination(towards("203.0.113.10"), to("10.0.0.5:80")));
    let plain = Pair::at("198.51.100.9:40000", "10.0.0.5:80");
    let public = Pair::at("198.51.100.9:40000", "203.0.113.10:80");
    it.crosses(OUTSIDE, &plain.tcp("S", 1, 0), &plain.tcp("S", 1, 0));
    let (verdict, frame) = it.pass_one(OUTSIDE, &public.tcp("S", 7, 0));
    assert_eq!(verdict.action, Action::Forward(INSIDE));
    let moved = Pair { source: (plain.source.ip(), source_port(&frame)).into(), ..plain };
    assert_ne!(moved, plain, "the source port has moved");
    it.crosses(INSIDE, &moved.inverse().tcp("SA", 9, 8), &public.inverse().tcp("SA", 9, 8));
    it.crosses(INSIDE, &plain.inverse().tcp("SA", 9, 2), &plain.inverse().tcp("SA", 9, 2));
    it.check();
}

#[test]
fn a_packet_against_the_stream_is_an_answer_and_no_port_moves() {
    let mut it = Middlebox::routed(masquerade());
    it.goes_out(&from(9, 9).udp(1));
    let pair = Pair::at("198.51.100.2:56789", "10.0.0.2:56790");
    it.crosses(OUTSIDE, &pair.udp(1), &pair.udp(1));
    assert_eq!(
        it.crosses(INSIDE, &pair.inverse().udp(1), &pair.inverse().udp(1)).state,
        Some(State::Established)
    );
    it.crosses(OUTSIDE, &pair.udp(1), &pair.udp(1));
    it.check();
}
