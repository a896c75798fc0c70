//! Verification tags (RFC 9260 sections 5.2, 8.4, 8.5): which packets are an association's, and what proves it.
//!
//! Each end says in INIT or INIT ACK by which tag it wants to be addressed. Anybody can send an INIT, with any tag, and the
//! other end answers it without giving up the association that stands (5.2.2, 5.2.3). So a tag that was asked for only belongs
//! to a handshake, several of which can be under way, until a COOKIE ACK shows that both ends took part in one. A path of
//! which no handshake was seen has its tags from HEARTBEATs; they are replaced if the other end returns what another one said.

use super::Step;
use crate::entry::TRACKER_BYTES;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use crate::wire::checksum::Crc32c;
use crate::wire::sctp::{Chunk, chunk_type};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The fixed fields of INIT and INIT ACK, from the initiate tag to the initial TSN (section 3.3.2).
const INIT_BYTES: usize = 16;

/// The verification tags that packets of the original and of the reply direction carry; 0, which only an INIT carries,
/// while one is unknown.
pub type TagPair = [u32; 2];

/// What the tracker remembers of an association.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SctpMemory {
    /// The association's tags.
    pub tags: TagPair,
    /// Handshakes under way. The first ones stay, so that forged ones cannot displace them; the last one gives way.
    handshakes: [Handshake; 3],
    /// The last HEARTBEAT.
    heartbeat: Heartbeat,
}

const _: () = assert!(size_of::<SctpMemory>() == TRACKER_BYTES);

/// An INIT, and one INIT ACK that answered it: each answer to an INIT that came twice may ask for another tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Handshake {
    tags: TagPair,
    /// Who sent the INIT; see [`number`].
    by: u8,
    /// 1 once the INIT's sender has echoed the cookie.
    echoed: u8,
    spare: [u8; 2],
}

/// A HEARTBEAT that may be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Heartbeat {
    tag: u32,
    /// A digest of what the answer returns (section 3.3.6).
    digest: u16,
    /// Who sent it; see [`number`].
    by: u8,
    spare: u8,
}

/// How a packet's tag belongs to the association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the association's.
    Association,
    /// It is that of a handshake under way.
    Handshake,
    /// It completes a handshake, whose tags are the association's from now on.
    Completes,
    /// It is that of a HEARTBEAT which its receiver may or may not answer.
    Foreign,
}

/// A direction, apart from nobody's 0.
const fn number(direction: Direction) -> u8 {
    1 + direction as u8
}

impl Step<'_> {
    /// Judges a packet's tag (sections 8.5 and 8.5.1), and notes what the packet says of tags. `stands` says whether there is
    /// an association, which a handshake can only replace as a whole.
    pub fn standing(&self, memory: &mut SctpMemory, stands: bool) -> Result<Standing, InvalidReason> {
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
                        *memory = SctpMemory { tags, ..SctpMemory::default() };
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
        memory.heartbeat = Heartbeat { tag, digest, by: number(self.direction), spare: 0 };
        Ok(standing.unwrap_or(Standing::Foreign))
    }

    /// The answer to a HEARTBEAT shows both tags: its own, and that by which the HEARTBEAT has reached its sender.
    fn heartbeat_ack(&self, memory: &mut SctpMemory) -> Result<Standing, InvalidReason> {
        let [ours, theirs] = [self.direction as usize, self.direction.invert() as usize];
        let Heartbeat { tag, digest, by, .. } = memory.heartbeat;
        let may_prove = !self.bundle.has_any(&[chunk_type::DATA]);
        if may_prove
            && by == number(self.direction.invert())
            && digest == self.digest(chunk_type::HEARTBEAT_ACK)
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

impl SctpMemory {
    /// Notes a handshake whose INIT went in direction `by`.
    fn begin(&mut self, by: Direction, tags: TagPair) {
        let free = self.handshakes.iter().position(|handshake| handshake.by == 0);
        let place = free.unwrap_or(self.handshakes.len() - 1);
        self.handshakes[place] = Handshake { tags, by: number(by), echoed: 0, spare: [0; 2] };
    }

    /// The first handshake whose INIT went in direction `by` and for which `holds`.
    fn handshake(&mut self, by: Direction, holds: impl Fn(&Handshake) -> bool) -> Option<&mut Handshake> {
        self.handshakes.iter_mut().find(|handshake| handshake.by == number(by) && holds(handshake))
    }

    /// How a tag of packets of `direction` belongs to the association.
    fn find(&self, direction: Direction, tag: u32) -> Result<Standing, InvalidReason> {
        let ours = direction as usize;
        if self.tags[ours] == tag {
            Ok(Standing::Association)
        } else if self.handshakes.iter().any(|handshake| handshake.tags[ours] == tag) {
            Ok(Standing::Handshake)
        } else {
            Err(InvalidReason::SctpTag)
        }
    }

    /// The same, but a tag that is unknown is taken from the packet.
    fn find_or_learn(&mut self, direction: Direction, tag: u32) -> Result<Standing, InvalidReason> {
        let found = self.find(direction, tag);
        let ours = &mut self.tags[direction as usize];
        if found.is_err() && *ours == 0 {
            *ours = tag;
            return Ok(Standing::Association);
        }
        found
    }
}
