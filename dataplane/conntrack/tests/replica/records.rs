//! What is refused of a stream entry and of a record: whatever no writer of this version writes.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sluice_conntrack::replica::{
    EntryKind, Followed, Follower, HEADER_BYTES, Header, Record, RecordError, StreamError, decode, encode,
};

const HEADER: Header = Header { term: 1, sequence: 1, sent_ns: 1, kind: EntryKind::Inline, role: None };

/// A record as it lies in a stream entry.
fn slot(record: Record) -> Vec<u8> {
    let mut entry = vec![];
    encode(&HEADER, &[record], &mut entry);
    entry.split_off(HEADER_BYTES)
}

/// What becomes of a connection's record with some bytes of it changed.
fn changed<const N: usize>(connection: Connection, at: usize, bytes: [u8; N]) -> Result<Record, RecordError> {
    let mut slot = slot(Record::State(connection));
    slot[at..at + N].copy_from_slice(&bytes);
    Record::read(&slot)
}

#[test]
fn each_field_of_a_record_is_checked() {
    let nat = translated(tcp([10, 0, 0, 5]), [203, 0, 113, 1], 5001);
    for (connection, at, bytes, error) in [
        (udp(), 0, 0, RecordError::Kind(0)),
        (udp(), 0, 3, RecordError::Short),
        (udp(), 0, 5, RecordError::Kind(5)),
        (udp(), 1, 1, RecordError::Short),
        (udp(), 1, 2, RecordError::Flags(2)),
        (udp(), 1, 0x84, RecordError::Flags(0x84)),
        (nat, 1, 0, RecordError::Flags(0)),
        (udp(), 2, 50, RecordError::Tuples),
        (udp(), 2, 58, RecordError::Tuples),
        (udp(), 3, 1, RecordError::State(1)),
        (nat, 3, 0, RecordError::State(0)),
        (nat, 3, 10, RecordError::State(10)),
        (udp(), 7, 1, RecordError::Status(0x103)),
        (udp(), 7, 4, RecordError::Status(0x403)),
        (udp(), 60, 14, RecordError::Helper(14)),
        (udp(), 6, 0x07, RecordError::Status(0x07)),
        (nat, 6, 0x03, RecordError::Status(0x03)),
        (nat, 6, 0x0f, RecordError::Status(0x0f)),
        (udp(), 6, 0x43, RecordError::Status(0x43)),
        (nat, 6, 0x37, RecordError::Status(0x37)),
        (nat, 6, 0x87, RecordError::Status(0x87)),
        (udp(), 6, 0x23, RecordError::Status(0x23)),
        (udp(), 11, 0xff, RecordError::Timeout(0xff01_d2cc)),
        (udp(), 31, 0xe0, RecordError::Tuples),
        (nat, 52, 15, RecordError::State(3)),
        (nat, 54, 4, RecordError::State(3)),
        (nat, 56, 1, RecordError::State(3)),
        (udp(), 52, 1, RecordError::State(0)),
    ] {
        assert_eq!(changed(connection, at, [bytes]), Err(error), "{at} {bytes:#x} of {connection:?}");
    }
    assert_eq!(changed(udp(), 8, [0; 4]), Err(RecordError::Timeout(0)));
    assert_eq!(changed(udp(), 48, [0; 4]), Err(RecordError::Flags(0)), "other ports are a translation");
    assert_eq!(Record::read(&slot(Record::State(udp()))[..63]), Err(RecordError::Short));
    let association = Connection {
        state: 4,
        ..of(Tuple::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), protocol::SCTP, 1, 2))
    };
    assert_eq!(changed(association, 52, [1, 0, 0, 0]), Err(RecordError::State(4)), "a tag is missing");
}

#[test]
fn no_group_answers() {
    let to_group = of(Tuple::new([10, 0, 0, 1].into(), [224, 0, 0, 5].into(), protocol::UDP, 1, 2));
    assert_eq!(changed(to_group, 6, [3]), Err(RecordError::Tuples));
    let asked = Connection { status: RecordStatus::default(), ..to_group };
    assert_eq!(changed(to_group, 6, [0]), Ok(Record::State(asked)));
}

#[test]
fn addresses_of_the_other_family_are_refused() {
    for pair in Pair::both(4000, 53) {
        let Pair { source, destination } = pair;
        let original = Tuple::new(source.ip(), destination.ip(), protocol::UDP, 4000, 53);
        assert_eq!(Record::read(&slot(Record::State(of(original)))), Ok(Record::State(of(original))));
        if source.is_ipv6() {
            assert_eq!(changed(of(original), 28, [1]), Err(RecordError::Tuples));
            assert_eq!(changed(of(original), 79, [0xff]), Err(RecordError::Tuples), "a group sends nothing");
            let ping = Connection {
                original: Tuple { selector: original.selector.with_protocol(1), ..original },
                ..of(original)
            };
            assert_eq!(Record::read(&slot(Record::State(ping))), Err(RecordError::Tuples));
        }
    }
}

#[test]
fn a_damaged_entry_is_refused() {
    let mut entry = vec![];
    encode(&HEADER, &[Record::State(udp()), Record::State(tcp([10, 0, 0, 5]))], &mut entry);
    let refused = |at: usize, byte: u8| {
        let mut entry = entry.clone();
        entry[at] = byte;
        decode(&entry).map(|_| ()).unwrap_err()
    };
    assert_eq!(refused(0, 2), StreamError::Version(2));
    assert_eq!(refused(0, 0), StreamError::Version(0));
    assert_eq!(refused(1, 63), StreamError::RecordBytes(63));
    assert_eq!(refused(2, 3), StreamError::Short);
    assert_eq!(refused(3, 4), StreamError::Records(0x402));
    for at in (2..entry.len()).filter(|at| ![3].contains(at)) {
        assert!(matches!(refused(at, !entry[at]), StreamError::Crc | StreamError::Short), "{at}");
    }
    for length in 0..entry.len() {
        assert_eq!(decode(&entry[..length]).map(|_| ()), Err(StreamError::Short));
    }
}

#[test]
fn a_reader_knows_what_it_has_missed() {
    let mut follower = Follower::default();
    let mut follow = |term, sequence| follower.follow(&Header { term, sequence, ..HEADER });
    assert_eq!(follow(1, 5), Followed::Gap, "the first is not the first of the stream");
    assert_eq!(follow(1, 6), Followed::Next);
    assert_eq!(follow(1, 6), Followed::Old);
    assert_eq!(follow(1, 8), Followed::Gap);
    assert_eq!(follow(2, 9), Followed::Gap, "its writer has begun anew");
    assert_eq!(follow(2, 10), Followed::Next);
    assert_eq!(follow(1, 11), Followed::Old, "one that knows less");
    assert_eq!(follow(2, u64::MAX), Followed::Gap);
    assert_eq!(follow(2, u64::MAX), Followed::Next, "nobody counts so far");
}

#[test]
fn a_writer_that_becomes_active_goes_on_with_its_stream() {
    let mut follower = Follower::default();
    let mut follow = |term, sequence, kind| follower.follow(&Header { term, sequence, kind, ..HEADER });
    assert_eq!(follow(1, 0, EntryKind::Heartbeat), Followed::Gap);
    assert_eq!(follow(3, 1, EntryKind::Role), Followed::Next);
    assert_eq!(follow(3, 2, EntryKind::Inline), Followed::Next);
    assert_eq!(follow(4, 4, EntryKind::Role), Followed::Gap, "one is missing before it");
    assert_eq!(follow(3, 5, EntryKind::Role), Followed::Old);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_written_as_it_was(mut slot in prop::array::uniform32(any::<u8>()).prop_map(|half| [half; 4].concat()),
                                         narrow in any::<bool>(), number in 0..6_u8) {
        // Near enough to a record that some are taken.
        slot[..4].copy_from_slice(&[1 + number % 2, u8::from(!narrow) | number & 2, [6, 17, 132, 58, 1, 47][usize::from(number)], 3]);
        slot[6..12].copy_from_slice(&[3, 0, 1, 1, 1, 0]);
        if let Ok(record) = Record::read(&slot) {
            let mut entry = vec![];
            encode(&HEADER, &[record], &mut entry);
            prop_assert_eq!(Record::read(&entry[HEADER_BYTES..]), Ok(record));
        }
    }
}
