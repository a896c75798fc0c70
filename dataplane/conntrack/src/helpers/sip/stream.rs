//! SIP over a stream (RFC 3261 section 18.3): messages one behind the other, each as long as its Content-Length says.
//!
//! What is rewritten of them is noted by where it is in the stream, so that it becomes the same whenever it is sent again.

use super::Refused;
use super::message::is_start;
use crate::entry::Status;
use crate::helper_event::HelperEvent;
use crate::helpers::assembly::{Assembled, MAX_CUTS, MESSAGE_BYTES, Next};
use crate::helpers::edits::{Edit, Edits, MAX_EDITS};
use crate::helpers::messages::{self, Extent, Measured};
use crate::helpers::reading::{Announcer, Part};
use crate::helpers::shift::Change;
use crate::helpers::text::Text;
use crate::shard::Shard;
use crate::time::Tick;
use crate::verdict::DropReason;

/// What says how long a body is.
const LENGTH: [&str; 2] = ["Content-Length", "l"];

/// Bytes of the shortest segment that Linux reads.
const SHORTEST_IN_LINUX: usize = "SIP/2.0 200".len();

/// How long the message is that begins so.
fn measure(measured: &mut Measured, bytes: &[u8]) -> Extent {
    messages::measure(measured, bytes, &LENGTH, is_start)
}

/// The same in Linux, which reads what says its length, whatever it is.
fn measure_as_linux(bytes: &[u8]) -> Option<usize> {
    let mut measured = Measured::default();
    match messages::measure(&mut measured, bytes, &LENGTH, |_| true) {
        Extent::Bytes(len) if measured.framing.has_length() && len <= bytes.len() => Some(len),
        _ => None,
    }
}

impl Shard {
    /// Reads a segment.
    ///
    /// # Errors
    /// Why it must not leave.
    pub(in crate::helpers) fn read_sip_part(
        &mut self,
        part: &Part,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        let Part { announcer, slot, seq, room } = *part;
        let Announcer { direction, helper, is_translated, is_linux, .. } = announcer;
        if is_linux {
            return self.read_sip_as_linux(part, payload);
        }
        let end = seq.wrapping_add(payload.len() as u32);
        if is_translated && !self.may_rewrite(part, end) {
            return Err(DropReason::HelperPartial);
        }
        let room = room.unwrap_or(i32::MIN);
        let arrived = self.help.arrive_message(slot, direction, seq, payload, room);
        let mut at = arrived.unwrap_or(payload.len());
        loop {
            match self.help.next_message(slot, direction, payload, &mut at, measure) {
                Next::Nothing | Next::Part => break,
                Next::Here(range) => {
                    let seq = seq.wrapping_add(range.start as u32);
                    self.read_sip_message(part, &payload[range], seq, None)?;
                }
                Next::Whole => self.read_assembled(part)?,
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
    fn read_assembled(&mut self, part: &Part) -> Result<(), DropReason> {
        let mut message = [0; MESSAGE_BYTES];
        let taken = self.help.take_message(part.slot, part.announcer.direction, &mut message);
        let Some(assembled) = taken else { return Ok(()) };
        self.read_sip_message(part, &message[..assembled.len], assembled.seq, Some(&assembled))
    }

    /// Reads each message that the segment has all of, and again when it comes again.
    fn read_sip_as_linux(&mut self, part: &Part, payload: &[u8]) -> Result<(), DropReason> {
        self.refresh(part.announcer.index, Tick::at(self.now).after_ms(super::MASTER_TIMEOUT_S * 1000));
        if payload.len() < SHORTEST_IN_LINUX {
            return Ok(());
        }
        let Part { announcer: Announcer { direction, is_translated, .. }, slot, .. } = *part;
        let mut at = 0;
        while let Some(len) = measure_as_linux(&payload[at..]) {
            let seq = part.seq.wrapping_add(at as u32);
            let shift = self.help.shift(slot, direction).unwrap_or_default();
            let is_known =
                shift.changes_from(seq).first().is_some_and(|it| it.at.wrapping_sub(seq) < len as u32);
            if is_translated && !is_known && self.help.room_for_changes(slot, direction) < MAX_EDITS {
                return Err(DropReason::HelperPartial);
            }
            self.read_sip_message(part, &payload[at..at + len], seq, None)?;
            at += len;
        }
        Ok(())
    }

    /// Reads a message whose first byte has this number.
    fn read_sip_message(
        &mut self,
        part: &Part,
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
        match self.read_sip(&announcer, message, &mut edits) {
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
    }
}
