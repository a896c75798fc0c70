//! What comes of lines: each is read once and in order, or as Linux reads them, and what one announces is expected.

use super::delimiter::LINE_BYTES;
use super::found::{Announced, Found, Match, Mention};
use super::help::InLine;
use super::reading::{Announcer, Part, Reading};
use super::stream::Arrival;
use super::{LinuxReader, Segments};
use crate::frame::Frame;
use crate::helper_event::HelperEvent;
use crate::shard::Shard;
use crate::verdict::DropReason;
use std::ops::Range;

/// Lines of one segment that may announce something.
const MAX_ANNOUNCING: usize = 4;

impl Shard {
    /// Reads the payload of a segment, which lies there in the frame, line by line.
    ///
    /// # Errors
    /// Why it must not leave.
    #[inline(never)]
    pub(super) fn read_text<F: Frame>(
        &mut self,
        frame: &F,
        payload: Range<usize>,
        reading: &Reading,
    ) -> Result<(), DropReason> {
        let read = |shard: &mut Self, payload: &[u8]| shard.read_payload(reading, payload);
        self.with_payload(frame, payload.start, payload.len(), read)
    }

    fn read_payload(&mut self, reading: &Reading, payload: &[u8]) -> Result<(), DropReason> {
        let Part { announcer: Announcer { direction, helper, .. }, slot, seq, .. } = reading.part;
        if !self.is_read(slot, direction, helper, seq, payload.len())? {
            return Ok(());
        }
        match reading.linux {
            None => self.read_lines(reading, payload),
            Some(linux) => self.read_as_linux(reading, linux, payload),
        }
    }

    /// Reads each line once, in order.
    fn read_lines(&mut self, reading: &Reading, payload: &[u8]) -> Result<(), DropReason> {
        let Reading { part, reader, .. } = reading;
        let Part { announcer: Announcer { direction, helper, is_translated, .. }, slot, seq, .. } = *part;
        let may_announce = is_translated.then_some(|piece: &[u8]| (reader.may_announce)(piece, direction));
        match self.help.arrive(slot, direction, seq, payload, &reader.delimiter, may_announce) {
            Arrival::Refused => return Err(DropReason::HelperPartial),
            Arrival::GaveUp(event) => {
                self.turn_off(slot, helper, event);
                return Ok(());
            }
            Arrival::Read(at) => self.read_from(reading, payload, at)?,
        }
        if self.help.has_early(slot, direction) { self.read_early(reading) } else { Ok(()) }
    }

    /// Reads what came too early, as far as its turn has come.
    #[cold]
    fn read_early(&mut self, reading: &Reading) -> Result<(), DropReason> {
        let Part { announcer: Announcer { direction, .. }, slot, .. } = reading.part;
        let mut early = [0; LINE_BYTES];
        while let Some((payload, at)) = self.help.next_early(slot, direction, &mut early) {
            self.read_from(reading, payload, at)?;
        }
        Ok(())
    }

    /// Reads a payload from this byte on.
    fn read_from(&mut self, reading: &Reading, payload: &[u8], mut at: usize) -> Result<(), DropReason> {
        let Part { announcer: Announcer { direction, helper, .. }, slot, .. } = reading.part;
        let mut announcements = 0;
        while let Some(InLine { found, start }) =
            self.help.next_found(slot, reading.reader, direction, payload, &mut at)
        {
            let announces = matches!(found, Found::Announced(_) | Found::Mentioned(_));
            if announces && announcements == MAX_ANNOUNCING {
                self.turn_off(slot, helper, HelperEvent::TooMany);
                return Ok(());
            }
            announcements += usize::from(announces);
            self.follow_line(reading, payload, &found, start)?;
            if let Found::Off(_) = found {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Does what was found in a line that begins there in the payload, or before it.
    fn follow_line(
        &mut self,
        reading: &Reading,
        payload: &[u8],
        found: &Found,
        start: isize,
    ) -> Result<(), DropReason> {
        match found {
            Found::Nothing | Found::Body(_) => {}
            Found::Off(event) => self.turn_off(reading.part.slot, reading.part.announcer.helper, *event),
            Found::Call(message) => self.read_call(reading, payload, message, start)?,
            Found::Announced(announced) => self.announce_in(reading, payload, announced, start)?,
            Found::Mentioned(mentions) => {
                for mention in mentions.iter() {
                    self.read_mention(reading, payload, mention, start)?;
                }
            }
        }
        Ok(())
    }

    /// Expects what a line announces that begins there in the payload, or before it.
    fn announce_in(
        &mut self,
        reading: &Reading,
        payload: &[u8],
        announced: &Announced,
        start: isize,
    ) -> Result<(), DropReason> {
        let (at, text) = text_at(payload, &announced.range, start);
        self.announce(reading, announced, reading.part.seq.wrapping_add(at), text)
    }

    /// Does what such a line mentions.
    fn read_mention(
        &mut self,
        reading: &Reading,
        payload: &[u8],
        mention: &Mention,
        start: isize,
    ) -> Result<(), DropReason> {
        if let Mention::Announced(announced) = mention {
            return self.announce_in(reading, payload, announced, start);
        }
        if let (at, Some(text)) = text_at(payload, mention.range(), start) {
            self.translate_mention(reading, mention, reading.part.seq.wrapping_add(at), text);
        }
        Ok(())
    }

    /// Reads a segment as Linux does.
    fn read_as_linux(
        &mut self,
        reading: &Reading,
        linux: &LinuxReader,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        let Part { announcer: Announcer { index, direction, .. }, slot, seq, .. } = reading.part;
        let family = self.table.entries.at(index).selector.family();
        let Some(help) = self.help.get_mut(slot) else { return Ok(()) };
        let newlines = &mut help.newlines[direction as usize];
        let is_read = linux.segments == Segments::All || newlines.begin_at(seq);
        let found = if is_read { (linux.inspect)(payload, direction, family) } else { Match::None };
        if found != Match::Partial && payload.ends_with(b"\n") {
            newlines.note(seq.wrapping_add(payload.len() as u32));
        }
        match found {
            Match::None => Ok(()),
            Match::Partial => Err(DropReason::HelperPartial),
            Match::Full(announced) => {
                let text = payload.get(announced.range.clone());
                self.announce(reading, &announced, seq.wrapping_add(announced.range.start as u32), text)
            }
        }
    }
}

/// A text of a line that begins there in the payload, or before it: how far from the payload's begin, modulo 2^32, and the text if it
/// has all of it.
pub(super) fn text_at<'a>(payload: &'a [u8], range: &Range<usize>, start: isize) -> (u32, Option<&'a [u8]>) {
    let [from, to] = [range.start, range.end].map(|edge| edge as isize + start);
    let text = usize::try_from(from).ok().and_then(|from| payload.get(from..to as usize));
    (from as u32, text)
}
