//! The two ends of a port's queue. Each has one owner, who alone polls it.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::Burst;
use crate::device::Attached;

/// A receive queue. It keeps its port open.
///
/// It moves to the worker that polls it, and cannot be shared:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<dpdk::RxQueue>();
/// ```
///
/// ```compile_fail
/// fn copied<T: Clone>() {}
/// copied::<dpdk::RxQueue>();
/// ```
#[derive(Debug)]
pub struct RxQueue {
    end: End,
}

/// A transmit queue. It keeps its port open, and has one owner as [`RxQueue`] has.
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<dpdk::TxQueue>();
/// ```
#[derive(Debug)]
pub struct TxQueue {
    end: End,
}

/// One end of one queue of a port that runs.
#[derive(Debug)]
struct End {
    /// Nobody reads it: it keeps the port running.
    _port: Arc<Attached>,
    port_id: u16,
    queue: u16,
    not_sync: PhantomData<Cell<()>>,
}

impl End {
    fn new(port: Arc<Attached>, queue: u16) -> Self {
        Self { port_id: port.id(), _port: port, queue, not_sync: PhantomData }
    }
}

impl RxQueue {
    /// Made once for each queue of a started port, which is what makes the owner the only one.
    pub(crate) fn new(port: Arc<Attached>, queue: u16) -> Self {
        Self { end: End::new(port, queue) }
    }

    /// Receives packets behind those already in `burst`, as many as are waiting and fit; returns how many.
    /// An empty burst is best: some drivers look only at multiples of 4 or 8 packets.
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        let End { port_id, queue, .. } = self.end;
        // SAFETY: the port runs as long as `_port` is held, the queue is one of its own, and `&mut self` on
        // the queue's only handle keeps other threads off. The driver initialises as many slots as it
        // returns with packets that it no longer owns.
        unsafe { burst.fill(|free, room| dpdk_sys::rte_eth_rx_burst(port_id, queue, free, room)) }
    }
}

impl TxQueue {
    /// Made once for each queue of a started port, which is what makes the owner the only one.
    pub(crate) fn new(port: Arc<Attached>, queue: u16) -> Self {
        Self { end: End::new(port, queue) }
    }

    /// Hands packets to the device, in order; returns how many it took. Those it did not take stay in the
    /// burst: the caller counts them and drops or keeps them.
    pub fn transmit(&mut self, burst: &mut Burst) -> usize {
        if burst.is_empty() {
            return 0;
        }
        let End { port_id, queue, .. } = self.end;
        // SAFETY: the port runs as long as `_port` is held, the queue is one of its own, and `&mut self` on
        // the queue's only handle keeps other threads off. The driver owns the packets it counts and
        // leaves the others alone.
        unsafe { burst.take(|mbufs, len| dpdk_sys::rte_eth_tx_burst(port_id, queue, mbufs, len)) }
    }
}
