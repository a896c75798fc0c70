//! The helper stage: reads the packets of connections that have a helper, expects what they announce, and rewrites them.
//!
//! A packet comes here when the policy lets it pass, and before its addresses are translated: what a helper reads is what its
//! sender has written.

use super::found::{Announced, Found, Match, Mention};
use super::help::{Help, InLine};
use super::payload;
use super::shift::{Change, Edge, MAX_CHANGES};
use super::slots::Place;
use super::stream::{Arrival, LINE_BYTES};
use super::{Assigned, HelperId, LinuxReader, Reads, Segments, StreamReader};
use crate::entry::Status;
use crate::frame::Frame;
use crate::headers::{Headers, Packet};
use crate::helper_event::HelperEvent;
use crate::ids::PortId;
use crate::settings::Preset;
use crate::shard::Shard;
use crate::tracker::tcp::TcpState;
use crate::tuple::{Direction, protocol};
use crate::verdict::DropReason;
use crate::wire::segments;
use crate::wire::tcp::{Flags, LONGEST_HEADER, Segment};
use std::ops::Range;

/// The packet that a helper reads, as one of its connection.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// The connection's entry.
    pub(super) index: u32,
    pub(super) direction: Direction,
    pub(super) helper: HelperId,
    pub(super) reader: &'static StreamReader,
    /// How Linux reads it, if that is how it is to be read.
    pub(super) linux: Option<&'static LinuxReader>,
    pub(super) loose: bool,
    /// What is kept of it.
    pub(super) place: Place,
    /// Whether the connection is translated, and with it what it announces.
    pub(super) is_translated: bool,
    /// The sequence number that its payload begins with.
    pub(super) seq: u32,
    /// By how many bytes it may grow; `None` where it must not be edited.
    pub(super) room: Option<i32>,
}

impl Shard {
    /// Reads a packet of the entry at `index`, which has a helper, and rewrites its text and its numbers. It leaves by `egress`.
    ///
    /// # Errors
    /// Why it must not leave.
    #[inline(never)]
    pub(crate) fn help<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &mut Headers,
        index: u32,
        direction: Direction,
        egress: PortId,
    ) -> Result<(), DropReason> {
        match headers.protocol {
            protocol::TCP => self.help_segment(frame, headers, index, direction, egress),
            protocol::UDP => self.help_datagram(frame, headers, index, direction, egress),
            _ => Ok(()),
        }
    }

    /// A packet with the numbers that its connection's ends know: those of what the other end acknowledges moved back. Its L4 header
    /// alone is copied to `header`. `None` where that is no whole TCP header.
    pub(crate) fn as_sent<'a>(
        &self,
        index: u32,
        packet: Packet<'_>,
        direction: Direction,
        header: &'a mut [u8; LONGEST_HEADER],
    ) -> Option<(Headers, &'a [u8])> {
        let place = self.table.extension(index)?.help;
        let segment = Segment::parse(&packet)?;
        let header = header.get_mut(..usize::from(segment.header_len))?;
        header.copy_from_slice(packet.l4().get(..header.len())?);
        if segment.flags.contains(Flags::ACK) {
            payload::move_back(header, self.shift(place, direction.invert())?);
        }
        Some((Headers { l4_offset: 0, ..*packet.headers }, header))
    }

    fn help_segment<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &mut Headers,
        index: u32,
        direction: Direction,
        egress: PortId,
    ) -> Result<(), DropReason> {
        let packet = Packet { headers, head: frame.head() };
        let Some(segment) = Segment::parse(&packet) else { return Ok(()) };
        let Segment { seq, ack, flags, header_len, payload_len, .. } = segment;
        let place = self.begin_help(index, direction, &segment);
        if place == Place::NONE || flags.contains(Flags::SYN) {
            return Ok(());
        }
        let l4 = usize::from(headers.l4_offset);
        let start = l4 + usize::from(header_len);
        if payload_len > 0
            && let Some(Assigned { helper, loose }) = self.assigned(index)
        {
            let is_translated = self.table.entries.at(index).is_translated();
            let room = self.room_to_grow(frame, headers, egress);
            let is_linux = self.configuration.settings.preset == Preset::Linux;
            let len = payload_len as usize;
            match &helper.descriptor().reads {
                Reads::Stream(reader) => {
                    let linux = reader.linux.as_ref().filter(|_| is_linux);
                    let reading = Reading {
                        index,
                        direction,
                        helper,
                        reader,
                        linux,
                        loose,
                        place,
                        is_translated,
                        seq,
                        room,
                    };
                    let read = |shard: &mut Self, payload: &[u8]| shard.read_payload(&reading, payload);
                    self.with_payload(frame, start, len, read)?;
                }
                Reads::Turns(_) => {
                    let may_edit = room.is_some();
                    let read = |shard: &mut Self, payload: &[u8]| {
                        shard.read_turn(index, direction, place, seq, may_edit, payload)
                    };
                    self.with_payload(frame, start, len, read)?;
                }
                Reads::Datagrams(_) | Reads::Sip => {}
            }
        }
        if !self.help.get(place).is_some_and(Help::has_changed) {
            if flags.contains(Flags::ACK) {
                self.help.hear_ack(place, direction, ack);
            }
            return Ok(());
        }
        let changes = self.shift(place, direction).map_or(&[][..], |shift| shift.changes_from(seq));
        let within = |change: &&Change| change.at.wrapping_sub(seq) < payload_len;
        let changes = &changes[..changes.iter().take_while(within).count()];
        let texts = changes.iter().map(|change| {
            let at = change.at.wrapping_sub(seq) as usize;
            (at, usize::from(change.removed), change.inserted.as_bytes())
        });
        if !changes.is_empty() && !payload::replace(frame, headers, start, texts) {
            return Err(DropReason::HelperNoRoom);
        }
        let Some(help) = self.help.get_mut(place) else { return Ok(()) };
        let [own, other] = [direction, direction.invert()].map(|way| way as usize);
        help.shifts[own].forget_before(seq);
        let header = frame.head_mut().get_mut(l4..start).unwrap_or_default();
        if !help.shifts[own].is_none() {
            payload::move_forth(header, &help.shifts[own]);
        }
        if flags.contains(Flags::ACK) {
            if !help.shifts[other].is_none() {
                payload::move_back(header, &help.shifts[other]);
            }
            let acknowledged = help.shifts[other].back(ack, Edge::End);
            self.help.hear_ack(place, direction, acknowledged);
        }
        Ok(())
    }

    /// What is kept of a connection whose helper reads it, from its SYN/ACK on or, where it was picked up, from its first data.
    fn begin_help(&mut self, index: u32, direction: Direction, segment: &Segment<'_>) -> Place {
        let Some(&extension) = self.table.extension(index) else { return Place::NONE };
        let Segment { flags, seq, ack, payload_len, .. } = *segment;
        if extension.help != Place::NONE && !flags.contains(Flags::SYN) {
            return extension.help;
        }
        let entry = self.table.entries.at(index);
        let is_opening = entry.state == TcpState::SynRecv as u8;
        let is_answered = entry.status.contains(Status::SEEN_REPLY);
        if flags.contains(Flags::SYN) {
            if payload_len > 0 {
                // The stream begins with what nobody has agreed to take yet (RFC 7413): where, cannot be told.
                self.table.extend(index).is_unread = true;
            }
            let opens = is_opening && flags.contains(Flags::ACK) && direction == Direction::Reply;
            let streams = [ack, seq.wrapping_add(1)];
            let has_begun = self.help.get(extension.help).is_some_and(|help| help.began_with(streams[1]));
            if opens && !has_begun && !extension.is_unread {
                self.help.end(extension.help);
                let place = self.take_help(index);
                if let Some(help) = self.help.get_mut(place) {
                    help.begin_streams(streams);
                }
                return place;
            }
            return extension.help;
        }
        if extension.help == Place::NONE && payload_len > 0 && is_answered && !extension.is_unread {
            return self.take_help(index);
        }
        extension.help
    }

    fn take_help(&mut self, index: u32) -> Place {
        let place = self.help.begin();
        if place == Place::NONE {
            let helper = self.assigned(index).map(|assigned| assigned.helper);
            self.counters.count_event(helper, HelperEvent::NoRoom);
        }
        let extension = self.table.extend(index);
        extension.help = place;
        extension.is_unread = place == Place::NONE;
        place
    }

    pub(super) fn assigned(&self, index: u32) -> Option<Assigned> {
        self.table.extension(index)?.assigned()
    }

    /// By how many bytes a packet may grow on its way out. Of a datagram that came in fragments, those leave as they came.
    pub(super) fn room_to_grow<F: Frame>(&self, frame: &F, headers: &Headers, egress: PortId) -> Option<i32> {
        let largest = self.configuration.forwarding.mtu(egress);
        frame.reassembled().is_none().then(|| i32::from(largest) - headers.l3_len as i32)
    }

    /// Has the payload of a packet read, so many bytes from `start` of the frame on, in however many pieces it lies there.
    pub(super) fn with_payload<F: Frame, R>(
        &mut self,
        frame: &F,
        start: usize,
        len: usize,
        read: impl FnOnce(&mut Self, &[u8]) -> R,
    ) -> R {
        match frame.head().get(start..start + len) {
            Some(payload) => read(self, payload),
            None => {
                let mut scratch = self.help.take_scratch();
                let copied = segments::copy(frame, start as u16, len, &mut scratch);
                let payload = copied.and_then(|copied| scratch.get(..copied)).unwrap_or_default();
                let read = read(self, payload);
                self.help.put_scratch(scratch);
                read
            }
        }
    }

    fn read_payload(&mut self, reading: &Reading, payload: &[u8]) -> Result<(), DropReason> {
        let Reading { place, direction, helper, seq, .. } = *reading;
        let Some(help) = self.help.get(place) else { return Ok(()) };
        let end = seq.wrapping_add(payload.len() as u32);
        if help.shifts[direction as usize].is_cut(seq, end) {
            return Err(DropReason::HelperPartial);
        }
        if help.is_off {
            return Ok(());
        }
        if !self.configuration.helpers.is_on(helper) {
            self.turn_off(reading, HelperEvent::SwitchedOff);
            return Ok(());
        }
        match reading.linux {
            None => self.read_lines(reading, payload),
            Some(linux) => self.read_as_linux(reading, linux, payload),
        }
    }

    /// Reads each line once, in order.
    fn read_lines(&mut self, reading: &Reading, payload: &[u8]) -> Result<(), DropReason> {
        let Reading { direction, reader, place, is_translated, seq, .. } = *reading;
        let may_announce = is_translated.then_some(|piece: &[u8]| (reader.may_announce)(piece, direction));
        match self.help.arrive(place, direction, seq, payload, &reader.delimiter, may_announce) {
            Arrival::Refused => return Err(DropReason::HelperPartial),
            Arrival::GaveUp(event) => {
                self.turn_off(reading, event);
                return Ok(());
            }
            Arrival::Read(at) => self.read_from(reading, payload, at)?,
        }
        if self.help.has_early(place, direction) { self.read_early(reading) } else { Ok(()) }
    }

    /// Reads what came too early, as far as its turn has come.
    #[cold]
    fn read_early(&mut self, reading: &Reading) -> Result<(), DropReason> {
        let mut early = [0; LINE_BYTES];
        while let Some((payload, at)) = self.help.next_early(reading.place, reading.direction, &mut early) {
            self.read_from(reading, payload, at)?;
        }
        Ok(())
    }

    /// Reads a payload from this byte on.
    fn read_from(&mut self, reading: &Reading, payload: &[u8], mut at: usize) -> Result<(), DropReason> {
        let Reading { direction, reader, place, .. } = *reading;
        let mut announcements = 0;
        while let Some(InLine { found, start }) =
            self.help.next_found(place, reader, direction, payload, &mut at)
        {
            match found {
                Found::Nothing | Found::Body(_) => {}
                Found::Off(event) => {
                    self.turn_off(reading, event);
                    return Ok(());
                }
                Found::Announced(_) | Found::Mentioned(_) if announcements == MAX_CHANGES => {
                    self.turn_off(reading, HelperEvent::TooMany);
                    return Ok(());
                }
                Found::Call(message) => self.read_call(reading, payload, &message, start)?,
                Found::Announced(announced) => {
                    announcements += 1;
                    self.announce_in(reading, payload, &announced, start)?;
                }
                Found::Mentioned(mentions) => {
                    announcements += 1;
                    for mention in mentions.iter() {
                        self.read_mention(reading, payload, mention, start)?;
                    }
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
        let (at, text) = text_at(payload, &announced.place, start);
        self.announce(reading, announced, reading.seq.wrapping_add(at), text)
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
        if let (at, Some(text)) = text_at(payload, mention.place(), start) {
            self.translate_mention(reading, mention, reading.seq.wrapping_add(at), text);
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
        let Reading { index, direction, place, seq, .. } = *reading;
        let family = self.table.entries.at(index).selector.family();
        let Some(help) = self.help.get_mut(place) else { return Ok(()) };
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
                let text = payload.get(announced.place.clone());
                self.announce(reading, &announced, seq.wrapping_add(announced.place.start as u32), text)
            }
        }
    }

    fn turn_off(&mut self, reading: &Reading, event: HelperEvent) {
        self.help.turn_off(reading.place);
        self.counters.count_event(Some(reading.helper), event);
    }
}

/// A text of a line that begins there in the payload, or before it: how far from the payload's begin, modulo 2^32, and the text if it
/// has all of it.
pub(super) fn text_at<'a>(payload: &'a [u8], place: &Range<usize>, start: isize) -> (u32, Option<&'a [u8]>) {
    let [from, to] = [place.start, place.end].map(|edge| edge as isize + start);
    let text = usize::try_from(from).ok().and_then(|from| payload.get(from..to as usize));
    (from as u32, text)
}
