//! Records of what helpers have done: what a connection expects, and texts of it that have become others. They follow the state of their
//! connection, which begins with none of either.
//!
//! Both are laid out as a state is ([`super::layout`]), with the tuples of the connection, and 72 bytes behind that. Of an expectation, kind 3:
//!
//! ```text
//!  8 u32 remaining, ms   52 u8 how much of the source counts (0 all, 1 the address, 2 nothing)   53 u8 class
//! 54 u8 protocol   55 u8 helper, one more than its number; 0 none   56 u8 flags (1 met once, 2 not to be met yet, 4 translated)
//! then 4 x u128 source and destination of the child's first packet, and what those become
//!      u32 its ports   u16 its destination port   u16 its source port, as they become
//! ```
//!
//! Of a text, kind 4:
//!
//! ```text
//!  3 u8 the direction it goes in   16 u32 by how much what comes before is moved
//! 52 u8 how many texts of that direction come before   53 u8 bytes of what is sent instead   54 u8 1 where there is such a text
//! then 64 bytes of what is sent instead   u32 the sender's number of the first byte   u16 a port   u16 bytes that the sender has sent
//! ```

use super::layout::{Narrow, RecordError};
use crate::expectations::{ChildNat, SourceMask, Wanted};
use crate::helpers::{Change, MAX_CHANGES, Text};
use crate::ids::HelperId;
use crate::time::MAX_TIMEOUT;
use crate::tuple::{Direction, Family, Selector, Tuple, protocol};
use zerocopy::little_endian::{U16, U32, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What a connection expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its original and its reply tuple.
    pub master: [Tuple; 2],
    /// What it expects, for how long from now on.
    pub wanted: Wanted,
    /// Whether that is not to be met before it is told of again.
    pub is_inactive: bool,
}

/// A text of a connection that has become another, or that none is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its original and its reply tuple.
    pub connection: [Tuple; 2],
    /// The direction that the text goes in.
    pub direction: Direction,
    /// How many texts of that direction are told of before.
    pub number: u8,
    /// By how much the numbers of what comes before all of those are moved.
    pub before: u32,
    /// The text.
    pub(crate) change: Option<Change>,
}

/// What stands behind the addresses.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Body {
    addresses: [U128; 4],
    number: U32,
    ports: [U16; 2],
}

/// Bytes of that.
pub(super) const BODY_BYTES: usize = size_of::<Body>();

const _: () = assert!(BODY_BYTES == 72);

const ONE_SHOT: u8 = 1;
const INACTIVE: u8 = 1 << 1;
const TRANSLATED: u8 = 1 << 2;

/// How much of a source counts, by the numbers of records.
const MASKS: [SourceMask; 3] = [SourceMask::Exact, SourceMask::AnyPort, SourceMask::Any];

/// The helper of this number, or none.
pub(super) fn helper(number: u8) -> Result<Option<HelperId>, RecordError> {
    let Some(index) = usize::from(number).checked_sub(1) else { return Ok(None) };
    HelperId::ALL.get(index).copied().map(Some).ok_or(RecordError::Helper(number))
}

/// The number of a helper in records.
pub(super) fn number_of(helper: Option<HelperId>) -> u8 {
    helper.map_or(0, |helper| helper as u8 + 1)
}

fn body(slot: &[u8], at: usize) -> Result<Body, RecordError> {
    let rest = slot.get(at..).ok_or(RecordError::Short)?;
    Body::read_from_prefix(rest).map(|(body, _)| body).map_err(|_| RecordError::Short)
}

impl Expected {
    /// Puts it into a record of its master, and gives what stands behind that.
    pub(super) fn write(&self, narrow: &mut Narrow) -> [u8; BODY_BYTES] {
        let Wanted { tuple, source, class, one_shot, timeout_ms, nat, helper } = self.wanted;
        let flag = |flag, is_set| if is_set { flag } else { 0 };
        let flags =
            flag(ONE_SHOT, one_shot) | flag(INACTIVE, self.is_inactive) | flag(TRANSLATED, nat.is_some());
        narrow.remaining_ms = timeout_ms.into();
        narrow.tracker = [source as u8, class, tuple.protocol(), number_of(helper), flags, 0, 0, 0];
        let nat = nat.unwrap_or_default();
        let body = Body {
            addresses: [tuple.src, tuple.dst, nat.source, nat.destination].map(U128::from),
            number: tuple.selector.ports().into(),
            ports: [nat.port, nat.source_port].map(U16::from),
        };
        zerocopy::transmute!(body)
    }

    /// Reads that of a master with these tuples; what stands behind is at `at` of the slot.
    pub(super) fn read(
        narrow: &Narrow,
        slot: &[u8],
        at: usize,
        master: [Tuple; 2],
    ) -> Result<Self, RecordError> {
        let Body { addresses, number, ports } = body(slot, at)?;
        let [mask, class, protocol, helper_number, flags, ..] = narrow.tracker;
        let helper = helper(helper_number)?;
        let source = *MASKS.get(usize::from(mask)).ok_or(RecordError::Helper(mask))?;
        if flags & !(ONE_SHOT | INACTIVE | TRANSLATED) != 0 {
            return Err(RecordError::Flags(flags));
        }
        let original = master[0].selector;
        let family = original.family();
        let [src, dst, nat_source, nat_destination] = addresses.map(U128::get);
        let selector = Selector::new(family, protocol, original.zone(), 0, 0).with_ports(number.get());
        let is_translated = flags & TRANSLATED != 0;
        let fits = |address: u128| family == Family::V6 || address <= u128::from(u32::MAX);
        let [port, source_port] = ports.map(U16::get);
        let nat = ChildNat { source: nat_source, destination: nat_destination, port, source_port };
        let is_clean = is_translated || nat == ChildNat::default();
        let is_possible = [src, dst, nat_source, nat_destination].into_iter().all(fits);
        // A call of PPTP is told of by none of its directions.
        let is_call = protocol == protocol::GRE;
        if !is_possible || !is_clean || is_call {
            return Err(RecordError::Tuples);
        }
        let timeout_ms = narrow.remaining_ms.get();
        if timeout_ms == 0 || u128::from(timeout_ms) > MAX_TIMEOUT.as_millis() {
            return Err(RecordError::Timeout(timeout_ms));
        }
        let wanted = Wanted {
            tuple: Tuple { src, dst, selector },
            source,
            class,
            one_shot: flags & ONE_SHOT != 0,
            timeout_ms,
            nat: is_translated.then_some(nat),
            helper,
        };
        Ok(Self { master, wanted, is_inactive: flags & INACTIVE != 0 })
    }
}

impl Expected {
    /// What is expected when so much time has passed; `None` where nothing is any more.
    #[must_use]
    pub fn after_ms(mut self, ms: u64) -> Option<Self> {
        let left = u64::from(self.wanted.timeout_ms).checked_sub(ms).filter(|left| *left > 0)?;
        self.wanted.timeout_ms = left as u32;
        Some(self)
    }
}

impl Changed {
    /// Puts it into a record of its connection, and gives what stands behind that.
    pub(super) fn write(&self, narrow: &mut Narrow) -> [u8; BODY_BYTES] {
        narrow.state = self.direction as u8;
        narrow.mark = self.before.into();
        let mut body = Body::new_zeroed();
        if let Some(change) = &self.change {
            let text = change.inserted.as_bytes();
            narrow.tracker = [self.number, text.len() as u8, 1, 0, 0, 0, 0, 0];
            body.number = change.at.into();
            body.ports = [change.port, change.removed].map(U16::from);
            for (to, from) in body.addresses.as_mut_bytes().iter_mut().zip(text) {
                *to = *from;
            }
        }
        zerocopy::transmute!(body)
    }

    /// Reads that of a connection with these tuples; what stands behind is at `at` of the slot.
    pub(super) fn read(
        narrow: &Narrow,
        slot: &[u8],
        at: usize,
        connection: [Tuple; 2],
    ) -> Result<Self, RecordError> {
        let Body { addresses, number: from, ports } = body(slot, at)?;
        let [number, len, has_change, ..] = narrow.tracker;
        let direction = match narrow.state {
            0 => Direction::Original,
            1 => Direction::Reply,
            state => return Err(RecordError::State(state)),
        };
        let text = addresses.as_bytes().get(..usize::from(len)).filter(|text| text.len() <= Text::MAX_BYTES);
        let text = text.ok_or(RecordError::Helper(len))?;
        if connection[0].protocol() != protocol::TCP || has_change > 1 || usize::from(number) >= MAX_CHANGES {
            return Err(RecordError::Helper(number));
        }
        let [port, removed] = ports.map(U16::get);
        let change = Change { at: from.get(), port, removed, inserted: Text::of_bytes(text.iter().copied()) };
        Ok(Self {
            connection,
            direction,
            number,
            before: narrow.mark.get(),
            change: (has_change == 1).then_some(change),
        })
    }
}
