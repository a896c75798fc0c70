//! Two clients of an IRC server, one of which sends the other a file by DCC, through masquerade and to a server behind the box.

use std::fs;
use std::io::{BufRead as _, BufReader};

use super::some_file;
use crate::cores;
use crate::namespaces::Namespace;
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// Debian's Python, which has Debian's library of IRC.
const PYTHON: &str = "/usr/bin/python3";

/// A client.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/dcc.py");

/// Has a client send a file to another one, both of which know the server by an address; each says its own.
fn send(site: &Site, [from, to]: [(Namespace<'_>, &str, &str); 2]) {
    let sent = some_file();
    let [original, got] = ["original", "got"].map(|name| site.daemon.path(name));
    fs::write(&original, &sent).unwrap();
    let (space, own, server) = from;
    let mut alice = space.start(PYTHON, &format!("{CLIENT} send {server} {own} {}", original.display()));
    let mut said = String::new();
    BufReader::new(alice.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "registered\n");
    let (space, own, server) = to;
    space.tell(PYTHON, &format!("{CLIENT} get {server} {own} {}", got.display()));
    assert!(fs::read(&got).unwrap() == sent, "{server}: other bytes arrived");
    assert!(alice.0.wait().unwrap().success());
}

#[test]
fn irc_passes_both_ways() {
    for preset in ["classic", "linux"] {
        let test = format!("irc-{preset}");
        let Some(site) = cores::are_there().then(|| Site::new(&test, preset)).flatten() else { return };
        site.reload(&format!("{NAT}{POLICY}\nhelpers: {{ irc: {{}} }}\n"));
        let config = site.daemon.path("ngircd.conf");
        let settings = "[Global]\nName = irc.example.org\nInfo = A server\nMotdPhrase = Welcome\n\
                        ServerUID = nobody\nServerGID = nogroup\n[Limits]\nMaxConnectionsIP = 0\n\
                        [Options]\nDNS = no\nIdent = no\nPAM = no\n";
        fs::write(&config, settings).unwrap();
        let daemon = format!("--nodaemon --config {}", config.display());
        for host in [site.server(), site.client()] {
            // Clients beside a server speak to it by the host's own address.
            host.tell("ip", "link set lo up");
        }
        let _servers = [site.server(), site.client()].map(|at| at.serve(6667, "ngircd", &daemon));
        let [Plan { client, server, public, .. }, _] = &FAMILIES;
        // A server outside: an offer of the client inside is taken outside, and the other way round.
        let (inside, outside) = ((site.client(), *client, *server), (site.server(), *server, *server));
        send(&site, [inside, outside]);
        send(&site, [outside, inside]);
        // A server inside: what a client outside offers is taken by one beside the server.
        send(&site, [(site.server(), server, public), (site.client(), client, client)]);
        assert_eq!(site.daemon.tell("conntrack -L expect"), "", "each was met");
        assert_eq!(site.drops(), [""; 0]);
    }
}
