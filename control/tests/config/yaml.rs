//! What YAML allows, and what a configuration takes of it: the meaning of scalars, and where it says no.

use super::{parse, refusal, with};

#[test]
fn plain_scalars_are_what_yaml_1_2_says() {
    let accounting = |text: &str| parse(&with(&format!("conntrack: {{accounting: {text}}}")));
    for text in ["true", "True", "TRUE"] {
        assert!(accounting(text).unwrap().conntrack.accounting);
    }
    for text in ["yes", "on", "y", "1", "tRue", "'true'"] {
        assert!(accounting(text).unwrap_err().contains("3:25"), "{text}");
    }
    for nothing in ["", "~", "null"] {
        let refusal = accounting(nothing).unwrap_err();
        assert!(refusal.contains("`conntrack.accounting` has no value"), "{refusal}");
    }
    let entries = |text: &str| parse(&with(&format!("conntrack: {{max-entries: {text}}}")));
    for text in ["4096", "+4096", "0x1000", "0o10000", "'4096'"] {
        assert_eq!(entries(text), entries("4096"), "{text}");
        assert!(entries(text).is_ok());
    }
    for text in [
        "20000000000000000000",
        "-9223372036854775809",
        "0x1ffffffffffffffff",
        "4_096",
        "1:30",
        "1e999",
        "0xg",
    ] {
        let refusal = entries(text).unwrap_err();
        let place = format!(":3:26\n  |\n3 | conntrack: {{max-entries: {text}}}");
        assert!(
            refusal.contains(&format!("`{text}` is not a count")) && refusal.contains(&place),
            "{refusal}"
        );
    }
    for (text, said) in
        [("1e3", "1000.0"), ("4096.0", "4096.0"), (".inf", "inf"), (".nan", "NaN"), ("-1", "-1")]
    {
        let refusal = entries(text).unwrap_err();
        assert!(refusal.contains(said) && refusal.contains(":3:26"), "{text}: {refusal}");
    }
}

#[test]
fn what_a_configuration_does_not_take_of_yaml_is_told_with_its_place() {
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]";
    let deep = format!("x: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let indented: String = (0..200).map(|depth| format!("{}k:\n", " ".repeat(depth))).collect();
    for (text, said, line, column) in [
        (bomb, "anchors and aliases", 3, 4),
        ("policy: *policy", "anchors and aliases", 3, 9),
        ("conntrack: {<<: {accounting: true}}", "unknown key `<<`", 3, 13),
        ("mtu: 1\nmtu: 1", "duplicate key `mtu`", 4, 1),
        ("sets: {1: {}, '1': {}}", "duplicate key `1`", 3, 15),
        ("conntrack: {accounting: !!str true}", "tags (!name) are not supported", 3, 25),
        ("---\nversion: 1", "more than one YAML document", 3, 1),
        (&deep, "nested too deeply", 3, 259),
        (&indented, "nested too deeply", 35, 34),
        ("[a, b]: 2", "a key must be a plain word", 3, 1),
        ("? {a: b}\n: c", "a key must be a plain word", 3, 3),
        (": 2", "a key must be a plain word", 3, 1),
        ("1: 2", "unknown key `1`", 3, 1),
        ("true: 2", "unknown key `true`", 3, 1),
        ("mtu: \"1", "not YAML", 3, 6),
        ("log: level: info", "not YAML: mapping values are not allowed", 3, 11),
    ] {
        let refusal = refusal(&with(&format!("{text}\n")));
        let place = format!("test.yaml:{line}:{column}\n");
        assert!(refusal.contains(said) && refusal.contains(&place), "{said} {line}:{column}\n{refusal}");
    }
}

#[test]
fn text_may_be_quoted_and_go_over_lines() {
    for text in [
        "'policy': {\"default\": drop}",
        "policy: { # over\n  default:\n    drop }",
        "policy:\n  default: >-\n    drop\n",
        "policy:\n  default: \"\\x64rop\"\n",
        "\"policy\": {\"default\":\"drop\"}",
        "policy:\r\n  default: drop\r\n...\r\n",
    ] {
        assert_eq!(parse(&with(text)), parse(&with("policy: {default: drop}")), "{text}");
    }
}

/// As many brackets as one likes where they open nothing.
#[test]
fn brackets_in_text_do_not_nest() {
    let brackets = "[{".repeat(1000);
    for text in [format!("# {brackets}"), format!("policy: {{rules: []}} # {brackets}")] {
        assert!(parse(&with(&text)).is_ok());
    }
    let named = |text: &str| refusal(&with(&format!("control: {{socket: {text}}}\ncolour: red")));
    assert!(named(&format!("'{brackets}'")).contains("unknown key `colour`"));
    assert!(named(&format!("\"{brackets}\"")).contains("unknown key `colour`"));
}
