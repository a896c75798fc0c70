//! The record of a connection, version 1: 64 bytes, or 128 of an IPv6 one. All numbers are little endian.
//!
//! ```text
//!  0 u8 kind (1 state, 2 end)   1 u8 flags (1 IPv6, 2 translated)   2 u8 protocol   3 u8 the tracker's state
//!  4 u16 zone   6 u16 status   8 u32 remaining, ms   12 u32 age, s   16 u32 mark
//! 20 u32 slot and 24 u32 generation of the entry where it comes from
//! 28 4 x u32 source and destination of the original and of the reply tuple; zeros of IPv6
//! 44 u32 ports of the original, 48 u32 of the reply tuple: source port << 16 | destination port
//! 52 8 bytes of the tracker   60 u32 spare
//! 64 4 x u128 the addresses of IPv6
//! ```
//!
//! What is read came from elsewhere: each field is checked, and what no entry can be like is refused. Whether the connection may be on
//! this box is not known here.

use crate::entry::Status;
use crate::ids::EntryId;
use crate::time::MAX_TIMEOUT;
use crate::tracker;
use crate::tuple::{Family, Selector, Tuple, address};
use bitflags::bitflags;
use std::net::IpAddr;
use thiserror::Error;
use zerocopy::little_endian::{U16, U32, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What a record says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// It is like this.
    State(Connection),
    /// It has ended, which had this original and this reply tuple.
    End([Tuple; 2]),
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
    }
}

/// The bits that both have.
const SAME: [(RecordStatus, Status); 7] = [
    (RecordStatus::SEEN_REPLY, Status::SEEN_REPLY),
    (RecordStatus::ASSURED, Status::ASSURED),
    (RecordStatus::SRC_NAT, Status::SRC_NAT),
    (RecordStatus::DST_NAT, Status::DST_NAT),
    (RecordStatus::EIF, Status::EIF),
    (RecordStatus::MAPPED, Status::MAPPED),
    (RecordStatus::MASQUERADED, Status::MASQUERADED),
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

/// Why a record is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// It is shorter than a record is.
    #[error("a record is cut off")]
    Short,
    /// Of a kind that this version does not know.
    #[error("records of kind {0} are not known")]
    Kind(u8),
    /// Flags that there are not, or that its tuples contradict.
    #[error("the flags {0:#x} of a record cannot be")]
    Flags(u8),
    /// Status bits that there are not, or that its tuples contradict.
    #[error("the status {0:#x} of a record cannot be")]
    Status(u16),
    /// No packets have tuples like these.
    #[error("no packets have the tuples of a record")]
    Tuples,
    /// Its protocol's tracker has no such state, or none that says this.
    #[error("the protocol of a record has no state {0} like this")]
    State(u8),
    /// It would live longer than any connection, or not at all.
    #[error("no connection has {0} ms to its end")]
    Timeout(u32),
}

/// A record as it lies in a stream entry, but for the addresses of IPv6.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Narrow {
    kind: u8,
    flags: u8,
    protocol: u8,
    state: u8,
    zone: U16,
    status: U16,
    remaining_ms: U32,
    age_s: U32,
    mark: U32,
    index: U32,
    generation: U32,
    addresses: [[U32; 2]; 2],
    ports: [U32; 2],
    tracker: tracker::Told,
    spare: U32,
}

/// A record of IPv6.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Wide {
    narrow: Narrow,
    addresses: [[U128; 2]; 2],
}

/// Bytes of a record of IPv4.
pub(super) const NARROW_BYTES: usize = size_of::<Narrow>();

/// Bytes of a record of IPv6.
pub(super) const WIDE_BYTES: usize = size_of::<Wide>();

const _: () = assert!(NARROW_BYTES == 64 && WIDE_BYTES == 128);

const STATE: u8 = 1;
const END: u8 = 2;

/// Flag: IPv6.
const IS_V6: u8 = 1;
/// Flag: the reply tuple is another than the inverse of the original one.
const IS_TRANSLATED: u8 = 2;

impl Record {
    /// The original and the reply tuple of its connection.
    pub const fn tuples(&self) -> [Tuple; 2] {
        match self {
            Self::State(Connection { original, reply, .. }) => [*original, *reply],
            Self::End(tuples) => *tuples,
        }
    }

    /// How many bytes it takes at least.
    pub(super) const fn bytes(&self) -> usize {
        match self.tuples()[0].family() {
            Family::V4 => NARROW_BYTES,
            Family::V6 => WIDE_BYTES,
        }
    }

    /// Writes it into `slot`, which is zero and has room for it.
    pub(super) fn write(&self, slot: &mut [u8]) {
        let [original, reply] = self.tuples();
        let is_v6 = original.family() == Family::V6;
        let addresses = [original, reply].map(|tuple| [tuple.src, tuple.dst]);
        let mut narrow = Narrow::new_zeroed();
        narrow.kind = END;
        narrow.flags = flags(&original, &reply);
        narrow.protocol = original.protocol();
        narrow.zone = original.selector.zone().into();
        narrow.ports = [original, reply].map(|tuple| tuple.selector.ports().into());
        if !is_v6 {
            narrow.addresses = addresses.map(|pair| pair.map(|address| (address as u32).into()));
        }
        if let Self::State(connection) = self {
            narrow.kind = STATE;
            narrow.state = connection.state;
            narrow.status = connection.status.bits().into();
            narrow.remaining_ms = connection.remaining_ms.into();
            narrow.age_s = connection.age_s.into();
            narrow.mark = connection.mark.into();
            narrow.index = connection.entry.index.into();
            narrow.generation = connection.entry.generation.into();
            narrow.tracker = connection.tracker;
        }
        let wide = Wide { narrow, addresses: addresses.map(|pair| pair.map(U128::from)) };
        let bytes = if is_v6 { wide.as_bytes() } else { narrow.as_bytes() };
        for (to, from) in slot.iter_mut().zip(bytes) {
            *to = *from;
        }
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
            kind => Err(RecordError::Kind(kind)),
        }
    }
}

/// The flags of a connection with these tuples.
fn flags(original: &Tuple, reply: &Tuple) -> u8 {
    let is_v6 = if original.family() == Family::V6 { IS_V6 } else { 0 };
    let is_translated = if *reply == original.invert() { 0 } else { IS_TRANSLATED };
    is_v6 | is_translated
}

impl Narrow {
    /// The original and the reply tuple, which can be ones of a connection.
    fn tuples(&self, slot: &[u8]) -> Result<[Tuple; 2], RecordError> {
        let is_v6 = self.flags & IS_V6 != 0;
        let family = if is_v6 { Family::V6 } else { Family::V4 };
        let narrow = self.addresses.map(|pair| pair.map(|address| u128::from(address.get())));
        let addresses = if is_v6 {
            let (wide, _) = Wide::read_from_prefix(slot).map_err(|_| RecordError::Short)?;
            wide.addresses.map(|pair| pair.map(U128::get))
        } else {
            narrow
        };
        let is_clean = !is_v6 || narrow == [[0; 2]; 2];
        let selector = Selector::new(family, self.protocol, self.zone.get(), 0, 0);
        let tuple = |[src, dst]: [u128; 2], ports: U32| {
            let selector = selector.with_ports(ports.get());
            Tuple { src, dst, selector }
        };
        let [original, reply] = [0, 1].map(|way| tuple(addresses[way], self.ports[way]));
        if !is_clean || !original.may_be_answered_by(&reply) || !is_sender(family, original.src) {
            return Err(RecordError::Tuples);
        }
        if self.flags != flags(&original, &reply) {
            return Err(RecordError::Flags(self.flags));
        }
        Ok([original, reply])
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
            || status.contains(RecordStatus::OPEN) && !status.contains(RecordStatus::MAPPED);
        if contradicts {
            return Err(refused);
        }
        if status.contains(RecordStatus::SEEN_REPLY) && !is_sender(reply.family(), reply.src) {
            return Err(RecordError::Tuples);
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
            entry: EntryId { index: self.index.get(), generation: self.generation.get() },
        })
    }
}

/// Whether packets may come from an address: no group has sent any (RFC 1122 section 3.2.1.3, RFC 4291 section 2.7).
fn is_sender(family: Family, number: u128) -> bool {
    match address(family, number) {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_multicast(),
    }
}
