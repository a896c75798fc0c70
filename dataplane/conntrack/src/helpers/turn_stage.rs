//! What comes of turns: the port that one names is expected and, of a translated connection, becomes that outside.

use super::announce::Announcer;
use super::found::{Announced, Form};
use super::shift::Change;
use super::slots::Place;
use super::text::Text;
use super::turns::{HEAD_BYTES, Turn};
use super::{Assigned, Reads, TurnReader};
use crate::helper_event::HelperEvent;
use crate::settings::Preset;
use crate::shard::Shard;
use crate::tuple::Direction;
use crate::verdict::DropReason;

/// Bytes of a port, the last of a head.
const PORT_BYTES: usize = 2;

/// A segment with a part of a turn.
#[derive(Clone, Copy)]
struct InTurn {
    announcer: Announcer,
    reader: &'static TurnReader,
    /// What is kept of the connection.
    place: Place,
    /// The sequence number that its payload begins with.
    seq: u32,
    may_edit: bool,
}

impl Shard {
    /// Reads a segment of the entry at `index`, whose payload begins with sequence number `seq`.
    ///
    /// # Errors
    /// Why it must not leave.
    pub(super) fn read_turn(
        &mut self,
        index: u32,
        direction: Direction,
        place: Place,
        seq: u32,
        may_edit: bool,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        let Some(Assigned { helper, loose }) = self.assigned(index) else { return Ok(()) };
        let Reads::Turns(reader) = &helper.descriptor().reads else { return Ok(()) };
        let is_translated = self.table.entries.at(index).is_translated();
        let is_linux = self.configuration.settings.preset == Preset::Linux;
        let knows_outside = !is_linux;
        let announcer = Announcer { index, direction, helper, loose, is_translated, is_linux, knows_outside };
        self.read_segment(&InTurn { announcer, reader, place, seq, may_edit }, payload)
    }

    fn read_segment(&mut self, segment: &InTurn, payload: &[u8]) -> Result<(), DropReason> {
        let InTurn { announcer, reader, place, seq, .. } = *segment;
        let Announcer { direction, helper, is_linux, is_translated, .. } = announcer;
        let is_on = self.configuration.helpers.is_on(helper);
        let Some(help) = self.help.get_mut(place) else { return Ok(()) };
        if help.shifts[direction as usize].is_cut(seq, seq.wrapping_add(payload.len() as u32)) {
            return Err(DropReason::HelperPartial);
        }
        if help.is_off {
            return Ok(());
        }
        // A port that may have to become another passes in one piece, or when it comes again.
        let is_part = help.turns.ends_within_head(direction, seq, payload.len(), reader.is_asked);
        if is_on && is_translated && is_part && help.turns.refuse(seq) {
            return Err(DropReason::HelperPartial);
        }
        let found = match help.turns.arrive(direction, seq, payload) {
            _ if !is_on => Err(HelperEvent::SwitchedOff),
            _ if is_translated && is_part => Err(HelperEvent::Incomplete),
            Some(turn) => (reader.inspect)(&turn).map(|port| port.map(|port| (turn, port))),
            None => Ok(None),
        };
        match found {
            Ok(None) => Ok(()),
            Ok(Some((turn, port))) => self.expect_in_turn(segment, &turn, port),
            Err(HelperEvent::OtherProtocol) if is_linux => Ok(()),
            Err(event) => {
                self.help.turn_off(place);
                self.counters.count_event(Some(helper), event);
                Ok(())
            }
        }
    }

    /// Expects what a turn names.
    fn expect_in_turn(&mut self, segment: &InTurn, turn: &Turn, port: u16) -> Result<(), DropReason> {
        let InTurn { announcer, place, may_edit, seq, .. } = *segment;
        let Announcer { index, direction, helper, .. } = announcer;
        let last = HEAD_BYTES - PORT_BYTES;
        let announced = Announced { address: None, port, place: last..HEAD_BYTES, form: Form::Port };
        let Some(wanted) = self.wanted_of(&announcer, &announced) else { return Ok(()) };
        if wanted.nat.is_none() {
            return self.expect_announced(index, helper, &wanted);
        }
        let (wanted, [id, _]) = self.expect_outside(index, &wanted, None, None)?;
        let outside = wanted.tuple.selector.dport();
        if outside != port {
            let at = turn.seq.wrapping_add(last as u32);
            let is_here = at.wrapping_sub(seq).cast_signed() >= 0;
            let shift = self.help.get_mut(place).map(|help| &mut help.shifts[direction as usize]);
            let Some(shift) = shift.filter(|shift| may_edit && is_here && !shift.is_full_from(seq)) else {
                id.map(|id| self.unexpect(id));
                self.counters.count_event(Some(helper), HelperEvent::TooLong);
                return Ok(());
            };
            let inserted = Text::of_port(outside);
            shift.note(Change { at, port: outside, removed: PORT_BYTES as u16, inserted });
            self.counters.count_event(Some(helper), HelperEvent::Rewritten);
        }
        self.counters.count_event(Some(helper), HelperEvent::Expected);
        Ok(())
    }
}
