//! The configuration from outside: what files are taken, what is said about those that are not.

#[path = "config/boxes.rs"]
mod boxes;
#[path = "config/export.rs"]
mod export;
#[path = "config/groups.rs"]
mod groups;
#[path = "config/limits.rs"]
mod limits;
#[path = "config/links.rs"]
mod links;
#[path = "config/sets.rs"]
mod sets;
#[path = "config/synproxy.rs"]
mod synproxy;
#[path = "config/yaml.rs"]
mod yaml;

use std::io::Write;
use std::process::{Command, Stdio};

use sluice::config::{self, Config};

/// Two interfaces and whatever follows.
fn with(rest: &str) -> String {
    format!(
        "version: 1\ninterfaces: {{a: {{device: 'vdev:net_null0'}}, b: {{device: 'vdev:net_null1'}}}}\n{rest}"
    )
}

fn parse(text: &str) -> Result<Config, String> {
    config::parse("test.yaml", text.as_bytes()).map_err(|error| error.to_string())
}

fn refusal(text: &str) -> String {
    parse(text).expect_err("this file is wrong")
}

/// `TRYCMD=overwrite cargo test -p sluice --test config` writes the answers anew.
#[test]
fn messages_are_as_written_down() {
    let cases = trycmd::TestCases::new();
    cases.case("tests/config/*.md");
}

#[test]
fn a_configuration_comes_from_standard_input() {
    for (text, is_right, said) in [(with(""), true, ""), (with("mtu: 9"), false, "--> -:3:1")] {
        let mut check = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["check", "--quiet", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = check.wait_with_output().unwrap();
        let refusal = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.success(), output.stdout.len()), (is_right, 0), "{refusal}");
        assert!(refusal.contains(said), "{refusal}");
    }
}

#[test]
fn the_reference_file_and_the_schema_are_current() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    for (file, current) in
        [("reference.yaml", config::reference_yaml()), ("config.schema.json", config::json_schema())]
    {
        let written = std::fs::read_to_string(format!("{docs}/{file}")).unwrap_or_default();
        assert!(
            written == current,
            "docs/{file} is out of date; `sluice reference` and `sluice schema` print them"
        );
    }
}

#[test]
fn the_example_of_the_readme_is_right() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let examples: Vec<&str> =
        readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        assert!(parse(example).is_ok(), "{}", refusal(example));
    }
}

#[test]
fn the_reference_file_equals_the_defaults() {
    let reference = parse(&config::reference_yaml()).unwrap();
    let defaults = Config::new(reference.interfaces.clone());
    assert_eq!(reference, config::resolved(defaults));
}

#[test]
fn the_resolved_configuration_reads_as_itself() {
    for preset in ["classic", "linux"] {
        let resolved = config::resolved(parse(&with(&format!("conntrack: {{preset: {preset}}}"))).unwrap());
        assert_eq!(parse(&config::to_yaml(&resolved)), Ok(resolved));
    }
}

#[test]
fn every_example_in_the_schema_is_one() {
    let schema: serde_json::Value = serde_json::from_str(&config::json_schema()).unwrap();
    let rule = schema["$defs"]["Rule"]["properties"].as_object().unwrap();
    assert!(rule.len() > 10);
    for (key, property) in rule {
        let protocol = if key.ends_with("-port") { "protocol: tcp, " } else { "" };
        let action = if key == "action" { "" } else { "action: accept, " };
        let state = if key == "connections" { "state: new, " } else { "" };
        let example = &property["examples"][0];
        let interfaces = "version: 1\ninterfaces: {inside: {device: 'vdev:net_null0'}, outside: {device: 'vdev:net_null1'}}";
        let text =
            format!("{interfaces}\npolicy: {{rules: [{{{protocol}{state}{action}{key}: {example}}}]}}");
        assert!(parse(&text).is_ok(), "{text}\n{}", refusal(&text));
    }
}

#[test]
fn every_example_of_a_nat_rule_is_one() {
    let schema: serde_json::Value = serde_json::from_str(&config::json_schema()).unwrap();
    let rule = schema["$defs"]["NatRule"]["properties"].as_object().unwrap();
    assert!(rule.len() > 20);
    for (key, property) in rule {
        let (list, rest) = match key.as_str() {
            "masquerade" | "to" | "keep" => ("source", ""),
            "prefix" => ("source", "source: 10.8.0.0/24"),
            "redirect" => ("destination", "protocol: udp"),
            "shift-to" => ("destination", "protocol: udp, destination-port: 80, to: 10.0.0.5"),
            "errors" => ("source", "source: 10.8.0.0/24, prefix: 198.51.100.0/24"),
            "filtering" => ("source", "masquerade: true, mapping: endpoint-independent"),
            "hairpin" => ("destination", "to: 10.0.0.5"),
            "source-port" | "destination-port" => ("source", "protocol: tcp, masquerade: true"),
            _ => ("source", "masquerade: true"),
        };
        let example = &property["examples"][0];
        let device = |number| format!("{{device: 'vdev:net_null{number}', addresses: [10.{number}.0.1/16]}}");
        let interfaces = format!("{{inside: {}, outside: {}}}", device(0), device(1));
        let text =
            format!("version: 1\ninterfaces: {interfaces}\nnat: {{{list}: [{{{key}: {example}, {rest}}}]}}");
        assert!(parse(&text).is_ok(), "{text}\n{}", refusal(&text));
    }
}

/// Ten thousand rules that share one pool take no noticeable time to compare.
#[test]
fn many_rules_may_share_a_pool() {
    let rule = "    - { to: 203.0.113.10-203.0.113.20 }\n";
    assert!(parse(&with(&format!("nat:\n  source:\n{}", rule.repeat(10_000)))).is_ok());
    let other = "    - { to: 203.0.113.20-203.0.113.30 }\n";
    let message = refusal(&with(&format!("nat:\n  source:\n{}{other}", rule.repeat(10_000))));
    assert!(
        message.contains("overlaps with 203.0.113.10-203.0.113.20 in the pool of `nat.source["),
        "{message}"
    );
}

/// However many brackets there are, a file takes no longer than its length says: reading ends where nesting goes too deep.
#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("[{a: ", "}]"), ("[[", "]]")] {
        for depth in [33, 300, 1 << 15] {
            let text = format!("version: 1\npolicy:\n  {}x{}\n", open.repeat(depth), close.repeat(depth));
            let error = config::parse("deep.yaml", text.as_bytes()).unwrap_err();
            let message = &error.findings()[0].message;
            assert!(message == "nested too deeply" || message == "a key must be a plain word", "{message}");
            assert_every_finding_has_a_place(&error, &text);
        }
    }
}

#[test]
fn what_repeats_is_refused_where_it_stands() {
    for (text, place) in [
        ("x: # R&D\n  &a [1]\n", "4:3"),
        ("x: 'R&D'\ny: &a\n  - 1\n", "4:4"),
        ("x: *a # R&D\n", "3:4"),
        ("x: 'a*b'\n*a : 1\n", "4:1"),
        ("x: [1, &a 2]", "3:8"),
        ("x: * # R&D\n", "3:4"),
    ] {
        let message = refusal(&with(text));
        assert!(message.contains("anchors and aliases"), "{message}");
        assert!(message.contains(&format!("test.yaml:{place}\n")), "{message}");
    }
    let tag = refusal(&with("x: 'a!b'\ny: !c\n  - 1\n"));
    assert!(tag.contains("tags (!name)") && tag.contains("test.yaml:4:4\n"), "{tag}");
}

#[test]
fn what_cannot_be_seen_is_shown() {
    for (text, what, place) in [
        ("# caf\x01\n", "U+0001", "3:6"),
        ("# caf\0\n", "a NUL byte", "3:6"),
        ("a: \u{85}b", "U+0085", "3:4"),
        ("a: b\u{2028}c: d", "U+2028", "3:5"),
        ("a: \u{feff}b", "U+FEFF", "3:4"),
        ("a: b\rc: d", "a carriage return that ends no line", "3:5"),
        ("# a\u{7f}", "U+007F", "3:4"),
    ] {
        let message = refusal(&with(text));
        assert!(message.contains(what), "{message}");
        assert!(message.contains(&format!("test.yaml:{place}\n")), "{message}");
    }
}

/// Editors of another system end lines in two characters, and begin files with one that cannot be seen.
#[test]
fn files_of_other_systems_are_read() {
    let text = with("policy: {default: accept}\n");
    let foreign = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    assert_eq!(parse(&foreign), parse(&text));
    assert!(refusal(&format!("{foreign}colour: red\r\n")).contains("test.yaml:4:1\n"));
    assert!(
        refusal(
            &"version: 1\n"
                .encode_utf16()
                .map(|unit| char::from(unit as u8))
                .map(|c| format!("{c}\0"))
                .collect::<String>()
        )
        .contains("UTF-16")
    );
}

#[test]
fn a_second_document_is_shown() {
    let message = refusal(&with("---\nversion: 1\n"));
    assert!(
        message.contains("more than one YAML document") && message.contains("test.yaml:3:1\n"),
        "{message}"
    );
    assert!(parse(&format!("---\n{}...\n", with("policy: {}\n"))).is_ok(), "marks of a single document");
}

/// What can match nothing, or what a device refuses as it starts, is said before.
#[test]
fn what_would_fail_later_is_said_at_once() {
    let addressed = |address: &str| {
        format!("version: 1\ninterfaces: {{a: {{device: 'vdev:net_null0', addresses: ['{address}']}}}}")
    };
    let device = |device: &str| format!("version: 1\ninterfaces: {{a: {{device: 'vdev:{device}}}}}");
    let rule = |keys: &str| with(&format!("policy: {{rules: [{{action: accept, {keys}}}]}}"));
    for (text, said) in [
        (addressed("10.0.0.255/24"), "`10.0.0.255/24` is the broadcast address of its network"),
        (addressed("224.0.0.5/24"), "224.0.0.5 is not the address of one host"),
        (addressed("::1/128"), "::1 is not the address of one host"),
        (rule("family: ipv4, source: '2001:db8::/32'"), "`source` is of another family than `family`"),
        (rule("family: ipv6, destination: [10.0.0.0/8]"), "`destination` is of another family than `family`"),
        (rule("source: 10.0.0.0/8, destination: '::/0'"), "`destination` is of another family than `source`"),
        (rule("source: '::/0', protocol: icmp"), "`protocol` is of another family than `source`"),
        (rule("family: ipv4, protocol: icmpv6"), "`protocol` is of another family than `family`"),
        (
            rule("source: 10.1.2.3/8"),
            "`10.1.2.3/8` has bits of a host behind its /8; its network is 10.0.0.0/8",
        ),
        (device("net_af_packt0,iface=eth1'"), "did you mean `net_af_packet`?"),
        (device("net_af_packet0'"), "net_af_packet needs the argument `iface`"),
        (device("net_af_packet0,iface=eth1', mtu: 9000"), "net_af_packet takes no MTU above 1500"),
    ] {
        let message = refusal(&text);
        assert!(message.contains(said), "{message}");
    }
    for fine in [
        addressed("10.0.0.255/31"),
        addressed("10.0.0.255/23"),
        device("net_null0', mtu: 9000"),
        rule("family: ipv4, source: [10.0.0.0/8, '::/0'], protocol: [icmp, icmpv6]"),
        rule("family: ipv6, protocol: [icmp, tcp]"),
    ] {
        assert!(parse(&fine).is_ok(), "{}", refusal(&fine));
    }
}

/// A key that is refused where it stands is not offered there.
#[test]
fn what_is_offered_is_taken() {
    for (text, refused) in [
        ("untracked: [{colour: red}]", vec!["state", "out", "mark", "status", "direction", "action"]),
        ("zones: [{colour: red, zone: 1}]", vec!["state", "out", "mark", "status", "direction", "action"]),
        ("nat: {source: [{colour: red}]}", vec!["redirect", "shift-to", "hairpin"]),
        (
            "nat: {destination: [{colour: red}]}",
            vec!["masquerade", "persistent", "mapping", "filtering", "errors", "out", "mark", "status"],
        ),
    ] {
        let message = refusal(&with(text));
        let (_, offered) = message.split_once("valid keys here: ").unwrap();
        let offered: Vec<&str> = offered.lines().next().unwrap().split(", ").collect();
        assert!(offered.contains(&"source") && offered.len() > 5, "{message}");
        for key in refused {
            assert!(!offered.contains(&key), "{key}: {message}");
        }
    }
    assert!(!refusal(&with("untracked: [{stat: new}]")).contains("did you mean"));
}

/// Whatever is said of a text has its place in it: file, line and column, none of them beyond its end.
fn assert_every_finding_has_a_place(error: &config::ConfigError, text: &str) {
    let lines: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
    let shown = error.to_string();
    let places = shown.lines().filter_map(|line| line.trim_start().strip_prefix("--> ")).map(|place| {
        let mut parts = place.rsplitn(3, ':').map(str::parse::<usize>);
        (parts.next().unwrap().unwrap(), parts.next().unwrap().unwrap())
    });
    let mut count = 0;
    for (column, line) in places {
        count += 1;
        let length = lines.get(line - 1).unwrap_or_else(|| panic!("line {line} of {}\n{shown}", lines.len()));
        assert!(column >= 1 && column <= length + 1, "column {column} of {length}\n{shown}");
    }
    assert_eq!(count, error.findings().len(), "{shown}\n{text}");
}

#[test]
fn too_many_rules_are_refused() {
    let rule = "    - { state: new, action: accept }\n";
    assert!(parse(&with(&format!("policy:\n  rules:\n{}", rule.repeat(10_000)))).is_ok());
    let message = refusal(&with(&format!("policy:\n  rules:\n{}", rule.repeat(10_001))));
    assert!(message.contains("the number of elements is greater than 10000"), "{message}");
    assert!(message.contains("test.yaml:4:3"), "{message}");
}

#[test]
fn too_large_a_file_is_refused() {
    let text = "# remark\n".repeat(1 << 20);
    assert!(refusal(&text).contains("larger than 8 MiB"));
}

#[test]
fn a_hundred_mistakes_are_not_all_shown() {
    let rules = "    - { state: nwe, action: accept }\n".repeat(100);
    let error =
        config::parse("test.yaml", with(&format!("policy:\n  rules:\n{rules}")).as_bytes()).unwrap_err();
    assert_eq!(error.findings().len(), 32);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = config::read(std::path::Path::new("/nonexistent/box.yaml")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/box.yaml: cannot read the file: No such file"));
    let error = config::read(std::path::Path::new("/")).unwrap_err();
    assert!(error.to_string().contains("cannot read the file"));
}

#[test]
fn wide_characters_do_not_shift_the_place() {
    let message = refusal(&with("policy: { rules: [ { name: \"Zürich €\", action: acept } ] }"));
    assert!(message.contains("test.yaml:3:48"), "{message}");
}

/// No input may panic, and each error has its place: every sample with bytes changed, taken out, doubled.
#[test]
fn damaged_files_are_refused_or_read() {
    let reference = config::reference_yaml();
    let small = with(
        "policy: { rules: [ { state: [new], protocol: tcp, destination-port: [80, 1-9], action: {mark: 7} } ] }",
    );
    let words = [
        "- ", ": ", "{", "}", "[", "]", "&a ", "*a", "!x ", "'", "\"", "\n", "\t", "|", ">", "~", "é", "\0",
        "--- ", "#", "\r", "\u{feff}", "? ", "<<: ", "%TAG ", "\\", "0x1: ", "...\n",
    ];
    let mut random = 0x5eed_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for round in 0..3_000 {
        let source = if round % 10 == 0 { &reference } else { &small };
        let mut bytes = source.clone().into_bytes();
        for _ in 0..1 + next(3) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = next(256) as u8,
                1 => drop(bytes.drain(at..bytes.len().min(at + 1 + next(20)))),
                2 => drop(bytes.splice(at..at, words[next(words.len())].bytes())),
                _ => drop(bytes.splice(at..at, source.bytes().skip(next(source.len())).take(30))),
            }
            if bytes.is_empty() {
                break;
            }
        }
        if let Err(error) = config::parse("damaged.yaml", &bytes) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            assert_every_finding_has_a_place(&error, text);
        }
    }
}
