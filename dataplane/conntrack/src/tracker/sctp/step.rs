//! A packet on its way through an association: its tag must be the association's, or of a handshake under way (RFC 9260 section
//! 8.5), and each of its chunks must fit the state.

use super::bundle::Bundle;
use super::state::{ChunkKind, SctpState};
use super::tags::{Handshake, SctpMemory, Standing};
use crate::entry::{Entry, Status};
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use crate::wire::checksum::Crc32c;
use crate::wire::sctp::{Chunk, SctpPacket, chunk_type};

/// The fixed fields of INIT and INIT ACK, from the initiate tag to the initial TSN (section 3.3.2).
const INIT_BYTES: usize = 16;

/// What became of a packet that is not INVALID.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Counted,
    Ignored,
}

/// One packet on its way through an association's state.
pub struct Step<'a> {
    pub packet: &'a SctpPacket<'a>,
    pub bundle: Bundle,
    pub direction: Direction,
}

impl Step<'_> {
    /// Takes all chunks, or none if the tag is wrong or one of them does not fit.
    pub fn take(&self, entry: &mut Entry) -> Result<Taken, InvalidReason> {
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

    /// Judges a packet's tag (sections 8.5 and 8.5.1), and notes what the packet says of tags. `stands` says whether there is
    /// an association, which a handshake can only replace as a whole.
    fn standing(&self, memory: &mut SctpMemory, stands: bool) -> Result<Standing, InvalidReason> {
        let tag = self.packet.tag;
        let bundle = self.bundle;
        let has = |kind| bundle.has_any(&[kind]);
        if has(chunk_type::INIT) {
            return if tag == 0 { self.init(memory, stands) } else { Err(InvalidReason::SctpTag) };
        }
        if tag == 0 {
            return Err(InvalidReason::SctpTag);
        }
        let ours = self.direction;
        match () {
            () if has(chunk_type::INIT_ACK) => self.init_ack(memory),
            () if has(chunk_type::ABORT) => memory.find(self.reflects(chunk_type::ABORT), tag),
            () if has(chunk_type::SHUTDOWN_COMPLETE) => {
                memory.find(self.reflects(chunk_type::SHUTDOWN_COMPLETE), tag)
            }
            () if has(chunk_type::COOKIE_ECHO) => {
                if let Some(handshake) = memory.handshake(ours, |h| h.tags[ours as usize] == tag) {
                    handshake.echoed = 1;
                }
                memory.find(ours, tag)
            }
            () if has(chunk_type::COOKIE_ACK) => {
                let echoed = |h: &Handshake| h.echoed != 0 && h.tags[ours as usize] == tag;
                match memory.handshake(ours.invert(), echoed) {
                    Some(&mut Handshake { tags, .. }) => {
                        memory.complete(tags);
                        Ok(Standing::Completes)
                    }
                    None => memory.find(ours, tag),
                }
            }
            () if has(chunk_type::HEARTBEAT_ACK) => self.heartbeat_ack(memory),
            () if has(chunk_type::HEARTBEAT) => self.heartbeat(memory),
            // While nothing stands, the sender may mean an association that its receiver has forgotten: the answer returns the
            // tag (section 8.4).
            () if has(chunk_type::SHUTDOWN_ACK) && !stands => memory.find_or_learn(ours, tag),
            () => memory.find(ours, tag),
        }
    }

    /// Whose tag an ABORT or SHUTDOWN COMPLETE carries: with the T bit that of the packet which it answers.
    fn reflects(&self, kind: u8) -> Direction {
        let is_reflected = self.chunk(kind).is_some_and(|chunk| chunk.is_reflected());
        if is_reflected { self.direction.invert() } else { self.direction }
    }

    /// Notes a handshake, unless the INIT is known or an old copy of the one that the association came from.
    fn init(&self, memory: &mut SctpMemory, stands: bool) -> Result<Standing, InvalidReason> {
        let theirs = self.direction.invert() as usize;
        let asked = self.asked_tag(chunk_type::INIT)?;
        let is_known = |h: &Handshake| h.tags[theirs] == asked;
        if !(stands && memory.tags[theirs] == asked) && memory.handshake(self.direction, is_known).is_none() {
            let mut tags = [0; 2];
            tags[theirs] = asked;
            memory.begin(self.direction, tags);
        }
        Ok(Standing::Handshake)
    }

    /// Notes the tag that an INIT ACK asks for. One that answers no INIT can only be a copy.
    fn init_ack(&self, memory: &mut SctpMemory) -> Result<Standing, InvalidReason> {
        let [ours, theirs] = [self.direction as usize, self.direction.invert() as usize];
        let mut tags = [self.packet.tag; 2];
        tags[theirs] = self.asked_tag(chunk_type::INIT_ACK)?;
        let by = self.direction.invert();
        let answered = |h: &Handshake| h.tags[ours] == tags[ours];
        let may_be = |h: &Handshake| answered(h) && (h.tags[theirs] == 0 || h.tags[theirs] == tags[theirs]);
        if let Some(handshake) = memory.handshake(by, may_be) {
            handshake.tags = tags;
        } else if memory.handshake(by, answered).is_some() {
            memory.begin(by, tags);
        } else {
            let is_copy = memory.tags == tags;
            return if is_copy { Ok(Standing::Association) } else { Err(InvalidReason::SctpTag) };
        }
        Ok(Standing::Handshake)
    }

    /// A HEARTBEAT of a foreign tag may come from ends that agreed on their tags by another path.
    fn heartbeat(&self, memory: &mut SctpMemory) -> Result<Standing, InvalidReason> {
        let tag = self.packet.tag;
        let standing = memory.find_or_learn(self.direction, tag);
        if standing.is_err() && !self.bundle.has_only(&[chunk_type::HEARTBEAT, chunk_type::SACK]) {
            return standing;
        }
        let digest = self.digest(chunk_type::HEARTBEAT);
        memory.note_heartbeat(self.direction, tag, digest);
        Ok(standing.unwrap_or(Standing::Foreign))
    }

    /// The answer to a HEARTBEAT shows both tags: its own, and that by which the HEARTBEAT has reached its sender.
    fn heartbeat_ack(&self, memory: &mut SctpMemory) -> Result<Standing, InvalidReason> {
        let [ours, theirs] = [self.direction as usize, self.direction.invert() as usize];
        let heartbeat = memory.heartbeat(self.direction.invert(), self.digest(chunk_type::HEARTBEAT_ACK));
        if let Some(tag) = heartbeat
            && !self.bundle.has_any(&[chunk_type::DATA])
        {
            memory.tags[theirs] = tag;
            memory.tags[ours] = self.packet.tag;
        }
        memory.find_or_learn(self.direction, self.packet.tag)
    }

    /// The tag by which the sender of an INIT or INIT ACK wants to be addressed; never 0 (section 3.3.2).
    fn asked_tag(&self, kind: u8) -> Result<u32, InvalidReason> {
        let chunk = self.chunk(kind).filter(|chunk| chunk.value.len() >= INIT_BYTES);
        chunk.and_then(|chunk| chunk.initiate_tag()).filter(|tag| *tag != 0).ok_or(InvalidReason::SctpChunk)
    }

    fn digest(&self, kind: u8) -> u16 {
        let information = self.chunk(kind).map_or(&[][..], |chunk| chunk.value);
        let [low, high, ..] = Crc32c::default().bytes(information).to_wire();
        u16::from_le_bytes([low, high])
    }

    fn chunk(&self, kind: u8) -> Option<Chunk<'_>> {
        self.packet.chunks().flatten().find(|chunk| chunk.kind == kind)
    }
}
