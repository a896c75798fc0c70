//! What comes of an announcement: an expectation and, of a translated connection, text that says what the address is called
//! outside.

use super::found::{Announced, Form, Mention};
use super::reading::{Announcer, Part, Reading};
use super::shift::Change;
use super::{Descriptor, ExpectationClass, HelperId};
use crate::entry::Status;
use crate::expectations::{ChildNat, ExpectationId, Limits, SourceMask, Unexpected, Wanted};
use crate::family::Family;
use crate::helper_event::HelperEvent;
use crate::shard::Shard;
use crate::tuple::{self, Tuple};
use crate::verdict::DropReason;

/// Ports below this one are not opened for anybody: they are those of services.
pub(super) const FIRST_UNPRIVILEGED: u16 = 1024;

impl Shard {
    /// Expects what is announced in a text that begins with sequence number `at` and, of a translated connection, has it say what
    /// that is called outside.
    pub(super) fn announce(
        &mut self,
        reading: &Reading,
        announced: &Announced,
        at: u32,
        text: Option<&[u8]>,
    ) -> Result<(), DropReason> {
        let Announcer { index, helper, .. } = reading.part.announcer;
        match self.wanted_of(&reading.part.announcer, announced) {
            Some(wanted) if wanted.nat.is_some() => {
                self.announce_translated(reading, announced, &wanted, at, text)
            }
            Some(wanted) => {
                self.expect_both(index, &wanted, announced.form.distance())?;
                self.counters.count_event(Some(helper), HelperEvent::Expected);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What is wanted of whom announces this, and how it's translated if its destination is one that is; `None` where it is
    /// not trusted.
    pub(super) fn wanted_of(&mut self, announcer: &Announcer, announced: &Announced) -> Option<Wanted> {
        let Announcer { index, direction, helper, loose, is_translated, is_linux, knows_outside } =
            *announcer;
        let [announcing, answering] =
            [direction, direction.invert()].map(|way| self.table.entries.tuple(index, way));
        let address = match announced.address {
            None => Some(announcing.src),
            Some(address) if Family::of(address) != announcing.family() => None,
            Some(address) => Some(tuple::number(address)),
        };
        // Its own address, or what that is called outside.
        let is_own = address == Some(announcing.src) || knows_outside && address == Some(answering.dst);
        let Some(address) = address.filter(|_| is_own || loose) else {
            self.counters.count_event(Some(helper), HelperEvent::ForeignAddress);
            return None;
        };
        if announced.port < FIRST_UNPRIVILEGED && !is_linux {
            self.counters.count_event(Some(helper), HelperEvent::PrivilegedPort);
            return None;
        }
        let class = &Descriptor::of(helper).classes[0];
        let source = if loose { class.loose_source } else { class.source };
        let selector = announcing.selector.with_ports(announced.port.into()).with_protocol(class.protocol);
        let dst = if is_own { answering.dst } else { address };
        let is_from_anybody = source == SourceMask::Any;
        let src = if is_from_anybody { 0 } else { answering.src };
        let follow = ChildNat::following(&announcing, announced.port);
        // In Linux the master's server is whom anybody comes from.
        let follow = if is_from_anybody && !is_linux { follow.from_anybody() } else { follow };
        let nat = (is_translated && is_own).then_some(follow);
        Some(Wanted { source, ..wanted_by(helper, 0, Tuple { src, dst, selector }, nat) })
    }

    /// Expects what comes to an address that is translated.
    fn announce_translated(
        &mut self,
        reading: &Reading,
        announced: &Announced,
        wanted: &Wanted,
        at: u32,
        text: Option<&[u8]>,
    ) -> Result<(), DropReason> {
        let Reading { part, reader, .. } = reading;
        let Part { announcer: Announcer { index, direction, helper, .. }, slot, .. } = *part;
        let (Some(text), Some(shift)) = (text, self.help.shift(slot, direction)) else { return Ok(()) };
        let known = shift.change_at(at).map(|change| change.port);
        let (wanted, ids) = self.expect_outside(index, wanted, known, announced.form.distance())?;
        let port = wanted.tuple.selector.dport();
        let inserted = (reader.rewrite)(announced.form, wanted.tuple.family(), wanted.tuple.dst, port);
        let change = Change { at, port, removed: text.len() as u16, inserted };
        let event = match self.change(part, &change, text) {
            Ok(()) => HelperEvent::Expected,
            Err(event) => {
                for id in ids.into_iter().flatten() {
                    self.unexpect(id);
                }
                event
            }
        };
        self.counters.count_event(Some(helper), event);
        Ok(())
    }

    /// Has an address or a port that a translated connection's end mentions be what the other end calls it.
    pub(super) fn translate_mention(&mut self, reading: &Reading, mention: &Mention, at: u32, text: &[u8]) {
        let Reading { part, reader, .. } = reading;
        let Announcer { index, direction, helper, .. } = part.announcer;
        let Some((form, address, port)) = self.known_outside(&part.announcer, mention) else { return };
        let family = self.table.entries.tuple(index, direction).family();
        let inserted = (reader.rewrite)(form, family, address, port);
        let change = Change { at, port, removed: text.len() as u16, inserted };
        if let Err(event) = self.change(part, &change, text) {
            self.counters.count_event(Some(helper), event);
        }
    }

    /// The address and the port that the other end calls what this one mentions, and how they stand in the text; `None` where that
    /// is not known, or the same.
    pub(super) fn known_outside(
        &self,
        announcer: &Announcer,
        mention: &Mention,
    ) -> Option<(Form, u128, u16)> {
        let Announcer { index, direction, is_translated, .. } = *announcer;
        if !is_translated {
            return None;
        }
        let [announcing, answering] =
            [direction, direction.invert()].map(|way| self.table.entries.tuple(index, way));
        match *mention {
            Mention::Announced(_) => None,
            Mention::Port(port, form, _) => {
                Some((form, answering.src, self.port_behind(index, announcing.dst, port)?))
            }
            Mention::OwnPort(port, _) if port == announcing.selector.sport() => {
                Some((Form::Port, answering.dst, answering.selector.dport()))
            }
            Mention::Address(address, _) if Family::of(address) != announcing.family() => None,
            Mention::Address(address, _) if tuple::number(address) == announcing.src => {
                Some((Form::Address, answering.dst, 0))
            }
            Mention::Address(address, _) if tuple::number(address) == announcing.dst => {
                Some((Form::Address, answering.src, 0))
            }
            Mention::Address(..) | Mention::OwnPort(..) => None,
        }
    }

    /// Has a text become another one from now on, unless it is that already.
    pub(super) fn change(&mut self, part: &Part, change: &Change, text: &[u8]) -> Result<(), HelperEvent> {
        let Part { announcer: Announcer { index, direction, helper, .. }, slot, .. } = *part;
        let is_known = self.help.shift(slot, direction).is_some_and(|it| it.change_at(change.at).is_some());
        if is_known || change.inserted.as_bytes() == text {
            return Ok(());
        }
        self.may_change(part, change)?;
        if !self.help.note_change(slot, direction, *change) {
            return Err(HelperEvent::TooMany);
        }
        self.counters.count_event(Some(helper), HelperEvent::Rewritten);
        if change.shift() != 0 {
            self.table.entries.at_mut(index).status.insert(Status::SEQ_ADJUST);
        }
        self.touch(index);
        Ok(())
    }

    /// Expects what comes to an address that is translated: at the port that is known, or at one that can be announced. Gives what is
    /// expected in the end.
    pub(super) fn expect_outside(
        &mut self,
        index: u32,
        wanted: &Wanted,
        known: Option<u16>,
        distance: Option<u16>,
    ) -> Result<(Wanted, [Option<ExpectationId>; 2]), DropReason> {
        let port = match (known, wanted.tuple.selector.dport()) {
            (Some(port), _) => Some(port),
            // Nothing can be translated to port 0, which Linux takes for an announcement.
            (None, 0) => None,
            // An address that is the same on both sides has all of its ports.
            (None, port) if wanted.nat.is_some_and(|nat| nat.destination == wanted.tuple.dst) => Some(port),
            (None, _) => match distance {
                Some(distance) => self.find_pair_to_announce(index, wanted, distance),
                None => self.find_port_to_announce(index, wanted),
            },
        };
        let selector = wanted.tuple.selector.with_dport(port.ok_or(Unexpected::Clash)?);
        let wanted = Wanted { tuple: Tuple { selector, ..wanted.tuple }, ..*wanted };
        Ok((wanted, self.expect_both(index, &wanted, distance)?))
    }

    /// Expects something and, where that is wanted, the same at a port so much higher: both or none.
    fn expect_both(
        &mut self,
        index: u32,
        wanted: &Wanted,
        distance: Option<u16>,
    ) -> Result<[Option<ExpectationId>; 2], Unexpected> {
        let limits = wanted.helper.map_or_else(Limits::default, |helper| limits(helper, wanted.class));
        let first = self.expect(index, wanted, limits)?;
        let Some(distance) = distance else { return Ok([Some(first), None]) };
        match self.expect(index, &wanted.behind(distance), limits) {
            Ok(second) => Ok([Some(first), Some(second)]),
            Err(unexpected) => {
                self.unexpect(first);
                Err(unexpected)
            }
        }
    }

    /// Expects what a helper has read of in a packet of the entry at `index`.
    pub(super) fn expect_announced(
        &mut self,
        index: u32,
        helper: HelperId,
        wanted: &Wanted,
    ) -> Result<(), DropReason> {
        self.expect(index, wanted, limits(helper, wanted.class))?;
        self.counters.count_event(Some(helper), HelperEvent::Expected);
        Ok(())
    }

    /// Expects something for the connection whose original tuple this is, as an operator asks for: as one of its helper's, where it
    /// has one, as in Linux. `None` where there is no such connection here.
    pub fn expect_for_operator(
        &mut self,
        master: &Tuple,
        wanted: &Wanted,
    ) -> Option<Result<ExpectationId, Unexpected>> {
        let index = self.master(master)?;
        let helper = self.assigned(index).map(|assigned| assigned.helper);
        let limits = helper.map(|helper| limits(helper, wanted.class)).unwrap_or_default();
        Some(self.expect(index, &Wanted { helper, ..*wanted }, limits))
    }

    /// Whether a packet has room for one more change.
    fn may_change(&self, part: &Part, change: &Change) -> Result<(), HelperEvent> {
        let Some(shift) = self.help.shift(part.slot, part.announcer.direction) else {
            return Err(HelperEvent::NoRoom);
        };
        let grown = shift.grown_from(part.seq) + change.shift().cast_signed();
        let fits = part.room.is_some_and(|room| grown <= room);
        if fits { Ok(()) } else { Err(HelperEvent::TooLong) }
    }
}

/// One connection of this class and tuple, as far as its source is known, for as long as a helper waits.
pub(super) fn wanted_by(helper: HelperId, class: u8, tuple: Tuple, nat: Option<ChildNat>) -> Wanted {
    let ExpectationClass { source, timeout_s, .. } = Descriptor::of(helper).classes[usize::from(class)];
    Wanted { tuple, source, class, one_shot: true, timeout_ms: timeout_s * 1000, nat, helper: Some(helper) }
}

/// What one connection may expect of a class of a helper's.
pub(super) fn limits(helper: HelperId, class: u8) -> Limits {
    let class = Descriptor::of(helper).classes.get(usize::from(class));
    let of_class = class.map_or(u32::MAX, |class| class.max_expectations.into());
    Limits { of_class, ..Limits::default() }
}
