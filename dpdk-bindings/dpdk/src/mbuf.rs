//! One packet: a chain of one or more segments, owned by whoever holds the [`Mbuf`].
//!
//! The head segment carries the packet's facts (length, checksum flags, RSS hash); its bytes are what the
//! parser sees. A frame longer than a segment goes on in the later ones.
//!
//! Every `unsafe` block below rests on the invariant of [`Mbuf::from_raw`].

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::slice;

use dpdk_sys::rte_mbuf;

/// A packet. Dropping it gives its segments back to their pool.
#[derive(Debug)]
#[repr(transparent)]
pub struct Mbuf {
    head: NonNull<rte_mbuf>,
}

// SAFETY: an Mbuf is the only reference to its chain, and pools take mbufs back from any thread.
unsafe impl Send for Mbuf {}

/// What the device found out about a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// Not looked at, or left for software to complete (a virtual device's `NONE`): compute it.
    Unknown,
    /// Right.
    Good,
    /// Wrong.
    Bad,
}

impl Mbuf {
    /// # Safety
    /// `head` is the head of a chain of mbufs from live pools; each has a reference count of one,
    /// `data_off + data_len <= buf_len`, and a buffer that is initialised and no other mbuf's; `pkt_len` and
    /// `nb_segs` describe the chain. The caller gives its only pointer to it away. Pools and drivers keep this
    /// for what they hand out, and the methods below preserve it.
    pub(crate) unsafe fn from_raw(head: NonNull<rte_mbuf>) -> Self {
        Self { head }
    }

    fn raw(&self) -> &rte_mbuf {
        // SAFETY: the head is live and nobody else points to it (from_raw).
        unsafe { self.head.as_ref() }
    }

    fn raw_mut(&mut self) -> &mut rte_mbuf {
        // SAFETY: the head is live and nobody else points to it (from_raw).
        unsafe { self.head.as_mut() }
    }

    /// The last segment: the head itself in most packets.
    fn last(&mut self) -> &mut rte_mbuf {
        let mut last = self.head;
        // SAFETY: `next` is null or the next live segment of a chain that only this Mbuf points to.
        while let Some(next) = NonNull::new(unsafe { last.as_ref() }.next) {
            last = next;
        }
        // SAFETY: as above; the borrow of self covers the whole chain.
        unsafe { last.as_mut() }
    }

    /// The bytes of the head segment.
    pub fn head(&self) -> &[u8] {
        segment_bytes(self.raw())
    }

    /// The bytes of the head segment, to rewrite in place.
    pub fn head_mut(&mut self) -> &mut [u8] {
        let raw = self.raw_mut();
        let (buffer, offset, len) =
            (raw.buf_addr.cast::<u8>(), usize::from(raw.data_off), usize::from(raw.data_len));
        // SAFETY: offset + len lie inside the initialised buffer, which only this Mbuf points to (from_raw).
        unsafe { slice::from_raw_parts_mut(buffer.add(offset), len) }
    }

    /// The bytes of the segments after the head, in order.
    pub fn segments(&self) -> Segments<'_> {
        Segments { next: self.raw().next, packet: PhantomData }
    }

    /// The number of segments, the head included.
    pub fn segment_count(&self) -> u16 {
        self.raw().nb_segs
    }

    /// Bytes of the whole packet.
    pub fn packet_len(&self) -> usize {
        self.raw().pkt_len as usize
    }

    /// Makes the packet `len` bytes longer at its end, inside the last segment; returns the new bytes, which
    /// hold whatever was there, or `None` where there is no room.
    pub fn append(&mut self, len: usize) -> Option<&mut [u8]> {
        let packet_len = self.raw().pkt_len.checked_add(u32::try_from(len).ok()?)?;
        let last = self.last();
        let used = usize::from(last.data_off) + usize::from(last.data_len);
        if len > usize::from(last.buf_len) - used {
            return None;
        }
        last.data_len += len as u16;
        let buffer = last.buf_addr.cast::<u8>();
        self.raw_mut().pkt_len = packet_len;
        // SAFETY: used + len <= buf_len, so the bytes lie inside the initialised buffer, which only this Mbuf
        // points to (from_raw).
        Some(unsafe { slice::from_raw_parts_mut(buffer.add(used), len) })
    }

    /// Takes `len` bytes away at the packet's begin; false where the head segment has less.
    pub fn trim_front(&mut self, len: usize) -> bool {
        let raw = self.raw_mut();
        if len > usize::from(raw.data_len) {
            return false;
        }
        raw.data_off += len as u16;
        raw.data_len -= len as u16;
        raw.pkt_len -= len as u32;
        true
    }

    /// Makes the packet `len` bytes longer at its begin, which hold whatever was there; false, and nothing is changed, where the
    /// head segment has less room before its bytes.
    pub fn extend_front(&mut self, len: usize) -> bool {
        let raw = self.raw_mut();
        let (Some(data_off), Ok(added)) = (usize::from(raw.data_off).checked_sub(len), u16::try_from(len))
        else {
            return false;
        };
        let (Some(data_len), Some(pkt_len)) =
            (raw.data_len.checked_add(added), raw.pkt_len.checked_add(u32::from(added)))
        else {
            return false;
        };
        raw.data_off = data_off as u16;
        raw.data_len = data_len;
        raw.pkt_len = pkt_len;
        true
    }

    /// Puts `inserted` in the place of the `removed` bytes from `at` on. False, and nothing is changed, where the packet
    /// has not so many bytes, or the segment of `at` no room before or behind its own.
    pub fn splice(&mut self, at: usize, removed: usize, inserted: &[u8]) -> bool {
        let len = self.packet_len();
        if at > len || removed > len - at {
            return false;
        }
        let Ok(new_len) = u32::try_from(len - removed + inserted.len()) else { return false };
        let (mut segment, mut at) = (self.head, at);
        let segment = loop {
            // SAFETY: the head, then each live next segment, of a chain that only this Mbuf points to (from_raw).
            let raw = unsafe { segment.as_mut() };
            match (at.checked_sub(usize::from(raw.data_len)), NonNull::new(raw.next)) {
                (Some(beyond), Some(next)) if beyond > 0 => (segment, at) = (next, beyond),
                _ => break raw,
            }
        };
        let here = removed.min(usize::from(segment.data_len) - at);
        if !splice_segment(segment, at, here, inserted) {
            return false;
        }
        trim_following(segment, removed - here);
        let segments = 1 + self.segments().count() as u16;
        let head = self.raw_mut();
        head.pkt_len = new_len;
        head.nb_segs = segments;
        true
    }

    /// Chains `segment` right behind the head; gives it back where the packet would get too long or too
    /// many segments, or where it is itself a chain.
    pub(crate) fn insert_second(&mut self, segment: Mbuf) -> Result<(), Mbuf> {
        let head = self.raw_mut();
        let len = head.pkt_len.checked_add(segment.raw().pkt_len);
        let (Some(len), true) = (len, segment.segment_count() == 1 && head.nb_segs < u16::MAX) else {
            return Err(segment);
        };
        let mut segment = segment.into_raw();
        head.pkt_len = len;
        head.nb_segs += 1;
        // SAFETY: into_raw gave up the only owner of a one-segment chain; it now belongs to this packet.
        unsafe { segment.as_mut() }.next = head.next;
        head.next = segment.as_ptr();
        Ok(())
    }

    /// Gives the chain away without freeing it.
    fn into_raw(self) -> NonNull<rte_mbuf> {
        ManuallyDrop::new(self).head
    }

    /// What the device says of the IPv4 header checksum.
    pub fn ip_checksum(&self) -> Checksum {
        match self.raw().ol_flags & u64::from(dpdk_sys::RTE_MBUF_F_RX_IP_CKSUM_MASK) {
            flags if flags == u64::from(dpdk_sys::RTE_MBUF_F_RX_IP_CKSUM_GOOD) => Checksum::Good,
            flags if flags == u64::from(dpdk_sys::RTE_MBUF_F_RX_IP_CKSUM_BAD) => Checksum::Bad,
            _ => Checksum::Unknown,
        }
    }

    /// What the device says of the TCP, UDP or SCTP checksum.
    pub fn l4_checksum(&self) -> Checksum {
        match self.raw().ol_flags & u64::from(dpdk_sys::RTE_MBUF_F_RX_L4_CKSUM_MASK) {
            flags if flags == u64::from(dpdk_sys::RTE_MBUF_F_RX_L4_CKSUM_GOOD) => Checksum::Good,
            flags if flags == u64::from(dpdk_sys::RTE_MBUF_F_RX_L4_CKSUM_BAD) => Checksum::Bad,
            _ => Checksum::Unknown,
        }
    }

    /// The hash by which the device chose the queue.
    pub fn rss_hash(&self) -> Option<u32> {
        let raw = self.raw();
        if raw.ol_flags & u64::from(dpdk_sys::RTE_MBUF_F_RX_RSS_HASH) == 0 {
            return None;
        }
        // SAFETY: every reading of the union is a plain integer; the flag says that the hash was written.
        Some(unsafe { raw.__bindgen_anon_2.hash.rss })
    }

    /// Forgets the hash by which the device chose the queue.
    pub fn clear_rss_hash(&mut self) {
        self.raw_mut().ol_flags &= !u64::from(dpdk_sys::RTE_MBUF_F_RX_RSS_HASH);
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: the chain is live, and its only owner ends here (from_raw).
        unsafe { dpdk_sys::rte_pktmbuf_free(self.head.as_ptr()) }
    }
}

/// The later segments of a packet, each as its bytes.
#[derive(Debug, Clone)]
pub struct Segments<'a> {
    next: *const rte_mbuf,
    packet: PhantomData<&'a Mbuf>,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        // SAFETY: null, or a live segment of the packet that is borrowed for 'a (from_raw).
        let segment: &'a rte_mbuf = unsafe { self.next.as_ref() }?;
        self.next = segment.next;
        Some(segment_bytes(segment))
    }
}

fn segment_bytes(segment: &rte_mbuf) -> &[u8] {
    // SAFETY: data_off + data_len lie inside the initialised buffer, and the chain is borrowed as long as
    // its segment is (from_raw).
    unsafe {
        let data = segment.buf_addr.cast::<u8>().add(usize::from(segment.data_off));
        slice::from_raw_parts(data, usize::from(segment.data_len))
    }
}

/// [`Mbuf::splice`] within one segment, which has the bytes: what is before or what is behind them moves.
fn splice_segment(segment: &mut rte_mbuf, at: usize, removed: usize, inserted: &[u8]) -> bool {
    let (start, len) = (usize::from(segment.data_off), usize::from(segment.data_len));
    let (end, new_len) = (start + len, len - removed + inserted.len());
    // SAFETY: the buffer is initialised, and no other mbuf's (from_raw).
    let buffer =
        unsafe { slice::from_raw_parts_mut(segment.buf_addr.cast::<u8>(), usize::from(segment.buf_len)) };
    let new_start = if start + new_len <= buffer.len() {
        buffer.copy_within(start + at + removed..end, start + at + inserted.len());
        start
    } else if let Some(new_start) = end.checked_sub(new_len) {
        buffer.copy_within(start..start + at, new_start);
        new_start
    } else {
        return false;
    };
    buffer[new_start + at..][..inserted.len()].copy_from_slice(inserted);
    segment.data_off = new_start as u16;
    segment.data_len = new_len as u16;
    true
}

/// Takes `len` bytes away behind a segment; following segments that have no bytes left go.
fn trim_following(segment: &mut rte_mbuf, mut len: usize) {
    while len > 0 {
        let Some(mut next) = NonNull::new(segment.next) else { return };
        // SAFETY: a live segment of a chain that only its Mbuf points to (from_raw).
        let raw = unsafe { next.as_mut() };
        let taken = len.min(usize::from(raw.data_len));
        raw.data_off += taken as u16;
        raw.data_len -= taken as u16;
        len -= taken;
        if raw.data_len == 0 {
            segment.next = raw.next;
            raw.next = std::ptr::null_mut();
            // SAFETY: unchained, so that nothing else points to it; it is freed as a packet of its own.
            drop(unsafe { Mbuf::from_raw(next) });
        }
    }
}
