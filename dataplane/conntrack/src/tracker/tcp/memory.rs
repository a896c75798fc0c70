//! What the tracker remembers of a connection, how that begins, and what is learnt from segments that fit its windows.

use super::TcpState;
use super::side::{Side, Traits};
use super::table::SegmentKind;
use super::window::{Fit, Numbers, before, highest_sack};
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use crate::wire::tcp::{Flags, HEADER_BYTES, Segment, TcpOption};
use std::hint::select_unpredictable;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The largest window scale (RFC 7323 section 2.3): a larger one counts as this.
pub const MAX_SCALE: u8 = 14;

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
            TcpOption::Mss(_) | TcpOption::Sack(_) | TcpOption::Other { .. } => {}
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

    /// The numbers of a segment that goes in `direction`. Its SACK blocks are read only if the peer
    /// permitted any.
    #[inline(always)]
    pub fn numbers(&self, segment: &Segment<'_>, direction: Direction) -> Numbers {
        let permitted = self.traits[direction.invert() as usize].contains(Traits::SACK);
        let sack = if permitted && segment.may_have_sack() {
            highest_sack(segment.options(), segment.ack)
        } else {
            segment.ack
        };
        let Segment { flags, seq, ack, window, .. } = *segment;
        Numbers { flags, seq, end: segment.end(), ack, sack, window }
    }

    /// Whether a segment fits a connection that both ends have been heard of.
    pub fn fits(&self, segment: &Segment<'_>, direction: Direction) -> bool {
        let [sender, receiver] = [direction, direction.invert()].map(|way| &self.sides[way as usize]);
        let heard = sender.max_window != 0 && receiver.max_window != 0;
        heard && self.numbers(segment, direction).fit(sender, receiver) == Fit::Fits
    }

    /// Learns from an ACK if it fits a connection that both ends have been heard of; says whether.
    #[inline(always)]
    pub fn follow(&mut self, segment: &Segment<'_>, direction: Direction) -> bool {
        let (own, peer) = (direction as usize, direction.invert() as usize);
        let n = Numbers { flags: Flags::ACK, ..self.numbers(segment, direction) };
        let [sender, receiver] = [&self.sides[own], &self.sides[peer]];
        let fits = sender.max_window != 0 && receiver.max_window != 0 && n.fits(sender, receiver);
        if fits {
            self.learn(&n, SegmentKind::Ack, direction);
        }
        fits
    }

    /// Judges a segment of a connection in `state`, and learns from one that fits. With `liberal` all pass
    /// that do not fit, and nothing is learnt from them.
    #[inline]
    pub fn judge(
        &mut self,
        segment: &Segment<'_>,
        kind: SegmentKind,
        direction: Direction,
        state: TcpState,
        liberal: bool,
    ) -> Fit {
        let (own, peer) = (direction as usize, direction.invert() as usize);
        let n = self.numbers(segment, direction);
        let unheard = self.sides[own].max_window == 0;
        if n.flags.contains(Flags::SYN) {
            let opening = matches!(state, TcpState::SynSent | TcpState::SynRecv);
            if unheard || opening && before(self.sides[own].end, n.end) {
                self.begin_side(segment, &n, direction);
                if kind == SegmentKind::Syn && direction == Direction::Reply {
                    return Fit::Fits;
                }
            }
        } else if unheard {
            self.guess_side(&n, direction);
        }

        let [sender, receiver] = [self.sides[own], self.sides[peer]];
        let n = n.completed(state, direction, &sender, &receiver);
        let mut fit = n.fit(&sender, &receiver);
        if fit == Fit::Invalid(InvalidReason::TcpAck) && self.takes_overshoot(&n, direction) {
            fit = n.fit(&sender, &self.sides[peer]);
        }
        match fit {
            // A reset's window means nothing, and whoever guesses one must not move those of the true ends.
            Fit::Fits if kind == SegmentKind::Rst => {}
            Fit::Fits => self.learn(&n, kind, direction),
            Fit::Overshoot if segment.payload_len > 0 => self.traits[own].insert(Traits::OVERSHOT),
            Fit::Overshoot | Fit::Old | Fit::Invalid(_) => {}
        }
        if liberal || self.traits[own].contains(Traits::LIBERAL) { Fit::Fits } else { fit }
    }

    /// Whether a byte that `direction` has sent may still be on its way: sent and not acknowledged (RFC 5927 section 4.1).
    /// Before anything is acknowledged only a SYN is known to be.
    #[cold]
    pub const fn is_in_flight(&self, seq: u32, direction: Direction) -> bool {
        let (own, peer) = (direction as usize, direction.invert() as usize);
        let end = self.sides[own].end;
        let oldest = if self.traits[peer].contains(Traits::ACKED) {
            self.sides[peer].max_ack
        } else {
            end.wrapping_sub(1)
        };
        !before(seq, oldest) && before(seq, end)
    }

    /// Whether a segment acknowledges data that its receiver sent beyond the window: that it was taken shows only now, and
    /// before that it moves nothing, since anybody can send such data.
    #[cold]
    fn takes_overshoot(&mut self, n: &Numbers, direction: Direction) -> bool {
        let (own, peer) = (direction as usize, direction.invert() as usize);
        let last = self.sides[peer].max_end.wrapping_add(self.sides[own].max_window);
        let takes = self.traits[peer].contains(Traits::OVERSHOT) && before(n.sack, last);
        if takes {
            self.traits[peer].remove(Traits::OVERSHOT);
            self.sides[peer].end = n.sack;
        }
        takes
    }

    /// Begins the sender's side anew with its SYN.
    #[cold]
    fn begin_side(&mut self, segment: &Segment<'_>, numbers: &Numbers, direction: Direction) {
        let own = direction as usize;
        self.sides[own].end = numbers.end;
        self.sides[own].max_end = numbers.end;
        self.sides[own].max_window = u32::from(numbers.window).max(1);
        if usize::from(segment.header_len) > HEADER_BYTES {
            let liberal = self.traits[own].intersection(Traits::LIBERAL);
            (self.scale[own], self.traits[own]) = options(segment);
            self.traits[own].insert(liberal);
        }
        // Scaling holds only if both ends offer it (RFC 7323 section 2.2).
        if direction == Direction::Reply && !self.traits.iter().all(|t| t.contains(Traits::SCALES)) {
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

    /// Learns from a segment that fits.
    #[inline(always)]
    fn learn(&mut self, n: &Numbers, kind: SegmentKind, direction: Direction) {
        let (own, peer) = (direction as usize, direction.invert() as usize);
        // The window of a SYN is never scaled (RFC 7323 section 2.2).
        let scale = if n.flags.contains(Flags::SYN) { 0 } else { self.scale[own] };
        let window = u32::from(n.window) << scale;

        let sender = &mut self.sides[own];
        let max_end = sender.max_end;
        sender.max_window = sender.max_window.max(window.wrapping_add(n.sack.wrapping_sub(n.ack)));
        if before(sender.end, n.end) {
            sender.end = n.end;
            self.traits[own].insert(Traits::UNACKNOWLEDGED);
        }
        if n.flags.contains(Flags::ACK)
            && (!self.traits[own].contains(Traits::ACKED) || before(sender.max_ack, n.ack))
        {
            sender.max_ack = n.ack;
            self.traits[own].insert(Traits::ACKED);
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
            self.traits[peer].remove(Traits::UNACKNOWLEDGED);
        }

        if kind == SegmentKind::Ack {
            self.count_retransmission(n, direction);
        }
    }

    /// Counts how often the same ACK, with its data, has come.
    #[inline(always)]
    fn count_retransmission(&mut self, n: &Numbers, direction: Direction) {
        // Directions come in no order that a branch could learn: all is compared.
        let again = (self.last.direction_bit() == direction as u8)
            & (self.last_seq == n.seq)
            & (self.last_ack == n.ack)
            & (self.last_end == n.end)
            & (self.last_window == n.window);
        self.retransmissions = select_unpredictable(again, self.retransmissions.saturating_add(1), 0);
        self.last_seq = n.seq;
        self.last_ack = n.ack;
        self.last_end = n.end;
        self.last_window = n.window;
    }
}
