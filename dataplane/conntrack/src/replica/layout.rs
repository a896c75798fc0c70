//! The layout of records, version 1, and what all kinds of them have: the tuples of a connection. All numbers are little endian.
//!
//! ```text
//!  0 u8 kind (1 state, 2 end; 3 and 4: [`super::helped`])   1 u8 flags (1 IPv6, 2 translated)   2 u8 protocol   3 u8 the tracker's state
//!  4 u16 zone   6 u16 status   8 u32 remaining, ms   12 u32 age, s   16 u32 mark
//! 20 u32 slot and 24 u32 generation of the entry where it comes from
//! 28 4 x u32 source and destination of the original and of the reply tuple; zeros of IPv6
//! 44 u32 ports of the original, 48 u32 of the reply tuple: source port << 16 | destination port
//! 52 8 bytes of the tracker   60 u8 the helper that reads it, one more than its number; 0 none   61 3 bytes spare
//! 64 4 x u128 the addresses of IPv6
//! ```
//!
//! What is read came from elsewhere: each field is checked, and what no entry can be like is refused.

use crate::tracker;
use crate::tuple::{Family, Selector, Tuple, address};
use std::net::IpAddr;
use thiserror::Error;
use zerocopy::little_endian::{U16, U32, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

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
    /// Of no helper that there is, or of more than one has.
    #[error("no helper says what a record does ({0})")]
    Helper(u8),
    /// It would live longer than any connection, or not at all.
    #[error("no connection has {0} ms to its end")]
    Timeout(u32),
}

/// A record as it lies in a stream entry, but for the addresses of IPv6.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Narrow {
    pub(super) kind: u8,
    flags: u8,
    pub(super) protocol: u8,
    pub(super) state: u8,
    zone: U16,
    pub(super) status: U16,
    pub(super) remaining_ms: U32,
    pub(super) age_s: U32,
    pub(super) mark: U32,
    pub(super) index: U32,
    pub(super) generation: U32,
    addresses: [[U32; 2]; 2],
    ports: [U32; 2],
    pub(super) tracker: tracker::Told,
    pub(super) helper: u8,
    spare: [u8; 3],
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

/// Flag: IPv6.
const IS_V6: u8 = 1;
/// Flag: the reply tuple is another than the inverse of the original one.
const IS_TRANSLATED: u8 = 2;

/// The flags of a connection with these tuples.
fn flags(original: &Tuple, reply: &Tuple) -> u8 {
    let is_v6 = if original.family() == Family::V6 { IS_V6 } else { 0 };
    let is_translated = if *reply == original.invert() { 0 } else { IS_TRANSLATED };
    is_v6 | is_translated
}

impl Narrow {
    /// That of a connection with these tuples, of which no more is known.
    pub(super) fn of(tuples: &[Tuple; 2]) -> Self {
        let [original, reply] = tuples;
        let mut narrow = Self::new_zeroed();
        narrow.flags = flags(original, reply);
        narrow.protocol = original.protocol();
        narrow.zone = original.selector.zone().into();
        narrow.ports = tuples.map(|tuple| tuple.selector.ports().into());
        if original.family() == Family::V4 {
            narrow.addresses =
                tuples.map(|tuple| [tuple.src, tuple.dst].map(|address| (address as u32).into()));
        }
        narrow
    }

    /// Writes it into `slot`, which is zero and has room for it, and `body` behind it.
    pub(super) fn write(self, tuples: &[Tuple; 2], body: &[u8], slot: &mut [u8]) {
        let addresses = tuples.map(|tuple| [tuple.src, tuple.dst].map(U128::from));
        let wide = Wide { narrow: self, addresses };
        let bytes = wide.as_bytes().iter().take(self.bytes()).chain(body);
        for (to, from) in slot.iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    /// Bytes up to the end of its addresses.
    pub(super) const fn bytes(&self) -> usize {
        if self.flags & IS_V6 != 0 { WIDE_BYTES } else { NARROW_BYTES }
    }

    /// The original and the reply tuple, which can be ones of a connection.
    ///
    /// # Errors
    /// None can.
    pub(super) fn tuples(&self, slot: &[u8]) -> Result<[Tuple; 2], RecordError> {
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
}

/// Whether packets may come from an address: no group has sent any (RFC 1122 section 3.2.1.3, RFC 4291 section 2.7).
pub(super) fn is_sender(family: Family, number: u128) -> bool {
    match address(family, number) {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_multicast(),
    }
}
