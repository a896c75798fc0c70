//! Segments that a helper has nothing to do about, as nearly all of a control connection are: acknowledgements without text, and lines
//! that come in order, whole and alone, and announce nothing. They stay on the fast path.

use super::found::{Found, Line};
use super::help::HelpTable;
use super::readers::StreamReader;
use super::reads::Reads;
use super::{Descriptor, Slot};
use crate::configuration::Configuration;
use crate::ids::HelperId;
use crate::shard::Shard;
use crate::tuple::Direction;
use crate::wire::tcp::Segment;

impl Shard {
    /// Reads the segment with this L4 header and payload of the entry at `index`, which has a helper, if nothing comes of it. Of any
    /// other nothing was read.
    #[inline(always)]
    pub(crate) fn read_quiet(&mut self, l4: &[u8], index: u32, direction: Direction) -> bool {
        let Some(segment) = Segment::read(l4, l4.len() as u32) else { return false };
        let payload = l4.get(segment.header_len.into()..).unwrap_or_default();
        let Some(extension) = self.table.extension(index) else { return false };
        let reader = extension.assigned().and_then(|assigned| self.line_reader(assigned.helper));
        self.help.read_quiet(extension.help, reader, direction, &segment, payload)
    }

    /// How a helper reads lines, if it is on and does.
    #[inline(always)]
    fn line_reader(&self, helper: HelperId) -> Option<&'static StreamReader> {
        let Configuration { helpers, settings, .. } = &*self.configuration;
        match &Descriptor::of(helper).reads {
            Reads::Stream(reader) => {
                (helpers.is_on(helper) && reader.in_linux(settings.preset).is_none()).then_some(reader)
            }
            _ => None,
        }
    }
}

impl HelpTable {
    /// Reads a segment if it has no payload, or one that is the next line of its direction, whole and alone, before which nothing
    /// waits, and that announces nothing; or one of a connection whose helper is off. Not where text was rewritten: what was sent
    /// before may come again.
    #[inline(always)]
    fn read_quiet(
        &mut self,
        slot: Slot,
        reader: Option<&StreamReader>,
        direction: Direction,
        segment: &Segment<'_>,
        payload: &[u8],
    ) -> bool {
        let Some(help) = self.get_mut(slot) else { return false };
        if help.has_changed() {
            return false;
        }
        let stream = &mut help.readers[direction as usize];
        if !payload.is_empty() && !help.is_off {
            let Some(reader) = reader else { return false };
            if !stream.is_at_line(segment.seq, payload, &reader.delimiter) {
                return false;
            }
            let mut memory = help.memory;
            let line = Line { bytes: payload, direction, is_first: false, is_resumed: false };
            match (reader.inspect)(&line, &mut memory) {
                Found::Nothing => {}
                Found::Body(bytes) => stream.pass_over(bytes),
                _ => return false,
            }
            stream.pass_line(payload);
            help.memory = memory;
        }
        if help.misses(direction.invert(), segment.ack) {
            self.hear_ack(slot, direction, segment.ack);
        }
        true
    }
}
