//! Recorded exchanges through Linux's connection tracking, played to a shard: what comes out, each packet's state and
//! the table must be the same, but for what docs/differences.md names.
//!
//! The recordings are not part of this repository. They are looked for in `$SLUICE_ORACLE`, else in
//! `../shared/oracle` beside it; without them the tests say so and pass.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PYTHON: &str = "/usr/bin/python3";

/// What the names of the exchanges begin with that are played.
const PLAYED: [&str; 16] = [
    "tcp/",
    "udp/",
    "icmp/",
    "icmpv6/",
    "generic/",
    "frag/",
    "notrack/",
    "table/",
    "nat/",
    "ftp/",
    "expect/",
    "helpers/tftp_",
    "helpers/irc_",
    "helpers/amanda",
    "helpers/sip_",
    "helpers/pptp_",
];

/// Exchanges among them that need a setting which Linux has for the whole machine.
const MACHINE_WIDE: [(&str, &str); 1] = [("expect/table_full", "expect_max=3")];

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// An exchange and the step, packet or list in which it differs.
type Difference = (String, String);

fn oracle() -> Option<PathBuf> {
    let beside = || Path::new(ROOT).join("../shared/oracle");
    let folder = std::env::var_os("SLUICE_ORACLE").map_or_else(beside, PathBuf::from);
    let found = folder.join("oracle.py").is_file() && Path::new(PYTHON).is_file();
    if !found {
        skip(&format!("no recordings in {} (set SLUICE_ORACLE)", folder.display()));
    }
    found.then_some(folder)
}

/// Says why nothing was tested, where the test runner does not swallow it.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

fn python(script: &Path, args: &[&str]) -> Output {
    let run = Command::new(PYTHON).arg(script).args(args).output();
    run.unwrap_or_else(|error| panic!("{}: {error}", script.display()))
}

fn run_python(script: &Path, args: &[&str]) {
    let output = python(script, args);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// What a comparison printed, whether or not it found anything.
fn comparison(script: &Path, args: &[&str]) -> String {
    let output = python(script, args);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The rows of the table of exchanges that `wanted` says.
fn named_differences(wanted: impl Fn(&str) -> bool) -> BTreeSet<Difference> {
    rows("Exchange", wanted)
}

/// The same of the table that begins with this word.
fn rows(table: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<Difference> {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/differences.md")).expect("the page");
    let rows = page.lines().skip_while(|line| !line.starts_with(&format!("| {table} |"))).skip(2);
    let mut named = BTreeSet::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let [_, name, steps, ..] = &row.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        if wanted(name) {
            named.extend(steps.split_whitespace().map(|step| (name.to_string(), step.to_owned())));
        }
    }
    named
}

fn assert_same(found: &BTreeSet<Difference>, named: &BTreeSet<Difference>, report: &str) {
    let new: Vec<_> = found.difference(named).collect();
    let gone: Vec<_> = named.difference(found).collect();
    assert!(new.is_empty(), "differences that docs/differences.md does not name: {new:?}\n{report}");
    assert!(gone.is_empty(), "docs/differences.md names differences that are gone: {gone:?}");
}

#[test]
fn scripted_exchanges_go_as_in_linux() {
    let Some(folder) = oracle() else { return };
    let out = tempfile::tempdir().expect("a folder");
    let results = out.path().to_str().expect("a plain path");
    let script = folder.join("oracle.py");
    let play = |patterns: &[&str], settings: &str| {
        let dut = format!("{} {settings}", env!("CARGO_BIN_EXE_oracle-box"));
        let run = ["run", "-j2", "--buckets", "0", "--dut", &dut, "-o", results];
        run_python(&script, &[&run[..], patterns].concat());
    };
    let patterns = PLAYED.map(|start| format!("{start}*"));
    play(&patterns.each_ref().map(String::as_str), "");
    MACHINE_WIDE.iter().for_each(|(name, setting)| play(&[name], setting));
    let golden = folder.join("golden");
    let report = comparison(&script, &["compare", golden.to_str().expect("a plain path"), results, "--dut"]);

    let is_played = |name: &str| PLAYED.iter().any(|start| name.starts_with(start));
    assert_same(&differences(&report, is_played), &named_differences(is_played), &report);
}

/// The steps in which exchanges differ by a report.
fn differences(report: &str, is_played: impl Fn(&str) -> bool) -> BTreeSet<Difference> {
    let mut found = BTreeSet::new();
    for line in report.lines().filter(|line| is_played(line)) {
        // "GROUP/NAME step N ASPECT: ...", or something about an exchange that was not played.
        let words: Vec<&str> = line.split_whitespace().collect();
        let step = if words[1] == "step" { words[2] } else { line };
        found.insert((words[0].trim_end_matches(':').to_owned(), step.to_owned()));
    }
    found
}

/// What a router says itself, to the byte, and how tracking takes it.
#[test]
fn own_packets_go_as_in_linux() {
    let Some(folder) = oracle() else { return };
    let out = tempfile::tempdir().expect("a folder");
    let results = out.path().to_str().expect("a plain path");
    let script = folder.join("oracle.py");
    let dut = format!("{} --routed", env!("CARGO_BIN_EXE_oracle-box"));
    let groups = ["icmp/", "icmpv6/", "nat/"];
    let run = ["run", "-j2", "--buckets", "0", "--dut", &dut, "-o", results, "icmp/*", "icmpv6/*", "nat/*"];
    run_python(&script, &run);
    let golden = folder.join("golden");
    let golden = golden.to_str().expect("a plain path");
    // Of the table, Linux's internal bits are left out.
    let report = comparison(&script, &["compare", golden, results, "--aspects", "emitted,ct,expect"])
        + &comparison(&script, &["compare", golden, results, "--dut", "--aspects", "table"]);
    let is_played = |name: &str| groups.iter().any(|start| name.starts_with(start));
    assert_same(&differences(&report, is_played), &rows("Own packets", is_played), &report);
}

#[test]
fn captures_go_as_in_linux() {
    compare_captures("captures", "300", |_| true);
}

/// Most are fragments, made to be put together in different ways.
#[test]
fn more_captures_go_as_in_linux() {
    compare_captures("captures-more", "400", |_| true);
}

/// Plays the captures of a folder whose names are `wanted`, of each as many packets as Linux was given, at most `most`.
fn compare_captures(folder: &str, most: &str, wanted: impl Fn(&str) -> bool) {
    let Some(oracle) = oracle() else { return };
    let captures = oracle.join("..").join(folder);
    let Ok(listing) = std::fs::read_dir(&captures) else {
        return skip(&format!("no captures in {}", captures.display()));
    };
    let mut names: Vec<String> =
        listing.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| (name.ends_with(".pcap") || name.ends_with(".pcapng")) && wanted(name));
    names.sort();
    let out = tempfile::tempdir().expect("a folder");
    let results = out.path().to_str().expect("a plain path");
    let script = oracle.join("captures.py");
    let run = ["run", "-j2", "-n", most, "--dut", env!("CARGO_BIN_EXE_oracle-box"), "-o", results];
    let files: Vec<String> = names.iter().map(|name| captures.join(name).display().to_string()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    run_python(&script, &[&run[..], &files].concat());
    let golden = captures.join("golden");
    let golden = golden.to_str().expect("a plain path");
    let report = comparison(&script, &["compare", "--show", "100000", golden, results]);

    let mut found = BTreeSet::new();
    for line in report.lines() {
        // "NAME.json packet N ASPECT: ...", "NAME.json table only in A: ...", or "NAME.json: missing".
        let Some((name, rest)) = line.split_once(".json") else { continue };
        if line.starts_with(' ') {
            continue;
        }
        let words: Vec<&str> = rest.split_whitespace().collect();
        let key = if words[0] == "packet" { words[1] } else { words[0] };
        if names.iter().any(|played| played == name) {
            found.insert((name.to_owned(), key.to_owned()));
        }
    }
    assert_same(&found, &named_differences(|name| names.iter().any(|played| played == name)), &report);
}
