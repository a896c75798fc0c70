//! Calls by SIPp, which speaks SIP over UDP or TCP and has its media come back, through masquerade and to a phone behind the box.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use crate::box_under_test::wait_for;
use crate::cores;
use crate::namespaces::{Host, Namespace};
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// The media that SIPp's callers play, as Debian has it.
const MEDIA: &str = "/usr/share/sip-tester";

/// The ports of media of whoever calls and whoever is called.
const CALLER: u16 = 16_384;
const CALLED: u16 = 26_384;

/// What SIP goes over, as SIPp calls it, and as ss does.
#[derive(Clone, Copy)]
struct Transport {
    sipp: &'static str,
    ss: &'static str,
}

const UDP: Transport = Transport { sipp: "u1", ss: "-Hlun" };
const TCP: Transport = Transport { sipp: "t1", ss: "-Hltn" };

/// Answers calls, and sends their media back.
fn answers(at: Namespace<'_>, Transport { sipp, ss }: Transport, address: &str) -> Host {
    let arguments = format!("-sn uas -t {sipp} -rtp_echo -i {address} -mi {address} -mp {CALLED} -nostdin");
    let host = Host(at.command("sipp", &arguments).stdout(Stdio::null()).spawn().unwrap());
    wait_for("SIPp to listen", || at.tell("ss", ss).contains(":5060 "));
    host
}

/// Calls, and plays media to who answers. It lasts for eight seconds.
fn calls(site: &Site, Transport { sipp, .. }: Transport, from: Namespace<'_>, own: &str, to: &str) {
    let folder = site.daemon.path("calls");
    let arguments = format!("-sn uac_pcap -t {sipp} -i {own} -mi {own} -mp {CALLER} -m 1 -nostdin {to}");
    let output = from.command("sipp", &arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn sip_calls_pass_both_ways() {
    calls_pass_both_ways(UDP);
}

#[test]
fn sip_calls_over_tcp_pass_both_ways() {
    calls_pass_both_ways(TCP);
}

fn calls_pass_both_ways(transport: Transport) {
    for preset in ["classic", "linux"] {
        let test = format!("sip-{}-{preset}", transport.sipp);
        let Some(site) = cores::are_there().then(|| Site::new(&test, preset)).flatten() else { return };
        site.reload(&format!("{NAT}{POLICY}\nhelpers: {{ sip: {{}} }}\n"));
        fs::create_dir(site.daemon.path("calls")).unwrap();
        symlink(MEDIA, site.daemon.path("calls/pcap")).unwrap();
        let Plan { client, server, outside, public, .. } = &FAMILIES[0];
        let _phones = [answers(site.server(), transport, server), answers(site.client(), transport, client)];
        calls(&site, transport, site.client(), client, server);
        calls(&site, transport, site.server(), server, public);
        // What is called sends back what it gets: both directions of media pass, by the addresses that the ends know.
        let listed = site.daemon.tell("conntrack -L -p udp");
        for (caller, called, by, seen) in
            [(client, server, server, outside), (server, public, client, server)]
        {
            // Of two workers each announces ports of its own: outside the port may be another.
            let original = format!("src={caller} dst={called} sport={CALLER} ");
            let reply = format!("src={by} dst={seen} sport={CALLED} ");
            let is_media = |line: &str| line.contains(&original) && line.contains(&reply);
            let media = listed
                .lines()
                .find(|line| is_media(line))
                .unwrap_or_else(|| panic!("{original}{reply}: {listed}"));
            assert!(media.contains("[ASSURED]"), "{media}");
        }
        assert_eq!(site.drops(), [""; 0]);
    }
}
