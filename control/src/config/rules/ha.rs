//! What must hold for the boxes of a cluster.

use crate::config::path::{Path, Problem};
use crate::config::schema::{Config, Ha};
use crate::config::values::{EngineUrl, Size, is_name};

/// Longest name of a cluster or a box.
const MAX_NAME: usize = 32;

/// The least that a stream is of use in: some 16,000 records.
const LEAST_MEMORY: Size = Size(1 << 20);

/// A box can tell the connections of one peer from its own, not yet those of several from each other.
const MAX_PEERS: usize = 1;

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let Some(ha) = &config.ha else { return Vec::new() };
    let section = Path::root().join("ha");
    let mut problems = Vec::new();
    for (key, name) in [("cluster", &ha.cluster), ("box", &ha.name)] {
        if !is_name(name, MAX_NAME) {
            problems.push(no_name(name, section.join(key)));
        }
    }
    if ha.engine.memory < LEAST_MEMORY {
        let message = format!("{} is too little; the least is {LEAST_MEMORY}", ha.engine.memory);
        problems.push(Problem::at(section.join("engine").join("memory"), message));
    }
    if ha.peers.len() > MAX_PEERS {
        let message = "a box can stand by for one peer".to_owned();
        problems.push(Problem::at(section.join("peers"), message));
    }
    problems.extend(peers(ha, &section.join("peers")));
    problems
}

fn peers(ha: &Ha, section: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, peer) in &ha.peers {
        let path = section.join(name.as_str());
        if !is_name(name, MAX_NAME) {
            problems.push(no_name(name, path.clone()).on_key());
        }
        if *name == ha.name {
            let message = format!("`{name}` is this box itself (ha.box)");
            problems.push(Problem::at(path.clone(), message).on_key());
        }
        if peer.url == ha.engine.url {
            let message = format!("{} is this box's own Redis (ha.engine)", peer.url);
            problems.push(Problem::at(path.join("url"), message));
        }
        if let EngineUrl::Tcp(address) = &peer.url
            && (address.ip().is_unspecified() || address.port() == 0)
        {
            let message = format!("nobody can be reached at {address}");
            problems.push(Problem::at(path.join("url"), message));
        }
    }
    problems
}

fn no_name(name: &str, path: Path) -> Problem {
    Problem::at(path, format!("`{name}` cannot be a name")).expected(format!(
        "at most {MAX_NAME} letters, digits, `-`, `_` and `.`, the first a letter or a digit"
    ))
}
