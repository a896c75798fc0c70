//! A configuration changes while packets flow.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::{Child, Command, Stdio};

use crate::box_under_test::{BoxUnderTest, POLICY, sluice, text, wait_for, write_endless};

#[test]
fn a_reload_changes_all_or_nothing_and_loses_no_entry() {
    let daemon = BoxUnderTest::start();
    let refused = |why: &str| {
        let output = daemon.ask("reload");
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains(why) && !said.contains("sluice: error"), "{said}");
        assert_eq!(revision(&daemon), 1, "{why}");
    };
    daemon.write_config("policy: {default: sometimes}\n");
    refused("sometimes");
    daemon.write_config("helpers: {fpt: {}}\n");
    refused("unknown key `fpt`");
    daemon.write_config("");
    let larger = std::fs::read_to_string(daemon.path("box.yaml")).unwrap().replace("10K", "20K");
    std::fs::write(daemon.path("box.yaml"), larger).unwrap();
    refused("only a restart can change conntrack.max-entries");

    daemon.write_config("policy: {default: drop}\n");
    let cut = "it cuts 1202 connections: 1202 policy\n";
    assert_eq!(daemon.tell("reload"), format!("configuration 2 is in force\n{cut}"));
    assert_eq!(daemon.tell("conntrack -C"), "1202\n");

    daemon.write_config(POLICY);
    daemon.signal("HUP");
    wait_for("the reload by signal", || revision(&daemon) == 3);
    daemon.write_config("conntrack: []\n");
    daemon.signal("HUP");
    wait_for("the refusal", || daemon.stderr().matches("nothing was changed").count() == 4);
    assert_eq!((revision(&daemon), daemon.tell("conntrack -C")), (3, "1202\n".to_owned()));
}

/// What a reload says that cuts nothing.
fn in_force(revision: u64) -> String {
    format!("configuration {revision} is in force\nit cuts no connection\n")
}

fn stats(daemon: &BoxUnderTest) -> serde_json::Value {
    serde_json::from_str(&daemon.tell("stats --json")).unwrap()
}

fn revision(daemon: &BoxUnderTest) -> u64 {
    stats(daemon)["revision"].as_u64().unwrap()
}

fn packets_received(daemon: &BoxUnderTest) -> u64 {
    stats(daemon)["ports"][0]["rx_packets"].as_u64().unwrap()
}

#[test]
fn no_packet_is_lost_while_configurations_change() {
    let directory = tempfile::tempdir().unwrap();
    write_endless(directory.path(), POLICY);
    let mut daemon = BoxUnderTest::spawn(directory, sluice());
    wait_for("the flows", || daemon.tell("conntrack -C") == "1202\n");
    for number in 2..=20 {
        // So that each configuration meets packets, however slow the machine is.
        let before = packets_received(&daemon);
        wait_for("the capture to go round", || packets_received(&daemon) > before + 1204);
        assert_eq!(daemon.tell("reload"), in_force(number));
        assert_eq!(daemon.tell("conntrack -C"), "1202\n");
    }
    let drops: serde_json::Value = serde_json::from_str(&daemon.tell("drops --json")).unwrap();
    let reasons = drops["drops"].as_array().unwrap().iter().filter(|reason| reason["packets"] != 0);
    let reasons: Vec<_> = reasons.map(|reason| reason["name"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["truncated", "policy"], "what the capture and the rules ask for, and nothing else");

    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    let said = daemon.stderr();
    let summary = said.lines().find_map(|line| line.split_once("stopped; ")).unwrap().1;
    let numbers: Vec<u64> = summary.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [received, sent, dropped, entries] = numbers[..] else { panic!("{summary}") };
    assert!(received > 19 * 1204 && received == sent + dropped && entries == 1202, "{summary}");
}

/// Asks for a reload and does not wait for it.
fn begin_reload(daemon: &BoxUnderTest) -> Child {
    let mut command = sluice();
    command.arg("reload").arg("--socket").arg(daemon.socket()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn a_file_that_takes_long_to_read_keeps_nobody_waiting() {
    let mut daemon = BoxUnderTest::start();
    let config = fs::read(daemon.path("box.yaml")).unwrap();
    // Whoever reads it waits for as long as the test does not write and close it.
    fs::remove_file(daemon.path("box.yaml")).unwrap();
    assert!(Command::new("mkfifo").arg(daemon.path("box.yaml")).status().unwrap().success());
    let open_when_it_is_read = || OpenOptions::new().write(true).open(daemon.path("box.yaml")).unwrap();

    let first = begin_reload(&daemon);
    let mut file = open_when_it_is_read();
    assert_eq!((revision(&daemon), daemon.tell("conntrack -C")), (1, "1202\n".to_owned()));
    file.write_all(&config).unwrap();
    drop(file);
    assert_eq!(text(&first.wait_with_output().unwrap().stdout), in_force(2));

    let second = begin_reload(&daemon);
    let file = open_when_it_is_read();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0), "nor does the end wait for it");
    drop(file);
    assert_eq!(second.wait_with_output().unwrap().status.code(), Some(1));
}

/// The ports of its addresses would take 1.7 gigabytes if all were written.
const LARGE_POOL: &str = "\
policy: { default: accept }
nat: { source: [{ protocol: tcp, to: 203.0.112.0-203.0.127.255 }] }
";

#[test]
fn a_large_pool_takes_memory_where_it_is_used() {
    let daemon = BoxUnderTest::start_with(tempfile::tempdir().unwrap(), LARGE_POOL);
    for number in 2..=4 {
        assert_eq!(daemon.tell("reload"), in_force(number));
    }
    assert!(daemon.resident_kib() < 1 << 20, "{} KiB", daemon.resident_kib());
}
