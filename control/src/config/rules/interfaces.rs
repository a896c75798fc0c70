//! What must hold for cores, interfaces and the way that packets pass between them.

use std::collections::BTreeMap;

use crate::config::path::{Path, Problem};
use crate::config::schema::{Config, Forwarding, LOCAL};
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
    let twice = workers.iter().enumerate().filter(|(place, core)| workers[..*place].contains(core));
    twice
        .map(|(place, core)| Problem::at(section.join(place), format!("core {core} has a worker already")))
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
        let place = section.join(name.as_str());
        if !is_name(name, 15) {
            let message = format!("`{name}` cannot be an interface's name");
            let expected = "1 to 15 letters, digits, `-`, `_` and `.`, a letter or digit first".to_owned();
            problems.push(Problem::at(place.clone(), message).expected(expected).on_key());
        }
        if name == LOCAL {
            let message = format!("`{LOCAL}` means the box itself and cannot be an interface's name");
            problems.push(Problem::at(place.clone(), message).on_key());
        }
        if let Some(other) = devices.insert(device_name(&interface.device), name) {
            let message = format!("interface `{other}` has this device already");
            problems.push(Problem::at(place.join("device"), message));
        }
        for (index, address) in interface.addresses.iter().enumerate() {
            let here = place.join("addresses").join(index);
            let meets = |net: &&(ipnet::IpNet, &str, u16)| {
                net.2 == interface.zone && (net.0.contains(&address.0) || address.0.contains(&net.0))
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

/// What makes two devices the same: the PCI address, or the virtual device's name.
fn device_name(device: &Device) -> String {
    match device {
        Device::Pci(address) => address.to_lowercase(),
        Device::Vdev(spec) => spec.split(',').next().unwrap_or(spec).to_owned(),
    }
}

fn forwarding(config: &Config) -> Vec<Problem> {
    if config.forwarding != Some(Forwarding::Wire) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    if config.interfaces.len() != 2 {
        let message = format!("`wire` joins two interfaces, but there are {}", config.interfaces.len());
        problems.push(Problem::at(Path::root().join("forwarding"), message));
    }
    let useless = [("routes", config.routes.is_empty()), ("neighbours", config.neighbours.is_empty())];
    for (section, _) in useless.into_iter().filter(|(_, empty)| !empty) {
        let help = format!("remove the {section}, or write `forwarding: routed`");
        let message = format!("`forwarding: wire` has no use for {section}");
        problems.push(Problem::at(Path::root().join(section), message).on_key().help(Some(help)));
    }
    problems
}
