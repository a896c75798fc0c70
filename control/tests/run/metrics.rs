//! What Prometheus gets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::box_under_test::{BoxUnderTest, POLICY, wait_for};

/// What reads the capture's datagrams, none of which is a request.
const HELPERS: &str = "helpers: [{ name: tftp, ports: 53 }]\n";

/// A rule that is about nobody: what it has to give is published all the same.
const NAT: &str = "nat: { source: [{ name: nobody, source: 192.0.2.0/24, to: 203.0.113.10 }] }\n";

/// A set that no rule looks into.
const SETS: &str = "sets: { blocked: { prefixes: [192.0.2.0/24, '2001:db8::/32'] } }\n";

/// A cluster that nobody answers for.
const HA: &str = "ha: { cluster: edge, box: a, engine: { url: 'unix:///nonexistent/a' }, peers: { b: { url: 'unix:///nonexistent/b' } } }\n";

#[test]
fn metrics_are_served_and_sound() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let export = format!("export: {{ journal: {{ directory: {}, size: 100M }} }}\n", journal.display());
    let daemon = BoxUnderTest::start_with(directory, &format!("{POLICY}{NAT}{SETS}{HELPERS}{HA}{export}"));
    wait_for("the counters to be published", || {
        value(&scrape(&daemon), r#"sluice_conntrack_inserts_total{shard="0"}"#) == Some("1202".to_owned())
    });
    let scraped = scrape(&daemon);
    let expected = [
        (r#"sluice_conntrack_entries{shard="0",proto="udp",state="NONE"}"#, "1201"),
        (r#"sluice_conntrack_entries{shard="0",proto="tcp",state="SYN_SENT"}"#, "1"),
        (r#"sluice_packet_drops_total{shard="0",reason="policy"}"#, "1"),
        (r#"sluice_packet_drops_total{shard="0",reason="no-route"}"#, "0"),
        (r#"sluice_packets_total{port="outside",direction="tx"}"#, "1202"),
        (r#"sluice_port_up{port="outside"}"#, "1"),
        (r#"sluice_policy_rule_packets_total{rule="no-doom"}"#, "1"),
        (r#"sluice_policy_rule_bytes_total{rule="no-doom"}"#, "28"),
        (r#"sluice_nat_pool_ports{pool="nobody",proto="tcp"}"#, "64512"),
        (r#"sluice_nat_pool_ports_used{pool="nobody",proto="tcp"}"#, "0"),
        (r#"sluice_set_prefixes{set="blocked"}"#, "2"),
        (r#"sluice_conntrack_signposts{shard="0"}"#, "0"),
        (r#"sluice_neighbours{shard="0",state="incomplete"}"#, "0"),
        (r#"sluice_neighbour_evictions_total{shard="0",state="stale"}"#, "0"),
        (r#"sluice_policy_rule_packets_total{rule="default"}"#, "1202"),
        (r#"sluice_helper_connections{shard="0",helper="tftp"}"#, "1200"),
        (r#"sluice_helper_assignments_total{shard="0",helper="tftp"}"#, "1200"),
        (r#"sluice_helper_expectations{shard="0",helper="tftp"}"#, "0"),
        (r#"sluice_helper_events_total{shard="0",helper="tftp",event="other-protocol"}"#, "1200"),
        (r#"sluice_helper_events_total{shard="0",helper="ftp",event="expected"}"#, "0"),
        ("sluice_ha_engine_up", "0"),
        (r#"sluice_ha_peer_up{peer="b",group="all"}"#, "0"),
        (r#"sluice_ha_install_failures_total{peer="b",group="all",reason="damaged"}"#, "0"),
        (r#"sluice_log_events_dropped_total{sink="journal"}"#, "0"),
        ("sluice_config_last_apply_success", "1"),
        ("sluice_conntrack_entries_limit", "10000"),
    ];
    for (sample, expected) in expected {
        assert_eq!(value(&scraped, sample).as_deref(), Some(expected), "{sample} in\n{scraped}");
    }
    assert_eq!(unaccounted(&scraped), 0, "{scraped}");
    each_sample_is_described(&scraped);
    no_address_is_a_label(&scraped);
    promtool_is_content(&scraped);
    alerts_and_dashboard_ask_for_what_there_is(&scraped);
    rules_go_on_over_a_reload(&daemon);
}

/// What a rule has counted goes on where the next configuration has it, too.
fn rules_go_on_over_a_reload(daemon: &BoxUnderTest) {
    daemon.tell("reload");
    let stats: serde_json::Value = serde_json::from_str(&daemon.tell("stats --json")).unwrap();
    assert_eq!(stats["rules"][1]["packets"], 1202);
    let default = r#"sluice_policy_rule_packets_total{rule="default"}"#;
    assert_eq!(value(&scrape(daemon), default).as_deref(), Some("1202"));
}

/// Whoever can reach the metrics can neither take the daemon's descriptors nor fill its log.
#[test]
fn scrapers_that_hang_or_talk_nonsense_harm_nobody() {
    let daemon = BoxUnderTest::start();
    let before = daemon.descriptors();
    let connect = || TcpStream::connect(("127.0.0.1", daemon.metrics_port())).unwrap();
    let connections: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
    for (number, mut stream) in connections.iter().enumerate() {
        let said = if number % 2 == 0 { "GET /metr" } else { "\u{16}\u{3}\u{1}\r\n\r\n" };
        // Those beyond the limit have been sent away.
        let _ = stream.write_all(said.as_bytes());
    }
    wait_for("the connections to be closed", || daemon.descriptors() < before + 20);
    assert!(daemon.threads().len() < 30, "{:?}", daemon.threads());
    let said = daemon.stderr();
    assert!(!said.contains("WARN Error") && said.lines().count() < 30, "{said}");
    assert_eq!(daemon.tell("conntrack -C"), "1202\n");
}

pub fn scrape(daemon: &BoxUnderTest) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.metrics_port())).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    body.to_owned()
}

/// The value of a sample, whatever the order of its labels.
pub fn value(scraped: &str, sample: &str) -> Option<String> {
    let parts = |sample: &str| sample.split(['{', '}', ',']).map(str::to_owned).collect::<BTreeSet<_>>();
    let lines = scraped.lines().filter_map(|line| line.rsplit_once(' '));
    lines.filter(|(name, _)| parts(name) == parts(sample)).map(|(_, value)| value.to_owned()).next()
}

/// What the metrics say of the packets that went in and have not left, were not dropped, delivered or held; 0 where all is accounted
/// for. What the box itself has said, and made of packets that were too large, has left besides.
pub fn unaccounted(scraped: &str) -> i64 {
    let sum = |name: &str, label: &str| -> i64 {
        let of_it = |line: &&str| line.split('{').next() == Some(name) && line.contains(label);
        let values =
            scraped.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next()?.parse::<i64>().ok());
        values.sum()
    };
    let both = |direction: &str| {
        let ways = ["sluice_packets_total", "sluice_host_packets_total"];
        ways.map(|name| sum(name, &format!("direction=\"{direction}\""))).iter().sum::<i64>()
    };
    let all = |names: &[&str]| names.iter().map(|name| sum(name, "")).sum::<i64>();
    let made = all(&["sluice_answers_total", "sluice_link_messages_total", "sluice_fragments_created_total"]);
    let ended = all(&[
        "sluice_packet_drops_total",
        "sluice_packets_delivered_total",
        "sluice_packets_held",
        "sluice_packets_fragmented_total",
    ]);
    both("rx") + made - both("tx") - ended
}

/// Each name has its HELP and TYPE, and is a counter exactly if it ends in `_total`.
fn each_sample_is_described(scraped: &str) {
    let mut help = BTreeSet::new();
    let mut types = BTreeMap::new();
    for line in scraped.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["#", "HELP", name, _, ..] => drop(help.insert(name)),
            ["#", "TYPE", name, kind] => drop(types.insert(name, kind)),
            _ => {}
        }
    }
    let samples = scraped.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for sample in samples {
        let name = sample.split(['{', ' ']).next().unwrap();
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        assert!(help.contains(name), "{name} has no help text");
        assert_eq!(types.get(name), Some(&kind), "{name}");
    }
    assert!(types.len() >= 24, "{types:?}");
}

fn no_address_is_a_label(scraped: &str) {
    assert!(!scraped.contains("10.0.0."));
}

/// Where Prometheus's own tool is there, it has nothing to say about the metrics, and takes the alerts.
fn promtool_is_content(scraped: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = command.spawn() else { return };
    promtool.stdin.take().unwrap().write_all(scraped.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus/alerts.yaml");
    let output = Command::new("promtool").args(["check", "rules", alerts]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What only a box has that has groups, hears a peer or asks a witness; that they do is tested elsewhere.
const OF_PAIRS: [&str; 3] = ["sluice_ha_depositions_total", "sluice_ha_lag_seconds", "sluice_ha_witness_up"];

fn alerts_and_dashboard_ask_for_what_there_is(scraped: &str) {
    let names = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        words.filter(|word| word.starts_with("sluice_")).map(str::to_owned).collect()
    };
    let mut there = names(scraped);
    there.extend(OF_PAIRS.map(str::to_owned));
    for file in ["prometheus/alerts.yaml", "grafana/sluice.json"] {
        let path = format!("{}/../deploy/{file}", env!("CARGO_MANIFEST_DIR"));
        let asked = names(&std::fs::read_to_string(path).unwrap());
        let missing: Vec<_> = asked.difference(&there).collect();
        assert!(asked.len() > 5 && missing.is_empty(), "{file}: {missing:?}");
    }
}
