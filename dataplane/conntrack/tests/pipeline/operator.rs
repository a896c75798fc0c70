//! What an operator does to connections: one is got, deleted, changed or made, and packets go on.

use crate::common::expecting::{tuple, wanted};
use crate::common::frame::{ICMP, SCTP, UDP};
use crate::common::*;
use sluice_conntrack::entry::Status;
use sluice_conntrack::expectations::Limits;
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::nat::{Nat, NatRule, PortBlock, PortChoice, Target};
use sluice_conntrack::policy::{Match, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::tuple::protocol::GRE;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, EntryUpdate, NewEntry, NotInserted, State, Tuple};

const ESTABLISHED: u8 = 3;

fn of(pair: Pair, protocol: u8) -> Tuple {
    let Pair { source, destination } = pair;
    Tuple::new(source.ip(), destination.ip(), protocol, source.port(), destination.port())
}

/// A connection that was answered and lasts.
fn lasting(original: Tuple) -> NewEntry {
    NewEntry {
        original,
        reply: original.invert(),
        state: 0,
        status: Status::SEEN_REPLY.union(Status::ASSURED),
        timeout_ms: 300_000,
        mark: 0,
        tags: [0; 2],
    }
}

fn insert(it: &mut Middlebox, new: &NewEntry) -> Result<EntryId, NotInserted> {
    it.shard.insert_entry(new).expect("the only shard owns it")
}

#[test]
fn an_entry_is_got_by_either_direction_while_it_lives() {
    for pair in Pair::both(4000, 53) {
        let mut it = Middlebox::of(Preset::Linux);
        it.inside(&pair.udp(1));
        let (id, entry) = it.entries()[0];
        let tuple = of(pair, UDP);
        assert_eq!(it.shard.get(&tuple), Some((id, entry)));
        assert_eq!(it.shard.get(&tuple.invert()), Some((id, entry)));
        let other = Tuple { selector: tuple.selector.with_zone(7), ..tuple };
        assert_eq!(it.shard.get(&other), None);
        it.now = it.now.after(secs(31));
        it.inside(&Pair::v4(1, 1).udp(1));
        assert_eq!(it.shard.get(&tuple), None, "its time is over");
    }
}

#[test]
fn a_deleted_connection_takes_with_it_what_it_expects() {
    for pair in Pair::both(40_000, 21) {
        let mut it = Middlebox::of(Preset::Linux);
        it.inside(&pair.tcp("S", 1000, 0));
        let child = Pair { source: pair.destination, destination: pair.source };
        it.shard.expect_for(&tuple(pair), &wanted(child), Limits::default()).unwrap().unwrap();
        let (id, entry) = it.entries()[0];
        assert_eq!(it.shard.delete_entry(id), Some(entry));
        assert_eq!(it.shard.delete_entry(id), None, "once");
        let counters = it.shard.counters();
        assert_eq!((it.shard.len(), counters.expectations, counters.deletes), (0, 0, 1));
        assert_eq!(state(it.inside(&pair.tcp("S", 1000, 0))), State::New);
        it.check();
    }
}

#[test]
fn a_deleted_connection_gives_its_port_back() {
    let out = Match { egress: vec![OUTSIDE], ..Match::default() };
    let nat = Nat {
        source: vec![NatRule::new(out, Target::Masquerade(PortChoice::Among(5000..=5000)))],
        destination: vec![],
    };
    let mut it = Middlebox::routed(nat);
    let [first, second] =
        ["10.0.0.2:40000", "10.0.0.3:40000"].map(|client| Pair::at(client, "198.51.100.2:53"));
    let used = |it: &Middlebox| {
        it.shard.ports_used(&PortBlock::whole("203.0.113.1".parse().unwrap())).iter().sum::<u32>()
    };
    it.inside(&first.udp(1));
    assert_eq!(it.inside(&second.udp(1)).drop_reason(), Some(DropReason::NatExhausted));
    let (id, _) = it.entries()[0];
    assert!(it.shard.delete_entry(id).is_some());
    assert_eq!(used(&it), 0);
    assert_eq!(it.inside(&second.udp(1)).action, Action::Forward(OUTSIDE));
    assert_eq!(used(&it), 1);
    it.check();
}

#[test]
fn what_rules_say_of_a_mark_holds_from_the_next_packet_on() {
    let marked = Match { mark: Some((1, 1)), ..Match::default() };
    let mut it = Middlebox::with(
        Settings::of(Preset::Linux, ROOM),
        rules([(marked, RuleAction::Drop), (Match::default(), RuleAction::Accept)]),
    );
    let pair = Pair::v4(4000, 53);
    for packet in [pair.udp(1), pair.inverse().udp(1), pair.udp(1)] {
        it.inside(&packet);
    }
    let (id, _) = it.entries()[0];
    let mark = |it: &mut Middlebox, value, mask| {
        let update = EntryUpdate { mark: Some((value, mask)), timeout_ms: None };
        it.shard.update_entry(id, &update).unwrap().mark
    };
    assert_eq!(mark(&mut it, 0xf0, u32::MAX), 0xf0);
    assert_eq!(mark(&mut it, 0x2, 0xf), 0xf2, "the bits of the mask give way");
    assert_eq!(mark(&mut it, 0x3, 0), 0xf1, "else bits are flipped");
    assert!(it.inside(&pair.udp(1)).drop_reason().is_some());
    assert_eq!(mark(&mut it, 0, u32::MAX), 0);
    assert_eq!(it.inside(&pair.udp(1)).drop_reason(), None);
    it.check();
}

#[test]
fn a_timeout_is_changed_both_ways_until_a_packet_comes() {
    let mut it = Middlebox::of(Preset::Linux);
    let pair = Pair::v4(4000, 53);
    it.inside(&pair.udp(1));
    let (id, _) = it.entries()[0];
    let update = |it: &mut Middlebox, ms| {
        let update = EntryUpdate { mark: None, timeout_ms: Some(ms) };
        it.shard.update_entry(id, &update).map(|entry| entry.remaining_s)
    };
    assert_eq!(update(&mut it, 600_000), Some(600));
    it.pass(secs(599));
    assert_eq!(it.shard.len(), 1);
    it.inside(&pair.udp(1));
    assert_eq!(it.entry().remaining_s, 30);
    assert_eq!(update(&mut it, 5_000), Some(5));
    it.pass(secs(6));
    assert_eq!((it.shard.len(), update(&mut it, 5_000)), (0, None));
    assert_eq!(update(&mut it, u32::MAX), None);
    it.check();
}

#[test]
fn packets_of_a_connection_that_was_made_are_established() {
    for pair in Pair::both(4000, 53) {
        let mut it = Middlebox::with(Settings::of(Preset::Linux, ROOM), firewall());
        let new = NewEntry { mark: 7, ..lasting(of(pair, UDP)) };
        let id = insert(&mut it, &new).unwrap();
        let entry = it.entry();
        assert_eq!((entry.mark, entry.remaining_s, it.entries()[0].0), (7, 300, id));
        assert_eq!(entry.traffic.unwrap().map(|traffic| traffic.packets), [0, 0]);
        assert_eq!(state(it.outside(&pair.inverse().udp(1))), State::Established);
        assert_eq!(state(it.inside(&pair.udp(1))), State::Established);
        assert_eq!(insert(&mut it, &new), Err(NotInserted::Exists));
        assert_eq!(insert(&mut it, &lasting(new.reply)), Err(NotInserted::Exists), "in either direction");
        it.check();
    }
}

#[test]
fn windows_of_a_tcp_connection_that_was_made_are_learnt() {
    for pair in Pair::both(4000, 80) {
        let mut it = Middlebox::of(Preset::Linux);
        insert(&mut it, &NewEntry { state: ESTABLISHED, ..lasting(tuple(pair)) }).unwrap();
        assert_eq!(it.entry().state, Some("ESTABLISHED"));
        for _ in 0..3 {
            for (packet, came_by) in
                [(pair.inverse().tcp("A", 70_000, 9000), OUTSIDE), (pair.tcp("A", 9000, 70_000), INSIDE)]
            {
                assert_eq!(state(it.burst(&mut [(came_by, packet.frame())])[0]), State::Established);
            }
        }
        it.inside(&pair.tcp("FA", 9000, 70_000));
        assert_eq!(it.entry().state, Some("FIN_WAIT"));
        it.check();
    }
}

#[test]
fn a_connection_that_was_made_is_translated_by_its_tuples() {
    let mut it = Middlebox::routed(Nat::default());
    let inside = Pair::at("10.0.0.2:40000", "198.51.100.2:53");
    let outside = Pair::at("203.0.113.1:5000", "198.51.100.2:53");
    let new = NewEntry { reply: of(outside.inverse(), UDP), ..lasting(of(inside, UDP)) };
    insert(&mut it, &new).unwrap();
    assert!(it.entry().status.contains(Status::SRC_NAT));
    it.crosses(INSIDE, &inside.udp(3), &outside.udp(3));
    it.crosses(OUTSIDE, &outside.inverse().udp(3), &inside.inverse().udp(3));
    let rival = of(Pair::at("10.0.0.3:40000", "198.51.100.2:53"), UDP);
    let taken = NewEntry { reply: new.reply, ..lasting(rival) };
    assert_eq!(insert(&mut it, &taken), Err(NotInserted::Exists));
    it.check();
    let (id, _) = it.entries()[0];
    assert!(it.shard.delete_entry(id).is_some());
    it.check();
}

#[test]
fn a_made_association_is_known_by_its_tags() {
    let (pair, data) = (Pair::v4(5000, 6000), [0, 3, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    let mut it = Middlebox::of(Preset::Linux);
    insert(&mut it, &NewEntry { state: 4, tags: [9, 8], ..lasting(of(pair, SCTP)) }).unwrap();
    assert_eq!(state(it.inside(&pair.sctp(9, &data))), State::Established);
    assert_eq!(state(it.outside(&pair.inverse().sctp(8, &data))), State::Established);
    assert_eq!(state(it.inside(&pair.sctp(8, &data))), State::Invalid);
    it.check();
}

#[test]
fn what_no_packet_can_be_is_refused_and_changes_nothing() {
    let mut it = Middlebox::of(Preset::Linux);
    let [v4, v6] = Pair::both(4000, 53).map(|pair| of(pair, UDP));
    let udp = lasting(v4);
    let other_protocol = of(Pair::v4(53, 4000), 6);
    let echo =
        |kind: u8| Tuple { selector: v4.selector.with_protocol(ICMP).with_dport(u16::from(kind) << 8), ..v4 };
    let zoned = Tuple { selector: v4.selector.with_zone(1), ..v4 };
    for malformed in [
        NewEntry { reply: v6.invert(), ..udp },
        NewEntry { reply: other_protocol, ..udp },
        NewEntry { reply: zoned.invert(), ..udp },
        NewEntry { reply: v4, ..udp },
        NewEntry { state: 1, ..udp },
        NewEntry { status: Status::PENDING, ..udp },
        lasting(of(Pair::v4(4000, 80), 6)),
        NewEntry { state: 99, ..lasting(of(Pair::v4(4000, 80), 6)) },
        NewEntry { state: 4, ..lasting(of(Pair::v4(4000, 80), SCTP)) },
        lasting(of(Pair::v4(4000, 80), 99)),
        lasting(echo(0)),
        lasting(echo(3)),
        NewEntry { reply: echo(8).invert().invert(), ..lasting(echo(8)) },
        lasting(of(Pair::v6(4000, 8 << 8), ICMP)),
    ] {
        assert_eq!(insert(&mut it, &malformed), Err(NotInserted::Malformed), "{malformed:?}");
    }
    assert_eq!((it.shard.len(), it.shard.counters().inserts), (0, 0));
    for fine in [lasting(echo(8)), lasting(of(Pair::v4(0, 7), GRE)), lasting(of(Pair::v4(0, 0), 99))] {
        assert!(insert(&mut it, &fine).is_ok(), "{fine:?}");
    }
    it.check();
}

#[test]
fn a_full_table_takes_none() {
    let mut it = Middlebox::with(Settings::of(Preset::Linux, 1), accept_all());
    insert(&mut it, &lasting(of(Pair::v4(1, 53), UDP))).unwrap();
    assert_eq!(insert(&mut it, &lasting(of(Pair::v4(2, 53), UDP))), Err(NotInserted::Full));
    it.check();
}
