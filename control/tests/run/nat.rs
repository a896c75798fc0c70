//! What the operator sees of address translation.

use crate::box_under_test::{BoxUnderTest, FLOWS, text, wait_for};
use crate::metrics::{scrape, value};

/// Ports of a pool that the flows of the capture use up.
const PORTS: u16 = 1000;

const NAT: &str = "\
policy: { default: accept }
nat:
  source:
    - { name: here, source: 10.0.0.3, keep: true }
    - { name: guests, protocol: udp, to: 203.0.113.10, ports: 2000-2999 }
    - { protocol: tcp, to: 203.0.113.11-203.0.113.12 }
  destination:
    - { protocol: tcp, destination: 192.0.2.1, to: 10.0.0.5 }
    - { name: moved, protocol: tcp, to: 10.0.0.6 }
";

/// What the pool serves: these flows, and two to other ports of the server, for which its ports serve once more.
const BOUND: u16 = PORTS + 2;

#[test]
fn pools_and_owners_are_shown() {
    let daemon = BoxUnderTest::start_with(tempfile::tempdir().unwrap(), NAT);
    wait_for("the capture to be tracked", || daemon.tell("conntrack -C").trim() == (BOUND + 1).to_string());
    pools(&daemon);
    rules(&daemon);
    owners(&daemon);
    filters(&daemon);
    metrics(&daemon);
}

fn pools(daemon: &BoxUnderTest) {
    let shown = daemon.tell("nat pools");
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    let exhausted = (FLOWS - PORTS).to_string();
    assert_eq!(rows[1], ["guests", "1", "0/1000", "1000/1000", "0/1000", "1002", &exhausted], "{shown}");
    assert_eq!(rows[2], ["source-2", "2", "1/129024", "0/129024", "0/131072", "1", "0"], "{shown}");
    assert_eq!(rows.len(), 3, "{shown}");
    let json: serde_json::Value = serde_json::from_str(&daemon.tell("nat pools --json")).unwrap();
    assert_eq!(json["pools"][0]["used"]["udp"], PORTS);
}

/// Those of the capture, and none that no flow meets.
fn rules(daemon: &BoxUnderTest) {
    let shown = daemon.tell("nat rules");
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["rule", "side", "bound"], "{shown}");
    let expected = [
        ["destination-0", "destination", "0"],
        ["moved", "destination", "1"],
        ["guests", "source", "1002"],
        ["source-2", "source", "1"],
    ];
    assert_eq!(rows[1..], expected, "{shown}");
}

fn owners(daemon: &BoxUnderTest) {
    let owned = |port: u16| daemon.tell(&format!("nat who-owns 203.0.113.10:{port}"));
    let all: Vec<String> = (2000..3000)
        .step_by(100)
        .flat_map(|port| owned(port).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(all.len() >= 10 && all.iter().all(|line| line.contains("src=10.0.0.1 dst=10.0.0.2")), "{all:?}");
    assert!(owned(2000).contains("src=10.0.0.2 dst=203.0.113.10 sport=53 dport=2000"), "{}", owned(2000));
    assert_eq!(owned(3000), "");
    assert_eq!(daemon.tell("nat who-owns 203.0.113.10:2000 -p tcp"), "");
    let json: serde_json::Value =
        serde_json::from_str(daemon.tell("nat who-owns 203.0.113.10:2000 -o json").lines().next().unwrap())
            .unwrap();
    assert!(json["status"].as_array().unwrap().contains(&"SRC_NAT".into()), "{json}");
    let refused = daemon.ask("nat who-owns 203.0.113.10");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("[2001:db8::1]:443"));
}

fn filters(daemon: &BoxUnderTest) {
    let count = |filter: &str| daemon.tell(&format!("conntrack -L {filter}")).lines().count();
    let all = usize::from(BOUND) + 1;
    assert_eq!((count("--src-nat"), count("-j"), count("--dst-nat")), (all, all, 1));
    assert_eq!((count("-n 203.0.113.10"), count("-g 203.0.113.10")), (all - 1, 0));
    assert_eq!(count("-q 203.0.113.10 -p tcp"), 0);
}

fn metrics(daemon: &BoxUnderTest) {
    let failures = r#"sluice_nat_allocation_failures_total{pool="guests",reason="nat-exhausted"}"#;
    let expected = (FLOWS - PORTS).to_string();
    wait_for("the counters to be published", || value(&scrape(daemon), failures) == Some(expected.clone()));
    let scraped = scrape(daemon);
    for (sample, expected) in [
        (r#"sluice_nat_pool_ports{pool="guests",proto="udp"}"#, "1000"),
        (r#"sluice_nat_pool_ports_used{pool="guests",proto="udp"}"#, "1000"),
        (r#"sluice_nat_pool_ports_used{pool="source-2",proto="tcp"}"#, "1"),
        (r#"sluice_nat_allocation_failures_total{pool="source-2",reason="nat-exhausted"}"#, "0"),
        (r#"sluice_nat_rule_connections_total{rule="moved",side="destination"}"#, "1"),
        (r#"sluice_nat_rule_connections_total{rule="guests",side="source"}"#, "1002"),
    ] {
        assert_eq!(value(&scraped, sample).as_deref(), Some(expected), "{sample} in\n{scraped}");
    }
    assert!(!scraped.contains("203.0.113."), "an address is no label");

    // Each configuration counts from zero; what Prometheus gets does not go back, and a pool that is gone has nothing.
    daemon.write_config("policy: { default: accept }\nnat: { source: [{ name: others, to: 203.0.113.10, ports: 2000-2999 }] }\n");
    daemon.tell("reload");
    assert!(daemon.tell("nat pools").contains(" 1000/1000 "), "connections keep their ports over a reload");
    let scraped = scrape(daemon);
    assert_eq!(value(&scraped, failures).as_deref(), Some(expected.as_str()));
    assert_eq!(value(&scraped, r#"sluice_nat_pool_ports{pool="guests",proto="udp"}"#).as_deref(), Some("0"));
}
