//! Two boxes of which one is active for a group at a time, each with a real redis-server: what the other knows when it takes over, and what comes
//! of both being active.

use sluice_conntrack::groups::Role;

use super::tests::{Pair, Shards};
use super::*;
use crate::socket::protocol::GroupState;

/// Boxes that have a group.
fn pair() -> Pair {
    Pair::with(", groups: [{name: g, prefer: a, standby: b, addresses: {x: 203.0.113.1/24}}]")
}

/// Begins connections, of which nobody is told yet.
fn open((shards, _): &mut (Shards, Cluster), numbers: std::ops::Range<u16>) {
    for number in numbers {
        shards.open(number);
        shards.pass_messages();
    }
}

/// What the control thread does as it changes the role of a box.
fn set_role((shards, _): &mut (Shards, Cluster), role: Role) {
    shards.0.iter_mut().for_each(|(shard, _)| shard.set_role(GroupId(0), role));
}

fn promote(node: &mut (Shards, Cluster)) {
    node.1.fencings()[0].lock().take();
    set_role(node, Role::Active);
}

fn demote(node: &mut (Shards, Cluster), hands_over: bool) {
    node.1.fencings()[0].lock().leave();
    set_role(node, Role::Standby);
    let fencing = node.1.fencings().remove(0);
    if hands_over { fencing.lock().hand_over() } else { fencing.lock().stand_by() }
}

/// Has both work until box `b`, on standby, has what box `a` has, or the other way round.
fn until_standby_has_all(pair: &mut Pair, a_is_active: bool, count: usize) {
    pair.until("the standby to know all", |pair| {
        let (active, standby) =
            if a_is_active { (&pair.active, &pair.standby) } else { (&pair.standby, &pair.active) };
        let peer = standby.1.status().peers.remove(0);
        let has = active.0.marks(false);
        peer.synced
            && peer.role == Some(GroupState::Active)
            && has.len() == count
            && standby.0.marks(true) == has
    });
}

#[test]
fn who_takes_over_by_plan_has_all_that_was_told_or_waits_to_be() {
    let mut pair = pair();
    promote(&mut pair.active);
    open(&mut pair.active, 0..1000);
    until_standby_has_all(&mut pair, true, 1000);
    // These are yet to be told when the box is demoted.
    open(&mut pair.active, 1000..2000);
    demote(&mut pair.active, true);
    let fencing = pair.standby.1.fencings().remove(0);
    pair.until("the handover", |_| fencing.lock().is_offered());
    assert_eq!(pair.standby.0.marks(true).len(), 2000);
    promote(&mut pair.standby);
    until_standby_has_all(&mut pair, false, 2000);
    assert_eq!(pair.active.0.marks(false).len(), 0);
    // And back.
    open(&mut pair.standby, 2000..2500);
    demote(&mut pair.standby, true);
    let fencing = pair.active.1.fencings().remove(0);
    pair.until("the handover", |_| fencing.lock().is_offered());
    promote(&mut pair.active);
    until_standby_has_all(&mut pair, true, 2500);
}

#[test]
fn after_both_were_active_the_later_one_stays_and_the_other_has_its_connections() {
    let mut pair = pair();
    promote(&mut pair.active);
    open(&mut pair.active, 0..500);
    until_standby_has_all(&mut pair, true, 500);
    pair.servers.iter().for_each(|server| server.signal("-STOP"));
    let fencings = [pair.active.1.fencings().remove(0), pair.standby.1.fencings().remove(0)];
    pair.until("silence", |_| !fencings[1].lock().is_taken(std::time::Instant::now()));
    promote(&mut pair.standby);
    open(&mut pair.active, 500..600);
    open(&mut pair.standby, 1000..1100);
    pair.servers.iter().for_each(|server| server.signal("-CONT"));
    pair.until("the first one to hear of the second", |_| fencings[0].lock().is_deposed());
    demote(&mut pair.active, false);
    until_standby_has_all(&mut pair, false, 600);
    assert!(!fencings[1].lock().is_deposed());
    assert!(pair.active.0.marks(true).contains(&1000) && pair.active.0.marks(false).is_empty());
}

#[test]
fn a_box_that_begins_anew_on_standby_takes_nothing_from_the_other() {
    let mut pair = pair();
    promote(&mut pair.active);
    open(&mut pair.active, 0..300);
    until_standby_has_all(&mut pair, true, 300);
    // It is back with nothing, before anybody has promoted the other.
    pair.active = super::tests::begin(&super::tests::section_with(
        "a",
        &pair.servers[0],
        &pair.servers[1].url(),
        ", groups: [{name: g, prefer: a, standby: b, addresses: {x: 203.0.113.1/24}}]",
    ));
    pair.until("its new term", |pair| pair.peer().role == Some(GroupState::Standby));
    assert_eq!(pair.standby.0.marks(true).len(), 300);
    promote(&mut pair.standby);
    until_standby_has_all(&mut pair, false, 300);
}

#[test]
fn who_hands_over_before_the_other_steps_back_leaves_all_that_it_has_to_it() {
    let mut pair = pair();
    promote(&mut pair.active);
    open(&mut pair.active, 0..500);
    until_standby_has_all(&mut pair, true, 500);
    // Behind a cut link both of it come at once: that the other one was active, and that it is no more.
    promote(&mut pair.standby);
    open(&mut pair.standby, 1000..1500);
    demote(&mut pair.standby, true);
    let fencings = [pair.active.1.fencings().remove(0), pair.standby.1.fencings().remove(0)];
    pair.until("the second one to have told all", |_| !fencings[1].lock().is_handing_over());
    pair.until("the first one to hear of it", |_| fencings[0].lock().is_deposed());
    // Workers take their time to change their role.
    fencings[0].lock().leave();
    let mut rounds = 0..100;
    pair.until("some rounds", |_| rounds.next().is_none());
    demote(&mut pair.active, false);
    pair.until("the offer", |_| fencings[0].lock().is_offered());
    let all: std::collections::BTreeSet<u32> = (0..500).chain(1000..1500).collect();
    assert_eq!(pair.active.0.marks(true), all);
    promote(&mut pair.active);
    until_standby_has_all(&mut pair, true, 1000);
}
