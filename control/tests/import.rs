//! `sluice import` from outside: rule sets of Linux boxes, and what comes of each.

#[path = "import/kernel.rs"]
mod kernel;

use std::path::{Path, PathBuf};

use sluice::config;
use sluice::import::{File, Imported, Sources, import};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/import/cases");

/// A file of a case, if it has one of this name.
fn file(case: &Path, name: &str) -> Vec<File> {
    let text = std::fs::read_to_string(case.join(name));
    text.into_iter().map(|text| (name.to_owned(), text)).collect()
}

fn sources(case: &Path) -> Sources {
    Sources {
        iptables: file(case, "iptables"),
        ip6tables: file(case, "ip6tables"),
        nft: file(case, "nft.json"),
        addresses: file(case, "addresses.json"),
        routes: [file(case, "routes.json"), file(case, "routes6.json")].concat(),
        sysctl: file(case, "sysctl"),
        interfaces: Vec::new(),
    }
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(CASES).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// `IMPORT=overwrite cargo test -p sluice --test import` writes what comes of each case anew.
#[test]
fn rule_sets_become_what_is_written_down() {
    let is_written = std::env::var("IMPORT").is_ok_and(|how| how == "overwrite");
    for case in cases() {
        let Imported { yaml, leftovers } = import(&sources(&case)).unwrap();
        let report: String = leftovers.iter().map(|leftover| format!("{leftover}\n")).collect();
        for (name, text) in [("sluice.yaml", yaml), ("report", report)] {
            let path = case.join(name);
            if is_written {
                std::fs::write(&path, &text).unwrap();
            }
            let expected = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(text == expected, "{} has become:\n{text}", path.display());
        }
    }
}

#[test]
fn what_is_written_passes_the_check() {
    for case in cases() {
        let path = case.join("sluice.yaml");
        config::read(&path).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn what_leaves_a_chain_that_was_gone_to_meets_the_policy() {
    let rules = "*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n:b - [0:0]\n-A INPUT -g a\n-A INPUT -j ACCEPT\n\
                 -A a -p tcp -j RETURN\n-A a -p udp -g b\n-A a -j ACCEPT\n-A b -s 10.0.0.1 -j RETURN\n-A b -j ACCEPT\nCOMMIT\n";
    let interfaces = vec![("eth0".to_owned(), None)];
    let sources =
        Sources { iptables: vec![("rules".to_owned(), rules.to_owned())], interfaces, ..Sources::default() };
    let yaml = import(&sources).unwrap().yaml;
    let rules: Vec<&str> = yaml.lines().filter(|line| line.contains("out: local")).collect();
    let verdicts = rules.iter().map(|rule| rule.split(" # ").next().unwrap_or_default().trim());
    let expected = [
        "- { out: local, family: ipv4, protocol: tcp, action: drop }",
        "- { out: local, source: 10.0.0.1/32, protocol: udp, action: drop }",
        "- { out: local, family: ipv4, protocol: udp, action: accept }",
        "- { out: local, family: ipv4, action: accept }",
    ];
    assert_eq!(verdicts.collect::<Vec<_>>(), expected);
}

/// A generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

/// A text with some of its lines exchanged, repeated or gone, and some of its words replaced by others of it.
fn damaged(text: &str, numbers: &mut Numbers) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    for _ in 0..1 + numbers.below(8) {
        let (one, other) = (numbers.below(lines.len()), numbers.below(lines.len()));
        let Some(line) = lines.get(one).cloned() else { continue };
        match numbers.below(5) {
            0 => lines.swap(one, other),
            1 => lines.insert(other, line),
            2 => {
                lines.remove(one);
            }
            3 => lines[one] = line.chars().take(numbers.below(line.len())).collect(),
            _ => {
                let mut parts: Vec<&str> = line.split(' ').collect();
                let at = numbers.below(parts.len());
                parts[at] = words[numbers.below(words.len())];
                lines[one] = parts.join(" ");
            }
        }
    }
    lines.join("\n")
}

/// Whatever comes of it passes the check, or `import` says that it is its own fault.
#[test]
fn no_input_makes_it_panic() {
    let mut numbers = Numbers(7);
    for round in 0..400 {
        let cases = cases();
        let mut sources = sources(&cases[round % cases.len()]);
        let lists = [
            &mut sources.iptables,
            &mut sources.ip6tables,
            &mut sources.nft,
            &mut sources.addresses,
            &mut sources.routes,
        ];
        for (_, text) in lists.into_iter().flatten() {
            if numbers.below(3) > 0 {
                *text = damaged(text, &mut numbers);
            }
        }
        if let Err(why) = import(&sources) {
            assert!(!why.contains("fault of"), "{why}: {sources:#?}");
        }
    }
}

#[test]
fn chains_that_go_round_or_branch_out_end_in_an_error() {
    let import = |rules: &str| {
        let text = format!("*filter\n:INPUT DROP [0:0]\n{rules}COMMIT\n");
        let interfaces = vec![("eth0".to_owned(), None)];
        import(&Sources { iptables: vec![("rules".to_owned(), text)], interfaces, ..Sources::default() })
    };
    let circle = ":a - [0:0]\n:b - [0:0]\n-A INPUT -j a\n-A a -j b\n-A b -p tcp -j a\n";
    assert!(import(circle).unwrap_err().contains("circle"));
    let chains = |count: usize, jumps: usize| {
        let declared = (0..=count).map(|number| format!(":c{number} - [0:0]\n"));
        let jump = |number: usize| format!("-A c{number} -j c{}\n", number + 1).repeat(jumps);
        declared.chain((0..count).map(jump)).collect::<String>()
    };
    let (deep, wide) = (chains(1000, 1), chains(40, 2));
    for chains in [deep, wide] {
        assert!(import(&format!("{chains}-A INPUT -j c0\n")).is_err());
    }
}
