//! Hosts that have an address of the box's, too (RFC 5227 section 2.4). The box keeps it: whoever comes later is told that it is
//! taken, and the operator hears of it.

use std::net::IpAddr;

use sluice_conntrack::forward::MacAddress;

use super::message::Speaker;

/// What a worker has heard of such hosts on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressConflicts {
    /// How often one has spoken.
    pub messages: u64,
    /// The last address, and who has it besides.
    pub last: Option<(IpAddr, MacAddress)>,
}

impl AddressConflicts {
    /// One has spoken.
    pub(crate) const fn note(&mut self, other: Speaker) {
        self.messages += 1;
        self.last = Some((other.address, other.mac));
    }

    /// Adds what another worker has heard.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.last = other.last.or(self.last);
    }
}
