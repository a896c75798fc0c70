//! What netlink messages say of routes, addresses and neighbours (rtnetlink(7)), as far as they are the box's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags, RouteVia,
};
use rtnetlink::packet_route::{AddressFamily, route};
use sluice_conntrack::PortId;
use sluice_conntrack::forward::{Neighbour, RouteType, Via, is_link_local};

use super::kernel::Heard;

/// The box's port behind each interface of the kernel's.
pub type PortsByIndex = BTreeMap<u32, PortId>;

/// A route of the main table; `None` if it is of another, or to where no router sends packets.
pub fn route(message: &RouteMessage, ports: &PortsByIndex) -> Option<Heard> {
    let RouteMessage { header, attributes, .. } = message;
    let table = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    let is_main = table.unwrap_or(header.table.into()) == u32::from(RouteHeader::RT_TABLE_MAIN);
    if !is_main || header.tos != 0 || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let (mut to, mut metric) = (None, 0);
    for attribute in attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = Some(ip(address)?),
            RouteAttribute::Priority(priority) => metric = *priority,
            _ => {}
        }
    }
    let to = match (to, header.address_family) {
        (Some(to), _) => to,
        (None, AddressFamily::Inet) => IpAddr::from([0; 4]),
        (None, AddressFamily::Inet6) => IpAddr::from([0; 16]),
        (None, _) => return None,
    };
    if is_link_local(to) || to.is_multicast() || to.is_loopback() {
        return None;
    }
    let to = IpNet::new(to, header.destination_prefix_length).ok()?.trunc();
    let kind = match header.kind {
        route::RouteType::Unicast => next_hops(message, ports),
        route::RouteType::BlackHole => Some(RouteType::Blackhole),
        route::RouteType::Unreachable => Some(RouteType::Unreachable),
        route::RouteType::Prohibit => Some(RouteType::Prohibit),
        _ => return None,
    };
    Some(Heard { to, metric, protocol: header.protocol.into(), kind })
}

/// The next hops by the box's ports, those of more weight more often; `None` if there are none.
fn next_hops(message: &RouteMessage, ports: &PortsByIndex) -> Option<RouteType> {
    let mut hops: Vec<(Via, u16)> = Vec::new();
    if !message.header.flags.contains(RouteFlags::Dead) {
        hops.extend(next_hop(None, &message.attributes, ports).map(|via| (via, 1)));
    }
    for attribute in &message.attributes {
        let RouteAttribute::MultiPath(several) = attribute else { continue };
        for hop in several.iter().filter(|hop| !hop.flags.contains(RouteNextHopFlags::Dead)) {
            let via = next_hop(Some(hop.interface_index), &hop.attributes, ports);
            hops.extend(via.map(|via| (via, u16::from(hop.hops) + 1)));
        }
    }
    let divisor = hops.iter().fold(0, |divisor, (_, weight)| gcd(divisor, *weight)).max(1);
    let weighted = hops.iter().flat_map(|(via, weight)| std::iter::repeat_n(*via, (weight / divisor).into()));
    let weighted: Vec<Via> = weighted.collect();
    (!weighted.is_empty()).then(|| RouteType::Unicast(weighted.into()))
}

fn next_hop(interface: Option<u32>, attributes: &[RouteAttribute], ports: &PortsByIndex) -> Option<Via> {
    let (mut interface, mut gateway) = (interface, None);
    for attribute in attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => gateway = Some((*address).into()),
            RouteAttribute::Via(RouteVia::Inet6(address)) => gateway = Some((*address).into()),
            _ => {}
        }
    }
    Some(Via { port: *ports.get(&interface?)?, gateway })
}

const fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// An address at one of the ports. That of the other end of a point-to-point link is none, and the link-local one is the box's own
/// already, by its MAC address.
pub fn address(message: &AddressMessage, ports: &PortsByIndex) -> Option<(PortId, IpNet)> {
    let port = *ports.get(&message.header.index)?;
    let (mut own, mut other) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Dadfailed) => return None,
            _ => {}
        }
    }
    let net = match (own, other) {
        (Some(own), Some(other)) if own != other => IpNet::from(own),
        (own, other) => IpNet::new(own.or(other)?, message.header.prefix_len).ok()?,
    };
    (!is_link_local(net.addr())).then_some((port, net))
}

/// A static neighbour at one of the ports.
pub fn neighbour(message: &NeighbourMessage, ports: &PortsByIndex) -> Option<Neighbour> {
    let port = *ports.get(&message.header.ifindex)?;
    if message.header.state != NeighbourState::Permanent {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some((*v4).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some((*v6).into()),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    Some(Neighbour { port, address: address?, mac: mac? })
}
