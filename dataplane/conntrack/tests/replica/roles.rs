//! What a box does by its roles: on standby nothing, and as it becomes active it goes on with all connections.

use super::talk::*;
use super::*;
use sluice_conntrack::entry::Status;
use sluice_conntrack::groups::{Group, Groups, Role, Takeover};
use sluice_conntrack::ids::GroupId;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::nat::{Nat, PortBlock};
use sluice_conntrack::policy::Policy;
use sluice_conntrack::replica::{Installing, NotInstalled, Record, Replicate, Teller};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::{Action, Rejection};
use sluice_conntrack::{Configuration, DropReason, Instant, NewEntry, NotInserted, State};

/// The addresses of the box in these tests, all of one group.
fn group() -> Group {
    let ip = |text: &str| text.parse().unwrap();
    Group {
        addresses: vec![
            (INSIDE, ip("10.0.0.1")),
            (INSIDE, ip("fd00::1")),
            (OUTSIDE, ip("203.0.113.1")),
            (OUTSIDE, ip("2001:db8:2::1")),
        ],
        pools: vec![(ip("203.0.113.8"), ip("203.0.113.15")), (ip("2001:db8:2::9"), ip("2001:db8:2::9"))],
        hosts: vec![],
    }
}

fn box_with(policy: Policy, nat: Nat, groups: Vec<Group>) -> Middlebox {
    let settings = Settings::of(Preset::Linux, ROOM);
    let groups = Groups::new(groups, Takeover::default());
    let configuration = Configuration { groups, ..routed(settings, policy, nat) };
    let mut it = Middlebox::starting(Instant::from_ns(0), ROOM, configuration);
    it.shard.set_quota(GROUP, ROOM / 2);
    it.shard.tell_by(Some(Box::new(Teller::new(Replicate::Assured, ROOM).unwrap())));
    it
}

/// A box that is on standby for its addresses.
fn on_standby(nat: Nat) -> Middlebox {
    box_with(accept_all(), nat, vec![group()])
}

/// One that has been active for them from the start on, so long that nothing of that is recent.
fn active(nat: Nat) -> Middlebox {
    let mut it = on_standby(nat);
    it.shard.set_role(GROUP, Role::Active);
    it.pass(secs(61));
    it
}

const STANDBY: Action = Action::Drop(DropReason::Standby);

#[test]
fn a_box_on_standby_forwards_and_answers_nothing_and_changes_nothing() {
    for (nat, mut talk) in all() {
        let (mut first, mut second) = (active(nat.clone()), on_standby(nat));
        talk.open(&mut first);
        told(&mut first).into_iter().for_each(|record| install(&mut second, record, PEER));
        let before = second.entries();
        assert_eq!((before.len(), second.shard.foreign()), (1, 1));
        for ((_, left), (_, sent)) in talk.go_on(&mut second).iter().zip(talk.sent_frames()) {
            assert_eq!(*left, sent, "it was not translated");
        }
        assert_eq!(second.shard.counters().drops[DropReason::Standby as usize], 4, "{talk:?}");
        assert_eq!(second.entries(), before);
        second.check();
    }
}

#[test]
fn a_box_on_standby_begins_no_connection_and_answers_no_echo() {
    let mut it = on_standby(masquerade());
    let ping = Pair::at("10.0.0.9:0", "10.0.0.1:0").echo(7, 1);
    for packet in [Pair::at("10.0.0.9:4000", "198.51.100.2:80").tcp("S", 1, 0), ping.clone()] {
        assert_eq!(it.inside(&packet).action, STANDBY);
    }
    assert_eq!(it.outside(&Pair::at("198.51.100.2:80", "203.0.113.9:4000").udp(1)).action, STANDBY);
    assert!(it.shard.is_empty());
    it.shard.set_role(GROUP, Role::Active);
    assert_eq!(it.inside(&ping).action, Action::Deliver);
    it.check();
}

#[test]
fn the_boxs_own_addresses_have_no_group() {
    let outside = Group { addresses: vec![(OUTSIDE, "203.0.113.1".parse().unwrap())], ..Group::default() };
    let mut it = box_with(accept_all(), Nat::default(), vec![outside]);
    let own = Pair::at("[2001:db8::9]:4000", "[2001:db8:2::1]:4000").udp(1);
    assert_ne!(it.outside(&own).action, STANDBY, "the other address of the port");
    assert_eq!(it.outside(&Pair::at("192.0.2.9:4000", "203.0.113.1:4000").udp(1)).action, STANDBY);
    assert_eq!(it.outside(&Pair::at("192.0.2.9:4000", "10.0.0.5:4000").udp(1)).action, STANDBY);
    let from_inside = Pair::at("10.0.0.5:4000", "192.0.2.9:4000").udp(1);
    assert_eq!(it.inside(&from_inside).action, Action::Forward(OUTSIDE), "no group is at that port");
    assert!(!it.shard.roles().has("203.0.113.1".parse().unwrap()));
    assert!(it.shard.roles().has("2001:db8:2::1".parse().unwrap()));
    it.check();
}

#[test]
fn a_promotion_touches_no_entry_and_all_connections_go_on() {
    for (nat, mut talk) in all() {
        let (mut first, mut second) = (active(nat.clone()), on_standby(nat));
        talk.open(&mut first);
        told(&mut first).into_iter().for_each(|record| install(&mut second, record, PEER));
        let before = second.entries();
        first.shard.set_role(GROUP, Role::Standby);
        second.shard.set_role(GROUP, Role::Active);
        let own = |(id, entry)| (id, EntrySnapshot { is_standby: false, ..entry });
        assert_eq!(second.entries(), before.into_iter().map(own).collect::<Vec<_>>());
        assert_eq!((second.shard.len(), second.shard.foreign()), (1, 0));
        let went = talk.go_on(&mut second);
        assert!(went.iter().all(|(state, _)| *state == Some(State::Established)), "{talk:?}");
        assert_eq!(second.shard.counters().invalid.iter().sum::<u64>(), 0);
        assert_eq!(told(&mut second).len(), 1, "the other box is told of it from now on");
        assert!(talk.go_on(&mut first).iter().all(|(state, _)| state.is_none()), "{talk:?}");
        second.check();
    }
}

#[test]
fn what_is_yet_to_be_told_of_is_told_when_the_box_is_demoted() {
    for (nat, mut talk) in all() {
        let (mut first, mut second) = (active(nat.clone()), on_standby(nat));
        talk.open(&mut first);
        first.shard.set_role(GROUP, Role::Standby);
        told(&mut first).into_iter().for_each(|record| install(&mut second, record, PEER));
        second.shard.set_role(GROUP, Role::Active);
        assert!(talk.go_on(&mut second).iter().all(|(state, _)| *state == Some(State::Established)));
        let told = told(&mut second);
        assert_eq!(told.len(), 1, "{talk:?}");
        told.into_iter().for_each(|record| install(&mut first, record, PEER));
        assert_eq!(self::told(&mut first), [], "what is the other's now is the other's to tell");
        first.check();
    }
}

#[test]
fn what_was_its_own_follows_the_peer_when_the_box_is_demoted() {
    let (mut first, mut second) = (active(masquerade()), on_standby(masquerade()));
    let (sent, seen) =
        (Pair::at("10.0.0.5:4000", "198.51.100.2:80"), Pair::at("203.0.113.1:4000", "198.51.100.2:80"));
    let mut talk = Talk { protocol: frame::TCP, port: INSIDE, sent, seen };
    talk.open(&mut first);
    let tell = |from: &mut Middlebox, to: &mut Middlebox| {
        told(from).into_iter().for_each(|record| install(to, record, PEER));
        to.check();
    };
    tell(&mut first, &mut second);
    for round in 0..3 {
        first.shard.set_role(GROUP, Role::Standby);
        second.shard.set_role(GROUP, Role::Active);
        assert!(talk.go_on(&mut second).iter().all(|(state, _)| *state == Some(State::Established)));
        let marked = second.entries()[0].0;
        let update = sluice_conntrack::EntryUpdate { mark: Some((round + 1, u32::MAX)), timeout_ms: None };
        second.shard.update_entry(marked, &update);
        tell(&mut second, &mut first);
        assert_eq!((first.entry().mark, first.shard.foreign()), (round + 1, 1));
        std::mem::swap(&mut first, &mut second);
    }
    // It ends where it is active, and so in the other box.
    assert!(first.inside(&sent.tcp("R", 1001, 0)).drop_reason().is_none());
    first.pass(secs(11));
    tell(&mut first, &mut second);
    assert_eq!((first.shard.len(), second.shard.len(), second.shard.foreign()), (0, 0, 0));
}

#[test]
fn a_bulk_ends_what_was_the_boxs_own_and_what_a_peer_does_not_have() {
    let mut it = active(masquerade());
    for port in 4000..4010 {
        it.inside(&Pair::at(&format!("10.0.0.5:{port}"), "198.51.100.2:53").udp(1));
    }
    it.shard.set_role(GROUP, Role::Standby);
    let [first, other] =
        [4000, 5000].map(|port| translated(udp_from([10, 0, 0, 5], port), [203, 0, 113, 1], port));
    it.shard.begin_bulk(GROUP);
    [first, other].into_iter().for_each(|connection| install(&mut it, Record::State(connection), PEER));
    it.shard.end_bulk(GROUP);
    it.pass(ms(1));
    assert_eq!((it.shard.len(), it.shard.foreign()), (2, 2));
    it.check();
}

#[test]
fn silent_connections_are_adopted_a_few_at_a_time_and_live_on() {
    let mut it = on_standby(Nat::default());
    for port in 1..=200 {
        let connection = Connection { remaining_ms: 40_000, ..udp_from([10, 0, 0, 5], port) };
        install(&mut it, Record::State(connection), PEER);
    }
    assert_eq!(told(&mut it), [], "they are a peer's");
    it.shard.set_role(GROUP, Role::Active);
    assert_eq!(told(&mut it), [], "nobody is told at once");
    let mut adopted = vec![];
    for _ in 0..60 {
        it.pass(secs(1));
        adopted.push(told(&mut it).len());
    }
    assert_eq!(adopted.iter().sum::<usize>(), 200);
    assert!(adopted.iter().all(|few| *few < 40), "{adopted:?}");
    it.pass(secs(59));
    assert_eq!(it.shard.len(), 200, "each lives 120 s from then on");
    it.pass(secs(121));
    assert_eq!(it.shard.len(), 0);
    it.check();
}

#[test]
fn ports_of_a_peers_connections_are_taken_when_the_box_takes_over() {
    let mut it = on_standby(masquerade());
    let peers = translated(tcp([10, 0, 0, 5]), [203, 0, 113, 1], 40_000);
    install(&mut it, Record::State(peers), PEER);
    let used = it.shard.ports_used(&PortBlock::whole([203, 0, 113, 1].into()));
    assert_eq!(used.iter().sum::<u32>(), 1);
    it.shard.set_role(GROUP, Role::Active);
    let mut frames = [(INSIDE, Pair::at("10.0.0.6:40000", "198.51.100.2:443").tcp("S", 1, 0).frame())];
    it.burst(&mut frames);
    assert_eq!(frames[0].1[26..30], [203, 0, 113, 1]);
    assert_ne!(frames[0].1[34..36], 40_000_u16.to_be_bytes(), "another client has that port");
    it.check();
}

#[test]
fn segments_of_unknown_translated_connections_are_reset_soon_after_a_takeover() {
    let reset = Action::Reject(DropReason::Takeover, Rejection::TcpReset);
    let mut it = on_standby(masquerade());
    it.shard.set_role(GROUP, Role::Active);
    let out = Pair::at("10.0.0.5:4000", "198.51.100.2:80");
    assert_eq!(it.inside(&out.tcp("A", 7, 9)).action, reset);
    let back = Pair::at("198.51.100.2:80", "203.0.113.1:4000");
    assert_eq!(it.outside(&back.tcp("A", 7, 9)).action, reset);
    assert_eq!((it.shard.len(), it.shard.counters().unknown_resets), (0, 2));
    assert_ne!(it.inside(&out.tcp("R", 7, 9)).action, reset, "a reset is never answered");
    // What is not translated is picked up, and so is all a minute later.
    let inward = Pair::at("198.51.100.2:80", "10.0.0.5:4001");
    assert_eq!(it.outside(&inward.tcp("A", 7, 9)).action, Action::Forward(INSIDE));
    let opens = Pair::at("10.0.0.5:4002", "198.51.100.2:80").tcp("S", 7, 0);
    assert_eq!(it.inside(&opens).action, Action::Forward(OUTSIDE));
    it.pass(secs(60));
    assert_eq!(it.inside(&out.tcp("A", 7, 9)).action, Action::Forward(OUTSIDE));
    assert_eq!(it.shard.counters().unknown_resets, 2);
    it.check();
}

#[test]
fn a_peer_tells_only_of_groups_that_are_on_standby_and_of_their_addresses() {
    let pool = |address: &str| Group {
        pools: vec![(address.parse().unwrap(), address.parse().unwrap())],
        ..Group::default()
    };
    let mut it = box_with(accept_all(), masquerade(), vec![pool("203.0.113.8"), pool("203.0.113.9")]);
    it.shard.set_quota(GroupId(1), ROOM / 4);
    it.shard.set_role(GroupId(1), Role::Active);
    let record = |address| Record::State(translated(tcp([10, 0, 0, 5]), address, 40_000));
    let install = |it: &mut Middlebox, group, address| {
        let origin = Origin::Peer(GroupId(group));
        it.shard.install(&Installing { record: record(address), origin, is_delegated: false })
    };
    assert_eq!(install(&mut it, 1, [203, 0, 113, 9]), Err(NotInstalled::Active));
    assert_eq!(install(&mut it, 0, [203, 0, 113, 9]), Err(NotInstalled::OtherGroup));
    assert!(install(&mut it, 0, [203, 0, 113, 8]).is_ok());
    assert_eq!(it.shard.foreign(), 1);
    it.check();
}

#[test]
fn an_operator_makes_no_connection_of_a_group_on_standby() {
    let mut it = on_standby(masquerade());
    let new = |original: Tuple| NewEntry {
        original,
        reply: original.invert(),
        state: 0,
        status: Status::default(),
        timeout_ms: 1000,
        mark: 0,
        tags: [0; 2],
    };
    let of_group = new(udp().original);
    assert_eq!(it.shard.insert_entry(&of_group), Some(Err(NotInserted::Standby)));
    assert!(it.shard.is_empty());
    it.shard.set_role(GROUP, Role::Active);
    assert!(matches!(it.shard.insert_entry(&of_group), Some(Ok(_))));
    it.check();
}
