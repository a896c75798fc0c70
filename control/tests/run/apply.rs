//! Another file takes the place of the configured one: for a time, until it is confirmed, or at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::box_under_test::{BoxUnderTest, POLICY, sluice, text, wait_for, write_capture, write_config};

/// A daemon with a state directory, in a directory that has `new.yaml`, too, by which all packets are dropped.
fn start() -> BoxUnderTest {
    let directory = tempfile::tempdir().unwrap();
    write_capture(&directory.path().join("in.pcap"));
    write_config(directory.path(), "policy: { default: drop, rules: [{ name: newer, action: drop }] }\n");
    fs::rename(directory.path().join("box.yaml"), directory.path().join("new.yaml")).unwrap();
    write_config(directory.path(), POLICY);
    spawn(directory)
}

fn spawn(directory: tempfile::TempDir) -> BoxUnderTest {
    let mut command = sluice();
    command.env("STATE_DIRECTORY", directory.path().join("state"));
    BoxUnderTest::spawn(directory, command)
}

fn apply(daemon: &BoxUnderTest, how: &str) -> String {
    format!("apply {how} {}", daemon.path("new.yaml").display())
}

/// Which of the two is in force, by a rule of it.
fn is_in_force(daemon: &BoxUnderTest, rule: &str) -> bool {
    daemon.tell("stats").contains(rule)
}

fn refused(daemon: &BoxUnderTest, arguments: &str) -> String {
    let output = daemon.ask(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments}");
    text(&output.stderr)
}

#[test]
fn what_nobody_confirms_is_taken_back_by_the_daemon_alone() {
    let daemon = start();
    wait_for("the capture to be tracked", || daemon.tell("conntrack -C") == "1202\n");
    let said = daemon.tell(&apply(&daemon, "--confirm 1s"));
    assert!(said.starts_with("configuration 2 is in force for 1 s"), "{said}");
    assert!(said.ends_with("\nit cuts 1202 connections: 1202 policy\n"), "{said}");
    // Who has asked is gone by now.
    wait_for("what was before", || is_in_force(&daemon, "no-doom"));
    let log = daemon.stderr();
    assert!(log.contains("configuration 2 was not confirmed in time"), "{log}");
    assert!(refused(&daemon, "confirm").contains("there is nothing to confirm"));

    daemon.tell(&apply(&daemon, "--confirm 1h"));
    assert!(is_in_force(&daemon, "newer"));
    on_trial(&daemon);
    let said = refused(&daemon, &apply(&daemon, ""));
    assert!(said.contains("configuration 4 waits for being confirmed"), "{said}");
    assert_eq!(daemon.tell("reload"), "configuration 5 is in force\nit cuts no connection\n");
    assert!(!daemon.tell("stats").contains("ON TRIAL"));
    assert!(is_in_force(&daemon, "no-doom"));
    assert!(refused(&daemon, "confirm").contains("there is nothing to confirm"), "the reload has ended it");
}

/// Whoever looks sees which file is on trial, and what comes back when its time is over.
fn on_trial(daemon: &BoxUnderTest) {
    let shown = daemon.tell("stats");
    let named = |line: &str, file: &str| {
        shown.lines().any(|it| it.starts_with(line) && it.contains(&daemon.path(file).display().to_string()))
    };
    assert!(named("configuration 4 of ", "new.yaml"), "{shown}");
    assert!(
        shown.contains("\nON TRIAL: in 35") && shown.contains(" s box.yaml comes back as it was"),
        "{shown}"
    );
    let said: serde_json::Value = serde_json::from_str(&daemon.tell("config --json")).unwrap();
    let left_s = said["trial"]["left_s"].as_u64().unwrap();
    assert!((3500..=3600).contains(&left_s), "{said}");
    assert_eq!((&said["revision"], &said["trial"]["before"]["file"]), (&4.into(), &"box.yaml".into()));
}

#[test]
fn a_daemon_that_starts_anew_goes_by_what_was_confirmed() {
    let daemon = start();
    let configured = fs::read(daemon.path("box.yaml")).unwrap();
    daemon.tell(&apply(&daemon, "--confirm 1h"));
    let daemon = restart(daemon);
    assert!(is_in_force(&daemon, "no-doom"));
    assert_eq!(fs::read(daemon.path("box.yaml")).unwrap(), configured);
    let last_good = fs::read_to_string(daemon.path("state/last-good.yaml")).unwrap();
    assert!(last_good.contains("no-doom"), "{last_good}");

    fs::set_permissions(daemon.path("box.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    daemon.tell(&apply(&daemon, "--confirm 1h"));
    let said = daemon.tell("confirm");
    assert!(said.starts_with("configuration 2 is in force, and is in /"), "{said}");
    let [configured, new] = ["box.yaml", "new.yaml"].map(|name| fs::read(daemon.path(name)).unwrap());
    assert_eq!(configured, new);
    assert_eq!(fs::metadata(daemon.path("box.yaml")).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(is_in_force(&restart(daemon), "newer"));
}

#[test]
fn a_file_is_applied_at_once_or_nothing_is_changed() {
    let daemon = start();
    let configured = fs::read(daemon.path("box.yaml")).unwrap();
    let new = fs::read_to_string(daemon.path("new.yaml")).unwrap();
    fs::write(daemon.path("new.yaml"), new.replace("policy:", "polcy:")).unwrap();
    assert!(refused(&daemon, &apply(&daemon, "--confirm 1h")).contains("new.yaml"));
    fs::write(daemon.path("new.yaml"), new.replace("10K", "20K")).unwrap();
    assert!(refused(&daemon, &apply(&daemon, "")).contains("only a restart can change"));
    assert!(daemon.say(b"{\"request\":\"apply\",\"file\":\"-\"}\n").contains("a path from the root"));
    assert!(refused(&daemon, &apply(&daemon, "--confirm 0s")).contains("in no time"));
    let itself = format!("apply --confirm 1h {}", daemon.path("box.yaml").display());
    assert!(refused(&daemon, &itself).contains("the configured file itself"));
    assert_eq!(fs::read(daemon.path("box.yaml")).unwrap(), configured);
    assert!(is_in_force(&daemon, "no-doom"));

    fs::write(daemon.path("new.yaml"), &new).unwrap();
    daemon.tell(&apply(&daemon, ""));
    assert!(is_in_force(&daemon, "newer"));
    assert_eq!(fs::read_to_string(daemon.path("box.yaml")).unwrap(), new);
}

/// Kills a daemon and starts another one in its directory.
fn restart(mut daemon: BoxUnderTest) -> BoxUnderTest {
    daemon.signal("KILL");
    daemon.wait();
    spawn(std::mem::replace(&mut daemon.directory, tempfile::tempdir().unwrap()))
}
