//! What a SYN offered that passed without being understood, in one byte of the entry.

use super::TcpState;
use super::memory::{self, Traits};
use crate::wire::tcp::Segment;

/// What is remembered of the last such SYN: [`crate::entry::Entry::detail`]. The low half is its window scale.
#[derive(Clone, Copy, Debug)]
pub struct Offer(pub u8);

impl Offer {
    const SCALE: u8 = 0x0f;
    /// It offered window scaling.
    const SCALES: Self = Self(1 << 4);
    /// It permitted SACK.
    const SACK: Self = Self(1 << 5);
    /// It came in LAST_ACK: the next ACK may be a challenge (RFC 5961 section 4) and not the last one.
    pub const CHALLENGED: Self = Self(1 << 6);
    /// Both ends have sent a SYN.
    pub const CROSSED: Self = Self(1 << 7);

    /// Whether `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What a SYN offers that is ignored in `state`.
    pub fn of(segment: &Segment<'_>, state: TcpState) -> Self {
        let (scale, traits) = memory::options(segment);
        let scales = if traits.has(Traits::SCALES) { Self::SCALES.0 } else { 0 };
        let sack = if traits.has(Traits::SACK) { Self::SACK.0 } else { 0 };
        let challenged = if state == TcpState::LastAck { Self::CHALLENGED.0 } else { 0 };
        Self(scale | scales | sack | challenged)
    }

    /// The window scale.
    pub const fn scale(self) -> u8 {
        self.0 & Self::SCALE
    }

    /// The traits of its sender.
    pub fn traits(self) -> Traits {
        let mut traits = Traits::default();
        if self.has(Self::SCALES) {
            traits.set(Traits::SCALES);
        }
        if self.has(Self::SACK) {
            traits.set(Traits::SACK);
        }
        traits
    }
}
