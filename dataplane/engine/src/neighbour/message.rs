//! What hosts say about addresses, in either family's words.

use std::net::IpAddr;

use arrayvec::ArrayVec;
use sluice_conntrack::PortId;
use sluice_conntrack::forward::MacAddress;

/// The longest message that is written: a neighbour solicitation in its Ethernet frame.
pub(crate) const LONGEST_BYTES: usize = 86;

/// A message as a whole frame.
pub(crate) type Bytes = ArrayVec<u8, LONGEST_BYTES>;

/// A host, and the port it is behind or the port of the box that speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speaker {
    pub(crate) address: IpAddr,
    pub(crate) mac: MacAddress,
}

/// What a host says of itself, as workers tell one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The port it is behind.
    pub(crate) ingress: PortId,
    pub(crate) speaker: Speaker,
    /// Whether it asked for the box.
    pub(crate) to_us: bool,
    /// Whether it takes the place of another that had the address.
    pub(crate) overrides: bool,
}

/// What a host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Asks for the host that has `target`. One that has no address yet asks whether another has the one it wants
    /// (RFC 5227): from the unspecified address, or without saying who asks.
    Solicitation {
        /// Who asks.
        from: Option<Speaker>,
        /// Whom it asks for.
        target: IpAddr,
    },
    /// Says that it has an address.
    Advertisement {
        /// Who says so.
        from: Speaker,
        /// Whether it takes the place of another that had the address (RFC 4861 section 4.4).
        overrides: bool,
    },
}
