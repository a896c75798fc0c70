//! Records of connections on the control socket: a stream entry, as base64.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use sluice_conntrack::replica::{EntryKind, Header, Record, RecordError, StreamError, decode, encode};

/// Records, each to be checked as it is read. At most [`MAX_RECORDS`](sluice_conntrack::replica::MAX_RECORDS).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Packed(Vec<u8>);

impl Packed {
    /// Packs these.
    pub fn of(records: &[Record]) -> Packed {
        let header = Header { term: 0, sequence: 0, sent_ns: 0, kind: EntryKind::Bulk, role: None };
        let mut bytes = Vec::new();
        encode(&header, records, &mut bytes);
        Packed(bytes)
    }

    /// Reads them.
    ///
    /// # Errors
    /// They cannot be told one from the other.
    pub fn records(&self) -> Result<Vec<Result<Record, RecordError>>, StreamError> {
        let (_, records, _) = decode(&self.0)?;
        Ok(records.collect())
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes of records", self.0.len())
    }
}

impl From<Packed> for String {
    fn from(packed: Packed) -> String {
        BASE64_STANDARD.encode(packed.0)
    }
}

impl TryFrom<String> for Packed {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Packed, Self::Error> {
        BASE64_STANDARD.decode(text).map(Packed)
    }
}
