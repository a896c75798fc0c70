//! A received mbuf, as the tracking crate sees it.

use std::borrow::BorrowMut;

use dpdk::Mbuf;
use sluice_conntrack::frame::Handed;
use sluice_conntrack::headers::Fragment;
use sluice_conntrack::{Checksum, Frame, PortId, wire};

/// An mbuf, the worker's own or in its burst, with the port it came in by.
pub(crate) struct Received<M> {
    pub(crate) port: PortId,
    pub(crate) mbuf: M,
    /// Whether its hash is the one that steers.
    pub(crate) hashes: bool,
    /// How it came from another worker, if it did.
    pub(crate) handed: Option<Handed>,
}

/// A packet in a worker's hands.
pub(crate) type Carried = Received<Mbuf>;

impl<M: BorrowMut<Mbuf>> Received<M> {
    /// A packet of this worker's own.
    pub(crate) const fn of(port: PortId, mbuf: M) -> Self {
        Self { port, mbuf, hashes: false, handed: None }
    }

    /// Whether it is one of a datagram's fragments behind the first.
    pub(crate) fn is_later_fragment(&self) -> bool {
        wire::parse(self).is_ok_and(|headers| headers.fragment == Fragment::Later)
    }
}

impl<M: BorrowMut<Mbuf>> Frame for Received<M> {
    fn port(&self) -> PortId {
        self.port
    }

    fn head(&self) -> &[u8] {
        self.mbuf.borrow().head()
    }

    fn head_mut(&mut self) -> &mut [u8] {
        self.mbuf.borrow_mut().head_mut()
    }

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        self.mbuf.borrow().segments()
    }

    fn len_bytes(&self) -> usize {
        self.mbuf.borrow().packet_len()
    }

    fn splice(&mut self, at: usize, removed: usize, inserted: &[u8]) -> bool {
        self.mbuf.borrow_mut().splice(at, removed, inserted)
    }

    fn l3_checksum(&self) -> Checksum {
        checksum(self.mbuf.borrow().ip_checksum())
    }

    fn l4_checksum(&self) -> Checksum {
        checksum(self.mbuf.borrow().l4_checksum())
    }

    fn rss_hash(&self) -> Option<u32> {
        self.hashes.then(|| self.mbuf.borrow().rss_hash()).flatten()
    }

    fn handed(&self) -> Option<Handed> {
        self.handed
    }
}

const fn checksum(found: dpdk::Checksum) -> Checksum {
    match found {
        dpdk::Checksum::Unknown => Checksum::Unknown,
        dpdk::Checksum::Good => Checksum::Good,
        dpdk::Checksum::Bad => Checksum::Bad,
    }
}
