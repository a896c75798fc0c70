//! Real programs through masquerade and through destination NAT, over two workers: what they transfer arrives whole,
//! from whom they are told it comes, and what routers on the way say to them.

use std::fs;

use crate::box_under_test::wait_for;
use crate::cores;
use crate::namespaces::{Namespace, PEERS, Streams};
use crate::site::{FAMILIES, NARROW, NAT, POLICY, Plan, Site};

const WEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/web.py");

/// The site of a test, where there are two processors and the right to make namespaces.
fn site(test: &str, preset: &str) -> Option<Site> {
    cores::are_there().then(|| Site::new(test, preset)).flatten()
}

/// An address as it stands in front of a port.
fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// Bytes that no two packets share.
fn payload(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// Puts a file at this address and gets it back; gives who the server says asks, and from which port of the client it was put.
fn put_and_get(site: &Site, client: Namespace<'_>, url: &str) -> (String, u16) {
    let sent = site.daemon.path("sent");
    let back = site.daemon.path("back");
    let curl = |what: &str, port: u16| {
        client.tell(
            "curl",
            &format!("-sSg --max-time 60 --noproxy * -H Expect: --local-port {port} {what} {url}"),
        )
    };
    let port = site.fresh_port();
    let peer = curl(&format!("-T {}", sent.display()), port);
    curl(&format!("-o {}", back.display()), site.fresh_port());
    assert!(fs::read(&sent).unwrap() == fs::read(&back).unwrap(), "{url}: other bytes came back");
    fs::remove_file(back).unwrap();
    (peer, port)
}

/// The one entry of a listing that this filter gives.
fn entry(site: &Site, filter: &str) -> String {
    let listed = site.daemon.tell(&format!("conntrack -L {filter}"));
    assert_eq!(listed.lines().count(), 1, "{filter}: {listed}");
    listed
}

#[test]
fn the_web_is_reached_from_behind_the_box() {
    let Some(site) = site("web", "classic") else { return };
    let _web = site.server().serve(8080, "python3", WEB);
    for Plan { client, server, outside, .. } in &FAMILIES {
        let url = format!("http://{}:8080/file", bracketed(server));
        for number in 0..4 {
            let bytes = if number == 0 { 4 << 20 } else { 10_000 };
            fs::write(site.daemon.path("sent"), payload(bytes)).unwrap();
            let (peer, port) = put_and_get(&site, site.client(), &url);
            assert_eq!(peer, *outside);
            let line = entry(&site, &format!("-p tcp -s {client} --sport {port}"));
            assert!(line.contains(&format!("src={client} dst={server} sport={port} dport=8080 ")), "{line}");
            assert!(line.contains(&format!("src={server} dst={outside} sport=8080 dport=")), "{line}");
            assert!(line.contains("[ASSURED]"), "{line}");
        }
    }
    let found = site.shards("found");
    assert!(found.len() == 2 && found.iter().all(|found| *found > 0), "both workers have flows: {found:?}");
    assert_eq!(site.drops(), [""; 0]);
}

#[test]
fn a_web_server_behind_the_box_is_reached() {
    let Some(site) = site("served", "classic") else { return };
    let _web = site.client().serve(8080, "python3", WEB);
    for Plan { client, server, public, .. } in &FAMILIES {
        let url = format!("http://{}/file", bracketed(public));
        for number in 0..4 {
            let bytes = if number == 0 { 4 << 20 } else { 10_000 };
            fs::write(site.daemon.path("sent"), payload(bytes)).unwrap();
            let (peer, port) = put_and_get(&site, site.server(), &url);
            assert_eq!(peer, *server);
            let line = entry(&site, &format!("-p tcp -s {server} --sport {port}"));
            assert!(line.contains(&format!("src={server} dst={public} sport={port} dport=80 ")), "{line}");
            assert!(line.contains(&format!("src={client} dst={server} sport=8080 dport={port} ")), "{line}");
        }
    }
    assert_eq!(site.drops(), [""; 0]);
}

#[test]
fn streams_pass_both_ways() {
    let Some(site) = site("streams", "linux") else { return };
    for Plan { server, public, .. } in &FAMILIES {
        for (from, at, to) in [(site.client(), site.server(), server), (site.server(), site.client(), public)]
        {
            for how in ["-P 4 -n 8M", "-P 4 -n 8M -R", "-u -l 1200 -b 5M -n 1M", "-u -l 1200 -b 5M -n 1M -R"]
            {
                // A server that goes on to the next test resets who comes too early.
                let _server = at.serve(5201, "iperf3", "-s -1");
                let said = from.tell("iperf3", &format!("-J -c {to} {how}"));
                let report: serde_json::Value = serde_json::from_str(&said).unwrap();
                assert!(report["error"].is_null(), "{how}: {said}");
                let end = &report["end"];
                let arrived = if how.starts_with("-u") {
                    let [sent, lost] = ["packets", "lost_packets"].map(|key| end["sum"][key].as_u64());
                    sent.zip(lost).is_some_and(|(sent, lost)| lost < sent)
                } else {
                    end["sum_received"]["bytes"].as_u64() > Some(1_000_000)
                };
                assert!(arrived, "{how}: {said}");
            }
        }
    }
    assert_eq!(site.drops(), [""; 0]);
}

/// The routers that a traceroute shows on the way to an address, and the address.
fn expect_hops(from: Namespace<'_>, how: &str, to: &str, hops: &[&str]) {
    let hops_of = |said: &str| {
        let hop = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
        said.lines().skip(1).filter_map(hop).collect::<Vec<_>>()
    };
    // One probe at a time: what a host may say in a second is bounded.
    let arguments = format!("{how} -n -q 1 -N 1 -w 5 -m 6 {to}");
    wait_for(&format!("traceroute {arguments} to show {hops:?}"), || {
        hops_of(&from.tell("traceroute", &arguments)) == hops
    });
}

#[test]
fn hosts_ping_and_trace_each_other() {
    let Some(site) = site("trace", "linux") else { return };
    let answers = |from: Namespace<'_>, to: &str| {
        let said = from.tell("ping", &format!("-n -c 4 -i 0.05 -W 5 {to}"));
        assert!(said.contains(" 4 received"), "{said}");
        assert_eq!(said.matches(&format!("from {to}")).count(), 4, "{said}");
    };
    for Plan { client, inside, outside, public, router, far, server, .. } in &FAMILIES {
        answers(site.client(), server);
        answers(site.server(), public);
        let protocol = if client.contains(':') { "icmpv6" } else { "icmp" };
        let line = entry(&site, &format!("-p {protocol} -s {client}"));
        assert!(line.contains(&format!("src={server} dst={outside} ")), "{line}");
        let line = entry(&site, &format!("-p {protocol} -s {server}"));
        assert!(line.contains(&format!("src={client} dst={server} ")), "{line}");
        for how in ["", "-I", "-T -p 8080"] {
            expect_hops(site.client(), how, server, &[inside, router, server]);
            expect_hops(site.server(), how, public, &[far, outside, public]);
        }
    }
    assert_eq!(site.drops(), ["ttl-exceeded"]);
}

/// All of the outer link's networks, 1:1: the box stands for every address there but the router's.
const ONE_TO_ONE: &str = "
nat:
  source:
    - { out: outside, source: 10.0.0.0/24, prefix: 203.0.113.0/24 }
    - { out: outside, source: 'fd00:1::/64', prefix: '2001:db8:2::/64' }
  destination:
    - { in: outside, destination: 203.0.113.0/24, prefix: 10.0.0.0/24 }
    - { in: outside, destination: '2001:db8:2::/64', prefix: 'fd00:1::/64' }
";

#[test]
fn hosts_of_a_network_have_public_addresses_of_their_own() {
    let Some(site) = site("networks", "linux") else { return };
    site.reload_without_neighbours(&format!("{ONE_TO_ONE}{POLICY}"));
    let _webs = [site.client(), site.server()].map(|host| host.serve(8080, "python3", WEB));
    fs::write(site.daemon.path("sent"), payload(100_000)).unwrap();
    for (Plan { inside, outside, router, far, server, .. }, public) in
        FAMILIES.iter().zip(["203.0.113.2", "2001:db8:2::2"])
    {
        let url = |address: &str| format!("http://{}:8080/file", bracketed(address));
        assert_eq!(put_and_get(&site, site.client(), &url(server)).0, public);
        assert_eq!(put_and_get(&site, site.server(), &url(public)).0, *server);
        for how in ["", "-I", "-T -p 8080"] {
            expect_hops(site.client(), how, server, &[inside, router, server]);
            expect_hops(site.server(), how, public, &[far, outside, public]);
        }
    }
    assert_eq!(site.drops(), ["ttl-exceeded"]);
}

/// The largest packet that a host has learnt to send to an address.
fn learnt(from: Namespace<'_>, to: &str) -> Option<u16> {
    let route = from.tell("ip", &format!("route get {to}"));
    route.split(" mtu ").nth(1)?.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_narrow_link_behind_translation_is_learnt_of() {
    let Some(site) = site("narrow", "classic") else { return };
    fs::write(site.daemon.path("sent"), payload(1 << 20)).unwrap();
    for Plan { client, server, outside, public, .. } in &FAMILIES {
        // What the client sends through masquerade, and what it answers with behind its public address.
        for (from, at, to, port, peer) in [
            (site.client(), site.server(), server, 8080, outside),
            (site.server(), site.client(), public, 80, server),
        ] {
            let web = at.serve(8080, "python3", WEB);
            assert_eq!(learnt(site.client(), server), None);
            let url = format!("http://{}:{port}/file", bracketed(to));
            assert_eq!(put_and_get(&site, from, &url).0, *peer);
            assert_eq!(learnt(site.client(), server), Some(NARROW));
            drop(web);
            site.client().tell("ip", &format!("{} route flush cache", family(client)));
        }
    }
    assert_eq!(site.drops(), [""; 0]);
}

/// The option of ip(8) for an address's family.
fn family(address: &str) -> &'static str {
    if address.contains(':') { "-6" } else { "-4" }
}

/// The tuples of the entries of a listing.
fn tuples(listing: &str) -> Vec<String> {
    let tuple = |line: &str| {
        let word = |word: &&str| ["src=", "dst=", "sport=", "dport="].iter().any(|key| word.starts_with(key));
        line.split_whitespace().filter(word).collect::<Vec<_>>().join(" ")
    };
    let mut tuples: Vec<_> = listing.lines().map(tuple).collect();
    tuples.sort();
    tuples
}

#[test]
fn a_reload_breaks_no_connection() {
    let Some(site) = site("reload", "classic") else { return };
    let Plan { client, server, outside, .. } = &FAMILIES[0];
    let _server = site.server().serve(8080, "python3", &format!("{PEERS} tcp-server 8080"));
    let mut streams = Streams::open(site.client(), server, 8080, 4);
    streams.go_on();
    let open =
        || site.daemon.tell(&format!("conntrack -L -p tcp -s {client} --state ESTABLISHED -u ASSURED"));
    let before = tuples(&open());
    assert_eq!(before.len(), 4, "{before:?}");
    assert!(before.iter().all(|tuple| tuple.contains(&format!("dst={outside}"))), "{before:?}");
    // Without a word of translation, and with it again.
    for revision in 2..12 {
        let nat = if revision % 2 == 0 { "" } else { NAT };
        let said = format!("configuration {revision} is in force\nit cuts no connection\n");
        assert_eq!(site.reload(&format!("{nat}{POLICY}")), said);
        streams.go_on();
        assert_eq!(tuples(&open()), before);
    }
    streams.close();
    assert_eq!(site.drops(), [""; 0]);
}

#[test]
fn a_restart_breaks_no_connection() {
    let Some(mut site) = site("restart", "linux") else { return };
    let Plan { server, public, .. } = &FAMILIES[0];
    let serve = format!("{PEERS} tcp-server 8080");
    let _servers =
        [site.server().serve(8080, "python3", &serve), site.client().serve(8080, "python3", &serve)];
    let mut streams =
        [Streams::open(site.client(), server, 8080, 4), Streams::open(site.server(), public, 80, 4)];
    streams.iter_mut().for_each(Streams::go_on);
    let open = |site: &Site| tuples(&site.daemon.tell("conntrack -L -p tcp --state ESTABLISHED -u ASSURED"));
    let before = open(&site);
    assert_eq!(before.len(), 8, "{before:?}");
    for _ in 0..2 {
        site.restart();
        assert!(site.daemon.stderr().contains("8 connections go on, 0 cannot"), "{}", site.daemon.stderr());
        assert!(!site.daemon.path("state/connections").exists(), "they go on once");
        assert_eq!(open(&site), before);
        streams.iter_mut().for_each(Streams::go_on);
        assert_eq!(open(&site), before);
        assert_eq!(site.drops(), [""; 0]);
    }
    streams.into_iter().for_each(Streams::close);
}
