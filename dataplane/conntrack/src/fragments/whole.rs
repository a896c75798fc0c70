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
    /// The first fragment, apart from the others, so that several datagrams can be read at once.
    first: &'a mut Option<P>,
    /// Where it ends, in bytes of its frame.
    end: usize,
    /// The slot of the next one.
    next: u32,
    reassembled: Reassembled,
    /// Where the others are.
    slots: &'a Slots<P>,
}

/// Has a datagram that is whole read as one frame.
pub(crate) fn read<P: Frame, T>(
    held: &mut Fragments<P>,
    id: DatagramId,
    read: impl FnOnce(&mut Whole<'_, P>) -> T,
) -> T {
    let mut first = take_first(held, id);
    let result = read(&mut whole(held, id, &mut first));
    put_first(held, id, first);
    result
}

/// The same with several.
pub(crate) fn read_all<P: Frame>(
    held: &mut Fragments<P>,
    ids: impl Iterator<Item = DatagramId> + Clone,
    read: impl FnOnce(&mut [Whole<'_, P>]),
) {
    let mut firsts = ArrayVec::<_, BURST>::new();
    firsts.extend(ids.clone().map(|id| take_first(held, id)));
    let mut frames = ArrayVec::<_, BURST>::new();
    frames.extend(ids.clone().zip(&mut firsts).map(|(id, first)| whole(held, id, first)));
    read(&mut frames);
    std::mem::drop(frames);
    ids.zip(firsts.drain(..)).for_each(|(id, first)| put_first(held, id, first));
}

fn take_first<P: Frame>(held: &mut Fragments<P>, DatagramId(number): DatagramId) -> Option<P> {
    held.store.slots.at_mut(held.store.datagrams.at(number).first).packet.take()
}

fn put_first<P: Frame>(held: &mut Fragments<P>, DatagramId(number): DatagramId, first: Option<P>) {
    held.store.slots.at_mut(held.store.datagrams.at(number).first).packet = first;
}

fn whole<'a, P: Frame>(
    held: &'a Fragments<P>,
    DatagramId(number): DatagramId,
    first: &'a mut Option<P>,
) -> Whole<'a, P> {
    let datagram = held.store.datagrams.at(number);
    let slot = held.store.slots.at(datagram.first);
    let reassembled = Reassembled {
        rest_bytes: datagram.rest_bytes(&held.store.slots),
        largest_bytes: datagram.largest_bytes,
        may_be_fragmented: !datagram.is_largest_fixed,
        has_seen_congestion: datagram.has_seen_congestion(),
    };
    let end = usize::from(slot.offsets.payload) + slot.end as usize;
    Whole { first, end, next: slot.next, reassembled, slots: &held.store.slots }
}

impl<P: Frame> Whole<'_, P> {
    /// How often its fragments were handed on so far.
    pub(crate) fn hops(&self) -> u8 {
        self.first.as_ref().and_then(Frame::handed).map_or(0, |handed| handed.hops)
    }

    /// What the others bring, segment by segment: in one closure, which is short enough to be compiled in line.
    fn later(&self) -> impl Iterator<Item = &[u8]> {
        let (mut next, mut left, mut segments) = (self.next, 0, None);
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
        self.first.as_ref().map_or(PortId::LOCAL, Frame::port)
    }

    fn head(&self) -> &[u8] {
        let head = self.first.as_ref().map_or(&[][..], Frame::head);
        head.get(..self.end).unwrap_or(head)
    }

    fn head_mut(&mut self) -> &mut [u8] {
        let head = self.first.as_mut().map_or(&mut [][..], Frame::head_mut);
        let end = self.end.min(head.len());
        &mut head[..end]
    }

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.first.iter().flat_map(|first| {
            // What a link puts behind a short frame is no part of it.
            segments::slices(first, 0, self.end).skip(1)
        });
        first.chain(self.later())
    }

    fn len_bytes(&self) -> usize {
        self.end + self.reassembled.rest_bytes as usize
    }

    #[inline(always)]
    fn fold<T>(&self, offset: usize, length: usize, init: T, mut f: impl FnMut(T, &[u8]) -> T) -> T {
        let Some(first) = &self.first else { return init };
        let own = length.min(self.end.saturating_sub(offset));
        let (mut left, mut folded) = (length - own, first.fold(offset, own, init, &mut f));
        let mut next = self.next;
        while left > 0
            && let Some(slot) = self.slots.get(next)
            && let Some(packet) = &slot.packet
        {
            let own = left.min((slot.end - slot.start) as usize);
            folded = packet.fold(slot.offsets.payload.into(), own, folded, &mut f);
            (left, next) = (left - own, slot.next);
        }
        folded
    }

    /// How it came from the shard where it became whole, if this is another.
    fn handed(&self) -> Option<Handed> {
        self.first.as_ref()?.handed().filter(|handed| handed.is_datagram())
    }

    fn reassembled(&self) -> Option<Reassembled> {
        Some(self.reassembled)
    }
}
