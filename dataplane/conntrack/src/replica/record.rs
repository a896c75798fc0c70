//! Records: what is told of a connection. Whether it may be on this box is not known here.

use super::helped::{self, BODY_BYTES, Changed, Expected};
use super::layout::{NARROW_BYTES, Narrow, RecordError, WIDE_BYTES, is_sender};
use crate::entry::Status;
use crate::ids::{EntryId, HelperId};
use crate::time::MAX_TIMEOUT;
use crate::tracker;
use crate::tuple::{Family, Tuple, protocol};
use bitflags::bitflags;
use zerocopy::FromBytes;

/// What a record says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// It is like this.
    State(Connection),
    /// It has ended, which had this original and this reply tuple.
    End([Tuple; 2]),
    /// It expects this. What it expected before its state was told of, it expects no more.
    Expected(Expected),
    /// A text of it has become another one.
    Changed(Changed),
}

/// A connection as a record has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Original tuple.
    pub original: Tuple,
    /// Reply tuple.
    pub reply: Tuple,
    /// The tracker's number of its state; 0 for protocols without states.
    pub state: u8,
    /// What is known of it.
    pub status: RecordStatus,
    /// Milliseconds to its end, at most [`MAX_TIMEOUT`].
    pub remaining_ms: u32,
    /// Whole seconds since its birth.
    pub age_s: u32,
    /// Connection mark.
    pub mark: u32,
    /// What its tracker says of it ([`tracker::told`]).
    pub tracker: tracker::Told,
    /// The helper that reads it.
    pub helper: Option<HelperId>,
    /// The entry's name where the record comes from, for the log.
    pub entry: EntryId,
}

impl Connection {
    /// What it is like when so much time has passed without a packet; `None` where it has expired by then.
    #[must_use]
    pub fn after_ms(self, ms: u64) -> Option<Self> {
        let remaining_ms = u64::from(self.remaining_ms).checked_sub(ms).filter(|left| *left > 0)?;
        let age_s = self.age_s.saturating_add(u32::try_from(ms / 1000).unwrap_or(u32::MAX));
        Some(Self { remaining_ms: remaining_ms as u32, age_s, ..self })
    }
}

/// Status bits of a record, which stay the same whatever those of entries are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordStatus(u16);

bitflags! {
    impl RecordStatus: u16 {
        /// As [`Status::SEEN_REPLY`].
        const SEEN_REPLY = 1;
        /// As [`Status::ASSURED`].
        const ASSURED = 1 << 1;
        /// As [`Status::SRC_NAT`].
        const SRC_NAT = 1 << 2;
        /// As [`Status::DST_NAT`].
        const DST_NAT = 1 << 3;
        /// As [`Status::EIF`].
        const EIF = 1 << 4;
        /// As [`Status::MAPPED`].
        const MAPPED = 1 << 5;
        /// As [`Status::MASQUERADED`].
        const MASQUERADED = 1 << 6;
        /// The filtering of its mapping is endpoint-independent: anybody may begin connections to its client.
        const OPEN = 1 << 7;
        /// As [`Status::SEQ_ADJUST`]. Who does not know that bit does not go on with the connection, whose numbers are moved.
        const SHIFTED = 1 << 8;
        /// What its helper announces may have another address than the connection's own.
        const LOOSE = 1 << 9;
    }
}

/// The bits that both have.
const SAME: [(RecordStatus, Status); 8] = [
    (RecordStatus::SEEN_REPLY, Status::SEEN_REPLY),
    (RecordStatus::ASSURED, Status::ASSURED),
    (RecordStatus::SRC_NAT, Status::SRC_NAT),
    (RecordStatus::DST_NAT, Status::DST_NAT),
    (RecordStatus::EIF, Status::EIF),
    (RecordStatus::MAPPED, Status::MAPPED),
    (RecordStatus::MASQUERADED, Status::MASQUERADED),
    (RecordStatus::SHIFTED, Status::SEQ_ADJUST),
];

impl RecordStatus {
    /// What of an entry's status is told.
    pub(crate) fn of(status: Status) -> Self {
        SAME.into_iter().filter(|(_, bit)| status.contains(*bit)).map(|(told, _)| told).collect()
    }

    /// The same of an entry.
    pub(crate) fn status(self) -> Status {
        SAME.into_iter().filter(|(told, _)| self.contains(*told)).map(|(_, bit)| bit).collect()
    }
}

const STATE: u8 = 1;
const END: u8 = 2;
const EXPECTED: u8 = 3;
const CHANGED: u8 = 4;

impl Record {
    /// The original and the reply tuple of its connection.
    pub const fn tuples(&self) -> [Tuple; 2] {
        match self {
            Self::State(Connection { original, reply, .. }) => [*original, *reply],
            Self::End(tuples) => *tuples,
            Self::Expected(expected) => expected.master,
            Self::Changed(changed) => changed.connection,
        }
    }

    /// What it says when so much time has passed without a packet; `None` where what it tells of has ended by then.
    #[must_use]
    pub fn after_ms(self, ms: u64) -> Option<Self> {
        match self {
            Self::State(connection) => connection.after_ms(ms).map(Self::State),
            Self::Expected(expected) => expected.after_ms(ms).map(Self::Expected),
            Self::End(_) | Self::Changed(_) => Some(self),
        }
    }

    /// How many bytes it takes at least.
    pub(super) const fn bytes(&self) -> usize {
        let state = match self.tuples()[0].family() {
            Family::V4 => NARROW_BYTES,
            Family::V6 => WIDE_BYTES,
        };
        match self {
            Self::State(_) | Self::End(_) => state,
            Self::Expected(_) | Self::Changed(_) => state + BODY_BYTES,
        }
    }

    /// Writes it into `slot`, which is zero and has room for it.
    pub(super) fn write(&self, slot: &mut [u8]) {
        let tuples = self.tuples();
        let mut narrow = Narrow::of(&tuples);
        let mut body = [0; BODY_BYTES];
        narrow.kind = match self {
            Self::State(connection) => {
                narrow.fill(connection);
                STATE
            }
            Self::End(_) => END,
            Self::Expected(expected) => {
                body = expected.write(&mut narrow);
                EXPECTED
            }
            Self::Changed(changed) => {
                body = changed.write(&mut narrow);
                CHANGED
            }
        };
        narrow.write(&tuples, &body, slot);
    }

    /// Reads one from the begin of `slot`, and passes over what is behind it there.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn read(slot: &[u8]) -> Result<Self, RecordError> {
        let (narrow, _) = Narrow::read_from_prefix(slot).map_err(|_| RecordError::Short)?;
        let tuples = narrow.tuples(slot)?;
        match narrow.kind {
            STATE => narrow.connection(tuples).map(Self::State),
            END => Ok(Self::End(tuples)),
            EXPECTED => Expected::read(&narrow, slot, narrow.bytes(), tuples).map(Self::Expected),
            CHANGED => Changed::read(&narrow, slot, narrow.bytes(), tuples).map(Self::Changed),
            kind => Err(RecordError::Kind(kind)),
        }
    }
}

impl Narrow {
    /// Takes what is known of a connection, but for its tuples.
    fn fill(&mut self, connection: &Connection) {
        self.state = connection.state;
        self.status = connection.status.bits().into();
        self.remaining_ms = connection.remaining_ms.into();
        self.age_s = connection.age_s.into();
        self.mark = connection.mark.into();
        self.index = connection.entry.index.into();
        self.generation = connection.entry.generation.into();
        self.tracker = connection.tracker;
        self.helper = helped::number_of(connection.helper);
    }

    /// The connection of these tuples.
    fn connection(&self, [original, reply]: [Tuple; 2]) -> Result<Connection, RecordError> {
        let refused = RecordError::Status(self.status.get());
        let status = RecordStatus::from_bits(self.status.get()).ok_or(refused)?;
        let [has_source, has_destination] = original.translations(&reply);
        let is_by_mapping = status.intersects(RecordStatus::MAPPED.union(RecordStatus::EIF));
        let contradicts = status.contains(RecordStatus::SRC_NAT) != has_source
            || status.contains(RecordStatus::DST_NAT) != has_destination
            || status.contains(RecordStatus::MASQUERADED) && !has_source
            || status.contains(RecordStatus::MAPPED.union(RecordStatus::EIF))
            || is_by_mapping && !has_source && !has_destination
            || status.contains(RecordStatus::OPEN) && !status.contains(RecordStatus::MAPPED)
            || status.contains(RecordStatus::SHIFTED) && self.protocol != protocol::TCP;
        if contradicts {
            return Err(refused);
        }
        if status.contains(RecordStatus::SEEN_REPLY) && !is_sender(reply.family(), reply.src) {
            return Err(RecordError::Tuples);
        }
        let helper = helped::helper(self.helper)?;
        if helper.is_some() && !matches!(self.protocol, protocol::TCP | protocol::UDP) {
            return Err(RecordError::Helper(self.helper));
        }
        if !tracker::may_be_told(original.selector, self.state, &self.tracker) {
            return Err(RecordError::State(self.state));
        }
        let remaining_ms = self.remaining_ms.get();
        if remaining_ms == 0 || u128::from(remaining_ms) > MAX_TIMEOUT.as_millis() {
            return Err(RecordError::Timeout(remaining_ms));
        }
        Ok(Connection {
            original,
            reply,
            state: self.state,
            status,
            remaining_ms,
            age_s: self.age_s.get(),
            mark: self.mark.get(),
            tracker: self.tracker,
            helper,
            entry: EntryId { index: self.index.get(), generation: self.generation.get() },
        })
    }
}
