//! A start with a configuration file that is wrong.

use crate::box_under_test::{BoxUnderTest, POLICY, sluice, text, write_capture, write_config};
use crate::metrics::{scrape, value};

/// Starts a daemon in this directory, which is also where its state is.
fn start(directory: tempfile::TempDir) -> BoxUnderTest {
    let mut command = sluice();
    command.env("STATE_DIRECTORY", directory.path().join("state"));
    BoxUnderTest::spawn(directory, command)
}

/// Ends a daemon and gives its directory.
fn end(mut daemon: BoxUnderTest) -> tempfile::TempDir {
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    std::mem::replace(&mut daemon.directory, tempfile::tempdir().unwrap())
}

fn assert_fallback(daemon: &BoxUnderTest, fallback: bool) {
    let stats: serde_json::Value = serde_json::from_str(&daemon.tell("stats --json")).unwrap();
    assert_eq!(stats["fallback"], fallback);
    assert_eq!(daemon.tell("stats").contains("FALLBACK"), fallback);
    let gauge = value(&scrape(daemon), "sluice_config_fallback");
    assert_eq!(gauge.as_deref(), Some(if fallback { "1" } else { "0" }));
}

#[test]
fn a_start_goes_on_with_the_last_good_configuration_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    write_capture(&directory.path().join("in.pcap"));
    write_config(directory.path(), "policy: { default: accept }\n");
    let daemon = start(directory);
    assert_fallback(&daemon, false);
    std::fs::write(daemon.path("list.txt"), "192.0.2.0/24\n").unwrap();
    daemon.write_config(&format!("sets: {{ listed: {{ file: list.txt }} }}\n{POLICY}"));
    daemon.tell("reload");
    // Neither the file nor what it names can be read at the next start.
    std::fs::write(daemon.path("list.txt"), "192.0.2.0/33\n").unwrap();

    let directory = end(daemon);
    write_config(directory.path(), "polcy: {}\n");
    let daemon = start(directory);
    assert_fallback(&daemon, true);
    let said = daemon.stderr();
    assert!(said.contains("polcy") && said.contains("ERROR FALLBACK: box.yaml is wrong"), "{said}");
    let stats = daemon.tell("stats");
    assert!(stats.contains("no-doom"), "that of the last reload is in force: {stats}");
    assert_eq!(daemon.tell("set show listed"), "192.0.2.0/24\n");
    assert_eq!(daemon.ask("reload").status.code(), Some(1), "the file is still wrong");
    assert_fallback(&daemon, true);
    daemon.write_config(POLICY);
    daemon.tell("reload");
    assert_fallback(&daemon, false);

    // Who wants to know at once may say so.
    let directory = end(daemon);
    write_config(directory.path(), "polcy: {}\n");
    let mut command = sluice();
    command.args(["run", "-c", "box.yaml", "--no-fallback"]).current_dir(directory.path());
    let output = command.env("STATE_DIRECTORY", directory.path().join("state")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("polcy"), "{}", text(&output.stderr));
}
