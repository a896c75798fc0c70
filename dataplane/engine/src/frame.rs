//! A received mbuf, as the tracking crate sees it.

use dpdk::Mbuf;
use sluice_conntrack::frame::Handed;
use sluice_conntrack::{Checksum, Frame, PortId};

/// An mbuf in its burst, with the port it came in by.
pub(crate) struct Received<'a> {
    pub(crate) port: PortId,
    pub(crate) mbuf: &'a mut Mbuf,
    /// Whether its hash is the one that steers.
    pub(crate) hashes: bool,
    /// How it came from another worker, if it did.
    pub(crate) handed: Option<Handed>,
}

impl<'a> Received<'a> {
    /// A packet of this worker's own.
    pub(crate) const fn of(port: PortId, mbuf: &'a mut Mbuf) -> Self {
        Self { port, mbuf, hashes: false, handed: None }
    }
}

impl Frame for Received<'_> {
    fn port(&self) -> PortId {
        self.port
    }

    fn head(&self) -> &[u8] {
        self.mbuf.head()
    }

    fn head_mut(&mut self) -> &mut [u8] {
        self.mbuf.head_mut()
    }

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        self.mbuf.segments()
    }

    fn len_bytes(&self) -> usize {
        self.mbuf.packet_len()
    }

    fn l3_checksum(&self) -> Checksum {
        checksum(self.mbuf.ip_checksum())
    }

    fn l4_checksum(&self) -> Checksum {
        checksum(self.mbuf.l4_checksum())
    }

    fn rss_hash(&self) -> Option<u32> {
        self.hashes.then(|| self.mbuf.rss_hash()).flatten()
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
