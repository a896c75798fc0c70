//! Helpers that read datagrams, each whole and by itself: also the first of a connection, and one that came in fragments.
//!
//! What they announce is expected, and of a translated connection rewritten: the datagram becomes longer or shorter, and no
//! other knows of it.

use super::announce::{FIRST_UNPRIVILEGED, wanted_by};
use super::edits::{Edit, Edits};
use super::found::{Announced, Announcements, InDatagram, Mentions};
use super::message_reading::Refused;
use super::reading::Announcer;
use super::{DatagramReader, Descriptor, HelperId, Reads, payload};
use crate::expectations::ChildNat;
use crate::frame::Frame;
use crate::headers::{Headers, Packet};
use crate::helper_event::HelperEvent;
use crate::ids::PortId;
use crate::shard::Shard;
use crate::time::Tick;
use crate::tuple::{Direction, Tuple};
use crate::verdict::DropReason;
use crate::wire::udp;

/// The class of what an invitation has expected; what is announced has the first one.
const INVITATION: u8 = 1;

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
        let mut announcer = self.announcer(index, direction, assigned);
        announcer.is_linux &= Descriptor::of(helper).reads.is_known_to_linux();
        let mut edits = Edits::new(self.room_to_grow(frame, headers, egress));
        let read = self.with_payload(frame, start, len, |shard, payload| {
            shard.read_datagram(&announcer, payload, &mut edits)
        });
        let timeout_s = Descriptor::of(helper).reads.master_timeout_s(direction);
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
        let Announcer { index, direction, helper, is_linux, .. } = *announcer;
        let reader = match &Descriptor::of(helper).reads {
            Reads::Stream(_) | Reads::Turns(_) => return Ok(()),
            Reads::Datagrams(reader) => reader,
            Reads::Messages(reader) => return self.read_whole(announcer, reader, payload, edits),
        };
        let inspect = reader.inspect_as_linux.filter(|_| is_linux).unwrap_or(reader.inspect);
        let found = inspect(payload, direction);
        match found {
            InDatagram::Nothing => Ok(()),
            InDatagram::Request => Ok(self.expect_answer(index, helper, is_linux)?),
            InDatagram::Invitation => {
                let asked_at = self.table.entries.tuple(index, Direction::Original).selector.dport();
                Ok(self.expect_at_client(index, helper, INVITATION, asked_at, asked_at)?)
            }
            InDatagram::Announced(announcements) => {
                Ok(self.expect_all(announcer, reader, payload, &announcements, edits)?)
            }
            InDatagram::Mentioned(mentions) => {
                self.translate_mentions(announcer, reader, payload, &mentions, edits)
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
        payload: &[u8],
        announcements: &Announcements,
        edits: &mut Edits,
    ) -> Result<(), DropReason> {
        for announced in announcements.iter() {
            match self.wanted_of(announcer, announced) {
                Some(wanted) if wanted.nat.is_some() => {
                    let (wanted, [id, _]) = self.expect_outside(announcer.index, &wanted, None, None)?;
                    let Announced { form, range, .. } = announced;
                    let outside = wanted.tuple.selector.dport();
                    let inserted = (reader.rewrite)(*form, wanted.tuple.family(), wanted.tuple.dst, outside);
                    let edit = Edit { at: range.start, removed: range.len(), inserted };
                    let helper = Some(announcer.helper);
                    let is_other = payload.get(range.clone()) != Some(inserted.as_bytes());
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

    /// Has addresses and ports that a datagram mentions be what the other end calls them.
    fn translate_mentions(
        &mut self,
        announcer: &Announcer,
        reader: &DatagramReader,
        payload: &[u8],
        mentions: &Mentions,
        edits: &mut Edits,
    ) -> Result<(), Refused> {
        let family = self.table.entries.tuple(announcer.index, announcer.direction).family();
        for mention in mentions.iter() {
            let Some((form, address, port)) = self.known_outside(announcer, mention) else { continue };
            let range = mention.range();
            let inserted = (reader.rewrite)(form, family, address, port);
            let is_same = payload.get(range.clone()) == Some(inserted.as_bytes());
            if !is_same && !edits.add(Edit { at: range.start, removed: range.len(), inserted }) {
                return Err(Refused::AsItIs(HelperEvent::TooLong));
            }
        }
        if !edits.as_slice().is_empty() {
            self.counters.count_event(Some(announcer.helper), HelperEvent::Rewritten);
        }
        Ok(())
    }

    /// Expects what answers the client of a connection at the port that it asks from.
    fn expect_answer(&mut self, index: u32, helper: HelperId, is_linux: bool) -> Result<(), DropReason> {
        let [original, reply] =
            [Direction::Original, Direction::Reply].map(|way| self.table.entries.tuple(index, way).selector);
        if original.sport() < FIRST_UNPRIVILEGED && !is_linux {
            self.counters.count_event(Some(helper), HelperEvent::PrivilegedPort);
            return Ok(());
        }
        self.expect_at_client(index, helper, 0, original.sport(), reply.dport())
    }

    /// Expects what comes to the client of a connection from any port of its server, and is translated as the connection is: to this
    /// port of the client, and that outside.
    fn expect_at_client(
        &mut self,
        index: u32,
        helper: HelperId,
        class: u8,
        port: u16,
        outside: u16,
    ) -> Result<(), DropReason> {
        let [original, reply] =
            [Direction::Original, Direction::Reply].map(|way| self.table.entries.tuple(index, way));
        let is_translated = self.table.entries.at(index).is_translated();
        let tuple = Tuple { selector: reply.selector.with_sport(0).with_dport(outside), ..reply };
        let nat = is_translated.then(|| ChildNat::following(&original, port));
        self.expect_announced(index, helper, &wanted_by(helper, class, tuple, nat))
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
