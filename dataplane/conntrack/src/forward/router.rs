//! The router's decision about a packet (RFC 1812 section 5, RFC 8200): for the box itself, to a next hop, or
//! nowhere.
//!
//! The order is Linux's: a packet was tracked before it is routed, and the policy judges it afterwards. So one that
//! goes nowhere has a state and refreshes its entry, but makes none.

use super::fib::Fib;
use super::interface::{Interface, RpFilter};
use super::link::{
    MacAddress, MacAddresses, broadcast, groups, is_group, is_link_local, is_many, is_of_the_link,
    link_local, solicited_node,
};
use super::{Egress, FibEntry, RouteResult, Via, mtu};
use crate::frame::Frame;
use crate::headers::{Headers, Packet};
use crate::ids::{GatewayId, PortId};
use crate::policy::Prefix;
use crate::tuple::{Family, protocol};
use crate::verdict::{Action, DropReason, Rejection};
use crate::wire::{self, bytes, ethernet, field, ipv6};
use std::net::{IpAddr, Ipv6Addr};

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destinations that take it.
    pub to: Prefix,
    /// The next router; `None` where the destinations are on the link.
    pub via: Option<IpAddr>,
    /// The port that packets leave by.
    pub port: PortId,
}

/// The link-layer address of a neighbour, set by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The port whose link it is on.
    pub port: PortId,
    /// Its address.
    pub address: IpAddr,
    /// Its link-layer address.
    pub mac: MacAddress,
}

/// Interfaces and routes, ready for look-ups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    fib: Fib<FibEntry>,
    gateways: Vec<IpAddr>,
    interfaces: Vec<Interface>,
    /// What all links take.
    smallest_mtu: u16,
    /// The box's own addresses, sorted, but for link-local ones, which are those of a port.
    own: Vec<IpAddr>,
    /// Neighbours that need not be asked for their address.
    pub neighbours: Vec<Neighbour>,
    /// The solicited-node groups of each port, but for that of its link-local address.
    groups: Vec<Vec<Ipv6Addr>>,
    /// Addresses that connections are translated to or from, first and last of each range, and the port they are seen at.
    translated: Vec<(PortId, IpAddr, IpAddr)>,
}

/// Destinations that no packet is forwarded to: this network, loopback, multicast and limited broadcast (RFC 1812
/// section 5.3.7), and what is good on one link only (RFC 4291 section 2.5.6).
const RESERVED: [(&str, u8, DropReason); 8] = [
    ("0.0.0.0", 8, DropReason::NoRoute),
    ("127.0.0.0", 8, DropReason::NoRoute),
    ("224.0.0.0", 4, DropReason::Multicast),
    ("255.255.255.255", 32, DropReason::Multicast),
    ("::", 128, DropReason::NoRoute),
    ("::1", 128, DropReason::NoRoute),
    ("fe80::", 10, DropReason::NoRoute),
    ("ff00::", 8, DropReason::Multicast),
];

impl Router {
    /// The router of these ports, in the order of their numbers, and routes. Networks that the ports have addresses
    /// in are routes themselves. Routes over ports that there are not are left out, and so are gateways beyond
    /// 65,535.
    pub fn new(interfaces: Vec<Interface>, routes: &[Route]) -> Self {
        let mut gateways: Vec<IpAddr> = routes.iter().filter_map(|route| route.via).collect();
        gateways.sort_unstable();
        gateways.dedup();
        let addresses = interfaces.iter().flat_map(|i| &i.addresses).map(|(own, _)| *own);
        let mut own: Vec<IpAddr> = addresses.filter(|own| !is_link_local(*own)).collect();
        own.sort_unstable();
        own.dedup();

        // Of equal prefixes the later counts: nothing can take the box's own addresses away.
        let mut prefixes: Vec<(Prefix, FibEntry)> = Vec::new();
        for route in routes.iter().filter(|route| usize::from(route.port.0) < interfaces.len()) {
            let gateway = route.via.map(|via| gateways.binary_search(&via).unwrap_or_default());
            let Ok(gateway) = gateway.map(u16::try_from).transpose() else { continue };
            prefixes.push((route.to, Ok(Via { port: route.port, gateway: gateway.map(GatewayId) })));
        }
        let reserved = RESERVED.iter().filter_map(|(address, length, reason)| {
            Some((Prefix::new(address.parse().ok()?, *length), Err(*reason)))
        });
        let links = (0..).map(PortId).zip(&interfaces);
        let links =
            links.flat_map(|(port, i)| i.addresses.iter().map(move |(own, length)| (port, *own, *length)));
        let links: Vec<_> = links.filter(|(_, own, _)| !is_link_local(*own)).collect();
        prefixes.extend(
            links.iter().map(|(port, own, length)| (Prefix::new(*own, *length), Ok(Via::link(*port)))),
        );
        prefixes.extend(
            links
                .iter()
                .filter_map(|(_, own, length)| broadcast(*own, *length))
                .map(|broadcast| (broadcast, Err(DropReason::Multicast))),
        );
        prefixes.extend(reserved);
        let stays = |port: &PortId| Via::link(local_side(&interfaces, *port));
        prefixes.extend(links.iter().map(|(port, own, _)| (Prefix::new(*own, u8::MAX), Ok(stays(port)))));
        let groups = interfaces.iter().map(|interface| groups(&interface.addresses, &[])).collect();
        let smallest_mtu = interfaces.iter().map(|interface| interface.mtu).min().unwrap_or_default();
        Self {
            smallest_mtu,
            groups,
            fib: Fib::new(&prefixes),
            gateways,
            interfaces,
            own,
            neighbours: Vec::new(),
            translated: Vec::new(),
        }
    }

    /// What stands behind a destination; `None` where there is no route to it.
    pub fn find(&self, destination: IpAddr) -> Option<FibEntry> {
        self.fib.get(Family::of(destination), crate::tuple::number(destination))
    }

    /// The same of an address given as its number.
    pub(super) fn entry(&self, family: Family, destination: u128) -> Option<FibEntry> {
        self.fib.get(family, destination)
    }

    /// What is known about a port; `None` where there is none.
    pub(super) fn interface(&self, port: PortId) -> Option<&Interface> {
        self.interfaces.get(usize::from(port.0))
    }

    /// The address of a gateway.
    pub fn gateway(&self, gateway: GatewayId) -> Option<IpAddr> {
        self.gateways.get(usize::from(gateway.0)).copied()
    }

    /// The box's own addresses at a port.
    pub fn addresses(&self, port: PortId) -> impl Iterator<Item = IpAddr> {
        let interface = self.interfaces.get(usize::from(port.0));
        interface.into_iter().flat_map(|interface| &interface.addresses).map(|(own, _)| *own)
    }

    /// The box's own addresses on all ports, sorted, but for link-local ones.
    pub fn own(&self) -> &[IpAddr] {
        &self.own
    }

    /// Says which addresses NAT gives away at each port: ranges from the first to the last.
    pub(crate) fn set_translated(&mut self, translated: Vec<(PortId, IpAddr, IpAddr)>) {
        for (port, interface) in (0..).map(PortId).zip(&self.interfaces) {
            let here = translated.iter().filter(|(at, ..)| *at == port);
            let here: Vec<_> = here.map(|(_, first, last)| (*first, *last)).collect();
            self.groups[usize::from(port.0)] = groups(&interface.addresses, &here);
        }
        self.translated = translated;
    }

    /// The solicited-node groups that the box is in on a port's link (RFC 4861 section 7.2.1): those of its addresses there, of
    /// what it gives away there, and of the link-local one that it makes of its link-layer address. None where it has no IPv6.
    pub fn groups(&self, port: PortId, mac: MacAddress) -> impl Iterator<Item = Ipv6Addr> {
        let groups = self.groups.get(usize::from(port.0)).filter(|groups| !groups.is_empty());
        let by_mac = groups.map(|_| solicited_node(link_local(mac)));
        let others = groups.into_iter().flatten().copied().filter(move |group| by_mac != Some(*group));
        by_mac.into_iter().chain(others)
    }

    /// Whether the box is the host that has an address on a port's link: it is the port's own, or one of the link's
    /// network that connections are translated to. A range of those may have another host in it that the
    /// configuration names: that one still answers for itself.
    pub fn answers(&self, port: PortId, address: IpAddr) -> bool {
        let Some(interface) = self.interfaces.get(usize::from(port.0)) else { return false };
        let family = Family::of(address);
        let number = crate::tuple::number(address);
        let is_own = || interface.addresses.iter().any(|(own, _)| *own == address);
        let is_translated = || {
            self.translated.iter().any(|(at, first, last)| *at == port && (*first..=*last).contains(&address))
        };
        let is_on_link = || {
            let mut networks = interface.addresses.iter().map(|(own, length)| Prefix::new(*own, *length));
            networks.any(|network| network.contains(family, number))
        };
        is_own() || is_translated() && is_on_link() && !self.is_neighbour(port, address)
    }

    /// Whether a neighbour with this address can be on a port's link: in one of the networks there, or with an address that is
    /// good on one link only.
    pub fn is_on_link(&self, port: PortId, address: IpAddr) -> bool {
        let family = Family::of(address);
        match self.find(address) {
            _ if is_link_local(address) => true,
            Some(Ok(via)) if via == Via::link(port) => true,
            Some(Err(_)) => false,
            // Another port may have the same network.
            Some(Ok(_)) | None => self.interfaces.get(usize::from(port.0)).is_some_and(|interface| {
                let mut networks = interface.addresses.iter().map(|(own, length)| Prefix::new(*own, *length));
                networks.any(|network| network.contains(family, crate::tuple::number(address)))
            }),
        }
    }

    /// Whether the configuration knows somebody else by an address: a gateway, or a neighbour at this port.
    fn is_neighbour(&self, port: PortId, address: IpAddr) -> bool {
        self.gateways.binary_search(&address).is_ok()
            || self.neighbours.iter().any(|neighbour| neighbour.port == port && neighbour.address == address)
    }

    /// How many ports there are.
    pub fn ports(&self) -> impl Iterator<Item = PortId> + use<> {
        (0..self.interfaces.len()).map(|port| PortId(port as u8))
    }

    /// Whether an address is the box's own, on whatever port; no link-local one is.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.own.binary_search(&address).is_ok()
    }

    /// Whether a link-local address is the box's own at a port.
    fn is_own_link_local(&self, port: PortId, address: IpAddr, mac: Option<MacAddress>) -> bool {
        mac.is_some_and(|mac| address == link_local(mac)) || self.addresses(port).any(|own| own == address)
    }

    /// The address that the box speaks from at a port: one of its own there, else any of its own.
    pub fn source(&self, port: PortId, family: Family) -> Option<IpAddr> {
        let of_family = |address: &IpAddr| Family::of(*address) == family;
        self.addresses(port)
            .chain(self.own.iter().copied())
            .filter(|own| !is_link_local(*own))
            .find(of_family)
    }

    /// The box's own address in the network of a neighbour at a port, else any that it speaks from there.
    pub fn source_towards(&self, port: PortId, neighbour: IpAddr) -> Option<IpAddr> {
        let family = Family::of(neighbour);
        let interface = self.interfaces.get(usize::from(port.0))?;
        let near = interface.addresses.iter().find(|(own, length)| {
            Prefix::new(*own, *length).contains(family, crate::tuple::number(neighbour))
        });
        near.map(|(own, _)| *own).or_else(|| self.source(port, family))
    }

    /// Whether a frame was sent to the box or to all, and untagged: the box has no other networks on a port.
    pub(super) fn is_for_box<F: Frame>(&self, frame: &F, headers: &Headers, macs: &MacAddresses) -> bool {
        let Some(destination) = bytes::get(frame.head(), field::ethernet::DESTINATION) else { return false };
        let for_port = macs.of(frame.port()).is_none_or(|mac| mac == destination || is_group(&destination));
        for_port && usize::from(headers.l3_offset) == ethernet::HEADER_BYTES
    }

    /// Looks up the route of a packet: to `translated`, if its destination is.
    pub(super) fn route<F: Frame>(
        &self,
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
        if wire::is_martian(family, source) || self.is_own(crate::tuple::address(family, source)) {
            return match frame.port().behind() {
                Some(port) => self.route_from_host(port, frame, headers, (family, destination)),
                None => drop(DropReason::IpSource),
            };
        }
        if family == Family::V6 && (ipv6::is_link_local(source) || ipv6::is_link_local(destination)) {
            return self.route_on_link(frame.port(), source, destination, macs);
        }
        let rp_filter = self.interface(frame.port()).map_or(RpFilter::Off, |interface| interface.rp_filter);
        if !rp_filter.passes(frame.port(), || self.fib.get(family, source)) {
            return drop(DropReason::RpFilter);
        }
        let reject = |reason, rejection| RouteResult::Closed(Action::Reject(reason, rejection));
        let via = match self.fib.get(family, destination) {
            None => return reject(DropReason::NoRoute, Rejection::NoRoute),
            Some(Err(reason)) => return self.route_to_link(frame.port(), (family, destination), reason),
            Some(Ok(via)) => via,
        };
        let Some(interface) = self.interfaces.get(usize::from(via.port.0)) else {
            return RouteResult::Open(self.route_to_host(frame.port(), via.port));
        };
        if head.first_chunk().is_some_and(is_group) {
            drop(DropReason::Multicast)
        } else if headers.ttl <= 1 {
            reject(DropReason::TtlExceeded, Rejection::TimeExceeded)
        } else {
            mtu::leave(frame, headers, via.egress(self, family, destination), interface.mtu)
        }
    }

    /// The MTU of a port.
    pub(super) fn mtu(&self, PortId(port): PortId) -> u16 {
        self.interfaces.get(usize::from(port)).map_or(u16::MAX, |interface| interface.mtu)
    }

    /// The route of a packet with a link-local address, which no router passes on (RFC 4291 section 2.5.6): to the box, where
    /// it is for an address that the box has there.
    #[cold]
    fn route_on_link(
        &self,
        port: PortId,
        source: u128,
        destination: u128,
        macs: &MacAddresses,
    ) -> RouteResult {
        if port.is_local() || is_many(Family::V6, destination) {
            return self.route_to_link(port, (Family::V6, destination), DropReason::IpSource);
        }
        let mac = macs.of(port);
        let [source, destination] = [source, destination].map(|it| IpAddr::V6(it.into()));
        let is_here = match is_link_local(destination) {
            true => self.is_own_link_local(port, destination, mac),
            false => self.is_own(destination),
        };
        if self.is_own_link_local(port, source, mac) || is_link_local(source) && !is_here {
            RouteResult::Closed(Action::Drop(DropReason::IpSource))
        } else if is_here {
            RouteResult::Open(Egress::by(local_side(&self.interfaces, port)))
        } else {
            RouteResult::Closed(Action::Drop(DropReason::NoRoute))
        }
    }

    /// How a packet leaves that may be larger than the link of its egress port takes.
    #[cold]
    #[inline(never)]
    fn fit<F: Frame>(&self, frame: &F, headers: &Headers, egress: PortId) -> Action {
        match self.interfaces.get(usize::from(egress.0)) {
            Some(link) if mtu::is_exceeded(frame, headers, link.mtu) => Action::Fragment(egress, link.mtu),
            _ => Action::Forward(egress),
        }
    }

    /// Takes one from the TTL of what leaves, says of what is too large for its way that it is to be cut, and refuses what the box does not offer to those who may reach it.
    pub(super) fn finish<F: Frame>(&self, frame: &mut F, headers: &Headers, action: Action) -> Action {
        match action {
            Action::Forward(egress) => {
                if !egress.is_local() && !frame.port().is_local() {
                    wire::decrement_ttl(frame.head_mut(), headers);
                }
                if headers.l3_len > u32::from(self.smallest_mtu) {
                    self.fit(frame, headers, egress)
                } else {
                    action
                }
            }
            Action::Deliver => refusal(headers).unwrap_or(action),
            _ => action,
        }
    }
}

/// The side of a port by which packets for the box leave that came in by it or are for an address of it.
fn local_side(interfaces: &[Interface], port: PortId) -> PortId {
    let host = interfaces.get(usize::from(port.0)).and_then(|interface| interface.host);
    if host.is_some() { port.host_side() } else { PortId::LOCAL }
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
