//! A snapshot: connections, and what helpers have done beside them, as stream entries one behind the other, from the begin of a bulk to its
//! end. The daemon keeps one over a restart, and `sluice conntrack save` writes one.

use std::io::{self, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use sluice_conntrack::Tuple;
use sluice_conntrack::replica::{self, EntryKind, HEADER_BYTES, Header, Record, RecordError, StreamError};
use thiserror::Error;

/// Records of a stream entry that is written.
const RECORDS_PER_ENTRY: usize = 512;

/// Why a snapshot is not read, or not all of it.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It does not begin as one.
    #[error("it is no snapshot of connections, or one of a later version: {0}")]
    None(StreamError),
    /// It is cut off, or damaged so that nobody knows where it goes on.
    #[error("behind record {0} it cannot be read: {1}")]
    Stream(u64, StreamError),
    /// Records are damaged. Those behind them can be read on.
    #[error("records {0} to {1} are damaged: their CRC is wrong")]
    Damaged(u64, u64),
    /// A stream entry is not the next one of a bulk.
    #[error("behind record {0} parts of it are missing")]
    Order(u64),
}

/// A record by its number in the snapshot, from 1 on, or why it is refused.
pub type Numbered = (u64, Result<Record, RecordError>);

/// Writes records.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    sequence: u64,
    records: Vec<Record>,
    bytes: Vec<u8>,
    connections: u64,
}

impl<W: Write> Writer<W> {
    /// Begins.
    ///
    /// # Errors
    /// Nothing can be written.
    pub fn new(out: W) -> io::Result<Self> {
        let records = Vec::with_capacity(RECORDS_PER_ENTRY);
        let mut writer = Self { out, sequence: 0, records, bytes: Vec::new(), connections: 0 };
        writer.write_entry(EntryKind::BulkBegin)?;
        Ok(writer)
    }

    /// Writes one more: a connection, or what is told beside the one before.
    ///
    /// # Errors
    /// Nothing can be written.
    pub fn write(&mut self, record: Record) -> io::Result<()> {
        self.connections += u64::from(matches!(record, Record::State(_)));
        self.records.push(record);
        if self.records.len() < RECORDS_PER_ENTRY { Ok(()) } else { self.write_entry(EntryKind::Bulk) }
    }

    /// Comes to the end; gives how many connections there were.
    ///
    /// # Errors
    /// Nothing can be written.
    pub fn finish(mut self) -> io::Result<u64> {
        self.write_entry(EntryKind::Bulk)?;
        self.write_entry(EntryKind::BulkEnd)?;
        self.out.flush()?;
        Ok(self.connections)
    }

    fn write_entry(&mut self, kind: EntryKind) -> io::Result<()> {
        self.bytes.clear();
        let header = Header { term: 1, sequence: self.sequence, sent_ns: now_ns(), kind, role: None };
        replica::encode(&header, &self.records, &mut self.bytes);
        self.sequence += 1;
        self.records.clear();
        self.out.write_all(&self.bytes)
    }
}

/// Reads a snapshot, a page of records at a time.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// The stream entry that was read last.
    bytes: Vec<u8>,
    sequence: u64,
    /// How many records there were so far.
    records: u64,
    is_over: bool,
    /// The last connection, if it has ended since.
    ended: Option<[Tuple; 2]>,
    /// When the reading began, nanoseconds since 1970: all records are as they were then, however long it takes.
    begun_ns: u64,
}

impl<R: Read> Reader<R> {
    /// Begins.
    pub fn new(input: R) -> Self {
        let begun_ns = now_ns();
        Self { input, bytes: Vec::new(), sequence: 0, records: 0, is_over: false, ended: None, begun_ns }
    }

    /// The next records, as they were when the reading began: connections that have ended by themselves since, and what is told beside those, are left out.
    /// `None` at the end.
    ///
    /// # Errors
    /// Why the snapshot is not read to its end. Behind [`SnapshotError::Damaged`] it can be read on.
    pub fn next_page(&mut self) -> Result<Option<Vec<Numbered>>, SnapshotError> {
        if self.is_over {
            return Ok(None);
        }
        let (sequence, first) = (self.sequence, self.records + 1);
        self.bytes.clear();
        self.read_up_to(HEADER_BYTES)?;
        let length = replica::entry_bytes(&self.bytes).map_err(|why| self.unread(why))?;
        self.read_up_to(length)?;
        let (header, records, _) = match replica::decode(&self.bytes) {
            Err(StreamError::Crc) if sequence > 0 => {
                let count = replica::entry_records(&self.bytes).map_err(|why| self.unread(why))?;
                (self.sequence, self.records) = (sequence + 1, self.records + count as u64);
                return Err(SnapshotError::Damaged(first, self.records));
            }
            decoded => decoded.map_err(|why| self.unread(why))?,
        };
        let is_begin = header.kind == EntryKind::BulkBegin;
        if header.sequence != sequence || is_begin != (sequence == 0) {
            return Err(SnapshotError::Order(self.records));
        }
        (self.sequence, self.records) = (sequence + 1, self.records + records.len() as u64);
        self.is_over = header.kind == EntryKind::BulkEnd;
        let passed_ms = self.begun_ns.saturating_sub(header.sent_ns) / 1_000_000;
        let ended = &mut self.ended;
        let numbered = (first..).zip(records).filter_map(|(number, record)| match record {
            Ok(record) => Some((number, Ok(as_of_now(record, passed_ms, ended)?))),
            Err(why) => Some((number, Err(why))),
        });
        Ok(Some(numbered.collect()))
    }

    /// Reads on until there are so many bytes of the entry.
    fn read_up_to(&mut self, length: usize) -> Result<(), SnapshotError> {
        let begin = self.bytes.len();
        self.bytes.resize(length, 0);
        match self.input.read_exact(&mut self.bytes[begin..]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.unread(StreamError::Short))
            }
            read => Ok(read?),
        }
    }

    const fn unread(&self, why: StreamError) -> SnapshotError {
        if self.sequence == 0 { SnapshotError::None(why) } else { SnapshotError::Stream(self.records, why) }
    }
}

/// A record when so much time has passed, unless what it tells of has ended by then, or its connection has, which is kept in `ended`.
fn as_of_now(record: Record, passed_ms: u64, ended: &mut Option<[Tuple; 2]>) -> Option<Record> {
    let (tuples, is_connection) = (record.tuples(), matches!(record, Record::State(_)));
    if !is_connection && *ended == Some(tuples) {
        return None;
    }
    let left = record.after_ms(passed_ms);
    if is_connection {
        *ended = left.is_none().then_some(tuples);
    }
    left
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::ids::EntryId;
    use sluice_conntrack::replica::{Connection, RecordStatus};

    fn connection(number: u32) -> Record {
        let client = std::net::Ipv4Addr::from(0x0a00_0000 + number).into();
        let original = Tuple::new(client, [198, 51, 100, 2].into(), 17, 4000, 53);
        Record::State(Connection {
            original,
            reply: original.invert(),
            state: 0,
            status: RecordStatus::SEEN_REPLY,
            remaining_ms: 3_600_000,
            age_s: 7,
            mark: number,
            tracker: [0; 8],
            helper: None,
            entry: EntryId::default(),
        })
    }

    fn written(count: u32) -> Vec<u8> {
        let mut bytes = vec![];
        let mut writer = Writer::new(&mut bytes).unwrap();
        (0..count).for_each(|number| writer.write(connection(number)).unwrap());
        assert_eq!(writer.finish().unwrap(), u64::from(count));
        bytes
    }

    /// The numbers of the records that are read, and what is said of the rest.
    fn read(bytes: &[u8]) -> (Vec<u64>, Vec<String>) {
        let (mut numbers, mut said) = (vec![], vec![]);
        let mut reader = Reader::new(bytes);
        loop {
            match reader.next_page() {
                Ok(None) => break,
                Ok(Some(page)) => {
                    for (number, record) in page {
                        match record {
                            Ok(Record::State(connection)) => {
                                assert_eq!(u64::from(connection.mark) + 1, number);
                                numbers.push(number);
                            }
                            record => said.push(format!("{number}: {record:?}")),
                        }
                    }
                }
                Err(why @ SnapshotError::Damaged(..)) => said.push(why.to_string()),
                Err(why) => {
                    said.push(why.to_string());
                    break;
                }
            }
        }
        (numbers, said)
    }

    #[test]
    fn what_is_written_is_read() {
        for count in [0, 1, 511, 512, 513, 2000] {
            assert_eq!(read(&written(count)), ((1..=u64::from(count)).collect(), vec![]));
        }
    }

    #[test]
    fn what_is_cut_off_is_read_as_far_as_it_goes() {
        let bytes = written(1000);
        let entry = HEADER_BYTES + 512 * 64;
        for (length, sound) in
            [(0, 0), (31, 0), (32, 0), (100, 0), (HEADER_BYTES + entry, 512), (bytes.len() - 1, 1000)]
        {
            let (numbers, said) = read(&bytes[..length]);
            assert_eq!((numbers.len(), said.len()), (sound, 1), "{length}: {said:?}");
            assert!(said[0].contains("cut off"), "{said:?}");
        }
        assert!(read(&bytes[..entry]).1[0].starts_with("behind record 0 "));
        assert!(read(&bytes[..bytes.len() - 1]).1[0].starts_with("behind record 1000 "));
    }

    #[test]
    fn what_is_damaged_is_passed_over_and_the_rest_is_read() {
        let bytes = written(1600);
        let mut damaged = bytes.clone();
        damaged[40_000] ^= 1;
        let (numbers, said) = read(&damaged);
        assert_eq!(numbers, (1..=512).chain(1025..=1600).collect::<Vec<_>>());
        assert_eq!(said, ["records 513 to 1024 are damaged: their CRC is wrong"]);
        // Where it goes on is not known any more, where a length is wrong.
        let mut damaged = bytes.clone();
        damaged[2 * HEADER_BYTES + 512 * 64 + 2] ^= 1;
        let (numbers, said) = read(&damaged);
        assert_eq!((numbers.len(), said.len()), (512, 2), "{said:?}");
        let whole = HEADER_BYTES + 512 * 64;
        let missing = [&bytes[..HEADER_BYTES], &bytes[HEADER_BYTES + whole..]].concat();
        assert_eq!(read(&missing), (vec![], vec!["behind record 0 parts of it are missing".to_owned()]));
    }

    #[test]
    fn what_is_no_snapshot_is_said_to_be_none() {
        let bytes = written(3);
        let swapped: Vec<u8> =
            bytes.as_chunks::<4>().0.iter().flat_map(|word| word.iter().rev().copied()).collect();
        let later = [&[2], &bytes[1..]].concat();
        for (bytes, why) in [
            (&b"-A -s 10.0.0.1 and what else conntrack(8) has"[..], "version 45"),
            (&later, "version 2"),
            (&swapped, "version 0"),
            (&[0; 5000], "version 0"),
            (&[1; 5000], "records have 64 bytes or more"),
            (&bytes[HEADER_BYTES..], "parts of it are missing"),
        ] {
            let (numbers, said) = read(bytes);
            assert!(numbers.is_empty() && said.len() == 1 && said[0].contains(why), "{said:?}");
        }
    }

    #[test]
    fn what_has_ended_since_is_left_out() {
        let Record::State(connection) = connection(0) else { panic!() };
        let mut bytes = vec![];
        let header = |kind, sequence, sent_ns| Header { term: 1, sequence, sent_ns, kind, role: None };
        let short = Record::State(Connection { remaining_ms: 59_000, ..connection });
        let minute_ago = now_ns() - 60_000_000_000;
        replica::encode(&header(EntryKind::BulkBegin, 0, minute_ago), &[], &mut bytes);
        replica::encode(
            &header(EntryKind::BulkEnd, 1, minute_ago),
            &[short, Record::State(connection)],
            &mut bytes,
        );
        let mut reader = Reader::new(&bytes[..]);
        assert_eq!(reader.next_page().unwrap(), Some(vec![]));
        let page = reader.next_page().unwrap().unwrap();
        let [(2, Ok(Record::State(left)))] = page[..] else { panic!("{page:?}") };
        assert!((3_539_000..=3_540_000).contains(&left.remaining_ms) && left.age_s == 67, "{left:?}");
    }
}
