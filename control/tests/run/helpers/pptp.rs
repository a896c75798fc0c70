//! Calls of PPTP through masquerade and to a server behind the box, from two clients at a time: by pptp-linux and pptpd, with a script
//! in place of pppd for want of a kernel with PPP; and by a scripted client and server, so that clients have the same call id.

use std::fs;
use std::io::{BufRead as _, BufReader};

use crate::cores;
use crate::namespaces::{Host, Namespace, ip};
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// Ends of PPTP.
const PPTP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/pptp.py");

/// What stands in for pppd.
const PPP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/ppp.py");

/// A second address of each end's.
const SECOND: [&str; 2] = ["10.0.0.3", "198.51.100.3"];

/// Calls a server from two addresses, and sends packets in both calls.
fn call(from: Namespace<'_>, server: &str, own: [&str; 2]) {
    from.tell("python3", &format!("{PPTP} client {server} {} {}", own[0], own[1]));
}

/// A site with the helper, whose ends have two addresses each.
fn site(test: &str, preset: &str) -> Option<Site> {
    let site = cores::are_there().then(|| Site::new(&format!("{test}-{preset}"), preset)).flatten()?;
    for (at, second) in [site.client(), site.server()].into_iter().zip(SECOND) {
        assert!(ip(&format!("-n {at} address add {second}/24 dev eth0")));
    }
    site.reload_without_neighbours(&format!("{NAT}{POLICY}\nhelpers: {{ pptp: {{}} }}\n"));
    Some(site)
}

/// Who calls by which addresses, and the server: where it is, by which address, and by which it is called. First a server outside, then one
/// inside.
type Way<'a> = (Namespace<'a>, [&'a str; 2], Namespace<'a>, &'a str, &'a str);

fn ways(site: &Site) -> [Way<'_>; 2] {
    let Plan { client, server, public, .. } = &FAMILIES[0];
    [
        (site.client(), [client, SECOND[0]], site.server(), server, server),
        (site.server(), [server, SECOND[1]], site.client(), client, public),
    ]
}

/// A call by pptp-linux that has carried packets both ways, and stands.
fn call_by_program(from: Namespace<'_>, server: &str, own: &str) -> Host {
    let mut call = from.start("python3", &format!("{PPP} call {server} {own}"));
    let mut said = String::new();
    BufReader::new(call.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "talked\n");
    call
}

#[test]
fn pptp_linux_calls_pptpd() {
    for preset in ["classic", "linux"] {
        let Some(site) = site("pptpd", preset) else { return };
        let [options, pid, config] =
            ["options", "pptpd.pid", "pptpd.conf"].map(|name| site.daemon.path(name));
        let settings = format!(
            "ppp {PPP}\noption {}\nlocalip 192.168.9.1\nremoteip 192.168.9.10-20\n",
            options.display()
        );
        fs::write(&options, "").unwrap();
        fs::write(&config, settings).unwrap();
        let program = format!("--fg --conf {} --pidfile {}", config.display(), pid.display());
        for (calls, (from, own, to, _, called)) in [2, 4].into_iter().zip(ways(&site)) {
            let _server = to.serve(1723, "pptpd", &program);
            let standing = own.map(|own| call_by_program(from, called, own));
            let listed = site.daemon.tell("conntrack -L -p gre -u ASSURED");
            assert_eq!(listed.lines().count(), 2, "{listed}");
            for own in own {
                let line =
                    listed.lines().find(|line| line.contains(&format!(" src={own} dst={called} srckey=")));
                let ids: Vec<&str> =
                    line.unwrap_or_else(|| panic!("{own}: {listed}")).split("key=").collect();
                // The server's id for the call is the same on both sides of the box.
                let id = |at: usize| ids[at].split(' ').next();
                assert_eq!(id(2), id(3), "{listed}");
            }
            let ask = |question: &str| -> serde_json::Value {
                serde_json::from_str(&site.daemon.tell(question)).unwrap()
            };
            let helpers = ask("helpers --json");
            assert_eq!(helpers["helpers"][0]["events"]["met"], calls, "{helpers}");
            let states = ask("stats --json");
            let related = states["packets"].as_array().unwrap().iter().find(|row| row["name"] == "RELATED");
            assert!(related.unwrap()["packets"].as_u64().unwrap() >= calls, "{states}");
            for mut call in standing {
                drop(call.0.stdin.take());
                assert!(call.0.wait().unwrap().success());
            }
            // These programs hang up by closing the control connection. The calls end with that.
            site.daemon.tell("conntrack -D -p tcp --dport 1723");
            assert_eq!(site.daemon.tell("conntrack -L -p gre"), "");
        }
        assert_eq!(site.drops(), [""; 0]);
    }
}

#[test]
fn pptp_passes_both_ways() {
    for preset in ["classic", "linux"] {
        let Some(site) = site("pptp", preset) else { return };
        for (calls, (from, own, to, at, called)) in [2, 4].into_iter().zip(ways(&site)) {
            let _server = to.serve(1723, "python3", &format!("{PPTP} server {at}"));
            call(from, called, own);
            let helpers: serde_json::Value =
                serde_json::from_str(&site.daemon.tell("helpers --json")).unwrap();
            assert_eq!(helpers["helpers"][0]["events"]["met"], calls, "{helpers}");
        }
        assert_eq!(site.daemon.tell("conntrack -L -p gre"), "", "they ended with their calls");
        assert_eq!(site.drops(), [""; 0]);
    }
}
