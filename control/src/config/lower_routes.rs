//! From interfaces, routes and neighbours to a router.

use sluice_conntrack::forward::{Interface, Neighbour, Route, Router};
use sluice_conntrack::{Forwarding, PortId};

use super::lower::prefix;
use super::path::{Path, Problem};
use super::rules::no_interface;
use super::schema::{self, Config};
use super::values_net::InterfaceAddress;

impl Config {
    /// How packets pass from port to port. Fails only for a configuration that [`super::check`] refuses.
    pub(super) fn lower_forwarding(&self) -> Result<Forwarding, Problem> {
        match self.forwarding() {
            schema::Forwarding::Wire => Ok(Forwarding::wire()),
            schema::Forwarding::Routed => Ok(Forwarding::Routed(Box::new(self.router()?))),
        }
    }

    fn router(&self) -> Result<Router, Problem> {
        let interfaces = self.interfaces.values().map(|interface| {
            let own = |InterfaceAddress(net): &InterfaceAddress| (net.addr(), net.prefix_len());
            Interface { addresses: interface.addresses.iter().map(own).collect(), mtu: interface.mtu }
        });
        let routes = self.routes.iter().enumerate().map(|(index, route)| {
            let port = self.port_of("routes", index, &route.dev)?;
            Ok(Route { to: prefix(&route.to), via: route.via, port })
        });
        let neighbours = self.neighbours.iter().enumerate().map(|(index, neighbour)| {
            let port = self.port_of("neighbours", index, &neighbour.dev)?;
            Ok(Neighbour { port, address: neighbour.address, mac: neighbour.mac.0 })
        });
        let mut router = Router::new(interfaces.collect(), &routes.collect::<Result<Vec<_>, _>>()?);
        router.neighbours = neighbours.collect::<Result<_, _>>()?;
        Ok(router)
    }

    fn port_of(&self, section: &str, index: usize, dev: &str) -> Result<PortId, Problem> {
        let place = || Path::root().join(section).join(index).join("dev");
        self.port(dev).ok_or_else(|| no_interface(dev, self, place()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered(rest: &str) -> Forwarding {
        let text = format!(
            "version: 1\n\
             interfaces:\n\
             \x20 inside: {{device: 'vdev:net_null0', addresses: [10.0.0.1/8]}}\n\
             \x20 outside: {{device: 'vdev:net_null1', addresses: [203.0.113.1/24, '2001:db8::1/64'], mtu: 1400}}\n\
             {rest}"
        );
        let config = super::super::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        config.configuration().unwrap().forwarding
    }

    #[test]
    fn a_box_with_addresses_is_a_router() {
        let outside = PortId(1);
        let interfaces = vec![
            Interface { addresses: vec![("10.0.0.1".parse().unwrap(), 8)], mtu: 1500 },
            Interface {
                addresses: vec![("203.0.113.1".parse().unwrap(), 24), ("2001:db8::1".parse().unwrap(), 64)],
                mtu: 1400,
            },
        ];
        let gateway = "203.0.113.254".parse().unwrap();
        let to = sluice_conntrack::policy::Prefix::new([0, 0, 0, 0].into(), 0);
        let mut router = Router::new(interfaces, &[Route { to, via: Some(gateway), port: outside }]);
        router.neighbours = vec![Neighbour { port: outside, address: gateway, mac: [2, 0, 0, 0, 0, 0xfe] }];
        let file = "routes: [{to: 0.0.0.0/0, via: 203.0.113.254, dev: outside}]\n\
                    neighbours: [{address: 203.0.113.254, mac: '02:00:00:00:00:fe', dev: outside}]";
        assert_eq!(lowered(file), Forwarding::Routed(Box::new(router)));
    }

    #[test]
    fn a_wire_can_be_asked_for() {
        assert_eq!(lowered("forwarding: wire"), Forwarding::wire());
    }
}
