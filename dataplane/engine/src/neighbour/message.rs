//! What stations say about addresses, in either family's words.

use std::net::{IpAddr, Ipv6Addr};

use arrayvec::ArrayVec;
use sluice_conntrack::forward::MacAddress;
use sluice_conntrack::headers::Headers;
use sluice_conntrack::wire;
use sluice_conntrack::{Frame, PortId};

use super::{arp, ndp};

/// The longest message that is written: a neighbour solicitation in its Ethernet frame.
pub(crate) const LONGEST_BYTES: usize = 86;

/// A message as a whole frame.
pub(crate) type Bytes = ArrayVec<u8, LONGEST_BYTES>;

/// A station, and the port it is behind or the port of the box that speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speaker {
    pub(crate) address: IpAddr,
    pub(crate) mac: MacAddress,
}

/// What a station says of itself, as workers tell one another.
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

/// What a station says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Asks for the station that has `target`. One that has no address yet asks whether another has the one it wants
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

impl Message {
    /// The frame that carries a message to the station `to`, or, without one, to all that it may concern.
    /// `None` where addresses are not of one family.
    pub(crate) fn write(&self, to: Option<Speaker>) -> Option<Bytes> {
        match *self {
            Self::Solicitation { from: Some(from), target } => match (from.address, target) {
                (IpAddr::V4(own), IpAddr::V4(target)) => Some(arp::request(own, from.mac, target)),
                (IpAddr::V6(own), IpAddr::V6(target)) => Some(ndp::solicitation(own, from.mac, target)),
                _ => None,
            },
            Self::Solicitation { from: None, .. } => None,
            Self::Advertisement { from: own, .. } => match (own.address, to.map(|to| (to.address, to.mac))) {
                (IpAddr::V4(address), Some((IpAddr::V4(to), mac))) => {
                    Some(arp::reply(address, own.mac, to, mac))
                }
                (IpAddr::V6(address), Some((IpAddr::V6(to), mac))) => {
                    Some(ndp::advertisement(address, own.mac, Some((to, mac))))
                }
                (IpAddr::V6(address), None) => Some(ndp::advertisement(address, own.mac, None)),
                _ => None,
            },
        }
    }
}

/// The message in a frame; `None` if there is none, or not a sound one.
pub(crate) fn read<F: Frame>(frame: &F) -> Option<Message> {
    let headers: Headers = wire::parse(frame).ok()?;
    match headers.family() {
        None => arp::read(frame.head()),
        Some(_) => ndp::read(frame, &headers),
    }
}

/// The link-local address that a port makes of its MAC address (RFC 4291 appendix A).
pub(crate) fn link_local([a, b, c, d, e, f]: MacAddress) -> Ipv6Addr {
    let identifier = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from(0xfe80 << 112 | u128::from(identifier))
}
