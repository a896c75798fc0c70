//! A pool of mbufs.

use std::ffi::c_int;
use std::ptr::NonNull;

use crate::error::c_string;
use crate::{DpdkError, Eal, Mbuf};

/// The shape of a pool.
#[derive(Debug, Clone, Copy)]
pub struct MempoolOptions {
    /// How many mbufs; one less than a power of two uses memory best.
    pub mbufs: u32,
    /// How many mbufs each lcore keeps for itself (at most 512, and at most two thirds of `mbufs`).
    pub cache: u32,
    /// Packet bytes that one segment takes, after DPDK's headroom of 128 bytes. Longer packets are
    /// chained.
    pub segment_bytes: u16,
    /// The NUMA socket of the memory, as in [`crate::DeviceInfo::socket`]; `None` is any.
    pub socket: Option<u16>,
}

impl Default for MempoolOptions {
    fn default() -> Self {
        Self { mbufs: 16_383, cache: 256, segment_bytes: 2048, socket: None }
    }
}

/// A pool of mbufs: a handle that may be copied and used from any thread.
///
/// A pool lives as long as the process. Its mbufs can be anywhere, in the descriptors of a device too,
/// so there is no moment at which freeing it would be known to be right.
#[derive(Debug, Clone, Copy)]
pub struct Mempool {
    pool: NonNull<dpdk_sys::rte_mempool>,
    segment_bytes: u16,
}

// SAFETY: a DPDK pool may be used by all threads at once: lcores by their own caches, other threads by its
// multi-producer, multi-consumer ring. The pool is never freed.
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes a pool; `name` is its own in this process and shorter than 26 bytes.
    pub fn new(_eal: &Eal, name: &str, options: &MempoolOptions) -> Result<Self, DpdkError> {
        let c_name = c_string(name)?;
        let room = u16::try_from(dpdk_sys::RTE_PKTMBUF_HEADROOM + u32::from(options.segment_bytes))
            .map_err(|_| DpdkError::refused(name, "segments are too large"))?;
        let socket = options.socket.map_or(-1, c_int::from);
        // SAFETY: DPDK runs (the Eal token); c_name is NUL-terminated and copied by the call.
        let pool = unsafe {
            dpdk_sys::rte_pktmbuf_pool_create(c_name.as_ptr(), options.mbufs, options.cache, 0, room, socket)
        };
        let pool = NonNull::new(pool).ok_or_else(|| DpdkError::last("rte_pktmbuf_pool_create", name))?;
        Ok(Self { pool, segment_bytes: options.segment_bytes })
    }

    /// An empty packet of one segment, or `None` where the pool is empty.
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool is live (never freed). What it returns is a fresh packet with one segment
        // and one reference, owned by nobody else.
        unsafe {
            NonNull::new(dpdk_sys::rte_pktmbuf_alloc(self.pool.as_ptr())).map(|raw| Mbuf::from_raw(raw))
        }
    }

    /// A packet with these bytes, in as many segments as they need; `None` where the pool cannot give them.
    pub fn copy_from(&self, bytes: &[u8]) -> Option<Mbuf> {
        let (first, rest) = bytes.split_at(bytes.len().min(usize::from(self.segment_bytes)));
        let mut packet = self.alloc()?;
        packet.append(first.len())?.copy_from_slice(first);
        // From the last to the first, so that each piece is put behind the head in constant time.
        for piece in rest.chunks(usize::from(self.segment_bytes).max(1)).rev() {
            let mut segment = self.alloc()?;
            segment.append(piece.len())?.copy_from_slice(piece);
            packet.insert_second(segment).ok()?;
        }
        Some(packet)
    }

    /// How many mbufs are free now. Walks the caches: for tests and metrics, not for each packet.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool is live (never freed); the count is a racy read by design.
        unsafe { dpdk_sys::rte_mempool_avail_count(self.pool.as_ptr()) }
    }

    /// Packet bytes that one segment takes.
    pub fn segment_bytes(&self) -> u16 {
        self.segment_bytes
    }

    pub(crate) fn as_ptr(&self) -> *mut dpdk_sys::rte_mempool {
        self.pool.as_ptr()
    }
}
