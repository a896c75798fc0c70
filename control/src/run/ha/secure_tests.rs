//! Boxes that show each other who they are: TLS and the users of Redis, by the files of `deploy/two-boxes` and `deploy/three-boxes`.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::engine::Engine;
use super::tests::{Pair, Server, begin};
use super::*;

const REDIS: &str = include_str!("../../../../deploy/two-boxes/redis.conf");
const REDIS_OF_THREE: &str = include_str!("../../../../deploy/three-boxes/redis.conf");
const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/two-boxes/certificates");

/// A directory of certificates for boxes `a`, `b` and `c`, which one authority has signed.
fn certificates() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(CERTIFICATES);
    command.arg(directory.path()).args(["a=127.0.0.1", "b=127.0.0.1", "c=127.0.0.1"]).stderr(Stdio::null());
    assert!(command.status().unwrap().success(), "openssl is installed (deploy/dependencies.sh test)");
    for name in ["a", "b", "c"] {
        fs::write(directory.path().join(format!("{name}.password")), format!("change-me-{name}\n")).unwrap();
    }
    directory
}

/// A port that nobody listens to.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What box b has where box a has the one or the other.
fn exchanged(text: &str) -> String {
    text.replace("user a", "user A")
        .replace("user b", "user a")
        .replace("user A", "user b")
        .replace("edge:a", "edge:b")
        .replace("me-a", "me-A")
        .replace("me-b", "me-a")
        .replace("me-A", "me-b")
}

/// The Redis of a box by this file, over TLS at that port of this host.
fn server(name: &str, text: &str, keys: &std::path::Path, port: u16) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let at = |file: &str| keys.join(file).display().to_string();
    let text = text
        .replace("10.99.0.1", "127.0.0.1")
        .replace("6380", &port.to_string())
        .replace("/etc/sluice/ha-ca.pem", &at("ca.pem"))
        .replace("/etc/sluice/ha.pem", &at(&format!("{name}.pem")))
        .replace("/etc/sluice/ha.key", &at(&format!("{name}.key")))
        .replace("/run/redis-sluice", &directory.path().display().to_string());
    fs::write(directory.path().join("redis.conf"), text).unwrap();
    let login = Some((name.to_owned(), keys.join(format!("{name}.password"))));
    Server::with(directory, vec!["redis.conf".to_owned()], login)
}

/// How box `name` reaches a peer's Redis at a port.
fn peer(name: &str, port: u16, keys: &std::path::Path) -> config::Peer {
    let file = |what: &str| -> Option<PathBuf> { Some(keys.join(what)) };
    config::Peer {
        url: format!("rediss://127.0.0.1:{port}").parse().unwrap(),
        user: Some(name.to_owned()),
        password_file: file(&format!("{name}.password")),
        ca: file("ca.pem"),
        cert: file(&format!("{name}.pem")),
        key: file(&format!("{name}.key")),
    }
}

#[test]
fn boxes_tell_each_other_over_tls_what_nobody_else_hears_or_says() {
    let (keys, others) = (certificates(), certificates());
    let ports = [free_port(), free_port()];
    let servers =
        [server("a", REDIS, keys.path(), ports[0]), server("b", &exchanged(REDIS), keys.path(), ports[1])];
    let begin = |name: &str, own: usize| {
        let other = if name == "a" { "b" } else { "a" };
        let mut ha = super::tests::section_with(name, &servers[own], &servers[1 - own].url(), "");
        ha.cluster = "edge".to_owned();
        ha.engine = servers[own].engine().clone();
        ha.peers.insert(other.to_owned(), peer(name, ports[1 - own], keys.path()));
        begin(&ha)
    };
    let (active, standby) = (begin("a", 0), begin("b", 1));
    let mut pair = Pair { servers, active, standby };
    (0..500).for_each(|number| pair.active.0.open(number));
    pair.until("the standby to know all", |pair| {
        let peer = pair.peer();
        peer.synced && pair.standby.0.marks(true).len() == 500
    });

    let of_a = Keys::of("edge", "a", "all");
    let connect = |peer: &config::Peer| Engine::connect(&Address::of_peer(peer).unwrap());
    let friend = peer("b", ports[0], keys.path());
    let mut it = connect(&friend).unwrap();
    assert!(it.last(&of_a.told).unwrap().is_some());
    it.append(&of_a.asked, 16, b"want").unwrap();
    let refused = it.append(&of_a.told, 16, b"lies").unwrap_err().to_string();
    assert!(refused.contains("permission"), "{refused}");
    assert!(connect(&friend).unwrap().remove(&of_a.told).is_err());

    let strangers = [
        config::Peer { cert: None, key: None, ..friend.clone() },
        config::Peer { ca: Some(others.path().join("ca.pem")), ..friend.clone() },
        config::Peer {
            cert: Some(others.path().join("b.pem")),
            key: Some(others.path().join("b.key")),
            ..friend.clone()
        },
        config::Peer { password_file: Some(keys.path().join("a.password")), ..friend.clone() },
        config::Peer { url: format!("redis://127.0.0.1:{}", ports[0]).parse().unwrap(), ..friend.clone() },
    ];
    for stranger in &strangers {
        assert!(connect(stranger).is_err(), "{stranger:?}");
    }
    let broken = config::Peer { ca: Some(keys.path().join("a.password")), ..friend.clone() };
    assert!(Address::of_peer(&broken).is_err() || connect(&broken).is_err());
    let missing = config::Peer { key: Some(keys.path().join("none.key")), ..friend };
    let said = Address::of_peer(&missing).unwrap_err().to_string();
    assert!(said.contains("none.key"), "{said}");
}

#[test]
fn each_peer_of_three_boxes_reads_and_asks_as_itself_and_writes_nothing() {
    let (keys, port) = (certificates(), free_port());
    let own = server("a", REDIS_OF_THREE, keys.path(), port);
    let of_group = Keys::of("edge", "a", "g1");
    Engine::connect(&own.address()).unwrap().append(&of_group.told, 16, b"said").unwrap();
    for name in ["b", "c"] {
        let mut it = Engine::connect(&Address::of_peer(&peer(name, port, keys.path())).unwrap()).unwrap();
        assert!(it.last(&of_group.told).unwrap().is_some());
        it.append(&of_group.asked, 16, b"want").unwrap();
        assert!(it.append(&of_group.told, 16, b"lies").is_err());
        let of_another = Keys::of("edge", "z", "g1");
        let refused = it.last(&of_another.told).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|refused| refused.contains("permission")), "{name}");
    }
}
