//! What the tracker remembers of a connection, and how it begins.

use super::table::SegmentKind;
use crate::tuple::Direction;
use crate::wire::tcp::{Segment, TcpOption};
use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The largest window scale (RFC 7323 section 2.3): a larger one counts as this.
const MAX_SCALE: u8 = 14;

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
    }
}

/// Which segment came last: its kind and direction in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Mark(u8);

impl Mark {
    /// The mark of a segment.
    pub const fn of(kind: SegmentKind, direction: Direction) -> Self {
        Self((kind as u8) << 1 | direction as u8)
    }

    /// The direction as a bit.
    pub const fn direction_bit(self) -> u8 {
        self.0 & 1
    }
}

/// All that the tracker remembers of a connection.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TcpMemory {
    /// Both ends, by the direction they send in.
    pub sides: [Side; 2],
    /// Sequence number of the last ACK or ignored segment.
    pub last_seq: u32,
    /// Acknowledgement number of the last ACK, or of the last challenge ACK.
    pub last_ack: u32,
    /// Right behind the last ACK or ignored segment.
    pub last_end: u32,
    /// Window of that segment, not scaled.
    pub last_window: u16,
    /// Window scale of each end.
    pub scale: [u8; 2],
    /// Properties of each end.
    pub traits: [Traits; 2],
    /// The last segment.
    pub last: Mark,
    /// How often the last ACK has come again.
    pub retransmissions: u8,
}

/// The window scale and the traits that the options of a SYN bring.
pub fn options(segment: &Segment<'_>) -> (u8, Traits) {
    let mut scale = 0;
    let mut traits = Traits::default();
    for option in segment.options() {
        match option {
            TcpOption::WindowScale(shift) => {
                scale = shift.min(MAX_SCALE);
                traits.insert(Traits::SCALES);
            }
            TcpOption::SackPermitted => traits.insert(Traits::SACK),
            TcpOption::Sack(_) | TcpOption::Other { .. } => {}
        }
    }
    (scale, traits)
}

impl TcpMemory {
    /// Begins with the first segment seen, which goes in the original direction.
    pub fn begin(&mut self, kind: SegmentKind, segment: &Segment<'_>) {
        let end = segment.end();
        let window = u32::from(segment.window).max(1);
        let room = if kind == SegmentKind::Syn { 0 } else { window };
        self.sides[0] = Side { end, max_end: end.wrapping_add(room), max_window: window, ..Side::default() };
        let with_options = matches!(kind, SegmentKind::Syn | SegmentKind::SynAck);
        (self.scale[0], self.traits[0]) = if with_options { options(segment) } else { Default::default() };
        if kind != SegmentKind::Syn {
            // Whether its SYN permitted SACK is unknown too.
            self.traits.iter_mut().for_each(|traits| traits.insert(Traits::SACK));
            self.lose_track();
        }
    }

    /// Begins with a connection of which no segment was seen.
    pub fn begin_unseen(&mut self) {
        self.traits.iter_mut().for_each(|traits| traits.insert(Traits::SACK));
        self.last = Mark::of(SegmentKind::Ack, Direction::Original);
        self.lose_track();
    }

    /// Segments pass unseen: what is known of the windows is no measure for those that come after.
    pub fn lose_track(&mut self) {
        self.traits.iter_mut().for_each(|traits| traits.insert(Traits::LIBERAL));
    }

    /// Takes over the numbers of a SYN that was ignored, because a SYN/ACK in `direction` answers it.
    #[cold]
    pub fn synchronise(&mut self, direction: Direction, scale: u8, traits: Traits) {
        let (own, peer) = (direction as usize, direction.invert() as usize);
        self.sides[peer].end = self.last_end;
        self.sides[peer].max_end = self.last_end;
        self.sides[peer].max_window = u32::from(self.last_window).max(1);
        self.scale[peer] = scale;
        self.traits[peer] = traits;
        self.sides[own] = Side::default();
        self.scale[own] = 0;
        self.traits[own] = self.traits[own].intersection(Traits::LIBERAL);
    }

    /// Remembers a segment that passes without belonging to the connection.
    pub fn note(&mut self, segment: &Segment<'_>, mark: Mark) {
        self.last = mark;
        self.last_seq = segment.seq;
        self.last_end = segment.end();
        self.last_window = segment.window;
    }
}
