//! Hosts that there are not (RFC 6583): floods of ARP and neighbour discovery in their names, and sweeps of attached networks. The box's memory
//! stays bounded, and connections go on.

use crate::box_under_test::{BoxUnderTest, wait_for};
use crate::namespaces::{PEERS, ROUTER, Row, Streams, ip};

/// Makes the frames.
const FLOOD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/flood.py");

/// Far more than the box remembers of one port: 512 that it asks for, 1024 unused and 4096 in use.
const HOSTS: usize = 20_000;
const REMEMBERED: u64 = 512 + 1024 + 4096;

/// Memory that the daemon may take beside that, as its heap and its pages come into use.
const SLACK_KIB: u64 = 16 * 1024;

#[test]
fn floods_of_hosts_that_there_are_not_end_no_connection() {
    let Some(row) = Row::routed("floods") else { return };
    let [client, middle, server] = row.namespaces();
    // The daemon serves its metrics there.
    assert!(ip(&format!("-n {middle} link set lo up")));
    let rules = "policy: { rules: [{ state: [established, related], action: accept }, { in: inside, state: new, action: accept }] }
";
    let daemon = BoxUnderTest::start_inside(middle, &(ROUTER.to_owned() + rules));
    let _server = server.serve(8080, "python3", &format!("{PEERS} tcp-server 8080"));
    let mut streams = ["10.1.0.2", "2001:db8:2::2"].map(|to| Streams::open(client, to, 8080, 4));
    let go_on = |streams: &mut [Streams; 2]| streams.iter_mut().for_each(Streams::go_on);
    go_on(&mut streams);
    let before_kib = daemon.resident_kib();
    let ports: serde_json::Value = serde_json::from_str(&daemon.tell("ports --json")).unwrap();
    let mac = ports["ports"][0]["mac"].as_str().unwrap().to_owned();
    let metric = |name: &str| metric(&daemon, middle, name);

    let floods = [
        format!("eth0 {mac} arp 10.0.0.1 10.0.0.0/16 {HOSTS}"),
        format!("eth0 {mac} ndp fd00:1::1 fd00:1::/64 {HOSTS}"),
        format!("sweep 10.1.0.0/16 {HOSTS}"),
        format!("sweep 2001:db8:2::/64 {HOSTS}"),
    ];
    for flood in floods {
        let mut flooder = client.start("python3", &format!("{FLOOD} {flood}"));
        // While it comes, and when it has.
        go_on(&mut streams);
        assert!(flooder.0.wait().unwrap().success(), "{flood}");
        go_on(&mut streams);
        let known = daemon.tell("neighbours").lines().count() as u64;
        assert!(known <= 2 * REMEMBERED, "{flood}: {known} neighbours");
    }
    // Those that spoke were too many to be remembered, and so were those that were looked for.
    let evicted = || metric("sluice_neighbour_evictions_total{");
    wait_for("neighbours to give way", || evicted() > 0);
    wait_for("packets to be lost", || {
        metric(r#"sluice_packet_drops_total{shard="0",reason="no-neighbour"}"#) > 0
    });
    let grown_kib = daemon.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < SLACK_KIB, "{grown_kib} KiB more");
    for stream in streams {
        stream.close();
    }
}

/// The sum of the metrics whose lines begin so.
fn metric(daemon: &BoxUnderTest, middle: crate::namespaces::Namespace<'_>, start: &str) -> u64 {
    let page = format!("-sSf --noproxy * http://127.0.0.1:{}/metrics", daemon.metrics_port());
    let page = middle.tell("curl", &page);
    let lines = page.lines().filter(|line| line.starts_with(start));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
