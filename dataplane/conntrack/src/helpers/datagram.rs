//! Helpers that read datagrams, each whole and by itself: also the first of a connection, and one that came in fragments.
//!
//! What they announce is expected, and of a translated connection rewritten: the datagram becomes longer or shorter, and no
//! other knows of it.

use super::announce::{FIRST_UNPRIVILEGED, wanted_by};
use super::edits::{Edit, Edits};
use super::found::{Announced, Announcements, InDatagram};
use super::message_reading::Refused;
use super::reading::Announcer;
use super::{DatagramReader, HelperId, Reads, payload};
use crate::expectations::ChildNat;
use crate::frame::Frame;
use crate::headers::{Headers, Packet};
use crate::helper_event::HelperEvent;
use crate::ids::PortId;
use crate::settings::Preset;
use crate::shard::Shard;
use crate::time::Tick;
use crate::tuple::{Direction, Tuple};
use crate::verdict::DropReason;
use crate::wire::udp;

impl Shard {
    /// Reads a datagram of the entry at `index`, which has a helper, and rewrites it. It leaves by `egress`.
    ///
    /// # Errors
    /// Why it must not leave.
    #[inline(never)]
    pub(super) fn help_datagram<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &mut Headers,
        index: u32,
        direction: Direction,
        egress: PortId,
    ) -> Result<(), DropReason> {
        let Some(extension) = self.table.extension(index).filter(|extension| !extension.is_unread) else {
            return Ok(());
        };
        let Some(assigned) = extension.assigned() else { return Ok(()) };
        let helper = assigned.helper;
        if !self.configuration.helpers.is_on(helper) {
            self.leave_unread(index, helper, HelperEvent::SwitchedOff);
            return Ok(());
        }
        let Some(header) = (Packet { headers, head: frame.head() }).l4().first_chunk() else { return Ok(()) };
        let start = usize::from(headers.l4_offset) + udp::HEADER_BYTES;
        let len = udp::length(header).saturating_sub(udp::HEADER_BYTES);
        let announcer = self.announcer(index, direction, assigned);
        let mut edits = Edits::new(self.room_to_grow(frame, headers, egress));
        let read = self.with_payload(frame, start, len, |shard, payload| {
            shard.read_datagram(&announcer, payload, &mut edits)
        });
        let timeout_s = helper.descriptor().reads.master_timeout_s(direction);
        if timeout_s > 0 && !matches!(read, Err(Refused::Off(_))) {
            self.refresh(index, Tick::at(self.now).after_ms(timeout_s * 1000));
        }
        match read {
            Ok(()) => apply(frame, headers, start, &edits),
            Err(Refused::Dropped(reason)) => Err(reason),
            Err(Refused::AsItIs(event)) => {
                self.counters.count_event(Some(helper), event);
                Ok(())
            }
            Err(Refused::Off(event)) => {
                self.leave_unread(index, helper, event);
                Ok(())
            }
        }
    }

    /// Expects what a datagram announces.
    fn read_datagram(
        &mut self,
        announcer: &Announcer,
        payload: &[u8],
        edits: &mut Edits,
    ) -> Result<(), Refused> {
        let Announcer { index, direction, helper, .. } = *announcer;
        let reader = match &helper.descriptor().reads {
            Reads::Stream(_) | Reads::Turns(_) => return Ok(()),
            Reads::Datagrams(reader) => reader,
            Reads::Messages(reader) => return self.read_whole(announcer, reader, payload, edits),
        };
        let found = match self.configuration.settings.preset {
            Preset::Classic => (reader.inspect)(payload, direction),
            Preset::Linux => (reader.inspect_as_linux)(payload, direction),
        };
        match found {
            InDatagram::Nothing => Ok(()),
            InDatagram::Request => Ok(self.expect_answer(index, helper)?),
            InDatagram::Announced(announcements) => {
                Ok(self.expect_all(announcer, reader, &announcements, edits)?)
            }
            InDatagram::Off(event) => Err(Refused::Off(event)),
        }
    }

    /// The helper reads nothing more of the connection.
    fn leave_unread(&mut self, index: u32, helper: HelperId, event: HelperEvent) {
        self.table.extend(index).is_unread = true;
        self.counters.count_event(Some(helper), event);
    }

    /// Expects all that a datagram announces.
    fn expect_all(
        &mut self,
        announcer: &Announcer,
        reader: &DatagramReader,
        announcements: &Announcements,
        edits: &mut Edits,
    ) -> Result<(), DropReason> {
        for announced in announcements.iter() {
            match self.wanted_of(announcer, announced) {
                Some(wanted) if wanted.nat.is_some() => {
                    let (wanted, [id, _]) = self.expect_outside(announcer.index, &wanted, None, None)?;
                    let Announced { form, port, range, .. } = announced;
                    let outside = wanted.tuple.selector.dport();
                    let inserted = (reader.rewrite)(*form, wanted.tuple.family(), wanted.tuple.dst, outside);
                    let edit = Edit { at: range.start, removed: range.len(), inserted };
                    let helper = Some(announcer.helper);
                    let is_other = outside != *port;
                    if is_other && !edits.add(edit) {
                        id.map(|id| self.unexpect(id));
                        self.counters.count_event(helper, HelperEvent::TooLong);
                        continue;
                    }
                    if is_other {
                        self.counters.count_event(helper, HelperEvent::Rewritten);
                    }
                    self.counters.count_event(helper, HelperEvent::Expected);
                }
                Some(wanted) => self.expect_announced(announcer.index, announcer.helper, &wanted)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Expects what comes to the client of a connection from any port of its server, and is translated as the connection is.
    fn expect_answer(&mut self, index: u32, helper: HelperId) -> Result<(), DropReason> {
        let [original, reply] =
            [Direction::Original, Direction::Reply].map(|way| self.table.entries.tuple(index, way));
        let port = original.selector.sport();
        if port < FIRST_UNPRIVILEGED && self.configuration.settings.preset == Preset::Classic {
            self.counters.count_event(Some(helper), HelperEvent::PrivilegedPort);
            return Ok(());
        }
        let is_translated = self.table.entries.at(index).is_translated();
        let tuple = Tuple { selector: reply.selector.with_sport(0), ..reply };
        let nat = is_translated.then(|| ChildNat::following(&original, port));
        self.expect_announced(index, helper, &wanted_by(helper, tuple, nat))
    }
}

/// Makes the edits of a datagram whose payload begins at `start` of the frame.
fn apply<F: Frame>(
    frame: &mut F,
    headers: &mut Headers,
    start: usize,
    edits: &Edits,
) -> Result<(), DropReason> {
    let texts = edits.as_slice().iter().map(|edit| (edit.at, edit.removed, edit.inserted.as_bytes()));
    let made = texts.len() == 0 || payload::replace(frame, headers, start, texts);
    if made { Ok(()) } else { Err(DropReason::HelperNoRoom) }
}
