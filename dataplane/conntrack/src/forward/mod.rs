//! Where a packet leaves: over a wire to the other port, or by a router's decision.

pub mod fib;
mod flow_route;
mod host;
mod interface;
mod link;
mod mtu;
mod next_hops;
mod route;
pub mod router;
mod table;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use flow_route::FlowRoute;
pub use interface::{Interface, RpFilter};
pub use link::{MacAddress, is_group, is_link_local, link_local, solicited_node};
pub(crate) use link::{MacAddresses, is_many};
pub use next_hops::NextHops;
pub use router::{Neighbour, Router};
pub use table::{Route, RouteType};

use crate::frame::Frame;
use crate::headers::{Headers, PacketKind};
use crate::ids::PortId;
use crate::tuple::{Family, Tuple, address};
use crate::verdict::{Action, DropReason};
use crate::wire::ethernet;
use arrayvec::ArrayVec;
use std::net::IpAddr;

/// Most ports of a box, VLANs among them.
pub const MAX_PORTS: usize = 32;

/// How packets pass from port to port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// A wire: what comes in by a port leaves by its peer, untouched.
    Wire {
        /// The peer of each port.
        peers: [PortId; MAX_PORTS],
    },
    /// A router: packets leave by their destination address.
    Routed(Box<Router>),
}

/// Where a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Egress {
    /// The port it leaves by; [`PortId::LOCAL`] if it stays.
    pub port: PortId,
    /// The neighbour it goes to next: a router, or its destination itself. `None` on a wire, and where the box is its destination.
    pub next_hop: Option<IpAddr>,
}

impl Egress {
    /// By a port behind which nobody is looked for: of a wire, or of the box's own side.
    pub const fn by(port: PortId) -> Self {
        Self { port, next_hop: None }
    }

    /// By a port, to a host on its link.
    pub(crate) fn link(port: PortId, family: Family, destination: u128) -> Self {
        Self { port, next_hop: Some(address(family, destination)) }
    }

    /// What becomes of a packet with this egress, if the policy lets it pass.
    pub const fn action(self) -> Action {
        match self.port {
            PortId::LOCAL => Action::Deliver,
            port => Action::Forward(port),
        }
    }
}

/// A next hop: where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Via {
    /// The port that packets leave by; [`PortId::LOCAL`] or a host side where they are for the box.
    pub port: PortId,
    /// The next router; `None` where the destinations are on the link.
    pub gateway: Option<IpAddr>,
}

impl Via {
    /// By a port, to a host on its link.
    const fn link(port: PortId) -> Self {
        Self { port, gateway: None }
    }

    /// Where a packet to a destination leaves whose route leads there.
    fn egress(&self, family: Family, destination: u128) -> Egress {
        match self.gateway {
            Some(_) => Egress { port: self.port, next_hop: self.gateway },
            None => Egress::link(self.port, family, destination),
        }
    }
}

/// What the FIB says about a destination: where it leads, or what becomes of packets that are not forwarded there.
pub type FibEntry = Result<NextHops, Action>;

/// What forwarding says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteResult {
    /// There is a route: if the policy lets the packet pass, it leaves so.
    Open(Egress),
    /// The final action: the policy is not consulted.
    Closed(Action),
}

/// The port at the other end of a wire.
#[inline(always)]
pub(crate) fn peer(peers: &[PortId; MAX_PORTS], port: PortId) -> PortId {
    peers.get(usize::from(port.0)).copied().unwrap_or_default()
}

impl Forwarding {
    /// A wire between ports 0 and 1.
    pub const fn wire() -> Self {
        let mut peers = [PortId(0); MAX_PORTS];
        peers[0] = PortId(1);
        Self::Wire { peers }
    }

    /// Whether a frame whose IP header starts there concerns the box at all. On a wire every frame does.
    #[inline]
    pub(crate) fn is_for_box<F: Frame>(&self, frame: &F, l3_offset: u16, macs: &MacAddresses) -> bool {
        match self {
            Self::Wire { .. } => true,
            Self::Routed(_) => route::is_for_box(frame, l3_offset, macs),
        }
    }

    /// Why a frame does not concern the box.
    #[cold]
    pub(crate) const fn not_for_box(headers: &Headers) -> DropReason {
        match headers.l3_offset as usize {
            ethernet::HEADER_BYTES => DropReason::OtherHost,
            _ => DropReason::UnknownVlan,
        }
    }

    /// Looks up the route of a frame that was parsed: to `translated`, if its destination is.
    #[inline(always)]
    pub(crate) fn route<F: Frame>(
        &self,
        frame: &F,
        headers: &Headers,
        translated: Option<u128>,
        macs: &MacAddresses,
    ) -> RouteResult {
        match self {
            Self::Wire { peers } => {
                let peer = peer(peers, frame.port());
                match headers.kind {
                    PacketKind::NotIp => RouteResult::Closed(Action::Forward(peer)),
                    _ => RouteResult::Open(Egress::by(peer)),
                }
            }
            Self::Routed(router) => route::route(router, frame, headers, translated, macs),
        }
    }

    /// Where packets of a tuple leave that come in by a port, and whose destination has become this one; `None` where they are not
    /// passed on.
    pub(crate) fn way_out(&self, ingress: PortId, tuple: &Tuple, destination: u128) -> Option<Egress> {
        match self {
            Self::Wire { peers } => Some(Egress::by(peer(peers, ingress))),
            Self::Routed(router) => router.way_out(tuple, destination),
        }
    }

    /// The ports by which packets may come in whose answers are of this tuple, and go to `destination`: on a wire any of it, else that by
    /// which the answers leave.
    pub(crate) fn ways_in(&self, answer: &Tuple, destination: u128) -> ArrayVec<PortId, MAX_PORTS> {
        match self {
            Self::Wire { peers } => {
                let ports = (0..MAX_PORTS as u8).map(PortId);
                ports
                    .filter(|port| peer(peers, *port) != *port && peer(peers, peer(peers, *port)) == *port)
                    .collect()
            }
            Self::Routed(router) => {
                router.way_out(answer, destination).iter().map(|egress| egress.port).collect()
            }
        }
    }

    /// The MTU of a port, in bytes of the IP datagram. A wire has none of its own.
    pub(crate) fn mtu(&self, port: PortId) -> u16 {
        match self {
            Self::Wire { .. } => u16::MAX,
            Self::Routed(router) => router.mtu(port),
        }
    }

    /// Does to a frame what its forwarding or delivery asks for, and says what becomes of it now.
    #[inline(always)]
    pub fn finish<F: Frame>(&self, frame: &mut F, headers: &Headers, action: Action) -> Action {
        match self {
            Self::Wire { .. } => action,
            Self::Routed(router) => route::finish(router, frame, headers, action),
        }
    }
}
