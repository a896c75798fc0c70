//! The router's decision about a packet (RFC 1812 section 5, RFC 8200): for the box itself, to a next hop, or
//! nowhere.
//!
//! The order is Linux's: a packet was tracked before it is routed, and the policy judges it afterwards. So one that
//! goes nowhere has a state and refreshes its entry, but makes none.

use super::interface::RpFilter;
use super::link::{MacAddresses, is_group, is_link_local, is_many, is_of_the_link};
use super::router::Router;
use super::{Egress, RouteResult, host, mtu};
use crate::frame::Frame;
use crate::headers::{Headers, Packet};
use crate::ids::PortId;
use crate::tuple::{Family, protocol};
use crate::verdict::{Action, DropReason, Rejection};
use crate::wire::{self, bytes, dhcp, ethernet, field, ipv6};
use std::net::IpAddr;

/// Whether a frame was sent to the box or to all, and untagged: one of a VLAN that is an interface has lost its tag by now.
pub(super) fn is_for_box<F: Frame>(frame: &F, l3_offset: u16, macs: &MacAddresses) -> bool {
    let Some(destination) = bytes::get(frame.head(), field::ethernet::DESTINATION) else { return false };
    let for_port = macs.of(frame.port()).is_none_or(|mac| mac == destination || is_group(&destination));
    for_port && usize::from(l3_offset) == ethernet::HEADER_BYTES
}

/// Looks up the route of a packet: to `translated`, if its destination is.
pub(super) fn route<F: Frame>(
    router: &Router,
    frame: &F,
    headers: &Headers,
    translated: Option<u128>,
    macs: &MacAddresses,
) -> RouteResult {
    let head = frame.head();
    let drop = |reason| RouteResult::Closed(Action::Drop(reason));
    let Some(family) = headers.family() else {
        let is_arp = head.get(field::ethernet::ETHERTYPE) == Some(&ethernet::ARP.to_be_bytes());
        return if is_arp { RouteResult::Closed(Action::Deliver) } else { drop(DropReason::NotIp) };
    };
    if is_of_the_link(head, headers) {
        return RouteResult::Closed(Action::Deliver);
    }
    let (source, destination) = wire::own_addresses(Packet { headers, head });
    let destination = translated.unwrap_or(destination);
    if wire::is_martian(family, source) || router.is_own_number(family, source) {
        return match frame.port().behind() {
            Some(port) => host::route_from_host(router, port, frame, headers, (family, destination)),
            None => drop(DropReason::IpSource),
        };
    }
    if family == Family::V6 && (ipv6::is_link_local(source) || ipv6::is_link_local(destination)) {
        return route_on_link(router, frame.port(), source, destination, macs);
    }
    if dhcp::is_answer(headers)
        && let Some(egress) = host::route_to_dhcp_client(router, frame, headers, macs)
    {
        return RouteResult::Open(egress);
    }
    let rp_filter = router.interface(frame.port()).map_or(RpFilter::Off, |interface| interface.rp_filter);
    if rp_filter != RpFilter::Off && !has_way_back(router, rp_filter, frame.port(), (family, source)) {
        return drop(DropReason::RpFilter);
    }
    let reject = |reason, rejection| RouteResult::Closed(Action::Reject(reason, rejection));
    let via = match router.entry(family, destination) {
        None => return reject(DropReason::NoRoute, Rejection::NoRoute),
        Some(Err(action)) => {
            return host::route_to_link(router, frame.port(), (family, destination), *action);
        }
        Some(Ok(next_hops)) => router.choose(next_hops, headers),
    };
    let Some(interface) = router.interface(via.port) else {
        return RouteResult::Open(host::route_to_host(router, frame.port(), via.port));
    };
    if head.first_chunk().is_some_and(is_group) {
        drop(DropReason::Multicast)
    } else if headers.ttl <= 1 {
        reject(DropReason::TtlExceeded, Rejection::TimeExceeded)
    } else {
        mtu::leave(frame, headers, via.egress(family, destination), interface.mtu)
    }
}

/// Whether a reverse path filter lets a source in by a port.
#[cold]
fn has_way_back(
    router: &Router,
    rp_filter: RpFilter,
    ingress: PortId,
    (family, source): (Family, u128),
) -> bool {
    match router.entry(family, source) {
        Some(Ok(next_hops)) => rp_filter.passes(ingress, router.hops(next_hops)),
        Some(Err(_)) | None => false,
    }
}

/// The route of a packet with a link-local address, which no router passes on (RFC 4291 section 2.5.6): to the box, where
/// it is for an address that the box has there.
#[cold]
fn route_on_link(
    router: &Router,
    port: PortId,
    source: u128,
    destination: u128,
    macs: &MacAddresses,
) -> RouteResult {
    if port.is_local() || is_many(Family::V6, destination) {
        let action = Action::Drop(DropReason::IpSource);
        return host::route_to_link(router, port, (Family::V6, destination), action);
    }
    let mac = macs.of(port);
    let [source, destination] = [source, destination].map(|it| IpAddr::V6(it.into()));
    let is_here = match is_link_local(destination) {
        true => router.is_own_link_local(port, destination, mac),
        false => router.is_own(destination),
    };
    if router.is_own_link_local(port, source, mac) || is_link_local(source) && !is_here {
        RouteResult::Closed(Action::Drop(DropReason::IpSource))
    } else if is_here {
        RouteResult::Open(Egress::by(router.local_side(port)))
    } else {
        RouteResult::Closed(Action::Drop(DropReason::NoRoute))
    }
}

/// How a packet leaves that may be larger than the link of its egress port takes.
#[cold]
#[inline(never)]
fn fit<F: Frame>(router: &Router, frame: &F, headers: &Headers, egress: PortId) -> Action {
    match router.interface(egress) {
        Some(link) if mtu::is_exceeded(frame, headers, link.mtu) => Action::Fragment(egress, link.mtu),
        _ => Action::Forward(egress),
    }
}

/// Takes one from the TTL of what leaves, says of what is too large for its way that it is to be cut, and refuses what the box does not offer to those who may reach it.
pub(super) fn finish<F: Frame>(router: &Router, frame: &mut F, headers: &Headers, action: Action) -> Action {
    match action {
        Action::Forward(egress) => {
            if !egress.is_local() && !frame.port().is_local() {
                wire::decrement_ttl(frame.head_mut(), headers);
            }
            if headers.l3_len > u32::from(router.smallest_mtu) {
                fit(router, frame, headers, egress)
            } else {
                action
            }
        }
        Action::Deliver => refusal(headers).unwrap_or(action),
        _ => action,
    }
}

/// How the box refuses a packet to itself, as a host without servers does (RFC 1122 section 3.2.2.1). ICMP is never
/// refused: the box answers echo, and other messages tell it something or nothing.
fn refusal(headers: &Headers) -> Option<Action> {
    let rejection = match headers.protocol {
        _ if headers.family().is_none() => return None,
        protocol::ICMP | protocol::ICMPV6 => return None,
        protocol::TCP => Rejection::TcpReset,
        protocol::UDP | protocol::UDPLITE => Rejection::PortUnreachable,
        _ => Rejection::ProtocolUnreachable,
    };
    Some(Action::Reject(DropReason::Local, rejection))
}
