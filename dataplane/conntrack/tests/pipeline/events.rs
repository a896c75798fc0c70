//! What a listener is told of connections that begin, change and end.

use crate::common::*;
use EventKind::{Destroy, New, Update};
use sluice_conntrack::EntryUpdate;
use sluice_conntrack::entry::Status;
use sluice_conntrack::events::{End, Event, EventKind, EventReceiver, Interest, ring};
use sluice_conntrack::settings::{Preset, Settings};

/// A box that is listened to.
fn listened(preset: Preset, room: usize) -> (Middlebox, EventReceiver) {
    let mut it = Middlebox::with(Settings::of(preset, ROOM), accept_all());
    let (sender, receiver) = ring(room);
    assert!(it.shard.listen(Some(Box::new(sender))).is_none());
    (it, receiver)
}

fn told(receiver: &mut EventReceiver) -> Vec<Event> {
    std::iter::from_fn(|| receiver.receive()).collect()
}

/// What has happened, and in which state that left the connection.
fn kinds(receiver: &mut EventReceiver) -> Vec<(EventKind, Option<&'static str>)> {
    told(receiver).iter().map(|event| (event.kind, event.entry.state)).collect()
}

#[test]
fn a_tcp_connection_is_told_from_its_syn_to_its_end() {
    for pair in Pair::both(4000, 80) {
        let (mut it, mut receiver) = listened(Preset::Linux, 64);
        let back = pair.inverse();
        it.inside(&pair.tcp("S", 1000, 0));
        it.outside(&back.tcp("SA", 5000, 1001));
        it.inside(&pair.tcp("A", 1001, 5001));
        let opened = [(New, Some("SYN_SENT")), (Update, Some("SYN_RECV")), (Update, Some("ESTABLISHED"))];
        assert_eq!(kinds(&mut receiver), opened);
        for _ in 0..3 {
            it.inside(&pair.tcp("A", 1001, 5001));
            it.outside(&back.tcp("A", 5001, 1001));
        }
        assert_eq!(told(&mut receiver), [], "packets that change nothing tell nothing");
        it.inside(&pair.tcp("R", 1001, 0));
        it.pass(secs(11));
        assert_eq!(kinds(&mut receiver), [(Update, Some("CLOSE")), (Destroy, Some("CLOSE"))]);
        assert_eq!(receiver.take_lost(), 0);
        it.check();
    }
}

/// As Linux: IPCT_REPLY and IPCT_ASSURED, one event for a packet.
#[test]
fn answers_and_streams_are_told_where_there_are_no_states() {
    for pair in Pair::both(4000, 53) {
        let (mut it, mut receiver) = listened(Preset::Linux, 64);
        let mut told = |it: &mut Middlebox, packet: &Packet, is_reply: bool| -> Vec<(EventKind, [bool; 2])> {
            if is_reply {
                it.outside(packet)
            } else {
                it.inside(packet)
            };
            let having = |event: &Event| {
                [Status::SEEN_REPLY, Status::ASSURED].map(|bit| event.entry.status.contains(bit))
            };
            self::told(&mut receiver).iter().map(|event| (event.kind, having(event))).collect()
        };
        let (there, back) = (pair.udp(1), pair.inverse().udp(1));
        assert_eq!(told(&mut it, &there, false), [(New, [false, false])]);
        assert_eq!(told(&mut it, &there, false), []);
        assert_eq!(told(&mut it, &back, true), [(Update, [true, false])]);
        assert_eq!(told(&mut it, &back, true), []);
        it.pass(secs(3));
        assert_eq!(told(&mut it, &there, false), [(Update, [true, true])]);
        for _ in 0..3 {
            assert_eq!((told(&mut it, &there, false), told(&mut it, &back, true)), (vec![], vec![]));
        }
        it.check();
    }
}

#[test]
fn an_event_shows_the_connection_after_it() {
    let (mut it, mut receiver) = listened(Preset::Linux, 64);
    let pair = Pair::v4(4000, 80);
    it.inside(&pair.tcp("S", 1000, 0));
    it.pass(secs(3));
    it.outside(&pair.inverse().tcp("SA", 5000, 1001));
    it.inside(&pair.tcp("A", 1001, 5001));
    let told = told(&mut receiver);
    let (id, now) = it.entries()[0];
    assert!(told.iter().all(|event| event.id == id));
    assert_eq!(told.iter().map(|event| event.entry.remaining_s).collect::<Vec<_>>(), [120, 60, 432_000]);
    let having = |bit| told.iter().map(|event| event.entry.status.contains(bit)).collect::<Vec<_>>();
    assert_eq!(having(Status::SEEN_REPLY), [false, true, true]);
    assert_eq!(having(Status::ASSURED), [false, false, true]);
    assert_eq!((told[2].entry, told[2].at), (now, it.now));
}

#[test]
fn an_end_shows_what_has_passed() {
    let (mut it, mut receiver) = listened(Preset::Linux, 64);
    for (port, deleted) in [(1, false), (2, true)] {
        it.inside(&Pair::v4(port, 53).udp(30));
        match deleted {
            true => assert_eq!(it.shard.delete(|_| true), 1),
            false => it.pass(secs(31)),
        }
        let told = told(&mut receiver);
        let [_, end] = &told[..] else { panic!("{told:?}") };
        assert_eq!((end.kind, end.entry.traffic.unwrap()[0].packets), (Destroy, 1));
        assert_eq!(end.end, Some(if deleted { End::Deleted } else { End::Expired }));
        assert_eq!(end.entry.remaining_s, if deleted { 30 } else { 0 });
    }
    it.check();
}

#[test]
fn marks_and_timeouts_are_told() {
    let (mut it, mut receiver) = listened(Preset::Linux, 64);
    it.inside(&Pair::v4(4000, 53).udp(1));
    let (id, _) = it.entries()[0];
    for update in [
        EntryUpdate { mark: Some((7, u32::MAX)), timeout_ms: Some(60_000) },
        EntryUpdate { mark: None, timeout_ms: Some(90_000) },
    ] {
        it.shard.update_entry(id, &update).unwrap();
    }
    let told = told(&mut receiver);
    let shown: Vec<_> = told[1..].iter().map(|it| (it.kind, it.entry.mark, it.entry.remaining_s)).collect();
    assert_eq!(shown, [(Update, 7, 60), (Update, 7, 90)]);
}

#[test]
fn what_a_slow_listener_loses_is_counted_and_nobody_waits_for_it() {
    let (mut it, mut receiver) = listened(Preset::Linux, 3);
    for port in 1..=10 {
        it.inside(&Pair::v4(port, 53).udp(1));
    }
    assert_eq!((told(&mut receiver).len(), receiver.take_lost(), receiver.take_lost()), (3, 7, 0));
    it.inside(&Pair::v4(11, 53).udp(1));
    assert_eq!((told(&mut receiver).len(), receiver.take_lost()), (1, 0));
    assert!(it.shard.listen(None).is_some());
    it.inside(&Pair::v4(12, 53).udp(1));
    assert_eq!(told(&mut receiver), []);
    it.check();
}

#[test]
fn a_listener_hears_what_it_wants_alone() {
    let (mut it, mut receiver) = listened(Preset::Linux, 64);
    receiver.want(Interest { updates: false, untranslated: true });
    let pair = Pair::v4(4000, 80);
    it.inside(&pair.tcp("S", 1000, 0));
    it.outside(&pair.inverse().tcp("SA", 5000, 1001));
    assert_eq!(kinds(&mut receiver), [(New, Some("SYN_SENT"))]);
    receiver.want(Interest { updates: true, untranslated: false });
    it.inside(&Pair::v4(4001, 53).udp(1));
    assert_eq!((told(&mut receiver), receiver.take_lost()), (vec![], 0));
    it.check();
}
