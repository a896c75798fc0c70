//! The box's own network stack behind the host side of a port: the route of what it sends, and what it gets of what is sent to
//! many.

use super::link::{MacAddresses, is_many, is_of_link_scope};
use super::router::Router;
use super::{Egress, RouteResult, Via, mtu};
use crate::frame::Frame;
use crate::headers::{Headers, Packet};
use crate::ids::PortId;
use crate::tuple::Family;
use crate::verdict::{Action, DropReason, Rejection};
use crate::wire::{self, dhcp, ipv6};

/// The route of a packet that the host sends from an address of its own through the host side of `port`: to that port's link
/// where it is good there only, else by the routes. Its TTL is the sender's own affair: routing protocols speak with 1 or
/// 255 (RFC 5082).
#[cold]
pub(super) fn route_from_host<F: Frame>(
    router: &Router,
    port: PortId,
    frame: &F,
    headers: &Headers,
    (family, destination): (Family, u128),
) -> RouteResult {
    let via = if is_for_link(family, destination) {
        &Via::link(port)
    } else if wire::has_martian_source(frame, headers) {
        return RouteResult::Closed(Action::Drop(DropReason::IpSource));
    } else {
        match router.entry(family, destination) {
            None => {
                let rejection = Action::Reject(DropReason::NoRoute, Rejection::NoRoute);
                return RouteResult::Closed(rejection);
            }
            Some(Err(action)) => return RouteResult::Closed(*action),
            Some(Ok(next_hops)) => router.choose(next_hops, headers),
        }
    };
    match router.interface(via.port) {
        Some(interface) => mtu::leave(frame, headers, via.egress(family, destination), interface.mtu),
        None => RouteResult::Open(Egress::by(via.port)),
    }
}

/// The route of a packet for the box, which has its address at the port behind `side`: by the host side of the port that it
/// came in by, if that leads to the same network stack, as in Linux.
pub(super) fn route_to_host(router: &Router, ingress: PortId, side: PortId) -> Egress {
    let host = |port: PortId| router.interface(port)?.host;
    match side.behind() {
        Some(port) if host(port) == host(ingress) => Egress::by(ingress.host_side()),
        _ => Egress::by(side),
    }
}

/// The route of an answer of a DHCP server to the host behind a port, whichever address it is sent to: that which the host is to
/// get, or all (RFC 2131 section 4.1).
#[cold]
pub(super) fn route_to_dhcp_client<F: Frame>(
    router: &Router,
    frame: &F,
    headers: &Headers,
    macs: &MacAddresses,
) -> Option<Egress> {
    let port = frame.port();
    let host = router.interface(port)?.host;
    let client = dhcp::client(Packet { headers, head: frame.head() })?;
    (host.is_some() && macs.of(port) == Some(client)).then(|| Egress::by(port.host_side()))
}

/// The route of a packet that no router passes on, from or to a link-local address or to many: from the host to the link, and
/// from the link to the host where that listens to a group of the link's, as routing protocols and VRRP do (RFC 5771 section
/// 4, RFC 4291 section 2.7). Of any other becomes what is said.
#[cold]
pub(super) fn route_to_link(
    router: &Router,
    ingress: PortId,
    (family, destination): (Family, u128),
    otherwise: Action,
) -> RouteResult {
    let egress = match ingress.behind() {
        Some(port) => is_for_link(family, destination).then_some(port),
        None if !is_of_link_scope(family, destination) => None,
        None => router.interface(ingress).and_then(|i| i.host).map(|_| ingress.host_side()),
    };
    match egress {
        Some(port) => RouteResult::Open(Egress::link(port, family, destination)),
        None => RouteResult::Closed(otherwise),
    }
}

/// Whether a destination is one of the link that a packet is sent to: many, or a link-local address.
const fn is_for_link(family: Family, destination: u128) -> bool {
    is_many(family, destination) || matches!(family, Family::V6) && ipv6::is_link_local(destination)
}
