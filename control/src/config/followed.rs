//! What the box follows of the network stacks behind its host sides: routes, addresses and static neighbours, as the kernel has
//! them.

use std::collections::BTreeSet;

use ipnet::IpNet;
use sluice_conntrack::PortId;
use sluice_conntrack::forward::{Neighbour, Route, RouteType, Router, is_link_local};

use super::schema::Config;
use super::values::InterfaceAddress;

/// What one network stack has, at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Addresses on the host sides, with the lengths of their networks' prefixes.
    pub addresses: Vec<(PortId, IpNet)>,
    /// Routes by way of the host sides, each to another prefix.
    pub routes: Vec<FollowedRoute>,
    /// Neighbours that need not be asked for.
    pub neighbours: Vec<Neighbour>,
}

/// A route of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedRoute {
    /// The destinations that take it.
    pub to: IpNet,
    /// What becomes of packets there.
    pub kind: RouteType,
    /// Who has made it (rtnetlink(7), `rtm_protocol`).
    pub protocol: u8,
    /// The lowest metric counts.
    pub metric: u32,
}

/// A router, and the routes in it that are the kernel's.
#[derive(Debug)]
pub struct Rerouted {
    /// The router.
    pub router: Router,
    /// The kernel's routes.
    pub routes: Vec<FollowedRoute>,
}

/// The names that ip-route(8) has for those who make routes.
const PROTOCOLS: [(u8, &str); 18] = [
    (1, "redirect"),
    (2, "kernel"),
    (3, "boot"),
    (4, "static"),
    (8, "gated"),
    (9, "ra"),
    (10, "mrt"),
    (11, "zebra"),
    (12, "bird"),
    (15, "ntk"),
    (16, "dhcp"),
    (18, "keepalived"),
    (42, "babel"),
    (186, "bgp"),
    (187, "isis"),
    (188, "ospf"),
    (189, "rip"),
    (192, "eigrp"),
];

impl FollowedRoute {
    /// Who has made it, in ip-route(8)'s words.
    pub fn protocol_name(&self) -> String {
        let named = PROTOCOLS.iter().find(|(number, _)| *number == self.protocol);
        named.map_or_else(|| self.protocol.to_string(), |(_, name)| (*name).to_owned())
    }

    /// The same as the core's.
    pub fn route(&self) -> Route {
        let to = sluice_conntrack::policy::Prefix::new(self.to.addr(), self.to.prefix_len());
        Route { to, kind: self.kind.clone() }
    }
}

/// Routes of the kernel's that come in force beside a configuration: those to prefixes that are neither the network of an
/// interface nor have a static route. Of equal ones the first stack's counts.
pub(super) fn in_force(config: &Config, followed: &[impl AsRef<Followed>]) -> Vec<FollowedRoute> {
    let own = config.interfaces.values().flat_map(|interface| &interface.addresses);
    let own = own.map(|InterfaceAddress(own)| *own);
    let heard = followed.iter().flat_map(|stack| &stack.as_ref().addresses).map(|(_, own)| *own);
    let networks = own.chain(heard).filter(|own| !is_link_local(own.addr())).map(|own| own.trunc());
    let mut taken: BTreeSet<IpNet> = networks.collect();
    taken.extend(config.routes.list.iter().map(|route| route.prefix().0.trunc()));
    let mut all = Vec::new();
    for (number, stack) in followed.iter().enumerate() {
        let routes = &stack.as_ref().routes;
        all.extend(routes.iter().filter(|route| !taken.contains(&route.to)).cloned());
        if number + 1 < followed.len() {
            taken.extend(routes.iter().map(|route| route.to));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config;

    fn route(to: &str, port: u8) -> FollowedRoute {
        let kind = RouteType::Unicast(Arc::from([sluice_conntrack::forward::Via {
            port: PortId(port),
            gateway: None,
        }]));
        FollowedRoute { to: to.parse().unwrap(), kind, protocol: 12, metric: 32 }
    }

    #[test]
    fn networks_and_static_routes_go_before_the_kernels() {
        let text =
            "{version: 1, interfaces: {a: {device: 'vdev:net_null0', addresses: [10.0.0.1/8], host: true}},
            routes: {follow: host, static: [{to: 0.0.0.0/0, dev: a}]}}";
        let config = config::parse("test", text.as_bytes()).unwrap();
        let first = Followed {
            addresses: vec![(PortId(0), "192.0.2.9/24".parse().unwrap())],
            routes: vec![
                route("0.0.0.0/0", 0),
                route("10.0.0.0/8", 0),
                route("192.0.2.0/24", 0),
                route("198.51.100.0/24", 0),
            ],
            neighbours: vec![],
        };
        let second =
            Followed { routes: vec![route("198.51.100.0/24", 1), route("::/0", 1)], ..Followed::default() };
        let all = in_force(&config, &[Arc::new(first), Arc::new(second)]);
        assert_eq!(all, [route("198.51.100.0/24", 0), route("::/0", 1)]);
        assert_eq!(all[0].protocol_name(), "bird");
        assert_eq!(FollowedRoute { protocol: 99, ..all[0].clone() }.protocol_name(), "99");
    }
}
