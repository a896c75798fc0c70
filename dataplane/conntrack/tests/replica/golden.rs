//! Golden streams: what each version has written is read as it was meant, for good.

use super::*;
use sluice_conntrack::groups::Role;
use sluice_conntrack::replica::{EntryKind, Header, Record, StreamError, decode, encode};

/// Made by a program of its own, by the layout in words.
const VERSION_1: &str = include_str!("version-1.hex");

const SENT_NS: u64 = 1_790_000_000_000_000_000;

fn bytes(hex: &str) -> Vec<u8> {
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
