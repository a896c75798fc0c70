//! The sample capture, end to end.

use std::path::{Path, PathBuf};

use super::scratch::{OPEN, Scratch, read_pcap};

fn sample(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures").join(file)
}

fn replay_of_sample(config: &str) -> Scratch {
    ["inside", "outside"].into_iter().fold(Scratch::new(config), |scratch, side| {
        let capture = sample(&format!("sample.{side}.pcap"));
        scratch.with(format!("--in={side}={}", capture.display()))
    })
}

#[test]
fn what_passes_is_what_came_in() {
    let scratch = replay_of_sample(&std::fs::read_to_string(sample("demo.yaml")).unwrap());
    let replayed = scratch.replay();
    let captures = ["sample.inside.pcap", "sample.outside.pcap"].map(|file| read_pcap(&sample(file)));
    replayed.adds_up(&captures[0], &captures[1]);
    for state in ["NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"] {
        assert_ne!(replayed.report["states"][state], 0, "{state}");
    }
    assert_eq!(replayed.report["expectations"], 0);
    assert!(
        replayed.stdout.lines().any(|line| line.starts_with("tcp      6 ") && line.contains("ESTABLISHED"))
    );
    let summary = ["ESTABLISHED", "policy", "out/inside.pcap", "out/outside.pcap", "775 packets"];
    assert!(summary.iter().all(|word| replayed.stderr.contains(word)), "{}", replayed.stderr);
    let rules = replayed.traced("rule");
    assert!(rules.contains(&"out".into()) && rules.contains(&"neighbours".into()));
}

#[test]
fn runs_repeat() {
    let scratch = replay_of_sample(OPEN);
    let first = scratch.replay();
    assert_eq!(first, scratch.replay());
}

#[test]
fn four_workers_do_what_one_does() {
    let scratch = replay_of_sample(OPEN);
    let one = scratch.replay();
    one.is_repeated_by(&scratch.with("--workers=4").replay());
}

#[test]
fn each_format_lists_the_same_entries() {
    let config = format!("{OPEN}\nconntrack: {{preset: linux}}");
    let table = |format: &str| replay_of_sample(&config).with(format!("-o{format}")).replay().stdout;
    let plain = table("conntrack");
    let extended = table("extended");
    let bare = |line: &str| {
        let family = ["ipv4     2 ", "ipv6     10 "].into_iter().find(|family| line.starts_with(family))?;
        Some(line[family.len()..].to_owned())
    };
    let bare: Option<Vec<String>> = extended.lines().map(bare).collect();
    assert!(bare.is_some_and(|lines| lines == plain.lines().collect::<Vec<_>>()), "{extended}");
    assert!(table("proc").lines().zip(extended.lines()).all(|(proc, extended)| proc[..30] == extended[..30]));
    for line in table("json").lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(entry["original"]["src"].is_string());
    }
}
