//! From interfaces, routes and neighbours to a router.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;
use sluice_conntrack::forward::{Interface, Neighbour, Route, Router, RpFilter};
use sluice_conntrack::ids::StackId;
use sluice_conntrack::{Forwarding, PortId};

use crate::config::followed::{Followed, FollowedRoute, Rerouted, in_force};
use crate::config::path::{Path, Problem};
use crate::config::rules::no_interface;
use crate::config::schema::{self, Config};
use crate::config::values::{Host, InterfaceAddress};

/// How packets pass from port to port. Fails only for a configuration that [`check`](crate::config::check) refuses.
pub(super) fn forwarding(config: &Config) -> Result<Forwarding, Problem> {
    match config.forwarding() {
        schema::Forwarding::Wire => Ok(Forwarding::wire()),
        schema::Forwarding::Routed => Ok(Forwarding::Routed(Box::new(router(config, &[], &[])?))),
    }
}

/// The router of a configuration and what is followed. Fails only for a configuration that [`check`](crate::config::check)
/// refuses.
pub fn reroute(config: &Config, followed: &[Arc<Followed>]) -> Result<Rerouted, Problem> {
    let routes = in_force(config, followed);
    let router = router(config, followed, &routes)?;
    Ok(Rerouted { router, routes })
}

/// The router of a configuration, of what is followed, and of these routes of that.
fn router(config: &Config, followed: &[Arc<Followed>], routes: &[FollowedRoute]) -> Result<Router, Problem> {
    let interfaces = (0..).map(PortId).zip(&config.interfaces).map(|(port, (name, interface))| {
        let mut addresses: Vec<IpNet> = config.addresses_at(name).map(|InterfaceAddress(own)| *own).collect();
        for (at, own) in followed.iter().flat_map(|stack| &stack.addresses) {
            let is_new = addresses.iter().all(|known| known.addr() != own.addr());
            addresses.extend((*at == port && is_new).then_some(*own));
        }
        Interface {
            addresses: addresses.iter().map(|own| (own.addr(), own.prefix_len())).collect(),
            mtu: interface.mtu,
            host: interface.host.as_ref().and_then(|host| stack(config, host)),
            rp_filter: match interface.rp_filter {
                None => RpFilter::Off,
                Some(schema::RpFilter::Loose) => RpFilter::Loose,
                Some(schema::RpFilter::Strict) => RpFilter::Strict,
            },
        }
    });
    let section = config.routes.path();
    let configured = config.routes.list.iter().enumerate().map(|(index, route)| {
        let port = port_of(config, &section, index, &route.dev)?;
        Ok(Route::by((&route.prefix()).into(), port, route.via))
    });
    let configured = configured.collect::<Result<Vec<_>, _>>()?;
    let section = Path::root().join("neighbours");
    let neighbours = config.neighbours.iter().enumerate().map(|(index, neighbour)| {
        let port = port_of(config, &section, index, &neighbour.dev)?;
        Ok(Neighbour { port, address: neighbour.address, mac: neighbour.mac.0 })
    });
    let mut neighbours = neighbours.collect::<Result<Vec<_>, _>>()?;
    for heard in followed.iter().flat_map(|stack| &stack.neighbours) {
        let is_it = |known: &Neighbour| (known.port, known.address) == (heard.port, heard.address);
        neighbours.extend((!neighbours.iter().any(is_it)).then_some(*heard));
    }
    let routes = routes.iter().map(FollowedRoute::route).chain(configured);
    let mut router = Router::new(interfaces.collect(), routes);
    router.neighbours = neighbours;
    Ok(router)
}

/// The number of the network stack that a host side leads to: the index of its namespace among all that are named.
fn stack(config: &Config, host: &Host) -> Option<StackId> {
    let hosts = config.interfaces.values().filter_map(|interface| interface.host.as_ref());
    let namespaces: BTreeSet<_> = hosts.map(|host| &host.namespace).collect();
    let index = namespaces.into_iter().position(|namespace| *namespace == host.namespace)?;
    u8::try_from(index).ok().map(StackId)
}

fn port_of(config: &Config, section: &Path, index: usize, dev: &str) -> Result<PortId, Problem> {
    let path = || section.join(index).join("dev");
    config.port(dev).ok_or_else(|| no_interface(dev, config, path()))
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
        let config = crate::config::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        super::forwarding(&config).unwrap()
    }

    #[test]
    fn a_box_with_addresses_is_a_router() {
        let outside = PortId(1);
        let interfaces = vec![
            Interface {
                addresses: vec![("10.0.0.1".parse().unwrap(), 8)],
                mtu: 1500,
                ..Interface::default()
            },
            Interface {
                addresses: vec![("203.0.113.1".parse().unwrap(), 24), ("2001:db8::1".parse().unwrap(), 64)],
                mtu: 1400,
                ..Interface::default()
            },
        ];
        let gateway = "203.0.113.254".parse().unwrap();
        let to = sluice_conntrack::policy::Prefix::new([0, 0, 0, 0].into(), 0);
        let mut router = Router::new(interfaces, [Route::by(to, outside, Some(gateway))]);
        router.neighbours = vec![Neighbour { port: outside, address: gateway, mac: [2, 0, 0, 0, 0, 0xfe] }];
        let file = "routes: [{to: 0.0.0.0/0, via: 203.0.113.254, dev: outside}]\n\
                    neighbours: [{address: 203.0.113.254, mac: '02:00:00:00:00:fe', dev: outside}]";
        assert_eq!(lowered(file), Forwarding::Routed(Box::new(router)));
        assert_eq!(lowered(&file.replace("0.0.0.0/0", "default")), lowered(file));
    }

    #[test]
    fn default_is_of_the_family_of_the_next_router() {
        let both = |[one, other]: [&str; 2]| {
            lowered(&format!(
                "routes: [{{to: {one}, via: 203.0.113.254, dev: outside}}, {{to: {other}, via: 'fe80::1', dev: outside}}]"
            ))
        };
        assert_eq!(both(["default", "default"]), both(["0.0.0.0/0", "'::/0'"]));
        let on_link = |to: &str| lowered(&format!("routes: [{{to: {to}, dev: outside}}]"));
        assert_eq!(on_link("default"), on_link("0.0.0.0/0"));
    }

    #[test]
    fn host_sides_of_one_namespace_lead_to_one_stack() {
        let text = "{version: 1, forwarding: routed, interfaces: {
            a: {device: 'vdev:net_null0', host: {namespace: x}}, b: {device: 'vdev:net_null1', host: true},
            c: {device: 'vdev:net_null2'}, d: {device: 'vdev:net_null3', host: {namespace: x}}}}";
        let config = crate::config::parse("test", text.as_bytes()).unwrap();
        let stacks =
            config.interfaces.values().map(|i| i.host.as_ref().and_then(|host| stack(&config, host)));
        let [one, other] = [0, 1].map(|number| Some(StackId(number)));
        assert!(stacks.eq([other, one, None, other]));
    }

    #[test]
    fn a_wire_can_be_asked_for() {
        assert_eq!(lowered("forwarding: wire"), Forwarding::wire());
    }
}
