//! A received mbuf, as the tracking crate sees it.

use dpdk::Mbuf;
use sluice_conntrack::{Checksum, Frame, PortId};

/// An mbuf in its burst, with the port it came in by.
pub(crate) struct Received<'a> {
    pub(crate) port: PortId,
    pub(crate) mbuf: &'a mut Mbuf,
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
}

const fn checksum(found: dpdk::Checksum) -> Checksum {
    match found {
        dpdk::Checksum::Unknown => Checksum::Unknown,
        dpdk::Checksum::Good => Checksum::Good,
        dpdk::Checksum::Bad => Checksum::Bad,
    }
}
