//! Calls of H.323 by scripted ends, through masquerade and to an end behind the box, and to one that is known to a gatekeeper outside.

use crate::cores;
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// Ends of H.323, and a gatekeeper.
const H323: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/h323.py");

#[test]
fn h323_passes_both_ways() {
    for preset in ["classic", "linux"] {
        let test = format!("h323-{preset}");
        let Some(site) = cores::are_there().then(|| Site::new(&test, preset)).flatten() else { return };
        site.reload(&format!("{NAT}{POLICY}\nhelpers: {{ RAS: {{}}, Q.931: {{}} }}\n"));
        let Plan { client, server, public, .. } = &FAMILIES[0];
        for (from, own, to, at, called) in [
            (site.client(), client, site.server(), server, server),
            (site.server(), server, site.client(), client, public),
        ] {
            let _called = to.serve(1720, "python3", &format!("{H323} called {at}"));
            from.tell("python3", &format!("{H323} caller {own} {called}"));
        }
        let _gatekeeper = site.server().serve(1719, "python3", &format!("{H323} gatekeeper {server}"));
        site.client().tell("python3", &format!("{H323} registered {client} {server}"));
        let helpers: serde_json::Value = serde_json::from_str(&site.daemon.tell("helpers --json")).unwrap();
        // The call of who is registered, and the channel of each call.
        let met =
            [0, 1].map(|at| (&helpers["helpers"][at]["helper"], &helpers["helpers"][at]["events"]["met"]));
        assert_eq!(met, [(&"RAS".into(), &1.into()), (&"Q.931".into(), &3.into())], "{helpers}");
        assert_eq!(site.drops(), [""; 0]);
    }
}
