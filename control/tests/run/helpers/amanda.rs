//! Backups of a host by Amanda's own programs, through masquerade and of a host behind the box.

use std::fs;

use crate::box_under_test::wait_for;
use crate::cores;
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// Amanda's programs, and what they need to find.
const AMANDA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/amanda.py");

#[test]
fn amanda_passes_both_ways() {
    for preset in ["classic", "linux"] {
        let test = format!("amanda-{preset}");
        let Some(site) = cores::are_there().then(|| Site::new(&test, preset)).flatten() else { return };
        site.reload(&format!("{NAT}{POLICY}\nhelpers: {{ amanda: {{}} }}\n"));
        let saved = tempfile::tempdir().unwrap();
        fs::write(saved.path().join("file"), super::some_file()).unwrap();
        let saved = saved.path().display();
        let Plan { server, outside, public, .. } = &FAMILIES[0];
        for (seen, from, by, to, called) in [
            (4, site.client(), outside, site.server(), server),
            (8, site.server(), server, site.client(), public),
        ] {
            let _client = to.serve(10080, "python3", &format!("{AMANDA} client {by}"));
            from.tell("python3", &format!("{AMANDA} server {called} {saved}"));
            // The streams of data, messages, index and state, of which the last may come when all data have.
            wait_for("all streams", || {
                let told = site.daemon.tell("helpers --json");
                let helpers: serde_json::Value = serde_json::from_str(&told).unwrap();
                helpers["helpers"][0]["events"]["met"] == seen
            });
        }
        assert_eq!(site.drops(), [""; 0]);
    }
}
