//! Messages over a stream, one behind the other, each as long as it says itself.
//!
//! What is rewritten of them is noted by where it is in the stream, so that it becomes the same whenever it is sent again.

use super::MessageReader;
use super::assembly::{Assembled, MAX_CUTS, MESSAGE_BYTES, Next};
use super::edits::{Edit, Edits, MAX_EDITS};
use super::message_reading::Refused;
use super::reading::{Announcer, Part};
use super::shift::Change;
use super::text::Text;
use crate::entry::Status;
use crate::helper_event::HelperEvent;
use crate::shard::Shard;
use crate::verdict::DropReason;

impl Shard {
    /// Reads a segment.
    ///
    /// # Errors
    /// Why it must not leave.
    pub(super) fn read_messages(
        &mut self,
        part: &Part,
        reader: &MessageReader,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        let Part { announcer, slot, seq, room } = *part;
        let Announcer { direction, helper, is_translated, is_linux, .. } = announcer;
        if is_linux && let Some(read_as_linux) = reader.read_as_linux {
            return read_as_linux(self, part, reader, payload);
        }
        let end = seq.wrapping_add(payload.len() as u32);
        if is_translated && !self.may_rewrite(part, end) {
            return Err(DropReason::HelperPartial);
        }
        let room = room.unwrap_or(i32::MIN);
        let arrived = self.help.arrive_message(slot, direction, seq, payload, room);
        let mut at = arrived.unwrap_or(payload.len());
        loop {
            match self.help.next_message(slot, direction, payload, &mut at, reader.measure) {
                Next::Nothing | Next::Part => break,
                Next::Here(range) => {
                    let seq = seq.wrapping_add(range.start as u32);
                    self.read_message_at(part, reader, &payload[range], seq, None)?;
                }
                Next::Whole => self.read_assembled(part, reader)?,
                Next::Off(event) => self.turn_off(slot, helper, event),
            }
            if self.help.get(slot).is_none_or(|help| help.is_off) {
                return Ok(());
            }
            if is_translated && !self.may_rewrite(part, end) {
                return Err(DropReason::HelperPartial);
            }
        }
        if !is_translated || !self.help.awaits_message(slot, direction, end) {
            return Ok(());
        }
        match self.help.refuse_message(slot, direction, seq) {
            Ok(true) => Err(DropReason::HelperPartial),
            Ok(false) => {
                self.counters.count_event(Some(helper), HelperEvent::TooLong);
                Ok(())
            }
            Err(event) => {
                self.turn_off(slot, helper, event);
                Ok(())
            }
        }
    }

    /// Whether what is new in a segment that ends before `end` may be rewritten, all of it. Else the receiver has to acknowledge something
    /// first.
    fn may_rewrite(&self, part: &Part, end: u32) -> bool {
        let Part { announcer: Announcer { direction, .. }, slot, .. } = *part;
        let has_room = self.help.room_for_changes(slot, direction) >= MAX_EDITS + MAX_CUTS;
        has_room || !self.help.awaits_message(slot, direction, end)
    }

    #[cold]
    #[inline(never)]
    fn read_assembled(&mut self, part: &Part, reader: &MessageReader) -> Result<(), DropReason> {
        let mut message = [0; MESSAGE_BYTES];
        let taken = self.help.take_message(part.slot, part.announcer.direction, &mut message);
        let Some(assembled) = taken else { return Ok(()) };
        self.read_message_at(part, reader, &message[..assembled.len], assembled.seq, Some(&assembled))
    }

    /// Reads a message whose first byte has this number.
    pub(super) fn read_message_at(
        &mut self,
        part: &Part,
        reader: &MessageReader,
        message: &[u8],
        seq: u32,
        assembled: Option<&Assembled>,
    ) -> Result<(), DropReason> {
        let Part { announcer, slot, room, .. } = *part;
        let shift = self.help.shift(slot, announcer.direction).unwrap_or_default();
        let grown = shift.grown_from(part.seq);
        let room = match assembled {
            Some(Assembled { are_all: false, .. }) => None,
            Some(assembled) => room.map(|room| room.min(assembled.room)),
            None => room,
        };
        let mut edits = Edits::new(room.map(|room| room - grown));
        match self.read_whole(&announcer, reader, message, &mut edits) {
            Ok(()) => {
                let cuts = assembled.map_or(&[][..], |assembled| &assembled.cuts);
                self.note_edits(part, &edits, seq, cuts);
                self.help.spend_room(slot, announcer.direction, edits.grown_from(0));
                Ok(())
            }
            Err(Refused::Dropped(reason)) => Err(reason),
            Err(Refused::AsItIs(event)) => {
                self.counters.count_event(Some(announcer.helper), event);
                Ok(())
            }
            Err(Refused::Off(event)) => {
                self.turn_off(slot, announcer.helper, event);
                Ok(())
            }
        }
    }

    /// Takes note of the edits of a message, unless it is one that comes again. A text that was cut stands in the piece where it begins.
    fn note_edits(&mut self, part: &Part, edits: &Edits, seq: u32, cuts: &[u16]) {
        let Part { announcer: Announcer { index, direction, .. }, slot, .. } = *part;
        for Edit { at, removed, inserted } in edits.as_slice() {
            let mut from = *at;
            let mut inserted = *inserted;
            let end = at + removed;
            let inner = cuts.iter().map(|cut| usize::from(*cut)).filter(|cut| (at + 1..end).contains(cut));
            for to in inner.chain([end]) {
                let removed = (to - from) as u16;
                let change = Change { at: seq.wrapping_add(from as u32), port: 0, removed, inserted };
                self.help.note_change(slot, direction, change);
                (from, inserted) = (to, Text::default());
            }
        }
        if edits.as_slice().iter().any(|edit| edit.grown() != 0) {
            self.table.entries.at_mut(index).status.insert(Status::SEQ_ADJUST);
        }
        self.touch(index);
    }
}
