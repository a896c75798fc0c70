//! A snapshot: connections as stream entries one behind the other, from the begin of a bulk to its end.

use std::io::{self, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use sluice_conntrack::replica::{
    self, Connection, EntryKind, HEADER_BYTES, Header, Record, RecordError, StreamError,
};
use thiserror::Error;

/// Records of an entry.
const RECORDS_PER_ENTRY: usize = 512;

/// Why a snapshot is not read on.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is no snapshot, or damaged.
    #[error("{0}")]
    Stream(#[from] StreamError),
    /// An entry is not the next one of a bulk.
    #[error("it is no snapshot, or parts of it are missing")]
    Order,
}

/// Writes connections.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    sequence: u64,
    records: Vec<Record>,
    bytes: Vec<u8>,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Begins.
    ///
    /// # Errors
    /// Nothing can be written.
    pub fn new(out: W) -> io::Result<Self> {
        let records = Vec::with_capacity(RECORDS_PER_ENTRY);
        let mut writer = Self { out, sequence: 0, records, bytes: Vec::new(), written: 0 };
        writer.write_entry(EntryKind::BulkBegin)?;
        Ok(writer)
    }

    /// Writes one more.
    ///
    /// # Errors
    /// Nothing can be written.
    pub fn write(&mut self, connection: &Connection) -> io::Result<()> {
        self.records.push(Record::State(*connection));
        self.written += 1;
        if self.records.len() < RECORDS_PER_ENTRY { Ok(()) } else { self.write_entry(EntryKind::Bulk) }
    }

    /// Comes to the end; gives how many there were.
    ///
    /// # Errors
    /// Nothing can be written.
    pub fn finish(mut self) -> io::Result<u64> {
        self.write_entry(EntryKind::Bulk)?;
        self.write_entry(EntryKind::BulkEnd)?;
        self.out.flush()?;
        Ok(self.written)
    }

    fn write_entry(&mut self, kind: EntryKind) -> io::Result<()> {
        let header = Header { term: 1, sequence: self.sequence, sent_ns: now_ns(), kind, role: None };
        self.sequence += 1;
        self.bytes.clear();
        replica::encode(&header, &self.records, &mut self.bytes);
        self.records.clear();
        self.out.write_all(&self.bytes)
    }
}

/// Reads a snapshot, and visits its connections as they are now, each of which would have ended by itself left out; and what is refused
/// of it. What came before an error was visited.
///
/// # Errors
/// Why it is not read to its end.
pub fn read(
    mut input: impl Read,
    mut visit: impl FnMut(Result<Connection, RecordError>),
) -> Result<(), SnapshotError> {
    let mut bytes = Vec::new();
    for sequence in 0.. {
        bytes.resize(HEADER_BYTES, 0);
        input.read_exact(&mut bytes).map_err(cut_off)?;
        bytes.resize(replica::entry_bytes(&bytes)?, 0);
        input.read_exact(&mut bytes[HEADER_BYTES..]).map_err(cut_off)?;
        let (header, records, _) = replica::decode(&bytes)?;
        let is_begin = header.kind == EntryKind::BulkBegin;
        if header.sequence != sequence || is_begin != (sequence == 0) {
            return Err(SnapshotError::Order);
        }
        let passed_ns = now_ns().saturating_sub(header.sent_ns);
        for record in records {
            match record {
                Ok(Record::State(connection)) => {
                    if let Some(connection) = connection.after_ms(passed_ns / 1_000_000) {
                        visit(Ok(connection));
                    }
                }
                Ok(Record::End(_) | Record::Expected(_) | Record::Changed(_)) => {}
                Err(error) => visit(Err(error)),
            }
        }
        if header.kind == EntryKind::BulkEnd {
            break;
        }
    }
    Ok(())
}

/// A file that ends too early is damaged, whatever reading says.
fn cut_off(error: io::Error) -> SnapshotError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => SnapshotError::Stream(StreamError::Short),
        _ => SnapshotError::Io(error),
    }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::Tuple;
    use sluice_conntrack::ids::EntryId;
    use sluice_conntrack::replica::RecordStatus;

    fn connection(number: u32) -> Connection {
        let client = std::net::Ipv4Addr::from(0x0a00_0000 + number).into();
        let original = Tuple::new(client, [198, 51, 100, 2].into(), 17, 4000, 53);
        Connection {
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
        }
    }

    fn written(count: u32) -> Vec<u8> {
        let mut bytes = vec![];
        let mut writer = Writer::new(&mut bytes).unwrap();
        (0..count).for_each(|number| writer.write(&connection(number)).unwrap());
        assert_eq!(writer.finish().unwrap(), u64::from(count));
        bytes
    }

    fn marks(bytes: &[u8]) -> (Vec<u32>, Result<(), SnapshotError>) {
        let mut marks = vec![];
        let done = read(bytes, |connection| marks.push(connection.unwrap().mark));
        (marks, done)
    }

    #[test]
    fn what_is_written_is_read() {
        for count in [0, 1, 511, 512, 513, 2000] {
            let (marks, done) = marks(&written(count));
            assert!(done.is_ok(), "{done:?}");
            assert_eq!(marks, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_read_as_far_as_it_goes() {
        let bytes = written(1000);
        for length in [0, 1, 31, 32, 100, bytes.len() - 32, bytes.len() - 1] {
            let (_, done) = marks(&bytes[..length]);
            assert!(matches!(done, Err(SnapshotError::Stream(StreamError::Short))), "{length}: {done:?}");
        }
        let mut damaged = bytes.clone();
        damaged[40_000] ^= 1;
        let (marks_before, done) = marks(&damaged);
        assert!(matches!(done, Err(SnapshotError::Stream(StreamError::Crc))));
        assert_eq!(marks_before.len(), 512);
        let (_, done) = marks(&bytes[HEADER_BYTES..]);
        assert!(matches!(done, Err(SnapshotError::Order)), "{done:?}");
        let (_, done) = marks(b"-A -s 10.0.0.1 and what else conntrack(8) has");
        assert!(matches!(done, Err(SnapshotError::Stream(StreamError::Version(b'-')))), "{done:?}");
    }
}
