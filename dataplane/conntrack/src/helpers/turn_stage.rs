//! What comes of turns: the port that one names is expected and, of a translated connection, becomes that outside.

use super::TurnReader;
use super::found::{Announced, Form};
use super::reading::{Announcer, Part};
use super::shift::Change;
use super::text::Text;
use super::turns::{HEAD_BYTES, Turn};
use crate::helper_event::HelperEvent;
use crate::shard::Shard;
use crate::verdict::DropReason;

/// Bytes of a port, the last of a head.
const PORT_BYTES: usize = 2;

impl Shard {
    /// Reads a segment of turns.
    ///
    /// # Errors
    /// Why it must not leave.
    pub(super) fn read_turn(
        &mut self,
        part: &Part,
        reader: &TurnReader,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        let Part { announcer, slot, seq, .. } = *part;
        let Announcer { direction, helper, is_linux, is_translated, .. } = announcer;
        let Some(help) = self.help.get_mut(slot) else { return Ok(()) };
        // A port that may have to become another passes in one piece, or when it comes again.
        let is_part = help.turns.ends_within_head(direction, seq, payload.len(), reader.is_asked);
        if is_translated && is_part && help.turns.refuse(seq) {
            return Err(DropReason::HelperPartial);
        }
        let found = match help.turns.arrive(direction, seq, payload) {
            _ if is_translated && is_part => Err(HelperEvent::Incomplete),
            Some(turn) => (reader.inspect)(&turn).map(|port| port.map(|port| (turn, port))),
            None => Ok(None),
        };
        match found {
            Ok(None) => Ok(()),
            Ok(Some((turn, port))) => self.expect_in_turn(part, &turn, port),
            Err(HelperEvent::OtherProtocol) if is_linux => Ok(()),
            Err(event) => {
                self.turn_off(slot, helper, event);
                Ok(())
            }
        }
    }

    /// Expects what a turn names.
    fn expect_in_turn(&mut self, part: &Part, turn: &Turn, port: u16) -> Result<(), DropReason> {
        let Part { announcer, slot, seq, room } = *part;
        let Announcer { index, direction, helper, .. } = announcer;
        let last = HEAD_BYTES - PORT_BYTES;
        let announced = Announced { address: None, port, range: last..HEAD_BYTES, form: Form::Port };
        let Some(wanted) = self.wanted_of(&announcer, &announced) else { return Ok(()) };
        if wanted.nat.is_none() {
            return self.expect_announced(index, helper, &wanted);
        }
        let (wanted, [id, _]) = self.expect_outside(index, &wanted, None, None)?;
        let outside = wanted.tuple.selector.dport();
        if outside != port {
            let at = turn.seq.wrapping_add(last as u32);
            let change =
                Change { at, port: outside, removed: PORT_BYTES as u16, inserted: Text::of_port(outside) };
            let is_here = at.wrapping_sub(seq).cast_signed() >= 0;
            if room.is_none() || !is_here || !self.help.note_change(slot, direction, change) {
                id.map(|id| self.unexpect(id));
                self.counters.count_event(Some(helper), HelperEvent::TooLong);
                return Ok(());
            }
            self.counters.count_event(Some(helper), HelperEvent::Rewritten);
        }
        self.counters.count_event(Some(helper), HelperEvent::Expected);
        Ok(())
    }
}
