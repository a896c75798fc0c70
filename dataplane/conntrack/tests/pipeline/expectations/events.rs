//! What a listener is told of expectations that begin and end.

use super::*;
use EventKind::{Destroy, New};
use sluice_conntrack::events::{EventKind, ExpectationEvent, Receiver, ring};

/// A box with a master that is listened to.
fn listened() -> (Middlebox, Receiver<ExpectationEvent>) {
    let mut it = with_master();
    let (sender, receiver) = ring(64);
    assert!(it.shard.listen_to_expectations(Some(Box::new(sender))).is_none());
    (it, receiver)
}

/// What has happened, and to what is expected at which port.
fn told(receiver: &mut Receiver<ExpectationEvent>) -> Vec<(EventKind, u16)> {
    let port = |event: &ExpectationEvent| event.expectation.expectation.tuple.selector.dport();
    std::iter::from_fn(|| receiver.receive()).map(|event| (event.kind, port(&event))).collect()
}

#[test]
fn each_begins_once_and_ends_once_however_it_ends() {
    let (mut it, mut receiver) = listened();
    for port in [5001, 5002, 5003] {
        expect(&mut it, &wanted(data(0, port)));
    }
    assert_eq!(told(&mut receiver), [(New, 5001), (New, 5002), (New, 5003)]);
    // Met, by a packet that opens a connection.
    assert_eq!(states_of(&mut it, [data(20, 5001)]), [State::Related]);
    assert_eq!(told(&mut receiver), [(Destroy, 5001)]);
    assert_eq!(it.shard.delete_expectations(|it| it.expectation.tuple.selector.dport() == 5002), 1);
    assert_eq!(told(&mut receiver), [(Destroy, 5002)]);
    it.pass(secs(301));
    assert_eq!(told(&mut receiver), [(Destroy, 5003)]);
    // With its master, but for one that was met before.
    for port in [5004, 5005] {
        expect(&mut it, &wanted(data(0, port)));
    }
    states_of(&mut it, [data(20, 5004)]);
    assert_eq!(told(&mut receiver), [(New, 5004), (New, 5005), (Destroy, 5004)]);
    it.shard.delete(|_| true);
    assert_eq!((told(&mut receiver), receiver.take_lost()), (vec![(Destroy, 5005)], 0));
    it.check();
}

#[test]
fn what_is_announced_again_ends_and_begins() {
    let (mut it, mut receiver) = listened();
    expect(&mut it, &wanted(data(0, 5001)));
    it.pass(secs(200));
    expect(&mut it, &wanted(data(0, 5001)));
    expect(&mut it, &Wanted { one_shot: false, ..wanted(data(0, 5001)) });
    assert_eq!(told(&mut receiver), [New, Destroy, New, Destroy, New].map(|kind| (kind, 5001)));
    // One that is met again and again is not over.
    for sport in [20, 21] {
        assert_eq!(states_of(&mut it, [data(sport, 5001)]), [State::Related]);
    }
    assert_eq!(told(&mut receiver), []);
    assert!(it.shard.listen_to_expectations(None).is_some());
    it.check();
}
