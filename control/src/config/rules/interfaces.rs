//! What must hold for cores, interfaces and how packets pass between them.

use std::collections::BTreeMap;

use sluice_conntrack::forward::is_link_local;

use super::no_interface;
use crate::config::nearest::nearest;
use crate::config::path::{Path, Problem};
use crate::config::schema::{Config, Forwarding, Interface, LOCAL, Routes};
use crate::config::values::{Device, is_name};

/// As many ports as a shard knows.
const MAX_INTERFACES: usize = sluice_conntrack::forward::MAX_PORTS;

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = cores(config);
    problems.extend(interfaces(config));
    problems.extend(forwarding(config));
    problems
}

fn cores(config: &Config) -> Vec<Problem> {
    let section = Path::root().join("system").join("cores").join("workers");
    let workers = &config.system.cores.workers;
    let twice = workers.iter().enumerate().filter(|(path, core)| workers[..*path].contains(core));
    twice
        .map(|(path, core)| Problem::at(section.join(path), format!("core {core} has a worker already")))
        .collect()
}

fn interfaces(config: &Config) -> Vec<Problem> {
    let section = Path::root().join("interfaces");
    let mut problems = Vec::new();
    match config.interfaces.len() {
        0 => problems.push(Problem::at(section.clone(), "there is no interface".to_owned()).on_key()),
        n if n > MAX_INTERFACES => {
            problems.push(
                Problem::at(section.clone(), format!("{n} interfaces; at most {MAX_INTERFACES}")).on_key(),
            );
        }
        _ => {}
    }
    let mut devices: BTreeMap<String, &str> = BTreeMap::new();
    let mut networks: Vec<(ipnet::IpNet, &str, u16)> = Vec::new();
    for (name, interface) in &config.interfaces {
        let path = section.join(name.as_str());
        if !is_name(name, 15) {
            let message = format!("`{name}` cannot be an interface's name");
            let expected = "1 to 15 letters, digits, `-`, `_` and `.`, a letter or digit first".to_owned();
            problems.push(Problem::at(path.clone(), message).expected(expected).on_key());
        }
        if name == LOCAL {
            let message = format!("`{LOCAL}` means the box itself and cannot be an interface's name");
            problems.push(Problem::at(path.clone(), message).on_key());
        }
        if let Some(other) = devices.insert(device_name(&interface.device), name) {
            let message = format!("interface `{other}` has this device already");
            problems.push(Problem::at(path.join("device"), message));
        }
        problems.extend(device(interface, &path).or_else(|| vlan(config, interface, &path)));
        problems.extend(host(name, interface, &path));
        for (index, address) in interface.addresses.iter().enumerate() {
            let here = path.join("addresses").join(index);
            // Each link has the network of link-local addresses.
            let is_apart = |other: &str| other != name && is_link_local(address.0.addr());
            let meets = |net: &&(ipnet::IpNet, &str, u16)| {
                net.2 == interface.zone
                    && !is_apart(net.1)
                    && (net.0.contains(&address.0) || address.0.contains(&net.0))
            };
            match networks.iter().find(meets) {
                Some((net, other, _)) if net.addr() == address.0.addr() => {
                    problems.push(Problem::at(
                        here,
                        format!("interface `{other}` has the address {} already", net.addr()),
                    ));
                }
                Some((net, other, _)) if other != name => {
                    let message = format!("{address} overlaps with {net} of interface `{other}`");
                    let help = "give each interface its own network, or keep them apart by zone";
                    problems.push(Problem::at(here, message).help(Some(help.to_owned())));
                }
                _ => {}
            }
            networks.push((address.0, name, interface.zone));
        }
    }
    problems
}

/// A virtual device that DPDK has: the beginning of its name, the argument that it cannot do without, and the largest MTU
/// that it takes.
type Driver = (&'static str, Option<&'static str>, u16);

/// Packets of what is called Ethernet's MTU, and no larger ones.
const ETHERNET: u16 = 1500;

#[rustfmt::skip]
const DRIVERS: [Driver; 16] = [
    ("net_af_packet", Some("iface"), ETHERNET),
    ("net_af_xdp", Some("iface"), u16::MAX),
    ("net_bonding", None, u16::MAX),
    ("net_failsafe", None, u16::MAX),
    ("net_memif", None, u16::MAX),
    ("net_mvneta", None, u16::MAX),
    ("net_mvpp2", None, u16::MAX),
    ("net_null", None, u16::MAX),
    ("net_pcap", None, u16::MAX),
    ("net_ring", None, u16::MAX),
    ("net_softnic", None, u16::MAX),
    ("net_tap", None, ETHERNET),
    ("net_tun", None, ETHERNET),
    ("net_vdev_netvsc", None, u16::MAX),
    ("net_vhost", Some("iface"), u16::MAX),
    ("net_virtio_user", Some("path"), u16::MAX),
];

/// What DPDK would say of a virtual device only as it starts.
fn device(interface: &Interface, path: &Path) -> Option<Problem> {
    let Device::Vdev(spec) = &interface.device else { return None };
    let mut parts = spec.split(',');
    let name = parts.next().unwrap_or_default();
    let Some((driver, argument, most)) = DRIVERS.iter().find(|(driver, ..)| name.starts_with(driver)) else {
        let names: Vec<&str> = DRIVERS.iter().map(|(driver, ..)| *driver).collect();
        let meant = nearest(name.trim_end_matches(|c: char| c.is_ascii_digit()), &names);
        let problem = Problem::at(path.join("device"), format!("DPDK has no virtual device `{name}`"));
        return Some(problem.help(Some(match meant {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are: {}", names.join(", ")),
        })));
    };
    let is_given =
        |key: &str| parts.clone().any(|part| part.split_once('=').is_some_and(|(given, _)| given == key));
    if let Some(key) = argument.filter(|key| !is_given(key)) {
        let problem = Problem::at(path.join("device"), format!("{driver} needs the argument `{key}`"));
        return Some(problem.expected(format!("`vdev:{name},{key}=...`")));
    }
    let problem = || {
        let message = format!("{driver} takes no MTU above {most}");
        Problem::at(path.join("mtu"), message).expected(format!("at most {most}"))
    };
    (interface.mtu > *most).then(problem)
}

/// What is wrong with a VLAN on the link of another interface.
fn vlan(config: &Config, interface: &Interface, path: &Path) -> Option<Problem> {
    let (name, _) = interface.device.vlan()?;
    let Some(parent) = config.interfaces.get(name) else {
        return Some(no_interface(name, config, path.join("device")));
    };
    if parent.device.vlan().is_some() {
        let message =
            format!("`{name}` is a VLAN itself, and tags in tags (QinQ, IEEE 802.1ad) are not supported");
        return Some(Problem::at(path.join("device"), message));
    }
    let problem = || {
        let message = format!(
            "the frames of a VLAN are no larger than those of its parent: the MTU of `{name}` is {}",
            parent.mtu
        );
        Problem::at(path.join("mtu"), message).expected(format!("at most {}", parent.mtu))
    };
    (interface.mtu > parent.mtu).then(problem)
}

/// What the kernel would say of a host side only as the box starts.
fn host(name: &str, interface: &Interface, path: &Path) -> Option<Problem> {
    let namespace = interface.host.as_ref()?.namespace.as_ref();
    if let Some(namespace) = namespace.filter(|namespace| !is_name(namespace, 255)) {
        let message = format!("`{namespace}` cannot be the name of a network namespace");
        return Some(Problem::at(path.join("host").join("namespace"), message));
    }
    let Device::Vdev(spec) = &interface.device else { return None };
    let is_taken = spec.split(',').any(|part| part == format!("iface={name}"));
    let problem = || {
        let message = format!("the kernel has an interface `{name}` already: that of the device");
        let help = "give the interface another name, or its host side a `namespace`";
        Problem::at(path.join("host"), message).help(Some(help.to_owned()))
    };
    (is_taken && namespace.is_none()).then(problem)
}

/// What makes two devices the same: the PCI address, or the virtual device's name.
fn device_name(device: &Device) -> String {
    match device {
        Device::Pci(address) => address.to_lowercase(),
        Device::Vdev(spec) => spec.split(',').next().unwrap_or(spec).to_owned(),
        Device::Vlan(..) => device.to_string(),
    }
}

fn forwarding(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if config.forwarding() == Forwarding::Wire {
        for (name, interface) in &config.interfaces {
            let useless = [
                (
                    "device",
                    interface.device.vlan().is_some(),
                    "a wire passes frames with all their tags: a VLAN is an interface of a router",
                ),
                ("host", interface.host.is_some(), "a wire has no host side: nothing is for the box itself"),
                ("rp-filter", interface.rp_filter.is_some(), "a wire has no routes to look sources up in"),
            ];
            problems.extend(useless.into_iter().filter(|(_, given, _)| *given).map(|(key, _, message)| {
                let path = Path::root().join("interfaces").join(name.as_str()).join(key);
                Problem::at(path, message.to_owned()).on_key()
            }));
        }
    } else if config.conntrack.fragments.untracked {
        let path = Path::root().join("conntrack").join("fragments").join("untracked");
        let message = "a router needs whole datagrams: only `forwarding: wire` passes fragments untracked";
        let help = "remove it, or write `forwarding: wire`".to_owned();
        problems.push(Problem::at(path, message.to_owned()).help(Some(help)));
    }
    if config.forwarding != Some(Forwarding::Wire) {
        return problems;
    }
    if config.interfaces.len() != 2 {
        let message = format!("`wire` joins two interfaces, but there are {}", config.interfaces.len());
        problems.push(Problem::at(Path::root().join("forwarding"), message));
    }
    let useless =
        [("routes", config.routes == Routes::default()), ("neighbours", config.neighbours.is_empty())];
    for (section, _) in useless.into_iter().filter(|(_, empty)| !empty) {
        let help = format!("remove the {section}, or write `forwarding: routed`");
        let message = format!("`forwarding: wire` has no use for {section}");
        problems.push(Problem::at(Path::root().join(section), message).on_key().help(Some(help)));
    }
    problems
}
