//! How a daemon begins and ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;
use std::time::Duration;

use crate::box_under_test::{
    BoxUnderTest, POLICY, sluice, spawn, text, wait_for, write_capture, write_config,
};

#[test]
fn sigterm_ends_it_with_a_summary_and_nothing_left_behind() {
    let mut daemon = BoxUnderTest::start();
    assert_eq!(fs::metadata(daemon.socket()).unwrap().permissions().mode() & 0o777, 0o660);
    wait_for("the rule's record", || daemon.stderr().contains("rule watched: IN=inside OUT=outside"));
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.stderr());
    let said = daemon.stderr();
    assert!(said.contains("stopped; 1204 packets received, 1202 sent, 2 dropped; 1202 entries"), "{said}");
    assert!(!daemon.socket().exists() && !daemon.path("run").exists());
    // A capture's header, and each frame behind a header of its own.
    let sent = fs::metadata(daemon.path("out.pcap")).unwrap().len();
    assert_eq!(sent, 24 + 1201 * (16 + 42) + 16 + 54, "every packet that was received was sent");
}

#[test]
fn the_service_manager_hears_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(directory.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let wait_for = |what: &str| {
        let mut message = [0; 4096];
        loop {
            let length = manager.recv(&mut message).unwrap_or_else(|why| panic!("{what}: {why}"));
            let said = text(&message[..length]);
            if said.lines().any(|line| line == what) {
                return said;
            }
        }
    };
    let mut daemon = BoxUnderTest::start_with(directory, POLICY);
    wait_for("READY=1");
    let status = wait_for("WATCHDOG=1");
    assert!(status.contains("STATUS=") && status.contains("of 10000 entries"), "{status}");
    daemon.signal("HUP");
    assert!(wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    wait_for("READY=1");
    daemon.signal("INT");
    wait_for("STOPPING=1");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_signal_ends_the_start_too() {
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), POLICY);
    write_capture(&directory.path().join("in.pcap"));
    let mut process = spawn(directory.path(), sluice());
    // It is there before the tables and the devices are.
    wait_for("the socket", || directory.path().join("run/control.sock").exists());
    assert!(Command::new("kill").arg(process.id().to_string()).status().unwrap().success());
    assert_eq!(process.wait().unwrap().code(), Some(0));
    let said = fs::read_to_string(directory.path().join("stderr")).unwrap();
    assert!(said.contains("stopped") && !directory.path().join("run").exists(), "{said}");
}

#[test]
fn nothing_but_the_worker_runs_on_its_core() {
    if !crate::cores::are_there() {
        return;
    }
    let daemon = BoxUnderTest::start();
    let threads = daemon.threads();
    assert!(threads.len() > 4, "{threads:?}");
    for (name, cores) in &threads {
        assert_eq!(cores, if name == "worker-0" { "1" } else { "0" }, "{name} of {threads:?}");
    }
}

#[test]
fn one_socket_has_one_daemon() {
    let daemon = BoxUnderTest::start();
    let second = sluice().args(["run", "-c"]).arg(daemon.path("box.yaml")).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another sluice listens there"), "{}", text(&second.stderr));
    assert_eq!(daemon.tell("conntrack -C"), "1202\n", "the first one goes on");
}

#[test]
fn the_socket_of_a_dead_daemon_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("run")).unwrap();
    drop(UnixListener::bind(directory.path().join("run/control.sock")).unwrap());
    let daemon = BoxUnderTest::start_with(directory, POLICY);
    assert!(daemon.ask("conntrack -C").status.success());
}

#[test]
fn what_cannot_run_says_why() {
    let cases = [
        ("nothing.yaml", "", "cannot read the file"),
        ("box.yaml", "helpers: {fpt: {}}\n", "unknown key `fpt`"),
        ("box.yaml", "polcy: {}\n", "polcy"),
    ];
    for (file, rest, why) in cases {
        let directory = tempfile::tempdir().unwrap();
        write_config(directory.path(), rest);
        let output = sluice().args(["run", "-c", file]).current_dir(directory.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(why), "{}", text(&output.stderr));
    }
    for (cores, absent) in [("control: 0", "control: 900"), ("workers: [", "workers: [90")] {
        let directory = tempfile::tempdir().unwrap();
        write_config(directory.path(), "");
        let file = directory.path().join("box.yaml");
        let config = fs::read_to_string(&file).unwrap();
        fs::write(&file, config.replacen(cores, absent, 1)).unwrap();
        let status = spawn(directory.path(), sluice()).wait().unwrap();
        let said = fs::read_to_string(directory.path().join("stderr")).unwrap();
        assert_eq!(status.code(), Some(1));
        assert!(said.contains("core 90") && said.contains("there is no such core"), "{said}");
    }
    // A device that DPDK cannot attach: the capture is missing.
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), "");
    let status = spawn(directory.path(), sluice()).wait().unwrap();
    let said = fs::read_to_string(directory.path().join("stderr")).unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("interface inside"), "{said}");
    assert!(!directory.path().join("run").exists(), "the socket's directory goes again");
}

#[test]
fn the_shipped_configuration_is_right() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/sluice.yaml");
    let output = sluice().args(["check", file]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}
