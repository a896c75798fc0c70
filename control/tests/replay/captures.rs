//! Every capture goes through of the directory `SLUICE_CAPTURES` or, beside the repository, of `shared/captures` and
//! `shared/captures-more`, with all helpers.

use std::fs;
use std::path::{Path, PathBuf};

use sluice_conntrack::helpers::{Descriptor, HelperId};

use super::scratch::{OPEN, Scratch};

fn directories() -> Vec<PathBuf> {
    let beside = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(name);
    let directories = match std::env::var_os("SLUICE_CAPTURES") {
        Some(directory) => vec![PathBuf::from(directory)],
        None => ["captures", "captures-more"].map(beside).into(),
    };
    directories.into_iter().filter(|directory| directory.is_dir()).collect()
}

#[test]
fn every_capture_goes_through() {
    let is_capture = |path: &PathBuf| path.extension().is_some_and(|end| end == "pcap" || end == "pcapng");
    let mut files: Vec<PathBuf> = Vec::new();
    for directory in directories() {
        let before = files.len();
        files.extend(fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).filter(is_capture));
        assert!(files.len() > before, "no captures in {}", directory.display());
    }
    let share = files.len().div_ceil(4).max(1);
    std::thread::scope(|scope| {
        for files in files.chunks(share) {
            scope.spawn(|| files.iter().for_each(|file| goes_through(file)));
        }
    });
}

/// No crash, a line for each packet, a name for each drop, and with four workers the same again.
fn goes_through(file: &Path) {
    println!("{}", file.display());
    let has_port = |helper: &HelperId| !Descriptor::of(*helper).ports.is_empty();
    let all = HelperId::ALL.into_iter().filter(has_port).map(|helper| format!("{}: {{}}", helper.name()));
    let config = format!("{OPEN}helpers: {{ {} }}\n", all.collect::<Vec<_>>().join(", "));
    let scratch =
        Scratch::new(&config).with(format!("--in=inside={}", file.display())).with("--client-side=inside");
    let replayed = scratch.replay();
    let left = replayed.inside.len() + replayed.outside.len();
    // A fragment is held until its datagram is whole: what became of it then is in the report.
    let named: u64 =
        replayed.report["drops"].as_object().unwrap().values().filter_map(|it| it.as_u64()).sum();
    let held = replayed.report["held"].as_u64().unwrap();
    assert_eq!(replayed.trace.len(), left + (named + held) as usize, "{}", file.display());
    assert_eq!(replayed.report["packets_in"], replayed.trace.len(), "{}", file.display());
    replayed.is_repeated_by(&scratch.with("--workers=4").replay());
}
