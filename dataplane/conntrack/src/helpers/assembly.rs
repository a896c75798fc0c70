//! Messages of a stream put together from its segments.
//!
//! A helper sees whole messages only, each once, from the first byte of its direction on; how long one is, it says itself. A message
//! that one segment has is read where it lies. Of any other the parts are kept until it is whole. While their text may have to be
//! rewritten they do not pass: what comes last does, and the others once they are sent again, when it is known what becomes of them.

use super::messages::{Extent, Measure, Measured};
use super::slots::{Slot, Slots};
use crate::helper_event::HelperEvent;
use std::ops::Range;
use zerocopy::FromZeros;

/// Bytes of the longest message that is put together. A longer one passes unread.
pub(crate) const MESSAGE_BYTES: usize = 8192;

/// Cuts of a message. One in more pieces passes unread if its text may have to be rewritten.
pub(crate) const MAX_CUTS: usize = 8;

/// What has come of a message.
#[derive(Debug, FromZeros)]
#[repr(transparent)]
pub(crate) struct MessageBuffer([u8; MESSAGE_BYTES]);

/// One direction of a connection.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub(crate) struct Assembly {
    /// The number of the first byte of the message that comes next. All numbers are the sender's.
    start: u32,
    /// So many bytes from there on pass unread.
    unread: u32,
    /// How many bytes of it have come in order, and where they are kept.
    len: u32,
    buffer: Slot,
    /// What came too early, by its distance from `start`; nothing where it has no bytes.
    early: [u32; 2],
    /// By how many bytes any part of it may grow.
    room: i32,
    /// Where it was cut, by the distance from `start`, in ascending order.
    cuts: [u16; MAX_CUTS],
    cuts_len: u32,
    /// A segment that was not let through.
    refused: u32,
    has_refused: bool,
    /// Whether all from the first byte on has come.
    in_order: bool,
    /// What is known of how long it is.
    measured: Measured,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing more.
    Nothing,
    /// A message in the payload.
    Here(Range<usize>),
    /// One that was put together, and is to be taken out.
    Whole,
    /// A part of one.
    Part,
    /// Nothing more can be read.
    Off(HelperEvent),
}

/// A message that was put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    /// The number of its first byte.
    pub(crate) seq: u32,
    pub(crate) len: usize,
    /// By how many bytes it may grow.
    pub(crate) room: i32,
    /// Where it was cut, as far as that is known.
    pub(crate) cuts: [u16; MAX_CUTS],
    /// Whether that is all.
    pub(crate) are_all: bool,
}

impl Assembly {
    /// Begins with the first byte of a stream.
    pub(crate) fn begin(&mut self, seq: u32) {
        self.start = seq;
        self.in_order = true;
    }

    /// Gives back what it holds.
    pub(crate) fn end(&mut self, buffers: &mut Slots<MessageBuffer>) {
        buffers.give_back(&mut self.buffer);
    }

    /// Takes a segment in, whose payload begins at `seq`; gives from which of its bytes on it is to be read, or nothing where it is
    /// not. What comes too early is kept.
    pub(crate) fn arrive(
        &mut self,
        seq: u32,
        payload: &[u8],
        room: i32,
        buffers: &mut Slots<MessageBuffer>,
    ) -> Option<usize> {
        if !self.in_order {
            return None;
        }
        let keeps = self.buffer != Slot::NONE;
        self.room = if keeps { self.room.min(room) } else { room };
        let ahead = seq.wrapping_sub(self.next_seq()).cast_signed();
        if ahead > 0 {
            self.keep_early(seq.wrapping_sub(self.start) as usize, payload, buffers);
            return None;
        }
        let read = ahead.unsigned_abs() as usize;
        if read >= payload.len() {
            return None;
        }
        self.note_cut(seq.wrapping_sub(self.start));
        self.note_cut(self.len);
        Some(read)
    }

    /// Whether a segment which ends before `end` has a part of a message that is not whole yet, or of what is behind it. What passes
    /// unread is none.
    pub(crate) fn awaits(&self, end: u32) -> bool {
        let read_from = self.start.wrapping_add(self.unread);
        self.in_order && end.wrapping_sub(read_from).cast_signed() > 0
    }

    /// What comes next of a payload from `at` on, which moves behind it.
    pub(crate) fn next(
        &mut self,
        payload: &[u8],
        at: &mut usize,
        measure: Measure,
        buffers: &mut Slots<MessageBuffer>,
    ) -> Next {
        loop {
            self.pass_over(payload, at, buffers);
            let new = payload.get(*at..).unwrap_or_default();
            if self.buffer == Slot::NONE {
                if new.is_empty() {
                    return Next::Nothing;
                }
                match measure(&mut self.measured, new) {
                    Extent::None(event) => return Next::Off(event),
                    Extent::Bytes(bytes) if bytes <= new.len() => {
                        let message = *at..*at + bytes;
                        *at += bytes;
                        self.advance(bytes);
                        return Next::Here(message);
                    }
                    Extent::Bytes(bytes) if bytes > MESSAGE_BYTES => {
                        self.skip(bytes);
                        continue;
                    }
                    Extent::Unknown if new.len() >= MESSAGE_BYTES => return Next::Off(HelperEvent::TooMany),
                    Extent::Unknown | Extent::Bytes(_) => self.buffer = buffers.take(),
                }
            }
            let Some(MessageBuffer(bytes)) = buffers.get_mut(self.buffer) else {
                return Next::Off(HelperEvent::NoRoom);
            };
            let rest = &mut bytes[self.len as usize..];
            let taken = rest.len().min(new.len());
            rest[..taken].copy_from_slice(&new[..taken]);
            *at += taken;
            self.len += taken as u32;
            let [early, early_len] = self.early;
            if early_len > 0 && early <= self.len {
                self.note_cut(early);
                self.note_cut(self.len);
                self.len = self.len.max(early + early_len);
                self.early = [0; 2];
            }
            let has = &bytes[..self.len as usize];
            if has.is_empty() {
                return Next::Nothing;
            }
            match measure(&mut self.measured, has) {
                Extent::None(event) => return Next::Off(event),
                Extent::Bytes(len) if len <= has.len() => return Next::Whole,
                Extent::Bytes(len) if len > MESSAGE_BYTES => self.skip(len),
                Extent::Unknown if has.len() == MESSAGE_BYTES => return Next::Off(HelperEvent::TooMany),
                Extent::Unknown | Extent::Bytes(_) => return Next::Part,
            }
        }
    }

    /// Takes note that what was read of the segment grows by so many bytes, and leaves less to what it ends with.
    pub(crate) const fn spend(&mut self, grown: i32) {
        self.room = self.room.saturating_sub(grown);
    }

    /// Takes the message out that was put together.
    pub(crate) fn take(
        &mut self,
        out: &mut [u8; MESSAGE_BYTES],
        buffers: &mut Slots<MessageBuffer>,
    ) -> Option<Assembled> {
        let MessageBuffer(bytes) = buffers.get_mut(self.buffer)?;
        let len = self.measured.total as usize;
        out.get_mut(..len)?.copy_from_slice(bytes.get(..len)?);
        bytes.copy_within(len.., 0);
        let are_all = self.cuts_len as usize <= MAX_CUTS;
        let assembled = Assembled { seq: self.start, len, room: self.room, cuts: self.cuts, are_all };
        self.len -= len as u32;
        self.advance(len);
        self.release_if_empty(buffers);
        Some(assembled)
    }

    /// Whether a segment must not pass which begins so and ends with a part of a message. Refused before, it has its way, and so has
    /// the message: it passes unread, if it is known where it ends. One that came too early waits for what is missing before it.
    ///
    /// # Errors
    /// Where it is not known.
    pub(crate) fn refuse(
        &mut self,
        seq: u32,
        buffers: &mut Slots<MessageBuffer>,
    ) -> Result<bool, HelperEvent> {
        if seq.wrapping_sub(self.next_seq()).cast_signed() > 0 {
            return Ok(true);
        }
        if !self.has_refused || self.refused != seq {
            (self.has_refused, self.refused) = (true, seq);
            return Ok(true);
        }
        self.has_refused = false;
        if self.measured.total == 0 {
            return Err(HelperEvent::Incomplete);
        }
        self.skip(self.measured.total as usize);
        self.pass_over(&[], &mut 0, buffers);
        Ok(false)
    }

    /// The other end acknowledges all before `ack`. Where that is more than has come and than passes unread, the rest went another way,
    /// and nothing is read any more.
    #[inline(never)]
    pub(crate) fn hear_ack(&mut self, ack: u32, buffers: &mut Slots<MessageBuffer>) {
        if !self.misses(ack) {
            return;
        }
        let passed = ack.wrapping_sub(self.next_seq());
        if passed <= self.unread {
            self.unread -= passed;
            self.advance(passed as usize);
        } else {
            self.in_order = false;
            self.end(buffers);
        }
    }

    /// Whether not all before `ack` has come of a stream that is read in order.
    #[inline(always)]
    pub(crate) const fn misses(&self, ack: u32) -> bool {
        self.in_order && ack.wrapping_sub(self.next_seq()).cast_signed() > 0
    }

    /// The number of the byte that comes next.
    const fn next_seq(&self) -> u32 {
        self.start.wrapping_add(self.len)
    }

    /// Has a message of so many bytes pass unread.
    fn skip(&mut self, bytes: usize) {
        self.unread = bytes as u32;
        self.early = [0; 2];
        self.measured = Measured::default();
    }

    /// Passes over what is not to be read.
    fn pass_over(&mut self, payload: &[u8], at: &mut usize, buffers: &mut Slots<MessageBuffer>) {
        if self.unread == 0 {
            return;
        }
        if let Some(MessageBuffer(bytes)) = buffers.get_mut(self.buffer) {
            let kept = self.unread.min(self.len);
            bytes.copy_within(kept as usize.., 0);
            self.len -= kept;
            self.unread -= kept;
            self.advance(kept as usize);
            self.release_if_empty(buffers);
        }
        let here = payload.len().saturating_sub(*at).min(self.unread as usize);
        *at += here;
        self.unread -= here as u32;
        self.advance(here);
    }

    /// Takes note that a segment begins or ends so many bytes from `start`, unless that is no place within what has come.
    fn note_cut(&mut self, at: u32) {
        let known = &self.cuts[..(self.cuts_len as usize).min(MAX_CUTS)];
        let before = known.partition_point(|cut| u32::from(*cut) < at);
        if at == 0 || at > self.len || known.get(before).is_some_and(|cut| u32::from(*cut) == at) {
            return;
        }
        if known.len() < MAX_CUTS {
            self.cuts.copy_within(before..MAX_CUTS - 1, before + 1);
            self.cuts[before] = at as u16;
        }
        self.cuts_len += 1;
    }

    /// The next message begins so many bytes later.
    fn advance(&mut self, bytes: usize) {
        self.start = self.start.wrapping_add(bytes as u32);
        let [early, early_len] = self.early;
        self.early = if early_len > 0 { [early.saturating_sub(bytes as u32), early_len] } else { [0; 2] };
        (self.cuts, self.cuts_len) = ([0; MAX_CUTS], 0);
        self.measured = Measured::default();
    }

    fn release_if_empty(&mut self, buffers: &mut Slots<MessageBuffer>) {
        if self.len == 0 && self.early[1] == 0 {
            buffers.give_back(&mut self.buffer);
        }
    }

    /// Keeps a segment until what is before it has come, if there is room for it and it is the first of its kind.
    fn keep_early(&mut self, from: usize, payload: &[u8], buffers: &mut Slots<MessageBuffer>) {
        if self.early[1] > 0 || self.unread > 0 || from + payload.len() > MESSAGE_BYTES {
            return;
        }
        if self.buffer == Slot::NONE {
            self.buffer = buffers.take();
        }
        if let Some(MessageBuffer(bytes)) = buffers.get_mut(self.buffer) {
            bytes[from..from + payload.len()].copy_from_slice(payload);
            self.early = [from as u32, payload.len() as u32];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each message begins with how many bytes follow.
    fn measure(_: &mut Measured, bytes: &[u8]) -> Extent {
        bytes.first().map_or(Extent::Unknown, |len| Extent::Bytes(usize::from(*len) + 1))
    }

    struct Stream {
        it: Assembly,
        buffers: Slots<MessageBuffer>,
        read: Vec<Vec<u8>>,
    }

    impl Stream {
        fn new(start: u32) -> Self {
            let mut it = Assembly::new_zeroed();
            it.begin(start);
            Self { it, buffers: Slots::new(1).unwrap(), read: vec![] }
        }

        /// What is left to say of a segment once all its messages are read.
        fn arrives(&mut self, seq: u32, payload: &[u8]) -> Next {
            let Self { it, buffers, read } = self;
            let mut at = it.arrive(seq, payload, 0, buffers).unwrap_or(payload.len());
            loop {
                match it.next(payload, &mut at, measure_with_total, buffers) {
                    Next::Here(range) => read.push(payload[range].to_vec()),
                    Next::Whole => {
                        let mut out = [0; MESSAGE_BYTES];
                        let assembled = it.take(&mut out, buffers).unwrap();
                        read.push(out[..assembled.len].to_vec());
                    }
                    other => return other,
                }
            }
        }
    }

    fn measure_with_total(measured: &mut Measured, bytes: &[u8]) -> Extent {
        let extent = measure(measured, bytes);
        if let Extent::Bytes(bytes) = extent {
            measured.total = bytes as u32;
        }
        extent
    }

    proptest! {
        /// Whatever comes, and how often: what is read are the stream's messages from the first on, in order.
        #[test]
        fn messages_come_whole_and_once(
            lens in prop::collection::vec(0_u8..40, 0..8),
            pieces in prop::collection::vec((0_usize..160, 0_usize..60), 0..60),
            start in any::<u32>(),
        ) {
            let mut messages: Vec<Vec<u8>> = vec![];
            for len in lens {
                let mut message = vec![len];
                message.extend((0..len).map(|at| at ^ messages.len() as u8));
                messages.push(message);
            }
            let text = messages.concat();
            let mut stream = Stream::new(start);
            for (from, len) in pieces {
                let (from, to) = (from.min(text.len()), (from + len).min(text.len()));
                stream.arrives(start.wrapping_add(from as u32), &text[from..to]);
            }
            stream.arrives(start, &text);
            prop_assert_eq!(&stream.read, &messages);
            prop_assert_eq!(stream.buffers.len(), 0);
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_passed_over() {
        let long = |measured: &mut Measured, bytes: &[u8]| {
            let is_long = bytes.first() == Some(&0xff);
            measured.total = if is_long { 10_000 } else { 1 };
            Extent::Bytes(measured.total as usize)
        };
        let (mut it, mut buffers) = (Assembly::new_zeroed(), Slots::new(1).unwrap());
        it.begin(7);
        let text = [vec![0xff; 10_000], vec![1]].concat();
        let mut seq = 7_u32;
        let mut read = 0;
        for piece in text.chunks(3000) {
            let mut at = it.arrive(seq, piece, 0, &mut buffers).unwrap();
            while matches!(it.next(piece, &mut at, long, &mut buffers), Next::Here(_)) {
                read += 1;
            }
            seq += piece.len() as u32;
        }
        assert_eq!((read, buffers.len()), (1, 0));
    }

    #[test]
    fn a_part_that_was_refused_has_its_way_the_second_time() {
        let mut stream = Stream::new(0);
        assert_eq!(stream.arrives(0, b"\x05ab"), Next::Part);
        assert!(stream.it.awaits(3));
        assert_eq!(stream.it.refuse(0, &mut stream.buffers), Ok(true));
        assert_eq!(stream.arrives(0, b"\x05ab"), Next::Part);
        assert_eq!(stream.it.refuse(0, &mut stream.buffers), Ok(false));
        assert_eq!(stream.arrives(3, b"cde\x01f"), Next::Nothing);
        assert_eq!(stream.read, [b"\x01f"]);
    }

    #[test]
    fn nothing_behind_a_message_that_passes_unread_passes_before_it_is_read() {
        let mut stream = Stream::new(0);
        for has_its_way in [true, false] {
            assert_eq!(stream.arrives(0, b"\x05ab"), Next::Part);
            assert_eq!(stream.it.refuse(0, &mut stream.buffers), Ok(has_its_way));
        }
        assert!(!stream.it.awaits(6), "it passes, however it is cut");
        assert!(stream.it.awaits(8), "the next message is not read yet");
        for _ in 0..3 {
            assert_eq!(stream.arrives(5, b"e\x01f"), Next::Nothing);
            assert_eq!(stream.it.refuse(5, &mut stream.buffers), Ok(true), "it came too early");
        }
        stream.it.hear_ack(5, &mut stream.buffers);
        assert_eq!(stream.arrives(5, b"e\x01f"), Next::Nothing);
        assert!(!stream.it.awaits(8));
        assert_eq!(stream.read, [b"\x01f"]);
    }

    #[test]
    fn what_went_another_way_ends_all_reading() {
        let mut stream = Stream::new(0);
        stream.arrives(0, b"\x05ab");
        stream.it.hear_ack(3, &mut stream.buffers);
        assert_eq!(stream.arrives(3, b"cde"), Next::Nothing);
        assert_eq!(stream.read.len(), 1);
        stream.it.hear_ack(7, &mut stream.buffers);
        assert_eq!(stream.arrives(7, b"\x01f"), Next::Nothing);
        assert_eq!((stream.read.len(), stream.buffers.len()), (1, 0));
    }
}
