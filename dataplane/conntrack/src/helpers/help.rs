//! What is kept of the connections that helpers read: Linux's `nf_conn_help` and `nf_conn_seqadj`.

use super::StreamReader;
use super::assembly::{Assembled, Assembly, MESSAGE_BYTES, MessageBuffer, Next};
use super::delimiter::{Delimiter, LINE_BYTES};
use super::found::{Found, HelperMemory, Line};
use super::messages::Measure;
use super::newlines::Newlines;
use super::pptp::calls::Calls;
use super::shift::{Change, ChangeList, Offsets, Seqadj, Shift};
use super::slots::{Slot, Slots};
use super::stream::{Arrival, LineBuffer, ReadLine, Reader};
use super::turns::Turns;
use crate::helper_event::HelperEvent;
use crate::tuple::Direction;
use std::io;
use zerocopy::FromZeros;

/// Connections that the helpers of one shard read at a time, at most. Each takes less than a kilobyte.
const MAX_READ: u32 = 1 << 18;

/// Messages of one shard that came in part, at most.
const MAX_MESSAGES: u32 = 1 << 12;

/// Lines of one shard that came in part, and segments that came too early, at most.
const MAX_BUFFERS: u32 = 1 << 14;

/// What is kept of one of them; arrays of two are by direction.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub(crate) struct Help {
    pub(super) readers: [Reader; 2],
    assemblies: [Assembly; 2],
    pub(super) newlines: [Newlines; 2],
    offsets: [Offsets; 2],
    pub(super) turns: Turns,
    /// The helper's own.
    pub(super) memory: HelperMemory,
    /// That of PPTP.
    pub(super) calls: Calls,
    /// Whether the helper reads nothing more. What it has rewritten stays shifted.
    pub(super) is_off: bool,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct HelpTable {
    helps: Slots<Help>,
    buffers: Slots<LineBuffer>,
    messages: Slots<MessageBuffer>,
    changes: Slots<ChangeList>,
    /// Where a payload in several pieces is put together.
    scratch: Box<[u8]>,
}

/// What was found in a line.
#[derive(Debug)]
pub(super) struct InLine {
    pub(super) found: Found,
    /// Where the line begins in the payload; negative where its begin came before.
    pub(super) start: isize,
}

impl HelpTable {
    /// Room for the connections of a shard with so many entries.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn new(entries: u32) -> io::Result<Self> {
        let scratch = vec![0; usize::from(u16::MAX)].into();
        let (helps, buffers) = (Slots::new(entries.min(MAX_READ))?, Slots::new(entries.min(MAX_BUFFERS))?);
        // A connection may be shifted in both directions.
        let changes = Slots::new(entries.saturating_mul(2).min(MAX_READ))?;
        let messages = Slots::new(entries.min(MAX_MESSAGES))?;
        Ok(Self { helps, buffers, messages, changes, scratch })
    }

    /// Lends the memory where a payload in several pieces is put together.
    pub(super) fn take_scratch(&mut self) -> Box<[u8]> {
        std::mem::take(&mut self.scratch)
    }

    /// Takes it back.
    pub(super) fn put_scratch(&mut self, scratch: Box<[u8]>) {
        self.scratch = scratch;
    }

    /// Takes a slot for a connection of which nothing was read; [`Slot::NONE`] where there is none.
    pub(super) fn begin(&mut self) -> Slot {
        self.helps.take()
    }

    /// The connection has ended, or nothing is kept of it any longer.
    pub(crate) fn end(&mut self, mut slot: Slot) {
        self.release_buffers(slot);
        if let Some(help) = self.helps.get_mut(slot) {
            help.offsets.iter_mut().for_each(|offsets| offsets.end(&mut self.changes));
        }
        self.helps.give_back(&mut slot);
    }

    /// The helper reads nothing more of the connection.
    pub(super) fn turn_off(&mut self, slot: Slot) {
        self.release_buffers(slot);
        if let Some(help) = self.helps.get_mut(slot) {
            help.is_off = true;
        }
    }

    fn release_buffers(&mut self, slot: Slot) {
        if let Some(help) = self.helps.get_mut(slot) {
            help.readers.iter_mut().for_each(|reader| reader.end(&mut self.buffers));
            help.assemblies.iter_mut().for_each(|assembly| assembly.end(&mut self.messages));
        }
    }

    /// What is kept of a connection.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Help> {
        self.helps.get(slot)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Help> {
        self.helps.get_mut(slot)
    }

    /// How the numbers of both directions are shifted; `None` where they are not.
    pub(crate) fn seqadj(&self, slot: Slot) -> Option<[Seqadj; 2]> {
        let seqadj = self.get(slot)?.offsets.each_ref().map(|one| one.shift(&self.changes).seqadj());
        (seqadj != <[Seqadj; 2]>::default()).then_some(seqadj)
    }

    /// How the numbers of one direction are shifted.
    pub(super) fn shift(&self, slot: Slot, direction: Direction) -> Option<Shift<'_>> {
        let help = self.helps.get(slot)?;
        Some(help.offsets[direction as usize].shift(&self.changes))
    }

    /// The changes of one direction that may come again, and by how much what comes before them is moved.
    pub(super) fn unacknowledged(&self, slot: Slot, direction: Direction) -> Option<(u32, &[Change])> {
        let help = self.helps.get(slot)?;
        Some(help.offsets[direction as usize].unacknowledged(&self.changes))
    }

    /// Begins with one direction's numbers moved by so much.
    pub(crate) fn begin_shift(&mut self, slot: Slot, direction: Direction, before: u32) {
        if let Some(help) = self.helps.get_mut(slot) {
            help.offsets[direction as usize].begin(before, &mut self.changes);
        }
    }

    /// Takes note of a change of one direction. False where there is no room for it.
    pub(super) fn note_change(&mut self, slot: Slot, direction: Direction, change: Change) -> bool {
        let help = self.helps.get_mut(slot);
        help.is_some_and(|help| help.offsets[direction as usize].note(change, &mut self.changes))
    }

    /// How many changes of one direction may be noted.
    pub(super) fn room_for_changes(&self, slot: Slot, direction: Direction) -> usize {
        self.helps.get(slot).map_or(0, |help| help.offsets[direction as usize].room(&self.changes))
    }

    /// Forgets what was changed long before this number of one direction.
    pub(super) fn forget_changes_before(&mut self, slot: Slot, direction: Direction, seq: u32) {
        if let Some(help) = self.helps.get_mut(slot) {
            help.offsets[direction as usize].forget_before(seq, &mut self.changes);
        }
    }

    /// Takes in a segment that goes in `direction` and whose payload begins at `seq`.
    pub(super) fn arrive(
        &mut self,
        slot: Slot,
        direction: Direction,
        seq: u32,
        payload: &[u8],
        delimiter: &Delimiter,
        may_announce: Option<impl Fn(&[u8]) -> bool>,
    ) -> Arrival {
        match self.helps.get_mut(slot) {
            Some(help) => help.readers[direction as usize].arrive(
                seq,
                payload,
                delimiter,
                may_announce,
                &mut self.buffers,
            ),
            None => Arrival::Read(payload.len()),
        }
    }

    /// The next line with anything in it, of what a payload brings from `at` on, which moves behind it.
    pub(super) fn next_found(
        &mut self,
        slot: Slot,
        reader: &StreamReader,
        direction: Direction,
        payload: &[u8],
        at: &mut usize,
    ) -> Option<InLine> {
        let help = self.helps.get_mut(slot)?;
        let stream = &mut help.readers[direction as usize];
        loop {
            let ReadLine { bytes, is_first, is_resumed, start } =
                stream.next_line(payload, at, &reader.delimiter, &mut self.buffers)?;
            match (reader.inspect)(&Line { bytes, direction, is_first, is_resumed }, &mut help.memory) {
                Found::Nothing => {}
                Found::Body(bytes) => stream.pass_over(bytes),
                found => return Some(InLine { found, start }),
            }
        }
    }

    /// Whether a segment that goes in `direction` came too early, and waits.
    pub(super) fn has_early(&self, slot: Slot, direction: Direction) -> bool {
        self.helps.get(slot).is_some_and(|help| help.readers[direction as usize].has_early())
    }

    /// The segment that came too early, if its turn has come: copied to `out`, and from which byte on it is to be read.
    pub(super) fn next_early<'a>(
        &mut self,
        slot: Slot,
        direction: Direction,
        out: &'a mut [u8; LINE_BYTES],
    ) -> Option<(&'a [u8], usize)> {
        self.helps.get_mut(slot)?.readers[direction as usize].next_early(out, &mut self.buffers)
    }

    /// Takes in a segment of messages; gives from which of its bytes on it is to be read, or nothing where it is not yet or no more.
    pub(super) fn arrive_message(
        &mut self,
        slot: Slot,
        direction: Direction,
        seq: u32,
        payload: &[u8],
        room: i32,
    ) -> Option<usize> {
        let assembly = &mut self.helps.get_mut(slot)?.assemblies[direction as usize];
        assembly.arrive(seq, payload, room, &mut self.messages)
    }

    /// The next message of what a payload brings from `at` on, which moves behind it.
    pub(super) fn next_message(
        &mut self,
        slot: Slot,
        direction: Direction,
        payload: &[u8],
        at: &mut usize,
        measure: Measure,
    ) -> Next {
        let Some(help) = self.helps.get_mut(slot) else { return Next::Nothing };
        help.assemblies[direction as usize].next(payload, at, measure, &mut self.messages)
    }

    /// Takes note that what was read of a segment of messages grows by so many bytes.
    pub(super) fn spend_room(&mut self, slot: Slot, direction: Direction, grown: i32) {
        if let Some(help) = self.helps.get_mut(slot) {
            help.assemblies[direction as usize].spend(grown);
        }
    }

    /// Takes out a message that was put together.
    pub(super) fn take_message(
        &mut self,
        slot: Slot,
        direction: Direction,
        out: &mut [u8; MESSAGE_BYTES],
    ) -> Option<Assembled> {
        self.helps.get_mut(slot)?.assemblies[direction as usize].take(out, &mut self.messages)
    }

    /// Whether a segment that ends before `end` has a part of a message that is not whole yet.
    pub(super) fn awaits_message(&self, slot: Slot, direction: Direction, end: u32) -> bool {
        self.helps.get(slot).is_some_and(|help| help.assemblies[direction as usize].awaits(end))
    }

    /// Whether such a segment must not pass; an error where nothing more can be read.
    pub(super) fn refuse_message(
        &mut self,
        slot: Slot,
        direction: Direction,
        seq: u32,
    ) -> Result<bool, HelperEvent> {
        let Some(help) = self.helps.get_mut(slot) else { return Ok(false) };
        help.assemblies[direction as usize].refuse(seq, &mut self.messages)
    }

    /// A segment that goes in `direction` acknowledges all that the other side has sent before `ack`, in that side's numbers.
    #[inline(always)]
    pub(super) fn hear_ack(&mut self, slot: Slot, direction: Direction, ack: u32) {
        if let Some(help) = self.helps.get_mut(slot) {
            let other = direction.invert() as usize;
            let (reader, assembly) = (&mut help.readers[other], &mut help.assemblies[other]);
            if reader.misses(ack) {
                reader.hear_ack(ack, &mut self.buffers);
            }
            if assembly.misses(ack) {
                assembly.hear_ack(ack, &mut self.messages);
            }
            help.offsets[other].hear_ack(ack);
        }
    }
}

impl Help {
    /// Begins to read both directions with their first bytes, as a SYN/ACK that goes in the reply direction says.
    pub(super) fn begin_streams(&mut self, [original, reply]: [u32; 2]) {
        self.readers[0].begin(original);
        self.readers[1].begin(reply);
        self.turns.begin([original, reply]);
        self.assemblies[0].begin(original);
        self.assemblies[1].begin(reply);
    }

    /// Whether any text was rewritten.
    pub(super) fn has_changed(&self) -> bool {
        self.offsets.iter().any(|offsets| !offsets.is_none())
    }

    /// Whether not all before `ack` was read of what goes in this direction.
    #[inline(always)]
    pub(super) const fn misses(&self, direction: Direction, ack: u32) -> bool {
        self.readers[direction as usize].misses(ack) || self.assemblies[direction as usize].misses(ack)
    }

    /// Whether it has begun to read with these.
    pub(super) fn began_with(&self, reply: u32) -> bool {
        self.readers[1].next() == reply
    }
}
