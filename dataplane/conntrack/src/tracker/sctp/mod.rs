//! The SCTP tracker (RFC 9260).
//!
//! Three checks, in this order. The chunks of a packet must be allowed to travel together (section 6.10), its
//! verification tag must be the association's (section 8.5), and each chunk must fit the state.

mod state;

pub use state::SctpState;

use self::state::ChunkKind;
use super::{Context, Update};
use crate::entry::{Entry, Status, TRACKER_BYTES};
use crate::headers::Packet;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use crate::wire::sctp::{Chunk, SctpPacket, chunk_type};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The fixed fields of INIT and INIT ACK, from the initiate tag to the initial TSN (section 3.3.2).
const INIT_BYTES: usize = 16;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Memory {
    /// The verification tag that packets of each direction carry; 0 while it is unknown.
    tags: [u32; 2],
    /// Whether each direction has an INIT under way: both have in a collision.
    inits: [u8; 2],
    /// A HEARTBEAT with a foreign tag waits for its answer: 1 + its direction, or 0.
    probe: u8,
    spare: [u8; TRACKER_BYTES - 11],
}

/// Judges the first packet of an association, or of a further path of one.
pub fn open(context: Context<'_>, packet: Packet<'_>, entry: &mut Entry) -> Result<u32, InvalidReason> {
    let packet = SctpPacket::parse(&packet).ok_or(InvalidReason::ShortHeader)?;
    let bundle = Bundle::of(&packet)?;
    // Section 8.4: out of the blue these are discarded, and not even answered.
    if bundle.has_any(&[chunk_type::ABORT, chunk_type::SHUTDOWN_COMPLETE, chunk_type::COOKIE_ACK]) {
        return Err(InvalidReason::SctpChunk);
    }
    let memory = entry.tracker.get_mut::<Memory>();
    for chunk in packet.chunks().flatten() {
        match ChunkKind::of(chunk.kind) {
            None => return Err(InvalidReason::SctpChunk),
            Some(ChunkKind::Init | ChunkKind::Heartbeat) => {}
            // Whoever answers it does so with its own tag.
            Some(_) => memory.tags[Direction::Reply as usize] = packet.tag,
        }
    }
    entry.state = SctpState::None as u8;
    let step = Step { packet: &packet, bundle, direction: Direction::Original };
    step.take(entry)?;
    Ok(context.settings.timeouts.sctp_ms[usize::from(entry.state)])
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

/// Which chunk types a packet has, of the first 32.
#[derive(Clone, Copy)]
struct Bundle(u32);

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
            types |= 1_u32.checked_shl(chunk.kind.into()).unwrap_or(0);
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

    /// Whether a chunk has a tag rule of its own, which then holds for what travels with it.
    fn has_own_tag_rule(self) -> bool {
        self.has_any(&[
            chunk_type::INIT,
            chunk_type::ABORT,
            chunk_type::SHUTDOWN_ACK,
            chunk_type::SHUTDOWN_COMPLETE,
            chunk_type::COOKIE_ECHO,
            chunk_type::HEARTBEAT,
            chunk_type::HEARTBEAT_ACK,
        ])
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
    /// Takes all chunks, or none if one of them does not fit.
    fn take(&self, entry: &mut Entry) -> Result<Taken, InvalidReason> {
        let mut memory = *entry.tracker.get::<Memory>();
        let mut state = SctpState::ALL.get(usize::from(entry.state)).copied().unwrap_or(SctpState::None);
        let mut taken = Taken::Counted;
        for chunk in self.packet.chunks().flatten() {
            let kind = ChunkKind::of(chunk.kind);
            if self.check_tag(&chunk, kind, &mut memory, taken)? == Taken::Ignored {
                taken = Taken::Ignored;
                continue;
            }
            let Some(kind) = kind else { continue };
            let next = state.after(self.direction, kind).ok_or(InvalidReason::SctpChunk)?;
            self.learn(&chunk, kind, &mut memory)?;
            // An INIT that is sent again and again must not keep an unanswered entry for ever.
            if kind == ChunkKind::Init && (state, next) == (SctpState::Closed, SctpState::Closed) {
                taken = Taken::Ignored;
            }
            state = next;
        }
        *entry.tracker.get_mut::<Memory>() = memory;
        entry.state = state as u8;
        if state == SctpState::Established {
            entry.status.set(Status::ASSURED);
        }
        Ok(taken)
    }

    /// The places of the sender and of the other side in [`Memory`].
    const fn sides(&self) -> [usize; 2] {
        [self.direction as usize, self.direction.invert() as usize]
    }

    /// Checks the verification tag for one chunk (sections 8.5 and 8.5.1).
    fn check_tag(
        &self,
        chunk: &Chunk<'_>,
        kind: Option<ChunkKind>,
        memory: &mut Memory,
        taken: Taken,
    ) -> Result<Taken, InvalidReason> {
        let [ours, theirs] = self.sides();
        let expected = match kind {
            Some(ChunkKind::Heartbeat) => return self.check_path(false, memory, taken),
            Some(ChunkKind::HeartbeatAck) => return self.check_path(true, memory, taken),
            // The sender may have forgotten the association, and its tag with it (section 8.4).
            Some(ChunkKind::ShutdownAck) => return Ok(Taken::Counted),
            None if self.bundle.has_own_tag_rule() => return Ok(Taken::Counted),
            Some(ChunkKind::Init) => 0,
            Some(ChunkKind::Abort | ChunkKind::ShutdownComplete) if chunk.is_reflected() => {
                memory.tags[theirs]
            }
            _ => memory.tags[ours],
        };
        if self.packet.tag == expected { Ok(Taken::Counted) } else { Err(InvalidReason::SctpTag) }
    }

    /// Checks the verification tag for a HEARTBEAT or its answer. The ends may have agreed on their tags by a
    /// path that does not lead through here: a foreign tag is passed without a say, and believed once the
    /// answer shows that the other end knows it.
    fn check_path(&self, is_answer: bool, memory: &mut Memory, taken: Taken) -> Result<Taken, InvalidReason> {
        let [ours, theirs] = self.sides();
        let probe_by = |side: usize| 1 + side as u8;
        if memory.tags[ours] == 0 {
            memory.tags[ours] = self.packet.tag;
        } else if memory.tags[ours] == self.packet.tag {
            memory.probe = 0;
        } else if self.bundle.has_any(&[chunk_type::DATA]) || taken == Taken::Ignored {
            return Err(InvalidReason::SctpTag);
        } else if !is_answer {
            memory.probe = probe_by(ours);
            return Ok(Taken::Ignored);
        } else if memory.probe == probe_by(theirs) {
            memory.probe = 0;
            memory.tags[ours] = self.packet.tag;
            memory.tags[theirs] = 0;
        } else {
            return Err(InvalidReason::SctpTag);
        }
        Ok(Taken::Counted)
    }

    /// Notes the tag that INIT and INIT ACK ask the other side to use.
    fn learn(&self, chunk: &Chunk<'_>, kind: ChunkKind, memory: &mut Memory) -> Result<(), InvalidReason> {
        let [ours, theirs] = self.sides();
        match kind {
            ChunkKind::Init => {
                memory.tags[theirs] = asked_tag(chunk)?;
                // A third INIT begins anew: it is no collision with the one before it.
                if memory.inits == [1, 1] {
                    memory.inits[theirs] = 0;
                }
                memory.inits[ours] = 1;
            }
            ChunkKind::InitAck => {
                let tag = asked_tag(chunk)?;
                // One that answers no INIT, or was overtaken by a collision (section 5.2.1), must not overwrite a
                // tag that is known.
                let answers = memory.inits[theirs] != 0;
                let known = if answers { memory.inits[ours] != 0 } else { memory.tags[theirs] != 0 };
                if known && tag != memory.tags[theirs] {
                    return Err(InvalidReason::SctpTag);
                }
                memory.tags[theirs] = tag;
            }
            ChunkKind::CookieAck => memory.inits = [0, 0],
            _ => {}
        }
        Ok(())
    }
}

/// The tag that the sender of an INIT or INIT ACK wants to be addressed by.
fn asked_tag(chunk: &Chunk<'_>) -> Result<u32, InvalidReason> {
    chunk.initiate_tag().filter(|_| chunk.value.len() >= INIT_BYTES).ok_or(InvalidReason::SctpChunk)
}

#[cfg(test)]
mod tests;
