//! The windows of a connection: which segments can belong to it.
//!
//! Four conditions decide (G. van Rooij, "Real Stateful TCP Packet Filtering in IP Filter"), with
//! window scaling (RFC 7323) and selective acknowledgements (RFC 2018). The box sees segments before
//! their receiver does and learns of losses late, so the bounds are wider than an endpoint's.

use super::TcpState;
use super::memory::{Side, TcpMemory, Traits, options};
use super::table::SegmentKind;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use crate::wire::tcp::{Flags, HEADER_BYTES, Options, Segment};
use std::hint::select_unpredictable;

/// How far behind an acknowledgement may be at least: a window of the days before scaling.
const OLD_ACK_BYTES: u32 = 66_000;

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
    /// It may be a copy from long ago: it passes and is not counted.
    Old,
    /// It goes a little beyond the window, as some stacks do: it passes and is not counted.
    Overshoot,
    /// It does not belong to the connection.
    Invalid(InvalidReason),
}

/// Whether `a` comes before `b`, modulo 2^32 (RFC 9293 section 3.4).
#[inline]
pub const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// The highest byte that a segment with these options acknowledges, selectively or not.
#[inline(never)]
fn highest_sack(options: Options<'_>, ack: u32) -> u32 {
    options.sack_blocks().fold(ack, |sack, (_, right)| if before(sack, right) { right } else { sack })
}

impl Numbers {
    /// The numbers as the conditions need them in `state`.
    #[inline]
    fn completed(mut self, state: TcpState, direction: Direction, sender: &Side, receiver: &Side) -> Self {
        let rst = self.flags.contains(Flags::RST);
        if !self.flags.contains(Flags::ACK) || (rst && self.ack == 0) {
            // Nothing is acknowledged; some stacks set ACK in a reset all the same.
            self.ack = receiver.end;
            self.sack = receiver.end;
        }
        if rst && self.seq == 0 && state == TcpState::SynSent && direction == Direction::Reply {
            // Refuses the SYN: its sender has no sequence number yet.
            self.seq = sender.end;
            self.end = sender.end;
        }
        self
    }

    /// Checks the four conditions.
    #[inline]
    fn fit(&self, sender: &Side, receiver: &Side) -> Fit {
        // I, upper bound of data: it begins in the receiver's window, or right behind it.
        let in_window = !before(sender.max_end, self.seq);
        // II, lower bound of data: it ends within the last window that the receiver had.
        let not_old =
            receiver.max_window == 0 || !before(self.end, sender.end.wrapping_sub(receiver.max_window));
        // III, upper bound of acknowledgements: only what was sent.
        let was_sent = !before(receiver.end, self.sack);
        // IV, lower bound of acknowledgements: not older than a window.
        let oldest_ack = receiver.end.wrapping_sub(sender.max_window.max(OLD_ACK_BYTES));
        let ack_not_old = !before(self.sack, oldest_ack);

        match (in_window, was_sent, not_old && ack_not_old) {
            (true, true, true) => Fit::Fits,
            (true, true, false) => Fit::Old,
            (true, false, _) => Fit::Invalid(InvalidReason::TcpAck),
            (false, true, true) => {
                let beyond = self.end.wrapping_sub(sender.max_end).wrapping_add(1);
                if beyond <= receiver.max_window {
                    Fit::Overshoot
                } else {
                    Fit::Invalid(InvalidReason::TcpWindow)
                }
            }
            (false, ..) => Fit::Invalid(InvalidReason::TcpWindow),
        }
    }
}

impl TcpMemory {
    /// The numbers of a segment that goes in `direction`. Its SACK blocks are read only if the peer
    /// permitted any.
    #[inline]
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

    /// Learns from an ACK if it fits a connection that both ends have been heard of; says whether.
    #[inline]
    pub fn follow(&mut self, segment: &Segment<'_>, direction: Direction) -> bool {
        let (own, peer) = (direction as usize, direction.invert() as usize);
        let n = self.numbers(segment, direction);
        let [sender, receiver] = [&self.sides[own], &self.sides[peer]];
        let heard = sender.max_window != 0 && receiver.max_window != 0;
        let fits = heard && n.fit(sender, receiver) == Fit::Fits;
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
    #[inline]
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
