//! The route that all packets of one direction of a connection take, as Linux's flowtable keeps it: it stays for as long as the
//! configuration does, so that most packets need no look-up.

use super::link::is_group;
use super::router::Router;
use super::{Egress, Forwarding};
use crate::frame::Frame;
use crate::headers::Headers;
use crate::ids::PortId;
use crate::tuple::{Family, address};
use crate::wire::usual::Usual;
use crate::wire::{dhcp, ipv6};

/// Where packets of one direction of a connection leave which come in by one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlowRoute {
    /// Their way out, without a next hop if that is their destination.
    pub(crate) egress: Egress,
    /// Whether their destination is on the link.
    pub(crate) is_on_link: bool,
    /// Whether they are passed on by a router, which takes one from their TTL.
    pub(crate) is_hop: bool,
    /// The largest that may take it, in bytes of the IP datagram.
    largest_bytes: u32,
}

impl FlowRoute {
    /// Whether a usual packet takes it: one of which nothing else is to be said.
    #[inline(always)]
    pub(crate) fn takes<F: Frame>(&self, usual: &Usual, frame: &F) -> bool {
        let is_passed_on =
            || usual.ttl(frame.head()) > 1 && !frame.head().first_chunk().is_some_and(is_group);
        let bytes = frame.reassembled().map_or(usual.l3_len, |datagram| datagram.largest_bytes);
        bytes <= self.largest_bytes && (!self.is_hop || is_passed_on())
    }
}

impl Forwarding {
    /// The route that all packets take which come in by the same port as one of these headers that goes to `destination`, once
    /// that is translated, and leaves so; `None` where one may take another.
    pub(crate) fn flow_route(
        &self,
        ingress: PortId,
        headers: &Headers,
        destination: u128,
        egress: &Egress,
    ) -> Option<FlowRoute> {
        match self {
            Self::Wire { .. } => {
                Some(FlowRoute { egress: *egress, is_on_link: false, is_hop: false, largest_bytes: u32::MAX })
            }
            Self::Routed(router) => flow_route(router, ingress, headers, destination, egress),
        }
    }
}

fn flow_route(
    router: &Router,
    ingress: PortId,
    headers: &Headers,
    destination: u128,
    egress: &Egress,
) -> Option<FlowRoute> {
    let family = headers.family()?;
    // Link-local addresses of the box come and go with its MAC addresses, and a DHCP server's answers say whom they are for.
    let is_link_local = |address| family == Family::V6 && ipv6::is_link_local(address);
    if egress.port == PortId::LOCAL
        || [headers.tuple.src, destination].into_iter().any(is_link_local)
        || dhcp::is_answer(headers)
    {
        return None;
    }
    let is_on_link = egress.next_hop == Some(address(family, destination));
    Some(FlowRoute {
        egress: if is_on_link { Egress::by(egress.port) } else { *egress },
        is_on_link,
        is_hop: !ingress.is_local() && !egress.port.is_local(),
        largest_bytes: router.interface(egress.port).map_or(u32::MAX, |interface| interface.mtu.into()),
    })
}
