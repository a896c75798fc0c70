//! What must hold for the boxes of a cluster.

use std::path::PathBuf;

use crate::config::path::{Path, Problem};
use crate::config::schema::{Config, Forwarding, Ha, Peer, Verify};
use crate::config::values::{EngineUrl, Size, is_name};

/// Longest name of a cluster or a box.
const MAX_NAME: usize = 32;

/// The least that a stream is of use in: some 16,000 records.
const LEAST_MEMORY: Size = Size(1 << 20);

/// Peers whose connections a box can tell from each other where nothing says of which group they are.
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
    if ha.groups.is_empty() && ha.peers.len() > MAX_PEERS {
        let message = "without groups a box can stand by for one peer".to_owned();
        let help = "`ha.groups` says which addresses it shares with each".to_owned();
        problems.push(Problem::at(section.join("peers"), message).help(Some(help)));
    }
    if matches!(ha.engine.url, EngineUrl::Tls(_)) {
        let message = "the box's own Redis is reached in the clear: nobody else is on the way".to_owned();
        let url = section.join("engine").join("url");
        problems
            .push(Problem::at(url, message).expected("`unix:///PATH` or `redis://ADDRESS:PORT`".to_owned()));
    }
    if ha.verify == Verify::Policy && config.forwarding() == Forwarding::Wire {
        let message = "a wire does not know by which port a connection would begin".to_owned();
        problems.push(Problem::at(section.join("verify"), message).expected("`none`".to_owned()));
    }
    problems.extend(user(ha.engine.user.as_ref(), ha.engine.password_file.as_ref(), &section.join("engine")));
    if let Some(announce) = &ha.announce
        && (announce.table == 0 || (253..=255).contains(&announce.table))
    {
        let message = format!("packets go by table {} of the kernel", announce.table);
        let table = section.join("announce").join("table");
        problems.push(Problem::at(table, message).expected("a table of its own, such as 84".to_owned()));
    }
    problems.extend(peers(ha, &section.join("peers")));
    problems.extend(witness(ha, &section.join("witness")));
    problems
}

/// A user says who it is by a password.
fn user(user: Option<&String>, password_file: Option<&PathBuf>, path: &Path) -> Option<Problem> {
    let user = user.filter(|_| password_file.is_none())?;
    let message = format!("the password of `{user}` is missing");
    Some(Problem::at(path.join("user"), message).expected("`password-file` beside it".to_owned()))
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
        problems.extend(reached(peer, &path));
    }
    problems
}

fn witness(ha: &Ha, path: &Path) -> Vec<Problem> {
    let Some(witness) = &ha.witness else { return Vec::new() };
    let mut problems = reached(witness, path);
    if ha.groups.iter().all(|group| group.standby.is_none()) {
        let message = "without a group that another box stands by for there is nothing to witness".to_owned();
        problems.push(Problem::at(path.clone(), message).on_key());
    }
    let boxes = ha.peers.values().map(|peer| &peer.url).chain([&ha.engine.url]);
    if boxes.into_iter().any(|url| *url == witness.url) {
        let message =
            format!("{} is the Redis of one of the boxes; a witness is on another host", witness.url);
        problems.push(Problem::at(path.join("url"), message));
    }
    problems
}

/// What is wrong with how a Redis of another host is to be reached.
fn reached(peer: &Peer, path: &Path) -> Vec<Problem> {
    let mut problems = tls(peer, path);
    problems.extend(user(peer.user.as_ref(), peer.password_file.as_ref(), path));
    if let EngineUrl::Tcp(address) | EngineUrl::Tls(address) = &peer.url
        && (address.ip().is_unspecified() || address.port() == 0)
    {
        let message = format!("nobody can be reached at {address}");
        problems.push(Problem::at(path.join("url"), message));
    }
    problems
}

/// What is wrong with how a peer is to be reached over TLS, or is not.
fn tls(peer: &Peer, path: &Path) -> Vec<Problem> {
    let is_tls = matches!(peer.url, EngineUrl::Tls(_));
    let files = [("ca", &peer.ca), ("cert", &peer.cert), ("key", &peer.key)];
    if !is_tls {
        let given = files.into_iter().filter(|(_, file)| file.is_some());
        let message = || format!("{} is reached without TLS", peer.url);
        return given
            .map(|(key, _)| {
                Problem::at(path.join(key), message()).expected("a url of `rediss://`".to_owned())
            })
            .collect();
    }
    let missing = |key: &str, why: &str| Problem::at(path.clone(), format!("`{key}` is missing: {why}"));
    let mut problems = Vec::new();
    if peer.ca.is_none() {
        problems.push(missing("ca", "who may have signed the certificate of the peer's Redis?"));
    }
    if peer.cert.is_some() != peer.key.is_some() {
        let key = if peer.cert.is_some() { "key" } else { "cert" };
        problems.push(missing(key, "`cert` and `key` go together"));
    }
    problems
}

fn no_name(name: &str, path: Path) -> Problem {
    Problem::at(path, format!("`{name}` cannot be a name")).expected(format!(
        "at most {MAX_NAME} letters, digits, `-`, `_` and `.`, the first a letter or a digit"
    ))
}
