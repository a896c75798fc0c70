//! The windows of a connection: which segments can belong to it.
//!
//! Four conditions decide (G. van Rooij, "Real Stateful TCP Packet Filtering in IP Filter"), with
//! window scaling (RFC 7323) and selective acknowledgements (RFC 2018). The box sees segments before
//! their receiver does and learns of losses late, so the bounds are wider than an endpoint's.

use super::TcpState;
use super::side::Side;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use crate::wire::tcp::{Flags, Options};

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
pub fn highest_sack(options: Options<'_>, ack: u32) -> u32 {
    options.sack_blocks().fold(ack, |sack, (_, right)| if before(sack, right) { right } else { sack })
}

impl Numbers {
    /// The numbers as the conditions need them in `state`.
    #[inline]
    pub fn completed(
        mut self,
        state: TcpState,
        direction: Direction,
        sender: &Side,
        receiver: &Side,
    ) -> Self {
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

    /// How far the segment is within the bound of each of the four conditions; beyond it, modulo 2^32, where the highest bit is
    /// set.
    #[inline(always)]
    fn margins(&self, sender: &Side, receiver: &Side) -> [u32; 4] {
        // I, upper bound of data: it begins in the receiver's window, or right behind it.
        let in_window = sender.max_end.wrapping_sub(self.seq);
        // II, lower bound of data: it ends within the last window that the receiver had.
        let not_old = self.end.wrapping_sub(sender.end.wrapping_sub(receiver.max_window));
        // III, upper bound of acknowledgements: only what was sent.
        let was_sent = receiver.end.wrapping_sub(self.sack);
        // IV, lower bound of acknowledgements: not older than a window.
        let oldest_ack = receiver.end.wrapping_sub(sender.max_window.max(OLD_ACK_BYTES));
        [in_window, not_old, was_sent, self.sack.wrapping_sub(oldest_ack)]
    }

    /// Whether all of them hold where both ends have been heard of.
    #[inline(always)]
    pub fn fits(&self, sender: &Side, receiver: &Side) -> bool {
        let [in_window, not_old, was_sent, ack_not_old] = self.margins(sender, receiver);
        (in_window | not_old | was_sent | ack_not_old).cast_signed() >= 0
    }

    /// Checks the four conditions.
    #[inline]
    pub fn fit(&self, sender: &Side, receiver: &Side) -> Fit {
        let margins = self.margins(sender, receiver);
        let [in_window, not_old, was_sent, ack_not_old] = margins.map(|margin| margin.cast_signed() >= 0);
        // Of one that has not been heard of, no window is known.
        let not_old = not_old || receiver.max_window == 0;

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
