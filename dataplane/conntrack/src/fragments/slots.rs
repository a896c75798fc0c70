//! The slots of the packets that are held: a slab, in which the fragments of a datagram are a chain in their order.

use super::NONE;
use super::piece::Piece;
use crate::frame::Frame;
use crate::settings::FRAGMENT_BUFFER_BYTES;
use crate::verdict::FragmentOffsets;

/// The fragments before and behind a position in a datagram: [`NONE`] at its ends.
pub(super) type Neighbours = [u32; 2];

#[derive(Debug)]
pub(super) struct Slot<P> {
    pub(super) packet: Option<P>,
    /// Where its bytes are in the datagram.
    pub(super) start: u32,
    pub(super) end: u32,
    /// And where the fragment is in its frame.
    pub(super) offsets: FragmentOffsets,
    /// Headers in front of them that the datagram's length counts, in bytes.
    pub(super) header_bytes: u16,
    /// Buffers that the packet takes.
    pub(super) buffers: u16,
    pub(super) previous: u32,
    /// The next of its datagram, or of the free slots.
    pub(super) next: u32,
}

#[derive(Debug)]
pub(super) struct Slots<P> {
    slots: Box<[Slot<P>]>,
    free: u32,
    len: u32,
}

impl<P> Slots<P> {
    pub(super) fn new(room: u32) -> Self {
        let slot = |number: u32| Slot {
            packet: None,
            start: 0,
            end: 0,
            offsets: FragmentOffsets { l3: 0, payload: 0 },
            header_bytes: 0,
            buffers: 0,
            previous: NONE,
            next: if number + 1 < room { number + 1 } else { NONE },
        };
        Self { slots: (0..room).map(slot).collect(), free: if room > 0 { 0 } else { NONE }, len: 0 }
    }

    /// Packets that are held.
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) const fn is_full(&self) -> bool {
        self.free == NONE
    }

    /// What is in all slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<&P>> {
        self.slots.iter().map(|slot| slot.packet.as_ref())
    }

    pub(super) fn get(&self, number: u32) -> Option<&Slot<P>> {
        self.slots.get(number as usize)
    }

    /// Fetches a slot, if there is one of this number.
    pub(super) fn prefetch(&self, number: u32) {
        self.get(number).into_iter().for_each(sluice_memory::prefetch);
    }

    pub(super) fn at(&self, number: u32) -> &Slot<P> {
        &self.slots[number as usize]
    }

    pub(super) fn at_mut(&mut self, number: u32) -> &mut Slot<P> {
        &mut self.slots[number as usize]
    }

    /// Puts a packet between two others of its datagram, or at an end. There is room.
    pub(super) fn insert(
        &mut self,
        piece: &Piece,
        packet: P,
        buffers: u16,
        [previous, next]: Neighbours,
    ) -> u32 {
        let number = self.free;
        let slot = &mut self.slots[number as usize];
        self.free = slot.next;
        slot.packet = Some(packet);
        (slot.start, slot.end, slot.offsets) = (piece.start, piece.end, piece.offsets);
        (slot.header_bytes, slot.buffers) = (piece.header_bytes, buffers);
        (slot.previous, slot.next) = (previous, next);
        if previous != NONE {
            self.at_mut(previous).next = number;
        }
        if next != NONE {
            self.at_mut(next).previous = number;
        }
        self.len += 1;
        number
    }

    /// Takes a packet out, and gives the number of the next one.
    pub(super) fn take(&mut self, number: u32) -> (Option<P>, u32) {
        let free = self.free;
        let slot = self.at_mut(number);
        let packet = slot.packet.take();
        let next = std::mem::replace(&mut slot.next, free);
        self.free = number;
        self.len -= 1;
        (packet, next)
    }
}

/// Buffers that a packet takes.
pub(super) fn buffers<P: Frame>(packet: &P) -> u16 {
    let buffers = (packet.len_bytes() as u32).div_ceil(FRAGMENT_BUFFER_BYTES);
    buffers.clamp(1, u16::MAX.into()) as u16
}
