//! Named sets, as the operator changes them while packets flow.

use std::fs;

use crate::box_under_test::{BoxUnderTest, text, wait_for};
use crate::namespaces::{Row, ip};

const SETS: &str = "\
sets:
  blocked: { prefixes: [192.0.2.0/24], file: blocked.txt }
  friends: {}
policy:
  default: accept
  rules: [{ name: no, source: '@blocked', action: drop }, { name: yes, source: ['@friends', 10.9.0.0/16], action: accept }]
";

fn refused(daemon: &BoxUnderTest, arguments: &str) -> String {
    let output = daemon.ask(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments}: {}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn sets_change_until_the_next_reload() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("blocked.txt"), "2001:db8::/32 # bad\n198.51.100.7\n").unwrap();
    let daemon = BoxUnderTest::start_with(directory, SETS);
    let shown = |name: &str| {
        daemon.tell(&format!("set show {name}")).lines().map(str::to_owned).collect::<Vec<String>>()
    };
    let as_in_file = ["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32"];
    assert_eq!(shown("blocked"), as_in_file);

    assert_eq!(
        daemon.tell("set add blocked 10.0.0.7 192.0.2.0/24"),
        "set blocked: 1 added, 0 deleted, 4 prefixes\n"
    );
    assert_eq!(
        daemon.tell("set delete blocked 198.51.100.7"),
        "set blocked: 0 added, 1 deleted, 3 prefixes\n"
    );
    assert_eq!(shown("blocked"), ["10.0.0.7/32", "192.0.2.0/24", "2001:db8::/32"]);
    fs::write(daemon.path("other.txt"), "203.0.113.0/24\n").unwrap();
    let other = daemon.path("other.txt");
    let replaced = daemon.tell(&format!("set replace friends {}", other.display()));
    assert_eq!(replaced, "set friends: 1 added, 0 deleted, 1 prefixes\n");
    assert_eq!(daemon.tell("set flush friends"), "set friends: 0 added, 1 deleted, 0 prefixes\n");
    let list = daemon.tell("set list");
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        (rows[1][..3].to_vec(), rows[2][..3].to_vec()),
        (vec!["blocked", "2", "1"], vec!["friends", "0", "0"])
    );
    assert!(rows[1][4].ends_with("/blocked.txt") && rows[2][4] == "-", "{list}");

    assert!(
        refused(&daemon, "set add bloked 10.0.0.7")
            .contains("there is no set `bloked`; did you mean `@blocked`?")
    );
    assert!(
        refused(&daemon, "set delete blocked 10.0.0.8").contains("10.0.0.8/32 is not in the set blocked")
    );
    fs::write(&other, "203.0.113.0/24\nnonsense\n").unwrap();
    let wrong = refused(&daemon, &format!("set replace friends {}", other.display()));
    assert!(wrong.contains("other.txt:2:1") && wrong.contains("nonsense"), "{wrong}");
    assert!(refused(&daemon, "set replace friends /dev/null").contains("no regular file"));

    fs::write(daemon.path("blocked.txt"), "198.51.100.7/33\n").unwrap();
    let wrong = refused(&daemon, "reload");
    assert!(wrong.contains("blocked.txt:1:1"), "{wrong}");
    assert_eq!(shown("blocked").len(), 3, "nothing was changed");
    fs::write(daemon.path("blocked.txt"), "198.51.100.9\n").unwrap();
    daemon.tell("reload");
    assert_eq!(shown("blocked"), ["192.0.2.0/24", "198.51.100.9/32"]);
}

/// Who is added is cut off at once, in the middle of a connection, and goes on when it is deleted again.
#[test]
fn a_change_holds_from_the_next_packet_on() {
    let Some(row) = Row::new("sets", &["10.0.0.2/24"], &["203.0.113.2/24"]) else { return };
    let [client, middle, server] = row.namespaces();
    for (host, gateway) in [(client, "10.0.0.1"), (server, "203.0.113.1")] {
        assert!(ip(&format!("-n {host} route add default via {gateway}")));
    }
    let config = "version: 1
system: { cores: { control: 0, workers: [0] }, memory: { hugepages: 512M } }
interfaces:
  inside: { device: 'vdev:net_af_packet0,iface=inside', addresses: [10.0.0.1/24] }
  outside: { device: 'vdev:net_af_packet1,iface=outside', addresses: [203.0.113.1/24] }
conntrack: { max-entries: 1K }
sets: { blocked: {} }
policy: { default: accept, rules: [{ name: blocked, source: '@blocked', action: drop }] }
";
    let daemon = BoxUnderTest::start_inside(middle, config);
    let _ping = client.start("ping", "-n -i 0.05 203.0.113.2");
    let packets_of = |rule: &str| -> u64 {
        let stats: serde_json::Value = serde_json::from_str(&daemon.tell("stats --json")).unwrap();
        let rules = stats["rules"].as_array().unwrap().iter();
        rules.filter(|it| it["rule"] == rule).map(|it| it["packets"].as_u64().unwrap()).sum()
    };
    wait_for("pings to pass", || packets_of("default") > 10);
    daemon.tell("set add blocked 10.0.0.0/24");
    let before = packets_of("default");
    wait_for("pings to be dropped", || packets_of("blocked") > 10);
    assert_eq!(packets_of("default"), before, "none passes any more");
    daemon.tell("set flush blocked");
    wait_for("pings to pass again", || packets_of("default") > before + 10);
}
