//! What must hold for routes and neighbours.

use std::collections::BTreeSet;

use sluice_conntrack::forward::is_link_local;

use super::common::no_interface;
use crate::config::path::{Path, Problem};
use crate::config::schema::{Config, MAX_RULES};

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = routes(config);
    problems.extend(neighbours(config));
    problems
}

fn routes(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    let section = config.routes.path();
    if config.routes.list.len() > MAX_RULES {
        problems.push(Problem::at(section.clone(), format!("there are more than {MAX_RULES} routes")));
    }
    if config.routes.follow.is_some() && !config.has_host() {
        let path = Path::root().join("routes").join("follow");
        let message = "no interface has a host side whose routes could be followed".to_owned();
        problems.push(Problem::at(path, message).help(Some("give one `host: true`".to_owned())));
    }
    for (index, route) in config.routes.list.iter().enumerate() {
        let (path, to) = (section.join(index), route.prefix());
        if !seen.insert(to.0) {
            problems.push(Problem::at(path.join("to"), format!("there is a route to {to} already")));
        }
        if to.0.addr().is_multicast() {
            problems.push(Problem::at(path.join("to"), "multicast is not forwarded".to_owned()));
        }
        if !config.interfaces.contains_key(&route.dev) {
            problems.push(no_interface(&route.dev, config, path.join("dev")));
            continue;
        }
        let Some(via) = route.via else { continue };
        if via.is_ipv4() != to.is_ipv4() {
            let message = format!("{via} is not of the same family as {to}");
            problems.push(Problem::at(path.join("via"), message));
        } else if config.addresses_at(&route.dev).any(|own| own.0.addr() == via) {
            problems.push(Problem::at(path.join("via"), format!("{via} is the box itself")));
        } else if !is_link_local(via) && !config.addresses_at(&route.dev).any(|own| own.0.contains(&via)) {
            let message = format!("{via} is in no network of interface `{}`", route.dev);
            problems.push(Problem::at(path.join("via"), message));
        }
    }
    problems
}

fn neighbours(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, neighbour) in config.neighbours.iter().enumerate() {
        let path = Path::root().join("neighbours").join(index);
        let address = neighbour.address;
        if !seen.insert((&neighbour.dev, address)) {
            let message = format!("there is a neighbour {address} already");
            problems.push(Problem::at(path.join("address"), message));
        }
        if !config.interfaces.contains_key(&neighbour.dev) {
            problems.push(no_interface(&neighbour.dev, config, path.join("dev")));
            continue;
        }
        let is_on_link = || config.addresses_at(&neighbour.dev).any(|own| own.0.contains(&address));
        if !is_link_local(address) && !is_on_link() {
            let message = format!("{address} is in no network of interface `{}`", neighbour.dev);
            problems.push(Problem::at(path.join("address"), message));
        }
    }
    problems
}
