//! Users of ntalk, by a scripted one on either host: talk's own programs find whom they call in the one list of who is logged in, which
//! network namespaces share. Through masquerade and to a user behind the box.

use crate::cores;
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// Both hosts.
const TALK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/talk.py");

#[test]
fn talk_passes_both_ways() {
    for preset in ["classic", "linux"] {
        let test = format!("talk-{preset}");
        let Some(site) = cores::are_there().then(|| Site::new(&test, preset)).flatten() else { return };
        site.reload(&format!("{NAT}{POLICY}\nhelpers: {{ ntalk: {{}} }}\n"));
        let Plan { client, server, public, .. } = &FAMILIES[0];
        for (seen, from, own, to, at, other) in [
            (2, site.client(), client, site.server(), server, server),
            (4, site.server(), server, site.client(), client, public),
        ] {
            let _called = to.serve(518, "python3", &format!("{TALK} called {at}"));
            from.tell("python3", &format!("{TALK} caller {own} {other}"));
            let helpers: serde_json::Value =
                serde_json::from_str(&site.daemon.tell("helpers --json")).unwrap();
            assert_eq!(helpers["helpers"][0]["events"]["met"], seen, "{helpers}");
        }
        assert_eq!(site.drops(), [""; 0]);
    }
}
