//! SANE by saned with its test pictures and scanimage, through masquerade and to a server behind the box.

use std::fs;

use crate::cores;
use crate::namespaces::Namespace;
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// What the scanners of the test backend are like, as Debian has it.
const SCANNERS: &str = "/etc/sane.d/test.conf";

/// What they are to show: some 90 kB.
const PICTURE: &str = "--mode Color --test-picture=Grid";

/// A directory of configuration files, by their names.
fn configuration(site: &Site, name: &str, files: &[(&str, &str)]) -> String {
    let directory = site.daemon.path(name);
    fs::create_dir(&directory).unwrap();
    for (file, text) in files {
        fs::write(directory.join(file), text).unwrap();
    }
    directory.display().to_string()
}

/// Scans with these configuration files.
fn scan(site: &Site, at: Namespace<'_>, configuration: &str, device: &str) -> Vec<u8> {
    let picture = site.daemon.path("picture.pnm");
    let arguments = format!("-d {device} {PICTURE} -o {}", picture.display());
    let output = at.command("scanimage", &arguments).env("SANE_CONFIG_DIR", configuration).output().unwrap();
    assert!(output.status.success(), "{device}: {}", String::from_utf8_lossy(&output.stderr));
    fs::read(picture).unwrap()
}

#[test]
fn sane_passes_both_ways() {
    for preset in ["classic", "linux"] {
        let test = format!("sane-{preset}");
        let Some(site) = cores::are_there().then(|| Site::new(&test, preset)).flatten() else { return };
        site.reload(&format!("{NAT}{POLICY}\nhelpers: {{ sane: {{}} }}\n"));
        let scanners = fs::read_to_string(SCANNERS).unwrap();
        let server = [("dll.conf", "test\n"), ("test.conf", &scanners), ("saned.conf", "+\n")];
        let server = configuration(&site, "server", &server);
        let client = configuration(&site, "client", &[("dll.conf", "net\n"), ("net.conf", "")]);
        let picture = scan(&site, site.server(), &server, "test:0");
        let _servers = [site.server(), site.client()].map(|at| {
            let mut saned = at.command("saned", "-l");
            saned.env("SANE_CONFIG_DIR", &server);
            at.serve_by(6566, saned)
        });
        for (seen, Plan { server, public, .. }) in (1..).zip(&FAMILIES) {
            for (from, to) in [(site.client(), server), (site.server(), public)] {
                let scanned = scan(&site, from, &client, &format!("net:[{to}]:test:0"));
                assert!(scanned == picture, "{to}: another picture came");
            }
            let helpers: serde_json::Value =
                serde_json::from_str(&site.daemon.tell("helpers --json")).unwrap();
            assert_eq!(helpers["helpers"][0]["events"]["expected"], 2 * seen, "{helpers}");
        }
        assert_eq!(site.daemon.tell("conntrack -L expect"), "", "each was met");
        assert_eq!(site.drops(), [""; 0]);
    }
}
