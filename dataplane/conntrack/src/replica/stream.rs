//! Stream entries, version 1: a header of 32 bytes, and records one behind the other. All numbers are little endian.
//!
//! ```text
//!  0 u8 version   1 u8 bytes of a record   2 u16 records   4 u32 term   8 u64 sequence, one more for each entry
//! 16 u64 when it was sent, ns since 1970   24 u16 kind   26 u16 role   28 u32 CRC32c of header and records, itself left out
//! ```
//!
//! The role is 0 where nothing is said of one, 1 on standby, 2 active.
//!
//! A reader passes over bytes of a record beyond those it knows, and refuses a later version, and more records than a writer sends.

use super::layout::{NARROW_BYTES, RecordError};
use super::record::Record;
use crate::groups::Role;
use crate::wire::checksum::Crc32c;
use thiserror::Error;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who of two writers knows more: the one with the higher term.
    pub term: u32,
    /// The entry's number in its stream.
    pub sequence: u64,
    /// When it was sent, nanoseconds since 1970.
    pub sent_ns: u64,
    /// What its records are.
    pub kind: EntryKind,
    /// What the writer is for the group, if it says so.
    pub role: Option<Role>,
}

/// What the records of a stream entry are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// What has happened to connections, as it happens.
    Inline,
    /// Connections that are there, as a table is read from its begin to its end.
    Bulk,
    /// None: such a reading begins.
    BulkBegin,
    /// None: it has come to its end. What was told neither in it nor since is not there.
    BulkEnd,
    /// None: the writer lives.
    Heartbeat,
    /// None: the writer has told all and forwards no more; the reader takes over.
    Handover,
    /// None: the writer has another role, or term.
    Role,
    /// One that this version does not know.
    Other(u16),
}

impl EntryKind {
    const fn number(self) -> u16 {
        match self {
            Self::Inline => 0,
            Self::Bulk => 1,
            Self::BulkBegin => 2,
            Self::BulkEnd => 3,
            Self::Heartbeat => 4,
            Self::Handover => 5,
            Self::Role => 6,
            Self::Other(number) => number,
        }
    }

    const fn of(number: u16) -> Self {
        match number {
            0 => Self::Inline,
            1 => Self::Bulk,
            2 => Self::BulkBegin,
            3 => Self::BulkEnd,
            4 => Self::Heartbeat,
            5 => Self::Handover,
            6 => Self::Role,
            number => Self::Other(number),
        }
    }
}

/// A role as a header has it.
const fn number_of(role: Option<Role>) -> u16 {
    match role {
        None => 0,
        Some(Role::Standby) => 1,
        Some(Role::Active) => 2,
    }
}

/// The role that a header has, if that is one which this version knows.
const fn role_of(number: u16) -> Option<Role> {
    match number {
        1 => Some(Role::Standby),
        2 => Some(Role::Active),
        _ => None,
    }
}

/// Why a stream entry is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StreamError {
    /// It is cut off.
    #[error("a stream entry is cut off")]
    Short,
    /// A later version than this one.
    #[error("version {0} of stream entries is not known")]
    Version(u8),
    /// Its records are shorter than records are.
    #[error("records have {NARROW_BYTES} bytes or more, not {0}")]
    RecordBytes(u8),
    /// It has more records than an entry has.
    #[error("a stream entry has at most {MAX_RECORDS} records, not {0}")]
    Records(u16),
    /// It is damaged.
    #[error("a stream entry is damaged: its CRC is wrong")]
    Crc,
}

const VERSION: u8 = 1;

/// Records of an entry, at most. In Redis each costs a third then of what it would among 64, and a reader knows how much it may be given.
pub const MAX_RECORDS: usize = 1024;

/// Bytes of a header.
pub const HEADER_BYTES: usize = size_of::<RawHeader>();

/// A header as it lies in a stream entry.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    version: u8,
    record_bytes: u8,
    count: U16,
    term: U32,
    sequence: U64,
    sent_ns: U64,
    kind: U16,
    role: U16,
    crc: U32,
}

const _: () = assert!(HEADER_BYTES == 32);

impl RawHeader {
    /// The one that `bytes` begin with, of this version and with no more records than an entry has.
    fn checked(bytes: &[u8]) -> Result<Self, StreamError> {
        let (raw, _) = Self::read_from_prefix(bytes).map_err(|_| StreamError::Short)?;
        if raw.version != VERSION {
            return Err(StreamError::Version(raw.version));
        }
        if usize::from(raw.record_bytes) < NARROW_BYTES {
            return Err(StreamError::RecordBytes(raw.record_bytes));
        }
        if usize::from(raw.count.get()) > MAX_RECORDS {
            return Err(StreamError::Records(raw.count.get()));
        }
        Ok(raw)
    }

    /// The CRC that it is to have with these records.
    fn crc_with(&self, records: &[u8]) -> U32 {
        let unsigned = Self { crc: U32::ZERO, ..*self };
        U32::from_bytes(Crc32c::default().bytes(unsigned.as_bytes()).bytes(records).to_wire())
    }
}

/// The records of a stream entry, each read as it is come to.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    record_bytes: usize,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (slot, rest) = self.bytes.split_at_checked(self.record_bytes)?;
        self.bytes = rest;
        Some(Record::read(slot))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.bytes.len() / self.record_bytes;
        (count, Some(count))
    }
}

impl ExactSizeIterator for Records<'_> {}

/// Writes an entry behind what `out` has. Of the records it takes [`MAX_RECORDS`] at most.
pub fn encode(header: &Header, records: &[Record], out: &mut Vec<u8>) {
    let records = &records[..records.len().min(MAX_RECORDS)];
    let record_bytes = records.iter().map(Record::bytes).max().unwrap_or(NARROW_BYTES);
    let mut raw = RawHeader {
        version: VERSION,
        record_bytes: record_bytes as u8,
        count: (records.len() as u16).into(),
        term: header.term.into(),
        sequence: header.sequence.into(),
        sent_ns: header.sent_ns.into(),
        kind: header.kind.number().into(),
        role: number_of(header.role).into(),
        crc: U32::ZERO,
    };
    let begin = out.len();
    out.extend_from_slice(raw.as_bytes());
    out.resize(begin + HEADER_BYTES + record_bytes * records.len(), 0);
    let (head, slots) = out[begin..].split_at_mut(HEADER_BYTES);
    for (slot, record) in slots.chunks_exact_mut(record_bytes).zip(records) {
        record.write(slot);
    }
    raw.crc = raw.crc_with(slots);
    head.copy_from_slice(raw.as_bytes());
}

/// How many bytes the entry has whose header `bytes` begin with.
///
/// # Errors
/// There is no header, or one of another version, or of more than an entry has.
pub fn entry_bytes(bytes: &[u8]) -> Result<usize, StreamError> {
    RawHeader::checked(bytes)
        .map(|raw| HEADER_BYTES + usize::from(raw.record_bytes) * usize::from(raw.count.get()))
}

/// How many records the entry has whose header `bytes` begin with.
///
/// # Errors
/// Those of [`entry_bytes`].
pub fn entry_records(bytes: &[u8]) -> Result<usize, StreamError> {
    RawHeader::checked(bytes).map(|raw| usize::from(raw.count.get()))
}

/// Reads the entry that `bytes` begin with; gives its header, its records and what is behind it.
///
/// # Errors
/// Why it is refused. Where it ends is not known then.
pub fn decode(bytes: &[u8]) -> Result<(Header, Records<'_>, &[u8]), StreamError> {
    let (entry, rest) = bytes.split_at_checked(entry_bytes(bytes)?).ok_or(StreamError::Short)?;
    let (raw, bytes) = RawHeader::read_from_prefix(entry).map_err(|_| StreamError::Short)?;
    let record_bytes = usize::from(raw.record_bytes);
    if raw.crc != raw.crc_with(bytes) {
        return Err(StreamError::Crc);
    }
    let header = Header {
        term: raw.term.get(),
        sequence: raw.sequence.get(),
        sent_ns: raw.sent_ns.get(),
        kind: EntryKind::of(raw.kind.get()),
        role: role_of(raw.role.get()),
    };
    Ok((header, Records { bytes, record_bytes }, rest))
}

/// What an entry is to one who follows a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The next one.
    Next,
    /// Some before it are missing, or its writer has begun anew: what it says holds, and a bulk is needed for the rest.
    Gap,
    /// Read before, or by a writer that knows less: it is passed over.
    Old,
}

/// How far a reader has followed a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Follower {
    term: u32,
    /// The number of the next entry; 0 before the first.
    next: u64,
}

impl Follower {
    /// Takes note of an entry.
    pub fn follow(&mut self, header: &Header) -> Followed {
        let Header { term, sequence, kind, .. } = *header;
        if term < self.term || term == self.term && sequence < self.next {
            return Followed::Old;
        }
        // A writer that becomes active has a higher term, and goes on with its stream.
        let is_next = sequence == self.next && (term == self.term || kind == EntryKind::Role);
        (self.term, self.next) = (term, sequence.saturating_add(1));
        if is_next { Followed::Next } else { Followed::Gap }
    }
}
