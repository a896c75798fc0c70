//! A stream whose ends take turns: a client asks, and its server answers before it asks again. What counts of each turn is how it
//! begins.

use crate::tuple::Direction;
use zerocopy::FromZeros;

/// Bytes that a turn is told by.
pub(crate) const HEAD_BYTES: usize = 8;

/// Both ends of a connection. All numbers are the senders'.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub(crate) struct Turns {
    /// The next number of each end.
    next: [u32; 2],
    /// How the turn begins, as far as it has come.
    head: [u8; HEAD_BYTES],
    /// Bytes of the turn.
    len: u32,
    /// How the turn before began, and its bytes.
    before: [u8; HEAD_BYTES],
    before_len: u32,
    /// Whether the number of each end is known.
    is_known: [bool; 2],
    /// Whose turn it is, plus one; 0 before anything was said.
    turn: u8,
    /// Whether bytes of the head are missing, or what is in front of it.
    is_lost: bool,
    /// Whether the head was told of.
    is_told: bool,
    /// Whether a turn was told of.
    has_begun: bool,
    /// Whether a part of a head was refused, and with which number it began.
    has_refused: bool,
    refused: u32,
}

/// How a turn begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) direction: Direction,
    pub(crate) head: [u8; HEAD_BYTES],
    /// The number of its first byte.
    pub(crate) seq: u32,
    /// The turn before it, whole: how it begins, and its bytes. Zeros where it is not known.
    pub(crate) before: ([u8; HEAD_BYTES], u32),
    /// Whether it is the first of the connection.
    pub(crate) is_first: bool,
}

impl Turns {
    /// Begins with the first bytes of both ends.
    pub(crate) const fn begin(&mut self, next: [u32; 2]) {
        self.next = next;
        self.is_known = [true; 2];
    }

    /// Whether a segment of this direction that begins at `seq` would end within the head of an answer to what `is_asked` says.
    pub(crate) fn ends_within_head(
        &self,
        direction: Direction,
        seq: u32,
        len: usize,
        is_asked: impl Fn(&[u8; HEAD_BYTES], u32) -> bool,
    ) -> bool {
        let end = direction as usize;
        let new = (seq.wrapping_add(len as u32)).wrapping_sub(self.next[end]).cast_signed();
        let is_answer = direction == Direction::Reply && !self.is_lost && self.is_known[end];
        let (asked, had) = match self.turn {
            turn if turn == end as u8 + 1 => ((&self.before, self.before_len), self.len),
            _ => ((&self.head, self.len), 0),
        };
        is_answer
            && new > 0
            && i64::from(had) + i64::from(new) < HEAD_BYTES as i64
            && is_asked(asked.0, asked.1)
    }

    /// Takes note that a segment was refused, which begins so. False where one that does was before: it has its way.
    pub(crate) fn refuse(&mut self, seq: u32) -> bool {
        let again = self.has_refused && self.refused == seq;
        (self.has_refused, self.refused) = (true, seq);
        !again
    }

    /// Takes in a segment; gives the turn whose head is whole with it.
    pub(crate) fn arrive(&mut self, direction: Direction, seq: u32, payload: &[u8]) -> Option<Turn> {
        let end = direction as usize;
        let ahead = seq.wrapping_sub(self.next[end]).cast_signed();
        let mut new = payload;
        let is_gap = !self.is_known[end] || ahead > 0;
        if !is_gap {
            new = payload.get(ahead.unsigned_abs() as usize..).filter(|new| !new.is_empty())?;
        }
        let start = seq.wrapping_add((payload.len() - new.len()) as u32);
        self.next[end] = seq.wrapping_add(payload.len() as u32);
        // A turn is certain to begin where the other end has spoken, unless something is missing before it.
        let changes = self.turn != end as u8 + 1;
        if changes {
            let is_whole = self.turn != 0 && !self.is_lost;
            (self.before, self.before_len) =
                if is_whole { (self.head, self.len) } else { ([0; HEAD_BYTES], 0) };
            let is_first = self.turn == 0;
            (self.head, self.len) = ([0; HEAD_BYTES], 0);
            self.turn = end as u8 + 1;
            self.is_told = false;
            self.is_lost = is_gap && (self.is_known[end] || is_first);
        } else if is_gap && (self.len as usize) < HEAD_BYTES {
            self.is_lost = true;
        }
        self.is_known[end] = true;
        let had = self.len as usize;
        if let Some(rest) = self.head.get_mut(had..) {
            let taken = rest.len().min(new.len());
            rest[..taken].copy_from_slice(&new[..taken]);
        }
        self.len = self.len.saturating_add(new.len() as u32);
        if self.is_lost || self.is_told || (self.len as usize) < HEAD_BYTES {
            return None;
        }
        self.is_told = true;
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let seq = start.wrapping_sub(had as u32);
        Some(Turn { direction, head: self.head, seq, before: (self.before, self.before_len), is_first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};

    fn begun() -> Turns {
        let mut turns = Turns::new_zeroed();
        turns.begin([100, 500]);
        turns
    }

    fn turn(direction: Direction, head: &[u8; 8], seq: u32, before: (&[u8; 8], u32), is_first: bool) -> Turn {
        Turn { direction, head: *head, seq, before: (*before.0, before.1), is_first }
    }

    #[test]
    fn turns_are_told_by_their_first_bytes_however_those_are_cut() {
        for cut in 1..8 {
            let mut turns = begun();
            assert_eq!(turns.arrive(Original, 100, &b"requests"[..cut]), None);
            assert_eq!(turns.arrive(Original, 100, &b"requests"[..cut]), None, "again");
            let told = turns.arrive(Original, 100 + cut as u32, &b"requests+more"[cut..]);
            assert_eq!(told, Some(turn(Original, b"requests", 100, (&[0; 8], 0), true)));
            assert_eq!(
                turns.arrive(Reply, 500, b"answers."),
                Some(turn(Reply, b"answers.", 500, (b"requests", 13), false))
            );
            assert_eq!(turns.arrive(Reply, 508, b"and more"), None, "it is the same turn");
            assert_eq!(
                turns.arrive(Original, 113, b"next one"),
                Some(turn(Original, b"next one", 113, (b"answers.", 16), false))
            );
        }
    }

    #[test]
    fn a_gap_behind_the_head_is_none_and_one_within_it_hides_the_turn() {
        let mut turns = begun();
        turns.arrive(Original, 100, b"requests");
        turns.arrive(Reply, 500, b"answers.");
        assert_eq!(turns.arrive(Reply, 600, b"later"), None);
        assert_eq!(
            turns.arrive(Original, 108, b"requests").map(|turn| turn.before),
            Some((*b"answers.", 13))
        );
        turns.arrive(Reply, 605, b"ans");
        assert_eq!(turns.arrive(Reply, 610, b"wers and more"), None);
        assert_eq!(turns.arrive(Original, 116, b"requests").map(|turn| turn.before), Some(([0; 8], 0)));
    }

    #[test]
    fn one_that_was_picked_up_is_read_from_the_next_turn_on() {
        let mut turns = Turns::new_zeroed();
        assert_eq!(turns.arrive(Original, 7, b"in the midst"), None);
        assert_eq!(
            turns.arrive(Reply, 9, b"answers."),
            Some(turn(Reply, b"answers.", 9, (&[0; 8], 0), true))
        );
        assert_eq!(turns.arrive(Original, 19, b"requests").map(|turn| turn.before), Some((*b"answers.", 8)));
    }
}
