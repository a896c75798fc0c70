//! What a router knows: its interfaces, its routes, its own addresses, and who is on its links (RFC 1812 section 5, RFC 8200).

use super::interface::Interface;
use super::link::{MacAddress, groups, is_link_local, link_local, solicited_node};
use super::next_hops::NextHops;
use super::table::{Route, RouteTable, local_side};
use super::{Egress, FibEntry, Via};
use crate::headers::Headers;
use crate::ids::PortId;
use crate::policy::Prefix;
use crate::tuple::{Family, Tuple};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

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
    /// Shared by configurations that differ in something else.
    table: Arc<RouteTable>,
    /// The next routers, sorted.
    gateways: Vec<IpAddr>,
    interfaces: Vec<Interface>,
    /// What all links take.
    pub(super) smallest_mtu: u16,
    /// The box's own addresses, sorted, but for link-local ones, which are those of a port.
    own: Vec<IpAddr>,
    /// The bits that the ends of these have; others than the box's mostly have other ones.
    own_ends: u64,
    /// Neighbours that need not be asked for their address.
    pub neighbours: Vec<Neighbour>,
    /// The solicited-node groups of each port, but for that of its link-local address.
    groups: Vec<Vec<Ipv6Addr>>,
    /// Addresses that connections are translated to or from, first and last of each range, and the port they are seen at.
    translated: Vec<(PortId, IpAddr, IpAddr)>,
}

impl Router {
    /// The router of these ports, in the order of their numbers, and routes. Networks that the ports have addresses
    /// in are routes themselves. Next hops over ports that there are not are left out. Of routes to equal prefixes the later
    /// counts.
    pub fn new(interfaces: Vec<Interface>, routes: impl IntoIterator<Item = Route>) -> Self {
        let addresses = interfaces.iter().flat_map(|i| &i.addresses).map(|(own, _)| *own);
        let mut own: Vec<IpAddr> = addresses.filter(|own| !is_link_local(*own)).collect();
        own.sort_unstable();
        own.dedup();
        let own_ends = own.iter().fold(0, |ends, own| ends | end_bit(crate::tuple::number(*own)));
        let (table, gateways) = RouteTable::new(&interfaces, routes);
        let groups = interfaces.iter().map(|interface| groups(&interface.addresses, &[])).collect();
        let smallest_mtu = interfaces.iter().map(|interface| interface.mtu).min().unwrap_or_default();
        Self {
            smallest_mtu,
            groups,
            table: Arc::new(table),
            gateways,
            interfaces,
            own,
            own_ends,
            neighbours: Vec::new(),
            translated: Vec::new(),
        }
    }

    /// What stands behind a destination; `None` where there is no route to it.
    pub fn find(&self, destination: IpAddr) -> Option<FibEntry> {
        self.entry(Family::of(destination), crate::tuple::number(destination)).copied()
    }

    /// The same of an address given as its number.
    #[inline(always)]
    pub(super) fn entry(&self, family: Family, destination: u128) -> Option<&FibEntry> {
        self.table.get(family, destination)
    }

    /// Fetches what the look-ups of the routes to a burst's destinations read.
    pub(crate) fn prefetch(&self, destinations: impl Iterator<Item = (Family, u128)>) {
        self.table.prefetch(destinations);
    }

    /// The next hops towards an address, one by one; none where there is no route.
    pub fn next_hops(&self, destination: IpAddr) -> Vec<Via> {
        let entry = self.find(destination);
        entry.and_then(Result::ok).map_or(Vec::new(), |next_hops| self.hops(&next_hops).to_vec())
    }

    /// The port by which packets to an address leave, the first of those that there are; `None` where it is the box's own, or has no
    /// route.
    pub(crate) fn port_towards(&self, address: IpAddr) -> Option<PortId> {
        let next_hops = self.entry(Family::of(address), crate::tuple::number(address))?.as_ref().ok()?;
        let via = self.hops(next_hops).first()?;
        (!via.port.is_local()).then_some(via.port)
    }

    /// Where packets of a tuple leave whose destination has become this one; `None` where they are not passed on.
    pub(crate) fn way_out(&self, tuple: &Tuple, destination: u128) -> Option<Egress> {
        let next_hops = self.entry(tuple.family(), destination)?.as_ref().ok()?;
        Some(self.table.destinations.choose(next_hops, tuple).egress(tuple.family(), destination))
    }

    /// The next hops of a route.
    pub(super) fn hops<'a>(&'a self, next_hops: &'a NextHops) -> &'a [Via] {
        self.table.destinations.hops(next_hops)
    }

    /// The next hop of a packet on a route.
    #[inline(always)]
    pub(super) fn choose<'a>(&'a self, next_hops: &'a NextHops, headers: &Headers) -> &'a Via {
        self.table.destinations.choose(next_hops, &headers.tuple)
    }

    /// Bytes of memory that the routes take.
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
    }

    /// What is known about a port; `None` where there is none.
    pub(super) fn interface(&self, port: PortId) -> Option<&Interface> {
        self.interfaces.get(usize::from(port.0))
    }

    /// The box's own addresses at a port.
    pub fn addresses(&self, port: PortId) -> impl Iterator<Item = IpAddr> {
        self.interface(port).into_iter().flat_map(|interface| &interface.addresses).map(|(own, _)| *own)
    }

    /// The same with the lengths of their networks' prefixes.
    pub fn networks(&self, port: PortId) -> impl Iterator<Item = (IpAddr, u8)> {
        self.interface(port).into_iter().flat_map(|interface| interface.addresses.iter().copied())
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

    /// Whether the box is in the same solicited-node groups on all links as by another router.
    pub fn has_groups_of(&self, other: &Self) -> bool {
        self.groups == other.groups
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
        let Some(interface) = self.interface(port) else { return false };
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
            Some(Ok(NextHops::One(via))) if via == Via::link(port) => true,
            Some(Err(_)) => false,
            // Another port may have the same network.
            Some(Ok(_)) | None => self.interface(port).is_some_and(|interface| {
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

    /// The same of an address given as its number.
    #[inline(always)]
    pub(super) fn is_own_number(&self, family: Family, address: u128) -> bool {
        self.own_ends & end_bit(address) != 0 && self.is_own(crate::tuple::address(family, address))
    }

    /// Whether a link-local address is the box's own at a port.
    pub(super) fn is_own_link_local(&self, port: PortId, address: IpAddr, mac: Option<MacAddress>) -> bool {
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

    /// The box's own address in the network of a neighbour at a port, else any that it speaks from there; never a link-local one.
    pub fn source_towards(&self, port: PortId, neighbour: IpAddr) -> Option<IpAddr> {
        self.source_among(port, neighbour, |_| true)
    }

    /// The same of those that the box may use.
    pub fn source_among(
        &self,
        port: PortId,
        neighbour: IpAddr,
        may: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let family = Family::of(neighbour);
        let mut near = self.networks(port).filter(|(own, length)| {
            let network = Prefix::new(*own, *length);
            !is_link_local(*own) && network.contains(family, crate::tuple::number(neighbour)) && may(*own)
        });
        let any = || self.source(port, family).filter(|own| may(*own));
        near.next().map(|(own, _)| own).or_else(any)
    }

    /// The port by which packets for the box's address at a port leave: its host side, or else the box itself.
    pub(crate) fn local_side(&self, port: PortId) -> PortId {
        local_side(&self.interfaces, port)
    }

    /// The MTU of a port.
    pub(super) fn mtu(&self, port: PortId) -> u16 {
        self.interface(port).map_or(u16::MAX, |interface| interface.mtu)
    }
}

/// A bit by the last six of an address.
const fn end_bit(address: u128) -> u64 {
    1 << (address as u64 & 63)
}
