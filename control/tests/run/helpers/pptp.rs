//! Calls of PPTP by a scripted client and server, for want of a kernel with PPP: through masquerade and to a server behind the box,
//! from two clients at a time that have the same call id.

use crate::cores;
use crate::namespaces::{Namespace, ip};
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// Ends of PPTP.
const PPTP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/pptp.py");

/// A second address of each end's.
const SECOND: [&str; 2] = ["10.0.0.3", "198.51.100.3"];

/// Calls a server from two addresses, and sends packets in both calls.
fn call(from: Namespace<'_>, server: &str, own: [&str; 2]) {
    from.tell("python3", &format!("{PPTP} client {server} {} {}", own[0], own[1]));
}

#[test]
fn pptp_passes_both_ways() {
    for preset in ["classic", "linux"] {
        let test = format!("pptp-{preset}");
        let Some(site) = cores::are_there().then(|| Site::new(&test, preset)).flatten() else { return };
        for (at, second) in [site.client(), site.server()].into_iter().zip(SECOND) {
            assert!(ip(&format!("-n {at} address add {second}/24 dev eth0")));
        }
        site.reload_without_neighbours(&format!("{NAT}{POLICY}\nhelpers: {{ pptp: {{}} }}\n"));
        let Plan { client, server, public, .. } = &FAMILIES[0];
        for (calls, from, own, to, at, called) in [
            (2, site.client(), [*client, SECOND[0]], site.server(), server, server),
            (4, site.server(), [*server, SECOND[1]], site.client(), client, public),
        ] {
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
