//! The SCTP tracker (RFC 9260).
//!
//! Three checks, in this order. The chunks of a packet must be allowed to travel together (section 6.10), its
//! verification tag must be the association's (section 8.5; `tags.rs`), and each chunk must fit the state (`state.rs`).

mod state;
mod tags;

pub use state::SctpState;

use self::state::ChunkKind;
pub use self::tags::TagPair;
use self::tags::{SctpMemory, Standing};
use super::{Context, Update};
use crate::entry::{Entry, Status};
use crate::headers::Packet;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use crate::wire::sctp::{SctpPacket, chunk_type};

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

/// Which chunk types a packet has, as bits; those from [`OTHERS`] on share one.
#[derive(Clone, Copy)]
struct Bundle(u32);

/// No type that is looked for is as high.
const OTHERS: u8 = 31;

impl Bundle {
    /// Checks that the chunks of a packet may travel together.
    fn of(packet: &SctpPacket<'_>) -> Result<Self, InvalidReason> {
        let mut types = 0;
        let mut count = 0;
        for chunk in packet.chunks() {
            let Ok(chunk) = chunk else { return Err(InvalidReason::SctpChunk) };
            let leads = matches!(chunk.kind, chunk_type::COOKIE_ECHO | chunk_type::COOKIE_ACK);
            if leads && count > 0 {
                return Err(InvalidReason::SctpChunk);
            }
            types |= 1 << chunk.kind.min(OTHERS);
            count += 1;
        }
        let alone = [chunk_type::INIT, chunk_type::INIT_ACK, chunk_type::SHUTDOWN_COMPLETE];
        match count {
            0 => Err(InvalidReason::SctpChunk),
            2.. if Self(types).has_any(&alone) => Err(InvalidReason::SctpChunk),
            _ => Ok(Self(types)),
        }
    }

    fn has_any(self, types: &[u8]) -> bool {
        types.iter().any(|kind| self.0 & 1 << kind != 0)
    }

    /// Whether it has no other types than these.
    fn has_only(self, types: &[u8]) -> bool {
        self.0 & !types.iter().fold(0, |all, kind| all | 1 << kind) == 0
    }
}

/// What became of a packet that is not INVALID.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Counted,
    Ignored,
}

/// One packet on its way through an association's state.
struct Step<'a> {
    packet: &'a SctpPacket<'a>,
    bundle: Bundle,
    direction: Direction,
}

impl Step<'_> {
    /// Takes all chunks, or none if the tag is wrong or one of them does not fit.
    fn take(&self, entry: &mut Entry) -> Result<Taken, InvalidReason> {
        let state = SctpState::ALL.get(usize::from(entry.state)).copied().unwrap_or(SctpState::None);
        let mut memory = *entry.tracker.get::<SctpMemory>();
        let standing = self.standing(&mut memory, state.stands())?;
        let next = match standing {
            // A handshake cannot touch an association that stands before it is complete.
            Standing::Handshake if state.stands() => None,
            Standing::Foreign => None,
            Standing::Completes => Some(SctpState::Established),
            Standing::Association | Standing::Handshake => Some(self.after(state)?),
        };
        *entry.tracker.get_mut::<SctpMemory>() = memory;
        let Some(next) = next else { return Ok(Taken::Ignored) };
        entry.state = next as u8;
        if next == SctpState::Established {
            entry.status.insert(Status::ASSURED);
        }
        // An INIT that is sent again and again must not keep an unanswered entry for ever.
        let is_unanswered = (state, next) == (SctpState::Closed, SctpState::Closed);
        let is_repeated = is_unanswered && self.bundle.has_any(&[chunk_type::INIT]);
        Ok(if is_repeated { Taken::Ignored } else { Taken::Counted })
    }

    /// The state after all chunks.
    fn after(&self, state: SctpState) -> Result<SctpState, InvalidReason> {
        let mut kinds = self.packet.chunks().flatten().filter_map(|chunk| ChunkKind::of(chunk.kind));
        kinds.try_fold(state, |state, kind| state.after(self.direction, kind)).ok_or(InvalidReason::SctpChunk)
    }
}

#[cfg(test)]
mod tests;
