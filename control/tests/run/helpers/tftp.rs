//! TFTP by tftp-hpa, through masquerade and to a server behind the box.

use std::fs;

use super::some_file;
use crate::cores;
use crate::namespaces::Namespace;
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// Gets a file from a TFTP server of this address, and puts it there under another name.
fn get_and_put(site: &Site, client: Namespace<'_>, address: &str) {
    let sent = some_file();
    fs::write(site.daemon.path("served/file"), &sent).unwrap();
    let got = site.daemon.path("got");
    let family = if address.contains(':') { "-6" } else { "-4" };
    let tftp = |what: &str| client.tell("tftp", &format!("{family} -m binary {address} -c {what}"));
    tftp(&format!("get file {}", got.display()));
    assert!(fs::read(&got).unwrap() == sent, "{address}: other bytes came");
    tftp(&format!("put {} other", got.display()));
    let other = site.daemon.path("served/other");
    assert!(fs::read(&other).unwrap() == sent, "{address}: other bytes arrived");
    fs::remove_file(other).unwrap();
}

#[test]
fn tftp_passes_both_ways() {
    for preset in ["classic", "linux"] {
        let test = format!("tftp-{preset}");
        let Some(site) = cores::are_there().then(|| Site::new(&test, preset)).flatten() else { return };
        site.reload(&format!("{NAT}{POLICY}\nhelpers: {{ tftp: {{}} }}\n"));
        let served = site.daemon.path("served");
        fs::create_dir(&served).unwrap();
        let daemon = format!("--foreground --create --user root --secure {}", served.display());
        let _servers = [site.server(), site.client()].map(|at| at.serve(69, "in.tftpd", &daemon));
        for Plan { client, server, outside, public, .. } in &FAMILIES {
            for (from, to) in [(site.client(), server), (site.server(), public)] {
                get_and_put(&site, from, to);
            }
            // What the servers send comes from ports of their own, and goes by the address that their clients know.
            let listed = site.daemon.tell("conntrack -L -p udp");
            for (server, client, seen, by) in
                [(server, outside, client, server), (client, server, server, public)]
            {
                let original = format!("src={server} dst={client} ");
                let reply = format!("src={seen} dst={by} ");
                let is_child = |line: &str| line.contains(&original) && line.contains(&reply);
                assert!(listed.lines().any(is_child), "{original}{reply}: {listed}");
            }
        }
        assert_eq!(site.drops(), [""; 0]);
    }
}
