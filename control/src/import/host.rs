//! What a Linux box says of itself, beside its rules: interfaces and addresses (`ip -j addr`), routes (`ip -j route`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;

use super::model::AddressKind;
use super::report::{Effect, Origin, Report};
use super::set::NumberSet;
use crate::config::{Destinations, Device, Interface, InterfaceAddress, LOCAL, Route, is_name};

/// An interface that becomes a port of the box.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// What the kernel calls it.
    pub kernel: String,
    /// What rules will call it.
    pub name: String,
    /// It, as the configuration has it.
    pub interface: Interface,
}

/// The ports of the box. Rules know them by their index; the one behind the last is the box itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    list: Vec<Port>,
    /// Whether the box's own addresses are known.
    has_addresses: bool,
}

impl Ports {
    /// The number of the box itself.
    pub(super) fn local(&self) -> u128 {
        self.list.len() as u128
    }

    /// All but the box itself.
    pub(super) fn all(&self) -> NumberSet {
        NumberSet::one(self.local()).complement(self.local())
    }

    /// The ports with these names, which may end in `+`.
    pub(super) fn named(&self, names: &[String]) -> NumberSet {
        let fits = |port: &Port, name: &String| match name.strip_suffix('+') {
            Some(beginning) => port.kernel.starts_with(beginning),
            None => port.kernel == *name,
        };
        let numbers = (0..).zip(&self.list);
        numbers
            .filter(|(_, port)| names.iter().any(|name| fits(port, name)))
            .map(|(number, _)| number)
            .collect()
    }

    /// What rules call these.
    pub(super) fn names(&self, set: &NumberSet) -> Vec<String> {
        let name = |number: u128| match usize::try_from(number).ok().and_then(|index| self.list.get(index)) {
            Some(port) => port.name.clone(),
            None => LOCAL.to_owned(),
        };
        set.numbers(self.local()).map(name).collect()
    }

    /// The IPv4 addresses of these kinds, if they are known.
    pub(super) fn addresses(&self, kinds: &[AddressKind]) -> Option<NumberSet> {
        let own = || {
            let addresses = self.list.iter().flat_map(|port| &port.interface.addresses);
            addresses.filter_map(|address| match address.0 {
                IpNet::V4(net) => Some(net),
                IpNet::V6(_) => None,
            })
        };
        let number = |address: std::net::Ipv4Addr| u128::from(address.to_bits());
        let is_link = |net: &Ipv4Net| net.prefix_len() < 31;
        let ranges = kinds.iter().flat_map(|kind| -> Vec<(u128, u128)> {
            match kind {
                AddressKind::Local => {
                    let loopback = (0x7f00_0000, 0x7fff_ffff);
                    let own = own().map(|net| (number(net.addr()), number(net.addr())));
                    own.chain([loopback]).collect()
                }
                AddressKind::Broadcast => {
                    let all = (u128::from(u32::MAX), u128::from(u32::MAX));
                    let own =
                        own().filter(is_link).map(|net| (number(net.broadcast()), number(net.broadcast())));
                    own.chain([all]).collect()
                }
                AddressKind::Multicast => vec![(0xe000_0000, 0xefff_ffff)],
            }
        });
        let needs_own = kinds.iter().any(|kind| *kind != AddressKind::Multicast);
        (self.has_addresses || !needs_own).then(|| NumberSet::of_ranges(ranges.collect()))
    }

    /// The interfaces of the configuration.
    pub(super) fn interfaces(&self) -> BTreeMap<String, Interface> {
        self.list.iter().map(|port| (port.name.clone(), port.interface.clone())).collect()
    }

    /// The name that rules have for an interface of the kernel.
    pub(super) fn name_of(&self, kernel: &str) -> Option<&str> {
        self.list.iter().find(|port| port.kernel == kernel).map(|port| port.name.as_str())
    }

    /// The ports, by what the kernel calls them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Interface)> {
        self.list.iter_mut().map(|port| (port.kernel.as_str(), &mut port.interface))
    }
}

/// A line of `ip -j addr`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Link {
    ifname: String,
    link_type: String,
    mtu: u32,
    /// The interface whose link a VLAN is on.
    link: Option<String>,
    linkinfo: Option<LinkInfo>,
    parentbus: Option<String>,
    parentdev: Option<String>,
    addr_info: Vec<Address>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LinkInfo {
    info_kind: Option<String>,
    info_data: LinkData,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LinkData {
    id: Option<u16>,
    protocol: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    local: Option<IpAddr>,
    prefixlen: u8,
    scope: String,
    dynamic: bool,
}

/// What `ip -j addr` says.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<(Rc<Origin>, Link)>);

fn origin(file: usize, name: &str, number: usize, place: &str) -> Rc<Origin> {
    let place = format!("{name}: {place}");
    Rc::new(Origin { order: (file, number), place, text: String::new(), note: String::new() })
}

/// Reads what `ip -j addr` has written.
pub(super) fn read_links(file: usize, name: &str, text: &str) -> Result<Links, String> {
    let links: Vec<Link> = serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
    let with_origin = |(number, link): (usize, Link)| (origin(file, name, number, &link.ifname), link);
    Ok(Links(links.into_iter().enumerate().map(with_origin).collect()))
}

/// The ports of the box: the interfaces that were named on the command line, else the NICs that it has, else those that rules name.
pub(super) fn ports(
    named: &[(String, Option<String>)],
    links: &Links,
    in_rules: &[String],
    report: &mut Report,
) -> Result<Ports, String> {
    let is_nic = |link: &Link| {
        let kind = link.linkinfo.as_ref().and_then(|info| info.info_kind.as_deref());
        link.link_type == "ether" && kind.is_none_or(|kind| kind == "veth")
    };
    let is_port = |link: &Link| {
        let parent = vlan(&link.ifname, Some(link)).map(|(parent, _)| parent);
        is_nic(link)
            || links.0.iter().any(|(_, other)| is_nic(other) && Some(&other.ifname) == parent.as_ref())
    };
    let chosen: Vec<(String, Option<String>)> = if !named.is_empty() {
        named.to_vec()
    } else if !links.0.is_empty() {
        links
            .0
            .iter()
            .filter(|(_, link)| is_port(link))
            .map(|(_, link)| (link.ifname.clone(), None))
            .collect()
    } else {
        in_rules.iter().map(|name| (name.clone(), None)).collect()
    };
    let mut ports = Ports { list: Vec::new(), has_addresses: !links.0.is_empty() };
    let name_of = |kernel: &str| {
        let of = chosen.iter().find(|(known, _)| known == kernel);
        of.map(|(kernel, name)| name.as_ref().unwrap_or(kernel).clone())
    };
    for (kernel, name) in &chosen {
        let (kernel, name) = (kernel.clone(), name.clone().unwrap_or_else(|| kernel.clone()));
        if !is_name(&name, 15) || name == LOCAL {
            return Err(format!(
                "`{name}` cannot be the name of a port; give it one: --interface {kernel}=NAME"
            ));
        }
        let made_up = format!("ffff:ff:{:02x}.{}", ports.list.len() / 8 % 32, ports.list.len() % 8);
        let mut interface = Interface::new(Device::Pci(made_up));
        interface.host = Some(crate::config::Host::default());
        let known = links.0.iter().find(|(_, link)| link.ifname == kernel);
        if let Some((parent, id)) = vlan(&kernel, known.map(|(_, link)| link))
            && let Some(parent) = name_of(&parent)
        {
            interface.device = Device::Vlan(parent, id);
        }
        if let Some((origin, link)) = known {
            set_link(&mut interface, link, origin, report);
        }
        ports.list.push(Port { kernel, name, interface });
    }
    match ports.list.is_empty() {
        true => Err("no interface is known: give --addresses, or --interface NAME for each".to_owned()),
        false => Ok(ports),
    }
}

/// The interface on whose link a VLAN is, and its number: by what `ip -d` says of it, else by its name, `eth0.100`.
fn vlan(kernel: &str, link: Option<&Link>) -> Option<(String, u16)> {
    let info = link.and_then(|link| link.linkinfo.as_ref());
    let (parent, id) = kernel.rsplit_once('.').unzip();
    let by_name = id.and_then(|id| id.parse().ok());
    let (parent, id) = match info.map(|info| (info.info_kind.as_deref(), &info.info_data)) {
        Some((Some("vlan"), data)) => {
            let is_tagged = data.protocol.as_deref().is_none_or(|protocol| protocol == "802.1Q");
            let own = link.and_then(|link| link.link.as_deref());
            (own.or(parent).filter(|_| is_tagged)?, data.id.or(by_name)?)
        }
        Some((Some(_), _)) => return None,
        _ => (link.and_then(|link| link.link.as_deref()).or(parent)?, by_name?),
    };
    (1..=4094).contains(&id).then(|| (parent.to_owned(), id))
}

/// Takes over what the kernel says of an interface.
fn set_link(interface: &mut Interface, link: &Link, origin: &Rc<Origin>, report: &mut Report) {
    if let (Some("pci"), Some(device)) = (link.parentbus.as_deref(), &link.parentdev)
        && let Ok(device) = format!("pci:{device}").parse()
    {
        interface.device = device;
    }
    match u16::try_from(link.mtu) {
        Ok(mtu @ 1280..=9216) => interface.mtu = mtu,
        _ => report.left(origin, Effect::Other, format!("an MTU of {} is out of range", link.mtu)),
    }
    for address in &link.addr_info {
        let Some(local) = address.local.filter(|_| address.scope != "link") else { continue };
        match format!("{local}/{}", address.prefixlen).parse::<InterfaceAddress>() {
            Ok(own) => interface.addresses.push(own),
            Err(why) => report.left(origin, Effect::Other, why),
        }
        if address.dynamic {
            let why = format!("{local} is leased: `routes: {{ follow: host }}` follows it as it changes");
            report.note(origin, why);
        }
    }
}

/// A line of `ip -j route`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KernelRoute {
    dst: String,
    gateway: Option<IpAddr>,
    dev: Option<String>,
    protocol: String,
    metric: u32,
    #[serde(rename = "type")]
    kind: Option<String>,
    nexthops: Vec<serde_json::Value>,
}

/// Reads what `ip -j route` has written: the routes that the box's addresses do not say already, of equal ones that of the lowest metric.
pub(super) fn read_routes(
    file: usize,
    name: &str,
    text: &str,
    ports: &Ports,
    report: &mut Report,
) -> Result<Vec<(Route, u32, Rc<Origin>)>, String> {
    let routes: Vec<KernelRoute> = serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
    let mut taken = Vec::new();
    for (number, route) in routes.into_iter().enumerate() {
        let origin = origin(file, name, number, &route.dst);
        if route.protocol == "kernel" && route.gateway.is_none() {
            continue; // the network of an address
        }
        match lowered(&route, ports) {
            Ok(lowered) => taken.push((lowered, route.metric, origin)),
            Err(why) => report.left(&origin, Effect::Other, why),
        }
    }
    Ok(taken)
}

fn lowered(route: &KernelRoute, ports: &Ports) -> Result<Route, String> {
    if let Some(kind) = route.kind.as_ref().filter(|kind| *kind != "unicast") {
        return Err(format!("a route cannot be of the type {kind}"));
    }
    if !route.nexthops.is_empty() {
        return Err("a route of the file has one next hop".to_owned());
    }
    let dev = route.dev.as_deref().ok_or_else(|| "the route has no interface".to_owned())?;
    let dev = ports.name_of(dev).ok_or_else(|| format!("`{dev}` is no port of the box"))?;
    let to = match (route.dst.as_str(), route.gateway) {
        ("default", Some(IpAddr::V4(_))) => "0.0.0.0/0",
        ("default", Some(IpAddr::V6(_))) => "::/0",
        ("default", None) => {
            return Err("a default route without a router does not say its family".to_owned());
        }
        (to, _) => to,
    };
    let to: Destinations = to.parse()?;
    Ok(Route { to, via: route.gateway, dev: dev.to_owned() })
}
