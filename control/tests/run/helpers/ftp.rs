//! FTP by vsftpd and curl, through masquerade and to a server behind the box.

use std::fs;

use super::some_file;
use crate::cores;
use crate::namespaces::Namespace;
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// How curl asks for data connections: EPSV, PASV, EPRT and PORT, of which IPv6 has the first and the third.
const TRANSFERS: [(&str, bool); 4] =
    [("", true), ("--disable-epsv", false), ("--ftp-port -", true), ("--ftp-port - --disable-eprt", false)];

/// Gets a file from an FTP server of this address, and puts it there under another name, by data connections of each kind.
fn get_and_put_by_ftp(site: &Site, client: Namespace<'_>, address: &str) {
    let sent = some_file();
    fs::write(site.daemon.path("served/file"), &sent).unwrap();
    let (got, other) = (site.daemon.path("got"), site.daemon.path("served/other"));
    let is_ipv6 = address.contains(':');
    let host = if is_ipv6 { format!("[{address}]") } else { address.to_owned() };
    for (transfer, _) in TRANSFERS.into_iter().filter(|(_, has_ipv6)| *has_ipv6 || !is_ipv6) {
        let curl = |what: String| client.tell("curl", &format!("--silent --show-error {transfer} {what}"));
        curl(format!("ftp://{host}/file --output {}", got.display()));
        assert!(fs::read(&got).unwrap() == sent, "{address} {transfer}: other bytes came");
        curl(format!("--upload-file {} ftp://{host}/other", got.display()));
        assert!(fs::read(&other).unwrap() == sent, "{address} {transfer}: other bytes arrived");
        fs::remove_file(&other).unwrap();
    }
}

#[test]
fn ftp_passes_both_ways() {
    for preset in ["classic", "linux"] {
        let test = format!("ftp-{preset}");
        let Some(site) = cores::are_there().then(|| Site::new(&test, preset)).flatten() else { return };
        site.reload(&format!("{NAT}{POLICY}\nhelpers: {{ ftp: {{}} }}\n"));
        let (served, config) = (site.daemon.path("served"), site.daemon.path("vsftpd.conf"));
        fs::create_dir(&served).unwrap();
        let settings = format!(
            "listen=NO\nlisten_ipv6=YES\nbackground=NO\nrun_as_launching_user=YES\nseccomp_sandbox=NO\n\
             anonymous_enable=YES\nno_anon_password=YES\nanon_root={}\nallow_writeable_chroot=YES\n\
             write_enable=YES\nanon_upload_enable=YES\n",
            served.display()
        );
        fs::write(&config, settings).unwrap();
        let daemon = config.display().to_string();
        let _servers = [site.server(), site.client()].map(|at| at.serve(21, "vsftpd", &daemon));
        for Plan { server, public, .. } in &FAMILIES {
            for (from, to) in [(site.client(), server), (site.server(), public)] {
                get_and_put_by_ftp(&site, from, to);
            }
        }
        assert_eq!(site.daemon.tell("conntrack -L expect"), "", "each was met");
        assert_eq!(site.drops(), [""; 0]);
    }
}
