//! What is kept of the connections that helpers read: Linux's `nf_conn_help` and `nf_conn_seqadj`.

use super::StreamReader;
use super::delimiter::{Delimiter, LINE_BYTES};
use super::found::{Found, Line, Memory};
use super::newlines::Newlines;
use super::pptp::Calls;
use super::shift::{Seqadj, Shift};
use super::slots::{Place, Slots};
use super::stream::{Arrival, LineBuffer, ReadLine, Reader};
use super::turns::Turns;
use crate::tuple::Direction;
use std::io;
use zerocopy::FromZeros;

/// Connections that the helpers of one shard read at a time, at most. Each takes less than a kilobyte.
const MAX_READ: u32 = 1 << 18;

/// Lines of one shard that came in part, and segments that came too early, at most.
const MAX_BUFFERS: u32 = 1 << 14;

/// What is kept of one of them; arrays of two are by direction.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub(crate) struct Help {
    readers: [Reader; 2],
    pub(super) newlines: [Newlines; 2],
    pub(super) shifts: [Shift; 2],
    pub(super) turns: Turns,
    /// The helper's own.
    memory: Memory,
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
        Ok(Self { helps, buffers, scratch })
    }

    /// Lends the memory where a payload in several pieces is put together.
    pub(super) fn take_scratch(&mut self) -> Box<[u8]> {
        std::mem::take(&mut self.scratch)
    }

    /// Takes it back.
    pub(super) fn put_scratch(&mut self, scratch: Box<[u8]>) {
        self.scratch = scratch;
    }

    /// Takes a place for a connection of which nothing was read; [`Place::NONE`] where there is none.
    pub(super) fn begin(&mut self) -> Place {
        self.helps.take()
    }

    /// The connection has ended, or nothing is kept of it any longer.
    pub(crate) fn end(&mut self, mut place: Place) {
        self.release_buffers(place);
        self.helps.give_back(&mut place);
    }

    /// The helper reads nothing more of the connection.
    pub(super) fn turn_off(&mut self, place: Place) {
        self.release_buffers(place);
        if let Some(help) = self.helps.get_mut(place) {
            help.is_off = true;
        }
    }

    fn release_buffers(&mut self, place: Place) {
        if let Some(help) = self.helps.get_mut(place) {
            help.readers.iter_mut().for_each(|reader| reader.end(&mut self.buffers));
        }
    }

    /// What is kept of a connection.
    pub(crate) fn get(&self, place: Place) -> Option<&Help> {
        self.helps.get(place)
    }

    /// How the numbers of both directions are shifted; `None` where they are not.
    pub(crate) fn seqadj(&self, place: Place) -> Option<[Seqadj; 2]> {
        let seqadj = self.get(place)?.shifts.each_ref().map(Shift::seqadj);
        (seqadj != <[Seqadj; 2]>::default()).then_some(seqadj)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Help> {
        self.helps.get_mut(place)
    }

    /// What is found in a segment that is the next line of its direction, whole and alone, with nothing before it that waits, as
    /// nearly all are. Of any other nothing is read.
    #[inline]
    pub(super) fn find_in_next_line(
        &mut self,
        place: Place,
        reader: &StreamReader,
        direction: Direction,
        seq: u32,
        bytes: &[u8],
    ) -> Option<Found> {
        let help = self.helps.get_mut(place)?;
        let stream = &mut help.readers[direction as usize];
        if help.is_off || !stream.is_at_line(seq, bytes, &reader.delimiter) {
            return None;
        }
        stream.pass_line(bytes);
        let line = Line { bytes, direction, is_first: false, is_resumed: false };
        match (reader.inspect)(&line, &mut help.memory) {
            Found::Nothing => Some(Found::Nothing),
            Found::Body(bytes) => {
                stream.pass_over(bytes);
                Some(Found::Nothing)
            }
            found => Some(found),
        }
    }

    /// Takes in a segment that goes in `direction` and whose payload begins at `seq`.
    pub(super) fn arrive(
        &mut self,
        place: Place,
        direction: Direction,
        seq: u32,
        payload: &[u8],
        delimiter: &Delimiter,
        may_announce: Option<impl Fn(&[u8]) -> bool>,
    ) -> Arrival {
        match self.helps.get_mut(place) {
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
        place: Place,
        reader: &StreamReader,
        direction: Direction,
        payload: &[u8],
        at: &mut usize,
    ) -> Option<InLine> {
        let help = self.helps.get_mut(place)?;
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
    pub(super) fn has_early(&self, place: Place, direction: Direction) -> bool {
        self.helps.get(place).is_some_and(|help| help.readers[direction as usize].has_early())
    }

    /// The segment that came too early, if its turn has come: copied to `out`, and from which byte on it is to be read.
    pub(super) fn next_early<'a>(
        &mut self,
        place: Place,
        direction: Direction,
        out: &'a mut [u8; LINE_BYTES],
    ) -> Option<(&'a [u8], usize)> {
        self.helps.get_mut(place)?.readers[direction as usize].next_early(out, &mut self.buffers)
    }

    /// A segment that goes in `direction` acknowledges all that the other side has sent before `ack`, in that side's numbers.
    pub(super) fn hear_ack(&mut self, place: Place, direction: Direction, ack: u32) {
        if let Some(help) = self.helps.get_mut(place) {
            help.readers[direction.invert() as usize].hear_ack(ack, &mut self.buffers);
        }
    }
}

impl Help {
    /// Begins to read both directions with their first bytes, as a SYN/ACK that goes in the reply direction says.
    pub(super) fn begin_streams(&mut self, [original, reply]: [u32; 2]) {
        self.readers[0].begin(original);
        self.readers[1].begin(reply);
        self.turns.begin([original, reply]);
    }

    /// Whether any text was rewritten.
    pub(super) fn has_changed(&self) -> bool {
        self.shifts.iter().any(|shift| !shift.is_none())
    }

    /// Whether it has begun to read with these.
    pub(super) fn began_with(&self, reply: u32) -> bool {
        self.readers[1].next() == reply
    }
}
