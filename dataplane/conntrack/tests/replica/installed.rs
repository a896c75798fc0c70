//! Connections that go on where they were installed.

use super::talk::*;
use super::*;
use sluice_conntrack::groups::Role;
use sluice_conntrack::nat::{Filtering, Mapping, Nat, PortBlock};
use sluice_conntrack::replica::{Installing, NotInstalled, Origin, Record, Replicate};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{InvalidReason, State};

const ORIGINS: [Origin; 2] = [Origin::Own, PEER];

/// A box, and another that was told of its connection.
fn pair_of_boxes(nat: &Nat, talk: &mut Talk, origin: Origin) -> (Middlebox, Middlebox) {
    let mut first = telling(nat.clone(), Replicate::Assured);
    talk.open(&mut first);
    let mut second = standby(nat.clone());
    for record in told(&mut first) {
        install(&mut second, record, origin);
    }
    second.shard.set_role(GROUP, Role::Active);
    (first, second)
}

#[test]
fn a_connection_goes_on_as_it_would_have() {
    for origin in ORIGINS {
        for (nat, mut talk) in all() {
            let (mut first, mut second) = pair_of_boxes(&nat, &mut talk, origin);
            if origin == Origin::Own {
                assert_eq!(shown(&second), shown(&first), "{talk:?}");
            }
            let went = talk.go_on(&mut second);
            assert!(went.iter().all(|(state, _)| *state == Some(State::Established)), "{talk:?}");
            assert_eq!(went, talk.go_on(&mut first), "{talk:?}");
            assert_eq!(shown(&second), shown(&first), "{talk:?}");
            assert_eq!((second.shard.len(), second.shard.foreign()), (1, 0), "it is this box's by now");
            second.check();
        }
    }
}

#[test]
fn a_standby_follows_each_change_until_the_end() {
    let mut first = telling(masquerade(), Replicate::Assured);
    let mut second = standby(masquerade());
    let (sent, seen) =
        (Pair::at("10.0.0.5:4000", "198.51.100.2:80"), Pair::at("203.0.113.1:4000", "198.51.100.2:80"));
    let mut talk = Talk { protocol: frame::TCP, port: INSIDE, sent, seen };
    talk.open(&mut first);
    let tell = |first: &mut Middlebox, second: &mut Middlebox| {
        told(first).into_iter().for_each(|record| install(second, record, PEER));
        assert_eq!(
            first.entries().iter().map(|(_, it)| it.state).collect::<Vec<_>>(),
            second.entries().iter().map(|(_, it)| it.state).collect::<Vec<_>>()
        );
        second.check();
    };
    tell(&mut first, &mut second);
    first.inside(&sent.tcp("FA", 1001, 5001));
    tell(&mut first, &mut second);
    first.outside(&seen.inverse().tcp("FA", 5001, 1002));
    tell(&mut first, &mut second);
    first.inside(&sent.tcp("A", 1002, 5002));
    tell(&mut first, &mut second);
    assert_eq!(second.entry().state, Some("TIME_WAIT"));
    first.pass(secs(121));
    tell(&mut first, &mut second);
    assert_eq!((second.shard.len(), second.shard.foreign()), (0, 0));
}

#[test]
fn windows_are_learnt_and_count_after_16_segments_of_each_end() {
    let talk = || all().map(|(_, talk)| talk).find(|talk| talk.protocol == frame::TCP).unwrap();
    let far = |it: &mut Middlebox, talk: &Talk| it.inside(&talk.sent.tcp("A", 1001 + 1_000_000, 5001));
    for origin in ORIGINS {
        let mut talk = talk();
        let (mut first, mut second) = pair_of_boxes(&Nat::default(), &mut talk, origin);
        assert_eq!(far(&mut first, &talk).invalid, Some(InvalidReason::TcpWindow));
        talk.go_on(&mut second);
        assert_eq!(state(far(&mut second, &talk)), State::Established, "two segments say little");
        // Each round has two segments of each end. Before the server's first one nothing is known that the client's could fit.
        (0..8).for_each(|_| drop(talk.go_on(&mut second)));
        assert_eq!(far(&mut second, &talk).invalid, Some(InvalidReason::TcpWindow));
        assert!(talk.go_on(&mut second).iter().all(|(state, _)| *state == Some(State::Established)));
        assert_eq!(
            second.shard.entry(second.entries()[0].0).unwrap().status.bits() & 1 << 9,
            0,
            "it is at home"
        );
        second.check();
    }
}

#[test]
fn a_copy_lives_twice_as_long_as_nobody_tells_of_it() {
    let connection = Connection { remaining_ms: 100_000, ..udp() };
    for (origin, lifetime_s) in [(Origin::Own, 100), (PEER, 200)] {
        let mut it = standby(Nat::default());
        install(&mut it, Record::State(connection), origin);
        it.pass(secs(lifetime_s - 1));
        assert_eq!(it.entries().len(), 1);
        install_again(&mut it, connection, origin);
        it.pass(secs(if origin == PEER { lifetime_s - 1 } else { 0 }));
        assert_eq!(it.entries().len(), 1);
        it.pass(secs(2));
        assert_eq!((it.entries().len(), it.shard.foreign()), (0, 0));
        it.check();
    }
}

/// A peer tells of it once more; this box's own is there.
fn install_again(it: &mut Middlebox, connection: Connection, origin: Origin) {
    let record = Record::State(connection);
    match origin {
        Origin::Peer(_) => install(it, record, origin),
        Origin::Own => assert_eq!(
            it.shard.install(&Installing { record, origin, is_delegated: false }),
            Err(NotInstalled::Exists)
        ),
    }
}

#[test]
fn how_old_a_connection_is_goes_with_it() {
    let mut it = wire(Preset::Linux, Replicate::All);
    install(&mut it, Record::State(Connection { age_s: 3600, ..udp() }), Origin::Own);
    it.pass(secs(5));
    assert_eq!(it.entry().age_s, 3605);
    let [Record::State(told)] = told(&mut it)[..] else { panic!() };
    assert_eq!(told.age_s, 3605);
}

#[test]
fn a_port_that_was_told_of_is_taken() {
    let mut it = standby(masquerade());
    let peers = translated(tcp([10, 0, 0, 5]), [203, 0, 113, 1], 40_000);
    install(&mut it, Record::State(peers), PEER);
    let used =
        |it: &Middlebox| it.shard.ports_used(&PortBlock::whole([203, 0, 113, 1].into())).iter().sum::<u32>();
    assert_eq!(used(&it), 1);
    let mut frames = [(INSIDE, Pair::at("10.0.0.6:40000", "198.51.100.2:443").tcp("S", 1, 0).frame())];
    it.burst(&mut frames);
    assert_ne!(frames[0].1[34..36], 40_000_u16.to_be_bytes(), "another client has that port");
    install(&mut it, Record::End([peers.original, peers.reply]), PEER);
    assert_eq!((used(&it), it.shard.foreign()), (1, 0));
    it.check();
}

#[test]
fn a_peer_neither_changes_nor_ends_what_is_this_boxs() {
    let mut it = standby(Nat::default());
    install(&mut it, Record::State(udp()), Origin::Own);
    let peers = Connection { mark: 7, ..udp() };
    let installing = Installing { record: Record::State(peers), origin: PEER, is_delegated: false };
    assert_eq!(it.shard.install(&installing), Err(NotInstalled::Exists));
    // Its reply tuple is another connection's.
    let rival = Connection {
        original: Tuple { src: 1, ..udp().original },
        status: peers.status.union(RecordStatus::SRC_NAT),
        ..peers
    };
    let installing = Installing { record: Record::State(rival), ..installing };
    assert_eq!(it.shard.install(&installing), Err(NotInstalled::Exists));
    install(&mut it, Record::End([peers.original, peers.reply]), PEER);
    assert_eq!((it.shard.len(), it.entry().mark), (1, 0));
    it.check();
}

#[test]
fn of_two_connections_that_a_peer_tells_of_the_later_has_the_tuple() {
    let mut it = standby(masquerade());
    let first = translated(tcp([10, 0, 0, 5]), [203, 0, 113, 1], 5000);
    let second = translated(tcp([10, 0, 0, 6]), [203, 0, 113, 1], 5000);
    let moved = translated(tcp([10, 0, 0, 6]), [203, 0, 113, 1], 5001);
    for (connection, foreign) in [(first, 1), (second, 1), (moved, 1), (first, 2)] {
        install(&mut it, Record::State(connection), PEER);
        assert_eq!(it.shard.foreign(), foreign);
        it.check();
    }
    install(&mut it, Record::End([second.original, second.reply]), PEER);
    assert_eq!(it.shard.foreign(), 2, "an end that comes late is another connection's");
}

#[test]
fn connections_of_peers_and_of_this_box_make_no_room_for_each_other() {
    let settings = Settings::of(Preset::Linux, 64);
    let mut it =
        Middlebox::starting(sluice_conntrack::Instant::from_ns(0), 64, configuration(settings, accept_all()));
    it.shard.set_quota(GROUP, 24);
    let peers = |number: u8| {
        let original =
            Tuple::new([10, 1, 0, number].into(), [198, 51, 100, 53].into(), protocol::UDP, 4000, 53);
        Record::State(Connection { status: RecordStatus::SEEN_REPLY, ..of(original) })
    };
    let mut installed = 0;
    for number in 0..100 {
        let installing = Installing { record: peers(number), origin: PEER, is_delegated: false };
        installed += u32::from(it.shard.install(&installing).is_ok());
    }
    assert_eq!((installed, it.shard.foreign()), (24, 24));
    for port in 0..100 {
        it.inside(&Pair::v4(port, 53).udp(1));
    }
    assert_eq!(it.shard.foreign(), 24, "none was evicted");
    assert!(it.shard.len() <= 64);
    it.check_counters();
    it.shard.check_invariants().unwrap();
}

#[test]
fn a_bulk_ends_what_it_does_not_tell_of() {
    let mut it = standby(Nat::default());
    let connection = |number: u8| {
        let original =
            Tuple::new([10, 1, 0, number].into(), [198, 51, 100, 53].into(), protocol::UDP, 4000, 53);
        Record::State(of(original))
    };
    install(&mut it, connection(0), Origin::Own);
    (1..9).for_each(|number| install(&mut it, connection(number), PEER));
    it.shard.begin_bulk(GROUP);
    (5..12).for_each(|number| install(&mut it, connection(number), PEER));
    it.pass(secs(1));
    assert_eq!(it.shard.len(), 12, "nothing ends before the bulk does");
    it.shard.end_bulk(GROUP);
    it.pass(secs(1));
    assert_eq!((it.shard.len(), it.shard.foreign()), (8, 7));
    it.check();
}

#[test]
fn a_standby_takes_no_connection_over_before_it_is_active() {
    let mut talk = all().map(|(_, talk)| talk).next().unwrap();
    let (_, mut second) = pair_of_boxes(&Nat::default(), &mut talk, PEER);
    second.shard.set_role(GROUP, Role::Standby);
    talk.go_on(&mut second);
    assert_eq!(second.shard.foreign(), 1);
    second
        .shard
        .tell_by(Some(Box::new(sluice_conntrack::replica::Teller::new(Replicate::Assured, ROOM).unwrap())));
    second.shard.set_role(GROUP, Role::Active);
    assert_eq!(told(&mut second), []);
    talk.go_on(&mut second);
    assert_eq!(second.shard.foreign(), 0);
    assert_eq!(told(&mut second).len(), 1, "it tells of it from then on");
}

#[test]
fn a_mapping_goes_with_its_connections() {
    for filtering in [Filtering::EndpointIndependent, Filtering::default()] {
        let mut nat = masquerade();
        nat.source[0].mapping = Mapping::EndpointIndependent;
        nat.source[0].filtering = filtering;
        let (sent, seen) =
            (Pair::at("10.0.0.5:4000", "198.51.100.2:80"), Pair::at("203.0.113.1:4000", "198.51.100.2:80"));
        let mut talk = Talk { protocol: frame::UDP, port: INSIDE, sent, seen };
        let (_, mut second) = pair_of_boxes(&nat, &mut talk, PEER);
        second.check();
        // Another client wants the port, and a stranger comes to it.
        let mut frames = [
            (INSIDE, Pair::at("10.0.0.6:4000", "198.51.100.3:80").udp(1).frame()),
            (INSIDE, Pair::at("10.0.0.5:4000", "198.51.100.3:80").udp(1).frame()),
            (OUTSIDE, Pair::at("192.0.2.9:99", "203.0.113.1:4000").udp(1).frame()),
        ];
        second.burst(&mut frames);
        let [others, own, stranger] = frames.map(|(_, frame)| frame);
        assert_ne!(others[34..36], 4000_u16.to_be_bytes());
        assert_eq!(own[34..36], 4000_u16.to_be_bytes());
        let is_let_in = stranger[30..34] == [10, 0, 0, 5];
        assert_eq!(is_let_in, filtering == Filtering::EndpointIndependent);
        second.check();
        second.shard.delete(|_| true);
        second.check();
    }
}
