//! The helper stage: reads the packets of connections that have a helper, expects what they announce, and rewrites them.
//!
//! A packet comes here when the policy lets it pass, and before its addresses are translated: what a helper reads is what its
//! sender has written.

use super::help::Help;
use super::payload;
use super::reading::{Announcer, Part, Reading};
use super::shift::{Change, Edge};
use super::slots::Slot;
use super::{Assigned, Descriptor, HelperId, MessageReader, Reads};
use crate::entry::Status;
use crate::frame::Frame;
use crate::headers::{Headers, Packet};
use crate::helper_event::HelperEvent;
use crate::ids::PortId;
use crate::mss_clamp;
use crate::shard::Shard;
use crate::tracker::tcp::TcpState;
use crate::tuple::{Direction, protocol};
use crate::verdict::DropReason;
use crate::wire::segments;
use crate::wire::tcp::{self, Flags, LONGEST_HEADER, Segment};
use std::ops::Range;

/// By how many bytes segments of long messages may grow: a dozen addresses of IPv6, each by half of its longest text.
const ROOM_BYTES: u16 = 256;

impl Shard {
    /// Reads a packet of the entry at `index`, which has a helper, and rewrites its text and its numbers. It leaves by `egress`.
    ///
    /// # Errors
    /// Why it must not leave.
    #[inline(always)]
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
        let slot = self.table.extension(index)?.help;
        let segment = Segment::parse(&packet)?;
        let header = header.get_mut(..usize::from(segment.header_len))?;
        header.copy_from_slice(packet.l4().get(..header.len())?);
        if segment.flags.contains(Flags::ACK) {
            payload::move_back(header, self.help.shift(slot, direction.invert())?);
        }
        Some((Headers { l4_offset: 0, ..*packet.headers }, header))
    }

    #[inline(always)]
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
        let Some(&extension) = self.table.extension(index) else { return Ok(()) };
        let slot = if extension.help == Slot::NONE || flags.contains(Flags::SYN) {
            self.begin_help(index, direction, &segment)
        } else {
            extension.help
        };
        if flags.contains(Flags::SYN) {
            self.leave_room(frame, headers, header_len, index, egress);
            return Ok(());
        }
        if slot == Slot::NONE {
            return Ok(());
        }
        let start = usize::from(headers.l4_offset) + usize::from(header_len);
        if payload_len > 0
            && let Some(assigned) = extension.assigned()
        {
            let payload = start..start + payload_len as usize;
            match &Descriptor::of(assigned.helper).reads {
                Reads::Stream(reader) => {
                    let linux = reader.in_linux(self.configuration.settings.preset);
                    let announcer = Announcer {
                        is_linux: linux.is_some(),
                        knows_outside: linux.is_none_or(|linux| linux.knows_outside),
                        ..self.announcer(index, direction, assigned)
                    };
                    let room = self.room_to_grow(frame, headers, egress);
                    let part = Part { announcer, slot, seq, room };
                    self.read_text(frame, payload, &Reading { part, reader, linux })?;
                }
                Reads::Turns(_) | Reads::Messages(_) => {
                    let announcer = self.announcer(index, direction, assigned);
                    let room = self.room_to_grow(frame, headers, egress);
                    self.read_part(frame, payload, &Part { announcer, slot, seq, room })?;
                }
                Reads::Datagrams(_) => {}
            }
        }
        if self.help.get(slot).is_some_and(Help::has_changed) {
            return self.shift_segment(frame, headers, slot, direction, start, payload_len);
        }
        if flags.contains(Flags::ACK) {
            self.help.hear_ack(slot, direction, ack);
        }
        Ok(())
    }

    /// Reads the payload of a segment, which lies there in the frame.
    #[inline(never)]
    fn read_part<F: Frame>(
        &mut self,
        frame: &F,
        payload: Range<usize>,
        part: &Part,
    ) -> Result<(), DropReason> {
        let Part { announcer: Announcer { direction, helper, .. }, slot, seq, .. } = *part;
        if !self.is_read(slot, direction, helper, seq, payload.len())? {
            return Ok(());
        }
        self.with_payload(frame, payload.start, payload.len(), |shard, payload| {
            match &Descriptor::of(helper).reads {
                Reads::Turns(reader) => shard.read_turn(part, reader, payload),
                Reads::Messages(reader) => shard.read_messages(part, reader, payload),
                Reads::Stream(_) | Reads::Datagrams(_) => Ok(()),
            }
        })
    }

    /// Whether a segment of so many bytes from `seq` on is to be read.
    ///
    /// # Errors
    /// When it has a part of a text that was rewritten.
    pub(super) fn is_read(
        &mut self,
        slot: Slot,
        direction: Direction,
        helper: HelperId,
        seq: u32,
        len: usize,
    ) -> Result<bool, DropReason> {
        let Some(help) = self.help.get(slot) else { return Ok(false) };
        let is_off = help.is_off;
        if self.help.shift(slot, direction).is_some_and(|it| it.is_cut(seq, seq.wrapping_add(len as u32))) {
            return Err(DropReason::HelperPartial);
        }
        let is_on = self.configuration.helpers.is_on(helper);
        if !is_off && !is_on {
            self.turn_off(slot, helper, HelperEvent::SwitchedOff);
        }
        Ok(!is_off && is_on)
    }

    /// The helper reads nothing more of a connection.
    pub(super) fn turn_off(&mut self, slot: Slot, helper: HelperId, event: HelperEvent) {
        self.help.turn_off(slot);
        self.counters.count_event(Some(helper), event);
    }

    /// Rewrites the text of a segment whose payload begins at `start` of the frame, and moves its numbers by what was rewritten in
    /// its stream and in the other one.
    #[inline(never)]
    fn shift_segment<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &mut Headers,
        slot: Slot,
        direction: Direction,
        start: usize,
        payload_len: u32,
    ) -> Result<(), DropReason> {
        let Some(Segment { seq, ack, flags, .. }) = Segment::parse(&Packet { headers, head: frame.head() })
        else {
            return Ok(());
        };
        let shift = self.help.shift(slot, direction).unwrap_or_default();
        // What this segment completed may have begun in one that was sent in other pieces.
        if shift.is_cut(seq, seq.wrapping_add(payload_len)) {
            return Err(DropReason::HelperPartial);
        }
        let changes = shift.changes_from(seq);
        let within = |change: &&Change| change.at.wrapping_sub(seq) < payload_len;
        let changes = &changes[..changes.iter().take_while(within).count()];
        let texts = changes.iter().map(|change| {
            let at = change.at.wrapping_sub(seq) as usize;
            (at, usize::from(change.removed), change.inserted.as_bytes())
        });
        if !changes.is_empty() && !payload::replace(frame, headers, start, texts) {
            return Err(DropReason::HelperNoRoom);
        }
        self.help.forget_changes_before(slot, direction, seq);
        let [own, other] =
            [direction, direction.invert()].map(|way| self.help.shift(slot, way).unwrap_or_default());
        let header = frame.head_mut().get_mut(usize::from(headers.l4_offset)..start).unwrap_or_default();
        if !own.is_none() {
            payload::move_forth(header, own);
        }
        if flags.contains(Flags::ACK) {
            if !other.is_none() {
                payload::move_back(header, other);
            }
            let acknowledged = other.back(ack, Edge::End);
            self.help.hear_ack(slot, direction, acknowledged);
        }
        Ok(())
    }

    /// Has the ends of a translated connection of long messages send segments that may grow: SYNs offer to take shorter ones.
    #[cold]
    fn leave_room<F: Frame>(
        &self,
        frame: &mut F,
        headers: &Headers,
        header_len: u8,
        index: u32,
        egress: PortId,
    ) {
        let helper = self.assigned(index).map(|assigned| assigned.helper);
        let may_grow = |reads: &Reads| matches!(reads, Reads::Messages(MessageReader { may_grow: true, .. }));
        let grows = helper.is_some_and(|helper| may_grow(&Descriptor::of(helper).reads));
        if grows && self.table.entries.at(index).is_translated() {
            let mtu =
                [frame.port(), egress].map(|port| self.configuration.forwarding.mtu(port)).into_iter().min();
            let headers_len = headers.l3_len as u16 - headers.l4_len as u16 + tcp::HEADER_BYTES as u16;
            let limit = mtu.unwrap_or_default().saturating_sub(headers_len + ROOM_BYTES);
            mss_clamp::lower_offer(frame, headers, header_len, limit);
        }
    }

    /// What is kept of a connection whose helper reads it, from its SYN/ACK on or, where it was picked up, from its first data.
    #[inline(never)]
    fn begin_help(&mut self, index: u32, direction: Direction, segment: &Segment<'_>) -> Slot {
        let Some(&extension) = self.table.extension(index) else { return Slot::NONE };
        let Segment { flags, seq, ack, payload_len, .. } = *segment;
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
                let slot = self.take_help(index);
                if let Some(help) = self.help.get_mut(slot) {
                    help.begin_streams(streams);
                }
                return slot;
            }
            return extension.help;
        }
        if extension.help == Slot::NONE && payload_len > 0 && is_answered && !extension.is_unread {
            return self.take_help(index);
        }
        extension.help
    }

    pub(crate) fn take_help(&mut self, index: u32) -> Slot {
        let slot = self.help.begin();
        if slot == Slot::NONE {
            let helper = self.assigned(index).map(|assigned| assigned.helper);
            self.counters.count_event(helper, HelperEvent::NoRoom);
        }
        let extension = self.table.extend(index);
        extension.help = slot;
        extension.is_unread = slot == Slot::NONE;
        slot
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
}
