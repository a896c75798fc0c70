//! Real programs whose protocols need a helper, through masquerade and to a server behind the box: files arrive whole.

use std::fs;

use crate::cores;
use crate::namespaces::Namespace;
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// What clients ask for and send.
const FILE_BYTES: usize = 100_000;

/// Bytes that repeat themselves only after a while.
fn some_file() -> Vec<u8> {
    (0..FILE_BYTES).map(|place| (place * place / 7) as u8).collect()
}

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
