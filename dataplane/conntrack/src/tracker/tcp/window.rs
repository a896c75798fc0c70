//! The windows of a connection: which segments can belong to it.
//!
//! Four conditions decide (G. van Rooij, "Real Stateful TCP Packet Filtering in IP Filter"), with
//! window scaling (RFC 7323) and selective acknowledgements (RFC 2018). The box sees segments before
//! their receiver does and learns of losses late, so the bounds are wider than an endpoint's.

use super::TcpState;
use super::table::Kind;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use crate::wire::tcp::{Flags, HEADER_BYTES, Segment, TcpOption};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How far behind an acknowledgement may be at least: a window of the days before scaling.
const OLD_ACK_BYTES: u32 = 66_000;

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

impl Traits {
    /// Its SYN offered window scaling.
    pub const SCALES: Self = Self(1 << 0);
    /// Its SYN permitted SACK.
    pub const SACK: Self = Self(1 << 1);
    /// Segments of it were not seen, its SYN for one: those outside the window pass.
    pub const LIBERAL: Self = Self(1 << 2);
    /// Its FIN was the first.
    pub const CLOSED_FIRST: Self = Self(1 << 3);
    /// It has sent data that is not acknowledged yet.
    pub const UNACKNOWLEDGED: Self = Self(1 << 4);
    /// `max_ack` is known.
    pub const ACKED: Self = Self(1 << 5);

    /// Whether all of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets those of `other`.
    pub const fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    const fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

/// Which segment came last: its kind and direction in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Mark(u8);

impl Mark {
    /// The mark of a segment.
    pub const fn of(kind: Kind, direction: Direction) -> Self {
        Self((kind as u8) << 1 | direction as u8)
    }

    /// Whether it marks a segment of this kind, of either direction.
    pub const fn is(self, kind: Kind) -> bool {
        self.0 >> 1 == kind as u8
    }

    const fn direction_bit(self) -> u8 {
        self.0 & 1
    }
}

/// All that the tracker remembers of a connection.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Memory {
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

/// The numbers of one segment. Numbers that the box has shifted are shifted back.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Control bits.
    pub flags: Flags,
    /// First sequence number.
    pub seq: u32,
    /// The sequence number behind the segment.
    pub end: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// The highest byte acknowledged or selectively acknowledged.
    pub sack: u32,
    /// Window as sent.
    pub window: u16,
}

/// How a segment fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It belongs to the connection.
    Fits,
    /// It may belong to it, but is old or slightly out of bounds: it passes and is not counted.
    Stray,
    /// It does not belong to it.
    Invalid(InvalidReason),
}

/// Whether `a` comes before `b`, modulo 2^32 (RFC 9293 section 3.4).
#[inline]
pub const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// The window scale and the traits that the options of a SYN bring.
pub fn options(segment: &Segment<'_>) -> (u8, Traits) {
    let mut scale = 0;
    let mut traits = Traits::default();
    for option in segment.options() {
        match option {
            TcpOption::WindowScale(shift) => {
                scale = shift.min(MAX_SCALE);
                traits.set(Traits::SCALES);
            }
            TcpOption::SackPermitted => traits.set(Traits::SACK),
            TcpOption::Sack(_) | TcpOption::Other { .. } => {}
        }
    }
    (scale, traits)
}

impl Memory {
    /// The numbers of a segment that goes in `direction`. Its SACK blocks are read only if the peer
    /// permitted any.
    #[inline]
    pub fn numbers(&self, segment: &Segment<'_>, direction: Direction) -> Numbers {
        let mut sack = segment.ack;
        let permitted = self.traits[direction.invert() as usize].has(Traits::SACK);
        if permitted && usize::from(segment.header_len) > HEADER_BYTES {
            for (_, right) in segment.sack_blocks() {
                if before(sack, right) {
                    sack = right;
                }
            }
        }
        let Segment { flags, seq, ack, window, .. } = *segment;
        Numbers { flags, seq, end: segment.end(), ack, sack, window }
    }

    /// Begins with the first segment seen, which goes in the original direction.
    pub fn begin(&mut self, kind: Kind, segment: &Segment<'_>) {
        let end = segment.end();
        let window = u32::from(segment.window).max(1);
        let room = if kind == Kind::Syn { 0 } else { window };
        self.sides[0] = Side { end, max_end: end.wrapping_add(room), max_window: window, ..Side::default() };
        let with_options = matches!(kind, Kind::Syn | Kind::SynAck);
        (self.scale[0], self.traits[0]) = if with_options { options(segment) } else { Default::default() };
        if kind != Kind::Syn {
            // Whether its SYN permitted SACK is unknown too.
            self.traits.iter_mut().for_each(|traits| traits.set(Traits::SACK));
            self.lose_track();
        }
    }

    /// Segments pass unseen: what is known of the windows is no measure for those that come after.
    pub fn lose_track(&mut self) {
        self.traits.iter_mut().for_each(|traits| traits.set(Traits::LIBERAL));
    }

    /// Begins the sender's side anew with its SYN.
    #[cold]
    fn begin_side(&mut self, segment: &Segment<'_>, numbers: &Numbers, direction: Direction) {
        let own = direction as usize;
        self.sides[own].end = numbers.end;
        self.sides[own].max_end = numbers.end;
        self.sides[own].max_window = u32::from(numbers.window).max(1);
        if usize::from(segment.header_len) > HEADER_BYTES {
            let liberal = self.traits[own].has(Traits::LIBERAL);
            (self.scale[own], self.traits[own]) = options(segment);
            if liberal {
                self.traits[own].set(Traits::LIBERAL);
            }
        }
        // Scaling holds only if both ends offer it (RFC 7323 section 2.2).
        if direction == Direction::Reply && !self.traits.iter().all(|t| t.has(Traits::SCALES)) {
            self.scale = [0; 2];
        }
    }

    /// Begins the sender's side in mid-stream, with what a segment lets guess.
    #[cold]
    fn guess_side(&mut self, numbers: &Numbers, direction: Direction) {
        let (own, peer) = (direction as usize, direction.invert() as usize);
        let window = (u32::from(numbers.window) << self.scale[own]).max(1);
        let side = &mut self.sides[own];
        side.end = numbers.end;
        side.max_end = numbers.end.wrapping_add(window);
        side.max_window = window;
        let peer = &mut self.sides[peer];
        if peer.max_window == 0 {
            // It has not been heard yet: conditions III and IV hold until it is.
            peer.end = numbers.sack;
            peer.max_end = numbers.sack;
        } else if numbers.sack == peer.end.wrapping_add(1) {
            // The answer to a keep-alive probe, whose byte was never sent.
            peer.end = numbers.sack;
        }
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
        self.traits[own] = Traits::default();
    }

    /// Remembers a segment that passes without belonging to the connection.
    pub fn note(&mut self, segment: &Segment<'_>, mark: Mark) {
        self.last = mark;
        self.last_seq = segment.seq;
        self.last_end = segment.end();
        self.last_window = segment.window;
    }

    /// Judges a segment of a connection in `state`, and learns from one that fits. With `liberal` all pass
    /// that are not in order, without anything learnt from them.
    #[inline]
    pub fn judge(
        &mut self,
        segment: &Segment<'_>,
        kind: Kind,
        direction: Direction,
        state: TcpState,
        liberal: bool,
    ) -> Fit {
        let (own, peer) = (direction as usize, direction.invert() as usize);
        let mut n = self.numbers(segment, direction);
        let opening = matches!(state, TcpState::SynSent | TcpState::SynRecv);
        let syn = n.flags.has(Flags::SYN);
        let ack = n.flags.has(Flags::ACK);

        if self.sides[own].max_window == 0 && !syn {
            self.guess_side(&n, direction);
        } else if syn && (self.sides[own].max_window == 0 || opening && before(self.sides[own].end, n.end)) {
            self.begin_side(segment, &n, direction);
            if !ack && direction == Direction::Reply {
                return Fit::Fits;
            }
        }

        let [sender, receiver] = [self.sides[own], self.sides[peer]];
        if !ack || (n.flags.has(Flags::RST) && n.ack == 0) {
            // Nothing is acknowledged; some stacks set ACK in a reset all the same.
            n.ack = receiver.end;
            n.sack = receiver.end;
        }
        if n.flags.has(Flags::RST) && n.seq == 0 && state == TcpState::SynSent {
            // Refuses a SYN: its sender has no sequence number yet.
            n.seq = sender.end;
            n.end = sender.end;
        }

        // II, lower bound of data: it ends within the last window that the receiver had.
        let data_not_old =
            receiver.max_window == 0 || !before(n.end, sender.end.wrapping_sub(receiver.max_window));
        // III, upper bound of acknowledgements: only what was sent.
        let ack_not_beyond = !before(receiver.end, n.sack);
        // IV, lower bound of acknowledgements: not older than a window.
        let oldest_ack = receiver.end.wrapping_sub(sender.max_window.max(OLD_ACK_BYTES));
        let ack_not_old = !before(n.sack, oldest_ack);

        let liberal = liberal || self.traits[own].has(Traits::LIBERAL);
        // I, upper bound of data: it begins in the receiver's window, or right behind it.
        let fit = if before(sender.max_end, n.seq) {
            let overshoot = n.end.wrapping_sub(sender.max_end).wrapping_add(1);
            let slight = overshoot <= receiver.max_window;
            if slight && data_not_old && ack_not_beyond && ack_not_old {
                // Some stacks send more than the window. Should the receiver take it, its
                // acknowledgement must fit.
                self.sides[own].end = n.end;
                self.traits[own].set(Traits::UNACKNOWLEDGED);
                Fit::Stray
            } else {
                Fit::Invalid(InvalidReason::TcpWindow)
            }
        } else if !ack_not_beyond {
            Fit::Invalid(InvalidReason::TcpAck)
        } else if !data_not_old || !ack_not_old {
            Fit::Stray
        } else {
            self.learn(&n, kind, direction);
            Fit::Fits
        };
        if liberal { Fit::Fits } else { fit }
    }

    /// Learns from a segment that fits.
    #[inline]
    fn learn(&mut self, n: &Numbers, kind: Kind, direction: Direction) {
        let (own, peer) = (direction as usize, direction.invert() as usize);
        // The window of a SYN is never scaled (RFC 7323 section 2.2).
        let scale = if n.flags.has(Flags::SYN) { 0 } else { self.scale[own] };
        let window = u32::from(n.window) << scale;

        let sender = &mut self.sides[own];
        let max_end = sender.max_end;
        sender.max_window = sender.max_window.max(window.wrapping_add(n.sack.wrapping_sub(n.ack)));
        if before(sender.end, n.end) {
            sender.end = n.end;
            self.traits[own].set(Traits::UNACKNOWLEDGED);
        }
        if n.flags.has(Flags::ACK) && (!self.traits[own].has(Traits::ACKED) || before(sender.max_ack, n.ack))
        {
            sender.max_ack = n.ack;
            self.traits[own].set(Traits::ACKED);
        }

        let receiver = &mut self.sides[peer];
        if receiver.max_window != 0 && before(max_end, n.end) {
            receiver.max_window = receiver.max_window.wrapping_add(n.end.wrapping_sub(max_end));
        }
        let room = n.sack.wrapping_add(window);
        if !before(room, receiver.max_end) {
            // Into a closed window one byte may be sent to probe it.
            receiver.max_end = room.wrapping_add(u32::from(window == 0));
        }
        if n.ack == receiver.end {
            self.traits[peer].clear(Traits::UNACKNOWLEDGED);
        }

        if kind == Kind::Ack {
            self.count_retransmission(n, direction);
        }
    }

    /// Counts how often the same ACK, with its data, has come.
    #[inline]
    fn count_retransmission(&mut self, n: &Numbers, direction: Direction) {
        let again = self.last.direction_bit() == direction as u8
            && self.last_seq == n.seq
            && self.last_ack == n.ack
            && self.last_end == n.end
            && self.last_window == n.window;
        self.retransmissions = if again { self.retransmissions.saturating_add(1) } else { 0 };
        self.last_seq = n.seq;
        self.last_ack = n.ack;
        self.last_end = n.end;
        self.last_window = n.window;
    }
}
