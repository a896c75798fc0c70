//! What an operator hears of a new configuration before it is in force: what becomes otherwise, and which connections it cuts.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::box_under_test::{BoxUnderTest, FLOWS, POLICY, text, wait_for};

/// Drops what has the ports of two flows, and all of TCP.
const STRICTER: &str = "\
policy:
  default: accept
  rules:
    - { name: no-doom, protocol: udp, destination-port: 666, action: drop }
    - { name: no-tcp, protocol: tcp, action: drop }
    - { name: not-these, protocol: udp, source-port: 7-8, action: drop }
    - { name: nor-answers, protocol: udp, destination-port: 7-8, action: drop }
";

/// Writes a file like that of the daemon, which ends so; gives its path.
fn write_new(daemon: &BoxUnderTest, rest: &str) -> String {
    let configured = fs::read_to_string(daemon.path("box.yaml")).unwrap();
    let (head, _) = configured.split_once("policy:").unwrap();
    let file = daemon.path("new.yaml");
    fs::write(&file, head.to_owned() + rest).unwrap();
    file.display().to_string()
}

/// The entries, but for how long they have left.
fn entries(daemon: &BoxUnderTest) -> BTreeSet<String> {
    let listing = daemon.tell("conntrack -L");
    let entry = |line: &str| line.split_whitespace().filter(|word| word.parse::<u64>().is_err()).collect();
    listing.lines().map(entry).collect()
}

#[test]
fn what_a_reload_would_cut_is_said_before_and_after() {
    let daemon = BoxUnderTest::start();
    let all = usize::from(FLOWS) + 2;
    let new = write_new(&daemon, STRICTER);
    let before = entries(&daemon);

    let said = daemon.tell(&format!("diff {new}"));
    assert!(said.starts_with("policy.rules\n  - box.yaml:") && said.contains("new.yaml:"), "{said}");
    assert!(said.ends_with("a reload puts this in force\nit cuts 3 connections: 3 policy\n"), "{said}");

    let said = daemon.tell(&format!("diff --connections {new}"));
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("[policy]")).collect();
    assert_eq!(lines.len(), 3, "{said}");
    for part in ["[policy] tcp      6 ", "sport=7 dport=53", "sport=8 dport=53"] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {said}");
    }
    let json: Value =
        serde_json::from_str(&daemon.tell(&format!("diff --connections --json {new}"))).unwrap();
    assert_eq!((&json["cuts"]["connections"], &json["needs_restart"]), (&3.into(), &Value::Array(vec![])));
    let of_tcp = |shown: &&Value| shown["connection"]["protocol"] == "tcp" && shown["reason"] == "policy";
    assert_eq!(json["connections"].as_array().unwrap().iter().filter(of_tcp).count(), 1, "{json}");

    assert_eq!(entries(&daemon), before, "nothing is changed");
    assert!(daemon.tell("stats").contains("configuration 1 of"));

    let all_of_them = write_new(&daemon, "policy: { default: drop }\n");
    let said = daemon.tell(&format!("diff --connections {all_of_them}"));
    assert_eq!(said.matches("[policy]").count(), all, "page by page, each once");

    daemon.write_config(STRICTER);
    let said = daemon.tell("reload");
    assert_eq!(said, "configuration 2 is in force\nit cuts 3 connections: 3 policy\n");
    wait_for("the log", || daemon.stderr().contains("configuration 2: it cuts 3 connections: 3 policy"));
    assert!(
        daemon.tell(&format!("diff {}", daemon.path("box.yaml").display())).starts_with("no difference\n")
    );
}

/// The rules of NAT are for connections that begin: those that are open go on as they are.
#[test]
fn what_would_be_translated_otherwise_is_said_before_a_reload() {
    let daemon = BoxUnderTest::start();
    let rest = "\
nat: { source: [{ protocol: udp, source-port: 7-8, to: 192.0.2.7 }] }
policy: { default: accept, rules: [{ protocol: tcp, action: drop }] }
";
    let new = write_new(&daemon, rest);
    let before = entries(&daemon);
    let said = daemon.tell(&format!("diff --connections {new}"));
    let counted = "\
it cuts 1 connection: 1 policy
2 connections go on, but would be translated otherwise if they began now
";
    assert!(said.contains(counted), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("[stale-nat] udp ")).collect();
    assert_eq!(lines.len(), 2, "{said}");
    for part in ["sport=7 dport=53", "sport=8 dport=53"] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {said}");
    }
    let json: Value =
        serde_json::from_str(&daemon.tell(&format!("diff --connections --json {new}"))).unwrap();
    assert_eq!((&json["cuts"]["connections"], &json["stale_nat"]), (&1.into(), &2.into()), "{json}");
    let is_stale =
        |shown: &&Value| shown["reason"] == "stale-nat" && shown["connection"]["protocol"] == "udp";
    assert_eq!(json["connections"].as_array().unwrap().iter().filter(is_stale).count(), 2, "{json}");

    daemon.write_config(rest);
    assert_eq!(daemon.tell("reload"), "configuration 2 is in force\nit cuts 1 connection: 1 policy\n");
    assert_eq!(entries(&daemon), before, "all of them as they were");
}

#[test]
fn what_cannot_be_put_in_force_cuts_nothing() {
    let daemon = BoxUnderTest::start();
    let refused = |arguments: &str, code: i32| {
        let output = daemon.ask(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    };
    let new = write_new(&daemon, POLICY);
    fs::write(&new, fs::read_to_string(&new).unwrap().replace("10K", "20K")).unwrap();
    let said = refused(&format!("diff {new}"), 3);
    assert!(said.ends_with("only a restart can change conntrack.max-entries\n"), "{said}");
    fs::write(&new, fs::read_to_string(&new).unwrap().replace("20K", "1000")).unwrap();
    let said = daemon.tell(&format!("diff {new}"));
    let beyond = "it cuts no connection\n202 connections are more than conntrack.max-entries: they give way";
    assert!(said.contains(beyond), "{said}");
    fs::write(&new, "version: 1\ninterfaces: []\n").unwrap();
    assert!(refused(&format!("diff {new}"), 1).contains("new.yaml:2"));
    assert!(refused(&format!("diff --connections {new} {new}"), 1).contains("connections are a daemon's"));
    let answer = daemon.say(b"{\"request\":\"cuts\",\"number\":9}\n");
    assert!(answer.contains("ask anew"), "{answer}");
    assert!(daemon.say(b"{\"request\":\"consider\",\"file\":\"-\"}\n").contains("a path from the root"));
}

#[test]
fn what_is_in_force_is_shown_as_it_was_written() {
    let daemon = BoxUnderTest::start();
    let written = fs::read_to_string(daemon.path("box.yaml")).unwrap();
    let shown = daemon.tell("config");
    let sum = Command::new("sha256sum").arg(daemon.path("box.yaml")).output().unwrap();
    let sum = text(&sum.stdout).split_whitespace().next().unwrap().to_owned();
    assert!(shown.starts_with("# configuration 1 of box.yaml, in force since "), "{shown}");
    assert!(shown.ends_with(&format!("\n# sha256 {sum}\n{written}")), "{shown}");
    let all = || -> Value { serde_json::from_str(&daemon.tell("config --json")).unwrap() };
    let before = all();
    assert_eq!((&before["text"], &before["sha256"]), (&written.as_str().into(), &sum.as_str().into()));
    daemon.tell("timeouts set icmp 77");
    let after = all();
    assert_eq!((&after["text"], &after["sha256"]), (&before["text"], &before["sha256"]));
    assert_ne!(after["yaml"], before["yaml"], "what has been changed since is in it");
}

#[test]
fn the_log_says_as_much_as_is_asked_for() {
    let daemon = BoxUnderTest::start();
    assert_eq!(daemon.tell("log-level"), "info\n");
    assert_eq!(daemon.tell("log-level debug"), "debug\n");
    daemon.tell("ports");
    wait_for("what is asked", || daemon.stderr().contains("DEBUG asked: Ports"));
    assert_eq!((daemon.tell("log-level warn"), daemon.tell("log-level")), ("warn\n".into(), "warn\n".into()));
    daemon.tell("reload");
    daemon.tell("drops");
    assert!(!daemon.stderr().contains("is in force") && !daemon.stderr().contains("asked: Drops"));
}
