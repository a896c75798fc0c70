//! The routing table: what prefixes lead to. Routes, the networks that ports have addresses in, the box's own addresses, and what
//! no router passes on.

use super::fib::Fib;
use super::interface::Interface;
use super::link::{broadcast, is_link_local};
use super::next_hops::{Destinations, Gathering};
use super::{FibEntry, Via};
use crate::ids::PortId;
use crate::policy::Prefix;
use crate::tuple::Family;
use crate::verdict::{Action, DropReason, Rejection};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destinations that take it.
    pub to: Prefix,
    /// What becomes of packets there.
    pub kind: RouteType,
}

/// What becomes of packets that take a route (ip-route(8)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteType {
    /// They go to one of these next hops, of which one that is there twice has twice the weight.
    Unicast(Arc<[Via]>),
    /// They are dropped.
    Blackhole,
    /// Their sender is told that the host cannot be reached.
    Unreachable,
    /// Their sender is told that it is prohibited.
    Prohibit,
}

impl Route {
    /// One that leads out by a port: to a next router, or to hosts on the link itself.
    pub fn by(to: Prefix, port: PortId, gateway: Option<IpAddr>) -> Self {
        Self { to, kind: RouteType::Unicast(Arc::from([Via { port, gateway }])) }
    }

    /// Its next hops, where it has any.
    pub fn next_hops(&self) -> &[Via] {
        match &self.kind {
            RouteType::Unicast(next_hops) => next_hops,
            RouteType::Blackhole | RouteType::Unreachable | RouteType::Prohibit => &[],
        }
    }
}

/// The table, ready for look-ups.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RouteTable {
    fib: Fib,
    pub(super) destinations: Destinations,
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

/// What becomes of packets on a blackhole route, an unreachable one, and a prohibited one.
const REFUSED: [Action; 3] = [
    Action::Drop(DropReason::NoRoute),
    Action::Reject(DropReason::NoRoute, Rejection::HostUnreachable),
    Action::Reject(DropReason::NoRoute, Rejection::Prohibited),
];

impl RouteTable {
    /// That of a router; with it all next routers, sorted. Of equal prefixes the later counts: nothing can take the box's own
    /// addresses away.
    pub(super) fn new(
        interfaces: &[Interface],
        routes: impl IntoIterator<Item = Route>,
    ) -> (Self, Vec<IpAddr>) {
        let is_there = |via: &Via| usize::from(via.port.0) < interfaces.len();
        let mut gathering = Gathering::default();
        let refused = REFUSED.map(|action| gathering.add(Err(action)));
        let mut gateways = BTreeSet::new();
        let mut prefixes: Vec<(Prefix, u32)> = Vec::new();
        for Route { to, kind } in routes {
            let number = match kind {
                RouteType::Unicast(next_hops) if next_hops.iter().all(is_there) => {
                    gateways.extend(next_hops.iter().filter_map(|via| via.gateway));
                    gathering.hops(&next_hops)
                }
                RouteType::Unicast(_) => None,
                RouteType::Blackhole => Some(refused[0]),
                RouteType::Unreachable => Some(refused[1]),
                RouteType::Prohibit => Some(refused[2]),
            };
            prefixes.extend(number.map(|number| (to, number)));
        }

        let links = (0..).map(PortId).zip(interfaces);
        let links =
            links.flat_map(|(port, i)| i.addresses.iter().map(move |(own, length)| (port, *own, *length)));
        let links: Vec<_> = links.filter(|(_, own, _)| !is_link_local(*own)).collect();
        for (port, own, length) in &links {
            let number = gathering.hop(Via::link(*port));
            prefixes.extend(number.map(|number| (Prefix::new(*own, *length), number)));
        }
        let dropped = [DropReason::NoRoute, DropReason::Multicast];
        let dropped = dropped.map(|reason| (reason, gathering.add(Err(Action::Drop(reason)))));
        let number_of = |reason| dropped.iter().find(|(of, _)| *of == reason).map(|(_, number)| *number);
        let broadcasts = links.iter().filter_map(|(_, own, length)| broadcast(*own, *length));
        prefixes
            .extend(broadcasts.filter_map(|broadcast| Some((broadcast, number_of(DropReason::Multicast)?))));
        prefixes.extend(RESERVED.iter().filter_map(|(address, length, reason)| {
            Some((Prefix::new(address.parse().ok()?, *length), number_of(*reason)?))
        }));
        for (port, own, _) in &links {
            let number = gathering.hop(Via::link(local_side(interfaces, *port)));
            prefixes.extend(number.map(|number| (Prefix::new(*own, u8::MAX), number)));
        }
        let table = Self { fib: Fib::new(prefixes), destinations: gathering.into_destinations() };
        (table, gateways.into_iter().collect())
    }

    /// What stands behind a destination; `None` where there is no route to it.
    #[inline(always)]
    pub(super) fn get(&self, family: Family, destination: u128) -> Option<&FibEntry> {
        self.destinations.get(self.fib.get(family, destination)?)
    }

    /// Fetches what the look-ups of a burst's destinations read.
    pub(super) fn prefetch(&self, destinations: impl Iterator<Item = (Family, u128)>) {
        self.fib.prefetch(destinations);
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.fib.memory_bytes()
    }
}

/// The side of a port by which packets for the box leave that came in by it or are for an address of it.
pub(super) fn local_side(interfaces: &[Interface], port: PortId) -> PortId {
    let host = interfaces.get(usize::from(port.0)).and_then(|interface| interface.host);
    if host.is_some() { port.host_side() } else { PortId::LOCAL }
}
