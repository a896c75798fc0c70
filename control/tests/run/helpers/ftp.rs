//! FTP by vsftpd, curl and lftp, through masquerade and to a server behind the box.

use std::fs;

use super::some_file;
use crate::cores;
use crate::namespaces::Namespace;
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// The configuration file of a server of the directory `served`, with these settings besides.
fn vsftpd(site: &Site, more: &str) -> String {
    let (served, config) = (site.daemon.path("served"), site.daemon.path("vsftpd.conf"));
    fs::create_dir(&served).unwrap();
    let settings = format!(
        "listen=NO\nlisten_ipv6=YES\nbackground=NO\nrun_as_launching_user=YES\nseccomp_sandbox=NO\n\
         anonymous_enable=YES\nno_anon_password=YES\nanon_root={}\nallow_writeable_chroot=YES\n\
         write_enable=YES\nanon_upload_enable=YES\n{more}",
        served.display()
    );
    fs::write(&config, settings).unwrap();
    config.display().to_string()
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

/// The same by lftp: passive and active, EPSV and PASV. It speaks EPRT and EPSV where addresses are of IPv6.
fn get_and_put_by_lftp(site: &Site, client: Namespace<'_>, address: &str) {
    let sent = some_file();
    let (got, other) = (site.daemon.path("got"), site.daemon.path("served/other"));
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let script = site.daemon.path("script.lftp");
    for how in ["passive-mode true\nset ftp:prefer-epsv true", "passive-mode true", "passive-mode false"] {
        let lines = format!(
            "set cmd:fail-exit true\nset net:max-retries 1\nset ftp:ssl-allow false\nset ftp:prefer-epsv false\n\
             set ftp:{how}\nopen ftp://{host}\nget file -o {got}\nput {got} -o other\n",
            got = got.display()
        );
        fs::write(&script, lines).unwrap();
        let _ = fs::remove_file(&got);
        client.tell("lftp", &format!("-f {}", script.display()));
        assert!(fs::read(&got).unwrap() == sent, "{address} {how}: other bytes came");
        assert!(fs::read(&other).unwrap() == sent, "{address} {how}: other bytes arrived");
        fs::remove_file(&other).unwrap();
    }
}

#[test]
fn ftp_passes_both_ways() {
    for preset in ["classic", "linux"] {
        let test = format!("ftp-{preset}");
        let Some(site) = cores::are_there().then(|| Site::new(&test, preset)).flatten() else { return };
        site.reload(&format!("{NAT}{POLICY}\nhelpers: {{ ftp: {{}} }}\n"));
        let daemon = vsftpd(&site, "");
        let _servers = [site.server(), site.client()].map(|at| at.serve(21, "vsftpd", &daemon));
        for Plan { server, public, .. } in &FAMILIES {
            for (from, to) in [(site.client(), server), (site.server(), public)] {
                get_and_put_by_ftp(&site, from, to);
                get_and_put_by_lftp(&site, from, to);
            }
        }
        assert_eq!(site.daemon.tell("conntrack -L expect"), "", "each was met");
        assert_eq!(site.drops(), [""; 0]);
    }
}

/// From AUTH TLS on nothing can be read: passive data connections pass since clients may open any, and the helper is off.
#[test]
fn ftp_over_tls_passes_unread() {
    let Some(site) = cores::are_there().then(|| Site::new("ftp-tls", "classic")).flatten() else { return };
    site.reload(&format!("{NAT}{POLICY}\nhelpers: {{ ftp: {{}} }}\n"));
    let [certificate, key] =
        ["vsftpd.crt", "vsftpd.key"].map(|name| site.daemon.path(name).display().to_string());
    let made =
        format!("req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=ftp");
    site.server().tell("openssl", &made);
    let tls = format!(
        "ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=YES\nforce_anon_data_ssl=YES\n\
         require_ssl_reuse=NO\nrsa_cert_file={certificate}\nrsa_private_key_file={key}\n"
    );
    let daemon = vsftpd(&site, &tls);
    let _server = site.server().serve(21, "vsftpd", &daemon);
    let sent = some_file();
    fs::write(site.daemon.path("served/file"), &sent).unwrap();
    let got = site.daemon.path("got");
    for Plan { server, .. } in &FAMILIES {
        let host = if server.contains(':') { format!("[{server}]") } else { (*server).to_owned() };
        let how = "--silent --show-error --insecure --ssl-reqd";
        site.client().tell("curl", &format!("{how} ftp://{host}/file --output {}", got.display()));
        assert!(fs::read(&got).unwrap() == sent, "{server}: other bytes came");
        fs::remove_file(&got).unwrap();
    }
    let helpers: serde_json::Value = serde_json::from_str(&site.daemon.tell("helpers --json")).unwrap();
    let events = &helpers["helpers"][0]["events"];
    assert_eq!((&events["encrypted"], &events["expected"]), (&2.into(), &0.into()), "{events}");
    assert_eq!(site.drops(), [""; 0]);
}
