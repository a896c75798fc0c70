//! A stream read in order, line by line or message by message ([`Delimiter`]): what is said here of lines holds for both.
//!
//! A helper sees complete lines only, each once, from the first byte of its direction on. What has not come yet is waited for:
//! a line that came in part lies in a [`LineBuffer`] until the rest is there, and so does a segment that overtook another.
//! Where bytes are missing for good, or in a session that was picked up in its midst, nothing is read until a segment begins
//! right behind one that ended with a newline: there a line begins for certain. Of binary messages nothing is read any more.

use super::delimiter::{Delimiter, LINE_BYTES};
use super::slots::{Slot, Slots};
use crate::helper_event::HelperEvent;
use zerocopy::FromZeros;

/// What has come of a line, or of a segment that is too early.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub(crate) struct LineBuffer {
    bytes: [u8; LINE_BYTES],
    len: u32,
}

impl LineBuffer {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len as usize).unwrap_or_default()
    }

    /// Appends as much as there is room for.
    fn append(&mut self, more: &[u8]) {
        let room = self.bytes.get_mut(self.len as usize..).unwrap_or_default();
        let taken = more.len().min(room.len());
        room[..taken].copy_from_slice(&more[..taken]);
        self.len += taken as u32;
    }
}

/// A segment that was not let through, since its text might have to be rewritten and could not be yet.
#[derive(Clone, Copy, Debug, Default, FromZeros)]
#[repr(C)]
struct Refused {
    seq: u32,
    /// 0 where there is none.
    len: u32,
}

/// One direction of a connection.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub(crate) struct Reader {
    /// The sequence number of the next byte to be read. All numbers are the sender's.
    next: u32,
    /// Right behind all that has passed unread, if there is anything.
    passed: u32,
    /// How many bytes from `next` on are no lines.
    body: u32,
    /// What has come of the line that `next` is in.
    line: Slot,
    /// A segment that is too early, and its first number.
    early: Slot,
    early_seq: u32,
    refused: Refused,
    /// Whether all up to `next` was read.
    in_order: bool,
    /// Whether anything has passed unread, and whether it ended with a newline: then a line begins behind it.
    has_passed: bool,
    ended_line: bool,
    /// Whether `next` is in a line.
    in_line: bool,
    /// Whether any line was read.
    has_read: bool,
    /// Whether the next line follows something that has passed unread.
    is_resumed: bool,
}

/// What becomes of a segment before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is read from this byte of its payload on, which may be none.
    Read(usize),
    /// It must not pass.
    Refused,
    /// It passes, and the helper is off from here on.
    GaveUp(HelperEvent),
}

/// A line that was read.
#[derive(Debug)]
pub(crate) struct ReadLine<'a> {
    /// Its bytes, the newline included unless it was too long.
    pub(crate) bytes: &'a [u8],
    /// Whether it is the first of its direction.
    pub(crate) is_first: bool,
    /// Whether what was in front of it has passed unread.
    pub(crate) is_resumed: bool,
    /// Where it begins in the payload; negative where its begin came before.
    pub(crate) start: isize,
}

impl Reader {
    /// Begins to read with the first byte of a stream.
    pub(crate) const fn begin(&mut self, seq: u32) {
        self.next = seq;
        self.in_order = true;
    }

    /// The sequence number of the next byte to be read.
    pub(crate) const fn next(&self) -> u32 {
        self.next
    }

    /// Gives back what it holds.
    pub(crate) fn end(&mut self, buffers: &mut Slots<LineBuffer>) {
        buffers.give_back(&mut self.line);
        buffers.give_back(&mut self.early);
    }

    /// Takes a segment in whose payload begins at `seq`. One of a connection whose text may be rewritten, as `may_announce` says of
    /// the begin of a line, must not pass in part or too early: refused twice there, it has its way.
    pub(crate) fn arrive(
        &mut self,
        seq: u32,
        payload: &[u8],
        delimiter: &Delimiter,
        may_announce: Option<impl Fn(&[u8]) -> bool>,
        buffers: &mut Slots<LineBuffer>,
    ) -> Arrival {
        let end = seq.wrapping_add(payload.len() as u32);
        let nothing = Arrival::Read(payload.len());
        if !self.in_order {
            if !self.ended_line || self.passed != seq {
                self.pass_unread(end, delimiter.ends(payload));
                return nothing;
            }
            self.begin(seq);
            self.body = 0;
            self.in_line = false;
            self.has_read = true;
            self.is_resumed = true;
        }
        let ahead = seq.wrapping_sub(self.next).cast_signed();
        if ahead > 0 {
            if may_announce.is_some() {
                return self.refuse(seq, payload.len());
            }
            self.keep_early(seq, payload, buffers);
            self.pass_unread(end, delimiter.ends(payload));
            return nothing;
        }
        let read = ahead.unsigned_abs() as usize;
        let Some(new) = payload.get(read..).filter(|new| !new.is_empty()) else { return nothing };
        let new = new.get(self.body as usize..).unwrap_or_default();
        let rest_of_line = delimiter.unfinished(self.begun(buffers), new);
        let (piece, begins) = (&new[rest_of_line..], rest_of_line > 0 || !self.in_line);
        if begins && !piece.is_empty() && may_announce.is_some_and(|may_announce| may_announce(piece)) {
            return self.refuse(seq, payload.len());
        }
        self.refused = Refused::default();
        Arrival::Read(read)
    }

    /// The next line that is complete with what a payload brings from `at` on, which moves behind it; `None` at its end.
    pub(crate) fn next_line<'a>(
        &mut self,
        payload: &'a [u8],
        at: &mut usize,
        delimiter: &Delimiter,
        buffers: &'a mut Slots<LineBuffer>,
    ) -> Option<ReadLine<'a>> {
        if !self.in_line {
            buffers.give_back(&mut self.line);
        }
        let passed = payload.len().saturating_sub(*at).min(self.body as usize);
        *at += passed;
        self.next = self.next.wrapping_add(passed as u32);
        self.body -= passed as u32;
        let start = *at;
        let rest = payload.get(start..).filter(|rest| !rest.is_empty())?;
        let end = delimiter.end(self.begun(buffers), rest);
        let (text, _) = rest.split_at(end.unwrap_or(rest.len()));
        *at += text.len();
        self.next = self.next.wrapping_add(text.len() as u32);
        let in_part = std::mem::replace(&mut self.in_line, end.is_none());
        if end.is_some() && !in_part {
            let [is_first, is_resumed] = self.note_line();
            return Some(ReadLine { bytes: text, is_first, is_resumed, start: start as isize });
        }
        if !in_part {
            self.line = buffers.take();
        }
        let before = buffers.get_mut(self.line).map(|buffer| {
            let before = buffer.len;
            buffer.append(text);
            before
        });
        end?;
        let [is_first, is_resumed] = self.note_line();
        // Without room for its begin a line is not read.
        let Some(before) = before else { return self.next_line(payload, at, delimiter, buffers) };
        let bytes = buffers.get(self.line).map_or(&[][..], LineBuffer::bytes);
        Some(ReadLine { bytes, is_first, is_resumed, start: start as isize - before as isize })
    }

    /// What has come of the line that the next byte is in.
    fn begun<'a>(&self, buffers: &'a Slots<LineBuffer>) -> &'a [u8] {
        buffers.get(self.line).filter(|_| self.in_line).map_or(&[], LineBuffer::bytes)
    }

    /// Whether a payload that begins at `seq` is the next line, whole and alone, not the first one, and nothing else waits.
    #[inline(always)]
    pub(crate) fn is_at_line(&self, seq: u32, payload: &[u8], delimiter: &Delimiter) -> bool {
        let Self { in_order, in_line, has_read, is_resumed, .. } = *self;
        // All at once: nearly always each is true.
        let waits = self.body | self.line.number() | self.early.number() | self.next ^ seq;
        (in_order & has_read & !(in_line | is_resumed) & (waits == 0))
            && delimiter.end(&[], payload) == Some(payload.len())
    }

    /// Passes over that.
    #[inline]
    pub(crate) const fn pass_line(&mut self, line: &[u8]) {
        self.next = self.next.wrapping_add(line.len() as u32);
        self.refused = Refused { seq: 0, len: 0 };
    }

    /// Passes over so many bytes from the next one on, which are no lines.
    pub(crate) const fn pass_over(&mut self, bytes: u32) {
        self.body = bytes;
    }

    /// Takes note that a line is read: whether it is the first, and whether it follows what has passed unread.
    const fn note_line(&mut self) -> [bool; 2] {
        let is_first = !std::mem::replace(&mut self.has_read, true);
        [is_first, std::mem::replace(&mut self.is_resumed, false)]
    }

    /// Whether a segment that came too early waits.
    pub(crate) fn has_early(&self) -> bool {
        self.early != Slot::NONE
    }

    /// The segment that came too early, if its turn has come: copied to `out`, and from which byte on it is to be read.
    pub(crate) fn next_early<'a>(
        &mut self,
        out: &'a mut [u8; LINE_BYTES],
        buffers: &mut Slots<LineBuffer>,
    ) -> Option<(&'a [u8], usize)> {
        let early = buffers.get(self.early)?;
        let read = self.next.wrapping_sub(self.early_seq).cast_signed();
        let read = usize::try_from(read).ok()?;
        let len = early.bytes().len();
        out[..len].copy_from_slice(early.bytes());
        buffers.give_back(&mut self.early);
        (read < len).then_some((&out[..len], read))
    }

    /// The other end acknowledges all before `ack`. If that is more than was read, what is missing went another way.
    #[inline(never)]
    pub(crate) fn hear_ack(&mut self, ack: u32, buffers: &mut Slots<LineBuffer>) {
        if self.misses(ack) {
            self.in_order = false;
            self.end(buffers);
            self.pass_unread(ack, false);
        }
    }

    /// Whether not all before `ack` was read of a stream that is read in order.
    #[inline(always)]
    pub(crate) const fn misses(&self, ack: u32) -> bool {
        self.in_order && ack.wrapping_sub(self.next).cast_signed() > 0
    }

    /// Takes note that something has passed unread up to `end`, with a newline there or not. What is sent again behind that would
    /// not be the same if it were read then.
    const fn pass_unread(&mut self, end: u32, ends_line: bool) {
        if !self.has_passed || end.wrapping_sub(self.passed).cast_signed() > 0 {
            self.has_passed = true;
            self.passed = end;
            self.ended_line = ends_line;
        }
    }

    /// Keeps a segment until what is before it has come, if it is short and the first of its kind.
    fn keep_early(&mut self, seq: u32, payload: &[u8], buffers: &mut Slots<LineBuffer>) {
        if self.early == Slot::NONE && payload.len() <= LINE_BYTES {
            self.early = buffers.take();
            self.early_seq = seq;
            if let Some(buffer) = buffers.get_mut(self.early) {
                buffer.append(payload);
            }
        }
    }

    fn refuse(&mut self, seq: u32, len: usize) -> Arrival {
        let Refused { seq: before, len: longest } = self.refused;
        if seq == before && len as u32 <= longest {
            return Arrival::GaveUp(HelperEvent::Incomplete);
        }
        self.refused = Refused { seq, len: len as u32 };
        Arrival::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::super::delimiter::LengthPrefix;
    use super::*;
    use proptest::prelude::*;

    const LINES: &Delimiter = &Delimiter::Newline;
    const NEVER: Option<fn(&[u8]) -> bool> = None;

    fn buffers() -> Slots<LineBuffer> {
        Slots::new(4).unwrap()
    }

    fn reader(next: u32) -> Reader {
        let mut reader = Reader::new_zeroed();
        reader.begin(next);
        reader
    }

    /// The lines that a segment completes.
    fn read(it: &mut Reader, seq: u32, payload: &str, buffers: &mut Slots<LineBuffer>) -> Vec<String> {
        read_by(LINES, it, seq, payload, buffers)
    }

    /// The same of what is delimited so.
    fn read_by(
        delimiter: &Delimiter,
        it: &mut Reader,
        seq: u32,
        payload: &str,
        buffers: &mut Slots<LineBuffer>,
    ) -> Vec<String> {
        if it.is_at_line(seq, payload.as_bytes(), delimiter) {
            it.pass_line(payload.as_bytes());
            return vec![payload.into()];
        }
        let Arrival::Read(mut at) = it.arrive(seq, payload.as_bytes(), delimiter, NEVER, buffers) else {
            panic!("what needs no rewriting passes")
        };
        let mut lines = read_on(delimiter, it, payload.as_bytes(), &mut at, buffers);
        let mut early = [0; LINE_BYTES];
        while let Some((payload, mut at)) = it.next_early(&mut early, buffers) {
            lines.extend(read_on(delimiter, it, payload, &mut at, buffers));
        }
        lines
    }

    fn read_on(
        delimiter: &Delimiter,
        it: &mut Reader,
        payload: &[u8],
        at: &mut usize,
        buffers: &mut Slots<LineBuffer>,
    ) -> Vec<String> {
        let mut lines = vec![];
        while let Some(ReadLine { bytes, start, .. }) = it.next_line(payload, at, delimiter, buffers) {
            assert!(start < 0 || payload[start as usize..].starts_with(bytes));
            lines.push(String::from_utf8_lossy(bytes).into_owned());
        }
        lines
    }

    #[test]
    fn lines_come_whole_and_once_however_they_are_cut() {
        let text = "USER me\r\nPORT 10,0,0,2,19,137\r\n\nLIST\r\n";
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for start in [1000, u32::MAX - 20] {
            for first in 0..text.len() {
                for second in first..text.len() {
                    let (mut it, mut buffers) = (reader(start), buffers());
                    let mut got = vec![];
                    for (from, to) in [(0, first), (first, second), (0, second), (second, text.len())] {
                        let seq = start.wrapping_add(from as u32);
                        got.extend(read(&mut it, seq, &text[from..to], &mut buffers));
                    }
                    assert_eq!(got, lines, "cut at {first} and {second}");
                    assert_eq!(it.next(), start.wrapping_add(text.len() as u32));
                    it.end(&mut buffers);
                    assert_eq!(buffers.len(), 0);
                }
            }
        }
    }

    #[test]
    fn messages_come_whole_and_once_however_they_are_cut() {
        let length = |header: &[u8]| usize::from(header[0]);
        let delimiter = &Delimiter::Length(LengthPrefix { header_bytes: 2, length });
        let messages = ["\u{5}-USE", "\u{2}-", "\u{8}-LIS\nT\n"];
        let text = messages.concat();
        for first in 0..text.len() {
            for second in first..text.len() {
                let (mut it, mut buffers) = (reader(7), buffers());
                let mut got = vec![];
                for (from, to) in [(0, first), (second, text.len()), (first, second), (0, text.len())] {
                    got.extend(read_by(delimiter, &mut it, 7 + from as u32, &text[from..to], &mut buffers));
                }
                assert_eq!(got, messages, "cut at {first} and {second}");
            }
        }
        let (mut it, mut buffers) = (reader(0), buffers());
        it.hear_ack(9, &mut buffers);
        assert!(
            read_by(delimiter, &mut it, 9, messages[0], &mut buffers).is_empty(),
            "nothing begins for certain"
        );
    }

    #[test]
    fn a_segment_that_overtook_another_is_read_in_its_turn() {
        let (mut it, mut buffers) = (reader(0), buffers());
        assert!(read(&mut it, 5, "10,0,0,2,19,137\r\nLIST\r\n", &mut buffers).is_empty());
        assert_eq!(read(&mut it, 0, "PORT ", &mut buffers), ["PORT 10,0,0,2,19,137\r\n", "LIST\r\n"]);
        assert_eq!(it.next(), 28);
        assert!(read(&mut it, 5, "10,0,0,2,19,137\r\nLIST\r\n", &mut buffers).is_empty(), "once");
    }

    #[test]
    fn what_is_missing_for_good_is_passed_over_up_to_a_certain_line_start() {
        let (mut it, mut buffers) = (reader(0), buffers());
        assert!(read(&mut it, 0, "USER", &mut buffers).is_empty());
        assert!(read(&mut it, 100, "x\r\n", &mut buffers).is_empty());
        it.hear_ack(103, &mut buffers);
        assert!(read(&mut it, 110, "PORT 1\r\n", &mut buffers).is_empty(), "bytes are missing before it");
        assert_eq!(read(&mut it, 118, "PORT 2\r\nLI", &mut buffers), ["PORT 2\r\n"]);
        assert_eq!(read(&mut it, 128, "ST\r\n", &mut buffers), ["LIST\r\n"]);
        let mut reordered = Reader::new_zeroed();
        for (seq, text) in [(7, "PORT 1\r\n"), (0, "USER x\n"), (7, "PORT 1\r\n")] {
            assert!(
                read(&mut reordered, seq, text, &mut buffers).is_empty(),
                "what has passed once is not read again"
            );
        }
        let mut picked_up = Reader::new_zeroed();
        assert!(read(&mut picked_up, 7, "PORT 1\r\nPORT 2\r\n", &mut buffers).is_empty());
        assert_eq!(read(&mut picked_up, 23, "PORT 3\r\n", &mut buffers), ["PORT 3\r\n"]);
    }

    #[test]
    fn a_long_line_is_read_as_far_as_there_is_room() {
        let (mut it, mut buffers) = (reader(0), buffers());
        let long = "x".repeat(400);
        assert!(read(&mut it, 0, &long, &mut buffers).is_empty());
        assert!(read(&mut it, 400, &long, &mut buffers).is_empty());
        assert_eq!(read(&mut it, 800, "y\nLIST\r\n", &mut buffers), ["x".repeat(512), "LIST\r\n".into()]);
    }

    #[test]
    fn without_a_buffer_lines_in_one_piece_are_read() {
        let (mut it, mut buffers) = (reader(0), Slots::new(0).unwrap());
        assert_eq!(read(&mut it, 0, "USER me\r\nPORT", &mut buffers), ["USER me\r\n"]);
        assert_eq!(read(&mut it, 13, " 1\r\nLIST\r\n", &mut buffers), ["LIST\r\n"]);
    }

    #[test]
    fn what_may_be_rewritten_passes_whole_and_in_order_or_when_it_comes_again() {
        let may: Option<fn(&[u8]) -> bool> = Some(|piece| b"PORT".starts_with(&piece[..piece.len().min(4)]));
        let (mut it, mut buffers) = (reader(0), buffers());
        let mut arrive = |seq, payload: &str| it.arrive(seq, payload.as_bytes(), LINES, may, &mut buffers);
        assert_eq!(arrive(0, "PO"), Arrival::Refused);
        assert_eq!(arrive(2, "RT"), Arrival::Refused, "too early");
        assert_eq!(arrive(0, "PORT"), Arrival::Refused, "more, and still not all");
        assert_eq!(arrive(0, "LIST\r\nPO"), Arrival::Refused);
        assert_eq!(arrive(0, "PORT 1\r\n"), Arrival::Read(0));
        assert_eq!(arrive(0, "PO"), Arrival::Refused);
        assert_eq!(arrive(0, "P"), Arrival::GaveUp(HelperEvent::Incomplete));
        let mut it = reader(0);
        assert_eq!(it.arrive(0, b"USER m", LINES, may, &mut buffers), Arrival::Read(0), "it cannot be one");
        it.next_line(b"USER m", &mut 0, LINES, &mut buffers);
        assert_eq!(it.arrive(6, b"P", LINES, may, &mut buffers), Arrival::Read(0), "in the midst of a line");
        assert_eq!(it.arrive(6, b"e\r\nP", LINES, may, &mut buffers), Arrival::Refused);
    }

    proptest! {
        /// Whatever comes, and how often: what is read is the stream from its first byte on, in order.
        #[test]
        fn what_is_read_is_the_stream(
            text in "[A-C\n]{0,80}",
            pieces in prop::collection::vec((0_usize..80, 0_usize..40), 0..60),
            start in any::<u32>(),
        ) {
            let (mut it, mut buffers) = (reader(start), buffers());
            let mut got = String::new();
            for (from, len) in pieces {
                let (from, to) = (from.min(text.len()), (from + len).min(text.len()));
                let seq = start.wrapping_add(from as u32);
                got.extend(read(&mut it, seq, &text[from..to], &mut buffers));
            }
            let read = it.next().wrapping_sub(start) as usize;
            let whole = text[..read].rfind('\n').map_or("", |newline| &text[..=newline]);
            prop_assert_eq!(got, whole);
        }
    }
}
