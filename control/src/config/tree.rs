//! From the nodes of a file to the tree that serde reads: what plain scalars mean (YAML 1.2 section 10.3, the core schema).

use serde_yaml::{Mapping, Number, Value};

use super::spans::{Node, Scalar};

/// The value of a node and of all below it.
pub(super) fn value(node: &Node) -> Value {
    match node {
        Node::Scalar(scalar) => meaning(scalar),
        Node::Sequence(_, items) => Value::Sequence(items.iter().map(value).collect()),
        Node::Mapping(_, entries) => {
            // A key is a word, whatever else it could mean.
            let pair = |(key, node): &(Scalar, Node)| (Value::String(key.text.clone()), value(node));
            Value::Mapping(entries.iter().map(pair).collect::<Mapping>())
        }
    }
}

/// What is in quotes is text.
fn meaning(scalar: &Scalar) -> Value {
    let text = scalar.text.as_str();
    match text {
        _ if !scalar.is_plain => Value::String(text.to_owned()),
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// A number; `None` of what only begins like one, as addresses and durations do.
fn number(text: &str) -> Option<Number> {
    let (is_negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    match digits {
        ".inf" | ".Inf" | ".INF" if is_negative => return Some(f64::NEG_INFINITY.into()),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY.into()),
        _ if matches!(text, ".nan" | ".NaN" | ".NAN") => return Some(f64::NAN.into()),
        _ => {}
    }
    let radix = |prefix: &str, radix| {
        let digits = digits.strip_prefix(prefix)?;
        let is_bare = digits.starts_with(|first: char| first.is_digit(radix));
        is_bare.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
    };
    if let Some(whole) = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)) {
        return signed(is_negative, whole);
    }
    // A number in which nothing but digits are does not begin with a zero: that is a name, or a port of somebody's.
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_whole && digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    if is_whole {
        // One that no number of the configuration can hold stays as it is written, for whoever refuses it.
        return signed(is_negative, digits.parse().ok()?);
    }
    let is_decimal = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    text.parse::<f64>().ok().filter(|it| is_decimal && it.is_finite()).map(Number::from)
}

fn signed(is_negative: bool, whole: u64) -> Option<Number> {
    if is_negative { 0_i64.checked_sub_unsigned(whole).map(Number::from) } else { Some(whole.into()) }
}

#[cfg(test)]
mod tests {
    use super::super::spans::Spans;
    use super::*;

    fn read(text: &str) -> Value {
        let spans = Spans::read(text, "").unwrap_or_else(|_| panic!("{text}"));
        value(spans.root())
    }

    /// One a line; the last is nothing at all.
    const SCALARS: [&str; 49] = [
        "1",
        "0",
        "-1",
        "+7",
        "007",
        "0x1F",
        "0xg",
        "0o17",
        "0b101",
        "-0x10",
        "0x-1",
        "18446744073709551615",
        "-9223372036854775808",
        "1.5",
        "-1.5",
        ".5",
        "5.",
        "1e3",
        "1E-3",
        "1.2.3",
        "10.0.0.1",
        "10.0.0.0/8",
        "1s",
        "30s",
        "1-2",
        "1000-2000",
        "e5",
        "--1",
        ".inf",
        "-.inf",
        "inf",
        "nan",
        "true",
        "True",
        "yes",
        "no",
        "on",
        "null",
        "~",
        "",
        "'1'",
        "\"true\"",
        "''",
        "a b",
        "a:b",
        "2001:db8::1",
        "00:11:22:33:44:55",
        "16M",
        "50%",
    ];

    #[test]
    fn scalars_mean_what_serde_yaml_takes_them_for() {
        for scalar in SCALARS {
            let text = format!("a: {scalar}\nb: [{scalar}]\n");
            assert_eq!(read(&text), serde_yaml::from_str::<Value>(&text).unwrap(), "{text}");
        }
        assert!(read("a: .nan\n")["a"].as_f64().is_some_and(f64::is_nan));
    }

    #[test]
    fn blocks_and_quotes_are_read_as_serde_yaml_does() {
        for text in [
            "a:\n  - b: 1\n    c: [x, {y: z}]\n  - |\n    two\n    lines\n  - >-\n    one\n    line\nd: 'it''s'\ne: \"\\u00e4\\n\"\n",
            "a: # a comment\n  b\n  c\nd: [1,\n  2]\n",
            include_str!("../../../deploy/sluice.yaml"),
            include_str!("../../../docs/reference.yaml"),
        ] {
            assert_eq!(read(text), serde_yaml::from_str::<Value>(text).unwrap());
        }
    }
}
