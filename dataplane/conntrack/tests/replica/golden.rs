//! Golden streams: what each version has written is read as it was meant, for good.

use super::*;
use sluice_conntrack::expectations::{ChildNat, SourceMask, Wanted};
use sluice_conntrack::groups::Role;
use sluice_conntrack::ids::HelperId;
use sluice_conntrack::replica::{EntryKind, Header, Record, RecordError, StreamError, decode, encode};
use sluice_conntrack::tuple::Direction;

/// Made by a program of its own, by the layout in words.
const VERSION_1: &str = include_str!("version-1.hex");

/// The same of what helpers have done.
pub const HELPED: &str = include_str!("helped-1.hex");

const SENT_NS: u64 = 1_790_000_000_000_000_000;

pub fn bytes(hex: &str) -> Vec<u8> {
    let numbers = hex.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    numbers.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// What is in the stream.
fn entries() -> Vec<(Header, Vec<Record>)> {
    let masqueraded = Connection {
        status: RecordStatus::from_bits_retain(0x47),
        age_s: 61,
        mark: 0x10,
        entry: EntryId { index: 5, generation: 9 },
        ..translated(tcp([10, 0, 0, 5]), [203, 0, 113, 1], 5001)
    };
    let mut zoned = udp();
    for tuple in [&mut zoned.original, &mut zoned.reply] {
        tuple.selector = tuple.selector.with_zone(3);
    }
    let to_server = Tuple::new([192, 0, 2, 9].into(), [203, 0, 113, 1].into(), protocol::SCTP, 5000, 3868);
    let server = Tuple::new([10, 0, 0, 8].into(), [192, 0, 2, 9].into(), protocol::SCTP, 3868, 5000);
    let association = Connection {
        reply: server,
        state: 4,
        status: RecordStatus::from_bits_retain(0x0b),
        remaining_ms: 86_400_000,
        age_s: 3600,
        tracker: [0x44, 0x33, 0x22, 0x11, 0xdd, 0xcc, 0xbb, 0xaa],
        entry: EntryId { index: 7, generation: 2 },
        ..of(to_server)
    };
    let ended = translated(tcp([10, 0, 0, 7]), [203, 0, 113, 1], 40_001);
    let original = Tuple { selector: ended.original.selector.with_sport(40_001), ..ended.original };
    let [client, host] = ["fd00::5", "2001:db8::2"].map(|address| address.parse().unwrap());
    let closed = Connection {
        state: 7,
        remaining_ms: 120_000,
        age_s: 90,
        tracker: [7, 0, 11, 2, 0, 0, 0, 0],
        entry: EntryId { index: 8, generation: 3 },
        ..of(Tuple::new(client, host, protocol::TCP, 40_000, 22))
    };
    let ping = Connection {
        status: RecordStatus::SEEN_REPLY,
        remaining_ms: 29_999,
        age_s: 0,
        entry: EntryId { index: 9, generation: 4 },
        ..of(Tuple::new([10, 0, 0, 5].into(), [192, 0, 2, 1].into(), protocol::ICMP, 77, 8 << 8))
    };
    let states = |connections: &[Connection]| connections.iter().copied().map(Record::State).collect();
    let mut inline: Vec<Record> = states(&[masqueraded, zoned, association]);
    inline.push(Record::End([original, ended.reply]));
    let records = [
        (EntryKind::BulkBegin, vec![]),
        (EntryKind::Inline, inline),
        (EntryKind::Bulk, states(&[closed, ping])),
        (EntryKind::BulkEnd, vec![]),
        (EntryKind::Heartbeat, vec![]),
        (EntryKind::Other(99), vec![]),
        (EntryKind::Role, vec![]),
        (EntryKind::Handover, vec![]),
    ];
    let role = |kind| match kind {
        EntryKind::Role => Some(Role::Active),
        EntryKind::Handover => Some(Role::Standby),
        _ => None,
    };
    let header = |number: u64, kind| {
        let sent_ns = SENT_NS + 1000 * number;
        Header { term: 7, sequence: 1 + number, sent_ns, kind, role: role(kind) }
    };
    (0..).zip(records).map(|(number, (kind, records))| (header(number, kind), records)).collect()
}

#[test]
fn a_stream_of_version_1_is_read() {
    let bytes = bytes(VERSION_1);
    let mut rest = bytes.as_slice();
    for (header, records) in entries() {
        let (read, found, behind) = decode(rest).unwrap();
        assert_eq!(read, header);
        assert_eq!(found.map(Result::unwrap).collect::<Vec<_>>(), records);
        rest = behind;
    }
    assert_eq!(decode(rest).map(|_| ()), Err(StreamError::Short), "nothing is behind it");
}

#[test]
fn a_stream_is_written_as_version_1_has_it() {
    let mut written = vec![];
    entries().iter().for_each(|(header, records)| encode(header, records, &mut written));
    assert_eq!(written, bytes(VERSION_1));
}

#[test]
fn what_a_later_writer_adds_to_a_record_is_passed_over() {
    let (header, records) = &entries()[1];
    let mut written = vec![];
    encode(header, records, &mut written);
    let (mut longer, slots) = (written[..32].to_vec(), &written[32..]);
    longer[1] = 72;
    longer[28..].fill(0);
    slots.chunks(64).for_each(|slot| longer.extend([slot, &[0xee; 8]].concat()));
    let crc = sluice_conntrack::wire::checksum::Crc32c::default().bytes(&longer).to_wire();
    longer[28..32].copy_from_slice(&crc);
    let (_, found, _) = decode(&longer).unwrap();
    assert_eq!(found.map(Result::unwrap).collect::<Vec<_>>(), *records);
}

#[test]
fn what_helpers_have_done_is_read_and_written_as_version_1_has_it() {
    let bytes = bytes(HELPED);
    let (header, found, behind) = decode(&bytes).unwrap();
    let records: Vec<_> = found.map(Result::unwrap).collect();
    let [
        Record::State(connection),
        Record::Changed(changed),
        Record::Expected(data),
        Record::Expected(media),
    ] = records[..]
    else {
        panic!("{records:?}")
    };
    assert!(behind.is_empty());
    let masqueraded = RecordStatus::from_bits_retain(0x47);
    assert_eq!(connection.status, masqueraded.union(RecordStatus::SHIFTED));
    assert_eq!(connection.helper, Some(HelperId::Ftp));
    let tuples = [connection.original, connection.reply];
    assert_eq!((changed.connection, changed.direction), (tuples, Direction::Original));
    assert_eq!((changed.number, changed.before), (0, 3));

    let server = Tuple::new([198, 51, 100, 2].into(), [203, 0, 113, 1].into(), protocol::TCP, 0, 5001);
    let client = u32::from_be_bytes([10, 0, 0, 5]).into();
    let nat = ChildNat { source: ChildNat::BY_RULES, destination: client, port: 5001, source_port: 0 };
    let wanted = Wanted {
        tuple: server,
        source: SourceMask::AnyPort,
        class: 0,
        one_shot: true,
        timeout_ms: 300_000,
        nat: Some(nat),
        helper: Some(HelperId::Ftp),
    };
    assert_eq!((data.master, data.wanted, data.is_inactive), (tuples, wanted, false));
    let [any, phone] = ["::", "fd00::5"].map(|address| address.parse().unwrap());
    let wanted = Wanted {
        tuple: Tuple::new(any, phone, protocol::UDP, 0, 6000),
        source: SourceMask::Any,
        one_shot: false,
        timeout_ms: 299_000,
        nat: None,
        helper: Some(HelperId::Sip),
        ..wanted
    };
    assert_eq!((media.wanted, media.is_inactive), (wanted, true));

    let mut written = vec![];
    encode(&header, &records, &mut written);
    assert_eq!(written, bytes);
}

#[test]
fn each_field_of_what_helpers_have_done_is_checked() {
    let bytes = bytes(HELPED);
    let slots: Vec<_> = bytes[32..].chunks(200).collect();
    let wrong = |slot: usize, at: usize, byte: u8| {
        let mut slot = slots[slot].to_vec();
        slot[at] = byte;
        Record::read(&slot).unwrap_err()
    };
    use RecordError::{Flags, Helper, State, Timeout, Tuples};
    assert_eq!(wrong(0, 60, 99), Helper(99));
    assert_eq!(wrong(1, 3, 2), State(2), "there are two directions");
    assert_eq!(wrong(1, 2, protocol::UDP), Helper(0), "datagrams have no numbers");
    assert_eq!((wrong(1, 52, 128), wrong(1, 53, 52), wrong(1, 54, 2)), (Helper(128), Helper(52), Helper(0)));
    assert_eq!((wrong(2, 52, 3), wrong(2, 55, 14), wrong(2, 56, 8)), (Helper(3), Helper(14), Flags(8)));
    assert_eq!((wrong(2, 54, protocol::GRE), wrong(2, 70, 1)), (Tuples, Tuples));
    assert_eq!((wrong(2, 56, 1), wrong(2, 11, 0xff)), (Tuples, Timeout(0xff00_0000 | 300_000)));
    assert_eq!(Record::read(&slots[2][..135]), Err(RecordError::Short));
    assert_eq!(Record::read(&slots[3][..199]), Err(RecordError::Short));
}
