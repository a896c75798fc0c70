//! A datagram all of whose fragments are there, read as one frame: the first fragment with its headers, and behind it what the
//! others bring. Nothing is copied.

use super::NONE;
use super::slots::{Slot, Slots};
use crate::frame::{Frame, Handed, Reassembled};
use crate::ids::PortId;
use crate::wire::segments;

/// The datagram. Its first segment is that of the first fragment, up to the fragment's end; what is written there is written
/// into that fragment.
#[derive(Debug)]
pub(crate) struct Whole<'a, P> {
    pub(super) slots: &'a mut Slots<P>,
    pub(super) first: u32,
    pub(super) reassembled: Reassembled,
}

impl<P: Frame> Whole<'_, P> {
    /// How often its fragments were handed on so far.
    pub(crate) fn hops(&self) -> u8 {
        self.first().packet.as_ref().and_then(Frame::handed).map_or(0, |handed| handed.hops)
    }

    fn first(&self) -> &Slot<P> {
        self.slots.at(self.first)
    }

    /// Where the first fragment ends, in bytes of its frame.
    fn first_bytes(&self) -> usize {
        usize::from(self.first().offset) + self.first().end as usize
    }

    fn later(&self) -> impl Iterator<Item = &Slot<P>> {
        let next =
            |slot: &Slot<P>| Some(slot.next).filter(|next| *next != NONE).map(|next| self.slots.at(next));
        std::iter::successors(next(self.first()), move |slot| next(slot))
    }
}

impl<P: Frame> Frame for Whole<'_, P> {
    fn port(&self) -> PortId {
        self.first().packet.as_ref().map_or(PortId::LOCAL, Frame::port)
    }

    fn head(&self) -> &[u8] {
        let head = self.first().packet.as_ref().map_or(&[][..], Frame::head);
        head.get(..self.first_bytes()).unwrap_or(head)
    }

    fn head_mut(&mut self) -> &mut [u8] {
        let end = self.first_bytes();
        let head = self.slots.at_mut(self.first).packet.as_mut().map_or(&mut [][..], Frame::head_mut);
        let end = end.min(head.len());
        &mut head[..end]
    }

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.first().packet.iter().flat_map(|first| {
            // What a link puts behind a short frame is no part of it.
            segments::slices(first, 0, self.first_bytes()).skip(1)
        });
        let later = self.later().flat_map(|slot| {
            let length = (slot.end - slot.start) as usize;
            slot.packet.iter().flat_map(move |packet| segments::slices(packet, slot.offset, length))
        });
        first.chain(later)
    }

    /// How it came from the shard where it became whole, if this is another.
    fn handed(&self) -> Option<Handed> {
        self.first().packet.as_ref()?.handed().filter(|handed| handed.is_datagram())
    }

    fn reassembled(&self) -> Option<Reassembled> {
        Some(self.reassembled)
    }
}
