//! What a SYN offered that passed without being understood, in one byte of the entry.

use super::TcpState;
use super::memory;
use super::side::Traits;
use crate::wire::tcp::Segment;
use bitflags::bitflags;

/// What is remembered of the last such SYN: [`crate::entry::Entry::detail`]. The low half is its window scale.
#[derive(Clone, Copy, Debug)]
pub struct Offer(pub u8);

bitflags! {
    impl Offer: u8 {
        /// It offered window scaling.
        const SCALES = 1 << 4;
        /// It permitted SACK.
        const SACK = 1 << 5;
        /// It came in LAST_ACK: the next ACK may be a challenge (RFC 5961 section 4) and not the last one.
        const CHALLENGED = 1 << 6;
        /// Both ends have sent a SYN.
        const CROSSED = 1 << 7;
        /// The window scale is no flag.
        const _ = Self::SCALE;
    }
}

impl Offer {
    const SCALE: u8 = 0x0f;

    /// What a SYN offers that is ignored in `state`.
    pub fn of(segment: &Segment<'_>, state: TcpState) -> Self {
        let (scale, traits) = memory::options(segment);
        let mut offer = Self(scale);
        offer.set(Self::SCALES, traits.contains(Traits::SCALES));
        offer.set(Self::SACK, traits.contains(Traits::SACK));
        offer.set(Self::CHALLENGED, state == TcpState::LastAck);
        offer
    }

    /// The window scale.
    pub const fn scale(self) -> u8 {
        self.0 & Self::SCALE
    }

    /// The traits of its sender.
    pub fn traits(self) -> Traits {
        let mut traits = Traits::default();
        traits.set(Traits::SCALES, self.contains(Self::SCALES));
        traits.set(Traits::SACK, self.contains(Self::SACK));
        traits
    }
}
