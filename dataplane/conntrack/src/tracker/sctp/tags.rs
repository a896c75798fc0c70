//! Verification tags (RFC 9260 sections 5.2, 8.4, 8.5): which packets are an association's, and what proves it.
//!
//! Each end says in INIT or INIT ACK by which tag it wants to be addressed. Anybody can send an INIT, with any tag, and the
//! other end answers it without giving up the association that stands (5.2.2, 5.2.3). So a tag that was asked for only belongs
//! to a handshake, several of which can be under way, until a COOKIE ACK shows that both ends took part in one. A path of
//! which no handshake was seen has its tags from HEARTBEATs; they are replaced if the other end returns what another one said.

use crate::entry::TRACKER_BYTES;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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
    /// The tags that both ask for; 0 while one is unknown.
    pub tags: TagPair,
    /// Who sent the INIT; see [`number`].
    by: u8,
    /// 1 once the INIT's sender has echoed the cookie.
    pub echoed: u8,
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

impl SctpMemory {
    /// Notes a handshake whose INIT went in direction `by`.
    pub fn begin(&mut self, by: Direction, tags: TagPair) {
        let free = self.handshakes.iter().position(|handshake| handshake.by == 0);
        let index = free.unwrap_or(self.handshakes.len() - 1);
        self.handshakes[index] = Handshake { tags, by: number(by), echoed: 0, spare: [0; 2] };
    }

    /// The first handshake whose INIT went in direction `by` and for which `holds`.
    pub fn handshake(&mut self, by: Direction, holds: impl Fn(&Handshake) -> bool) -> Option<&mut Handshake> {
        self.handshakes.iter_mut().find(|handshake| handshake.by == number(by) && holds(handshake))
    }

    /// A handshake is complete: its tags are the association's, and none is under way any more.
    pub fn complete(&mut self, tags: TagPair) {
        *self = Self { tags, ..Self::default() };
    }

    /// Notes a HEARTBEAT that went in direction `by`, in the index of the one before.
    pub const fn note_heartbeat(&mut self, by: Direction, tag: u32, digest: u16) {
        self.heartbeat = Heartbeat { tag, digest, by: number(by), spare: 0 };
    }

    /// The tag of the HEARTBEAT that went in direction `by` and whose answer returns what has this digest.
    pub fn heartbeat(&self, by: Direction, digest: u16) -> Option<u32> {
        let last = &self.heartbeat;
        (last.by == number(by) && last.digest == digest).then_some(last.tag)
    }

    /// How a tag of packets of `direction` belongs to the association.
    pub fn find(&self, direction: Direction, tag: u32) -> Result<Standing, InvalidReason> {
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
    pub fn find_or_learn(&mut self, direction: Direction, tag: u32) -> Result<Standing, InvalidReason> {
        let found = self.find(direction, tag);
        let ours = &mut self.tags[direction as usize];
        if found.is_err() && *ours == 0 {
            *ours = tag;
            return Ok(Standing::Association);
        }
        found
    }
}
