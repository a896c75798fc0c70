//! The SCTP tracker (RFC 9260).
//!
//! Three checks, in this order. The chunks of a packet must be allowed to travel together (section 6.10; `bundle.rs`), its
//! verification tag must be the association's (section 8.5; `tags.rs`), and each chunk must fit the state (`state.rs`).

mod bundle;
mod state;
mod step;
mod tags;

pub use state::SctpState;
pub use tags::TagPair;

use super::{Context, Update};
use crate::entry::Entry;
use crate::headers::Packet;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use crate::wire::sctp::{SctpPacket, chunk_type};
use bundle::Bundle;
use state::ChunkKind;
use step::{Step, Taken};
use tags::SctpMemory;

/// Judges the first packet of an association, or of a further path of one.
pub fn open(context: Context<'_>, packet: Packet<'_>, entry: &mut Entry) -> Result<u32, InvalidReason> {
    let packet = SctpPacket::parse(&packet).ok_or(InvalidReason::ShortHeader)?;
    let bundle = Bundle::of(&packet)?;
    // Section 8.4: out of the blue these are discarded, and not even answered.
    if bundle.has_any(&[chunk_type::ABORT, chunk_type::SHUTDOWN_COMPLETE, chunk_type::COOKIE_ACK]) {
        return Err(InvalidReason::SctpChunk);
    }
    if packet.chunks().flatten().any(|chunk| ChunkKind::of(chunk.kind).is_none()) {
        return Err(InvalidReason::SctpChunk);
    }
    entry.state = SctpState::None as u8;
    let step = Step { packet: &packet, bundle, direction: Direction::Original };
    step.take(entry)?;
    Ok(context.settings.timeouts.sctp_ms[usize::from(entry.state)])
}

/// Begins an association of which no packet was seen, but whose tags are known.
pub fn begin_unseen(entry: &mut Entry, tags: TagPair) {
    entry.tracker.get_mut::<SctpMemory>().tags = tags;
}

/// The tags of an association, 0 where one is unknown.
pub fn tags(entry: &Entry) -> TagPair {
    entry.tracker.get::<SctpMemory>().tags
}

/// Judges a further packet.
pub fn update(context: Context<'_>, packet: Packet<'_>, entry: &mut Entry, direction: Direction) -> Update {
    let Some(packet) = SctpPacket::parse(&packet) else {
        return Update::Invalid(InvalidReason::ShortHeader);
    };
    let taken =
        Bundle::of(&packet).and_then(|bundle| Step { packet: &packet, bundle, direction }.take(entry));
    match taken {
        Ok(Taken::Counted) => {
            Update::Refresh { timeout_ms: context.settings.timeouts.sctp_ms[usize::from(entry.state)] }
        }
        Ok(Taken::Ignored) => Update::Ignore,
        Err(reason) => Update::Invalid(reason),
    }
}

#[cfg(test)]
mod tests;
