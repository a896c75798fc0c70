//! Where packets go: the routes, and the neighbours on the links.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use sluice_conntrack::forward::{RouteType, Router, Via, is_link_local};
use sluice_conntrack::verdict::{Action, Rejection};
use sluice_conntrack::{DropReason, Forwarding, PortId};
use sluice_engine::{NeighbourSnapshot, NeighbourState};

use crate::config::Config;
use crate::config::FollowedRoute;
use crate::socket::protocol::{Neighbour, NextHop, Response, Route, RouteKind};

/// Routes in one answer to a client: some hundred kilobytes of text.
const ROUTES_PER_ANSWER: usize = 1024;

/// The neighbours that the workers know, each once and as whoever knows most of it does, in the order of their ports and
/// addresses.
pub fn neighbours(known: &[NeighbourSnapshot], config: &Config) -> Vec<Neighbour> {
    let mut best = BTreeMap::<(PortId, IpAddr), &NeighbourSnapshot>::new();
    for neighbour in known {
        let before = best.entry((neighbour.port, neighbour.address)).or_insert(neighbour);
        if certainty(neighbour.state) > certainty(before.state) {
            *before = neighbour;
        }
    }
    let row = |neighbour: &NeighbourSnapshot| {
        Some(Neighbour {
            address: neighbour.address,
            dev: name(config, neighbour.port)?,
            lladdr: neighbour.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")),
            state: neighbour.state.label().to_owned(),
        })
    };
    best.into_values().filter_map(row).collect()
}

/// How well a worker knows a neighbour in a state.
const fn certainty(state: NeighbourState) -> u8 {
    match state {
        NeighbourState::Incomplete => 0,
        NeighbourState::Stale => 1,
        NeighbourState::Probe => 2,
        NeighbourState::Reachable => 3,
        NeighbourState::Permanent => 4,
    }
}

/// Routes, from a position among all of them on: the networks of the ports, the configured routes, and those that are followed, of
/// which all are in force. A configured route that is the network of a port as well is not.
pub fn list(config: &Config, followed: &[FollowedRoute], forwarding: &Forwarding, from: u64) -> Response {
    let Forwarding::Routed(router) = forwarding else { return no_router() };
    let networks = networks(router).map(|(port, own)| Route {
        to: own.trunc().to_string(),
        dev: name(config, port),
        proto: Some("kernel".to_owned()),
        src: Some(own.addr()),
        ..empty(RouteKind::Unicast)
    });
    let is_network = |to: &IpNet| self::networks(router).any(|(_, own)| own.trunc() == to.trunc());
    let configured =
        config.routes.list.iter().filter(|route| !is_network(&route.prefix().0)).map(|route| Route {
            to: route.prefix().to_string(),
            via: route.via,
            dev: Some(route.dev.clone()),
            proto: Some("static".to_owned()),
            src: config.port(&route.dev).and_then(|port| {
                // A route without a next router leads to neighbours of its own family.
                router.source_towards(port, route.via.unwrap_or(route.prefix().0.addr()))
            }),
            ..empty(RouteKind::Unicast)
        });
    let mut before: Vec<Route> = networks.chain(configured).collect();
    let position = usize::try_from(from).unwrap_or(usize::MAX);
    let total = before.len() + followed.len();
    let rest = followed.get(position.saturating_sub(before.len())..).unwrap_or_default();
    let rest = rest.iter().map(|route| of_kernel(config, router, route));
    let routes: Vec<Route> =
        before.drain(position.min(before.len())..).chain(rest).take(ROUTES_PER_ANSWER).collect();
    let next = position.saturating_add(routes.len());
    Response::Routes { routes, next: (next < total).then_some(next as u64) }
}

/// The box's own addresses and their networks at each port, which are routes, but for link-local ones.
fn networks(router: &Router) -> impl Iterator<Item = (PortId, IpNet)> {
    let own = router.ports().flat_map(|port| router.networks(port).map(move |own| (port, own)));
    let own = own.filter(|(_, (own, _))| !is_link_local(*own));
    own.filter_map(|(port, (own, length))| Some((port, IpNet::new(own, length).ok()?)))
}

/// A route that is followed.
fn of_kernel(config: &Config, router: &Router, route: &FollowedRoute) -> Route {
    let to = route.to.addr();
    let (kind, next_hops) = match &route.kind {
        RouteType::Unicast(next_hops) => (RouteKind::Unicast, &**next_hops),
        RouteType::Blackhole => (RouteKind::Blackhole, &[][..]),
        RouteType::Unreachable => (RouteKind::Unreachable, &[][..]),
        RouteType::Prohibit => (RouteKind::Prohibit, &[][..]),
    };
    Route {
        to: route.to.to_string(),
        proto: Some(route.protocol_name()),
        metric: (route.metric != 0).then_some(route.metric),
        ..leading(config, router, to, next_hops, kind)
    }
}

/// A route to an address by these next hops.
fn leading(config: &Config, router: &Router, to: IpAddr, next_hops: &[Via], kind: RouteKind) -> Route {
    let ends = Route { to: to.to_string(), ..empty(kind) };
    match next_hops {
        [] => ends,
        [Via { port, gateway }] => Route {
            via: *gateway,
            dev: name(config, *port),
            src: router.source_towards(*port, gateway.unwrap_or(to)),
            ..ends
        },
        several => {
            let mut nexthops: Vec<NextHop> = Vec::new();
            for Via { port, gateway } in several {
                let Some(dev) = name(config, *port) else { continue };
                match nexthops.iter_mut().find(|hop| hop.via == *gateway && hop.dev == dev) {
                    Some(hop) => hop.weight += 1,
                    None => nexthops.push(NextHop { via: *gateway, dev, weight: 1 }),
                }
            }
            Route { nexthops, ..ends }
        }
    }
}

/// The route that packets to an address take; all next hops, where they have several to take one of.
pub fn get(config: &Config, forwarding: &Forwarding, to: IpAddr) -> Response {
    let Forwarding::Routed(router) = forwarding else { return no_router() };
    let ends = |kind| Route { to: to.to_string(), ..empty(kind) };
    let next_hops = router.next_hops(to);
    Response::Route(match router.find(to) {
        None => ends(RouteKind::Unreachable),
        Some(Err(Action::Drop(DropReason::Multicast))) => ends(RouteKind::Multicast),
        Some(Err(Action::Reject(_, Rejection::Prohibited))) => ends(RouteKind::Prohibit),
        Some(Err(_)) => ends(RouteKind::Unreachable),
        Some(Ok(_)) if next_hops.iter().any(|via| via.port.is_local()) => {
            let here = router.ports().find(|port| router.addresses(*port).any(|own| own == to));
            Route { dev: here.and_then(|port| name(config, port)), src: Some(to), ..ends(RouteKind::Local) }
        }
        Some(Ok(_)) => leading(config, router, to, &next_hops, RouteKind::Unicast),
    })
}

/// A route that leads nowhere yet.
const fn empty(kind: RouteKind) -> Route {
    Route {
        kind,
        to: String::new(),
        via: None,
        dev: None,
        proto: None,
        src: None,
        metric: None,
        nexthops: Vec::new(),
    }
}

fn no_router() -> Response {
    Response::Error { message: "there are no routes: the box is a wire (`forwarding: wire`)".to_owned() }
}

/// The name of a port's interface.
fn name(config: &Config, port: PortId) -> Option<String> {
    config.interfaces.keys().nth(usize::from(port.0)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const ROUTER: &str = "{version: 1, interfaces: {
        inside: {device: 'vdev:net_null0', addresses: [10.0.0.1/8, 'fe80::1/64']},
        outside: {device: 'vdev:net_null1', addresses: [203.0.113.1/24, '2001:db8::1/64']}},
        routes: [{to: 0.0.0.0/0, via: 203.0.113.254, dev: outside},
                 {to: 10.0.0.0/8, via: 203.0.113.253, dev: outside},
                 {to: 'fd00::/8', via: 'fe80::9', dev: outside}]}";

    fn configured(text: &str) -> (Config, Forwarding) {
        let config = config::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let forwarding = config::lower(&config).unwrap().forwarding;
        (config, forwarding)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn unicast(to: &str, via: Option<&str>, dev: &str, src: &str) -> Route {
        Route {
            to: to.to_owned(),
            via: via.map(address),
            dev: Some(dev.to_owned()),
            src: Some(address(src)),
            ..empty(RouteKind::Unicast)
        }
    }

    fn made_by(proto: &str, route: Route) -> Route {
        Route { proto: Some(proto.to_owned()), ..route }
    }

    #[test]
    fn all_routes_that_are_in_force_are_listed() {
        let (config, forwarding) = configured(ROUTER);
        let routes = [
            made_by("kernel", unicast("10.0.0.0/8", None, "inside", "10.0.0.1")),
            made_by("kernel", unicast("203.0.113.0/24", None, "outside", "203.0.113.1")),
            made_by("kernel", unicast("2001:db8::/64", None, "outside", "2001:db8::1")),
            made_by("static", unicast("0.0.0.0/0", Some("203.0.113.254"), "outside", "203.0.113.1")),
            made_by("static", unicast("fd00::/8", Some("fe80::9"), "outside", "2001:db8::1")),
            Route {
                metric: Some(32),
                ..made_by("bird", unicast("198.51.100.0/24", Some("203.0.113.9"), "outside", "203.0.113.1"))
            },
        ];
        let kind =
            RouteType::Unicast([Via { port: PortId(1), gateway: Some(address("203.0.113.9")) }].into());
        let followed =
            [FollowedRoute { to: "198.51.100.0/24".parse().unwrap(), kind, protocol: 12, metric: 32 }];
        for from in [0, 3, 5, 6, 7, u64::MAX] {
            let rest = routes.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
            assert_eq!(
                list(&config, &followed, &forwarding, from),
                Response::Routes { routes: rest.to_vec(), next: None }
            );
        }
    }

    #[test]
    fn many_routes_come_page_by_page() {
        let route = |n: usize| format!("{{to: 172.{}.{}.0/24, dev: outside}}", 16 + n / 256, n % 256);
        let many: Vec<String> = (0..ROUTES_PER_ANSWER).map(route).collect();
        let text = ROUTER.replace("routes: [", &format!("routes: [{}, ", many.join(", ")));
        let (config, forwarding) = configured(&text);
        let Response::Routes { routes, next } = list(&config, &[], &forwarding, 0) else { panic!() };
        assert_eq!((routes.len(), next), (ROUTES_PER_ANSWER, Some(ROUTES_PER_ANSWER as u64)));
        let Response::Routes { routes, next } = list(&config, &[], &forwarding, next.unwrap()) else {
            panic!()
        };
        assert_eq!((routes.len(), next), (5, None));
    }

    #[test]
    fn a_route_is_found_for_each_address() {
        let (config, forwarding) = configured(ROUTER);
        let ends = |kind, to: &str| Route { to: to.to_owned(), ..empty(kind) };
        for expected in [
            unicast("192.0.2.1", Some("203.0.113.254"), "outside", "203.0.113.1"),
            unicast("10.9.9.9", None, "inside", "10.0.0.1"),
            unicast("fd00::1", Some("fe80::9"), "outside", "2001:db8::1"),
            Route { kind: RouteKind::Local, ..unicast("2001:db8::1", None, "outside", "2001:db8::1") },
            ends(RouteKind::Unreachable, "2001:db9::1"),
            ends(RouteKind::Unreachable, "127.0.0.1"),
            ends(RouteKind::Multicast, "224.0.0.1"),
            ends(RouteKind::Multicast, "203.0.113.255"),
        ] {
            let to = address(&expected.to);
            assert_eq!(get(&config, &forwarding, to), Response::Route(expected));
        }
        let (config, wire) = configured(
            "{version: 1, interfaces: {a: {device: 'vdev:net_null0'}, b: {device: 'vdev:net_null1'}}}",
        );
        assert!(matches!(get(&config, &wire, address("10.0.0.1")), Response::Error { .. }));
    }

    #[test]
    fn a_neighbour_of_several_workers_is_listed_once() {
        let (config, _) = configured(ROUTER);
        let known = |port, address: &str, mac, state| NeighbourSnapshot {
            port: PortId(port),
            address: address.parse().unwrap(),
            mac,
            state,
        };
        let mac = Some([2, 0, 0, 0, 0, 0xfe]);
        let all = [
            known(1, "203.0.113.9", mac, NeighbourState::Stale),
            known(0, "10.0.0.7", None, NeighbourState::Incomplete),
            known(1, "203.0.113.9", mac, NeighbourState::Reachable),
            known(1, "203.0.113.9", mac, NeighbourState::Probe),
        ];
        let row = |address: &str, dev: &str, lladdr: Option<&str>, state: &str| Neighbour {
            address: address.parse().unwrap(),
            dev: dev.to_owned(),
            lladdr: lladdr.map(str::to_owned),
            state: state.to_owned(),
        };
        let expected = [
            row("10.0.0.7", "inside", None, "incomplete"),
            row("203.0.113.9", "outside", Some("02:00:00:00:00:fe"), "reachable"),
        ];
        assert_eq!(neighbours(&all, &config), expected);
    }
}
