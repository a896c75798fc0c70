//! What comes of an announcement: an expectation and, of a translated connection, text that says what the address is called
//! outside.

use super::HelperId;
use super::event::HelperEvent;
use super::found::Announced;
use super::shift::{Change, Shift};
use super::slots::Place;
use super::stage::Reading;
use crate::entry::Status;
use crate::expectations::{ChildNat, ExpectationId, Limits, SourceMask, Unexpected, Wanted};
use crate::family::Family;
use crate::settings::Preset;
use crate::shard::Shard;
use crate::tuple::{self, Direction, Tuple};
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
        let Reading { index, direction, helper, loose, .. } = *reading;
        let is_linux = self.configuration.settings.preset == Preset::Linux;
        let [announcing, answering] =
            [direction, direction.invert()].map(|way| self.table.entries.tuple(index, way));
        let address = match announced.address {
            None => Some(announcing.src),
            Some(address) if Family::of(address) != announcing.family() => None,
            Some(address) => Some(tuple::number(address)),
        };
        // Its own address, or what that is called outside.
        let is_own = address == Some(announcing.src) || !is_linux && address == Some(answering.dst);
        let Some(address) = address.filter(|_| is_own || loose) else {
            self.count_event(HelperEvent::ForeignAddress);
            return Ok(());
        };
        if announced.port < FIRST_UNPRIVILEGED && !is_linux {
            self.count_event(HelperEvent::PrivilegedPort);
            return Ok(());
        }
        let destination = if is_own { answering.dst } else { address };
        let child = Tuple {
            src: answering.src,
            dst: destination,
            selector: announcing.selector.with_ports(announced.port.into()),
        };
        let wanted = wanted_by(helper, child, None);
        if reading.is_translated && is_own {
            let nat = Some(ChildNat::following(&announcing, announced.port));
            return self.announce_translated(reading, announced, &Wanted { nat, ..wanted }, at, text);
        }
        self.expect_announced(index, helper, &wanted)
    }

    /// The same of what comes to an address that is translated.
    fn announce_translated(
        &mut self,
        reading: &Reading,
        announced: &Announced,
        wanted: &Wanted,
        at: u32,
        text: Option<&[u8]>,
    ) -> Result<(), DropReason> {
        let Reading { index, direction, helper, reader, place, .. } = *reading;
        let (Some(text), Some(shift)) = (text, self.shift(place, direction)) else { return Ok(()) };
        let known = shift.change_at(at).map(|change| change.port);
        let port = match known {
            Some(port) => Some(port),
            // Nothing can be translated to port 0, which Linux takes for an announcement.
            None if announced.port == 0 => None,
            None => self.find_port_to_announce(index, wanted),
        };
        let port = port.ok_or(Unexpected::Clash)?;
        let selector = wanted.tuple.selector.with_dport(port);
        let wanted = Wanted { tuple: Tuple { selector, ..wanted.tuple }, ..*wanted };
        let id = self.expect(index, &wanted, limits(helper))?;
        let inserted = (reader.rewrite)(announced.form, wanted.tuple.family(), wanted.tuple.dst, port);
        if known.is_none() && inserted.as_bytes() != text {
            let change = Change { at, port, removed: text.len() as u16, inserted };
            if let Err(event) = self.may_change(reading, &change) {
                self.unexpect(id);
                self.count_event(event);
                return Ok(());
            }
            if let Some(help) = self.help.get_mut(place) {
                help.shifts[direction as usize].note(change);
            }
            self.table.entries.at_mut(index).status.insert(Status::SEQ_ADJUST);
        }
        self.count_event(HelperEvent::Expected);
        Ok(())
    }

    /// Expects what a helper has read of in a packet of the entry at `index`.
    pub(super) fn expect_announced(
        &mut self,
        index: u32,
        helper: HelperId,
        wanted: &Wanted,
    ) -> Result<(), DropReason> {
        self.expect(index, wanted, limits(helper))?;
        self.count_event(HelperEvent::Expected);
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
        Some(self.expect(index, &Wanted { helper, ..*wanted }, helper.map(limits).unwrap_or_default()))
    }

    /// Whether a packet has room for one more change.
    fn may_change(&self, reading: &Reading, change: &Change) -> Result<(), HelperEvent> {
        let Some(shift) = self.shift(reading.place, reading.direction) else {
            return Err(HelperEvent::NoRoom);
        };
        if shift.is_full_from(reading.seq) {
            return Err(HelperEvent::TooMany);
        }
        let grown = shift
            .changes_from(reading.seq)
            .iter()
            .fold(change.shift(), |sum, one| sum.wrapping_add(one.shift()));
        let fits = reading.room.is_some_and(|room| grown.cast_signed() <= room);
        if fits { Ok(()) } else { Err(HelperEvent::TooLong) }
    }

    pub(super) fn shift(&self, place: Place, direction: Direction) -> Option<&Shift> {
        self.help.get(place).map(|help| &help.shifts[direction as usize])
    }
}

/// One connection of this tuple, from any port of its source, for as long as a helper waits.
pub(super) fn wanted_by(helper: HelperId, tuple: Tuple, nat: Option<ChildNat>) -> Wanted {
    Wanted {
        tuple,
        source: SourceMask::AnyPort,
        class: 0,
        one_shot: true,
        timeout_ms: helper.descriptor().timeout_s * 1000,
        nat,
        helper: Some(helper),
    }
}

/// What one connection and all of a helper's may expect.
fn limits(helper: HelperId) -> Limits {
    Limits { of_class: helper.descriptor().max_expectations.into(), ..Limits::default() }
}
