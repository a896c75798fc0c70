//! What others write into the stream of a box, or take away from it.

use sluice_conntrack::Tuple;
use sluice_conntrack::replica::{EntryKind, Header, MAX_RECORDS, Record, encode};

use super::Keys;
use super::engine::{Engine, StreamId};
use super::tests::Pair;

fn udp() -> Tuple {
    Tuple::new([10, 0, 0, 1].into(), [198, 51, 100, 2].into(), 17, 4000, 53)
}

#[test]
fn what_others_write_into_the_stream_is_counted_and_does_no_harm() {
    let mut pair = Pair::new();
    pair.open(0..1000);
    pair.until_equal("at first");
    let key = Keys::of("test", "a", "all").told;
    let mut forger = Engine::connect(&pair.servers[0].address()).unwrap();
    let forged = |term, sequence, kind, records: &[Record]| {
        let mut bytes = Vec::new();
        encode(&Header { term, sequence, sent_ns: 1, kind, role: None }, records, &mut bytes);
        bytes
    };
    let mut torn = forged(1, 0, EntryKind::Inline, &[]);
    torn[20] ^= 1;
    // As many as an entry has, and one more that nobody has written a header for.
    let many = vec![Record::End([udp(), udp().invert()]); MAX_RECORDS];
    let large = [forged(1, 0, EntryKind::Inline, &many), vec![0; 64]].concat();
    let mut too_many = large.clone();
    too_many[2..4].copy_from_slice(&(MAX_RECORDS as u16 + 1).to_le_bytes());
    for garbage in [&b""[..], b"garbage", &[0xff; 4096], &torn, &large, &too_many, &vec![1; 20 << 20]] {
        forger.append(&key, 100_000, garbage).unwrap();
    }
    pair.until("the garbage is counted", |pair| pair.failures("damaged") == 7);
    pair.until_equal("after garbage");
    // By a term of nobody's: that all is gone.
    let gaps = pair.peer().gaps;
    forger.append(&key, 100_000, &forged(u32::MAX, 7, EntryKind::BulkBegin, &[])).unwrap();
    forger.append(&key, 100_000, &forged(u32::MAX, 8, EntryKind::BulkEnd, &[])).unwrap();
    pair.until("the forged term is seen", |pair| pair.peer().gaps > gaps);
    let own = pair.active.1.status().streams[0].term;
    pair.until("the peer's own term counts again", |pair| pair.peer().term == own);
    pair.until_equal("after a forged term");
    assert_eq!(pair.standby.0.marks(true).len(), 1000);
}

#[test]
fn a_stream_of_which_the_begin_is_gone_is_told_anew() {
    let mut pair = Pair::new();
    pair.open(0..300);
    pair.until_equal("at first");
    let key = Keys::of("test", "a", "all").told;
    let mut other = Engine::connect(&pair.servers[0].address()).unwrap();
    let (last, _) = other.last(&key).unwrap().unwrap();
    assert!(last > StreamId::default());
    other.remove(&key).unwrap();
    pair.active.0.close(0..100);
    pair.open(300..400);
    pair.until_equal("after somebody has removed it");
    assert_eq!(pair.standby.0.marks(true).len(), 300);
}
