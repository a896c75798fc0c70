//! Two boxes, each with a redis-server: one has traffic, the other knows its connections, whatever happens to either.

use std::collections::BTreeSet;
use std::process::Command;

use crate::box_under_test::{BoxUnderTest, POLICY, text, wait_for};
use crate::namespaces::{PEERS, Row, Streams};
use crate::redis::Redis;

/// The section of a box, whose Redis and whose peer's are these.
fn section(name: &str, own: &Redis, peer: &str, other: &Redis) -> String {
    let [own, other] = [own, other].map(|redis| redis.socket().display().to_string());
    format!(
        "ha: {{ cluster: test, box: {name}, engine: {{ url: 'unix://{own}', memory: 4M }}, peers: {{ {peer}: {{ url: 'unix://{other}' }} }} }}\n"
    )
}

/// What a listing says of connections but for what each box counts for itself: timeouts and packets.
fn connections(daemon: &BoxUnderTest, which: &str) -> BTreeSet<String> {
    let listed = daemon.tell(&format!("conntrack -L -p tcp {which}"));
    let is_same = |word: &&str| {
        ["src=", "dst=", "sport=", "dport=", "[", "mark="].iter().any(|begin| word.starts_with(begin))
            || word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    listed.lines().map(|line| line.split(' ').filter(is_same).collect::<Vec<_>>().join(" ")).collect()
}

/// Waits until the standby has the assured connections of the active box, and those alone.
fn wait_until_equal(what: &str, active: &BoxUnderTest, standby: &BoxUnderTest, count: usize) {
    wait_for(what, || {
        let has = connections(active, "-u ASSURED");
        has.len() == count && connections(standby, "--standby") == has
    });
}

#[test]
fn a_standby_knows_the_connections_of_the_active_box() {
    let Some(row) = Row::new("ha", &["10.9.0.1/24"], &["10.9.0.2/24"]) else { return };
    let [client, middle, server] = row.namespaces();
    let [mut near, far] = [Redis::new(), Redis::new()];
    let config = format!(
        "version: 1
system: {{ cores: {{ control: 0, workers: [0] }}, memory: {{ hugepages: 512M }} }}
interfaces:
  inside: {{ device: 'vdev:net_af_packet0,iface=inside' }}
  outside: {{ device: 'vdev:net_af_packet1,iface=outside' }}
conntrack: {{ max-entries: 1K }}
policy: {{ default: accept }}
{}",
        section("a", &near, "b", &far)
    );
    let active = BoxUnderTest::start_inside(middle, &config);
    let begin_standby = || {
        let rest = section("b", &far, "a", &near) + POLICY;
        BoxUnderTest::start_with(tempfile::tempdir().unwrap(), &rest)
    };
    let standby = begin_standby();
    let _server = server.serve(8080, "python3", &format!("{PEERS} tcp-server 8080"));
    let mut streams = Streams::open(client, "10.9.0.2", 8080, 20);
    streams.go_on();
    wait_until_equal("what began", &active, &standby, 20);
    // It has connections of its own besides, of which its peer is told nothing: nobody has answered them.
    assert_eq!(standby.tell("conntrack -C -p udp --standby"), "0\n");
    assert!(standby.tell("conntrack -L -p udp").contains("src=10.0.0.1 "));

    // What the active box has, an operator changes there.
    let left = "20 more are of another box, for which this one stands by: do it there.";
    for verb in ["-D -d 10.9.0.2", "-U -d 10.9.0.2 --mark 7"] {
        let said = standby.ask(&format!("conntrack {verb}"));
        assert!(!said.status.success() && text(&said.stderr).contains(left), "{verb}: {said:?}");
        assert!(text(&said.stderr).contains(": 0 flow entries have been "), "{said:?}");
    }
    assert!(text(&standby.ask("conntrack -F").stderr).contains(left));
    assert_eq!(standby.tell("conntrack -C --standby"), "20\n");
    active.tell("conntrack -U -d 10.9.0.2 --mark 7");
    wait_for("the marks", || standby.tell("conntrack -C --standby --mark 7") == "20\n");

    drop(standby);
    let standby = begin_standby();
    wait_until_equal("a bulk, as the standby has begun anew", &active, &standby, 20);

    near.kill();
    wait_for("the loss of Redis", || active.tell("ha status").contains(" DOWN\n"));
    let mut more = Streams::open(client, "10.9.0.2", 8080, 5);
    more.go_on();
    streams.go_on();
    near.start();
    wait_until_equal("a bulk, as Redis is back", &active, &standby, 25);

    for garbage in ["", "garbage", "A\u{1}longer garbage that is as long as a header of a stream entry"] {
        near.ask(&["XADD", "sluice:test:a:all", "*", "r", garbage]);
    }
    near.ask(&["XADD", "sluice:test:a:all", "*", "other", "field", "more", "fields"]);
    let page = || {
        let page = format!("http://127.0.0.1:{}/metrics", standby.metrics_port());
        text(&Command::new("curl").args(["-sSf", "--noproxy", "*", &page]).output().unwrap().stdout)
    };
    wait_for("garbage to be counted", || {
        page().contains("sluice_ha_install_failures_total{peer=\"a\",group=\"all\",reason=\"damaged\"} 4\n")
    });

    streams.close();
    wait_for("the ends", || active.tell("conntrack -L --state TIME_WAIT").lines().count() == 20);
    wait_until_equal("their states", &active, &standby, 25);
    let page = page();
    for line in [
        "sluice_ha_engine_up 1",
        "sluice_ha_peer_up{peer=\"a\",group=\"all\"} 1",
        "sluice_ha_synced{peer=\"a\",group=\"all\"} 1",
        "sluice_ha_standby_entries{shard=\"0\"} 25",
        "sluice_ha_dirty_entries{shard=\"0\"} 0",
        "sluice_ha_ends_lost_total{shard=\"0\"} 0",
        "sluice_ha_bulks_total{peer=\"a\",group=\"all\"} 2",
    ] {
        assert!(page.contains(&format!("{line}\n")), "{line}: {page}");
    }
    assert!(
        page.contains("sluice_ha_lag_seconds{peer=\"a\",group=\"all\"} ")
            && page.contains("sluice_ha_term{group=\"all\"} 1"),
        "{page}"
    );
    let status = standby.tell("ha status");
    assert!(status.starts_with("box b of cluster test\nredis unix:///"), "{status}");
    assert!(status.contains("stands by for 25 connections") && status.contains(" synced: lag "), "{status}");
    let json: serde_json::Value = serde_json::from_str(&standby.tell("ha status --json")).unwrap();
    assert_eq!((&json["box"], &json["standby_entries"]), (&"b".into(), &25.into()), "{json}");
    more.close();
}

#[test]
fn a_box_of_no_cluster_says_so() {
    let daemon = BoxUnderTest::start();
    let output = daemon.ask("ha status");
    assert!(!output.status.success() && text(&output.stderr).contains("the box is of no cluster (ha)"));
    assert_eq!(daemon.tell("conntrack -C --standby"), "0\n");
}
