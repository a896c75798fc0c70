//! What the profiles for TRex and the script for Pktgen send is what they say: the former through TRex's own client, which makes
//! their packets known without a server.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::scratch::{Replayed, Scratch};

/// What docs/load-tests.md has a box be measured with: connections begin inside.
const MEASURED: &str = "
version: 1
interfaces: {inside: {device: 'vdev:net_null0'}, outside: {device: 'vdev:net_null1'}}
conntrack: {max-entries: 131072}
policy: {default: drop, rules: [{state: established, action: accept}, {in: inside, state: new, action: accept}]}
";

fn bench(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("bench").join(name)
}

/// Runs to its end, which must be well, and gives what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// How many packets had each state.
fn states(replayed: &Replayed) -> [u64; 3] {
    ["NEW", "ESTABLISHED", "INVALID"].map(|state| replayed.report["states"][state].as_u64().unwrap())
}

#[test]
fn each_connection_of_the_profiles_is_opened_once_and_stays() {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trex");
    let python = run(Command::new(bench("trex/python.sh")).arg(environment));
    let captures = tempfile::tempdir().unwrap();
    run(Command::new(python.trim()).arg(bench("trex/frames.py")).arg(captures.path()));
    let read = |name: &str| std::fs::read(captures.path().join(name)).unwrap();

    let scratch = Scratch::new(MEASURED).input("inside", &read("inside.pcap"));
    let replayed = scratch.input("outside", &read("outside.pcap")).replay();
    let connections = 65_536;
    assert_eq!(states(&replayed), [connections, connections + 8000, 0], "{}", replayed.stderr);
    assert_eq!(replayed.inside.len(), replayed.outside.len());
    let new = |line: &serde_json::Value| line["state"] == "NEW";
    assert!(
        replayed.trace.iter().take(connections as usize).all(new),
        "all are opened before the first goes on"
    );

    let flood = Scratch::new(MEASURED).input("inside", &read("flood.pcap")).replay();
    assert_eq!(states(&flood), [1000, 0, 0], "{}", flood.stderr);
}

#[test]
fn the_script_for_pktgen_finds_the_highest_rate_without_a_loss() {
    run(Command::new("lua5.4").arg(bench("pktgen/check.lua")));
}
