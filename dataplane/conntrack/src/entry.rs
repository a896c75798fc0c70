//! The entry: all that is remembered of one connection, in two cache lines.
//!
//! The first line has both tuples but for the ports of the reply one, deadline, status and counters, the second those ports
//! and the protocol's tracker: what every packet touches. What only the timer wheel and listings look at is kept apart, as
//! [`Cold`]. An IPv4 entry is whole; an IPv6 entry keeps its addresses in a line beside (see [`crate::entries`]).

use crate::ids::PortId;
use crate::time::Tick;
use crate::tuple::{Direction, Selector};
use crate::wheel::Timer;
use bitflags::bitflags;
use std::hint::select_unpredictable;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Status bits of an entry, with Linux's meanings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Status(u16);

bitflags! {
    impl Status: u16 {
        /// Its first packet has met an expectation ([`crate::expectations`]).
        const EXPECTED = 1;
        /// A packet of the reply direction has passed.
        const SEEN_REPLY = 1 << 1;
        /// Never evicted under pressure.
        const ASSURED = 1 << 2;
        /// In the table. Its first packet has left, unless it is [`PENDING`](Self::PENDING).
        const CONFIRMED = 1 << 3;
        /// Its source is translated.
        const SRC_NAT = 1 << 4;
        /// Its destination is translated.
        const DST_NAT = 1 << 5;
        /// It has an extension ([`crate::extension`]).
        const EXTENDED = 1 << 6;
        /// A helper reads it, which its extension names; or its numbers are moved as if one did.
        const HELPER = 1 << 7;
        /// A helper has rewritten text of it ([`crate::helpers`]), or it began with a SYN cookie ([`crate::synproxy`]), and its
        /// sequence numbers are moved.
        const SEQ_ADJUST = 1 << 8;
        /// Installed from a record ([`crate::replica`]), and not at home yet: a peer's, without a packet since, or with windows that are
        /// being learnt.
        const INSTALLED = 1 << 9;
        /// Admitted by endpoint-independent filtering (EIF, RFC 4787 section 5); holds a reference on its server's mapping.
        const EIF = 1 << 10;
        /// Its source is that of its client's endpoint-independent mapping (RFC 4787 section 4.1); holds a reference on that.
        const MAPPED = 1 << 11;
        /// Another shard owns its original tuple, and has a signpost.
        const DELEGATED = 1 << 12;
        /// Another shard owns its reply tuple and has a signpost, or has been asked for one.
        const SIGNPOSTED = 1 << 13;
        /// That shard has not answered yet.
        const PENDING = 1 << 14;
        /// Its source became an address of the box, and it ends when the box loses that.
        const MASQUERADED = 1 << 15;

        /// Its reply tuple is another than the inverse of its original one.
        const TRANSLATED = Self::SRC_NAT.bits() | Self::DST_NAT.bits();
        /// Its packets are rewritten, or may be.
        const REWRITTEN = Self::TRANSLATED.bits() | Self::HELPER.bits();
        /// It holds a reference on a mapping.
        const USES_MAPPING = Self::EIF.bits() | Self::MAPPED.bits();
        /// Its packets are not tracked as they come.
        const APART = Self::PENDING.bits() | Self::SEQ_ADJUST.bits() | Self::INSTALLED.bits();
    }
}

impl Status {
    /// Whether it has a port outside to itself that its first packet came to: that of a mapping, or one that was announced.
    pub(crate) const fn came_by_own_port(self) -> bool {
        self.contains(Self::EIF) || self.contains(Self::EXPECTED.union(Self::DST_NAT))
    }
}

/// Packets and bytes of one direction: 40 bits of packets and 56 bits of bytes in twelve bytes. At
/// 100 Gbit/s the bytes wrap after two months of one connection, the packets after two hours of 64-byte frames
/// at 148 million a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Counter {
    bytes_low: u32,
    packets_low: u32,
    bytes_high: [u8; 3],
    packets_high: u8,
}

impl Counter {
    /// Counts one packet of `bytes`.
    #[inline(always)]
    pub fn add(&mut self, bytes: u32) {
        let (low, carry) = self.bytes_low.overflowing_add(bytes);
        self.bytes_low = low;
        if carry {
            let [a, b, c] = self.bytes_high;
            let [a, b, c, _] = u32::from_le_bytes([a, b, c, 0]).wrapping_add(1).to_le_bytes();
            self.bytes_high = [a, b, c];
        }
        let (low, carry) = self.packets_low.overflowing_add(1);
        self.packets_low = low;
        self.packets_high = self.packets_high.wrapping_add(u8::from(carry));
    }

    /// Packets counted.
    pub const fn packets(&self) -> u64 {
        (self.packets_high as u64) << 32 | self.packets_low as u64
    }

    /// Bytes counted.
    pub const fn bytes(&self) -> u64 {
        let [a, b, c] = self.bytes_high;
        u32::from_le_bytes([a, b, c, 0]) as u64 * (1 << 32) + self.bytes_low as u64
    }
}

/// Bytes that a tracker has in an entry for itself.
pub const TRACKER_BYTES: usize = 52;

/// What a protocol's tracker remembers: raw bytes here, a type of its own there. All zeros at birth.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct TrackerBytes([u8; TRACKER_BYTES]);

impl TrackerBytes {
    /// Begins anew.
    pub(crate) const fn clear(&mut self) {
        self.0 = [0; TRACKER_BYTES];
    }

    /// These bytes as a tracker's own type, which must be exactly as large.
    pub fn get<T: FromBytes + Immutable + KnownLayout>(&self) -> &T {
        const { assert!(size_of::<T>() == TRACKER_BYTES && align_of::<T>() <= 4) };
        zerocopy::transmute_ref!(self)
    }

    /// These bytes as a tracker's own type, to be changed.
    pub fn get_mut<T: FromBytes + IntoBytes + Immutable + KnownLayout>(&mut self) -> &mut T {
        const { assert!(size_of::<T>() == TRACKER_BYTES && align_of::<T>() <= 4) };
        zerocopy::transmute_mut!(self)
    }
}

/// The policy's cached judgement on the established packets of each direction. It holds while the policy's
/// generation and the port that the packet came in by are those it was made for.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Judged {
    /// Policy generation, never 0.
    pub generation: u16,
    /// Ingress port for which each direction was judged.
    pub ingress: [u8; 2],
    /// What it came to for each direction, by its number among the shard's; 0 is nothing.
    pub flow: [u16; 2],
}

impl Judged {
    /// The number of what a direction's packets come to, if that still holds.
    pub(crate) fn get(&self, generation: u16, direction: Direction, ingress: PortId) -> Option<u16> {
        let way = direction as usize;
        let holds = self.generation == generation && self.ingress[way] == ingress.0;
        holds.then_some(self.flow[way])
    }

    /// Forgets what was judged by another generation.
    pub(crate) fn forget_others(&mut self, generation: u16) {
        if self.generation != generation {
            *self = Self::default();
        }
    }

    /// Remembers the number of what a direction's packets come to.
    pub(crate) fn set(&mut self, generation: u16, direction: Direction, ingress: PortId, flow: u16) {
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
        self.ingress[direction as usize] = ingress.0;
        self.flow[direction as usize] = flow;
    }
}

/// One connection.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Entry {
    /// Original tuple but for its addresses.
    pub selector: Selector,
    /// Source and destination address of the original and of the reply tuple of an IPv4 entry; zeros in an IPv6 entry.
    pub addresses: [[u32; 2]; 2],
    /// When it ends unless refreshed.
    pub deadline: Tick,
    /// Status bits.
    pub status: Status,
    /// The tracker's state number, for protocols that have states.
    pub state: u8,
    /// Spare room for the tracker, zero at birth.
    pub detail: u8,
    /// The policy's judgement on its established packets, by direction.
    pub judged: Judged,
    /// Packets and bytes of the original and the reply direction.
    pub counters: [Counter; 2],
    /// The tracker's memory.
    pub tracker: TrackerBytes,
    /// Ports of the reply tuple, as [`Selector::ports`] has them.
    pub reply_ports: u32,
    /// Connection mark.
    pub mark: u32,
    /// How often this slot has been taken.
    pub generation: u32,
}

const _: () = assert!(size_of::<Entry>() == 128, "an entry is two cache lines");

/// What no packet of an established connection looks at.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Cold {
    /// Its links on the timer wheel.
    pub timer: Timer,
    /// Second of its birth, since the shard's epoch.
    pub born_s: u32,
}

impl Entry {
    /// A tuple but for its addresses.
    #[inline]
    pub fn selector(&self, direction: Direction) -> Selector {
        let is_original = direction == Direction::Original;
        self.selector.with_ports(select_unpredictable(is_original, self.selector.ports(), self.reply_ports))
    }

    /// Whether a connection lives here.
    pub const fn is_used(&self) -> bool {
        self.status.contains(Status::CONFIRMED)
    }

    /// Whether its reply tuple is another than the inverse of its original one.
    pub const fn is_translated(&self) -> bool {
        self.status.intersects(Status::TRANSLATED)
    }

    /// Whether it waits for another shard to grant its reply tuple.
    pub const fn is_pending(&self) -> bool {
        self.status.contains(Status::PENDING)
    }

    /// Whether its packets are rewritten, or may be.
    pub const fn is_rewritten(&self) -> bool {
        self.status.intersects(Status::REWRITTEN)
    }

    /// IP protocol number.
    pub const fn protocol(&self) -> u8 {
        self.selector.protocol()
    }

    /// The counter of a direction.
    pub const fn counter(&mut self, direction: Direction) -> &mut Counter {
        &mut self.counters[direction as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_carries_past_32_bits() {
        let mut counter = Counter { bytes_low: u32::MAX - 1, packets_low: u32::MAX, ..Counter::default() };
        counter.add(1500);
        assert_eq!(counter.packets(), 1 << 32);
        assert_eq!(counter.bytes(), u64::from(u32::MAX) - 1 + 1500);
    }
}
