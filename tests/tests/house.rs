//! The rules of the house that no compiler knows: where `unsafe` may stand, how long a file may be, that files of a crate
//! stand one upon the other, and that the map is of files that there are.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use sluice_tests::circles::{Module, circles};

/// Directories whose crates touch raw memory. All others must forbid it.
const UNSAFE: [&str; 2] = ["dpdk-bindings", "dataplane/memory"];

/// Lines of a file before its tests. One idea needs no more.
const MAX_LINES: usize = 400;

/// The crates whose files are looked at for circles, by their sources.
const CRATES: [&str; 6] = [
    "bench/src",
    "control/src",
    "dataplane/conntrack/src",
    "dataplane/engine/src",
    "dataplane/memory/src",
    "dpdk-bindings/dpdk/src",
];

/// Every Rust file of the repository, by its path from the root.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository");
    let mut sources = vec![];
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                directories.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push((path.strip_prefix(root).unwrap().to_path_buf(), text));
            }
        }
    }
    assert!(sources.len() > 50, "the repository was found");
    sources
}

/// Whether a file is the root of a library or a program.
fn is_root(path: &Path) -> bool {
    ["src/lib.rs", "src/main.rs"].iter().any(|root| path.ends_with(root))
        || path.parent().is_some_and(|directory| directory.ends_with("src/bin"))
}

#[test]
fn unsafe_stands_where_it_may_and_nowhere_else() {
    let word = ["un", "safe"].concat();
    let mut wrong = vec![];
    for (path, text) in sources() {
        if UNSAFE.iter().any(|directory| path.starts_with(directory)) {
            continue;
        }
        let forbids = text.contains(&format!("#![forbid({word}_code)]"));
        if is_root(&path) && !forbids {
            wrong.push(format!("{} does not forbid {word} code", path.display()));
        }
        let uses = |line: &&str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word);
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        if let Some(line) = code.filter(uses).find(|line| !line.contains('"') && !line.contains('`')) {
            wrong.push(format!("{}: {}", path.display(), line.trim()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    // Tests that stand in a file of their own are only named here.
    let are_tests = |lines: &[&str]| matches!(lines, ["#[cfg(test)]", item] if !item.ends_with(';'));
    let length = |text: &str| {
        let lines: Vec<&str> = text.lines().collect();
        lines.windows(2).position(are_tests).unwrap_or(lines.len())
    };
    let long: Vec<_> = sources()
        .iter()
        .filter(|(_, text)| length(text) > MAX_LINES)
        .map(|(path, text)| format!("{}: {} lines", path.display(), length(text)))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> = sources()
        .iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

/// The module of a file, by its path below its crate's sources; `None` where it is a program's or a test's.
fn module(path: &Path) -> Option<Module> {
    let mut parts: Module = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let name = parts.pop()?.strip_suffix(".rs")?.to_owned();
    if parts.iter().any(|part| part == "bin" || part == "tests") || name == "tests" || name == "main" {
        return None;
    }
    if name != "mod" && name != "lib" {
        parts.push(name);
    }
    Some(parts)
}

#[test]
fn files_import_each_other_in_no_circle() {
    let mut wrong = vec![];
    for root in CRATES {
        let in_crate = |(path, text): (PathBuf, String)| {
            path.strip_prefix(root).ok().and_then(module).map(|module| (module, text))
        };
        let files: BTreeMap<_, _> = sources().into_iter().filter_map(in_crate).collect();
        for circle in circles(&files).unwrap() {
            let names: Vec<_> = circle.iter().map(|module| module.join("::")).collect();
            wrong.push(format!("{root}: {}", names.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The names of files and folders in a text, between back quotes, `{a,b}` standing for both.
fn named_paths(text: &str) -> Vec<String> {
    let is_path = |name: &&str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./{},".contains(c);
        name.contains(['/', '.'])
            && name.chars().all(is_plain)
            && (name.ends_with(".rs") || name.ends_with('/'))
    };
    let names = text.split('`').skip(1).step_by(2).filter(is_path);
    let alternatives = |name: &str| match (name.split_once('{'), name.split_once('}')) {
        (Some((before, _)), Some((inner, behind))) => {
            let inner = inner.rsplit_once('{').map_or(inner, |(_, inner)| inner);
            inner.split(',').map(|it| format!("{before}{it}{behind}")).collect()
        }
        _ => vec![name.to_owned()],
    };
    names.flat_map(alternatives).collect()
}

#[test]
fn the_map_is_of_files_that_there_are() {
    let sources = sources();
    let paths: Vec<String> = sources.iter().map(|(path, _)| format!("/{}", path.display())).collect();
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md")).unwrap();
    let names = named_paths(&map);
    let is_there = |name: &String| match name.ends_with('/') {
        true => paths.iter().any(|path| path.contains(&format!("/{name}"))),
        false => paths.iter().any(|path| path.ends_with(&format!("/{name}"))),
    };
    let missing: Vec<_> = names.iter().filter(|name| !is_there(name)).collect();
    assert!(names.len() > 100 && missing.is_empty(), "{missing:?}");
    let folders = sources.iter().filter_map(|(path, _)| path.parent()?.to_str()?.split_once("/src/"));
    let folders: BTreeSet<_> =
        folders.map(|(_, folder)| folder).filter(|folder| !folder.contains("tests")).collect();
    let is_named = |folder: &&str| {
        let last = folder.rsplit('/').next().unwrap_or(folder);
        names.iter().any(|name| name.contains(&format!("{last}/")))
    };
    let unnamed: Vec<_> = folders.iter().filter(|folder| !is_named(folder)).collect();
    assert!(unnamed.is_empty(), "no word of {unnamed:?}");
}
