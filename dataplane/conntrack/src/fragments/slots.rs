//! The slots of the packets that are held: a slab, in which the fragments of a datagram are a chain.

use super::NONE;
use super::piece::Piece;
use crate::frame::Frame;
use crate::settings::FRAGMENT_BUFFER_BYTES;
use crate::verdict::{DropReason, FragmentOffsets};

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

    /// Gives a packet a slot, in no chain yet. There is room.
    #[inline(always)]
    pub(super) fn insert(&mut self, piece: &Piece, packet: P) -> u32 {
        let number = self.free;
        let slot = self.at_mut(number);
        let free = slot.next;
        *slot = Slot {
            packet: Some(packet),
            start: piece.start,
            end: piece.end,
            offsets: piece.offsets,
            header_bytes: piece.header_bytes,
            next: NONE,
        };
        self.free = free;
        self.len += 1;
        number
    }

    /// What is in a chain, and the number of each.
    pub(super) fn chain(&self, first: u32) -> impl Iterator<Item = (u32, &Slot<P>)> {
        let mut next = first;
        std::iter::from_fn(move || {
            let (number, slot) = (next, self.get(next)?);
            next = slot.next;
            Some((number, slot))
        })
    }

    /// Whether a fragment from `start` to `end` meets none of a chain.
    ///
    /// # Errors
    /// [`DropReason::FragmentDuplicate`] where it is all within one of them, or else [`DropReason::FragmentOverlap`].
    pub(super) fn admit(&self, first: u32, start: u32, end: u32) -> Result<(), DropReason> {
        match self.chain(first).find(|(_, slot)| slot.start < end && start < slot.end) {
            None => Ok(()),
            Some((_, slot)) if slot.start <= start && end <= slot.end => Err(DropReason::FragmentDuplicate),
            Some(_) => Err(DropReason::FragmentOverlap),
        }
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
