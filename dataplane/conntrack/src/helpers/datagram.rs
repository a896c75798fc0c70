//! Helpers that read datagrams, each whole and by itself: also the first of a connection, and one that came in fragments.

use super::announce::{FIRST_UNPRIVILEGED, wanted_by};
use super::event::HelperEvent;
use super::found::InDatagram;
use super::{Assigned, HelperId, Reads};
use crate::expectations::ChildNat;
use crate::frame::Frame;
use crate::headers::{Headers, Packet};
use crate::settings::Preset;
use crate::shard::Shard;
use crate::tuple::{Direction, Tuple};
use crate::verdict::DropReason;
use crate::wire::udp;

impl Shard {
    /// Reads a datagram of the entry at `index`, which has a helper.
    ///
    /// # Errors
    /// Why it must not leave.
    pub(super) fn help_datagram<F: Frame>(
        &mut self,
        frame: &F,
        headers: &Headers,
        index: u32,
        direction: Direction,
    ) -> Result<(), DropReason> {
        let Some(extension) = self.table.extension(index).filter(|extension| !extension.is_unread) else {
            return Ok(());
        };
        let Some(Assigned { helper, .. }) = extension.assigned() else { return Ok(()) };
        let Reads::Datagrams(reader) = &helper.descriptor().reads else { return Ok(()) };
        let Some(header) = (Packet { headers, head: frame.head() }).l4().first_chunk() else { return Ok(()) };
        let start = usize::from(headers.l4_offset) + udp::HEADER_BYTES;
        let len = udp::length(header).saturating_sub(udp::HEADER_BYTES);
        let preset = self.configuration.settings.preset;
        let found = self.with_payload(frame, start, len, |_, payload| match preset {
            Preset::Classic => (reader.inspect)(payload, direction),
            Preset::Linux => (reader.inspect_as_linux)(payload),
        });
        match found {
            InDatagram::Nothing => Ok(()),
            InDatagram::Request => self.expect_answer(index, helper),
            InDatagram::Off(event) => {
                self.table.extend(index).is_unread = true;
                self.count_event(event);
                Ok(())
            }
        }
    }

    /// Expects what comes to the client of a connection from any port of its server, and is translated as the connection is.
    fn expect_answer(&mut self, index: u32, helper: HelperId) -> Result<(), DropReason> {
        let [original, reply] =
            [Direction::Original, Direction::Reply].map(|way| self.table.entries.tuple(index, way));
        let port = original.selector.sport();
        if port < FIRST_UNPRIVILEGED && self.configuration.settings.preset == Preset::Classic {
            self.count_event(HelperEvent::PrivilegedPort);
            return Ok(());
        }
        let is_translated = self.table.entries.at(index).is_translated();
        let tuple = Tuple { selector: reply.selector.with_sport(0), ..reply };
        let nat = is_translated.then(|| ChildNat::following(&original, port));
        self.expect_announced(index, helper, &wanted_by(helper, tuple, nat))
    }
}
