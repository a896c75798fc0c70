//! A datagram all of whose fragments are there, read as one frame: the first fragment with its headers, and behind it what the
//! others bring. Nothing is copied.

use super::slots::Slots;
use super::{DatagramId, Fragments};
use crate::frame::{Frame, Handed, Reassembled};
use crate::ids::PortId;
use crate::pipeline::BURST;
use crate::wire::segments;
use arrayvec::ArrayVec;

/// The datagram. Its first segment is that of the first fragment, up to the fragment's end; what is written there is written
/// into that fragment.
#[derive(Debug)]
pub(crate) struct Whole<'a, P> {
    first: First<P>,
    reassembled: Reassembled,
    /// Where the others are.
    slots: &'a Slots<P>,
}

/// The first fragment of a datagram while that is read as a frame: apart from the others, so that several datagrams can be.
#[derive(Debug)]
struct First<P> {
    packet: Option<P>,
    /// Its slot, and that of the next one.
    slot: u32,
    next: u32,
    /// Where it ends, in bytes of its frame.
    end: usize,
}

impl<P: Frame> Fragments<P> {
    /// Has a datagram that is whole read as one frame.
    pub(crate) fn read<T>(&mut self, id: DatagramId, read: impl FnOnce(&mut Whole<'_, P>) -> T) -> T {
        let (first, reassembled) = self.take_first(id);
        let mut whole = Whole { first, reassembled, slots: &self.slots };
        let result = read(&mut whole);
        let First { packet, slot, .. } = whole.first;
        self.slots.at_mut(slot).packet = packet;
        result
    }

    /// The same with several.
    pub(crate) fn read_all(
        &mut self,
        ids: impl Iterator<Item = DatagramId>,
        read: impl FnOnce(&mut [Whole<'_, P>]),
    ) {
        let firsts: ArrayVec<_, BURST> = ids.map(|id| self.take_first(id)).collect();
        let slots = &self.slots;
        let whole = |(first, reassembled)| Whole { first, reassembled, slots };
        let mut frames: ArrayVec<_, BURST> = firsts.into_iter().map(whole).collect();
        read(&mut frames);
        let firsts: ArrayVec<First<P>, BURST> = frames.into_iter().map(|whole| whole.first).collect();
        for First { packet, slot, .. } in firsts {
            self.slots.at_mut(slot).packet = packet;
        }
    }

    fn take_first(&mut self, DatagramId(number): DatagramId) -> (First<P>, Reassembled) {
        let datagram = self.datagrams.at(number);
        let reassembled = Reassembled {
            rest_bytes: datagram.rest_bytes(&self.slots),
            largest_bytes: datagram.largest_bytes,
            may_be_fragmented: datagram.largest_fixed_bytes < datagram.largest_bytes,
            has_seen_congestion: datagram.has_seen_congestion(),
        };
        let number = datagram.first;
        let slot = self.slots.at_mut(number);
        let end = usize::from(slot.offsets.payload) + slot.end as usize;
        (First { packet: slot.packet.take(), slot: number, next: slot.next, end }, reassembled)
    }
}

impl<P: Frame> Whole<'_, P> {
    /// How often its fragments were handed on so far.
    pub(crate) fn hops(&self) -> u8 {
        self.first.packet.as_ref().and_then(Frame::handed).map_or(0, |handed| handed.hops)
    }

    /// What the others bring, segment by segment: in one closure, which is short enough to be compiled in line.
    fn later(&self) -> impl Iterator<Item = &[u8]> {
        let (mut next, mut left, mut segments) = (self.first.next, 0, None);
        std::iter::from_fn(move || {
            loop {
                let segment = match segments.as_mut().and_then(Iterator::next) {
                    Some(segment) if left > 0 => segment,
                    _ => {
                        let slot = self.slots.get(next)?;
                        let packet = slot.packet.as_ref()?;
                        (next, left) = (slot.next, (slot.end - slot.start) as usize);
                        segments = Some(packet.tail());
                        packet.head().get(usize::from(slot.offsets.payload)..).unwrap_or_default()
                    }
                };
                let segment: &[u8] = segment.get(..left).unwrap_or(segment);
                left -= segment.len();
                if !segment.is_empty() {
                    return Some(segment);
                }
            }
        })
    }
}

impl<P: Frame> Frame for Whole<'_, P> {
    fn port(&self) -> PortId {
        self.first.packet.as_ref().map_or(PortId::LOCAL, Frame::port)
    }

    fn head(&self) -> &[u8] {
        let head = self.first.packet.as_ref().map_or(&[][..], Frame::head);
        head.get(..self.first.end).unwrap_or(head)
    }

    fn head_mut(&mut self) -> &mut [u8] {
        let head = self.first.packet.as_mut().map_or(&mut [][..], Frame::head_mut);
        let end = self.first.end.min(head.len());
        &mut head[..end]
    }

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.first.packet.iter().flat_map(|first| {
            // What a link puts behind a short frame is no part of it.
            segments::slices(first, 0, self.first.end).skip(1)
        });
        first.chain(self.later())
    }

    fn len_bytes(&self) -> usize {
        self.first.end + self.reassembled.rest_bytes as usize
    }

    /// How it came from the shard where it became whole, if this is another.
    fn handed(&self) -> Option<Handed> {
        self.first.packet.as_ref()?.handed().filter(|handed| handed.is_datagram())
    }

    fn reassembled(&self) -> Option<Reassembled> {
        Some(self.reassembled)
    }
}
