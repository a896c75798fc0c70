//! Up to 64 packets that travel together.

use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

use dpdk_sys::rte_mbuf;

use crate::Mbuf;

/// A fixed array of packets and the owner of each. Dropping it frees them in bulk.
///
/// A worker looks at the packets in place ([`Burst::as_mut_slice`], one pass after the other) and then
/// [`drain`](Burst::drain)s them, in order, into the bursts of the ports they leave by. Moving a packet moves a
/// pointer.
pub struct Burst {
    /// The first `len` are initialised.
    mbufs: [MaybeUninit<Mbuf>; Self::CAPACITY],
    len: usize,
}

impl Burst {
    /// The number of packets that fit.
    pub const CAPACITY: usize = 64;

    /// An empty burst.
    pub const fn new() -> Self {
        Self { mbufs: [const { MaybeUninit::uninit() }; Self::CAPACITY], len: 0 }
    }

    /// The number of packets.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no packet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more packets fit.
    pub fn room(&self) -> usize {
        Self::CAPACITY - self.len
    }

    /// The packets, in order.
    pub fn as_slice(&self) -> &[Mbuf] {
        // SAFETY: the first `len` are initialised.
        unsafe { slice::from_raw_parts(self.mbufs.as_ptr().cast(), self.len) }
    }

    /// The packets, in order, to work on in place.
    pub fn as_mut_slice(&mut self) -> &mut [Mbuf] {
        // SAFETY: the first `len` are initialised.
        unsafe { slice::from_raw_parts_mut(self.mbufs.as_mut_ptr().cast(), self.len) }
    }

    /// The packets, in order.
    pub fn iter(&self) -> slice::Iter<'_, Mbuf> {
        self.as_slice().iter()
    }

    /// The packets, in order, to work on in place.
    pub fn iter_mut(&mut self) -> slice::IterMut<'_, Mbuf> {
        self.as_mut_slice().iter_mut()
    }

    /// Puts a packet at the end; gives it back where the burst is full.
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.mbufs.get_mut(self.len) {
            Some(slot) => {
                slot.write(mbuf);
                self.len += 1;
                Ok(())
            }
            None => Err(mbuf),
        }
    }

    /// Takes all packets out, in order. Those not taken by the end are freed.
    pub fn drain(&mut self) -> Drain<'_> {
        // The burst is empty from here on, so that a forgotten Drain leaks packets and frees none twice.
        let end = std::mem::take(&mut self.len);
        Drain { burst: self, next: 0, end }
    }

    /// Frees all packets.
    pub fn clear(&mut self) {
        drop(self.drain());
    }

    /// Lets `fill` write packets behind those there are; it gets the first free slot and the number of them,
    /// and returns how many it wrote.
    ///
    /// # Safety
    /// `fill` has initialised as many slots as it returns (at most the number it was given) with packets
    /// that fulfil [`Mbuf::from_raw`].
    pub(crate) unsafe fn fill(&mut self, fill: impl FnOnce(*mut *mut rte_mbuf, u16) -> u16) -> usize {
        let room = self.room();
        // SAFETY: len <= CAPACITY. An Mbuf is a pointer (repr(transparent)).
        let free = unsafe { self.mbufs.as_mut_ptr().add(self.len) }.cast();
        let filled = usize::from(fill(free, room as u16));
        self.len += filled;
        filled
    }

    /// Lets `take` take packets from the start; it gets the packets and their number, and returns how many it
    /// took. The rest moves to the front.
    ///
    /// # Safety
    /// `take` owns the first packets, as many as it returns (at most the number it was given), and has left
    /// the others alone.
    pub(crate) unsafe fn take(&mut self, take: impl FnOnce(*mut *mut rte_mbuf, u16) -> u16) -> usize {
        let start: *mut MaybeUninit<Mbuf> = self.mbufs.as_mut_ptr();
        let taken = usize::from(take(start.cast(), self.len as u16));
        self.len -= taken;
        if self.len > 0 {
            // SAFETY: both ranges lie inside the array; the packets moved over are gone.
            unsafe { ptr::copy(start.add(taken), start, self.len) };
        }
        taken
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<'a> IntoIterator for &'a mut Burst {
    type Item = &'a mut Mbuf;
    type IntoIter = slice::IterMut<'a, Mbuf>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

/// The packets on their way out of a [`Burst`].
pub struct Drain<'a> {
    burst: &'a mut Burst,
    /// `next..end` are initialised and not yet taken.
    next: usize,
    end: usize,
}

impl Iterator for Drain<'_> {
    type Item = Mbuf;

    fn next(&mut self) -> Option<Mbuf> {
        if self.next == self.end {
            return None;
        }
        let index = self.next;
        self.next += 1;
        // SAFETY: the slot was initialised, and neither `next..end` nor the burst's `len` covers it now.
        Some(unsafe { self.burst.mbufs[index].assume_init_read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl ExactSizeIterator for Drain<'_> {}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        let left = &mut self.burst.mbufs[self.next..self.end];
        if !left.is_empty() {
            // SAFETY: the slots are initialised and no one else's; an Mbuf is a pointer (repr(transparent)), and
            // the packets are given away.
            unsafe { dpdk_sys::rte_pktmbuf_free_bulk(left.as_mut_ptr().cast(), left.len() as u32) }
        }
    }
}
