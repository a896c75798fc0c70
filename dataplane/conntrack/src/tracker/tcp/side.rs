//! One end of a connection, as far as its segments tell.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What one end has sent and said. Sequence numbers of its own but for `max_ack`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Side {
    /// Right behind the last byte it has sent.
    pub end: u32,
    /// Right behind the last byte that its peer has room for.
    pub max_end: u32,
    /// The largest window it has announced, in bytes; 0 until it has sent anything.
    pub max_window: u32,
    /// The highest acknowledgement it has sent.
    pub max_ack: u32,
}

/// Properties of one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Traits(u8);

bitflags! {
    impl Traits: u8 {
        /// Its SYN offered window scaling.
        const SCALES = 1 << 0;
        /// Its SYN permitted SACK.
        const SACK = 1 << 1;
        /// Segments of it were not seen, its SYN for one: those outside the window pass.
        const LIBERAL = 1 << 2;
        /// Its FIN was the first.
        const CLOSED_FIRST = 1 << 3;
        /// It has sent data that is not acknowledged yet.
        const UNACKNOWLEDGED = 1 << 4;
        /// `max_ack` is known.
        const ACKED = 1 << 5;
        /// It has sent data beyond its window, which its peer may take or not.
        const OVERSHOT = 1 << 6;

        /// What another box is told.
        const TOLD = Self::SCALES.bits() | Self::SACK.bits() | Self::CLOSED_FIRST.bits();
    }
}
