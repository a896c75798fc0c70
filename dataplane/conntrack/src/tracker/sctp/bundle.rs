//! Which chunks travel together in a packet (RFC 9260 section 6.10).

use crate::verdict::InvalidReason;
use crate::wire::sctp::{SctpPacket, chunk_type};

/// Which chunk types a packet has, as bits; those from [`OTHERS`] on share one.
#[derive(Clone, Copy)]
pub struct Bundle(u32);

/// No type that is looked for is as high.
const OTHERS: u8 = 31;

impl Bundle {
    /// Checks that the chunks of a packet may travel together.
    pub fn of(packet: &SctpPacket<'_>) -> Result<Self, InvalidReason> {
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

    pub fn has_any(self, types: &[u8]) -> bool {
        types.iter().any(|kind| self.0 & 1 << kind != 0)
    }

    /// Whether it has no other types than these.
    pub fn has_only(self, types: &[u8]) -> bool {
        self.0 & !types.iter().fold(0, |all, kind| all | 1 << kind) == 0
    }
}
