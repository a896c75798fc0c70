//! A message that a helper reads whole, of a datagram or of a stream: what is known of its connection, what it has had expected, and
//! what becomes of its text.

use super::AnnouncedPorts;
use super::announce::limits;
use super::edits::{Edit, Edits};
use super::messages::Measure;
use super::reading::{Announcer, Part};
use super::text::Text;
use crate::expectations::{ExpectationId, Unexpected, Wanted};
use crate::family::Family;
use crate::helper_event::HelperEvent;
use crate::shard::Shard;
use crate::tuple::{self, Tuple};
use crate::verdict::DropReason;
use std::net::IpAddr;
use std::ops::Range;

/// Expectations that one message makes, at most.
const MAX_EXPECTED: usize = 48;

/// How a helper reads messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageReader {
    /// Tells how long one of a stream is.
    pub(crate) measure: Measure,
    /// Reads one.
    pub(crate) read: fn(&mut Shard, &mut Reading<'_>) -> Result<(), Refused>,
    /// Reads a segment as Linux does; `None` where that is read message by message, too.
    pub(crate) read_as_linux: Option<ReadAsLinux>,
    /// How long a connection lives that brings one, in seconds; 0 is as long as any.
    pub(crate) master_timeout_s: u32,
    /// Whether one that is rewritten may become longer.
    pub(crate) may_grow: bool,
}

/// Reads a segment.
pub(crate) type ReadAsLinux = fn(&mut Shard, &Part, &MessageReader, &[u8]) -> Result<(), DropReason>;

/// Why a message is not, or no longer, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The helper has to be off from here on.
    Off(HelperEvent),
    /// The message stays as it is, and nothing of it is expected.
    AsItIs(HelperEvent),
    /// It must not leave.
    Dropped(DropReason),
}

impl From<DropReason> for Refused {
    fn from(reason: DropReason) -> Self {
        Self::Dropped(reason)
    }
}

impl From<Unexpected> for Refused {
    fn from(unexpected: Unexpected) -> Self {
        Self::Dropped(unexpected.into())
    }
}

/// A message that is read.
pub(crate) struct Reading<'a> {
    pub(super) announcer: Announcer,
    /// Its tuple, and the one of answers as they come in.
    pub(super) announcing: Tuple,
    pub(super) answering: Tuple,
    pub(super) is_linux: bool,
    pub(super) bytes: &'a [u8],
    pub(super) edits: &'a mut Edits,
    /// What it has had expected.
    expected: [Option<ExpectationId>; MAX_EXPECTED],
}

impl Reading<'_> {
    /// What Linux drops and others let pass unread.
    pub(super) const fn malformed(&self) -> Refused {
        if self.is_linux {
            Refused::Dropped(DropReason::HelperMalformed)
        } else {
            Refused::Off(HelperEvent::Malformed)
        }
    }

    /// Whether its sender's address has another name outside.
    pub(super) fn is_hidden(&self) -> bool {
        self.announcing.src != self.answering.dst
    }

    /// What is said of ports that are all taken.
    pub(super) const fn no_port(&self) -> Refused {
        if self.is_linux {
            Refused::Dropped(DropReason::ExpectationClash)
        } else {
            Refused::AsItIs(HelperEvent::NoPort)
        }
    }

    pub(super) fn is_of_family(&self, address: IpAddr) -> bool {
        Family::of(address) == self.announcing.family()
    }

    /// Whether that is its sender's address, or what that is called outside.
    pub(super) fn is_own(&self, address: Option<IpAddr>) -> bool {
        let number = address.filter(|address| self.is_of_family(*address)).map(tuple::number);
        number == Some(self.announcing.src) || !self.is_linux && number == Some(self.answering.dst)
    }

    /// Has a text become another, unless it is that already or was rewritten before.
    pub(super) fn edit(&mut self, range: &Range<usize>, inserted: Text) -> Result<(), Refused> {
        let edit = Edit { at: range.start, removed: range.len(), inserted };
        let is_same = self.bytes.get(range.clone()) == Some(inserted.as_bytes());
        if is_same || self.edits.has(range.start) || self.edits.add(edit) {
            Ok(())
        } else {
            Err(Refused::AsItIs(HelperEvent::TooLong))
        }
    }

    pub(super) fn note_expected(&mut self, id: ExpectationId) {
        if let Some(free) = self.expected.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(id);
        }
    }
}

impl Shard {
    /// Reads a message.
    ///
    /// # Errors
    /// Why not; nothing of it is expected then, nor is any of its text to change.
    pub(super) fn read_whole(
        &mut self,
        announcer: &Announcer,
        reader: &MessageReader,
        bytes: &[u8],
        edits: &mut Edits,
    ) -> Result<(), Refused> {
        let Announcer { index, direction, helper, is_linux, .. } = *announcer;
        let [announcing, answering] =
            [direction, direction.invert()].map(|way| self.table.entries.tuple(index, way));
        let expected = [None; MAX_EXPECTED];
        let mut reading =
            Reading { announcer: *announcer, announcing, answering, is_linux, bytes, edits, expected };
        let read = (reader.read)(self, &mut reading);
        if read.is_ok() && !reading.edits.as_slice().is_empty() {
            self.counters.count_event(Some(helper), HelperEvent::Rewritten);
        }
        if read.is_err() {
            reading.expected.into_iter().flatten().for_each(|id| {
                self.unexpect(id);
            });
        }
        read
    }

    /// Ports that the messages of a connection have announced.
    pub(super) fn announced_ports(&self, index: u32) -> AnnouncedPorts {
        self.table
            .extension(index)
            .map_or_else(AnnouncedPorts::default, |extension| extension.announced_ports)
    }

    /// Expects something that a message says, as long as that is read.
    pub(super) fn expect_said(&mut self, reading: &mut Reading<'_>, wanted: &Wanted) -> Result<(), Refused> {
        let Announcer { index, helper, .. } = reading.announcer;
        if self.is_expected_alike_by_others(index, wanted) {
            return Ok(());
        }
        let id = self.expect(index, wanted, limits(helper, wanted.class))?;
        reading.note_expected(id);
        self.counters.count_event(Some(helper), HelperEvent::Expected);
        Ok(())
    }
}
