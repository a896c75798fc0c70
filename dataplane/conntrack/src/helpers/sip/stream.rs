//! SIP over a stream (RFC 3261 section 18.3): messages one behind the other, each as long as its Content-Length says.

use super::message::is_start;
use crate::helpers::MessageReader;
use crate::helpers::edits::MAX_EDITS;
use crate::helpers::messages::{self, Extent, Measured};
use crate::helpers::reading::{Announcer, Part};
use crate::shard::Shard;
use crate::time::Tick;
use crate::verdict::DropReason;

/// What says how long a body is.
const LENGTH: [&str; 2] = ["Content-Length", "l"];

/// Bytes of the shortest segment that Linux reads.
const SHORTEST_IN_LINUX: usize = "SIP/2.0 200".len();

/// How long the message is that begins so.
pub(super) fn measure(measured: &mut Measured, bytes: &[u8]) -> Extent {
    messages::measure(measured, bytes, &LENGTH, is_start)
}

/// The same in Linux, which reads what says its length, whatever it is.
fn measure_as_linux(bytes: &[u8]) -> Option<usize> {
    let mut measured = Measured::default();
    match messages::measure(&mut measured, bytes, &LENGTH, |_| true) {
        Extent::Bytes(len) if measured.framing.has_length() && len <= bytes.len() => Some(len),
        _ => None,
    }
}

impl Shard {
    /// Reads each message that the segment has all of, and again when it comes again.
    pub(super) fn read_sip_as_linux(
        &mut self,
        part: &Part,
        reader: &MessageReader,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        self.refresh(part.announcer.index, Tick::at(self.now).after_ms(super::MASTER_TIMEOUT_S * 1000));
        if payload.len() < SHORTEST_IN_LINUX {
            return Ok(());
        }
        let Part { announcer: Announcer { direction, is_translated, .. }, slot, .. } = *part;
        let mut at = 0;
        while let Some(len) = measure_as_linux(&payload[at..]) {
            let seq = part.seq.wrapping_add(at as u32);
            let shift = self.help.shift(slot, direction).unwrap_or_default();
            let is_known =
                shift.changes_from(seq).first().is_some_and(|it| it.at.wrapping_sub(seq) < len as u32);
            if is_translated && !is_known && self.help.room_for_changes(slot, direction) < MAX_EDITS {
                return Err(DropReason::HelperPartial);
            }
            self.read_message_at(part, reader, &payload[at..at + len], seq, None)?;
            at += len;
        }
        Ok(())
    }
}
